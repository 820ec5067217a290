# SPDX-License-Identifier: Apache-2.0
"""Debian kernels for the emulated host and for its guests.

Theory of operation: a kernel is named by series and flavour: 6.1 is bookworm's,
6.12 is from bookworm-backports; "cloud" is small, "generic" has drivers for real
devices and 9p. Debian's metapackages name the newest package. It is unpacked once
into kernels/SERIES-FLAVOUR, with modules.dep made by depmod and the ELF kernel
beside its bzImage, and used from there; nothing is installed. A kernel that is
there stays: only fetch(update=True) looks for a newer one.
"""

import dataclasses
import json
import lzma
import pathlib
import subprocess

from . import archive, vmlinux
from .paths import LabError, lab_dir, locked, need_tool, new_dir, sub_dir

SERIES = ("6.1", "6.12")
METAPACKAGES = {"generic": "linux-image-amd64", "cloud": "linux-image-cloud-amd64"}


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One unpacked kernel."""
    series: str		# "6.1", "6.12"
    flavour: str	# "generic", "cloud"
    release: str	# as uname -r says
    package: str	# Debian package it came from
    version: str	# version of that package
    root: pathlib.Path	# unpacked package: root/boot, root/lib/modules

    @property
    def vmlinuz(self):
        """The bzImage."""
        return self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def vmlinux(self):
        """The uncompressed ELF kernel with a PVH entry."""
        return self.root / "boot" / f"vmlinux-{self.release}"

    @property
    def config(self):
        """The kernel's configuration file."""
        return self.root / "boot" / f"config-{self.release}"

    def module_files(self, names):
        """Return the files of modules and what they need, in load order.

        Built-in modules need no file and are left out. An unknown name is an error.
        """
        files = []
        for name in names:
            for path in self._depends(name):
                if path not in files:
                    files.append(path)
        return files

    def _depends(self, name):
        done = subprocess.run(
            [need_tool("modprobe", "kmod"), "-C", "/dev/null", "-d", str(self.root), "-S", self.release,
             "--show-depends", name], capture_output=True, text=True)
        if done.returncode:
            raise LabError(f"kernel {self.release}: no module {name}: {done.stderr.strip()}")
        lines = [line.split(None, 1) for line in done.stdout.splitlines()]
        return [pathlib.Path(words[1].strip()) for words in lines if words[0] == "insmod"]


def read_module(path):
    """Return the bytes of a module, unpacked if Debian ships it as .ko.xz."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def folder(series, flavour):
    """Return the folder a kernel is kept in, there or not."""
    return lab_dir() / "kernels" / f"{series}-{flavour}"


def _load(series, flavour):
    """Return the Kernel that is unpacked already, or None."""
    info = folder(series, flavour) / "info.json"
    if not info.exists():
        return None
    return Kernel(root=info.parent / "root", **json.loads(info.read_text()))


def _unpack(series, flavour, package, version):
    sub_dir("kernels")
    with new_dir(folder(series, flavour)) as temp:
        root = temp / "root"
        root.mkdir()
        archive.unpack(package, version, root)
        (release,) = [path.name for path in (root / "lib" / "modules").iterdir()]
        subprocess.run([need_tool("depmod", "kmod"), "-b", str(root), release], check=True)
        boot = root / "boot"
        (boot / f"vmlinux-{release}").write_bytes(vmlinux.extract(boot / f"vmlinuz-{release}"))
        info = {"series": series, "flavour": flavour, "release": release, "package": package, "version": version}
        (temp / "info.json").write_text(json.dumps(info))


def fetch(series="6.1", flavour="generic", update=False):
    """Return a Kernel, downloaded and unpacked if it isn't there yet.

    @update: look for a newer package even if one is unpacked. Hosts that run from
    the old one have it open and in memory; start them again to see the new one.
    """
    if series not in SERIES or flavour not in METAPACKAGES:
        raise LabError(f"no kernel {series}-{flavour}: series {', '.join(SERIES)}; flavours {', '.join(METAPACKAGES)}")
    with locked(f"kernel-{series}-{flavour}"):
        kernel = _load(series, flavour)
        if kernel and not update:
            return kernel
        if update:
            archive.refresh(force=True)
        package, version = archive.resolve_metapackage(METAPACKAGES[flavour], series + ".")
        if not kernel or (kernel.package, kernel.version) != (package, version):
            _unpack(series, flavour, package, version)
        return _load(series, flavour)


def unpacked():
    """Return the kernels that are there, without looking at the network."""
    found = [_load(series, flavour) for series in SERIES for flavour in METAPACKAGES]
    return [kernel for kernel in found if kernel]
