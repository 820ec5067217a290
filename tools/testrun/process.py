# SPDX-License-Identifier: Apache-2.0
"""Run a command within a time limit and leave nothing of it behind.

Theory of operation: this process makes itself the subreaper, so whatever a command leaves
(a VMM that a killed test had started, in a session of its own or not) becomes its child and
can be found, named and ended. Only descendants of this process are ever signalled.
"""
import ctypes
import os
import signal
import subprocess
import time
from dataclasses import dataclass

from testrun.tree import alive, command_line, descendants

PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 10


@dataclass
class Outcome:
    """How a command ended: exit status, the tail of its output, and whether its time was up."""

    status: int
    output: str
    timed_out: bool
    left: list


def become_subreaper():
    """Orphans among our descendants come to us, not to init."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants():
    """Kill all that is left below us; returns the command lines of what was still running."""
    named = {}
    for _ in range(20):
        living = [pid for pid in descendants(os.getpid()) if alive(pid)]
        for pid in living:
            named[pid] = command_line(pid)[:160] or named.get(pid, "")  # one that is dying has none
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap()
        if not living:
            break
        time.sleep(0.05)
    return list(named.values())


def reap():
    """Collect the exit status of orphans that came to us."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def run(argv, seconds, log, cwd=None, env=None):
    """Run argv with its output in file `log`, for at most `seconds`.

    At the limit it is asked by SIGINT to write its report, then killed.
    """
    timed_out = False
    with open(log, "wb") as file:
        child = subprocess.Popen(argv, stdout=file, stderr=subprocess.STDOUT,
                                 stdin=subprocess.DEVNULL, cwd=cwd, env=env,
                                 start_new_session=True)
        try:
            child.wait(max(seconds, 1))
        except subprocess.TimeoutExpired:
            timed_out = True
            stop(child)
        except BaseException:
            stop(child)
            end_descendants()
            raise
    left = end_descendants()
    with open(log, encoding="utf-8", errors="replace") as file:
        output = file.read()
    return Outcome(child.returncode, output, timed_out, left)


def stop(child):
    """Interrupt the child's process group, twice since one may go unheard, then kill it."""
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            pass
        try:
            child.wait(GRACE_SECONDS)
            return
        except subprocess.TimeoutExpired:
            continue
