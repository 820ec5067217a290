# SPDX-License-Identifier: Apache-2.0
"""Live migration between two Outlives: nothing is lost, and what fails leaves the guest where it was."""
import os
import random
import signal

import pytest

from frame import second
from frame.moving import Between, awaiting, check, ended, move, send, status, switch_on
from frame.qmp import QmpError
from frame.wait import until

DIRTYING = "rate=8M ws=16M fill=half pattern=random"
SLOW = {"max-bandwidth": 4 << 20}  # half a minute for what is called off on the way


@pytest.fixture
def target(outlive):
    """Function that starts a VMM that waits for the guest."""
    made = []

    def make(*more, **guest):
        made.append(awaiting(outlive, *more, name=f"target-{len(made)}", **guest))
        return made[-1]
    yield make
    for one in made:
        one.close()


def listen(there):
    """Have a target listen; where."""
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    there.vmm.qmp.command("migrate-incoming", uri=uri)
    return uri


def run_state(guest):
    """The word of query-status."""
    return guest.vmm.qmp.command("query-status")["status"]


@pytest.mark.parametrize("load", ["rate=off fill=random", DIRTYING], ids=["idle", "dirtying"])
@pytest.mark.parametrize("cpus", [1, 4])
@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_a_guest_moves_with_all_its_memory_and_clocks(outlive, witness, target, way, cpus, load):
    guest = {"cpus": cpus, "memory_mib": 256, "args": load}
    here, there = witness(outlive, **guest), target(**guest)
    info = move(here.vmm, there.vmm, "return-path", uri="tcp:127.0.0.1:4711" if way == "tcp" else None)
    report = check(there)
    assert (run_state(here), run_state(there)) == ("postmigrate", "running")
    assert info["ram"]["total"] > 256 << 20 and info["ram"]["remaining"] == 0
    assert info["outlive-downtime-us"] > 0 and report["wall_back"] == 0


@pytest.mark.parametrize("capabilities", [(), ("return-path", "auto-converge"), ("xbzrle",)],
                         ids=["plain", "both ways", "xbzrle"])
def test_what_went_over_a_socket_is_read_by_the_second_reader(outlive, witness, target, tmp_path, run_dir,
                                                               capabilities):
    here, there = witness(outlive, args=DIRTYING), target(args=DIRTYING)
    switch_on(there.vmm, *capabilities)
    with Between(run_dir / "wire", listen(there).removeprefix("unix:"), tmp_path / "stream") as wire:
        send(here.vmm, wire.uri, *capabilities)
        assert ended(here.vmm)["status"] == ended(there.vmm)["status"] == "completed"
    assert second.read(tmp_path / "stream").ram
    check(there)


def test_each_phase_is_told_once(outlive, witness, target):
    here, there = witness(outlive, args=DIRTYING), target(args=DIRTYING)
    switch_on(there.vmm, "events")
    move(here.vmm, there.vmm)
    phases = [[e["data"]["status"] for e in one.vmm.qmp.events if e["event"] == "MIGRATION"]
              for one in (here, there)]
    assert phases == [["setup", "active", "completed"], ["setup", "active", "completed"]]
    names = [e["event"] for e in here.vmm.qmp.events]
    assert "STOP" in names and "MIGRATION_PASS" in names
    assert "RESUME" in [e["event"] for e in there.vmm.qmp.events]


RAM_OF_QEMU = {"dirty-pages-rate", "dirty-sync-count", "dirty-sync-missed-zero-copy", "downtime-bytes", "duplicate",
               "mbps", "multifd-bytes", "normal", "normal-bytes", "page-size", "pages-per-second", "postcopy-bytes",
               "postcopy-requests", "precopy-bytes", "remaining", "skipped", "total", "transferred"}


