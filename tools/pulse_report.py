# SPDX-License-Identifier: Apache-2.0
"""Read the witness guest's report: layout, decoding, waiting, text.

Theory of operation: guest/pulse/report.h is the layout; the tables below say the same in
Python, and sizes in the header are checked against them. A report comes from a dump of guest
memory, from a VMM by QMP (`pmemsave`, which QEMU and Outlive both have), or from anything else
with a read(address, size) method, such as the file that backs guest memory (Memory).

    report = read(Memory("/dev/shm/guest"))
    report["cpu"][0]["top"][0]["ns"]

A vCPU block may change while it is read: its "whole" is False when the figures of its gap lists
may not fit together. read() looks again until they do.
"""
import json
import os
import socket
import struct
import tempfile
import time

GPA = 0x10000
MAGIC = 0x0045534C55500A7E
VERSION = 1
BUCKETS, GAPS, FAULTS, DEVICES, CMDLINE, EXITS = 160, 16, 16, 8, 256, 6
NEVER = 0xFFFFFFFFFFFFFFFF

STATES = {1: "booting", 2: "filling", 3: "running", 4: "ended", 5: "failed"}
FORMS = {1: "pvh", 2: "bios", 3: "linux"}
SOURCES = {1: "parameter", 2: "hypervisor", 3: "cpuid", 4: "kvmclock", 5: "pit", 6: "host",
           7: "lapic"}
KINDS = {1: "lost", 2: "stale", 3: "ahead", 4: "torn", 5: "misplaced", 6: "corrupt"}
CAUSES = ("dirty", "verify", "fill", "console", "clock", "io", "sleep", "request")
DEVICE_KINDS = {1: "blk", 2: "net", 3: "balloon"}
EXIT_KINDS = {1: "port read", 2: "port write", 3: "MMIO read", 4: "MMIO write", 5: "doorbell"}
DEVICE_STATES = {1: "works", 2: "refused", 3: "needs reset"}

# Name and struct code of each field in order; a name of None is left out.
HEADER = [(name, code) for code, names in (
    ("Q", "magic"), ("I", "version size header_size cpu_size cpus form state fail_vector"),
    ("Q", "fail_error fail_rip fail_address"),
    ("Q", "req_count req req_arg ack_count ack_result"), ("24x", "-"),
    ("Q", "tsc_hz"), ("I", "tsc_source has_mono"),
    ("Q", "tsc_start tsc_ready mono_start_ns mono_ns wall_start_ns wall_ns"),
    ("q", "tsc_mono_ns tsc_mono_max_ns wall_mono_ns wall_mono_max_ns"),
    ("Q", "wall_back wall_back_max_ns mono_changes gap_threshold_ns"),
    ("Q", "ram_bytes pages_owned pages_working pages_filled faults verify_asked verify_done"),
    ("Q", "verify_faults verify_pages life"), ("I", "pattern content"), ("Q", "shadow_gpa first_gpa"),
    ("24x", "-"), (f"{CMDLINE}s", "cmdline")) for name in names.split()]
FAULT = [(name, code) for code, names in (
    ("Q", "gpa"), ("I", "kind cpu"),
    ("Q", "want_page want_seq found_page found_seq offset want found tsc"))
    for name in names.split()]
DEVICE = [(name, code) for code, names in (
    ("I", "kind where state depth"),
    ("Q", "id out in bad lost duplicated reordered answered longest_ns first_bad want found lent"),
    ("8x", "-")) for name in names.split()]
CPU = [(name, code) for code, names in (
    ("I", "index apic_id online roles"),
    ("Q", "lock beats tsc_first tsc_last gaps gap_ns tsc_back tsc_back_max mono_back"),
    ("Q", "mono_back_max dirtied verified faults passes owned first_page rate behind verify_all"),
    ("600x", "-")) for name in names.split()]
EXIT = [(name, code) for code, names in (("I", "kind count"), ("Q", "median_ns min_ns max_ns"))
        for name in names.split()]
GAP = [(name, code) for code, names in (
    ("Q", "tsc ticks ns mono_ns"), ("q", "mono_delta"), ("Q", "number"), ("I", "cause"),
    ("12x", "-")) for name in names.split()]


class Bad(Exception):
    """There is no report, or not one that can be read; the text says why."""


class Record:
    """A struct of the layout: size and how to unpack it."""

    def __init__(self, fields):
        self.names = [name for name, _ in fields if name != "-"]
        self.struct = struct.Struct("<" + "".join(code for _, code in fields))
        self.size = self.struct.size

    def unpack(self, data, at):
        """The fields as a dict."""
        return dict(zip(self.names, self.struct.unpack_from(data, at)))

    def offset(self, field):
        """Where a field is."""
        at = 0
        for name, code in self.fields():
            if name == field:
                return at
            at += struct.calcsize("<" + code)
        raise KeyError(field)


