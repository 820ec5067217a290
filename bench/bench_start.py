# SPDX-License-Identifier: Apache-2.0
"""Time from starting the VMM until its guest works.

The guest is the witness as firmware of its own, so no other firmware's time is in it.
"""
import os
import time

from frame.vmm import Vmm
from frame.witness import Witness, options

UNIT = "ms"
FLOOR = {f"{mib} MiB: guest works": ("create VM", "create interrupt controllers", "create PIT", "slot of 1 GiB",
                                     "create vCPU", "set CPUID", "first run, to its first exit") for mib in (256, 4096)}


def measure(program, folder):
    """One round."""
    figures = {}
    for memory in (256, 4096):
        start = time.monotonic()
        with Vmm(program, options(memory_mib=memory), os.path.join(folder, "log")) as vmm:
            monitor = time.monotonic()
            Witness(vmm).start().close()
            ready = time.monotonic()
        figures[f"{memory} MiB: monitor up"] = (monitor - start) * 1e3
        figures[f"{memory} MiB: guest works"] = (ready - start) * 1e3
    return figures
