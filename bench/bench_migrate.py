# SPDX-License-Identifier: Apache-2.0
"""Moving a guest with 1 GiB to another process: all of it, the pause, the CPU time.

The source sends to a target that waits, over TCP's loopback or a unix socket. "all" is what the
source says it took; "pause" is the longest gap in the guest's own clock;
"CPU" is what both processes used for a GiB of guest RAM, vCPUs left out.
"""
import os

from frame.moving import switch_on
from frame.vmm import Vmm
from frame.wait import until
from frame.witness import Witness, options
from measure.guest import cpu_seconds, felt_ms, wanted
from measure.machine import ReadyMemory

UNIT = "ms"
LONG = True
MIB = int(os.environ.get("OUTLIVE_BENCH_MIB", 1024))
ALL = 1 << 34  # bytes a second: no limit
IDLE = "rate=off verify=off wall=0"
DIRTYING = "rate=20M ws=64M verify=off wall=0"

# name: the guest's work and memory, the wire, channels (0: one stream), compression, limit in ms
CELLS = {
    "random, tcp": (f"fill=random {IDLE}", "tcp", 0, "none", 300),
    "random, tcp, limit 10 ms": (f"fill=random {IDLE}", "tcp", 0, "none", 10),
    "random, unix": (f"fill=random {IDLE}", "unix", 0, "none", 300),
    "random, tcp, 2 channels": (f"fill=random {IDLE}", "tcp", 2, "none", 300),
    "random, unix, 2 channels": (f"fill=random {IDLE}", "unix", 2, "none", 300),
    "dirtying, tcp": (f"fill=random {DIRTYING}", "tcp", 0, "none", 300),
    "dirtying, tcp, 2 channels": (f"fill=random {DIRTYING}", "tcp", 2, "none", 300),
    "text, tcp, 2 channels, zstd": (f"fill=text {IDLE}", "tcp", 2, "zstd", 300),
    "half zero, tcp": (f"fill=half {IDLE}", "tcp", 0, "none", 300),
    "zero, tcp": (f"fill=zero {IDLE}", "tcp", 0, "none", 300),
}
UNITS = {f"{cell}, CPU": "s/GiB" for cell in CELLS}
BESIDE = {f"{cell}, pause": f"{cell}, pause it says" for cell in CELLS}


def prepare(vmm, channels, compression, **parameters):
    """Capabilities and parameters that both sides need."""
    switch_on(vmm, "events", *(["multifd"] if channels else []))
    if channels:
        parameters |= {"multifd-channels": channels, "multifd-compression": compression}
    vmm.qmp.command("migrate-set-parameters", **{"max-bandwidth": ALL, **parameters})


def completed(vmm):
    """Wait until a side says that it is done."""
    while True:
        status = vmm.qmp.wait_event("MIGRATION")["data"]["status"]
        assert status not in ("failed", "cancelled"), vmm.output()
        if status == "completed":
            return


def listening(target, wire):
    """Have a target wait; where."""
    if wire == "unix":
        uri = f"unix:{target.path('m')}"
        target.qmp.command("migrate-incoming", uri=uri)
        return uri
    target.qmp.command("migrate-incoming", uri="tcp:127.0.0.1:0")
    return until(lambda: port_of(target), 10, "the target listens")


def port_of(target):
    """The address on which a process listens, from the kernel's table."""
    mine = {os.readlink(f"/proc/{target.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{target.pid}/fd")
            if os.path.islink(f"/proc/{target.pid}/fd/{fd}")}
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in file.readlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in mine:
                return f"tcp:127.0.0.1:{int(words[1].split(':')[1], 16)}"
    return None


def moved(source, target, cell):
    """Move the guest; (ms in all, CPU seconds, ms of the pause as the source says)."""
    _, wire, channels, compression, limit = cell
    prepare(target, channels, compression)
    prepare(source, channels, compression, **{"downtime-limit": limit})
    uri = listening(target, wire)
    ready = ReadyMemory(MIB + MIB // 8)
    before = cpu_seconds(source) + cpu_seconds(target)
    ready.give()
    source.qmp.command("migrate", uri=uri)
    completed(source)
    completed(target)
    info = source.qmp.command("query-migrate")
    return info["total-time"], cpu_seconds(source) + cpu_seconds(target) - before, info["downtime"]


def one(program, folder, cell):
    """One move; {what: value}."""
    guest_options = {"args": cell[0], "memory_mib": MIB}
    with Vmm(program, options(**guest_options), f"{folder}/log") as vmm:
        guest = Witness(vmm).start()
        guest.ask("zp")
        words = [word for word in options(**guest_options) if word != "-S"]
        with Vmm(program, [*words, "-incoming", "defer"], f"{folder}/target-log") as target:
            total, cpu, said = moved(vmm, target, cell)
            there = Witness(target)
            pause = felt_ms(there.report)
            there.close()
        guest.close()
    return {"all": total, "CPU": cpu * 1024 / MIB, "pause": pause, "pause it says": said}


def measure(program, folder):
    """One round: each cell."""
    figures = {}
    for name, cell in CELLS.items():
        if not wanted(name):
            continue
        place = os.path.join(folder, str(len(figures)))
        os.makedirs(place)
        figures |= {f"{name}, {what}": value for what, value in one(program, place, cell).items()}
    return figures
