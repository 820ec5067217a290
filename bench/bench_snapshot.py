# SPDX-License-Identifier: Apache-2.0
"""A guest into a file and out of it: saving, loading, and running from a file before it is read.

"save" is from the command until the VMM says that it is done and the file is on the disk: whoever hasn't synced it
by then (ours has, QEMU hasn't) has it synced. Ours has a checksum of each page, QEMU none. "load" is from
migrate-incoming on a VMM that waits until the guest runs; "lazy" the same where pages come on demand; "lazy, from
nothing" begins with the process. "CPU" is what the process used for a GiB meanwhile, vCPUs left out, and what others
do for it: the kernel that writes the cache back, the cat that QEMU 7.2 writes to and reads from.

A file in memory (/dev/shm) shows the VMM alone. One on a disk (OUTLIVE_BENCH_DISK, a folder; otherwise build-tests)
shows what an operator has: before it is loaded, the cache has nothing of it. QEMU's mapped-ram has two channels, and
direct-io on the disk. OUTLIVE_BENCH_MIB="1024;4096" says which guests.

"dirtying" is of a guest that writes 20 MiB/s: the longest gap in its own clock over a save after which it goes on,
beside that over a move of it to another process through a unix socket.
"""
import contextlib
import dataclasses
import os
import tempfile
import time

from frame.moving import switch_on
from frame.paths import ROOT
from frame.vmm import Vmm
from frame.witness import Witness, options
from measure.guest import cpu_seconds, felt_ms, ours, wanted
from measure.machine import ReadyMemory

UNIT = "ms"
LONG = True
SIZES = [int(mib) for mib in os.environ.get("OUTLIVE_BENCH_MIB", "1024").split(";")]
MEMORY, DISK = "/dev/shm", os.environ.get("OUTLIVE_BENCH_DISK", str(ROOT / "build-tests"))
FILLS = ("random", "half")
PLACES = {"in memory": MEMORY, "on disk": DISK}
ALL = 1 << 34
ARGS = "rate=off verify=off wall=0"
DIRTYING = "fill=random rate=20M ws=64M verify=off wall=0"


def named(mib):
    """A size as people say it."""
    return f"{mib // 1024} GiB" if mib >= 1024 else f"{mib} MiB"


UNITS = {f"{named(mib)} {fill} {place}, {way}, CPU": "s/GiB"
         for mib in SIZES for fill in FILLS for place in PLACES for way in ("save", "load")}


def columns(found):
    """The VMMs with their ways: each is a column."""
    for program in found:
        yield program
        if program.name == "qemu-new":
            yield dataclasses.replace(program, name="qemu-new mapped-ram")


def way(program, path):
    """URI and arguments of saving, capabilities, parameters, URI of loading."""
    if ours(program):
        return {"uri": f"file:{path}", "outlive-mapped": True}, [], {}, f"file:{path}"
    if program.name == "qemu-new":
        return {"uri": f"file:{path}"}, [], {}, f"file:{path}"
    if program.name == "qemu-new mapped-ram":
        direct = {} if path.startswith(MEMORY) else {"direct-io": True}
        return {"uri": f"file:{path}"}, ["mapped-ram", "multifd"], {"multifd-channels": 2, **direct}, f"file:{path}"
    return {"uri": f"exec:cat > {path}"}, [], {}, f"exec:cat {path}"


def often(predicate):
    """Look every 2 ms, for two minutes."""
    begin = time.monotonic()
    while not predicate():
        assert time.monotonic() - begin < 120, "it takes too long"
        time.sleep(0.002)


def completed(vmm):
    """Wait until a VMM says that it is done."""
    def status():
        now = vmm.qmp.command("query-migrate").get("status")
        assert now != "failed", vmm.output()
        return now == "completed"
    often(status)


def running(vmm):
    often(lambda: vmm.qmp.command("query-status")["status"] == "running")


def sync(path):
    """See that a file is on the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def forget(path):
    """Have the cache keep nothing of a file that is on the disk; one in memory stays."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def prepare(vmm, capabilities, parameters):
    """Capabilities and parameters of a way."""
    switch_on(vmm, *capabilities)
    vmm.qmp.command("migrate-set-parameters", **{"max-bandwidth": ALL, **parameters})


