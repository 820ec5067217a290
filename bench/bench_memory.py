# SPDX-License-Identifier: Apache-2.0
"""Memory of each VMM process beside its guest's.

PSS from smaps: pages that several processes share count in parts, so many guests are cheaper each.
Guest RAM is shared memory here and does not count.
"""
import contextlib
import os

from frame.vmm import Vmm
from frame.witness import options
from measure.guest import started

UNIT = "MiB"
PRIVATE = ("Private_Clean:", "Private_Dirty:")
QUIET = "rate=off verify=off"
RAM = ("-object", "memory-backend-memfd,id=ram,size=256M,share=on",
       "-machine", "memory-backend=ram")


def own_mib(pid, words):
    """Sum of some lines of smaps, guest RAM left out."""
    total, name = 0, ""
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as file:
        for line in file:
            first, second = line.split()[:2]
            if "-" in first and not first.endswith(":"):
                name = line
            elif first in words and not any(word in name for word in ("memfd:", "guest-ram:")):
                total += int(second)
    return total / 1024


def measure(program, folder):
    """One round: guests are added, and all weighed at 1, 4 and 16."""
    figures = {}
    with contextlib.ExitStack() as stack:
        vmms = []
        for count in (1, 4, 16):
            while len(vmms) < count:
                log = os.path.join(folder, f"log{len(vmms)}")
                vmms.append(stack.enter_context(
                    Vmm(program, [*options(QUIET, memory_mib=256), *RAM], log)))
                started(vmms[-1], QUIET).close()
            pss = sum(own_mib(vmm.pid, ("Pss:",)) for vmm in vmms) / count
            figures[f"PSS each, {count} guests" if count > 1 else "PSS, 1 guest"] = pss
        figures["private, of 16 guests"] = own_mib(vmms[0].pid, PRIVATE)
    return figures
