# SPDX-License-Identifier: Apache-2.0
"""The guard: a test leaves no process, file, namespace or network interface behind.

Theory of operation: take a snapshot before, compare after. Each test has a folder of its own
as TMPDIR and XDG_RUNTIME_DIR, so every file in it is the test's. Processes are our descendants
and orphans, which the supervisor of the run gets. Namespaces, interfaces and /dev/shm are compared
only when the run has its own (isolate.py), else others on the machine would be blamed on the
test. What is found is named, removed, and fails the test.
"""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass

from frame.process import command_line, descendants
from frame.wait import TooLate, until

NETNS = "/run/netns"
END_SECONDS = 60
BASE_PREFIX = "olt"


def sweep(folder):
    """Remove the bases (BASE_PREFIX + pid) of test runs that were killed."""
    for name in os.listdir(folder):
        match = re.match(BASE_PREFIX + r"(\d+)-", name)
        if match and not os.path.exists(f"/proc/{match.group(1)}"):
            shutil.rmtree(f"{folder}/{name}", ignore_errors=True)


@dataclass
class Snapshot:
    """What exists at one time; each field maps an identity to words for the message."""

    processes: dict
    namespaces: dict
    interfaces: dict
    shared_memory: dict
    files: dict


def listing(folder, recursive=False):
    """Paths in a folder, by name."""
    if not os.path.isdir(folder):
        return {}
    if not recursive:
        return {name: f"{folder}/{name}" for name in os.listdir(folder)}
    return {os.path.join(top, name): os.path.join(top, name)
            for top, dirs, names in os.walk(folder) for name in dirs + names}


def take(folder, isolated):
    """A snapshot; `folder` is the one all of whose content belongs to the test."""
    return Snapshot(
        processes={pid: f"{pid} {command_line(pid)}" for pid in descendants()},
        namespaces=listing(NETNS) if isolated else {},
        interfaces=dict(map(reversed, socket.if_nameindex())) if isolated else {},
        shared_memory=listing("/dev/shm") if isolated else {},
        files=listing(folder, recursive=True))


def added(before, after):
    """One line for each thing that is there now and was not before."""
    lines = []
    for what in Snapshot.__dataclass_fields__:
        old, new = getattr(before, what), getattr(after, what)
        lines += [f"{what}: {new[key] if what != 'interfaces' else key}"
                  for key in new if key not in old]
    return lines


def remove(before, after):
    """Remove what was added, so that later tests start clean."""
    for pid in after.processes.keys() - before.processes.keys():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for name in after.namespaces.keys() - before.namespaces.keys():
        subprocess.run(["ip", "netns", "delete", name], check=False)
    for name in after.interfaces.keys() - before.interfaces.keys():
        subprocess.run(["ip", "link", "delete", name], check=False, stderr=subprocess.DEVNULL)
    for name in after.shared_memory.keys() - before.shared_memory.keys():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"/dev/shm/{name}")


def settled(folder, isolated, before):
    """What a test left, after processes that are just ending have ended. One look decides: one that gets
    another parent meanwhile is missed by it, and the next may see it.
    """
    def without_processes():
        after = take(folder, isolated)
        return None if after.processes.keys() - before.processes.keys() else after
    try:
        return until(without_processes, END_SECONDS, "processes end")
    except TooLate:
        return take(folder, isolated)


@contextlib.contextmanager
def guarded(base, isolated):
    """Run a test's fixtures and body inside; yields its folder, raises AssertionError on a leak.

    `base` is where the folder is made; its path is short, for unix sockets.
    """
    folder = tempfile.mkdtemp(prefix="t", dir=base)
    saved = {name: os.environ.get(name) for name in ("TMPDIR", "XDG_RUNTIME_DIR")}
    saved_tempdir = tempfile.tempdir
    os.environ.update(dict.fromkeys(saved, folder))
    tempfile.tempdir = folder
    before = take(folder, isolated)
    try:
        yield folder
        after = settled(folder, isolated, before)
        lines = added(before, after)
        remove(before, after)
        assert not lines, "left behind by the test:\n  " + "\n  ".join(lines)
    finally:
        tempfile.tempdir = saved_tempdir
        for name, value in saved.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        shutil.rmtree(folder, ignore_errors=True)
