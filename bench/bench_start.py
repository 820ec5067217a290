# SPDX-License-Identifier: Apache-2.0
"""Time from starting the VMM until its guest works.

The guest is the witness as firmware of its own, so no other firmware's time is in it. The first instruction is one
of three of a guest that says so by a port, without monitor or anything else that isn't needed for it.
"""
import os
import pathlib
import subprocess
import time

from frame.rom import VECTOR, rom
from frame.vmm import Vmm
from frame.witness import MACHINE, Witness, options

UNIT = "ms"
FLOOR = {f"{mib} MiB: guest works": ("create VM", "create interrupt controllers", "create PIT", "slot of 1 GiB",
                                     "create vCPU", "set CPUID", "first run, to its first exit") for mib in (256, 4096)}


def first_instruction_ms(program, folder):
    """Until a guest's first instructions have been executed."""
    image = pathlib.Path(folder, "first.rom")
    image.write_bytes(rom({VECTOR: bytes.fromhex("b052 ba0204 ee f4 ebfd")}))  # 'R' to port 0x402; hlt
    argv = [*program.argv, *MACHINE, "-m", "256", "-bios", image, "-chardev", "stdio,id=d", "-device",
            "isa-debugcon,iobase=0x402,chardev=d"]
    start = time.monotonic()
    with subprocess.Popen(list(map(str, argv)), env=program.env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE) as vmm:
        said = vmm.stdout.read(1)
        took = time.monotonic() - start
        vmm.kill()
    assert said == b"R", f"{program} ended before its guest said anything"
    return took * 1e3


def measure(program, folder):
    """One round."""
    figures = {"256 MiB: first instruction": first_instruction_ms(program, folder)}
    for memory in (256, 4096):
        start = time.monotonic()
        with Vmm(program, options(memory_mib=memory), os.path.join(folder, "log")) as vmm:
            monitor = time.monotonic()
            Witness(vmm).start().close()
            ready = time.monotonic()
        figures[f"{memory} MiB: monitor up"] = (monitor - start) * 1e3
        figures[f"{memory} MiB: guest works"] = (ready - start) * 1e3
    return figures
