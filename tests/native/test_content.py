# SPDX-License-Identifier: Apache-2.0
"""Pages that the target has already are named by their hashes and not sent (outlive-content-hashes)."""
import pytest

import pulse_report
from frame.moving import awaiting, check, ended, move, send, switch_on
from frame.named import PULSE, report_of, run_witness
from frame.qemu import HOST_CPU
from frame.qmp import QmpError
from frame.wait import until

HASHES = ("return-path", "outlive-content-hashes")
MIB = 1 << 20
SIZE = {"memory_mib": 128}


@pytest.fixture
def target(outlive):
    """Function that starts a VMM that waits for the guest."""
    made = []

    def make(known=None, **guest):
        made.append(awaiting(outlive, name=f"target-{len(made)}", **guest))
        if known:
            made[-1].vmm.qmp.command("migrate-set-parameters", **{"outlive-content-file": str(known)})
        return made[-1]
    yield make
    for one in made:
        one.close()


def saved(info):
    """What query-migrate says of pages that weren't sent, with the bytes that were."""
    return info["outlive-content-hashes"], info["ram"]["transferred"]


def test_pages_that_are_the_same_are_sent_once(outlive, witness, target):
    guest = {**SIZE, "cpus": 2, "args": "fill=same ws=8M rate=8M pattern=random"}
    here, there = witness(outlive, **guest), target(**guest)
    known, sent = saved(move(here.vmm, there.vmm, *HASHES))
    report = check(there)
    assert report["pages_owned"] * 4096 > 100 * MIB < report["verify_pages"] * 4096 + 20 * MIB
    assert known["bytes"] > 90 * MIB and known["file-pages"] == known["listed-pages"] == 0
    assert sent < 40 * MIB


def test_a_guest_that_comes_back_to_its_snapshot_is_hardly_sent(outlive, witness, target, run_dir):
    guest = {**SIZE, "args": "fill=random ws=4M rate=2M"}
    here = witness(outlive, **guest)
    send(here.vmm, f"file:{run_dir}/stay", "mapped-ram")
    assert ended(here.vmm)["status"] == "completed"
    here.vmm.qmp.command("cont")
    there = target(run_dir / "stay", **guest)
    here.vmm.qmp.command("migrate-set-capabilities",
                         capabilities=[{"capability": "mapped-ram", "state": False}])
    known, sent = saved(move(here.vmm, there.vmm, *HASHES))
    check(there)
    assert known["file-pages"] * 4096 > 100 * MIB and known["listed-pages"] >= known["file-pages"]
    assert sent < 20 * MIB


def test_a_file_that_changes_on_the_way_fails_the_migration_and_harms_nobody(outlive, witness, target, run_dir):
    guest = {**SIZE, "args": "fill=random rate=off"}
    here = witness(outlive, **guest)
    file = run_dir / "stay"
    send(here.vmm, f"file:{file}", "mapped-ram")
    assert ended(here.vmm)["status"] == "completed"
    here.vmm.qmp.command("cont")
    there = target(file, **guest)
    here.vmm.qmp.command("migrate-set-capabilities",
                         capabilities=[{"capability": "mapped-ram", "state": False}])
    there.vmm.qmp.command("migrate-incoming", uri=f"unix:{there.vmm.path('migrate.sock')}")
    send(here.vmm, f"unix:{there.vmm.path('migrate.sock')}", *HASHES, **{"max-bandwidth": 20000})
    until(lambda: here.vmm.qmp.command("query-migrate").get("outlive-content-hashes"), 60, "it is listed")
    with open(file, "r+b") as out:
        out.seek(MIB)
        out.write(b"\xee" * (file.stat().st_size - 2 * MIB))
    here.vmm.qmp.command("migrate-set-parameters", **{"max-bandwidth": 0})
    assert ended(here.vmm)["status"] == "failed"
    assert "has changed since it was listed" in ended(there.vmm)["error-desc"]
    check(here)


@pytest.mark.parametrize("capabilities, why", [
    (("outlive-content-hashes",), "return-path"),
    ((*HASHES, "multifd"), "not with multifd or xbzrle"),
    ((*HASHES, "xbzrle"), "not with multifd or xbzrle"),
], ids=["no answers", "multifd", "xbzrle"])
def test_what_it_cannot_be_had_with_is_said(outlive, witness, capabilities, why):
    here = witness(outlive, args="rate=off")
    switch_on(here.vmm, *capabilities)
    with pytest.raises(QmpError, match=why):
        here.vmm.qmp.command("migrate", uri="unix:/nowhere")
    check(here)


@pytest.mark.parametrize("content, why", [
    (None, "No such file"), (b"\x28\xb5\x2f\xfd" + bytes(100), "it is compressed"),
    (b"QEVM" + bytes(5000), "without mapped-ram"),
], ids=["missing", "packed", "stream"])
def test_a_file_that_is_of_no_use_is_a_mismatch_and_the_target_waits_on(
        outlive, witness, target, run_dir, content, why):
    if content:
        (run_dir / "file").write_bytes(content)
    here, there = witness(outlive, args="rate=off"), target(run_dir / "file", args="rate=off")
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    there.vmm.qmp.command("migrate-incoming", uri=uri)
    send(here.vmm, uri, *HASHES)
    info = ended(here.vmm)
    assert info["status"] == "failed" and why in info["error-desc"], info
    there.vmm.qmp.command("migrate-set-parameters", **{"outlive-content-file": ""})
    send(here.vmm, uri, *HASHES)
    assert ended(here.vmm)["status"] == ended(there.vmm)["status"] == "completed"
    check(there)


def test_the_command_tells_what_was_saved(cli, tmp_path):
    run_witness(cli, "web", "64M", "rate=off fill=same verify=64M")
    cli("run", "there", "-m", "64M", "--bios", PULSE, "--", "-cpu", HOST_CPU, "-incoming", f"unix:{tmp_path / 'in'}")
    told = cli("migrate", "web", f"unix:{tmp_path / 'in'}", "--content-hashes")
    assert "weren't sent: the target had 0 in its file" in told, told
    with report_of(cli, "there") as source:
        now = pulse_report.wait(source, lambda now: now["passes"] > 0, 60)
    assert now["faults"] == 0
