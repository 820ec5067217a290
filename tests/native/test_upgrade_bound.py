# SPDX-License-Identifier: Apache-2.0
"""A guest that can't be brought to rest in time goes on, and the command says who was waited for.

A host that gives a vCPU's thread no CPU is played by ptrace(2): a thread that is held in it doesn't run.
"""
import contextlib
import ctypes
import json
import os
import re

import pytest

from frame.live import live  # noqa: F401
from frame.moving import awaiting, check, ended, send
from frame.qmp import QmpError
from frame.wait import Deadline, until

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
LIBC = ctypes.CDLL(None, use_errno=True)
WAIT_ALL = 0x40000000  # __WALL


def ptrace(request, thread):
    """ptrace(2) without data."""
    if LIBC.ptrace(ctypes.c_long(request), ctypes.c_long(thread), None, None) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of {thread}")


@contextlib.contextmanager
def held(thread):
    """The thread gets no CPU."""
    ptrace(PTRACE_SEIZE, thread)
    ptrace(PTRACE_INTERRUPT, thread)
    os.waitpid(thread, WAIT_ALL)
    try:
        yield
    finally:
        ptrace(PTRACE_DETACH, thread)


def thread_of(guest, vcpu):
    """The id of a vCPU's thread."""
    return guest.qmp.command("query-cpus-fast")[vcpu]["thread-id"]


def goes_on(guest, how_many):
    """So many vCPUs work. The witness numbers its own in the order they came up."""
    def work(report):
        return [one["beats"] + one["dirtied"] for one in report["cpu"]]

    before = work(guest.witness.report())
    guest.witness.wait(lambda now: sum(new > old for new, old in zip(work(now), before)) == how_many)


def refused(guest, pause_ms):
    """An upgrade doesn't happen; why. None: it did, as what it waits for came in time."""
    guest.qmp.take_events()
    try:
        guest.upgrade(pause_timeout=pause_ms)
    except QmpError as failure:
        assert guest.qmp.command("query-status")["status"] == "running"
        assert not [event for event in guest.qmp.take_events() if event["event"] in ("STOP", "RESUME")]
        return failure.desc
    return None


def fails(guest, words, pause_ms):
    """An upgrade doesn't happen for one reason alone; on a busy host others may be late now and then."""
    def alone():
        said = refused(guest, pause_ms)
        print(said)
        return said and all(word in said for word in words)
    until(alone, 60, f"an upgrade is called off with {words}")


def test_a_vcpu_without_a_cpu_is_named_and_the_guest_goes_on(live):
    guest = live(cpus=4, memory_mib=64, args="rate=1M verify=1M")
    before, thread = guest.pid, thread_of(guest, 2)
    with held(thread):
        for _ in range(3):  # each is called off for itself; the held vCPU never hears of the others
            fails(guest, ["vCPU 2 didn't stop within ", f"its thread {thread} is held by a debugger", "late: 1 of 4"],
                  pause_ms=200)
            assert guest.pid == before
            goes_on(guest, 3)
    goes_on(guest, 4)
    assert guest.settle() == before
    guest.upgrade()
    guest.verify()
    guest.qmp.command("stop")
    guest.qmp.command("cont")
    guest.verify()


def real_time_allowed():
    """Whether a process of this user may have a real-time priority."""
    policy = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, policy, os.sched_param(0))
    return True


def schedulers(guest):
    """{thread: how it is scheduled} of those that the guest waits for."""
    threads = [one["thread-id"] for one in guest.qmp.command("query-cpus-fast") + guest.qmp.command("query-iothreads")]
    return {thread: os.sched_getscheduler(thread) for thread in [guest.pid, *threads]}


def test_who_the_guest_waits_for_is_urgent_until_it_runs(live):
    """Called off, then done: each thread has its own priority again afterwards, in whichever process."""
    guest = live("-object", "iothread,id=io1", cpus=2, memory_mib=64)
    os.sched_setscheduler(thread_of(guest, 0), os.SCHED_BATCH, os.sched_param(0))
    before = schedulers(guest)
    with held(thread_of(guest, 1)):
        fails(guest, ["vCPU 1 didn't stop within "], pause_ms=200)
        assert schedulers(guest) == before
        guest.qmp.send("outlive-upgrade", {"pause-timeout": 60000})
        if real_time_allowed():
            until(lambda: {os.sched_getscheduler(thread) for thread in before} == {os.SCHED_RR}, 50, "they are urgent")
    guest.qmp.wait_event("OUTLIVE_UPGRADED")
    guest.qmp.receive(Deadline(60, "the command's answer"))
    guest.settle()
    assert list(schedulers(guest).values()) == list(before.values())
    guest.verify()


def test_the_command_waits_for_as_long_as_it_is_told(cli, web):
    """Twice as long as by default."""
    cpu, = json.loads(cli("qmp", web, "query-cpus-fast"))
    with held(cpu["thread-id"]):
        said = cli("upgrade", web, "--pause-timeout", 2, code=1)
    assert int(re.search(r"vCPU 0 didn't stop within (\d+) ms", said)[1]) >= 2000, said
    cli("upgrade", web, "--pause-timeout", 60)


def test_a_disk_that_does_not_answer_is_named_and_the_guest_goes_on(live):
    guest = live("-blockdev", "null-co,node-name=fast", "-device", "virtio-blk-pci,drive=fast,id=quick,addr=5",
                 "-blockdev", "null-co,node-name=d,latency-ns=4000000000",
                 "-device", "virtio-blk-pci,drive=d,id=sleeper,addr=4", memory_mib=64, args="rate=1M blk=1 blk_size=1M")
    fails(guest, ["virtio-blk-pci sleeper didn't stop within ", "1 request is not answered by the disk"], 100)
    before = guest.pid
    goes_on(guest, 1)
    assert guest.settle() == before
    guest.upgrade()  # it waits for the disk
    assert guest.settle() != before


def test_a_migration_sends_another_round_while_a_vcpu_cannot_be_stopped(outlive, witness):
    guest = {"cpus": 2, "memory_mib": 64, "args": "rate=1M verify=1M"}
    here, there = witness(outlive, **guest), awaiting(outlive, **guest)
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    there.vmm.qmp.command("migrate-incoming", uri=uri)
    thread = here.vmm.qmp.command("query-cpus-fast")[1]["thread-id"]
    with held(thread):
        send(here.vmm, uri)
        until(lambda: "vCPU 1 didn't stop within" in here.vmm.output(), 60, "the first attempt is given up")
        assert "another round" in here.vmm.output()
        assert here.vmm.qmp.command("query-status")["status"] == "running"
    assert ended(here.vmm)["status"] == "completed"
    check(there)
    there.close()
