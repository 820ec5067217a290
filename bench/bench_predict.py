# SPDX-License-Identifier: Apache-2.0
"""What a VMM predicts of a pause, and what the guest feels of it.

A guest with two vCPUs, one of which writes, moves over links of several speeds (two network namespaces, a
shaped pair of devices between them; or a limit of the bandwidth, which ends with the rounds), with working sets
that a round makes smaller, and others that don't fit and are sent in the pause. "felt" is the longest gap in
the guest's own clock, "predicted" what was expected when the guest was stopped, "said" what the source says
afterwards; "ratio" is predicted by said or felt, 1 being right. OUTLIVE_BENCH_STEPS=FILE keeps the steps of each.
"""
import json
import os

from frame.hosts import Pair
from frame.moving import ended, send
from frame.vmm import Vmm
from frame.witness import Witness, options
from measure.guest import felt_ms, ours, started, wanted

UNIT = "ms"
LONG = True
ASKED = True
MIB = 128
PORT = 4444
KEEPS = "verify=off wall=0 fill=random"
RATIOS = ("ratio to felt", "ratio to said")

# name: Mb/s of the link (0: as it comes), the guest's writing, channels, ms at most, bytes a second in the rounds
CELLS = {
    "1 Gb/s, 4 MiB": (1000, "rate=max ws=4M", 0, 2000, 0),
    "1 Gb/s, 32 MiB": (1000, "rate=200M ws=32M", 0, 2000, 0),
    "1 Gb/s, 32 MiB, 2 channels": (1000, "rate=200M ws=32M", 2, 2000, 0),
    "1 Gb/s, 32 MiB, 20 MB/s": (1000, "rate=20M ws=32M", 0, 300, 0),
    "10 Gb/s, 64 MiB": (10000, "rate=max ws=64M", 0, 2000, 0),
    "10 Gb/s, 64 MiB, 2 channels": (10000, "rate=max ws=64M", 2, 2000, 0),
    "no limit, 64 MiB": (0, "rate=max ws=64M", 0, 2000, 0),
    "no limit, 64 MiB, 2 channels": (0, "rate=max ws=64M", 2, 2000, 0),
    "no limit, 16 MiB, at random": (0, "rate=max ws=16M pattern=random", 0, 2000, 0),
    "rounds at 50 MB/s, 16 MiB": (0, "rate=100M ws=16M", 0, 2000, 50_000_000),
    "1 Gb/s, rounds at 50 MB/s, 16 MiB": (1000, "rate=100M ws=16M", 0, 2000, 50_000_000),
    "1 Gb/s, idle": (1000, "rate=off", 0, 300, 0),
}
UNITS = {f"{cell}, {ratio}": "" for cell in CELLS for ratio in RATIOS}


def moved(source, target, pair, cell):
    """Move the guest; query-migrate of the source."""
    _, _, channels, limit, most = cell
    capabilities = ["return-path", *(["multifd"] if channels else [])]
    parameters = {"multifd-channels": channels} if channels else {}
    uri = f"tcp:{pair.b.address}:{PORT}"
    target.qmp.command("migrate-set-capabilities",
                       capabilities=[{"capability": name, "state": True} for name in capabilities])
    target.qmp.command("migrate-set-parameters", **parameters)
    target.qmp.command("migrate-incoming", uri=uri)
    send(source, uri, *capabilities, **{"downtime-limit": limit, "max-bandwidth": most, **parameters})
    info = ended(source, 120)
    assert (info["status"], ended(target)["status"]) == ("completed", "completed"), info
    return info


def one(program, folder, cell):
    """One move; query-migrate with what was felt, in us."""
    pair = Pair(f"{folder}/link.log", rate_mbit=cell[0])
    try:
        args = f"{cell[1]} {KEEPS}"
        guest_options = options(args, cpus=2, memory_mib=MIB)
        with Vmm(program, guest_options, f"{folder}/log", within=pair.a.prefix) as vmm:
            guest = started(vmm, args)
            words = [word for word in guest_options if word != "-S"]
            with Vmm(program, [*words, "-incoming", "defer"], f"{folder}/target", within=pair.b.prefix) as target:
                guest.ask("zp")
                info = moved(vmm, target, pair, cell)
                there = Witness(target)
                info["felt-us"] = felt_ms(there.report) * 1e3
                there.close()
            guest.close()
    finally:
        pair.close()
    return info


def keep(program, name, info):
    """Write a move's steps down, where that is asked for."""
    path = os.environ.get("OUTLIVE_BENCH_STEPS")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"program": program.name, "cell": name, "load": os.getloadavg()[0], **info}) + "\n")


def measure(program, folder):
    """One round: each cell."""
    figures = {}
    for name, cell in CELLS.items():
        if not ours(program) or not wanted(name):
            continue
        place = os.path.join(folder, str(len(figures)))
        os.makedirs(place)
        info = one(program, place, cell)
        keep(program, name, info)
        felt, said = info["felt-us"], info["outlive-downtime-us"]
        predicted = info["outlive-expected-downtime-us"]
        figures |= {f"{name}, felt": felt / 1e3, f"{name}, said": said / 1e3, f"{name}, predicted": predicted / 1e3,
                    f"{name}, ratio to felt": predicted / felt, f"{name}, ratio to said": predicted / said}
    return figures
