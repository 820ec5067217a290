# SPDX-License-Identifier: Apache-2.0
"""A guest into a file and out of it: saving, loading, and running from a file before it is read.

"save" is from the command until the VMM says that it is done (ours has a checksum of each page by then, QEMU
none); "load" from migrate-incoming on a VMM that waits until the guest runs; "lazy" the same where pages come on
demand; "lazy, from nothing" begins with the process. The file is in memory (/dev/shm), so that it is the VMM that
is measured and not the disk: ours syncs it, QEMU doesn't. OUTLIVE_BENCH_MIB="1024;4096" says which guests.
"""
import dataclasses
import os
import tempfile
import time

from frame.moving import switch_on
from frame.vmm import Vmm
from frame.witness import Witness, options
from measure.guest import ours
from measure.machine import ReadyMemory

UNIT = "ms"
SIZES = [int(mib) for mib in os.environ.get("OUTLIVE_BENCH_MIB", "1024").split(";")]
ALL = 1 << 34
ARGS = "rate=off verify=off wall=0"


def columns(found):
    """The VMMs with their ways: each is a column."""
    for program in found:
        yield program
        if program.name == "qemu-new":
            yield dataclasses.replace(program, name="qemu-new mapped-ram")


def way(program, path):
    """URI and arguments of saving, capabilities, URI of loading."""
    if ours(program):
        return {"uri": f"file:{path}", "outlive-mapped": True}, [], f"file:{path}"
    if program.name == "qemu-new":
        return {"uri": f"file:{path}"}, [], f"file:{path}"
    if program.name == "qemu-new mapped-ram":
        return {"uri": f"file:{path}"}, ["mapped-ram", "multifd"], f"file:{path}"
    return {"uri": f"exec:cat > {path}"}, [], f"exec:cat {path}"


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


def save(program, mib, words, path, folder):
    """ms to write a running guest to a file."""
    arguments, capabilities, _ = way(program, path)
    with Vmm(program, words, f"{folder}/log") as vmm:
        guest = Witness(vmm).start()
        ready = ReadyMemory(mib)
        vmm.qmp.command("migrate-set-parameters", **{"max-bandwidth": ALL})
        switch_on(vmm, *capabilities)
        ready.give()
        begin = time.monotonic()
        vmm.qmp.raw("migrate", arguments)
        completed(vmm)
        took = time.monotonic() - begin
        guest.close()
        vmm.qmp.command("quit")
    return took * 1e3


def load(program, mib, words, uri, capabilities, folder):
    """ms until the guest runs: from the command, and from the start of the process."""
    words = [word for word in words if word != "-S"]
    ReadyMemory(mib).give()
    start = time.monotonic()
    with Vmm(program, [*words, "-incoming", "defer"], f"{folder}/log-in") as vmm:
        switch_on(vmm, *capabilities)
        begin = time.monotonic()
        vmm.qmp.raw("migrate-incoming", {"uri": uri})
        running(vmm)
        end = time.monotonic()
        vmm.qmp.command("quit")
    return (end - begin) * 1e3, (end - start) * 1e3


def measure(program, folder):
    """One round."""
    figures = {}
    for mib in SIZES:
        for fill in ("random", "half"):
            words = options(args=f"fill={fill} {ARGS}", memory_mib=mib)
            name = f"{mib // 1024} GiB {fill}" if mib >= 1024 else f"{mib} MiB {fill}"
            with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="ol-guest-") as file:
                _, capabilities, uri = way(program, file.name)
                figures[f"{name}, save"] = save(program, mib, words, file.name, folder)
                figures[f"{name}, load"] = load(program, mib, words, uri, capabilities, folder)[0]
                if ours(program):
                    figures[f"{name}, lazy"], figures[f"{name}, lazy, from nothing"] = load(
                        program, mib, words, f"lazy:{file.name}", [], folder)
    return figures
