# SPDX-License-Identifier: Apache-2.0
"""Where the lab keeps things, and how several labs share them safely.

Everything is below one folder, `build/lab` of the project unless
OUTLIVE_LAB_DIR names another:

  apt/       apt's private state (lists, no packages)
  kernels/   one folder per kernel, unpacked
  cache/     initramfs archives, named by the hash of what is in them
  run/       one folder per running host, removed when it stops

What is there is complete: it is made under a temporary name and renamed.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parent.parent


class LabError(Exception):
    """Something the person who runs the lab can understand and act on."""


def lab_dir():
    """Return the lab's folder, made if missing."""
    path = pathlib.Path(os.environ.get("OUTLIVE_LAB_DIR") or PROJECT / "build" / "lab").resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


def sub_dir(name):
    """Return a folder below lab_dir(), made if missing."""
    path = lab_dir() / name
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(name):
    """Keep other processes of the same lab folder out while the body runs."""
    with open(lab_dir() / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def new_dir(target):
    """Yield an empty folder that becomes @target when the body succeeds."""
    temp = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield temp
        temp.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        temp.rename(target)
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise


def write_file(path, data):
    """Write @data (bytes) to @path so that no reader sees half of it."""
    fd, temp = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        os.chmod(temp, 0o644)
        os.rename(temp, path)
    except BaseException:
        os.unlink(temp)
        raise


def need_tool(name, package):
    """Return the path of a program, or say which Debian package has it."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise LabError(f"{name} is missing: apt-get install {package}")
    return path
