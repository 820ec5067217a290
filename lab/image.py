# SPDX-License-Identifier: Apache-2.0
"""A Debian Linux guest: kernel, initramfs, disks; for the lab and for real hosts alike.

    guest = guest_image("6.1")
    command = [qemu, "-kernel", guest.vmlinux, "-initrd", guest.initrd,
               "-append", guest.command_line("mount | head; cat /proc/cpuinfo")]

Interface: guest_image() makes or finds the pair of kernel and initramfs; its
command_line() says what the guest shall do, by the words that guest-init.sh obeys;
with_files() puts more files into the initramfs; make_disk() makes an ext4 disk
from a folder and read_file() reads one back, without being root. The guest reports on its console with lines that
start with MARK.

Theory of operation: the initramfs is a static busybox, an init, and the modules for
the devices a VMM offers; it is not compressed, since unpacking is slow under
emulation. The "cloud" kernel starts faster and has virtio and NVMe; "generic"
also has 9p, e1000e and AHCI.
"""

import base64
import dataclasses
import json
import subprocess
from pathlib import Path

from . import cpio, initramfs, kernels
from .paths import PROJECT, LabError, need_tool

MARK = "OUTLIVE-GUEST"
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi", "sd_mod", "virtio_console", "virtio_rng",
           "virtio_balloon", "evdev", "ext4", "9pnet_virtio", "9p", "nvme", "e1000e", "ahci", "xhci_pci", "button",
           "efivarfs")
APPEND = "console=ttyS0 reboot=t panic=-1"
# For guests under emulation: what costs time there and is of no use.
FAST = "quiet mitigations=off nokaslr no_timer_check tsc=reliable cryptomgr.notests audit=0 apparmor=0"
COMMAND_LINE_SIZE = 2048	# Linux, arch/x86/include/asm/setup.h


@dataclasses.dataclass(frozen=True)
class GuestImage:
    """What a VMM needs to start a Debian Linux guest."""
    release: str	# uname -r
    vmlinuz: Path	# bzImage
    vmlinux: Path	# ELF with a PVH entry: nothing to decompress
    initrd: Path
    append: str = APPEND

    def command_line(self, script=None, extra=""):
        """Return a kernel command line.

        @script: shell text for the guest to run (a few hundred bytes; longer ones go into
        the initramfs as /guest/run). @extra: further words, such as FAST or "guest.end=wait".
        """
        words = [self.append, extra]
        if script is not None:
            words.append("guest.sh=" + base64.b64encode(script.encode()).decode())
        line = " ".join(word for word in words if word)
        if len(line) >= COMMAND_LINE_SIZE:
            raise LabError(f"kernel command line of {len(line)} bytes: put the script into the initramfs as guest/run")
        return line

    def with_files(self, files, directory):
        """Return the same guest with more files in its initramfs, which is written to @directory.

        @files: {path in the guest: (bytes, mode)}; "guest/run" is run by its init.
        """
        return dataclasses.replace(self, initrd=initramfs.with_files(self.initrd, files, directory))


def _orders(kernel):
    """Return {module: its files in load order}, for the modules this kernel has."""
    orders = {}
    for name in MODULES:
        try:
            orders[name] = kernel.module_files([name])
        except LabError:	# not in this flavour
            continue
    return orders


def guest_image(series="6.1", flavour="cloud"):
    """Return a GuestImage, made if it isn't there yet."""
    kernel = kernels.fetch(series, flavour)
    box = initramfs.busybox()
    init = (PROJECT / "lab" / "guest-init.sh").read_bytes()
    orders = _orders(kernel)

    def build():
        out = cpio.Archive()
        initramfs.base(out, box)
        out.file("init", init, 0o755)
        files = {path for paths in orders.values() for path in paths}
        initramfs.add_modules(out, sorted(files), "lib/guest")
        for name, paths in orders.items():
            text = "".join(f"{initramfs.module_name(path)}\n" for path in paths)
            out.file(f"lib/guest/order/{name}", text.encode())
        return out

    names = {name: [initramfs.module_name(p) for p in paths] for name, paths in orders.items()}
    parts = [box, init, (PROJECT / "lab" / "cpio.py").read_bytes(), kernel.version, json.dumps(names, sort_keys=True)]
    initrd = initramfs.cached(f"guest-{series}-{flavour}", parts, build)
    return GuestImage(kernel.release, kernel.vmlinuz, kernel.vmlinux, initrd)


def make_disk(path, mib, tree=None, label="data"):
    """Make a raw disk of @mib MiB with an ext4 file system; its content is a copy of folder @tree."""
    path = Path(path)
    with open(path, "wb") as file:
        file.truncate(mib << 20)
    argv = [need_tool("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4", "-L", label, "-E", "root_owner=0:0"]
    argv += ["-d", str(tree)] if tree else []
    done = subprocess.run([*argv, str(path)], capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"mke2fs {path}: {done.stderr.strip()}")
    return path


def read_file(disk, name):
    """Return the bytes of a file on a disk made by make_disk(), without mounting it."""
    argv = [need_tool("debugfs", "e2fsprogs"), "-R", f"cat {name}", str(disk)]
    done = subprocess.run(argv, capture_output=True)
    if done.returncode or b"File not found" in done.stderr:
        raise LabError(f"debugfs {disk}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
