# SPDX-License-Identifier: Apache-2.0
"""A guest with the witness in it: pulse, started in any VMM, and what it reports.

tools/pulse_report.py knows the report; here it is read by QMP, which each VMM has, so a test
can follow a guest from one VMM to another. Letters on the console are requests.
"""
import socket
import sys

from frame.paths import BUILD, ROOT
from frame.qemu import HOST_CPU
from frame.wait import Deadline, TooLate

sys.path.append(str(ROOT / "tools"))
import pulse_report  # noqa: E402  (the witness's own reader lives in tools/)

READY_SECONDS = 60
FILLED_MIB = 16  # in a second, on a host with much other work
MACHINE = ("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", HOST_CPU, "-nodefaults", "-display", "none")
CMDLINE = "opt/outlive/pulse/cmdline"


def options(args="", cpus=1, memory_mib=64, boot="bios", machine=MACHINE):
    """Options that start the witness: pulse's `args`, and how large the guest is.

    The VMM starts it paused, see Witness.start().
    `boot`: "bios", as firmware of its own, up at once in each VMM; "pvh", by -kernel, which takes
    QEMU's q35 through SeaBIOS (seconds, on hosts that emulate ring 0).
    """
    image = BUILD / "guest" / "pulse" / ("pulse.bios" if boot == "bios" else "pulse.elf")
    assert image.exists(), f"{image} is not built"
    start = ["-kernel", image, "-append", f"pulse {args}"]
    if boot == "bios":
        start = ["-bios", image] + (["-fw_cfg", f"name={CMDLINE},string={args}"] if args else [])
    return [*machine, "-S", "-smp", cpus, "-m", memory_mib, *start,
            "-chardev", "socket,id=witness,path=@RUN@/witness.sock,server=on,wait=off",
            "-serial", "chardev:witness"]


class Witness:
    """The witness in a running Vmm; `source` reads guest memory, `console` is its serial port."""

    def __init__(self, vmm):
        """Connect to what options() set up; the guest may run or not, or may still be to come."""
        self.vmm = vmm
        self.source = pulse_report.Qmp(client=vmm.qmp)
        self.console = socket.socket(socket.AF_UNIX)
        self.console.connect(vmm.path("witness.sock"))
        self.lines = b""

    def start(self, memory_mib=0):
        """Let a paused guest go, until it is ready and has said so on the console; it fills its memory first."""
        self.vmm.qmp.command("cont")
        self.wait("ready", READY_SECONDS + memory_mib // FILLED_MIB)
        self.line(READY_SECONDS)
        return self

    def close(self):
        """Let go of the connections."""
        self.source.close()
        self.console.close()

    def report(self):
        """The report now: a dict, see pulse_report.decode()."""
        return pulse_report.read(self.source)

    def wait(self, condition, timeout=READY_SECONDS):
        """The report, once `condition` holds: "ready", "verified" ... or a function of it."""
        try:
            return pulse_report.wait(self.source, condition, timeout)
        except pulse_report.Bad as bad:
            raise TooLate(f"{bad}; output of {self.vmm.program}:\n{self.vmm.output()}") from None

    def ask(self, letter, timeout=READY_SECONDS):
        """Send a request on the console; returns the line it answers with."""
        self.console.sendall(letter.encode())
        return self.line(timeout)

    def line(self, timeout):
        """The next line of the console."""
        deadline = Deadline(timeout, "a line from the witness")
        while b"\n" not in self.lines:
            self.console.settimeout(deadline.left())
            try:
                data = self.console.recv(65536)
            except TimeoutError:
                continue
            assert data, f"the console closed after {self.lines!r}"
            self.lines += data
        line, _, self.lines = self.lines.partition(b"\n")
        return line.decode(errors="replace").strip()
