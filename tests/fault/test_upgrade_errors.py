# SPDX-License-Identifier: Apache-2.0
"""What a hand-over asks of the kernel fails, one call after the other, and what it needs runs out.

Each time the guest runs on in exactly one process, verifies, and the next upgrade works.
"""
import dataclasses
import errno
import mmap
import os
import resource
import struct

import pytest

from frame.live import PATIENT, Live, live, process_of  # noqa: F401
from frame.paths import BUILD
from frame.plugin import Starter, outlive_program
from frame.qmp import QmpError

SOAK = bool(os.environ.get("OUTLIVE_SOAK"))
ROLES = {"source": 0, "target": 1}
WORDS = struct.Struct("8I32s")  # struct plan of fail_at.c


class Plan:
    """The file that tells libfail_at which call fails, and what came of it."""

    def __init__(self, path):
        path.write_bytes(bytes(4096))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 4096)
        self.round = 0

    def set(self, source, role, number, error):
        """The next attempt: the process `source` has the guest."""
        self.round += 1
        self.map[:WORDS.size] = WORDS.pack(self.round, source, ROLES[role], number, error, 0, 0, 0, b"")

    def end(self):
        """Nothing fails any more; gives (calls counted of each role, name of the one that failed)."""
        words = WORDS.unpack(self.map[:WORDS.size])
        self.map[:WORDS.size] = bytes(WORDS.size)
        return words[5:7], words[8].rstrip(b"\0").decode() if words[7] else None


@pytest.fixture(name="failing")
def _failing(witness, tmp_path, leak_guard):
    """A guest whose processes ask the plan, and the plan."""
    preload = BUILD / "tests" / "libfail_at.so"
    assert preload.exists(), f"{preload} is not built"
    plan = Plan(tmp_path / "plan")
    env = {**os.environ, "LD_PRELOAD": str(preload), "FAIL_AT": str(tmp_path / "plan")}
    starter = Starter(dataclasses.replace(outlive_program(), env=env), tmp_path)
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4 << 20))
    guest = Live(witness(starter, "-drive", f"file={disk},if=none,id=d0,format=raw",
                         "-device", "virtio-blk-pci,drive=d0", "-chardev", "pty,id=terminal",
                         "-device", "isa-serial,chardev=terminal,index=1", "-pidfile", "@RUN@/pid",
                         cpus=1, memory_mib=64, args="ws=4M rate=4M"))
    yield guest, plan
    guest.end()
    starter.end()


def attempt(guest, plan, role, number, error=errno.EIO):
    """An upgrade in which a call fails; whether it was done, calls of the role, the call's name."""
    plan.set(guest.pid, role, number, error)
    try:
        done = guest.qmp.command("outlive-upgrade", **PATIENT)["done"]
    except QmpError as failure:
        done = False
        assert failure.desc, "no reason was given"
    counts, name = plan.end()
    return done, counts[ROLES[role]], name


@pytest.mark.timeout(7200 if SOAK else 300)
@pytest.mark.parametrize("role", ["source", "target"])
def test_each_call_fails_in_turn(failing, role):
    guest, plan = failing
    done, total, _ = attempt(guest, plan, role, 0)
    assert done
    guest.settle()
    assert total > 20, f"only {total} calls were counted"
    log, stride = [], 1 if SOAK else max(total // 12, 1)
    for number in range(1, total + 1, stride):
        old = guest.pid
        done, _, name = attempt(guest, plan, role, number)
        log.append((number, name, done))
        now = guest.settle()
        assert (now != old) == done, log[-5:]
        guest.verify()
        guest.upgrade()
    assert [entry for entry in log if entry[1]], log
    failed = {entry[1] for entry in log if not entry[2]}
    print(f"{role}: {total} calls, {len(log)} failed in turn, {sum(not entry[2] for entry in log)} upgrades called off "
          f"by {sorted(failed, key=str)}; the others did without: {sorted({e[1] for e in log if e[2]}, key=str)}")


def script(folder, text):
    """A program that ends in the one under test, started under a limit."""
    path = folder / "target.sh"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
    path.chmod(0o755)
    return str(path)


def lift(pid, what):
    """Give a process the hard limit again: nobody needs a privilege for that."""
    hard = resource.prlimit(pid, what)[1]
    resource.prlimit(pid, what, (hard, hard))


@pytest.mark.parametrize("limit", ["ulimit -n 12", "ulimit -v 60000", "ulimit -v 20000"])
def test_the_new_process_lacks_something(live, tmp_path, limit):
    """Descriptors, memory."""
    guest = live(memory_mib=64, args="ws=4M rate=4M")
    old = guest.pid
    program = os.readlink(f"/proc/{old}/exe")
    with pytest.raises(QmpError):
        guest.qmp.command("outlive-upgrade", binary=script(tmp_path, f'{limit}; exec {program} "$@"'), timeout=60)
    assert guest.settle() == old
    guest.verify()
    guest.upgrade()
    guest.settle()


def test_the_new_process_lacks_one_descriptor_after_the_other(live, tmp_path):
    """It finds out while it receives them, while it builds, or it has enough."""
    guest = live(memory_mib=64, args="ws=4M rate=4M")
    program, done = os.readlink(f"/proc/{guest.pid}/exe"), []
    for count in range(12, 36, 1 if SOAK else 3):
        old = guest.pid
        try:
            target = script(tmp_path, f'ulimit -S -n {count}; exec {program} "$@"')
            done.append(guest.qmp.command("outlive-upgrade", binary=target, **PATIENT)["done"])
        except QmpError:
            done.append(False)
        lift(process_of(guest.qmp), resource.RLIMIT_NOFILE)
        assert (guest.settle() != old) == done[-1]
        guest.verify()
        guest.upgrade(binary=program)
    assert not done[0]


def test_no_file_can_be_written(live, tmp_path):
    """A full disk: a new process writes none, all that it needs is there."""
    guest = live("-pidfile", "@RUN@/pid", memory_mib=64, args="ws=4M rate=4M")
    program = os.readlink(f"/proc/{guest.pid}/exe")
    guest.upgrade(binary=script(tmp_path, f'ulimit -S -f 0; exec {program} "$@"'))
    lift(guest.pid, resource.RLIMIT_FSIZE)  # the witness' report is read by a file
    guest.verify()


def test_the_old_process_has_no_descriptor_left(live):
    guest = live(memory_mib=64, args="ws=4M rate=4M")
    old = guest.pid
    soft, hard = resource.prlimit(old, resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir(f"/proc/{old}/fd")) + 1
    for spare in (0, 3, 8):
        resource.prlimit(old, resource.RLIMIT_NOFILE, (used + spare, hard))
        with pytest.raises(QmpError, match="open files"):
            guest.qmp.command("outlive-upgrade", timeout=60)
        resource.prlimit(old, resource.RLIMIT_NOFILE, (soft, hard))  # the witness' report is read by a file
        assert guest.settle() == old
    guest.verify()
    guest.upgrade()
    guest.settle()
