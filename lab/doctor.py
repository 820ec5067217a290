# SPDX-License-Identifier: Apache-2.0
"""Says whether this machine can run the lab, and what mends it if not."""

import json
import os
import shutil
import subprocess

from . import kernels, paths

# program, Debian package, what for
TOOLS = (
    ("qemu-system-x86_64", "qemu-system-x86", "the emulated host"),
    ("setpriv", "util-linux", "QEMU ends with the lab"),
    ("depmod", "kmod", "kernel modules"),
    ("lz4", "lz4", "6.1's cloud kernel"),
    ("zstd", "zstd", "6.12's kernels"),
    ("apt-get", "apt", "kernel packages"),
    ("dpkg", "dpkg", "kernel packages"),
    ("mke2fs", "e2fsprogs", "disks for nested guests"),
)
HOST_MIB = 2048
NEEDED_MIB = 1500	# what all four kernels take on disk


def _find(tool):
    return shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _tools():
    for tool, package, use in TOOLS:
        path = _find(tool)
        yield bool(path), tool, path or "missing", f"apt-get install {package} ({use})"


def _qemu_version():
    path = _find("qemu-system-x86_64")
    if path:
        text = subprocess.run([path, "--version"], capture_output=True, text=True).stdout.split("\n")[0]
        words = text.split()
        major = words[3].split(".")[0] if len(words) > 3 else "0"
        yield major.isdigit() and int(major) >= 7, "QEMU version", text, "QEMU 7.2 or newer is known to work"


def _memory():
    with open("/proc/meminfo", encoding="ascii") as file:
        free = next(int(line.split()[1]) // 1024 for line in file if line.startswith("MemAvailable"))
    yield free > HOST_MIB, "free memory", f"{free} MiB", f"a host takes {HOST_MIB} MiB by default: --memory"


def _disk():
    free = shutil.disk_usage(paths.lab_dir()).free >> 20
    yield free > NEEDED_MIB, "free disk", f"{free} MiB in {paths.lab_dir()}", "set OUTLIVE_LAB_DIR to a roomier folder"


def _kernels():
    there = {f"{k.series}-{k.flavour}" for k in kernels.unpacked()}
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    yield os.path.exists(keyring), "Debian's keys", keyring, "apt-get install debian-archive-keyring"
    yield True, "kernels here", ", ".join(sorted(there)) or "none yet, fetched when first used", ""


def checks():
    """Return [(good, what, found, remedy)]."""
    return [row for source in (_tools, _qemu_version, _memory, _disk, _kernels) for row in source()]


def report(as_json):
    """Print the checks; return 0 if all are good, else 1."""
    rows = checks()
    if as_json:
        print(json.dumps([dict(zip(("good", "what", "found", "remedy"), row)) for row in rows]))
    else:
        for good, what, found, remedy in rows:
            print(f"{'ok  ' if good else 'FAIL'} {what}: {found}" + ("" if good else f" -> {remedy}"))
    return 0 if all(row[0] for row in rows) else 1