def test_a_port_that_the_kernel_chose_is_told_and_kept(outlive, witness, target):
    here, there = witness(outlive), target()
    there.vmm.qmp.command("migrate-incoming", uri="tcp:127.0.0.1:0")
    where, = there.vmm.qmp.command("query-migrate")["socket-address"]
    assert (where["type"], where["host"], where["ipv4"]) == ("inet", "127.0.0.1", True)
    uri = f"tcp:127.0.0.1:{where['port']}"
    assert here.vmm.qmp.command("outlive-check-migration", uri=uri)["mismatches"] == []
    assert there.vmm.qmp.command("query-migrate")["socket-address"] == [where]
    send(here.vmm, uri, "return-path")
    assert ended(here.vmm)["status"] == "completed"
    check(there)


IN_OWN_HOSTS = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'


@pytest.mark.parametrize("at", ["127.0.0.1", "127.0.0.2"])
def test_each_address_of_a_name_is_tried(outlive, witness, target, tmp_path, at):
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 both.example\n127.0.0.2 both.example\n")
    here = witness(outlive, within=("unshare", "-m", "sh", "-c", IN_OWN_HOSTS, "sh", str(hosts)))
    there = target()
    there.vmm.qmp.command("migrate-incoming", uri=f"tcp:{at}:0")
    where, = there.vmm.qmp.command("query-migrate")["socket-address"]
    send(here.vmm, f"tcp:both.example:{where['port']}", "return-path")
    assert ended(here.vmm)["status"] == "completed"
    check(there)


@pytest.mark.parametrize("uri", ["tcp:localhost", "fd:nobody", "rdma:host:1", "exec:"])
def test_a_migration_that_is_refused_at_once_says_why_afterwards_too(outlive, witness, uri):
    here = witness(outlive)
    with pytest.raises(QmpError) as refused:
        here.vmm.qmp.command("migrate", uri=uri)
    info = here.vmm.qmp.command("query-migrate")
    assert (info["status"], info["error-desc"]) == ("failed", refused.value.desc)


@pytest.mark.parametrize("name, value", [("xbzrle-cache-size", 100), ("xbzrle-cache-size", 3 << 12),
                                         ("max-cpu-throttle", 10)])
def test_parameters_that_do_not_fit_are_refused_and_nothing_is_changed(outlive, witness, name, value):
    qmp = witness(outlive).vmm.qmp
    before = qmp.command("query-migrate-parameters")
    with pytest.raises(QmpError, match=name.replace("-", "_")):
        qmp.raw("migrate-set-parameters", {name: value, "downtime-limit": 1})
    assert qmp.command("query-migrate-parameters") == before


def test_in_each_status_it_is_said_how_far_it_is(outlive, witness, target):
    here, there = witness(outlive, args="fill=random"), target(args="fill=random")
    send(here.vmm, listen(there), "pause-before-switchover", "return-path")
    seen = {}

    def arrives_at(wanted):
        seen[status(here.vmm)] = here.vmm.qmp.command("query-migrate")
        return wanted in seen
    until(lambda: arrives_at("pre-switchover"), 60, "the guest is stopped")
    last = here.vmm.qmp.raw("migrate_cancel") or here.vmm.qmp.command("query-migrate")
    seen[last["status"]] = last  # "cancelling", most often
    until(lambda: arrives_at("cancelled"), 60, "it is cancelled")
    until(lambda: status(there.vmm) == "failed", 60, "the target notices")
    for name in set(seen) - {"setup", "cancelled"}:
        assert set(seen[name]["ram"]) == RAM_OF_QEMU, name
    here.vmm.qmp.command("migrate-set-capabilities",
                         capabilities=[{"capability": "pause-before-switchover", "state": False}])
    done = move(here.vmm, there.vmm, "return-path")["ram"]
    assert set(done) == RAM_OF_QEMU
    assert done["precopy-bytes"] > 1 << 20 and done["downtime-bytes"] > 0
    assert done["precopy-bytes"] + done["downtime-bytes"] == done["transferred"]


