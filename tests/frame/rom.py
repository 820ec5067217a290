# SPDX-License-Identifier: Apache-2.0
"""Guests of a few bytes, as ROMs for -bios: they run at once, in real mode."""

ROM_BYTES = 65536
CODE_AT = 0xF000
VECTOR = 0xFFF0  # where a CPU starts


def acpi_guest(buses=32):
    """A ROM that does ACPI's part of PCI hot-plug, for ever.

    It looks at the registers at 0xcc0 (QEMU's docs/specs/acpi_pci_hotplug) for each bus in turn:
    a slot that came is told by a 'U' on the first serial port, one that shall go is ejected.
    """
    head = bytes.fromhex("66 31 c9")  # xor ecx, ecx
    bus = bytes.fromhex(
        "ba d0 0c 66 89 c8 66 ef"  # mov dx, 0xcd0; mov eax, ecx; out dx, eax: select the bus
        "ba c0 0c 66 ed"           # mov dx, 0xcc0; in eax, dx: slots that came
        "66 85 c0 74 06"           # test eax, eax; jz +6
        "ba f8 03 b0 55 ee"        # mov dx, 0x3f8; mov al, 'U'; out dx, al
        "ba c4 0c 66 ed"           # mov dx, 0xcc4; in eax, dx: slots asked to go
        "66 85 c0 74 05"           # test eax, eax; jz +5
        "ba c8 0c 66 ef"           # mov dx, 0xcc8; out dx, eax: eject
        "41 83 f9") + bytes([buses])  # inc cx; cmp cx, buses
    code = head + bus + bytes([0x72, 256 - len(bus) - 2])  # jb bus
    code += bytes([0xEB, 256 - len(code) - 2])  # jmp head
    back = CODE_AT - (VECTOR + 3)
    return rom({CODE_AT: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})  # jmp code


def reset_guest():
    """A ROM that resets the machine by the reset control register."""
    return rom({VECTOR: bytes.fromhex("b0 06 ba f9 0c ee")})  # mov al, 6; mov dx, 0xcf9; out dx, al


def out32(port, value):
    """Code that writes a value to a port."""
    return (b"\x66\xb8" + value.to_bytes(4, "little")     # mov eax, value
            + b"\xba" + port.to_bytes(2, "little") + b"\x66\xef")  # mov dx, port; out dx, eax


def outs_guest(*outs):
    """A ROM that writes to ports, (port, value) each, and halts."""
    code = b"".join(out32(port, value) for port, value in outs) + b"\xf4\xeb\xfd"  # hlt; jmp back to it
    back = CODE_AT - (VECTOR + 3)
    return rom({CODE_AT: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def rom(parts):
    """An image with code at some offsets."""
    image = bytearray(ROM_BYTES)
    for offset, code in parts.items():
        image[offset:offset + len(code)] = code
    return bytes(image)
