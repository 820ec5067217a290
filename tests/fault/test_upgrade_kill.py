# SPDX-License-Identifier: Apache-2.0
"""Either side of a live upgrade is killed, anywhere: the guest is lost only with its owner.

Whoever had won the ownership word takes the guest along when it is killed; that can't be otherwise.
In all other cases the guest runs on in exactly one process, its memory verifies, and the next
upgrade works. And never do two processes run it.
"""
import dataclasses
import os
import random
import signal
import time

import pytest

from frame.live import PATIENT, Live, process_of, vmms
from frame.paths import BUILD
from frame.plugin import Starter, outlive_program
from frame.process import alive
from frame.qmp import QmpClosed, QmpError
from frame.wait import Deadline, TooLate, until

SOAK = bool(os.environ.get("OUTLIVE_SOAK"))
BOUNDARIES = 40 if SOAK else 20
RANDOM_KILLS = 1000 if SOAK else 30
ENV_FILE, ENV_LOG = "die-at", "die-log"


@pytest.fixture
def doomed(witness, tmp_path, leak_guard):
    """Function that starts a guest whose processes die as the file die-at says."""
    preload = BUILD / "tests" / "libdie_at.so"
    assert preload.exists(), f"{preload} is not built"
    env = {**os.environ, "LD_PRELOAD": str(preload), "DIE_AT": str(tmp_path / ENV_FILE),
           "DIE_LOG": str(tmp_path / ENV_LOG)}
    starter = Starter(dataclasses.replace(outlive_program(), env=env), tmp_path)
    made = []

    def make(**guest):
        made.append(Live(witness(starter, **guest)))
        return made[-1]
    yield make
    for guest in made:
        guest.end()
    starter.end()


def try_upgrade(guest):
    """Upgrade; True when somebody answered that it is done."""
    try:
        return guest.qmp.command("outlive-upgrade", **PATIENT)["done"]
    except (QmpError, QmpClosed):
        return False


def answers(guest):
    """Whether some process serves the guest's monitor."""
    try:
        return bool(process_of(guest.qmp))
    except QmpClosed:
        return False


def check(guest, old, killed):
    """After `killed` died (None: nobody): where the guest may be, and that it is well there.

    Gives True when the guest lives."""
    if not answers(guest):
        until(lambda: not vmms(), 60, "a process that doesn't have the guest ends")
        assert killed, "nobody was killed, but the guest is gone"
        if killed != old == guest.witness.vmm.pid:  # the target had won: the source left of its own accord
            assert guest.witness.vmm.wait() == 0
        return False
    assert guest.settle() != killed
    guest.verify()
    guest.upgrade()
    guest.settle()
    return True


@pytest.mark.timeout(600)
@pytest.mark.parametrize("role", ["source", "target"])
def test_killed_at_each_boundary(doomed, tmp_path, role):
    plan, log = tmp_path / ENV_FILE, tmp_path / ENV_LOG
    ends = []
    for number in range(1, BOUNDARIES + 1):
        guest = doomed(cpus=1, memory_mib=64, args="ws=4M rate=4M")
        old = guest.pid
        plan.write_text(f"{role} {number}", encoding="ascii")
        try_upgrade(guest)
        plan.unlink()
        call, moved, killed = log.read_text(encoding="ascii").split(",") if log.exists() else ("nobody", "", 0)
        log.unlink(missing_ok=True)
        survived = check(guest, old, int(killed))
        ends.append((number, call, moved, survived))
        # The source has moved the word: offered, so the target goes on. The target has: it had won.
        assert survived == (call == "nobody" or (moved == "1") == (role == "source")), ends
        guest.end()
        until(lambda: not vmms(), 60, "the guest ends")
    assert {end[2] for end in ends} >= {"0", "1"}, ends


def upgrade_with_a_kill(guest, who, delay):
    """Begin an upgrade, and kill one side after `delay` seconds; gives who was killed."""
    old, killed = guest.pid, None
    guest.qmp.send("outlive-upgrade", {"pause-timeout": 60000})
    end = time.monotonic() + delay
    if who == "target":
        try:
            until(lambda: [pid for pid in vmms() if pid != old], 60, "a target is there")
        except TooLate:
            return None
        end = time.monotonic() + delay
    until(lambda: time.monotonic() >= end, delay + 60, "the moment")
    victims = [old] if who == "source" else [pid for pid in vmms() if pid != old]
    for pid in victims:
        if alive(pid):
            killed = pid
            os.kill(pid, signal.SIGKILL)
    return killed


@pytest.mark.timeout(3600 if SOAK else 300)
def test_killed_at_random_times(live_guest):
    """The same guest goes on as long as it is not its owner that was killed."""
    chance = random.Random(5)
    guest, lost = live_guest(), 0
    for _ in range(RANDOM_KILLS):
        old = guest.pid
        killed = upgrade_with_a_kill(guest, chance.choice(["source", "target", "target"]), chance.uniform(0, 0.08))
        try:
            reply_or_closed(guest)
            survived = check(guest, old, killed)
        except QmpClosed:
            survived = check(guest, old, killed)
        if not survived:
            lost += 1
            guest.end()
            guest = live_guest()
    assert lost < RANDOM_KILLS


def reply_or_closed(guest):
    """Wait for the answer of the upgrade that was begun."""
    deadline = Deadline(60, "the answer")
    while "event" in guest.qmp.receive(deadline):
        pass


@pytest.fixture
def live_guest(witness, outlive):
    """Function that starts one more guest."""
    made = []

    def make():
        made.append(Live(witness(outlive, cpus=2, memory_mib=64, args="ws=4M rate=4M", name=f"vmm{len(made)}")))
        return made[-1]
    yield make
    for guest in made:
        guest.end()
