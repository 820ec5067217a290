# SPDX-License-Identifier: Apache-2.0
"""A guest whose firmware is in flash chips, and programs the second one."""
from frame import rom
from frame.qemu import HOST_CPU
from frame.wait import until

BYTES = 0x10000			# of each chip
VARIABLES = (1 << 32) - 2 * BYTES	# where the second one is seen
READ, STATUS, QUERY, ERASE, CONFIRM, PROGRAM, BUFFER = 0xff, 0x70, 0x98, 0x20, 0xd0, 0x10, 0xe8
READY = b"\x80"


def program(code, offset, text):
    """Write @text as UEFI firmware does: byte by byte."""
    for i, byte in enumerate(text):
        code.write(VARIABLES + offset + i, PROGRAM, byte)
    return code.write(VARIABLES + offset, READ)


class FlashGuest:
    """The two images, and options for a guest with them whose port 0x402 goes to a file."""

    def __init__(self, folder, code):
        self.code, self.variables = folder / "code.fd", folder / "variables.fd"
        self.code.write_bytes(code.image())
        self.variables.write_bytes(b"old!" * (BYTES // 4))

    def options(self, dump, variables=None):
        """Options of a VMM; @dump: file of the port."""
        return ["-M", "pc-q35-7.2", "-nodefaults", "-display", "none", "-m", "32",
                "-accel", "kvm", "-cpu", HOST_CPU,
                "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={self.code}",
                "-drive", f"if=pflash,unit=1,format=raw,file={variables or self.variables}",
                "-chardev", f"file,id=d,path={dump}", "-device", "isa-debugcon,iobase=0x402,chardev=d",
                "-chardev", "socket,id=s,path=@RUN@/serial,server=on,wait=off", "-serial", "chardev:s"]


def said(dump, want, seconds=30):
    """Wait until the port's file is @want."""
    until(lambda: len(dump.read_bytes()) >= len(want), seconds, f"{len(want)} bytes in {dump}")
    assert dump.read_bytes() == want, dump.read_bytes()
