# SPDX-License-Identifier: Apache-2.0
"""A guest with the witness in it: pulse, started in any VMM, and what it reports.

The report lies at a fixed guest address (guest/pulse/report.h) and is read by QMP while the
guest runs; tools/pulse_report.py decodes it. Letters on the serial console are requests.
"""
import socket
import struct
import sys

from frame.paths import ROOT, pulse_elf
from frame.qemu import HOST_CPU
from frame.wait import until

REPORT_GPA = 0x10000
MAGIC = 0x0045534C55500A7E
HEAD = struct.Struct("<QIIIIIII")  # magic, version, size, header and cpu size, cpus, form, state
BOOTING, FILLING, RUNNING, ENDED, FAILED = range(1, 6)
READY_SECONDS = 60
MACHINE = ("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", HOST_CPU, "-nodefaults", "-display", "none")


def options(args="", cpus=1, memory_mib=64, machine=MACHINE):
    """Options that start the witness: pulse's `args`, and how large the guest is."""
    elf = pulse_elf()
    assert elf.exists(), f"{elf} is not built"
    return [*machine, "-smp", cpus, "-m", memory_mib, "-kernel", elf, "-append", f"pulse {args}",
            "-chardev", "socket,id=witness,path=@RUN@/witness.sock,server=on,wait=off",
            "-serial", "chardev:witness"]


class Witness:
    """The witness in a running Vmm."""

    def __init__(self, vmm):
        self.vmm = vmm

    def memory(self, address, size):
        """Bytes of guest memory, by QMP."""
        path = f"{self.vmm.run}/memory"
        self.vmm.qmp.command("pmemsave", val=address, size=size, filename=path)
        with open(path, "rb") as file:
            return file.read()

    def state(self):
        """Where in its life it is: BOOTING ... FAILED; 0 before it has come up."""
        magic, _, _, _, _, _, _, state = HEAD.unpack(self.memory(REPORT_GPA, HEAD.size))
        return state if magic == MAGIC else 0

    def wait_ready(self, timeout=READY_SECONDS):
        """Wait until it serves requests; returns self."""
        def ready():
            state = self.state()
            assert state != FAILED, f"the witness failed: {self.raw()[0x24:0x40].hex()}"
            return state == RUNNING
        until(ready, timeout, "the witness is ready")
        return self

    def raw(self):
        """The report's bytes."""
        size = HEAD.unpack(self.memory(REPORT_GPA, HEAD.size))[2]
        return self.memory(REPORT_GPA, size or 4096)

    def report(self):
        """The decoded report, as tools/pulse_report.py gives it."""
        tools = str(ROOT / "tools")
        if tools not in sys.path:
            sys.path.append(tools)
        from pulse_report import decode  # the witness's own reader, next to its header
        return decode(self.raw())

    def ask(self, letter, timeout=READY_SECONDS):
        """Send a request on the console; returns the line it answers with."""
        with socket.socket(socket.AF_UNIX) as console:
            console.settimeout(timeout)
            console.connect(self.vmm.path("witness.sock"))
            console.sendall(letter.encode())
            line = b""
            while not line.endswith(b"\n"):
                data = console.recv(65536)
                assert data, f"the console closed after {line!r}"
                line += data
        return line.decode(errors="replace").strip()
