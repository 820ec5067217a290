# SPDX-License-Identifier: Apache-2.0
"""A guest that writes faster than it can be sent: slowed on request only, and only if need be."""
import pytest

from frame.moving import awaiting, check, ended, send, switch_on
from frame.qmp import QmpError
from frame.wait import until

LINK = 2 << 20
WRITING = "rate=64M ws=4M"
RING = ("-accel", "kvm,dirty-ring-size=1024")


@pytest.fixture
def pair(outlive, witness):
    """Function that starts a guest and a VMM that waits for it."""
    made = []

    def make(*more, **guest):
        made.append(witness(outlive, *more, **guest))
        made.append(awaiting(outlive, *more, **guest))
        return made[-2:]
    yield make
    for one in made:
        one.close()


def go(here, there, *capabilities, **parameters):
    """Begin to migrate over a link whose rounds are slower than the guest writes; the pause, which isn't bound to that,
    may not take what the guest has written, either."""
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    there.vmm.qmp.command("migrate-incoming", uri=uri)
    send(here.vmm, uri, "return-path", *capabilities, **{"max-bandwidth": LINK, "downtime-limit": 1, **parameters})


def query(here):
    """query-migrate."""
    return here.vmm.qmp.command("query-migrate")


def rounds(here):
    """The round it is in."""
    return query(here).get("ram", {}).get("dirty-sync-count", 0)


@pytest.mark.timeout(300)
def test_without_help_it_goes_on_for_ever(pair):
    here, there = pair(args=WRITING)
    go(here, there)
    until(lambda: rounds(here) >= 6, 120, "six rounds")
    info = query(here)
    assert info["status"] == "active" and "cpu-throttle-percentage" not in info
    assert info["outlive-throttled-us"] == [0]
    assert info["outlive-expected-downtime-us"] > 1000
    assert info["outlive-converges"] is False and "outlive-converge-ms" not in info
    here.vmm.qmp.command("migrate_cancel")
    assert ended(here.vmm)["status"] == "cancelled"
    check(here)


def test_auto_converge_slows_the_guest_until_it_arrives(pair):
    here, there = pair(args=WRITING)
    go(here, there, "auto-converge", **{"cpu-throttle-initial": 60, "cpu-throttle-increment": 20})
    assert until(lambda: query(here).get("cpu-throttle-percentage"), 60, "it is slowed") in (60, 80, 99)
    info = ended(here.vmm)
    assert info["status"] == "completed", info
    assert info["outlive-throttled-us"][0] > 100_000
    assert "cpu-throttle-percentage" not in info
    assert check(there)["cpu"][0]["beats"] > 0


def test_a_guest_that_converges_is_not_slowed(pair):
    here, there = pair(args="rate=128K ws=1M pattern=random")
    go(here, there, "auto-converge")
    info = ended(here.vmm)
    assert info["status"] == "completed" and info["outlive-throttled-us"] == [0]
    check(there)


def test_it_is_said_when_a_guest_that_converges_will_be_gone(pair):
    """How right that is, is for the bench; a busy machine can only make it longer."""
    limit_ms = 5
    here, there = pair(args="fill=random ws=24M rate=4M")
    go(here, there, **{"max-bandwidth": 8 << 20, "downtime-limit": limit_ms})

    def converging():
        now = query(here)
        return now if now.get("outlive-converge-ms") else None
    said = until(converging, 60, "a round is over, and others will follow")
    assert said["outlive-converges"], said
    info = ended(here.vmm)
    assert info["status"] == "completed"
    took_ms = info["total-time"] - said["total-time"]
    assert took_ms > said["outlive-converge-ms"] / 3 - limit_ms, (said, info)
    check(there)


def test_a_slowed_guest_is_let_go_when_it_is_called_off(pair):
    here, there = pair(args=WRITING)
    go(here, there, "auto-converge", **{"cpu-throttle-initial": 99, "downtime-limit": 1})
    until(lambda: query(here).get("cpu-throttle-percentage"), 60, "it is slowed")
    here.vmm.qmp.command("migrate_cancel")
    assert ended(here.vmm)["status"] == "cancelled"
    resting = query(here).get("outlive-throttled-us")
    check(here)
    assert query(here).get("outlive-throttled-us") == resting


def test_a_slowed_guest_stops_at_once(pair):
    here, there = pair(args=WRITING)
    go(here, there, "auto-converge", **{"cpu-throttle-initial": 99, "downtime-limit": 1})
    until(lambda: query(here).get("cpu-throttle-percentage") == 99, 60, "it is slowed")
    for _ in range(5):
        here.vmm.qmp.command("stop")
        assert here.vmm.qmp.command("query-status")["status"] == "paused"
        here.vmm.qmp.command("cont")
    here.vmm.qmp.command("migrate_cancel")
    ended(here.vmm)
    check(here)


def test_a_dirty_limit_slows_writers_until_they_arrive(pair):
    here, there = pair(*RING, args=WRITING)
    assert here.vmm.qmp.command("query-vcpu-dirty-limit") == []
    go(here, there, "dirty-limit", **{"vcpu-dirty-limit": 1})
    until(lambda: (now := query(here)).get("dirty-limit-throttle-time-per-round") and now["dirty-limit-ring-full-time"],
          60, "it rests")
    limited = here.vmm.qmp.command("query-vcpu-dirty-limit")
    assert [(one["cpu-index"], one["limit-rate"]) for one in limited] == [(0, 1)]
    assert limited[0]["current-rate"] > 0
    info = ended(here.vmm)
    assert info["status"] == "completed" and "dirty-limit-throttle-time-per-round" not in info, info
    assert here.vmm.qmp.command("query-vcpu-dirty-limit") == []
    assert info["outlive-throttled-us"][0] > 100_000
    check(there)


def test_a_dirty_limit_leaves_a_vcpu_alone_that_only_reads(pair):
    here, there = pair(*RING, cpus=3, args="rate=64M ws=16M writers=1 verify=16M")
    here.wait(lambda now: now["cpu"][2]["passes"])  # the first look at a page counts as a write
    go(here, there, "dirty-limit", **{"vcpu-dirty-limit": 1})
    info = ended(here.vmm)
    assert info["status"] == "completed", info
    rested = info["outlive-throttled-us"]
    at = [cpu["apic_id"] for cpu in there.report()["cpu"]]  # 0 beats, 1 writes, 2 reads
    assert rested[at[1]] > 100_000 and rested[at[0]] == rested[at[2]] == 0, (rested, at)
    check(there)


def test_a_dirty_limit_needs_the_ring_and_excludes_auto_converge(outlive, witness):
    log, ring = witness(outlive, args="rate=off"), witness(outlive, *RING, args="rate=off")
    with pytest.raises(QmpError, match="dirty-ring-size"):
        switch_on(log.vmm, "dirty-limit")
    with pytest.raises(QmpError, match="exclude"):
        switch_on(ring.vmm, "dirty-limit", "auto-converge")
    switch_on(ring.vmm, "dirty-limit")
