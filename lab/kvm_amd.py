# SPDX-License-Identifier: Apache-2.0
"""Debian's kvm-amd module, changed so that nested guests may write CR8.

Theory of operation: KVM lets a guest write CR8 (the task priority) without an exit unless that could
hold an interrupt back. QEMU's emulation of such a write ends with an assertion when an interrupt
window was asked for, which UEFI firmware meets within seconds: it saves and restores CR8 in each
interrupt. So the function that decides, svm_update_cr8_intercept(), returns at once here: writes stay
intercepted, as KVM has them after creating a vCPU. The module's signature is cut off: Debian's kernels
take modules without one, but none whose signature is wrong.
"""

import struct

from .paths import LabError

FUNCTION = b"svm_update_cr8_intercept"
ENDBR = b"\xf3\x0f\x1e\xfa"	# a function may begin with it: "jumps may come here"
CALL, CALL_BYTES = b"\xe8", 5	# then comes a call that the kernel's tracer patches; both stay
RET = b"\xc3"
SIGNED = b"~Module signature appended~\n"
SIGNATURE_INFO = 12	# between signature and SIGNED; ends with the signature's length
SHT_SYMTAB = 2
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")


def _sections(elf):
    offset, = struct.unpack_from("<Q", elf, 0x28)
    size, count = struct.unpack_from("<HH", elf, 0x3a)
    return [SECTION.unpack_from(elf, offset + i * size) for i in range(count)]


def _symbols(elf, sections):
    """Yield (name, section number, value) of each symbol."""
    for s in sections:
        if s[1] != SHT_SYMTAB:
            continue
        names = sections[s[6]]
        for at in range(s[4], s[4] + s[5], SYMBOL.size):
            name, _, _, section, value, _ = SYMBOL.unpack_from(elf, at)
            start = names[4] + name
            yield elf[start:elf.index(b"\0", start)], section, value


def _unsigned(module):
    if not module.endswith(SIGNED):
        return module
    end = len(module) - len(SIGNED)
    length, = struct.unpack_from(">I", module, end - 4)
    return module[:end - SIGNATURE_INFO - length]


def always_intercept_cr8(module):
    """Return @module with svm_update_cr8_intercept() empty."""
    elf = _unsigned(module)
    if elf[:6] != b"\x7fELF\x02\x01":
        raise LabError("kvm-amd isn't an ELF file of 64 bits")
    sections = _sections(elf)
    for name, section, value in _symbols(elf, sections):
        if name == FUNCTION:
            at = sections[section][4] + value
            at += len(ENDBR) if elf.startswith(ENDBR, at) else 0
            if not elf.startswith(CALL, at):
                raise LabError(f"kvm-amd's {FUNCTION.decode()} doesn't begin with the tracer's call")
            return elf[:at + CALL_BYTES] + RET + elf[at + CALL_BYTES + 1:]
    raise LabError(f"kvm-amd has no function {FUNCTION.decode()}")
