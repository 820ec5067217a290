# SPDX-License-Identifier: Apache-2.0
"""A guest that does anything, with every device there is: its VMM stays, answers, and doesn't grow."""
import os
import random
import socket
import time

import pytest

from frame.qemu import HOST_CPU
from frame.rom import hostile_guest
from frame.wait import until

MIB = 1 << 20
DOTS = int(os.environ.get("OUTLIVE_HOSTILE_DOTS", "30"))  # of 1024 deeds each
QUIET = 3  # s without a dot after which it is reset; longer each time, as the machine may be slow
GROWTH = 64 * MIB  # what the VMM may take beside the guest's RAM: no more than its queues and buffers hold
ENDS = {"shutdown", "guest-panicked", "internal-error", "watchdog", "io-error", "paused"}


def options(folder, peer):
    """A machine with all that a guest can get at."""
    disks = []
    for name, size in (("a", 8 * MIB), ("b", 4 * MIB)):
        path = folder / f"{name}.raw"
        with open(path, "wb") as file:
            file.truncate(size)
        disks += ["-blockdev", f"driver=raw,node-name={name},file.driver=file,file.filename={path},cache.direct=on,"
                  "file.cache.direct=on"]
    devices = ["virtio-blk-pci,drive=a,packed=on,num-queues=2,addr=3", "virtio-scsi-pci,id=s0,num_queues=2,addr=4",
               "scsi-hd,bus=s0.0,drive=b", "virtio-net-pci,netdev=n0,addr=5,mq=off", "virtio-rng-pci,addr=6",
               "virtio-serial-pci,id=c0,max_ports=4,addr=7", "virtconsole,chardev=con,bus=c0.0",
               "virtserialport,chardev=port,bus=c0.0,name=a.port",
               "virtio-balloon-pci,free-page-reporting=on,free-page-hint=on,addr=8",
               "pcie-root-port,id=p0,chassis=1,addr=2", "virtio-blk-pci,drive=z,bus=p0", "pvpanic",
               "isa-debugcon,iobase=0x402,chardev=said"]
    return ["-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", HOST_CPU, "-smp", 2, "-m", 64, "-nodefaults", "-display",
            "none", "-no-shutdown", "-action", "panic=none", *disks, "-blockdev",
            "driver=null-co,node-name=z,size=1M", "-chardev", "ringbuf,id=con,size=64K", "-chardev",
            "ringbuf,id=port,size=64K", "-netdev", f"stream,id=n0,addr.type=unix,addr.path={peer}", "-chardev",
            f"file,id=said,path={folder}/said", "-serial", "null",
            *(word for device in devices for word in ("-device", device))]


def private(vmm):
    """Bytes that are the VMM's own: its heap and stacks, not the guest's RAM."""
    with open(f"/proc/{vmm.pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no Anonymous: in smaps_rollup")


class Hostile:
    """A guest of hostile.S under somebody who takes care that it goes on."""

    def __init__(self, vmm, said):
        self.vmm, self.said = vmm, said
        self.seen, self.since, self.quiet = 0, time.monotonic(), QUIET

    def go_on(self):
        """What an operator does with a guest that has stopped itself, or says nothing any more."""
        status = self.vmm.qmp.command("query-status")["status"]
        if status == "suspended":
            self.vmm.qmp.command("system_wakeup")
        elif status in ENDS or time.monotonic() > self.since + self.quiet:
            self.quiet *= 1 if status in ENDS else 2
            self.vmm.qmp.command("system_reset")
            self.vmm.qmp.command("cont")
            self.since = time.monotonic()
        self.vmm.qmp.take_events()

    def dots(self):
        """How often it has done 1024 deeds."""
        self.go_on()
        now = self.said.stat().st_size if self.said.exists() else 0
        if now != self.seen:
            self.seen, self.since, self.quiet = now, time.monotonic(), QUIET
        return now


def test_a_guest_that_does_anything_is_survived(outlive, kvm, tmp_path, run_dir):
    seed = int(os.environ.get("OUTLIVE_HOSTILE_SEED", "1")) or random.getrandbits(32)
    bios = tmp_path / "bios"
    bios.write_bytes(hostile_guest(tmp_path, seed))
    with socket.socket(socket.AF_UNIX) as peer:  # never reads what the guest sends
        peer.bind(str(run_dir / "net"))
        peer.listen(1)
        vmm = outlive.start(*options(tmp_path, run_dir / "net"), "-bios", bios)
    guest = Hostile(vmm, tmp_path / "said")
    before = private(vmm)
    for number in range(1, DOTS + 1):
        until(lambda: guest.dots() >= number, 120, f"{number * 1024} deeds of seed {seed}")
        assert private(vmm) < before + GROWTH, seed
