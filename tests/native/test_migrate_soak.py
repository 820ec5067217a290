# SPDX-License-Identifier: Apache-2.0
"""Migrations back and forth, and tries that came to nothing: nothing grows."""
import os
import pathlib

import pytest

from frame.live import descriptors
from frame.moving import awaiting, check, ended, move, send
from frame.wait import until

LOAD = "rate=4M ws=4M fill=half"
MOVES = int(os.environ.get("OUTLIVE_SOAK_MOVES", "500"))
WARM = 5
SLACK_KIB = 512


def anonymous_kib(pid):
    """Memory of a process without the guest's, which is a file."""
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Anonymous:"))


def footprint(vmm):
    """(descriptors, memory of its own in KiB, threads) of a VMM."""
    return len(descriptors(vmm.pid)), anonymous_kib(vmm.pid), len(os.listdir(f"/proc/{vmm.pid}/task"))


def give_up(guest, there):
    """A migration that is cancelled on the way, at a rate that takes for ever."""
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    there.vmm.qmp.command("migrate-incoming", uri=uri)
    send(guest.vmm, uri, "return-path", **{"max-bandwidth": 1 << 20})
    until(lambda: guest.vmm.qmp.command("query-migrate").get("status") == "active", 60, "it is on its way")
    guest.vmm.qmp.command("migrate_cancel")
    assert ended(guest.vmm)["status"] == "cancelled"
    until(lambda: there.vmm.qmp.command("query-migrate").get("status") == "failed", 60, "the target gives up")


@pytest.mark.timeout(600)
def test_tries_that_are_cancelled_leave_nothing_in_either_vmm(outlive, witness):
    guest = witness(outlive, args=LOAD)
    there = awaiting(outlive, args=LOAD)
    for number in range(25):
        give_up(guest, there)
        if number == WARM:
            first = footprint(guest.vmm), footprint(there.vmm)
    last = footprint(guest.vmm), footprint(there.vmm)
    for before, after in zip(first, last):
        assert after[0] <= before[0] and after[2] <= before[2], (first, last)
        assert after[1] <= before[1] + SLACK_KIB, (first, last)
    move(guest.vmm, there.vmm, "return-path")
    guest.close()
    guest.vmm.quit()
    check(there)
    there.close()


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_migrations_back_and_forth_grow_nothing(outlive, witness):
    guest = witness(outlive, args=LOAD)
    first = None
    for number in range(MOVES):
        there = awaiting(outlive, name=f"stay-{number % 2}", args=LOAD)
        move(guest.vmm, there.vmm, "return-path")
        guest.close()
        guest.vmm.quit()
        guest = there
        if number == WARM:
            first = footprint(guest.vmm)
        if number % 25 == 0:
            check(guest)
    check(guest)
    last = footprint(guest.vmm)
    print(f"{MOVES} migrations: descriptors, KiB, threads {first} -> {last}")
    assert last[0] <= first[0] and last[2] <= first[2] and last[1] <= first[1] + SLACK_KIB, (first, last)
    guest.close()
