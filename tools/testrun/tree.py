# SPDX-License-Identifier: Apache-2.0
"""Which processes came from a process, and what they are; for the runner and the tests' frame."""
import os


def descendants(pid):
    """Process ids of all living descendants of `pid`, zombies left out, children before grandchildren."""
    found, queue = [], [pid]
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
    return found


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
