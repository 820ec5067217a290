# SPDX-License-Identifier: Apache-2.0
"""A pytest run lives in network and mount namespaces of its own, under a supervisor.

Theory of operation: before the first test the process leaves the host's network and mount
namespaces. It then has an empty network with a loopback, an empty /run/netns and an empty
/dev/shm. So ports, interface and namespace names can't collide with anything else on the
machine, whatever appears there was made by a test (the leak guard needs that), and when
pytest is killed the kernel takes everything back. This needs root; without it the tests run
in the host's namespaces and those that make networks are skipped by name.

Then it forks: the child goes on as pytest, the parent supervises. Orphans come to the parent
(it is the subreaper), which collects them at once, as init would, and ends what is left when
pytest is gone, however that happened.
"""
import ctypes
import os
import signal
import subprocess

from frame import process
from frame.wait import until

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC_PRIVATE = 0x4000 | 0x40000
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    """Turn a failed libc call into OSError."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(kind, target, flags=0):
    """mount(2) of a file system without a source."""
    kind = kind and kind.encode()
    check(libc.mount(b"none", target.encode(), kind, ctypes.c_ulong(flags), None),
          f"mount {target}")


def detach_mounts():
    """What is mounted from now on stays in this namespace."""
    try:
        mount(None, "/", MS_REC_PRIVATE)
    except OSError:  # in a chroot "/" is not a mount point: take those that are
        with open("/proc/self/mountinfo", encoding="ascii") as file:
            for line in file:
                mount(None, line.split()[4], MS_REC_PRIVATE)


def enter():
    """Enter namespaces of our own; returns whether that was possible. Once, single-threaded."""
    if os.geteuid() != 0 or os.environ.get("OUTLIVE_TEST_NAMESPACES") == "host":
        return False
    try:
        check(libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
    except PermissionError:
        return False
    detach_mounts()
    os.makedirs("/run/netns", exist_ok=True)
    mount("tmpfs", "/run/netns")
    mount("tmpfs", "/dev/shm")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    until(loopback_is_up, 60, "loopback is up")
    return True


def loopback_is_up():
    """Whether an address is on lo yet."""
    shown = subprocess.run(["ip", "-br", "addr", "show", "dev", "lo"], check=True,
                           capture_output=True, text=True).stdout
    return "127.0.0.1" in shown


def supervised():
    """Fork; returns in the child. The parent stays until the child is gone, and ends as it did."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # may have been ignored so far
        process.root = parent
        return
    for number in (signal.SIGINT, signal.SIGQUIT):  # the terminal sends these to the child too
        signal.signal(number, signal.SIG_IGN)
    def pass_on(number, _):
        try:
            os.kill(child, number)
        except ProcessLookupError:
            pass  # it is gone already, and what it left is being ended

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    pid, status = 0, 0
    while pid != child:
        pid, status = os.waitpid(-1, 0)
    end_all()
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) != signal.SIGKILL:
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def end_all():
    """Kill and collect all processes that are left."""
    while True:
        for pid in process.descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
