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
TIMES = 15  # in a row, in each round
QUIET = "rate=off verify=off wall=0"
FLOOR = {"1 vCPU": ("signal ends a system call", "futex, there and back"),
         "8 vCPUs": ("signal ends a system call", "futex, there and back")}
BESIDE = {"1 vCPU": "1 vCPU, by events", "8 vCPUs": "8 vCPUs, by events"}


def seconds(event):
    """When the VMM says that an event happened."""
    return event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6


def felt(program, folder, cpus):
    """Some stops and conts: longest gaps of the boot vCPU, and times between the VMM's events, ms."""
    guest_options = options(args=QUIET, cpus=cpus, memory_mib=256)
    with Vmm(program, guest_options, os.path.join(folder, f"log{cpus}")) as vmm:
        guest = started(vmm, QUIET)
        both = [once(vmm, guest) for _ in range(TIMES)]
        guest.close()
    return [list(values) for values in zip(*both)]


def once(vmm, guest):
    """A stop and a cont."""
    guest.ask("zp")  # forget the gaps so far
    vmm.qmp.take_events()
    vmm.qmp.command("stop")
    stopped = seconds(vmm.qmp.wait_event("STOP"))
    vmm.qmp.command("cont")
    said = seconds(vmm.qmp.wait_event("RESUME")) - stopped
    gaps = json.loads(guest.ask("p"))["largest"]
    return max(gap["ns"] for gap in gaps) / 1e6, said * 1e3


def measure(program, folder):
    """One round."""
    figures = {}
    for cpus, name in ((1, "1 vCPU"), (8, "8 vCPUs")):
        figures[name], figures[f"{name}, by events"] = felt(program, folder, cpus)
    return figures
