# SPDX-License-Identifier: Apache-2.0
"""Each stream that a test has written to a file is read by the second, independent reader as well.

Theory of operation: frame.moving (QMP) and frame.named (the command) come here when a VMM says that a stream is
whole, before the test does anything to it. What the reader can't read, to the last byte, fails the test.
"""
import mmap
import subprocess
import sys

from frame.paths import ROOT

sys.path.append(str(ROOT / "tools"))
import stream_reader  # noqa: E402  (the reader lives in tools/)

ZSTD = b"\x28\xb5\x2f\xfd"


def read(path):
    """The stream in a file, packed or not; stream_reader.StreamError says what is wrong with it, and where."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:len(ZSTD)] != ZSTD:
            return stream_reader.read(data)
    return stream_reader.read(subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout)


def written(words, folder):
    """The file that a command line of outlive has written, or None."""
    if words[:2] not in (["snapshot", "save"], ["snapshot", "point"]):
        return None
    for option in ("--dir", "-D"):
        if option in words:
            return f"{words[words.index(option) + 1]}/{words[3]}.snapshot"
    return f"{folder}/{words[2]}/snapshots/{words[3]}.snapshot"
