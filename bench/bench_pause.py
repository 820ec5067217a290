# SPDX-License-Identifier: Apache-2.0
"""Pause that an idle guest feels when it is stopped and continued at once.

What stopping itself costs, without any work in between: the floor of every hand-over.
"""
import json
import os

from frame.vmm import Vmm
from frame.witness import options
from measure.guest import started

UNIT = "ms"
QUIET = "rate=off verify=off wall=0"
FLOOR = {"1 vCPU": ("signal ends a system call", "futex, there and back")}


def felt(program, folder, cpus):
    """Longest gap of the boot vCPU over a stop and a cont."""
    guest_options = options(args=QUIET, cpus=cpus, memory_mib=256)
    with Vmm(program, guest_options, os.path.join(folder, "log")) as vmm:
        guest = started(vmm, QUIET)
        guest.ask("zp")  # forget the gaps of the start
        vmm.qmp.command("stop")
        vmm.qmp.command("cont")
        gaps = json.loads(guest.ask("p"))["largest"]
        guest.close()
    return max(gap["ns"] for gap in gaps) / 1e6


def measure(program, folder):
    """One round."""
    return {"1 vCPU": felt(program, folder, 1), "8 vCPUs": felt(program, folder, 8)}
