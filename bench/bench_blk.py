# SPDX-License-Identifier: Apache-2.0
"""virtio-blk: requests of 4 KiB, one and many at a time.

The guest's own counters over its own clock: half of the requests write a block, half read one back
and check it. The disk is a file in memory, so that no disk is measured.
"""
import os
import tempfile

from frame.vmm import Vmm
from frame.witness import options
from measure.guest import per_second, started

UNIT = "us"
FLOOR = {"one at a time": ("doorbell by eventfd", "futex, there and back")}
UNITS = {"32 at a time": "requests/ms"}
BYTES = 16 << 20


def done(report):
    """(requests completed, guest's time in ns)."""
    device = next(d for d in report["device"] if d["kind"] == "blk")
    assert device["state"] == "works" and not device["bad"] and not device["lost"], device
    return device["out"] + device["in"], report["cpu"][0]["tsc_last"] * 1e9 / report["tsc_hz"]


def rate(program, folder, depth):
    """Requests a second that the guest counts."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="olb") as disk:
        disk.truncate(BYTES)
        args = f"rate=off verify=off wall=0 blk={depth} blk_size={BYTES >> 20}M"
        drive = ("-blockdev", f"driver=file,filename={disk.name},node-name=d0",
                 "-device", "virtio-blk-pci,drive=d0")
        with Vmm(program, [*options(args, cpus=2, memory_mib=64), *drive],
                 os.path.join(folder, f"log{depth}")) as vmm:
            guest = started(vmm, args)
            found = per_second(guest, done)
            guest.close()
    return found


def measure(program, folder):
    """One round."""
    return {"one at a time": 1e6 / rate(program, folder, 1),
            "32 at a time": rate(program, folder, 32) / 1e3}
