# SPDX-License-Identifier: Apache-2.0
"""A second, independent reader of migration streams, ours and QEMU's.

Theory of operation: it shares nothing with src/. The frame (header, configuration, RAM records, section marks and
footers) is read by what docs/wire.md says. The payload of a device section has no length and no names, so it is read by
the JSON description at the end of the stream; virtio's payload is one opaque field there, and is read by knowledge.
Every byte belongs to something that was read: a byte left over, or one read twice, is an error.

    stream = stream_reader.read(data)
    stream.section("mc146818rtc").field("base_rtc").value
"""
import argparse
import dataclasses
import json
import mmap
import os
import stat
import struct
import sys

PAGE = 4096
PAGE_KINDS = ("zero", "normal", "xbzrle", "compressed", "known")  # the last two only where there are some
MARKS = {1: "START", 2: "PART", 3: "END", 4: "FULL"}
COMMANDS = {1: "OPEN_RETURN_PATH", 2: "PING", 3: "POSTCOPY_ADVISE", 4: "POSTCOPY_LISTEN", 5: "POSTCOPY_RUN",
            6: "POSTCOPY_RAM_DISCARD", 7: "PACKAGED", 8: "ENABLE_COLO", 9: "POSTCOPY_RESUME", 10: "RECV_BITMAP",
            11: "SWITCHOVER_START"}
NUMBERS = {"uint8": ">B", "uint16": ">H", "uint32": ">I", "uint64": ">Q", "int8": ">b", "int16": ">h", "int32": ">i",
           "int64": ">q", "bool": ">?", "timer": ">q", "cpu-interrupt": ">I"}
TRAILER, MAPPED_TRAILER = b"OUTLIVE1", b"OUTLIVE2"


class StreamError(Exception):
    """The stream isn't what it says it is; the text has the offset."""


def plain_value(value):
    """For JSON: bytes in hex, and so numbers above 2^63-1, which not every JSON reader takes."""
    if isinstance(value, bytes):
        return value.hex()
    return hex(value) if isinstance(value, int) and value >= 1 << 63 else value


@dataclasses.dataclass
class Field:
    """A piece of the stream: what it is called, where it is, and what it says or what is inside."""
    name: str
    type: str
    offset: int
    size: int = 0
    value: object = None
    fields: list = dataclasses.field(default_factory=list)

    def field(self, path):
        """The field inside by name, or by names with slashes between them."""
        name, _, rest = path.partition("/")
        for f in self.fields:
            if f.name == path:
                return f
            if f.name == name and rest:
                return f.field(rest)
        raise KeyError(f"{self.name}: no field {path}")

    def walk(self, depth=0):
        """All fields inside with their depth, in wire order."""
        for f in self.fields:
            yield depth, f
            yield from f.walk(depth + 1)

    def plain(self):
        """For JSON."""
        d = {"name": self.name, "type": self.type, "offset": self.offset, "size": self.size}
        if self.value is not None:
            d["value"] = plain_value(self.value)
        if self.fields:
            d["fields"] = [f.plain() for f in self.fields]
        return d


@dataclasses.dataclass
class Section(Field):
    """A section of the stream; of RAM the fields are records, of a device what its description names."""
    instance: int = 0
    version: int = 0
    mark: str = "FULL"
    payload: bytes = b""


@dataclasses.dataclass
class Stream:
    """A whole stream."""
    configuration: Field
    sections: list
    commands: list
    description: dict
    trailer: object
    ram: dict

    def section(self, name, instance=0):
        """The device section of this name."""
        for s in self.sections:
            if s.name == name and s.instance == instance and s.mark == "FULL":
                return s
        raise KeyError(f"no section {name} {instance}")


