# SPDX-License-Identifier: Apache-2.0
"""A disk with programs of this machine for a guest: fio, iperf3 and whatever else busybox has not.

    programs.disk(path, ["fio", "lspci"], {"load.fio": text})     -> guest.mount=vda:/programs, then /programs/enter

Theory of operation: the disk (ext4, made without root) has the programs, the shared libraries that the loader says
they need at the paths at which they look for them, and any files of the caller. A script on it, "enter", links the
folders into the guest's root, which is an initramfs; after it the programs are called by their names.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import image
from .paths import need_tool

LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
ENTER = """ln -s $1/lib64 /lib64; ln -s $1/usr /usr; ln -s $1/usr/share /share
for program in $1/usr/bin/*; do ln -sf $program /bin; done
"""


def _libraries(program):
    """Return the paths of the loader and the libraries of a program."""
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True)
    return LIBRARY.findall(done.stdout) if done.returncode == 0 else []


def _place(tree, path):
    """Copy a file below @tree as Debian's merged /usr has it, but for the loader."""
    name = path if path.startswith(("/usr", "/lib64")) else f"/usr{path}"
    target = tree / name.lstrip("/")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def disk(path, programs, files=None, mib=256):
    """Make a disk of @mib MiB with programs, by name, and their libraries; return its path.

    @programs: {name: Debian package it is of}. @files: {path on the disk: text}.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        (tree / "usr/bin").mkdir(parents=True)
        for name, package in programs.items():
            program = need_tool(name, package)
            shutil.copy(program, tree / "usr/bin" / name)
            for library in _libraries(program):
                _place(tree, library)
        for name, text in {"enter": ENTER, **(files or {})}.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text)
        return image.make_disk(path, mib, tree, "programs")