def test_in_the_first_round_the_rate_is_told_and_no_pause_that_nobody_knows(outlive, witness, target):
    here, there = witness(outlive, memory_mib=128, args="fill=random"), target(memory_mib=128)
    send(here.vmm, listen(there), "return-path", **{"max-bandwidth": 4 << 20})
    first = until(lambda: (now := here.vmm.qmp.command("query-migrate")).get("ram", {}).get("mbps") and now, 60,
                  "a rate")
    assert first["ram"]["dirty-sync-count"] == 1 and first["ram"]["pages-per-second"] > 0
    assert not [name for name in first if "expected" in name], first
    here.vmm.qmp.command("migrate_cancel")
    assert ended(here.vmm)["status"] == "cancelled"


def test_what_is_predicted_of_the_pause_is_told_step_by_step(outlive, witness, target):
    info = move(witness(outlive, args="rate=off").vmm, target(args="rate=off").vmm, "return-path")
    felt, expected = info["outlive-pause-us"], info["outlive-expected-us"]
    steps = ["stopped", "ram", "devices", "confirmed"]
    assert set(felt) == set(expected) == set(steps)
    for one in (felt, expected):
        moments = [one[step] for step in steps]
        assert moments == sorted(moments) and moments[0] > 0, one
    assert expected["confirmed"] == info["outlive-expected-downtime-us"]
    assert expected["confirmed"] - expected["devices"] >= expected["stopped"], "the target's part is left out"


def test_a_cancelled_migration_leaves_the_guest_alone_and_can_be_had_again(outlive, witness, target):
    here, there = witness(outlive, memory_mib=128, args="fill=random"), target(memory_mib=128, args="")
    send(here.vmm, listen(there), **SLOW)
    until(lambda: here.vmm.qmp.command("query-migrate").get("ram", {}).get("transferred", 0) > 1 << 20, 10,
          "some of it is sent")
    here.vmm.qmp.command("migrate_cancel")
    assert ended(here.vmm)["status"] == "cancelled"
    check(here)
    until(lambda: status(there.vmm) == "failed", 60, "the target notices")
    assert run_state(there) == "inmigrate"
    move(here.vmm, there.vmm)
    check(there)


def test_it_waits_before_the_switchover_when_asked_and_can_be_cancelled_there(outlive, witness, target):
    here, there = witness(outlive, args=DIRTYING), target(args=DIRTYING)
    send(here.vmm, listen(there), "pause-before-switchover", "return-path")
    until(lambda: status(here.vmm) == "pre-switchover", 60, "the guest is stopped")
    assert run_state(here) == "finish-migrate"
    with pytest.raises(QmpError, match="not finalized"):
        here.vmm.qmp.command("cont")
    here.vmm.qmp.command("migrate_cancel")
    assert ended(here.vmm)["status"] == "cancelled"
    check(here)
    until(lambda: status(there.vmm) == "failed", 60, "the target notices")
    send(here.vmm, listen(there), "pause-before-switchover", "return-path")
    until(lambda: status(here.vmm) == "pre-switchover", 60, "the guest is stopped again")
    here.vmm.qmp.command("migrate-continue", state="pre-switchover")
    assert ended(here.vmm)["status"] == "completed"
    check(there)


@pytest.mark.parametrize("capabilities, words", [((), "Broken pipe"),
                                                 (("return-path",), "killed, for want of memory")],
                         ids=["plain", "both ways"])
def test_a_target_that_dies_on_the_way_costs_nothing(outlive, witness, target, capabilities, words):
    here, there = witness(outlive, memory_mib=128, args="fill=random"), target(memory_mib=128, args="")
    send(here.vmm, listen(there), *capabilities, **SLOW)
    until(lambda: here.vmm.qmp.command("query-migrate").get("ram", {}).get("transferred", 0) > 1 << 20, 10,
          "some of it is sent")
    os.kill(there.vmm.pid, signal.SIGKILL)
    info = ended(here.vmm)
    assert info["status"] == "failed" and words in info["error-desc"], info
    check(here)
    again = target(memory_mib=128, args="")
    move(here.vmm, again.vmm)
    check(again)


