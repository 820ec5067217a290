# SPDX-License-Identifier: Apache-2.0
"""QEMU's stream through our loader and our writer, and on in QEMU: frame, RAM, description, snapshot file.

The device payloads pass unread (tests/interop/relay.c); the guest runs on with every byte of its memory right.
"""
import subprocess

import pytest

from frame.paths import BUILD
from frame.wait import until
from frame.witness import Witness, options

DISK = ("-device", "virtio-blk-pci,drive=d0", "-drive", "if=none,id=d0,driver=null-co,size=1G,read-zeroes=on")


def save(guest, path):
    """Stop the guest and have QEMU write it to a file."""
    qmp = guest.vmm.qmp
    qmp.command("stop")
    qmp.command("migrate", uri=f"exec:cat > {path}")
    until(lambda: qmp.command("query-migrate")["status"] in ("completed", "failed"), 60, "the guest is saved")
    assert qmp.command("query-migrate")["status"] == "completed"


def resume(starter, path, cpus):
    """A QEMU that goes on with what is in a file."""
    vmm = starter.start(*options(cpus=cpus), *DISK, "-incoming", f"exec:cat {path}", name="target")
    guest = Witness(vmm)
    until(lambda: vmm.qmp.command("query-status")["status"] != "inmigrate", 60, "the guest is loaded")
    vmm.qmp.command("cont")
    return guest


@pytest.mark.parametrize("way", [(), ("live",)], ids=["stopped", "live"])
@pytest.mark.parametrize("cpus", [1, 2])
def test_a_guest_of_qemu_runs_on_after_our_loader_and_writer(qemu_any, witness, tmp_path, cpus, way):
    guest = witness(qemu_any, *DISK, cpus=cpus)
    save(guest, tmp_path / "from-qemu")
    done = subprocess.run([BUILD / "tests" / "interop_relay", tmp_path / "from-qemu", tmp_path / "ours", *way],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    target = resume(qemu_any, tmp_path / "ours", cpus)
    try:
        target.ask("v")
        report = target.wait("verified")
        assert report["cpus"] == cpus
        assert report["faults"] == 0
    finally:
        target.close()
