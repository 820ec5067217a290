# SPDX-License-Identifier: Apache-2.0
"""What accesses cost that leave the guest, by the guest's own clock.

Ports and MMIO are answered by the VMM, a doorbell by an eventfd in the kernel. The witness makes 255
of a kind in a row between readings of its clock; a round's figure is their median. Its vCPU has a CPU for
itself, else a doorbell costs 3 or 40 us, as chance has put the thread that it wakes.
"""
import os
import tempfile

from frame.vmm import Vmm
from frame.witness import options
from measure.guest import apart, started

UNIT = "us"
FLOOR = {"port write": ("port write",), "port read": ("port write",),
         "MMIO write": ("MMIO write",), "MMIO read": ("MMIO write",), "doorbell": ("doorbell by eventfd",)}
ARGS = "rate=off verify=off wall=0 blk=1 blk_size=1M"


def measure(program, folder):
    """One round."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="olb") as disk:
        disk.truncate(1 << 20)
        drive = ("-blockdev", f"driver=file,filename={disk.name},node-name=d0",
                 "-device", "virtio-blk-pci,drive=d0")
        with Vmm(program, [*options(ARGS, memory_mib=64), *drive], os.path.join(folder, "log")) as vmm:
            guest = started(vmm, ARGS)
            guest.wait(lambda report: report["device"] and report["device"][0]["in"] > 10)
            apart(vmm)
            guest.ask("e")
            exits = guest.report()["exit"]
            guest.close()
    assert len(exits) == len(FLOOR), f"the guest measured only {exits}"
    return {exit["kind"]: exit["median_ns"] / 1e3 for exit in exits}
