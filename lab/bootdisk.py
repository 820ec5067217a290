# SPDX-License-Identifier: Apache-2.0
"""A disk that a Debian guest boots from by firmware: GRUB for BIOS and for UEFI.

    disk = boot_disk(path, guest, guest.command_line("poweroff"))

Theory of operation: sector 0 holds GRUB's boot sector, the sectors behind it its core with what it has to do
built in; partition 1 (ext2) holds kernel and initramfs; partition 2 (FAT) holds the same GRUB as
EFI/BOOT/BOOTX64.EFI. Nothing is installed and nobody needs to be root: the images are made from files.
Debian packages: grub-pc-bin, grub-efi-amd64-bin, grub-common, mtools, e2fsprogs.
"""

import struct
import subprocess
import tempfile
from pathlib import Path

from .paths import LabError, need_tool

SECTOR = 512
FIRST = 2048		# of partition 1, sectors
FAT_MIB = 8
GRUB_FOLDER = Path("/usr/lib/grub")
MODULES = ("part_msdos", "ext2", "linux", "normal", "configfile", "search", "search_label", "serial")
CONFIG = """serial --unit=0 --speed=115200
search --no-floppy --label --set=root outlive-boot
linux /vmlinuz {line}
initrd /initrd
boot
"""


def _run(*argv):
    done = subprocess.run([str(arg) for arg in argv], capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"{argv[0]}: {done.stderr.strip()}")


def _grub(kind, modules, config, out, *more):
    """Write GRUB's core image for platform @kind, with @config built in."""
    if not (GRUB_FOLDER / kind).is_dir():
        package = "grub-pc-bin" if kind == "i386-pc" else "grub-efi-amd64-bin"
        raise LabError(f"no {GRUB_FOLDER / kind} (apt-get install {package})")
    _run(need_tool("grub-mkimage", "grub-common"), "-O", kind, "-p", "/", "-c", config, "-o", out,
         *more, *modules, *MODULES)


def _root_fs(folder, guest, mib):
    tree = folder / "tree"
    tree.mkdir()
    (tree / "vmlinuz").write_bytes(guest.vmlinuz.read_bytes())
    (tree / "initrd").write_bytes(guest.initrd.read_bytes())
    path = folder / "root.ext2"
    with open(path, "wb") as file:
        file.truncate(mib << 20)
    _run(need_tool("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext2", "-L", "outlive-boot", "-d", tree, path)
    return path.read_bytes()


def _efi_fs(folder, efi):
    path = folder / "efi.fat"
    with open(path, "wb") as file:
        file.truncate(FAT_MIB << 20)
    _run(need_tool("mformat", "mtools"), "-i", path, "::")
    _run(need_tool("mmd", "mtools"), "-i", path, "::/EFI", "::/EFI/BOOT")
    _run(need_tool("mcopy", "mtools"), "-i", path, efi, "::/EFI/BOOT/BOOTX64.EFI")
    return path.read_bytes()


def _partition(kind, first, sectors):
    """An entry of the partition table; addresses by cylinder aren't used by anybody any more."""
    return struct.pack("<B3sB3sII", 0x80 if kind == 0x83 else 0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", first, sectors)


def boot_disk(path, guest, line, mib=64):
    """Make the disk at @path from @guest (image.GuestImage); it boots with kernel command line @line."""
    with tempfile.TemporaryDirectory(prefix="outlive-boot") as name:
        folder = Path(name)
        config = folder / "grub.cfg"
        config.write_text(CONFIG.format(line=line))
        core, efi = folder / "core.img", folder / "bootx64.efi"
        _grub("i386-pc", ("biosdisk",), config, core)
        _grub("x86_64-efi", ("fat",), config, efi)
        root, esp = _root_fs(folder, guest, mib), _efi_fs(folder, efi)
        boot = bytearray((GRUB_FOLDER / "i386-pc" / "boot.img").read_bytes())
        boot[446:510] = (_partition(0x83, FIRST, len(root) // SECTOR) +
                         _partition(0xef, FIRST + len(root) // SECTOR, len(esp) // SECTOR)).ljust(64, b"\0")
        with open(path, "wb") as file:
            file.write(bytes(boot) + core.read_bytes())
            if file.tell() > FIRST * SECTOR:
                raise LabError(f"GRUB takes {file.tell()} bytes, {FIRST * SECTOR} are there")
            file.seek(FIRST * SECTOR)
            file.write(root)
            file.write(esp)
    return Path(path)
