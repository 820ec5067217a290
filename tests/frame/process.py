# SPDX-License-Identifier: Apache-2.0
"""Child processes that can't outlive the tests.

Theory of operation: each child is started through setpriv(1) with the parent-death signal
KILL, so the kernel ends it when the test process dies, however that happens. (The signal
follows the *thread* that started the child: start children from the main thread.) Its output
goes to a file, which error messages quote. What a child starts itself is found by the leak
guard: orphans go to the supervisor (isolate.py).
"""
import os
import pathlib
import signal
import subprocess
import sys

from frame.wait import TooLate

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
from testrun import tree  # noqa: E402
from testrun.tree import alive, command_line  # noqa: E402, F401  for whoever has a process

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
    """Process ids of all living descendants of `pid`, zombies and this process left out.

    By default those that the tests have started, orphans included.
    """
    return [child for child in tree.descendants(pid or root) if child != os.getpid()]
