# SPDX-License-Identifier: Apache-2.0
"""Free-page hints between Outlive and stock QEMUs: the driver's state goes along in both directions."""
import pytest

from frame.moving import awaiting, check, move

GUEST = {"memory_mib": 128, "cpus": 2, "args": "fill=random ws=4M rate=1M balloon=48M"}
BALLOON = ("-object", "iothread,id=io", "-device", "virtio-balloon-pci,free-page-hint=on,iothread=io")
SLOW = {"max-bandwidth": 64 << 20}


@pytest.mark.parametrize("way", ["there", "back"])
def test_a_guest_that_gives_hints_moves_to_and_from_a_qemu(outlive, qemu, witness, way):
    here, there = (outlive, qemu) if way == "there" else (qemu, outlive)
    source, target = witness(here, *BALLOON, **GUEST), awaiting(there, *BALLOON, name="there", **GUEST)
    info = move(source.vmm, target.vmm, **SLOW)
    report = check(target)
    told = next(device for device in report["device"] if device["kind"] == "balloon")
    assert told["out"] * 4096 > 30 << 20 and told["in"] == told["out"] // 16
    assert info["ram"]["transferred"] < (128 - 20) << 20, info
    target.close()
