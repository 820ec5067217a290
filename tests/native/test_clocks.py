# SPDX-License-Identifier: Apache-2.0
"""A guest's clocks go on over each pause that nobody but the VMM wanted, as if the guest had been running."""
import json
import time

import pytest

from frame.live import live  # noqa: F401
from frame.moving import awaiting, check, ended, missed_s, send, status
from frame.wait import until

STOPPED_S = 1  # for so long the guest is stopped at least
RIGHT_NS = 10_000_000
ARGS = {"cpus": 2, "memory_mib": 64, "args": "wall=20 rate=off fill=random"}


@pytest.fixture
def guest(outlive, witness):
    """The guest whose clocks are looked at."""
    guest = witness(outlive, **ARGS)
    clocks_are_right(guest)
    return guest


def stands():
    """The guest stands still for a while."""
    end = time.monotonic() + STOPPED_S
    until(lambda: time.monotonic() > end, 60, "time passes")


def clocks_are_right(guest):
    """Monotonic clock and TSC agree with the host's wall clock: nothing of it was missed.

    A look at two clocks may be interrupted in between, so that several are tried.
    """
    asked = guest.report()["wall_ns"]
    now = guest.wait(lambda now: now["wall_ns"] > asked and abs(now["wall_mono_ns"]) < RIGHT_NS
                     and abs(now["tsc_mono_ns"]) < RIGHT_NS)
    print(f"wall - monotonic: {now['wall_mono_ns']} ns, TSC - monotonic: {now['tsc_mono_ns']} ns")
    assert now["wall_back"] == 0 and not any(cpu["mono_back"] or cpu["tsc_back"] for cpu in now["cpu"]), now


@pytest.mark.parametrize("ways", [("return-path",), ()], ids=["return path", "one way"])
def test_a_guest_that_moves_misses_nothing_of_the_pause(outlive, guest, ways):
    there = awaiting(outlive, **ARGS)
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    there.vmm.qmp.command("migrate-incoming", uri=uri)
    send(guest.vmm, uri, "pause-before-switchover", *ways)
    until(lambda: status(guest.vmm) == "pre-switchover", 60, "the guest is stopped")
    stands()
    guest.vmm.qmp.command("migrate-continue", state="pre-switchover")
    assert ended(guest.vmm)["status"] == "completed"
    clocks_are_right(there)
    check(there)
    there.close()


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_a_guest_that_was_in_a_file_misses_nothing(outlive, guest, tmp_path, paused):
    """One that is paused to be saved, and runs on when told, as with libvirt, neither."""
    if paused:
        guest.vmm.qmp.command("stop")
    send(guest.vmm, f"file:{tmp_path / 'file'}")
    assert ended(guest.vmm)["status"] == "completed"
    stands()
    there = awaiting(outlive, **ARGS)
    there.vmm.qmp.command("migrate-incoming", uri=f"file:{tmp_path / 'file'}")
    assert ended(there.vmm)["status"] == "completed"
    if paused:
        there.vmm.qmp.command("cont")
    clocks_are_right(there)
    check(there)
    there.close()


def test_a_guest_that_stays_after_all_misses_nothing(outlive, guest):
    there = awaiting(outlive, **ARGS)
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    there.vmm.qmp.command("migrate-incoming", uri=uri)
    send(guest.vmm, uri, "pause-before-switchover")
    until(lambda: status(guest.vmm) == "pre-switchover", 60, "the guest is stopped")
    stands()
    guest.vmm.qmp.command("migrate_cancel")
    assert ended(guest.vmm)["status"] == "cancelled"
    clocks_are_right(guest)
    there.close()


def test_a_guest_that_is_upgraded_misses_nothing(live):
    guest = live(cpus=2, memory_mib=64, args=ARGS["args"])
    for _ in range(3):
        guest.upgrade()
        clocks_are_right(guest.witness)


def test_a_guest_that_its_operator_pauses_misses_that_as_with_qemu(guest):
    guest.vmm.qmp.command("stop")
    stands()
    guest.vmm.qmp.command("cont")
    assert missed_s(guest) >= STOPPED_S


def test_a_file_of_a_long_time_ago_goes_on_from_where_it_was(outlive, guest, tmp_path):
    """Neither a monotonic clock that jumps by hours nor watchdogs that bark."""
    path = tmp_path / "file"
    send(guest.vmm, f"file:{path}")
    assert ended(guest.vmm)["status"] == "completed"
    bytes_now = path.read_bytes()
    begin = bytes_now.rindex(b'{"outlive-stopped": [')
    wall = json.loads(bytes_now[begin:].split(b": ")[1].split(b"]")[0] + b"]")[0]
    assert abs(wall / 1e9 - time.time()) < 60
    old = str(wall).encode()
    path.write_bytes(bytes_now[:begin] + bytes_now[begin:].replace(old, str(wall - 3600 * 10**9).encode(), 1)[:-24])
    there = awaiting(outlive, **ARGS)
    there.vmm.qmp.command("migrate-incoming", uri=f"file:{path}")
    assert ended(there.vmm)["status"] == "completed"
    assert "clocks stand still over a pause of 36" in there.vmm.output()
    assert 0 < missed_s(there) < 3600
    check(there)
    there.close()
