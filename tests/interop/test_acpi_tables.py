# SPDX-License-Identifier: Apache-2.0
"""The ACPI code that stock QEMU 7.2 and Outlive give a guest, for machines that differ in what it describes.

The guest is firmware of a few bytes, behind which tables are as a kernel finds them; they are taken from the RAM
block that carries them in a stream.
"""
import struct

import pytest
from frame.moving import ended, send
from frame.rom import tables_guest
from frame.wait import until

BLOCK = b"/rom@etc/acpi/tables"
PAGE, ZERO, MORE = 0x08, 0x02, 0x20  # flags of a page's offset
PORTS = ("-device", "pcie-root-port,id=rp0,chassis=1,addr=2.0,multifunction=on",
         "-device", "pcie-root-port,id=rp1,chassis=2,addr=2.1", "-device", "virtio-rng-pci,bus=rp1")
LPC = "ICH9-LPC."


def blob(stream):
    """The content of the block, from its page records."""
    name = bytes([len(BLOCK)]) + BLOCK
    at, pages = stream.find(name), {}
    while at >= 0:
        head = struct.unpack(">Q", stream[at - 8:at])[0]
        at += len(name)
        while head & (PAGE | ZERO) and head < 1 << 20:
            size = 4096 if head & PAGE else 1
            pages[head & ~0xfff] = stream[at:at + size] if head & PAGE else bytes(4096)
            at += size + 8
            head = struct.unpack(">Q", stream[at - 8:at])[0]
            if not head & MORE:
                break
        at = stream.find(name, at)
    return b"".join(pages[offset] for offset in sorted(pages))


def dsdt(starter, file, options):
    """The DSDT of a machine."""
    rom, said = file.with_suffix(".rom"), file.with_suffix(".said")
    rom.write_bytes(tables_guest())
    vmm = starter.start("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", "host,arch-capabilities=off", "-nodefaults",
                        "-display", "none", "-m", 64, "-bios", rom, "-device", "isa-debugcon,iobase=0x402,chardev=d",
                        "-chardev", f"file,id=d,path={said}", *options)
    until(lambda: said.exists() and said.read_bytes() == b"R", 30, "the firmware has read the tables")
    send(vmm, f"exec:cat >{file}")
    assert ended(vmm)["status"] == "completed"
    tables = blob(file.read_bytes())
    at = tables.index(b"DSDT")
    return tables[at:at + int.from_bytes(tables[at + 4:at + 8], "little")]


@pytest.mark.parametrize("options", [
    ("-smp", "2"),
    ("-smp", "1,maxcpus=4", *PORTS),
    (*PORTS, "-global", f"{LPC}acpi-pci-hotplug-with-bridge-support=off"),
    (*PORTS, "-device", "pcie-root-port,id=rp2,chassis=3,addr=3,hotplug=off"),
    ("-global", f"{LPC}disable_s3=1", "-global", f"{LPC}disable_s4=1"),
    ("-global", f"{LPC}s4_val=4"),
], ids=["bare", "ports", "native", "one-fixed-port", "no-sleep", "s4-type"])
def test_dsdt_is_qemus(outlive, qemu, kvm, tmp_path, options):
    ours, theirs = (dsdt(starter, tmp_path / name, options) for name, starter in (("o", outlive), ("q", qemu)))
    assert len(theirs) > 4000
    assert ours.hex(" ", 16).split() == theirs.hex(" ", 16).split()