def test_a_target_that_dies_with_all_of_it_never_ran_the_guest(outlive, witness, target):
    here, there = witness(outlive, args="rate=off"), target(args="rate=off")
    there.vmm.qmp.command("migrate-incoming", uri="tcp:127.0.0.1:0")  # which holds more than a unix socket
    where, = there.vmm.qmp.command("query-migrate")["socket-address"]
    send(here.vmm, f"tcp:127.0.0.1:{where['port']}", "pause-before-switchover", "return-path")
    until(lambda: status(here.vmm) == "pre-switchover", 60, "the guest is stopped")
    os.kill(there.vmm.pid, signal.SIGSTOP)
    here.vmm.qmp.command("migrate-continue", state="pre-switchover")
    until(lambda: here.vmm.qmp.command("query-migrate").get("outlive-phase") in ("confirm", None), 60, "all is sent")
    os.kill(there.vmm.pid, signal.SIGKILL)
    info = ended(here.vmm)
    assert info["status"] == "failed" and info["error-desc"]
    check(here)


@pytest.mark.parametrize("way", ["asked", "in time"])
def test_a_word_that_does_not_come_is_not_waited_for_without_end(outlive, witness, target, run_dir, way):
    here, there = witness(outlive, args="rate=off"), target(args="rate=off")
    with pytest.raises(QmpError, match="migrate_cancel"):
        here.vmm.qmp.command("migrate-pause")
    with Between(run_dir / "wire", listen(there).removeprefix("unix:"), lose=True) as wire:
        send(here.vmm, wire.uri, "return-path", **{"outlive-confirm-timeout": 0 if way == "asked" else 300})
        assert wire.lost.wait(60)
        if way == "asked":
            here.vmm.qmp.command("migrate-pause")
        info = ended(here.vmm)
    assert info["status"] == "failed" and "may or may not have" in info["error-desc"], info
    assert run_state(here) == "postmigrate"  # nobody knows: the operator decides
    there.vmm.kill()
    here.vmm.qmp.command("cont")
    check(here)


def test_a_target_without_the_same_memory_refuses_and_the_guest_runs_on(outlive, witness, target):
    here, there = witness(outlive, memory_mib=128), target(memory_mib=64)
    send(here.vmm, listen(there), "return-path")
    assert ended(here.vmm)["status"] == "failed"
    assert "start it with -m 128" in ended(here.vmm)["error-desc"]
    check(here)


@pytest.fixture
def saved(outlive, witness, tmp_path):
    """A stream of a stopped guest."""
    guest = witness(outlive, args=DIRTYING)
    guest.vmm.qmp.command("stop")
    send(guest.vmm, f"exec:cat > {tmp_path / 'stream'}")
    assert ended(guest.vmm)["status"] == "completed"
    return tmp_path / "stream"


def test_a_bad_stream_is_refused_with_a_reason_and_a_good_one_taken(saved, target, tmp_path):
    there = target(args=DIRTYING)
    good = saved.read_bytes()
    at = good.index(b"\x06serial")
    for bad, reason in ((good[:at], "ends at byte"), (good[:at + 1] + b"S" + good[at + 2:], "Serial"),
                        (b"nonsense!", "not a migration stream")):
        (tmp_path / "bad").write_bytes(bad)
        there.vmm.qmp.command("migrate-incoming", uri=f"exec:cat {tmp_path / 'bad'}")
        info = ended(there.vmm)
        assert info["status"] == "failed" and reason in info["error-desc"], info
        assert run_state(there) == "inmigrate"
    there.vmm.qmp.command("migrate-incoming", uri=f"exec:cat {saved}")
    assert ended(there.vmm)["status"] == "completed"
    assert run_state(there) == "paused"
    there.vmm.qmp.command("cont")
    check(there)