def record(fields):
    """A Record that also knows its fields' places."""
    made = Record(fields)
    made.fields = lambda: fields
    return made


RECORDS = {"header": record(HEADER), "fault": record(FAULT), "device": record(DEVICE),
           "cpu": record(CPU), "gap": record(GAP), "exit": record(EXIT)}
HEADER_SIZE = CPU_SIZE = 4096


def bucket_ns(bucket):
    """The shortest gap (ns) that a bucket of the histogram counts."""
    return bucket if bucket < 8 else (4 + bucket % 4) << (bucket // 4 - 1)


def unpack_gap(data, at):
    """One entry of a gap list."""
    gap = RECORDS["gap"].unpack(data, at)
    gap["cause"] = [name for bit, name in enumerate(CAUSES) if gap["cause"] >> bit & 1]
    return gap


def unpack_cpu(data, at):
    """One vCPU's block."""
    cpu = RECORDS["cpu"].unpack(data, at)
    at += RECORDS["cpu"].size
    counts = struct.unpack_from(f"<{BUCKETS}Q", data, at)
    cpu["hist"] = {bucket_ns(i): n for i, n in enumerate(counts) if n}
    at += 8 * BUCKETS
    lists = []
    for _ in range(2):
        gaps = [unpack_gap(data, at + i * RECORDS["gap"].size) for i in range(GAPS)]
        lists.append([gap for gap in gaps if gap["number"]])
        at += GAPS * RECORDS["gap"].size
    cpu["top"] = lists[0]
    cpu["recent"] = sorted(lists[1], key=lambda gap: gap["number"])
    cpu["whole"] = cpu["lock"] % 2 == 0
    cpu["rate"] = {0: "max", NEVER: "off"}.get(cpu["rate"], cpu["rate"])
    return cpu


def check_header(header):
    """Raise Bad unless this is a report of the version we know."""
    if header["magic"] != MAGIC:
        raise Bad("no witness here: the magic number is missing")
    if header["version"] != VERSION:
        raise Bad(f"report version {header['version']}, this program reads {VERSION}")
    if (header["header_size"], header["cpu_size"]) != (HEADER_SIZE, CPU_SIZE):
        raise Bad("sizes in the header are not those of its version")


def decode_header(data):
    """The header page as a dict."""
    if len(data) < HEADER_SIZE:
        raise Bad(f"{len(data)} bytes are no report")
    header = RECORDS["header"].unpack(data, 0)
    check_header(header)
    at = RECORDS["header"].size
    header["cmdline"] = header["cmdline"].split(b"\0")[0].decode("ascii", "replace")
    header["fault"], header["device"] = [], []
    for i in range(FAULTS):
        fault = RECORDS["fault"].unpack(data, at + i * RECORDS["fault"].size)
        if i < header["faults"]:
            fault["kind"] = KINDS.get(fault["kind"], "?")
            header["fault"].append(fault)
    at += FAULTS * RECORDS["fault"].size
    for i in range(DEVICES):
        device = RECORDS["device"].unpack(data, at + i * RECORDS["device"].size)
        if device["kind"]:
            device["kind"] = DEVICE_KINDS.get(device["kind"], "?")
            device["state"] = DEVICE_STATES.get(device["state"], "?")
            header["device"].append(device)
    at += DEVICES * RECORDS["device"].size
    header["exit"] = [dict(exit, kind=EXIT_KINDS[exit["kind"]]) for exit in (
        RECORDS["exit"].unpack(data, at + i * RECORDS["exit"].size) for i in range(EXITS))
        if exit["kind"] in EXIT_KINDS]
    header["state"] = STATES.get(header["state"], "?")
    header["form"] = FORMS.get(header["form"], "?")
    header["tsc_source"] = SOURCES.get(header["tsc_source"], "?")
    return header


def decode(data):
    """A report as a dict: the header's fields, "cpu": a list of vCPUs."""
    report = decode_header(data)
    if len(data) < HEADER_SIZE + report["cpus"] * CPU_SIZE:
        raise Bad(f"cut short: {len(data)} bytes, {report['cpus']} vCPUs")
    report["cpu"] = [unpack_cpu(data, HEADER_SIZE + i * CPU_SIZE) for i in range(report["cpus"])]
    for name in ("dirtied", "verified"):
        report[name] = sum(cpu[name] for cpu in report["cpu"])
    owners = [cpu["passes"] for cpu in report["cpu"] if cpu["owned"]]
    report["passes"] = min(owners, default=0)
    return report


class Dump:
    """A file that holds the report alone (dumped from PULSE_REPORT_GPA)."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()

    def read(self, address, size):
        """Bytes at a guest physical address."""
        return self.data[address - GPA:address - GPA + size]


class Memory:
    """Guest memory as a file (memory-backend-file, memfd by /proc): read and write."""

    def __init__(self, file):
        """`file`: a path, or a descriptor that the caller keeps open."""
        self.owned = not isinstance(file, int)
        self.fd = os.open(file, os.O_RDWR) if self.owned else file

    def read(self, address, size):
        """Bytes at a guest physical address below 2 GiB."""
        return os.pread(self.fd, size, address)

    def write(self, address, data):
        """Change guest memory."""
        os.pwrite(self.fd, data, address)

    def close(self):
        """Close what was opened here."""
        if self.owned:
            os.close(self.fd)


class Qmp:
    """Guest memory by a VMM's QMP socket.

    `client` may be a connected client of another kind: an object with raw(name, arguments).
    """

    def __init__(self, path=None, client=None, timeout=10):
        self.sock = None
        self.client = client
        self.folder = tempfile.TemporaryDirectory(prefix="pulse-")
        if client is None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(path)
            self.lines = self.sock.makefile("r", encoding="utf-8")
            if "QMP" not in json.loads(self.lines.readline()):
                raise Bad(f"{path}: no QMP greeting")
            self.command("qmp_capabilities", {})

    def command(self, name, arguments):
        """Run a QMP command."""
        if self.client is not None:
            return self.client.raw(name, arguments)
        request = {"execute": name, "arguments": arguments}
        self.sock.sendall(json.dumps(request).encode() + b"\n")
        for line in self.lines:
            reply = json.loads(line)
            if "error" in reply:
                raise Bad(f"{name}: {reply['error'].get('desc')}")
            if "return" in reply:
                return reply["return"]
        raise Bad(f"{name}: the VMM closed the connection")

    def read(self, address, size):
        """Bytes at a guest physical address."""
        path = os.path.join(self.folder.name, "memory")
        self.command("pmemsave", {"val": address, "size": size, "filename": path})
        with open(path, "rb") as file:
            data = file.read()
        os.unlink(path)
        return data

    def close(self):
        """Disconnect."""
        if self.sock is not None:
            self.lines.close()
            self.sock.close()
        self.folder.cleanup()


def read(source, tries=10):
    """The report in guest memory, read again while gap lists were changing."""
    for _ in range(tries):
        header = decode_header(source.read(GPA, HEADER_SIZE))
        size = HEADER_SIZE + header["cpus"] * CPU_SIZE
        report = decode(source.read(GPA, size))
        if all(cpu["whole"] for cpu in report["cpu"]):
            break
    return report


def is_ready(report):
    """The first fill is complete and requests are served."""
    return report["state"] == "running"


def is_verified(report):
    """A check of everything was asked for, and the newest is complete."""
    return report["verify_asked"] > 0 and report["verify_done"] == report["verify_asked"]


def is_wrong(report):
    """Something the witness checks was not as it should be, or it failed itself."""
    return bool(report["faults"] or report["state"] == "failed" or any(device["bad"] for device in report["device"]))


CONDITIONS = {
    "ready": is_ready,
    "verified": is_verified,
    "pass": lambda report: report["passes"] > 0,
    "fault": lambda report: report["faults"] > 0,
    "ended": lambda report: report["state"] == "ended",
}


def wait(source, condition, timeout=60, what=None):
    """Read until `condition` (a name of CONDITIONS, or a function of the report) holds.

    Returns the report; raises Bad after `timeout` seconds or when the witness failed.
    """
    holds = CONDITIONS.get(condition, condition)
    end = time.monotonic() + timeout
    pause, why = 0.001, "no report"
    while time.monotonic() < end:
        try:
            report = read(source)
        except Bad as bad:
            why = str(bad)
        else:
            if holds(report):
                return report
            if report["state"] == "failed":
                raise Bad(failure(report))
            why = f"state {report['state']}"
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    raise Bad(f"not {what or condition} within {timeout} s: {why}")


def request(memory, letter, argument=0, timeout=60):
    """Ring the doorbell and wait until the request is served; needs a Memory."""
    field = RECORDS["header"].offset
    word = struct.Struct("<Q")
    count = word.unpack(memory.read(GPA + field("req_count"), 8))[0] + 1
    memory.write(GPA + field("req"), word.pack(ord(letter)))
    memory.write(GPA + field("req_arg"), word.pack(argument))
    memory.write(GPA + field("req_count"), word.pack(count))
    report = wait(memory, lambda report: report["ack_count"] == count, timeout,
                  f"request {letter!r} served")
    if report["ack_result"]:
        raise Bad(f"request {letter!r} is unknown to the witness")
    return report


def failure(report):
    """A line about a witness that faulted."""
    return (f"the witness failed: vector {report['fail_vector']} error {report['fail_error']:#x} "
            f"at {report['fail_rip']:#x}, address {report['fail_address']:#x}")


def duration(ns):
    """A time for people."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if abs(ns) >= size:
            return f"{ns / size:.3f} {unit}"
    return f"{ns} ns"


def percentile(hist, share):
    """The gap (ns, lower edge of its bucket) that `share` of all beats don't exceed."""
    total, seen = sum(hist.values()), 0
    for edge, count in sorted(hist.items()):
        seen += count
        if seen >= total * share:
            return edge
    return 0


def gap_line(report, gap):
    """One gap: length, when, what the vCPU did itself, how its monotonic clock moved."""
    since = (gap["tsc"] - report["tsc_start"]) * 1e9 / report["tsc_hz"]
    did = "+".join(gap["cause"]) or "only its clock"
    mono = f", monotonic clock {duration(gap['mono_delta'])}" if report["has_mono"] else ""
    return f"  {duration(gap['ns']):>12} at {duration(since)}, tsc {gap['tsc']}, did {did}{mono}"


def cpu_lines(report, cpu):
    """One vCPU."""
    yield f"vCPU {cpu['index']} (APIC {cpu['apic_id']}):"
    if cpu["roles"] & 1:
        hist = cpu["hist"]
        typical = ", ".join(f"{name} {duration(percentile(hist, share))}" for name, share in
                            (("median", .5), ("99 %", .99), ("99.99 %", .9999)))
        yield (f"  {cpu['beats']} beats, {typical}; {cpu['gaps']} gaps over "
               f"{duration(report['gap_threshold_ns'])}, {duration(cpu['gap_ns'])} in all")
        for gap in cpu["top"]:
            yield gap_line(report, gap)
    for name, unit in (("tsc_back", "ticks"), ("mono_back", "ns")):
        if cpu[name]:
            yield f"  {name.split('_')[0]} went BACKWARD {cpu[name]} times, by up to {cpu[name + '_max']} {unit}"
    if cpu["owned"]:
        yield (f"  {cpu['owned']} pages: {cpu['dirtied']} written (rate {cpu['rate']}/s), "
               f"{cpu['verified']} checked in {cpu['passes']} passes, {cpu['faults']} wrong")


def fault_line(fault):
    """One page found wrong."""
    return (f"  {fault['kind'].upper()} page at {fault['gpa']:#x}: sequence {fault['found_seq']} of page "
            f"{fault['found_page']:#x}, expected {fault['want_seq']} of {fault['want_page']:#x}; at "
            f"{fault['offset']:#x} {fault['found']:#018x}, expected {fault['want']:#018x} "
            f"(vCPU {fault['cpu']})")


def device_line(device):
    """One I/O device."""
    return (f"{device['kind']} at {device['where']:#x} {device['state']}: {device['out']} out, {device['in']} in, "
            f"{device['bad']} bad, {device['lost']} lost, {device['duplicated']} twice, "
            f"{device['reordered']} reordered, longest {duration(device['longest_ns'])}")


def clock_lines(report):
    """The clocks against each other."""
    if not report["has_mono"]:
        yield "no kvmclock: the TSC is the only clock"
        return
    yield (f"TSC - monotonic: {duration(report['tsc_mono_ns'])} (at most "
           f"{duration(report['tsc_mono_max_ns'])}); wall - monotonic: {duration(report['wall_mono_ns'])} "
           f"(at most {duration(report['wall_mono_max_ns'])})")
    if report["wall_back"]:
        yield f"wall clock went BACKWARD {report['wall_back']} times, by up to {report['wall_back_max_ns']} ns"


def text(report):
    """The report for people."""
    lines = [f"pulse ({report['form']}) {report['state']}: {report['cpus']} vCPUs, "
             f"{report['ram_bytes'] >> 20} MiB, TSC {report['tsc_hz'] / 1e6:.3f} MHz ({report['tsc_source']})"]
    if report["state"] == "failed":
        lines.append(failure(report))
    lines += clock_lines(report)
    lines.append(f"{report['pages_owned']} pages owned, {report['dirtied']} written, {report['verified']} "
                 f"checked, {report['faults']} wrong; {report['verify_done']} full checks, the last of "
                 f"{report['verify_pages']} pages found {report['verify_faults']}")
    lines += [fault_line(fault) for fault in report["fault"]]
    lines += [device_line(device) for device in report["device"]]
    for cpu in report["cpu"]:
        lines += cpu_lines(report, cpu)
    return "\n".join(lines)
