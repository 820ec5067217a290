# SPDX-License-Identifier: Apache-2.0
"""Free-page hints between Outlive and stock QEMUs: the driver's state goes along in both directions."""
import pytest

from frame.moving import awaiting, check, ended, send
from frame.wait import until

GUEST = {"memory_mib": 128, "cpus": 2, "args": "fill=random ws=4M rate=1M balloon=48M"}
BALLOON = ("-object", "iothread,id=io", "-device", "virtio-balloon-pci,free-page-hint=on,iothread=io")
SLOW = {"max-bandwidth": 4 << 20}  # until hints have come
MIB = 1 << 20


def balloon_of(report):
    """What the witness says of it: pages told as free (out), in use again (in)."""
    return next(device for device in report["device"] if device["kind"] == "balloon")


@pytest.mark.parametrize("way", ["there", "back"])
def test_a_guest_that_gives_hints_moves_to_and_from_a_qemu(outlive, qemu, witness, way):
    here, there = (outlive, qemu) if way == "there" else (qemu, outlive)
    source, target = witness(here, *BALLOON, **GUEST), awaiting(there, *BALLOON, name="there", **GUEST)
    uri = f"unix:{target.vmm.path('migrate.sock')}"
    target.vmm.qmp.command("migrate-incoming", uri=uri)
    send(source.vmm, uri, **SLOW)
    until(lambda: balloon_of(source.report())["out"] * 4096 > 30 * MIB, 60, "the guest gives hints")
    source.vmm.qmp.command("migrate-set-parameters", **{"max-bandwidth": 0})
    info = ended(source.vmm)
    assert info["status"] == ended(target.vmm)["status"] == "completed", info
    told = balloon_of(check(target))
    assert told["in"] == told["out"] // 16
    assert info["ram"]["transferred"] < (128 - 20) * MIB, info
    target.close()
