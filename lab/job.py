# SPDX-License-Identifier: Apache-2.0
"""A command in the emulated host, and what can go wrong while it runs."""

import time

from .paths import LabError

# The known hang of an emulated host on a loaded machine: a timer interrupt is lost.
HANG_SIGNATURES = ("soft lockup", "kthread timer wakeup didn't happen", "rcu_preempt detected stalls",
                   "rcu_sched self-detected stall", "rcu_preempt self-detected stall", "kthread starved for")
STALL_S = 120
MAX_OUTPUT = 64 << 20


class LabTimeout(LabError):
    """A limit was reached; the text says what was last seen."""


class LabStall(LabTimeout):
    """The known hang: worth one more try on a fresh host."""


class LabDied(LabError):
    """The emulated host itself ended."""


def signature(text):
    """Return the sign of the known hang that is in a console text, or None."""
    return next((sign for sign in HANG_SIGNATURES if sign in text), None)


class Progress:
    """Watches for silence, and for signs of the known hang during that silence."""

    def __init__(self, console, stall_s=STALL_S):
        self._console = console		# the console log's path
        self._stall_s = stall_s
        self.note()

    def note(self):
        """There was progress: silence starts anew."""
        self._since = time.monotonic()
        self._offset = self._console.stat().st_size if self._console.exists() else 0

    def stalled(self, at_limit=False):
        """Return the sign of the known hang if it explains this silence, else None.

        @at_limit: the caller gives up anyway, so the silence need not be long.
        """
        if not at_limit and time.monotonic() - self._since < self._stall_s:
            return None
        return signature(read_from(self._console, self._offset))


def read_from(path, offset=0):
    """Return a file's text from a byte offset on; "" if there is no file yet."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


class Job:
    """A command that runs in a host. Its output grows in a file both sides see."""

    def __init__(self, lab, ident, out):
        self._lab = lab
        self.ident = ident
        self.out = out
        self.code = None	# exit code, once it ended
        self._seen = 0

    def output(self):
        """Return all of the output so far, as text."""
        return read_from(self.out)

    def kill(self):
        """End the command and its process group."""
        if self.code is None:
            self._lab.tell(f"kill {self.ident}")

    def _stream(self, sink):
        """Hand new output to @sink; say whether there was any."""
        size = self.out.stat().st_size
        if size > MAX_OUTPUT:
            raise LabError(f"more than {MAX_OUTPUT >> 20} MiB of output")
        if size == self._seen:
            return False
        with open(self.out, "rb") as file:
            file.seek(self._seen)
            data = file.read(size - self._seen)
        self._seen += len(data)
        if sink:
            sink(data)
        return True

    def wait(self, timeout, sink=None):
        """Wait for the end and return the exit code.

        @timeout: seconds. @sink: gets new output (bytes) as it comes.
        Raises LabTimeout (the command is killed), LabStall, LabDied.
        """
        return wait_all([self], timeout, [sink])[0]

    def _begin(self):
        self._progress = Progress(self._lab.console_log, self._lab.stall_s)

    def _step(self, sink, late):
        """Take in what happened; @late: the limit is reached."""
        self._lab.pump(0.05)
        ended = self.code is not None
        if self._stream(sink):
            self._progress.note()
        if not ended:
            sign = self._progress.stalled(at_limit=late)
            if sign:
                raise LabStall(f"the host hangs ({sign})\n{self._lab.last_seen(self)}")

    def _blocked(self):
        """Have the host's kernel name its blocked tasks on the console; wait for it a moment."""
        self._lab.tell("blocked")
        for _ in range(20):
            self._lab.pump(0.05)


def wait_all(jobs, timeout, sinks):
    """Wait until all jobs, on one or several hosts, ended; return their exit codes.

    @timeout: seconds for all of them. @sinks: one for each job, or None: gets its output.
    Raises as Job.wait() does; then all jobs are killed.
    """
    limit = time.monotonic() + timeout
    for job in jobs:
        job._begin()
    try:
        while any(job.code is None for job in jobs):
            late = time.monotonic() >= limit
            for job, sink in zip(jobs, sinks):
                job._step(sink, late)
            if late:
                _give_up(jobs, timeout)
        for job, sink in zip(jobs, sinks):
            job._stream(sink)
    except LabTimeout:
        for job in jobs:
            job.kill()
        raise
    return [job.code for job in jobs]


def _give_up(jobs, timeout):
    late = [job for job in jobs if job.code is None]
    if not late:
        return
    late[0]._blocked()
    raise LabTimeout(f"no end within {timeout:g} s\n{late[0]._lab.last_seen(late[0])}")