class Cursor:
    """Bytes being read, in order, each once."""

    def __init__(self, data, at=0, end=None):
        self.data, self.at, self.end = data, at, len(data) if end is None else end

    def take(self, n, what):
        if self.at + n > self.end:
            raise StreamError(f"byte {self.at}: {what} is cut short: {n} bytes expected, {self.end - self.at} there")
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, form, what):
        return struct.unpack(form, self.take(struct.calcsize(form), what))[0]

    def u8(self, what):
        return self.number(">B", what)

    def be16(self, what):
        return self.number(">H", what)

    def be32(self, what):
        return self.number(">I", what)

    def be64(self, what):
        return self.number(">Q", what)

    def text(self, what):
        raw = self.take(self.u8(what), what)
        try:
            return raw.decode("ascii")
        except UnicodeDecodeError:
            raise StreamError(f"byte {self.at - len(raw)}: {what} is no name: {raw[:40]!r}") from None

    def peek(self, n):
        return self.data[self.at:min(self.at + n, self.end)]

    def field(self, name, kind, n=None):
        """Reads one field of a type by name."""
        f = Field(name, kind, self.at)
        if kind in NUMBERS and n in (None, struct.calcsize(NUMBERS[kind])):
            raw = self.take(struct.calcsize(NUMBERS[kind]), name)
            if kind == "bool" and raw not in (b"\0", b"\1"):
                raise StreamError(f"byte {f.offset}: {name} is {raw[0]}, neither 0 nor 1")
            f.value = struct.unpack(NUMBERS[kind], raw)[0]
        else:
            f.value = bytes(self.take(n, name))
        f.size = self.at - f.offset
        return f


def subsection_header(c, into):
    """Reads mark, name and version of a subsection; returns the field that its content goes to."""
    f = Field("", "subsection", c.at)
    c.take(1, "subsection")
    f.name = c.text("a subsection's name")
    f.value = c.be32(f"{f.name}'s version")
    into.append(f)
    return f


def read_configuration(c):
    conf = Field("configuration", "section", c.at)
    c.take(1, "configuration")
    n = c.be32("the machine's name")
    conf.fields.append(Field("machine", "text", c.at, n, c.take(n, "the machine's name").decode("ascii", "replace")))
    while c.peek(1) == b"\5":
        sub = subsection_header(c, conf.fields)
        if sub.name == "configuration/capabilities":
            for _ in range(c.be32("capabilities")):
                at = c.at
                name = c.text("a capability")
                sub.fields.append(Field(name, "capability", at, c.at - at, True))
        elif sub.name == "configuration/uuid":
            sub.fields.append(c.field("uuid", "buffer", 16))
        elif sub.name == "configuration/target-page-bits":
            sub.fields.append(c.field("target_page_bits", "uint32"))
        else:
            raise StreamError(f"byte {sub.offset}: unknown subsection {sub.name}")
        sub.size = c.at - sub.offset
    conf.size = c.at - conf.offset
    return conf


