# SPDX-License-Identifier: Apache-2.0
"""Guests of a few bytes, as ROMs for -bios: they run at once, in real mode."""
import pathlib
import subprocess

ROM_BYTES = 65536
CODE_AT = 0xF000
VECTOR = 0xFFF0  # where a CPU starts


# Selects each of fw_cfg's files, for which they are made.
SELECT_FILES = b"\xba\x10\x05" + b"".join(b"\xb8" + key.to_bytes(2, "little") + b"\xef" for key in range(0x20, 0x40))


def acpi_guest(buses=32, first=0, before=b""):
    """A ROM that does ACPI's part of PCI hot-plug, for ever; @before: code that runs before it.

    It looks at the registers at 0xcc0 (QEMU's docs/specs/acpi_pci_hotplug) for each bus from @first on in turn:
    a slot that came is told by a 'U' on the first serial port, one that shall go is ejected.
    """
    head = b"\x66\xb9" + first.to_bytes(4, "little")  # mov ecx, first
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
    return rom({CODE_AT: before + code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})  # jmp code


def slot_guest(port):
    """A ROM that does a driver's part of hot-plug by the slot of a root port at devfn @port, for ever.

    At each push of the attention button it switches the slot on and tells by a 'U' on the first serial port, or off.
    """
    address = 0x80000000 | port << 8 | 0x6c  # slot control and status, behind the capability at 0x54
    loop = bytes.fromhex(
        "ba fc 0c 66 ed"       # mov dx, 0xcfc; in eax, dx
        "66 a9 00 00 01 00 74 f3"  # test eax, button pushed; jz loop
        "66 a9 00 04 00 00 75 0a"  # test eax, off; jnz on
        "66 b8 00 07 1f 00 66 ef"  # off, indicator off, events seen
        "eb e1"                # jmp loop
        "66 b8 00 01 1f 00 66 ef"  # on: on, indicator on, events seen
        "ba f8 03 b0 55 ee"    # mov dx, 0x3f8; mov al, 'U'; out dx, al
        "eb d1")               # jmp loop
    code = out32(0xcf8, address) + loop
    back = CODE_AT - (VECTOR + 3)
    return rom({CODE_AT: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


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


def tables_guest():
    """A ROM that places what ACPI tables speak of, has fw_cfg's files made, and writes 'R' to port 0x402."""
    code = b"".join(out32(port, value) for port, value in (
        (0xcf8, 0x80000064), (0xcfc, 0), (0xcf8, 0x80000060), (0xcfc, 0xb0000001),     # ECAM at 0xb0000000
        (0xcf8, 0x8000f840), (0xcfc, 0x601), (0xcf8, 0x8000f844), (0xcfc, 0x80)))      # power management at 0x600
    code += SELECT_FILES + bytes.fromhex("ba0204 b052 ee f4 ebfd")
    back = CODE_AT - (VECTOR + 3)
    return rom({CODE_AT: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def rom(parts):
    """An image with code at some offsets."""
    image = bytearray(ROM_BYTES)
    for offset, code in parts.items():
        image[offset:offset + len(code)] = code
    return bytes(image)


FW_CFG_BYTES = {key: 4096 for key in range(0x20, 0x40)} | {0x19: 4 + 64 * 32}


def cpuid_guest(leaves):
    """A ROM that writes what CPUID answers to port 0x402, 16 bytes (EAX to EDX) for each (leaf, subleaf), and halts."""
    code = bytes.fromhex("31c0 8ed8 8ed0 bc0080 fc")  # ds = ss = 0; sp = 0x8000; cld
    for leaf, subleaf in leaves:
        code += (b"\x66\xb8" + leaf.to_bytes(4, "little") + b"\x66\xb9" + subleaf.to_bytes(4, "little")
                 + bytes.fromhex("0fa2 6652 6651 6653 6650"   # cpuid; push edx, ecx, ebx, eax
                                 "89e6 b91000 ba0204 f36e"    # si = sp; rep outsb of 16 to 0x402
                                 "83c410"))                   # drop them
    code += b"\xf4\xeb\xfd"
    start = VECTOR - 16 - len(code)
    back = start - (VECTOR + 3)
    return rom({start: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def fw_cfg_guest():
    """A ROM that copies the file directory of fw_cfg and all files (4 KiB each) to port 0x402, and halts."""
    code = bytes.fromhex("31 c0 8e d8 8e c0 fc")  # ds = es = 0; cld
    for key in (0x19, *range(0x20, 0x40)):
        count = FW_CFG_BYTES[key].to_bytes(2, "little")
        code += (b"\xba\x10\x05\xb8" + key.to_bytes(2, "little") + b"\xef"  # select the key
                 + b"\xba\x11\x05\xbf\x00\x10\xb9" + count + b"\xf3\x6c"    # rep insb to 0x1000
                 + b"\xba\x02\x04\xbe\x00\x10\xb9" + count + b"\xf3\x6e")   # rep outsb from there
    code += b"\xf4\xeb\xfd"
    back = CODE_AT - (VECTOR + 3)
    return rom({CODE_AT: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def fw_cfg_files(dump):
    """What fw_cfg_guest() wrote, as {name: content}; None while it isn't all there."""
    if len(dump) < sum(FW_CFG_BYTES.values()):
        return None
    files, at = {}, FW_CFG_BYTES[0x19]
    for i in range(int.from_bytes(dump[:4], "big")):
        entry = dump[4 + 64 * i:][:64]
        size, key = int.from_bytes(entry[:4], "big"), int.from_bytes(entry[4:6], "big")
        start = at + (key - 0x20) * 4096
        files[entry[8:].rstrip(b"\0").decode()] = dump[start:start + min(size, 4096)]
    return files


class Flat:
    """Code for a ROM in a flash chip: 16 bits, with a data segment over all 4 GiB."""

    def __init__(self, out):
        """@out: port that put() writes to."""
        gdt = CODE_AT - 32
        self.parts = {gdt: bytes(8) + bytes.fromhex("ffff0000009bcf00 ffff00000093cf00"),
                      gdt + 24: (23).to_bytes(2, "little") + (0xffff0000 + gdt).to_bytes(4, "little")}
        self.code = (b"\x2e\x66\x0f\x01\x16" + (gdt + 24).to_bytes(2, "little")  # lgdt cs:[...]
                     + bytes.fromhex("0f20c0 0c01 0f22c0")                       # cr0.PE
                     + bytes.fromhex("b81000 8ed8")                              # ds: the data segment
                     + b"\xba" + out.to_bytes(2, "little"))                      # mov dx, out

    def write(self, address, *values):
        """Write bytes to one address, one after the other."""
        for value in values:
            self.code += b"\x67\xc6\x05" + address.to_bytes(4, "little") + bytes([value])
        return self

    def put(self, address, count=1):
        """Read bytes and write them to the port."""
        for i in range(count):
            self.code += b"\x67\xa0" + (address + i).to_bytes(4, "little") + b"\xee"
        return self

    def wait(self, port=0x3f8):
        """Wait for a byte from a serial port."""
        out = self.code[self.code.index(b"\xba"):][:3]
        self.code += (b"\xba" + (port + 5).to_bytes(2, "little") + b"\xec\xa8\x01\x74\xfb"  # in; test 1; jz back
                      + b"\xba" + port.to_bytes(2, "little") + b"\xec" + out)
        return self

    def image(self):
        """The ROM; it halts at the end."""
        code = self.code + b"\xf4\xeb\xfd"
        back = CODE_AT - (VECTOR + 3)
        return rom({**self.parts, CODE_AT: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def nmi_guest():
    """A ROM that writes 'R' to port 0x402, spins, and writes 'N' for each NMI."""
    head = bytes.fromhex("31c0 8ed8 8ed0 bc0080")                # ds = ss = 0; sp = 0x8000
    body = bytes.fromhex("c7060a0000f0 ba0204 b052 ee ebfe")     # the vector's segment; 'R'; jump to itself
    handler = CODE_AT + len(head) + 6 + len(body)
    code = head + bytes.fromhex("c7060800") + handler.to_bytes(2, "little") + body + bytes.fromhex("b04e ee cf")
    back = CODE_AT - (VECTOR + 3)
    return rom({CODE_AT: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def cmos_guest(*indices):
    """A ROM that copies bytes of CMOS to port 0x402, and halts."""
    code = b"".join(b"\xb0" + bytes([index]) + bytes.fromhex("e670 e471 ba0204 ee") for index in indices)
    code += b"\xf4\xeb\xfd"
    back = CODE_AT - (VECTOR + 3)
    return rom({CODE_AT: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def keyboard_guest(mode, *commands):
    """A ROM that sets the i8042's mode, sends commands to the keyboard, and writes what it types to port 0x402."""
    wait = bytes.fromhex("e464 a802 75fa")  # in al, 0x64; test 2; jnz back
    code = wait + bytes.fromhex("b060 e664") + wait + bytes([0xb0, mode, 0xe6, 0x60])
    for command in commands:
        code += wait + bytes([0xb0, command, 0xe6, 0x60]) + bytes.fromhex("e464 a801 74fa e460")  # and its answer
    code += bytes.fromhex("ba0204 b052 ee")                               # 'R': ready
    loop = bytes.fromhex("e464 a801 74fa e460 ee")                        # a byte waits: from 0x60 to 0x402
    code += loop + bytes([0xeb, 256 - len(loop) - 2])
    back = CODE_AT - (VECTOR + 3)
    return rom({CODE_AT: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def assembled(folder, name, **symbols):
    """What the assembler makes of NAME.S here, with numbers it doesn't define, to run at CODE_AT."""
    out = [folder / f"{name}.o", folder / f"{name}.bin"]
    given = [word for symbol, value in symbols.items() for word in ("--defsym", f"{symbol}={value}")]
    subprocess.run(["as", "--32", *given, "-o", out[0], pathlib.Path(__file__).with_name(f"{name}.S")], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-Ttext", hex(CODE_AT), "--oformat", "binary", "-o", out[1], out[0]],
                   check=True)
    back = CODE_AT - (VECTOR + 3)
    return rom({CODE_AT: out[1].read_bytes(), VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def smm_guest(folder):
    """The ROM of smm.S, which lives in system management mode."""
    return assembled(folder, "smm")


def hostile_guest(folder, seed):
    """The ROM of hostile.S, which does anything."""
    return assembled(folder, "hostile", SEED=seed)


def out8(port, value):
    """Code that writes a byte to a port."""
    return b"\xb0" + bytes([value]) + b"\xba" + port.to_bytes(2, "little") + b"\xee"  # mov al; mov dx; out dx, al


def vcpu_guest():
    """A ROM that does ACPI's part of vCPU hot-plug, for ever.

    It looks at the registers at 0xcd8 (QEMU's docs/specs/acpi_cpu_hotplug). A vCPU that came is reported (_OST 1: 0)
    and started; it writes its APIC id as a digit to port 0x402 and halts. One that shall go is ejected; if it
    is place 3 only reported as refused (_OST 3: 0x82).
    """
    def said(source, status):
        return out8(0xCDD, 1) + out32(0xCE0, source) + out8(0xCDD, 2) + out32(0xCE0, status)

    def apic(register, value):
        return b"\x67\x66\xc7\x05" + (0xFEE00000 + register).to_bytes(4, "little") + value.to_bytes(4, "little")

    came = (out8(0xCDC, 2) + said(1, 0)
            + out8(0xCDD, 3) + bytes.fromhex("ba e0 0c 66 ed 66 c1 e0 18"  # in eax, 0xce0: APIC id; shl eax, 24
                                             "67 66 a3 10 03 e0 fe")       # whom the next interrupt is for
            + apic(0x300, 0x4500) + apic(0x300, 0x46F0))                   # INIT, start at 0xf0000
    refuse = out8(0xCDC, 4) + said(3, 0x82)
    go = out8(0xCDC, 4) + out8(0xCDC, 8)
    look = out8(0xCDD, 0) + bytes.fromhex("ba dc 0c ec")                   # next with an event; in al, 0xcdc
    went = (out8(0xCDD, 0) + bytes.fromhex("ba e0 0c 66 ed 3c 03")         # its place; cmp al, 3
            + b"\x75" + bytes([len(refuse) + 3]) + refuse + b"\xe9\0\0")   # jne go; jmp: filled in below
    tests = bytes.fromhex("a8 02 75") + bytes([5 + 2])                     # test al, 2; jnz came
    tests += bytes.fromhex("a8 04 0f 85")                                  # test al, 4; jnz went
    code = bytearray(look + tests)
    code += (len(came) + 6).to_bytes(2, "little")
    code[len(look) + 3] = len(code) - (len(look) + 4) + 3
    code += b"\xe9" + (-(len(code) + 3) & 0xFFFF).to_bytes(2, "little")    # jmp look
    code += came
    code += b"\xe9" + (-(len(code) + 3) & 0xFFFF).to_bytes(2, "little")
    code += went
    code[-2:] = (-len(code) & 0xFFFF).to_bytes(2, "little")
    code += go
    code += b"\xe9" + (-(len(code) + 3) & 0xFFFF).to_bytes(2, "little")
    flat = Flat(0x402)
    start = flat.code + out8(0xCD8, 0)                                     # from the bitmap to the registers
    other = bytes.fromhex("66 b8 01 00 00 00 0f a2 66 c1 eb 18"            # cpuid 1: ebx >> 24
                          "88 d8 04 30 ba 02 04 ee fa f4 eb fd")           # + '0'; out 0x402, al; cli; hlt for ever
    back = CODE_AT - (VECTOR + 3)
    return rom({**flat.parts, 0: other, CODE_AT: start + bytes(code),
                VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def cmos_set_guest(index, value):
    """A ROM that reads a byte of CMOS, sets it, and halts."""
    code = (b"\xb0" + bytes([index]) + bytes.fromhex("e670 e471") + b"\xb0" + bytes([value])
            + bytes.fromhex("e671 f4ebfd"))
    back = CODE_AT - (VECTOR + 3)
    return rom({CODE_AT: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def out16(port, value):
    """Code that writes 16 bits to a port."""
    return b"\xb8" + value.to_bytes(2, "little") + b"\xba" + port.to_bytes(2, "little") + b"\xef"


def store32(address, value):
    """Code that writes to memory below 64 KiB."""
    return b"\x66\xc7\x06" + address.to_bytes(2, "little") + value.to_bytes(4, "little")


def balloon_guest(slot, pages):
    """A ROM that says of the balloon in @slot that it has 1, 2 ... @pages pages, and halts."""
    config = 0x80000000 | slot << 11
    code = out32(0xCF8, config | 0x10) + out32(0xCFC, 0xC000) + out32(0xCF8, config | 4) + out32(0xCFC, 1)
    code += bytes.fromhex("ba18c0 6631c0")  # mov dx, 0xc018; xor eax, eax
    code += bytes.fromhex("6640 66ef 663d") + pages.to_bytes(4, "little")  # inc eax; out dx, eax; cmp eax, pages
    code += bytes.fromhex("72f4 f4ebfd")  # jb inc; hlt
    back = CODE_AT - (VECTOR + 3)
    return rom({CODE_AT: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def registers_guest(slot, first, count):
    """A ROM that copies some I/O registers of the device in @slot to port 0x402, and halts."""
    config = 0x80000000 | slot << 11
    code = out32(0xCF8, config | 0x10) + out32(0xCFC, 0xC000) + out32(0xCF8, config | 4) + out32(0xCFC, 1)
    for port in range(0xC000 + first, 0xC000 + first + count):
        code += b"\xba" + port.to_bytes(2, "little") + bytes.fromhex("ec ba0204 ee")  # in al, dx; out 0x402, al
    code += b"\xf4\xeb\xfd"
    back = CODE_AT - (VECTOR + 3)
    return rom({CODE_AT: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def port_guest(slot, nr):
    """A ROM whose driver of the virtio-serial device in @slot says that it opens port @nr, and halts."""
    bar, ring, message = 0xC000, 0x4000, 0x6000
    config = 0x80000000 | slot << 11
    code = out32(0xCF8, config | 0x10) + out32(0xCFC, bar) + out32(0xCF8, config | 4) + out32(0xCFC, 5)
    code += out8(bar + 18, 3) + out32(bar + 4, 2)  # a driver is there, for several ports
    code += out16(bar + 14, 3) + out32(bar + 8, ring >> 12) + out8(bar + 18, 7)  # queue of its control messages
    code += store32(message, nr) + store32(message + 4, 1 << 16 | 6)
    code += store32(ring, message) + store32(ring + 8, 8) + store32(ring + 512, 1 << 16)
    code += out16(bar + 16, 3) + b"\xf4\xeb\xfd"
    back = CODE_AT - (VECTOR + 3)
    return rom({CODE_AT: code, VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})
