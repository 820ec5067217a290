# SPDX-License-Identifier: Apache-2.0
"""Child processes that can't outlive the tests.

Theory of operation: each child is started through setpriv(1) with the parent-death signal
KILL, so the kernel ends it when the test process dies, however that happens. (The signal
follows the *thread* that started the child: start children from the main thread.) Its output
goes to a file, which error messages quote. What a child starts itself is found by the leak
guard: orphans go to the supervisor (isolate.py).
"""
import os
import signal
import subprocess

from frame.wait import TooLate

SETPRIV = ("/usr/bin/setpriv", "--pdeathsig", "KILL", "--")
STOP_SECONDS = 60

root = os.getpid()  # orphans among its descendants come to it: the supervisor, see isolate.py


class Process:
    """A running program; `log` is the file with its output."""

    def __init__(self, argv, log, cwd=None, env=None, pass_fds=(), stdin=subprocess.DEVNULL,
                 within=()):
        """`within` is a command prefix to run under, such as Host.prefix."""
        self.argv = [str(word) for word in argv]
        self.log = log
        with open(log, "ab") as output:
            self.popen = subprocess.Popen([*within, *SETPRIV, *self.argv], stdin=stdin,
                                          stdout=output, stderr=subprocess.STDOUT, cwd=cwd,
                                          env=env, pass_fds=pass_fds)
        self.pid = self.popen.pid

    def output(self):
        """All it has written so far."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def running(self):
        """Whether it has not ended."""
        return self.popen.poll() is None

    def wait(self, timeout=STOP_SECONDS):
        """Wait for its end; returns the exit status (negative: the signal)."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TooLate(f"{self.argv[0]} (pid {self.pid}) did not end within {timeout:g} s; "
                          f"its output:\n{self.output()[-4000:]}") from None

    def kill(self, number=signal.SIGKILL):
        """Send a signal; nothing happens when it has already ended."""
        if self.running():
            os.kill(self.pid, number)

    def stop(self):
        """End it: ask first, then force; returns the exit status."""
        self.kill(signal.SIGTERM)
        try:
            return self.wait()
        except TooLate:
            self.kill()
            self.wait()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def descendants(pid=None):
    """Process ids of all living descendants of `pid`, zombies left out.

    By default those that the tests have started, orphans included.
    """
    found, queue = [], [pid or root]
    while queue:
        children = []
        try:
            for task in os.listdir(f"/proc/{queue[0]}/task"):
                with open(f"/proc/{queue[0]}/task/{task}/children", encoding="ascii") as file:
                    children += [int(word) for word in file.read().split()]
        except OSError:
            pass
        queue = queue[1:] + children
        found += [child for child in children if alive(child)]
    return [child for child in found if child != os.getpid()]


def alive(pid):
    """Whether a process is there and no zombie. (An empty command line is no sign of a zombie:
    that of a process in execve() is empty too.)
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def command_line(pid):
    """What a process was started as; "" for one that is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
