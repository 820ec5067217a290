# SPDX-License-Identifier: Apache-2.0
"""The ELF kernel inside a bzImage.

Theory of operation: a bzImage is a boot sector, the real-mode setup code, and a
protected-mode part that holds the compressed kernel. Since boot protocol 2.08
the header says where: payload_offset and payload_length, counted from the start
of the protected-mode part. QEMU enters the ELF through its PVH note, so nothing
is decompressed under emulation, where it is slow (XZ: half a minute).

Source: Linux, Documentation/arch/x86/boot.rst, "Details of Header Fields".
"""

import lzma
import struct
import subprocess

from .paths import LabError, need_tool

SETUP_SECTS = 0x1f1
MAGIC = 0x202
VERSION = 0x206
PAYLOAD = 0x248


def payload(image):
    """Return the compressed kernel in a bzImage, with the length word behind it."""
    if image[MAGIC:MAGIC + 4] != b"HdrS":
        raise LabError("not a bzImage: no HdrS at 0x202")
    if struct.unpack_from("<H", image, VERSION)[0] < 0x208:
        raise LabError("boot protocol older than 2.08: the payload's place is not known")
    setup = image[SETUP_SECTS] or 4
    offset, length = struct.unpack_from("<II", image, PAYLOAD)
    start = (setup + 1) * 512 + offset
    if start + length > len(image) or length < 8:
        raise LabError("the payload lies outside of the bzImage")
    return image[start:start + length]


def _filter(tool, package, data):
    done = subprocess.run([need_tool(tool, package), "-dc"], input=data, capture_output=True)
    if done.returncode:
        raise LabError(f"{tool}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def decompress(data):
    """Return what a payload unpacks to; @data ends in the unpacked size, 32 bits."""
    body, size = data[:-4], struct.unpack("<I", data[-4:])[0]
    if body.startswith(b"\xfd7zXZ\0"):
        out = lzma.LZMADecompressor().decompress(data)
    elif body.startswith(b"\x02\x21\x4c\x18"):
        out = _filter("lz4", "lz4", body)
    elif body.startswith(b"\x28\xb5\x2f\xfd"):
        out = _filter("zstd", "zstd", body)
    else:
        raise LabError(f"unknown kernel compression, magic {body[:6].hex()}")
    if len(out) != size or out[:4] != b"\x7fELF":
        raise LabError(f"unpacked kernel: {len(out)} bytes, {size} expected, magic {out[:4]!r}")
    return out


def extract(bzimage):
    """Return the ELF kernel (bytes) inside the bzImage at path @bzimage."""
    return decompress(payload(bzimage.read_bytes()))
