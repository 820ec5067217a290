# SPDX-License-Identifier: Apache-2.0
"""The first user space of the emulated host: a static busybox, modules, an init.

Theory of operation: what is the same for many runs (busybox, modules, scripts) is
one archive, kept under the hash of all that goes into it. What belongs to one run
(its mounts, addresses, name) is a small archive put behind it. host-init.sh and
host-agent.sh say what happens then.
"""

import hashlib
import json
import os
import shlex
import shutil
import tempfile
import time
from pathlib import Path

from . import archive, cpio, kernels, kvm_amd
from .paths import PROJECT, locked, new_dir, sub_dir, write_file

HERE = PROJECT / "lab"
# What is needed before the root is there, and what every host has.
ROOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
HOST_MODULES = ("virtio_console", "kvm-amd", "tun")
UNUSED_S = 24 * 3600	# an archive not used for so long makes room for a new one


def _is_static(path):
    """Say whether an ELF file needs no loader (no PT_INTERP)."""
    data = path.read_bytes()[:4096]
    return data[:4] == b"\x7fELF" and b"/ld-linux" not in data


def busybox():
    """Return the bytes of a static busybox: the system's, else Debian's package."""
    system = shutil.which("busybox")
    if system and _is_static(Path(system)):
        return Path(system).read_bytes()
    with locked("busybox"):
        target = sub_dir("cache") / "busybox-static"
        if not target.exists():
            with new_dir(target) as temp:
                archive.unpack("busybox-static", None, temp)
    return (target / "bin" / "busybox").read_bytes()


def cached(name, parts, build):
    """Return the path of an archive named by the hash of @parts, built if missing.

    @parts: bytes and strings that determine the content. @build: gives a cpio.Archive.
    """
    digest = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode()
        digest.update(b"%d:" % len(raw) + raw)
    path = sub_dir("cache") / f"{name}-{digest.hexdigest()[:20]}.cpio"
    if path.exists():
        os.utime(path)
        return path
    for other in path.parent.glob(f"{name}-*.cpio"):
        if time.time() - other.stat().st_mtime > UNUSED_S:
            other.unlink(missing_ok=True)
    write_file(path, bytes(build()))
    return path


def add_modules(out, files, where):
    """Put modules into the archive, all in one folder, unpacked."""
    for path in files:
        data = kernels.read_module(path)
        if module_name(path) == "kvm-amd.ko":
            data = kvm_amd.for_emulation(data)
        out.file(f"{where}/{module_name(path)}", data)


def module_name(path):
    """Return the file name of a module without a compression suffix."""
    return path.name[:path.name.index(".ko")] + ".ko"


def base(out, box):
    """Put in what any first user space needs: busybox, empty mount points, a console."""
    for name in ("proc", "sys", "dev", "tmp", "run", "lab"):
        out.folder(name)
    out.char_device("dev/console", 5, 1)
    out.char_device("dev/null", 1, 3, 0o666)
    out.file("bin/busybox", box, 0o755)
    out.link("bin/sh", "busybox")


def host_archive(kernel, modules=()):
    """Return the path of the archive for a host with @kernel and further @modules."""
    box = busybox()
    scripts = {name: (HERE / f"host-{name}.sh").read_bytes() for name in ("init", "agent", "modprobe")}
    first = kernel.module_files(ROOT_MODULES)
    rest = [path for path in kernel.module_files((*HOST_MODULES, *modules)) if path not in first]

    def build():
        out = cpio.Archive()
        base(out, box)
        out.file("init", scripts["init"], 0o755)
        out.file("lab/agent", scripts["agent"])
        out.file("lab/modprobe", scripts["modprobe"], 0o755)
        add_modules(out, first + rest, "lab/modules")
        for name, files in (("root", first), ("rest", rest)):
            out.file(f"lab/modules/order.{name}", "".join(f"{module_name(p)}\n" for p in files).encode())
        return out

    own = [(HERE / name).read_bytes() for name in ("cpio.py", "kvm_amd.py")]
    parts = [box, *scripts.values(), *own, kernel.version,
             json.dumps([[module_name(p) for p in files] for files in (first, rest)])]
    return cached(f"host-{kernel.series}-{kernel.flavour}", parts, build)


def with_files(archive_path, files, directory):
    """Write a copy of an archive with more files behind it, into @directory.

    @files: {name: (bytes, mode)}. Return the new archive's path.
    """
    out = cpio.Archive()
    for name, (data, mode) in files.items():
        out.file(name, data, mode)
    with tempfile.NamedTemporaryFile(dir=directory, prefix="initrd.", delete=False) as file:
        with open(archive_path, "rb") as source:
            shutil.copyfileobj(source, file)
        file.write(bytes(out))
    return Path(file.name)


def conf(values):
    """Return shell text that sets each name to its value."""
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items()).encode()
