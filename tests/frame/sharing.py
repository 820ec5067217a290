# SPDX-License-Identifier: Apache-2.0
"""File systems on which files can share blocks (FICLONE): XFS and btrfs, each in an image on a loop device.

The whole run has a mount namespace of its own (frame.isolate), so a mount is nobody else's, and ends with the run
in any case. Where the machine can't mount, or its kernel hasn't the file system, a test is skipped by name.
"""
import subprocess

import pytest

MAKE = {"xfs": (["mkfs.xfs", "-q"], "320M"), "btrfs": (["mkfs.btrfs", "-q"], "160M")}


def run(*words):
    """What a program says against it, or an empty text."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{words[0]}: {done.stderr.strip() or done.returncode}"


@pytest.fixture(params=sorted(MAKE))
def sharing(request, tmp_path, isolated_mounts):
    """An empty folder on such a file system."""
    command, size = MAKE[request.param]
    image, folder = tmp_path / "file-system.img", tmp_path / "volume"
    folder.mkdir()
    run("truncate", "-s", size, str(image))
    failed = run(*command, str(image)) or run("mount", "-t", request.param, "-o", "loop", str(image), str(folder))
    if failed:
        pytest.skip(f"no {request.param} can be mounted here: {failed}")
    yield folder
    assert not run("umount", "-l", str(folder))  # what a guest still has open goes with it


@pytest.fixture
def isolated_mounts():
    """Skips where mounts would be the machine's."""
    with open("/proc/self/mounts", encoding="ascii") as ours, open("/proc/1/mounts", encoding="ascii") as others:
        if ours.read() == others.read():
            pytest.skip("this run has no mount namespace of its own")
