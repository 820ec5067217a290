# SPDX-License-Identifier: Apache-2.0
"""Debian's kvm-amd module, changed for two defects of QEMU's emulation that nested guests meet.

Theory of operation: KVM lets a guest write CR8 (the task priority) without an exit unless that could
hold an interrupt back. QEMU's emulation of such a write ends with an assertion when an interrupt
window was asked for, which UEFI firmware meets within seconds: it saves and restores CR8 in each
interrupt. So the function that decides, svm_update_cr8_intercept(), returns at once here: writes stay
intercepted, as KVM has them after creating a vCPU.

When VMRUN injects an external interrupt, QEMU delivers it at once, but keeps it noted as an exception to
deliver, up to the next exit or exception. What only asks the vCPU's thread to look up in the meantime
(flushed code or TLBs, an atomic access of another vCPU) has it delivered a second time, whatever the
guest's IF: before swapgs in an entry from user mode, that ends the guest. KVM has what prevents it: while
it steps over an NMI's end, it sends itself an interrupt before a VMRUN that injects anything, so that the
guest exits before its first instruction. svm_vcpu_run() does so for every injection here: the jump
that asks for the stepping is gone. (What comes with that clears TF and RF, so a guest that steps through
itself loses its TF at an interrupt.)

The module's signature is cut off: Debian's kernels take modules without one, but none whose signature
is wrong.
"""

import re
import struct

from .paths import LabError

CR8 = b"svm_update_cr8_intercept"
RUN = b"svm_vcpu_run"
# if (svm->nmi_singlestep && svm->vmcb->control.event_inj): cmpb, je, mov, mov of offset 0xa8, test, jne
INJECTS = re.compile(rb"\x80[\xb8-\xbf].{4}\0(\x74.)[\x48-\x4d]\x8b[\x80-\xbf].{4}"
                     rb"[\x40-\x45]?\x8b[\x80-\xbf]\xa8\0\0\0[\x40-\x45]?\x85.\x0f\x85", re.DOTALL)
NOP = b"\x66\x90"
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


def _function(elf, wanted):
    """Return where a function begins and ends."""
    sections = _sections(elf)
    for s in sections:
        if s[1] != SHT_SYMTAB:
            continue
        names = sections[s[6]]
        for at in range(s[4], s[4] + s[5], SYMBOL.size):
            name, _, _, section, value, size = SYMBOL.unpack_from(elf, at)
            start = names[4] + name
            if elf[start:elf.index(b"\0", start)] == wanted:
                begin = sections[section][4] + value
                return begin, begin + size
    raise LabError(f"kvm-amd has no function {wanted.decode()}")


def _unsigned(module):
    if not module.endswith(SIGNED):
        return module
    end = len(module) - len(SIGNED)
    length, = struct.unpack_from(">I", module, end - 4)
    return module[:end - SIGNATURE_INFO - length]


def _always_intercept_cr8(elf):
    """Have svm_update_cr8_intercept() return at once."""
    at = _function(elf, CR8)[0]
    at += len(ENDBR) if elf.startswith(ENDBR, at) else 0
    if not elf.startswith(CALL, at):
        raise LabError(f"kvm-amd's {CR8.decode()} doesn't begin with the tracer's call")
    return elf[:at + CALL_BYTES] + RET + elf[at + CALL_BYTES + 1:]


def _exit_behind_injection(elf):
    """Have svm_vcpu_run() ask for an exit whenever it injects."""
    found = list(INJECTS.finditer(elf, *_function(elf, RUN)))
    if len(found) != 1:
        raise LabError(f"kvm-amd's {RUN.decode()} asks {len(found)} times, not once, whether it steps and injects")
    begin, end = found[0].span(1)
    return elf[:begin] + NOP + elf[end:]


def for_emulation(module):
    """Return @module with both changes."""
    elf = _unsigned(module)
    if elf[:6] != b"\x7fELF\x02\x01":
        raise LabError("kvm-amd isn't an ELF file of 64 bits")
    return _exit_behind_injection(_always_intercept_cr8(elf))
