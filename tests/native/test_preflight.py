# SPDX-License-Identifier: Apache-2.0
"""What doesn't fit is found before anything is sent, and named with its remedy."""
import pytest

from frame.moving import awaiting, check, ended, move, send, status
from frame.wait import until

NIC = ("-device", "virtio-net-pci,mac=52:54:00:00:00:01,addr=0x5")


@pytest.fixture
def sides(outlive, witness):
    """Function that starts a guest, and a VMM that waits with other options."""
    made = []

    def make(here=(), there=(), guest=None, target=None):
        made.append(witness(outlive, *here, **{"args": "rate=1M", **(guest or {})}))
        made.append(awaiting(outlive, *there, **(target if target is not None else guest or {})))
        uri = f"unix:{made[-1].vmm.path('migrate.sock')}"
        made[-1].vmm.qmp.command("migrate-incoming", uri=uri)
        return made[-2], made[-1], uri
    yield make
    for one in made:
        one.close()


def asked(here, uri):
    """The answer of outlive-check-migration."""
    return here.vmm.qmp.command("outlive-check-migration", uri=uri)


def test_what_fits_is_said_to_fit_and_then_moves(sides):
    here, there, uri = sides(NIC, NIC)
    for _ in range(2):
        answer = asked(here, uri)
        assert answer["mismatches"] == answer["unchecked"] == [] and answer["target"] != "unknown"
    assert status(there.vmm) == "setup" and status(here.vmm) is None
    send(here.vmm, uri, "return-path")
    assert ended(here.vmm)["status"] == "completed"
    assert ended(there.vmm)["status"] == "completed"
    check(there)


@pytest.mark.parametrize("here, there, guest, target, sentence", [
    ((), (), {"memory_mib": 128}, {"memory_mib": 64}, "start it with -m 128"),
    ((), (), {"cpus": 2}, {"cpus": 1}, "start it with -smp 2,maxcpus=2"),
    (NIC, (), None, None, "virtio-net-pci at 0000:00:05.0 is missing"),
    ((), NIC, None, None, "has a virtio-net-pci at 0000:00:05.0 that the guest hasn't"),
    (NIC, ("-device", "virtio-rng-pci,addr=0x5"), None, None, "start it with -device virtio-net-pci"),
    (NIC, ("-device", "virtio-net-pci,mac=52:54:00:00:00:02,addr=0x5"), None, None,
     'mac is "52:54:00:00:00:01", on the target "52:54:00:00:00:02"'),
    (("-machine", "hpet=on"), ("-machine", "hpet=off"), None, None, "state hpet/0"),
], ids=["memory", "cpus", "missing", "extra", "other", "property", "chipset"])
def test_each_mismatch_is_one_sentence_and_stops_a_migration_before_it_begins(
        sides, here, there, guest, target, sentence):
    source, waiting, uri = sides(here, there, guest, target)
    found = asked(source, uri)["mismatches"]
    assert len(found) >= 1 and any(sentence in one for one in found), found
    send(source.vmm, uri, "return-path")
    info = ended(source.vmm)
    assert info["status"] == "failed" and info["outlive-mismatches"] == found
    assert found[0] in info["error-desc"] and "doesn't fit the target" in info["error-desc"]
    until(lambda: status(waiting.vmm) == "setup", 60, "the target waits again")
    check(source)


def test_a_cpu_feature_that_is_missing_is_named(outlive, witness):
    here = witness(outlive, args="rate=off")
    there = outlive.start("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", "host,-arch-capabilities,-tsc-deadline",
                          "-nodefaults", "-display", "none", "-m", 64, "-incoming", "defer", name="less")
    there.qmp.command("migrate-incoming", uri=f"unix:{there.path('migrate.sock')}")
    found = asked(here, f"unix:{there.path('migrate.sock')}")["mismatches"]
    assert any("-cpu host,-tsc-deadline" in one for one in found), found


def test_a_disk_of_another_size_is_named(sides, tmp_path):
    options = []
    for name, size in (("here", 1 << 20), ("there", 2 << 20)):
        (tmp_path / name).write_bytes(bytes(size))
        options.append(["-blockdev", f"driver=file,node-name=disk,filename={tmp_path / name}",
                        "-device", "virtio-blk-pci,drive=disk"])
    here, _, uri = sides(*options)
    assert "1048576 bytes, the target's 2097152" in asked(here, uri)["mismatches"][0]


def test_a_target_that_was_asked_by_tcp_still_takes_the_guest(outlive, witness):
    here = witness(outlive, args="rate=1M")
    there = awaiting(outlive, incoming="tcp:127.0.0.1:4713", args="rate=1M")
    try:
        assert asked(here, "tcp:127.0.0.1:4713")["mismatches"] == []
        send(here.vmm, "tcp:127.0.0.1:4713", "return-path")
        assert ended(here.vmm)["status"] == "completed"
        check(there)
    finally:
        there.close()


def test_a_check_can_be_left_out(sides):
    here, there, uri = sides(guest={"memory_mib": 128}, target={"memory_mib": 64})
    here.vmm.qmp.command("migrate-set-capabilities", capabilities=[{"capability": "return-path", "state": True}])
    here.vmm.qmp.raw("migrate", {"uri": uri, "outlive-no-check": True})
    assert ended(here.vmm)["status"] == "failed"
    assert "pc.ram" in ended(there.vmm)["error-desc"]
    check(here)


def test_a_vmm_that_waits_for_something_else_is_not_touched(outlive, witness, qemu):
    here = witness(outlive, args="rate=1M")
    there = awaiting(qemu, args="rate=1M")
    try:
        uri = f"unix:{there.vmm.path('migrate.sock')}"
        there.vmm.qmp.command("migrate-incoming", uri=uri)
        answer = asked(here, uri)
        assert answer["target"] == "unknown" and answer["mismatches"] == []
        assert "its CPU features" in answer["unchecked"]
        send(here.vmm, uri, "return-path")
        assert ended(here.vmm)["status"] == "completed"
        check(there)
    finally:
        there.close()
