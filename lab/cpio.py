# SPDX-License-Identifier: Apache-2.0
"""initramfs archives in the "newc" cpio format, made without being root.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst. The
kernel accepts several archives behind each other, so a small one with a run's own
files can follow a large one that is made once.
"""

import stat

_HEAD = "070701" + "%08x" * 13


class Archive:
    """Collects entries; bytes() of it is the archive."""

    def __init__(self):
        self._out = bytearray()
        self._ino = 0
        self._dirs = set()

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        self._ino += 1
        raw = name.strip("/").encode() + b"\0"
        self._out += (_HEAD % (self._ino, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(raw), 0)).encode() + raw
        self._pad()
        self._out += data
        self._pad()

    def _pad(self):
        self._out += b"\0" * (-len(self._out) % 4)

    def _parents(self, name):
        parts = name.strip("/").split("/")[:-1]
        for end in range(1, len(parts) + 1):
            self.folder("/".join(parts[:end]))

    def folder(self, name, mode=0o755):
        """Add a folder and the ones above it; twice is once."""
        key = name.strip("/")
        if key and key not in self._dirs:
            self._parents(key)
            self._dirs.add(key)
            self._entry(key, stat.S_IFDIR | mode)

    def file(self, name, data, mode=0o644):
        """Add a file, @data in bytes."""
        self._parents(name)
        self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        """Add a symbolic link."""
        self._parents(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def char_device(self, name, major, minor, mode=0o600):
        """Add a character device node."""
        self._parents(name)
        self._entry(name, stat.S_IFCHR | mode, rdev=(major, minor))

    def __bytes__(self):
        end = Archive()
        end._ino = -1
        end._entry("TRAILER!!!", 0)
        whole = bytes(self._out) + bytes(end._out)
        return whole + b"\0" * (-len(whole) % 512)
