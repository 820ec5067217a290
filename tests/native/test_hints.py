# SPDX-License-Identifier: Apache-2.0
"""Pages that the guest doesn't use aren't sent: free-page hints of the balloon, and what is in it."""
import pytest

from frame.moving import awaiting, check, ended, move, send
from frame.wait import until

MIB = 1 << 20
GUEST = {"memory_mib": 256, "cpus": 2, "args": "fill=random ws=4M rate=1M balloon=128M"}
PIECE_PAGES = 16  # as guest/pulse tells of them; of each it uses one again at once
BALLOON = ("-device", "virtio-balloon-pci,free-page-hint=on")
SLOW = {"max-bandwidth": 4 * MIB}  # a minute for hints to come


@pytest.fixture
def sides(outlive, witness):
    """Function that starts a guest, and a VMM that waits for it."""
    made = []

    def make(*more, **guest):
        made.append(witness(outlive, *more, **guest))
        made.append(awaiting(outlive, *more, name=f"target-{len(made)}", **guest))
        return made[-2:]
    yield make
    for one in made:
        one.close()


def balloon_of(guest):
    """What the witness says of it: pages told as free (out), in use again (in), lent."""
    return next(device for device in guest.report()["device"] if device["kind"] == "balloon")


def hinted_pages(guest):
    """How many pages the VMM was told needn't be sent."""
    return guest.vmm.qmp.command("query-migrate").get("outlive-hinted-pages", 0)


def test_hinted_pages_are_not_sent_and_those_in_use_again_are(sides):
    here, there = sides(*BALLOON, **GUEST)
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    there.vmm.qmp.command("migrate-incoming", uri=uri)
    send(here.vmm, uri, "return-path", **SLOW)
    until(lambda: hinted_pages(here) * 4096 > 60 * MIB, 60, "half of the balloon's pages are told")
    here.vmm.qmp.command("migrate-set-parameters", **{"max-bandwidth": 0})
    info = ended(here.vmm)
    assert info["status"] == ended(there.vmm)["status"] == "completed", info
    hinted = info["outlive-hinted-pages"]
    assert info["ram"]["transferred"] < (256 + 16) * MIB - hinted * 4096 * (PIECE_PAGES - 1) // PIECE_PAGES
    check(there)
    told = balloon_of(there)
    assert told["out"] >= hinted > 0 and told["in"] == told["out"] // PIECE_PAGES


def test_a_guest_that_gives_no_hints_is_sent_whole(sides):
    here, there = sides("-device", "virtio-balloon-pci", **GUEST)
    info = move(here.vmm, there.vmm, "return-path")
    check(there)
    assert "outlive-hinted-pages" not in info and info["ram"]["transferred"] > 240 * MIB
    assert balloon_of(there)["out"] == 0


def test_hints_of_a_cancelled_migration_leave_nothing_behind(sides):
    here, there = sides(*BALLOON, **GUEST)
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    there.vmm.qmp.command("migrate-incoming", uri=uri)
    send(here.vmm, uri, **SLOW)
    until(lambda: hinted_pages(here), 60, "hints come")
    here.vmm.qmp.command("migrate_cancel")
    assert ended(here.vmm)["status"] == "cancelled"
    assert ended(there.vmm)["status"] == "failed"
    check(here)
    move(here.vmm, there.vmm, "return-path")
    check(there)


def test_what_is_in_the_balloon_is_neither_sent_nor_brought_back(sides):
    here, there = sides(*BALLOON, **GUEST)
    here.vmm.qmp.command("balloon", value=160 * MIB)
    until(lambda: balloon_of(here)["lent"] * 4096 == 96 * MIB, 60, "it is inflated")
    info = move(here.vmm, there.vmm, "return-path")
    check(there)
    assert info["ram"]["transferred"] < 200 * MIB and info["ram"]["duplicate"] * 4096 >= 90 * MIB
    assert there.vmm.qmp.command("query-balloon")["actual"] == 160 * MIB
