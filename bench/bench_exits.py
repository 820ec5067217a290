# SPDX-License-Identifier: Apache-2.0
"""What an access to a device costs a guest.

The witness looks at its console by reading a port of the serial adapter, which the VMM answers;
each look is a gap in its clock. Its list of the newest gaps is that cost, as the guest sees it.
"""
import os
import statistics

from frame.vmm import Vmm
from frame.witness import options
from measure.guest import started

UNIT = "us"
FLOOR = {"port read": ("port write",)}
READS = 64


def measure(program, folder):
    """One round."""
    args = "rate=off verify=off wall=0 poll_us=500 gap_ns=1000"
    with Vmm(program, options(args, memory_mib=64), os.path.join(folder, "log")) as vmm:
        guest = started(vmm, args)
        seen = set()
        guest.wait(lambda report: enough(report, seen))
        guest.close()
    return {"port read": statistics.median(ns for _, ns in seen) / 1e3}


def enough(report, seen):
    """Collect the gaps that a look at the console made; whether there are enough."""
    seen.update((gap["tsc"], gap["ns"]) for gap in report["cpu"][0]["recent"]
                if gap["cause"] == ["console"])
    return len(seen) >= READS