def test_a_vmm_started_for_a_bad_stream_ends_with_status_1(saved, outlive, tmp_path):
    saved.write_bytes(saved.read_bytes()[:-4096])
    there = awaiting(outlive, name="bad", incoming=f"exec:sleep 1; cat {saved}", args=DIRTYING)
    try:
        assert there.vmm.wait() == 1
        assert "ends at byte" in there.vmm.output()
    finally:
        there.close()


def test_a_disk_belongs_to_the_one_that_runs_the_guest(outlive, witness, target, tmp_path):
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    disk = ["-blockdev", f"driver=file,node-name=disk,filename={tmp_path / 'disk'}",
            "-device", "virtio-blk-pci,drive=disk"]
    args = "blk=8 blk_size=1M"
    here, there = witness(outlive, *disk, args=args), target(*disk, args=args)
    here.wait(lambda now: now["device"] and now["device"][0]["in"] > 50)
    move(here.vmm, there.vmm, "return-path")
    check(there, devices=True)
    with pytest.raises(QmpError, match="in use by another process"):
        here.vmm.qmp.command("cont")
    there.vmm.qmp.command("stop")
    assert there.vmm.quit() == 0
    here.vmm.qmp.command("cont")
    assert run_state(here) == "running"


def test_bandwidth_can_be_changed_on_the_way(outlive, witness, target):
    here, there = witness(outlive, memory_mib=128, args="fill=random"), target(memory_mib=128, args="")
    send(here.vmm, listen(there), **{"max-bandwidth": 1 << 20})
    until(lambda: status(here.vmm) == "active", 60, "it is under way")
    here.vmm.qmp.command("migrate-set-parameters", **{"max-bandwidth": 0})
    assert ended(here.vmm)["status"] == "completed"
    check(there)


def test_a_vmm_that_is_told_to_quit_in_the_middle_does(outlive, witness, target):
    here, there = witness(outlive, memory_mib=128, args="fill=random"), target(memory_mib=128, args="")
    send(here.vmm, listen(there), **SLOW)
    until(lambda: status(there.vmm) == "active", 60, "it is under way")
    assert here.vmm.quit() == 0
    assert ended(there.vmm)["status"] == "failed"
    assert there.vmm.quit() == 0


def test_a_guest_that_has_come_boots_again_as_it_would_at_home(outlive, witness, target):
    here, there = witness(outlive, args=DIRTYING), target(args=DIRTYING)
    before = here.report()
    move(here.vmm, there.vmm)
    there.vmm.qmp.command("system_reset")
    after = there.wait(lambda now: now["state"] == "running" and now["life"] != before["life"])
    assert after["cmdline"] == before["cmdline"] == DIRTYING


def test_streams_cut_and_flipped_anywhere_are_refused_or_harmless(saved, target, tmp_path):
    good, dice = saved.read_bytes(), random.Random(7)
    first, last = good.index(b"\x05timer"), good.rindex(b'{"outlive-stopped"')
    there = target(args=DIRTYING)
    for number in range(60):
        at = dice.randrange(first, last)
        flipped = bytes([good[at] ^ 1 << dice.randrange(8)]) + good[at + 1:] if number % 2 else b""
        (tmp_path / "bad").write_bytes(good[:at] + flipped)
        there.vmm.qmp.command("migrate-incoming", uri=f"exec:cat {tmp_path / 'bad'}")
        info = ended(there.vmm)
        if info["status"] == "completed":
            assert flipped, f"cut at {at}, and taken for whole"
            there.vmm.quit()
            there = target(args=DIRTYING)
        else:
            assert info["error-desc"], f"refused without a reason: byte {at}"
    there.vmm.qmp.command("migrate-incoming", uri=f"exec:cat {saved}")
    assert ended(there.vmm)["status"] == "completed"
    there.vmm.qmp.command("cont")
    check(there)
