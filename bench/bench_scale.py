# SPDX-License-Identifier: Apache-2.0
"""How the pause of a replaced VMM grows with vCPUs and memory.

The ways of the case `upgrade`, without the slow ones: ours by outlive-upgrade, QEMU to a process that
was started before and waits.
"""
import os

from bench_upgrade import IDLE, Guest, move_qemu, upgrade_ours
from measure.guest import ours, wanted

UNIT = "ms"
SMALL = 256
CPUS = {count: f"{count} vCPU{'s' if count > 1 else ''}, {SMALL} MiB" for count in (1, 2, 4, 8, 16)}
MEMORY = {mib: f"1 vCPU, {mib} MiB" for mib in (256, 1024, 4096)}
SCALES = [{"title": "The pause with vCPUs", "with": "vCPUs", "points": {str(at): name for at, name in CPUS.items()}},
          {"title": "The pause with memory", "with": "MiB", "points": {str(at): name for at, name in MEMORY.items()}}]


def measure(program, folder):
    """One round."""
    way = upgrade_ours if ours(program) else move_qemu
    figures = {}
    sizes = [(cpus, SMALL, name) for cpus, name in CPUS.items()] + [(1, mib, name) for mib, name in MEMORY.items()]
    for cpus, mib, name in dict.fromkeys(sizes):
        if not wanted(name):
            continue
        place = os.path.join(folder, f"{cpus}-{mib}")
        os.makedirs(place)
        figures[name] = way(program, Guest(place, cpus, mib, IDLE))["pause"]
    return figures
