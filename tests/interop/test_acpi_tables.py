# SPDX-License-Identifier: Apache-2.0
"""The ACPI tables that stock QEMU 7.2 and Outlive give a guest, for machines that differ in what it describes.

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


def tables_of(starter, file, options, signatures=("DSDT",)):
    """Some tables of a machine, by signature."""
    rom, said = file.with_suffix(".rom"), file.with_suffix(".said")
    rom.write_bytes(tables_guest())
    vmm = starter.start("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", "host,arch-capabilities=off", "-nodefaults",
                        "-display", "none", "-m", 64, "-bios", rom, "-device", "isa-debugcon,iobase=0x402,chardev=d",
                        "-chardev", f"file,id=d,path={said}", *options)
    until(lambda: said.exists() and said.read_bytes() == b"R", 60, "the firmware has read the tables")
    send(vmm, f"exec:cat >{file}")
    assert ended(vmm)["status"] == "completed"
    tables, found = blob(file.read_bytes()), {}
    for signature in signatures:
        at = tables.index(signature.encode())
        found[signature] = tables[at:at + int.from_bytes(tables[at + 4:at + 8], "little")].hex(" ", 16).split()
    return found


@pytest.mark.parametrize("options", [
    ("-smp", "2"),
    ("-smp", "1,maxcpus=4", *PORTS),
    (*PORTS, "-global", f"{LPC}acpi-pci-hotplug-with-bridge-support=off"),
    (*PORTS, "-device", "pcie-root-port,id=rp2,chassis=3,addr=3,hotplug=off"),
    ("-global", f"{LPC}disable_s3=1", "-global", f"{LPC}disable_s4=1"),
    ("-global", f"{LPC}s4_val=4"),
], ids=["bare", "ports", "native", "one-fixed-port", "no-sleep", "s4-type"])
def test_dsdt_is_qemus(outlive, qemu, kvm, tmp_path, options):
    ours, theirs = (tables_of(starter, tmp_path / name, options) for name, starter in (("o", outlive), ("q", qemu)))
    assert len(theirs["DSDT"]) > 250
    assert ours == theirs


def node(number, mib, more=""):
    """A NUMA node with memory of its own."""
    return ("-object", f"memory-backend-memfd,id=m{number},size={mib}M,share=on",
            "-numa", f"node,nodeid={number},memdev=m{number}{more}")


@pytest.mark.parametrize("options", [
    ("-smp", "4,sockets=2,cores=2,threads=1", *node(0, 24), *node(1, 40)),
    ("-smp", "2,sockets=3,cores=2,maxcpus=6", *node(0, 16, ",cpus=0-1,cpus=4"), *node(1, 24, ",cpus=2-3,cpus=5"),
     *node(2, 24),
     "-numa", "dist,src=0,dst=1,val=20", "-numa", "dist,src=0,dst=2,val=31", "-numa", "dist,src=2,dst=1,val=17"),
    ("-smp", "2,sockets=2,cores=1,threads=1", *node(0, 64), "-numa", "node", "-numa", "cpu,node-id=1,socket-id=0",
     "-numa", "dist,src=0,dst=1,val=20", "-numa", "dist,src=1,dst=0,val=30"),
], ids=["sockets", "distances", "no-memory"])
def test_nodes_are_described_as_by_qemu(outlive, qemu, kvm, tmp_path, options):
    found = ("DSDT", "SRAT", "SLIT") if "dist" in str(options) else ("DSDT", "SRAT")
    ours, theirs = (tables_of(starter, tmp_path / name, options, found)
                    for name, starter in (("o", outlive), ("q", qemu)))
    assert ours == theirs
