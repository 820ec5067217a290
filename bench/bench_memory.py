# SPDX-License-Identifier: Apache-2.0
"""Memory of the VMM process beside its guest's.

Private anonymous and private file memory, from smaps; guest RAM is shared memory here and
does not count.
"""
import os

from frame.vmm import Vmm
from frame.witness import Witness, options

UNIT = "MiB"
RAM = ("-object", "memory-backend-memfd,id=ram,size=256M,share=on",
       "-machine", "memory-backend=ram")


def private_mib(pid):
    """Memory that only this process has, guest RAM left out."""
    total, name = 0, ""
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as file:
        for line in file:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                name = line
            elif words[0] in ("Private_Clean:", "Private_Dirty:") and "memfd:" not in name:
                total += int(words[1])
    return total / 1024


def measure(program, folder):
    """One round."""
    with Vmm(program, [*options(memory_mib=256), *RAM], os.path.join(folder, "log")) as vmm:
        Witness(vmm).start().close()
        return {"256 MiB guest": private_mib(vmm.pid)}