def save(program, mib, words, path, folder):
    """Write a running guest to a file: ms, and CPU seconds for a GiB."""
    arguments, capabilities, parameters, _ = way(program, path)
    with Vmm(program, words, f"{folder}/log") as vmm:
        guest = Witness(vmm).start()
        ready = ReadyMemory(mib)
        prepare(vmm, capabilities, parameters)
        ready.give()
        begin, before = time.monotonic(), cpu_seconds(vmm)
        vmm.qmp.raw("migrate", arguments)
        completed(vmm)
        sync(path)
        took, cpu = time.monotonic() - begin, cpu_seconds(vmm) - before
        guest.close()
        vmm.qmp.command("quit")
    return took * 1e3, cpu * 1024 / mib


def load(program, mib, words, path, folder, lazy=False):
    """Until the guest runs: ms from the command, ms from the start of the process, CPU seconds for a GiB."""
    _, capabilities, parameters, uri = way(program, path)
    words = [word for word in words if word != "-S"]
    forget(path)
    ReadyMemory(mib).give()
    start = time.monotonic()
    with Vmm(program, [*words, "-incoming", "defer"], f"{folder}/log-in") as vmm:
        prepare(vmm, capabilities, parameters)
        begin, before = time.monotonic(), cpu_seconds(vmm)
        vmm.qmp.raw("migrate-incoming", {"uri": f"lazy:{path}" if lazy else uri})
        running(vmm)
        end, cpu = time.monotonic(), cpu_seconds(vmm) - before
        vmm.qmp.command("quit")
    return (end - begin) * 1e3, (end - start) * 1e3, cpu * 1024 / mib


def in_and_out(program, folder, mib, fill, place):
    """One guest, one place; {what: ms}."""
    words, figures = options(args=f"fill={fill} {ARGS}", memory_mib=mib), {}
    with tempfile.NamedTemporaryFile(dir=PLACES[place], prefix="ol-guest-") as file:
        figures["save"], figures["save, CPU"] = save(program, mib, words, file.name, folder)
        figures["load"], _, figures["load, CPU"] = load(program, mib, words, file.name, folder)
        if ours(program):
            figures["lazy"], figures["lazy, from nothing"], _ = load(program, mib, words, file.name, folder, True)
    return figures


def felt(program, folder, mib):
    """ms that a guest which writes feels of a save that it survives, and of a move."""
    words = options(args=DIRTYING, memory_mib=mib)
    figures, path = {}, f"{DISK}/ol-felt"
    with contextlib.ExitStack() as stack:
        vmm = stack.enter_context(Vmm(program, words, f"{folder}/log"))
        guest = Witness(vmm).start()
        stack.callback(guest.close)
        prepare(vmm, [], {})
        if ours(program):
            stack.callback(lambda: os.path.exists(path) and os.unlink(path))
            guest.ask("zp")
            vmm.qmp.raw("migrate", {"uri": f"file:{path}", "outlive-mapped": True, "outlive-continue": True})
            completed(vmm)
            figures["pause felt of a save"] = felt_ms(guest.report)
        guest.ask("zp")
        target = stack.enter_context(Vmm(program, [*[word for word in words if word != "-S"], "-incoming", "defer"],
                                         f"{folder}/log-in"))
        uri = f"unix:{target.path('m')}"
        target.qmp.command("migrate-incoming", uri=uri)
        vmm.qmp.command("migrate", uri=uri)
        completed(vmm)
        running(target)
        there = Witness(target)
        figures["pause felt of a move"] = felt_ms(there.report)
        there.close()
    return figures


def measure(program, folder):
    """One round: each cell."""
    figures = {}
    os.makedirs(DISK, exist_ok=True)
    for mib in SIZES:
        cells = {f"{named(mib)} {fill} {place}": (in_and_out, fill, place)
                 for place in PLACES for fill in FILLS}
        if program.name != "qemu-new mapped-ram":
            cells[f"{named(mib)} dirtying"] = (felt,)
        for cell, (one, *more) in cells.items():
            if wanted(cell):
                figures |= {f"{cell}, {what}": value
                            for what, value in one(program, folder, mib, *more).items()}
    return figures
