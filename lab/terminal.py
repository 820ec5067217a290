# SPDX-License-Identifier: Apache-2.0
"""A person's terminal joined to the emulated host's, for `lab shell`."""

import contextlib
import os
import select
import shutil
import sys
import termios
import tty

ESCAPE = b"\x1d"		# Ctrl-]
END_OF_INPUT = b"\x04"		# Ctrl-D


@contextlib.contextmanager
def raw_mode(fd):
    """Keep the terminal from interpreting keys while the body runs."""
    if not os.isatty(fd):
        yield
        return
    saved = termios.tcgetattr(fd)
    try:
        tty.setraw(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)


def _relay(lab, ends):
    """Move what is there in both directions; return False at the escape key.

    @ends: the host's terminal and, until it ends, our input.
    """
    for end in select.select(ends, [], [], 0.05)[0]:
        if end is lab.terminal:
            os.write(sys.stdout.fileno(), lab.terminal.recv(65536))
            continue
        data = os.read(end, 4096)
        if ESCAPE in data:
            return False
        if not data:
            ends.remove(end)
        lab.terminal.sendall(data or END_OF_INPUT)
    return True


def attach(lab, cwd=None):
    """Give a person a shell in @lab until it ends or Ctrl-] is typed; return its exit code."""
    size = shutil.get_terminal_size()
    job = lab.shell(size.lines, size.columns, os.environ.get("TERM", "linux"), cwd)
    ends = [lab.terminal, sys.stdin.fileno()]
    with raw_mode(sys.stdin.fileno()):
        while job.code is None:
            if not _relay(lab, ends):
                return 0
            lab.pump(0)
        while select.select([lab.terminal], [], [], 0.1)[0]:
            _relay(lab, [lab.terminal])
    return job.code