class Ram:
    """The RAM section: the blocks and how their pages came."""

    def __init__(self, ignore_shared, mapped):
        self.blocks, self.last, self.ignore_shared, self.mapped = {}, None, ignore_shared, mapped

    def blocks_list(self, c, total):
        while total > 0:
            name = c.text("a RAM block's name")
            size = c.be64(f"{name}'s size")
            gpa = c.be64(f"{name}'s address") if self.ignore_shared else None
            self.blocks[name] = {"bytes": size, "gpa": gpa, "zero": 0, "normal": 0, "xbzrle": 0}
            if self.mapped:
                self.mapped_pages(c, self.blocks[name])
            total -= size
        if total:
            raise StreamError(f"byte {c.at}: the RAM blocks are larger than their sum")

    @staticmethod
    def mapped_pages(c, block):
        """Where the pages of a block are, and the bitmap of those that aren't zeros; goes on behind them."""
        at = c.at
        version, page = c.be32("a mapped block"), c.be64("a mapped block's page size")
        if version not in (1, 2) or page != PAGE:
            raise StreamError(f"byte {at}: a mapped block of version {version} with pages of {page}")
        block["packed"] = version == 2
        block["bitmap_at"], block["pages_at"] = c.be64("a bitmap's offset"), c.be64("the pages' offset")
        if block["bitmap_at"] != c.at:
            raise StreamError(f"byte {at}: a bitmap at {block['bitmap_at']}, expected at {c.at}")
        bitmap = c.take((block["bytes"] // PAGE + 63) // 64 * 8, "a bitmap")
        block["normal"] = int.from_bytes(bitmap, "little").bit_count()
        if block["pages_at"] < c.at or block["pages_at"] % PAGE:
            raise StreamError(f"byte {at}: pages at {block['pages_at']}")
        if block["pages_at"] + block["bytes"] > c.end:
            raise StreamError(f"byte {at}: pages at {block['pages_at']}, the stream ends at {c.end}")
        c.at = block["pages_at"] + block["bytes"]

    def page(self, c, offset, flags):
        if not flags & 0x20:
            self.last = c.text("a page's block")
        block = self.blocks.get(self.last)
        if block is None:
            raise StreamError(f"byte {c.at}: a page of {self.last}, which isn't in the list of blocks")
        if offset + PAGE > block["bytes"]:
            raise StreamError(f"byte {c.at}: a page at {offset:#x} of {self.last}, which ends at {block['bytes']:#x}")
        if flags & 0x02:
            if c.u8("a zero page's fill"):
                raise StreamError(f"byte {c.at - 1}: a page filled with something other than zero")
            block["zero"] += 1
        elif flags & 0x40:
            c.u8("an XBZRLE page's encoding")
            c.take(c.be16("an XBZRLE page's length"), "an XBZRLE page")
            block["xbzrle"] += 1
        elif flags & 0x100:
            c.take(c.be32("a compressed page's length"), "a compressed page")
            block["compressed"] = block.get("compressed", 0) + 1
        elif flags & 0x800:
            c.take(1 + 8 + 32, "a known page")
            block["known"] = block.get("known", 0) + 1
        else:
            c.take(PAGE, "a page")
            block["normal"] += 1

    def part(self, c):
        """One part of the section, up to its end mark; returns what it held."""
        before = {n: dict(b) for n, b in self.blocks.items()}
        while True:
            at = c.at
            word = c.be64("a RAM record")
            flags, offset = word % PAGE, word - word % PAGE
            if flags == 0x10:
                break
            if flags == 0x04:
                self.blocks_list(c, offset)
            elif flags & ~0x20 in (0x02, 0x08, 0x40, 0x100, 0x800):
                self.page(c, offset, flags)
            elif flags & ~0x20 != 0x200:  # which is for the channels beside the stream
                raise StreamError(f"byte {at}: a RAM record with flags {flags:#x}")
        part = {n: {k: b[k] - before.get(n, {}).get(k, 0) for k in PAGE_KINDS if k in b}
                for n, b in self.blocks.items()}
        for pages in part.values():
            for kind in PAGE_KINDS[3:]:
                if not pages.get(kind):
                    pages.pop(kind, None)
        return {n: pages for n, pages in part.items() if any(pages.values())}


def read_described(c, desc, into):
    """Reads a table's fields and subsections by its description."""
    for d in desc.get("fields", []):
        for i in range(d.get("array_len", 1)):
            into.append(read_element(c, d, i if "array_len" in d else d.get("index")))
    for d in desc.get("subsections", []):
        if c.peek(1) != b"\5":
            raise StreamError(f"byte {c.at}: subsection {d['vmsd_name']} is described and not there")
        sub = subsection_header(c, into)
        if (sub.name, sub.value) != (d["vmsd_name"], d["version"]):
            raise StreamError(f"byte {sub.offset}: subsection {sub.name} {sub.value} is there, "
                              f"{d['vmsd_name']} {d['version']} is described")
        read_described(c, d, sub.fields)
        sub.size = c.at - sub.offset


def read_element(c, d, index):
    name = d["name"] if index is None else f"{d['name']}[{index}]"
    inner = d.get("struct") or (d if "fields" in d else None)
    at = c.at
    if d["type"] == "virtio":
        f = Field(name, "virtio", at, d["size"])
        read_virtio(Cursor(c.data, at, at + d["size"]), f.fields)
        c.take(d["size"], name)
        return f
    if inner is None:
        return c.field(name, d["type"], d["size"])
    f = Field(name, d["type"], at)
    read_described(c, inner, f.fields)
    f.size = c.at - at
    if f.size != d["size"]:
        raise StreamError(f"byte {at}: {name} is described with {d['size']} bytes and has {f.size}")
    return f


def msix_vectors(config):
    """Vectors of the MSI-X capability in a PCI configuration space; 0 without one."""
    at, seen = config[0x34], set()
    while at >= 0x40 and at not in seen and config[0x06] & 0x10:
        seen.add(at)
        if config[at] == 0x11:
            return (struct.unpack_from("<H", config, at + 2)[0] & 0x7ff) + 1
        at = config[at + 1] & ~3
    return 0


def read_virtio_pci(c, into):
    """What the PCI transport puts first; returns the number of MSI-X vectors."""
    version = c.field("pci/version_id", "int32")
    into.append(version)
    # Conventional and PCIe functions differ in size only; a PCIe one has its capability where the list leads.
    config = c.peek(256)
    if len(config) < 256:
        raise StreamError(f"byte {c.at}: the PCI configuration space is cut short")
    into.append(c.field("pci/config", "buffer", 4096 if pcie_function(config) else 256))
    into.append(c.field("pci/irq_state", "buffer", 16))
    vectors = msix_vectors(config)
    if vectors:
        into.append(c.field("msix/table", "buffer", 16 * vectors))
        into.append(c.field("msix/pending", "buffer", (vectors + 7) // 8))
        into.append(c.field("config_vector", "uint16"))
    return vectors


def pcie_function(config):
    at, seen = config[0x34], set()
    while at >= 0x40 and at not in seen and config[0x06] & 0x10:
        seen.add(at)
        if config[at] == 0x10:
            return True
        at = config[at + 1] & ~3
    return False


def read_virtio(c, into):
    """The opaque payload of a virtio-pci device.  Source: docs/wire.md, "virtio"."""
    vectors = read_virtio_pci(c, into)
    for name, kind in (("status", "uint8"), ("isr", "uint8"), ("queue_sel", "uint16"), ("features_low", "uint32"),
                       ("config_len", "uint32")):
        into.append(c.field(name, kind))
    into.append(c.field("config", "buffer", into[-1].value))
    queues = c.field("queues", "uint32")
    into.append(queues)
    if queues.value > 1024:
        raise StreamError(f"byte {queues.offset}: {queues.value} queues")
    for i in range(queues.value):
        q = Field(f"queue[{i}]", "struct", c.at)
        for name, kind in (("num", "uint32"), ("desc", "uint64"), ("last_avail", "uint16")):
            q.fields.append(c.field(name, kind))
        if vectors:
            q.fields.append(c.field("vector", "uint16"))
        q.size = c.at - q.offset
        into.append(q)
    read_virtio_device(c, into)
    while c.at < c.end:
        read_virtio_subsection(c, into)


def read_virtio_device(c, into):
    """What the kind of device adds: it ends where the first virtio subsection begins."""
    at = c.data.find(b"virtio/", c.at, c.end)
    while at >= 0 and not (c.data[at - 2] == 5 and c.data[at - 1] < 40 and at - 2 >= c.at):
        at = c.data.find(b"virtio/", at + 1, c.end)
    n = (at - 2 if at >= 0 else c.end) - c.at
    if n:
        into.append(c.field("device", "buffer", n))


QUEUES = {
    "virtio/virtqueues": (("avail", "uint64"), ("used", "uint64")),
    "virtio/ringsize": (("num_default", "uint32"),),
    "virtio/packed_virtqueues": (("last_avail", "uint16"), ("last_avail_wrap", "bool"), ("used", "uint16"),
                                 ("used_wrap", "bool"), ("inuse", "uint32")),
}
SINGLES = {"virtio/64bit_features": ("guest_features", "uint64"), "virtio/broken": ("broken", "bool"),
           "virtio/started": ("started", "bool"), "virtio/disabled": ("disabled", "bool"),
           "virtio/device_endian": ("device_endian", "uint8")}


def read_virtio_subsection(c, into):
    if c.peek(1) != b"\5":
        raise StreamError(f"byte {c.at}: bytes of virtio are left over")
    sub = subsection_header(c, into)
    if sub.name in SINGLES:
        sub.fields.append(c.field(*SINGLES[sub.name]))
    elif sub.name in QUEUES:
        for i in range(1024):
            for name, kind in QUEUES[sub.name]:
                sub.fields.append(c.field(f"queue[{i}]/{name}", kind))
    elif sub.name == "virtio/extra_state":
        if c.peek(1) == b"\5":
            read_virtio_pci_modern(c, sub.fields)
    else:
        raise StreamError(f"byte {sub.offset}: unknown subsection {sub.name}")
    sub.size = c.at - sub.offset


def read_virtio_pci_modern(c, into):
    sub = subsection_header(c, into)
    if sub.name != "virtio_pci/modern_state":
        raise StreamError(f"byte {sub.offset}: unknown subsection {sub.name}")
    for name in ("dfselect", "gfselect", "guest_features[0]", "guest_features[1]"):
        sub.fields.append(c.field(name, "uint32"))
    for i in range(1024):
        for name, kind, n in (("num", "uint16", None), ("unused", "unused_buffer", 1), ("enabled", "bool", None),
                              ("desc", "uint32s", 8), ("avail", "uint32s", 8), ("used", "uint32s", 8)):
            sub.fields.append(c.field(f"queue[{i}]/{name}", kind, n))
    sub.size = c.at - sub.offset


def find_description(data, begin=0):
    """The JSON at the end: returns (offset of its mark, dict, end of it)."""
    end = len(data)
    if data[-24:-16] == TRAILER:
        end -= 24
    elif data[-32:-24] == MAPPED_TRAILER:
        end = min(begin + struct.unpack(">Q", data[-24:-16])[0], end - 32)
    at = data.rfind(b"\x06", 0, end)
    while at >= 0:
        if at + 5 <= end and struct.unpack_from(">I", data, at + 1)[0] == end - at - 5:
            try:
                return at, json.loads(data[at + 5:end]), end
            except ValueError:
                pass
        at = data.rfind(b"\x06", 0, at)
    raise StreamError("there is no description at the end")


class Reader:
    """A stream being read; the frame."""

    def __init__(self, data, begin=0):
        self.c, self.begin = Cursor(data, begin), begin
        self.description_at, self.description, self.end = find_description(data, begin)
        self.devices = list(self.description["devices"])
        self.sections, self.commands, self.ram, self.ram_number = [], [], None, None

    def read(self):
        c = self.c
        if c.take(8, "the header") != b"QEVM\0\0\0\3":
            raise StreamError("byte 0: not a migration stream of version 3")
        if c.peek(1) != b"\7":
            raise StreamError("byte 8: no configuration section")
        conf = read_configuration(c)
        shared = any(f.name == "x-ignore-shared" for _, f in conf.walk())
        self.ram = Ram(shared, any(f.name == "mapped-ram" for _, f in conf.walk()))
        while self.one():
            pass
        if self.devices:
            raise StreamError(f"byte {c.at}: described and not there: {self.devices[0]['name']}")
        if c.at != self.description_at:
            raise StreamError(f"byte {c.at}: {self.description_at - c.at} bytes are left over")
        return Stream(conf, self.sections, self.commands, self.description, self.trailer(), self.ram.blocks)

    def trailer(self):
        if self.end == len(self.c.data):
            return None
        at = -32 if self.c.data[-32:-24] == MAPPED_TRAILER else -24
        length, checksum = struct.unpack_from(">QQ", self.c.data, len(self.c.data) + at + 8)
        if length != self.end - self.begin:
            raise StreamError(f"byte {self.end}: the trailer says {length} bytes, {self.end} are before it")
        return {"offset": self.end, "bytes": length, "xxh3": f"{checksum:016x}"}

    def one(self):
        """Reads one section or command; False behind the end mark."""
        at = self.c.at
        mark = self.c.u8("a section")
        if mark == 0:
            return False
        if mark == 8:
            self.command(at)
        elif mark in MARKS:
            self.section(at, mark)
        else:
            raise StreamError(f"byte {at}: {mark:#04x} begins no section")
        return True

    def command(self, at):
        number, n = self.c.be16("a command"), self.c.be16("a command's length")
        name = COMMANDS.get(number, "unknown")
        self.commands.append(Field(name, "command", at, n + 5, bytes(self.c.take(n, "a command"))))

    def section(self, at, mark):
        c = self.c
        number = c.be32("a section's number")
        s = Section("ram", "section", at, mark=MARKS[mark])
        if mark in (1, 4):
            s.name = c.text("a section's name")
            s.instance, s.version = c.be32("an instance"), c.be32("a version")
        elif number != self.ram_number:
            raise StreamError(f"byte {at}: a part of section {number}, which hasn't begun")
        payload_at = c.at
        if s.name == "ram":
            self.ram_number = number
            s.value = self.ram.part(c)
        else:
            self.device(s)
            s.payload = bytes(c.data[payload_at:c.at])
        if c.take(1, "a footer") != b"\x7e" or c.be32("a footer") != number:
            raise StreamError(f"byte {c.at}: {s.name} has no footer where it ends by its description")
        s.size = c.at - at
        self.sections.append(s)

    def device(self, s):
        if not self.devices:
            raise StreamError(f"byte {s.offset}: {s.name} isn't described")
        d = self.devices.pop(0)
        if (d["name"], d["instance_id"]) != (s.name, s.instance):
            raise StreamError(f"byte {s.offset}: {s.name} {s.instance} is there, {d['name']} {d['instance_id']} "
                              "is described")
        if d.get("version", s.version) != s.version:
            raise StreamError(f"byte {s.offset}: {s.name} has version {s.version}, {d['version']} is described")
        read_described(self.c, d, s.fields)


def read(data, begin=0):
    """Take a stream apart that begins at a byte of a file; StreamError says where it isn't one."""
    return Reader(data, begin).read()


def print_section(s, fields):
    head = f"{s.offset:10}  {s.name}"
    if s.mark != "FULL":
        print(f"{head}  {s.mark}, {s.size} bytes")
        for block, pages in s.value.items():
            print(f"{'':12}{block}: {pages['normal']} pages, {pages['zero']} zero, {pages['xbzrle']} XBZRLE")
        return
    print(f"{head}  instance {s.instance}, version {s.version}, {s.size} bytes")
    for depth, f in s.walk() if fields else ():
        value = f.value.hex() if isinstance(f.value, bytes) else "" if f.value is None else f.value
        text = str(value)
        print(f"{f.offset:10}  {'  ' * (depth + 1)}{f.name} {f.type} {text if len(text) < 100 else text[:97] + '...'}")


def print_text(stream, fields):
    for f in stream.configuration.fields:
        print(f"{f.offset:10}  configuration {f.name} {f.value}")
    for block, b in stream.ram.items():
        print(f"{'':12}block {block}, {b['bytes']} bytes")
    for s in stream.sections:
        print_section(s, fields)
    for f in stream.commands:
        print(f"{f.offset:10}  command {f.name} {f.value.hex()}")
    if stream.trailer:
        print(f"{stream.trailer['offset']:10}  trailer, XXH3 {stream.trailer['xxh3']}")


def plain(stream):
    """The stream as data for JSON."""
    return {"configuration": stream.configuration.plain(), "ram": stream.ram, "trailer": stream.trailer,
            "commands": [f.plain() for f in stream.commands],
            "sections": [plain_section(s) for s in stream.sections]}


def plain_section(s):
    """A section as data; parts that follow a START have no instance and version of their own."""
    head = {"instance": s.instance, "version": s.version} if s.mark in ("START", "FULL") else {}
    return dict(s.plain(), mark=s.mark, **head)


def data_of(path):
    """The bytes of a file, which may be a pipe."""
    with sys.stdin.buffer if path == "-" else open(path, "rb") as f:
        return mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) if stat.S_ISREG(os.fstat(f.fileno()).st_mode) \
            else f.read()


def main(argv):
    parser = argparse.ArgumentParser(prog="stream-reader", description="Take a migration stream apart.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--sections", action="store_true", help="sections only, without their fields")
    parser.add_argument("--offset", type=int, default=0, help="where in the file the stream begins")
    parser.add_argument("file", help="- is standard input")
    args = parser.parse_args(argv)
    try:
        stream = read(data_of(args.file), args.offset)
    except StreamError as e:
        print(f"{args.file}: {e}", file=sys.stderr)
        return 1
    if args.json:
        json.dump(plain(stream), sys.stdout, indent=1)
        print()
    else:
        print_text(stream, not args.sections)
    return 0
