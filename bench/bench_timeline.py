# SPDX-License-Identifier: Apache-2.0
"""Time lines: a guest that writes moves over a link of 400 MiB/s, and what was said of its pause before.

One guest of 512 MiB with two vCPUs, each writing 20 MB/s over a working set of 64 MiB, moves to
another process by TCP's loopback. "felt" is the longest gap in the guest's own clock; "predicted" is what
the VMM expected when it stopped the guest, "said" what it says afterwards. Ours is upgraded as well.
"""
import json
import os
import time

from frame.moving import switch_on
from frame.vmm import Vmm
from frame.witness import Witness, options
from measure.guest import felt_ms, free_port, started
from measure.machine import ReadyMemory
from measure.record import OPTIONS, Recorder

UNIT = "ms"
MIB, CPUS, LIMIT_MS = 512, 2, 50
ARGS = "rate=20M ws=64M fill=random verify=off wall=0"
LINK = 400 << 20
SIZE = {"cpus": CPUS, "memory_mib": MIB}
BESIDE = {"pause felt": "pause said"}


def completed(vmm):
    """Wait until a side says that it is done."""
    event = vmm.qmp.wait_event("MIGRATION", timeout=120,
                               match=lambda data: data["status"] in ("completed", "failed", "cancelled"))
    assert event["data"]["status"] == "completed", vmm.output()


def expected_ms(path):
    """What the source expected of the pause, by the newest look that says so."""
    found = 0.0
    with open(path, encoding="utf-8") as file:
        for line in map(json.loads, file):
            info = line.get("query-migrate", {})
            found = info.get("outlive-expected-downtime-us", info.get("expected-downtime", found) * 1e3) / 1e3
    return found


def migrated(source, target, guest, path):
    """Move the guest, recorded; figures."""
    uri = f"tcp:127.0.0.1:{free_port()}"
    for vmm in (source, target):
        switch_on(vmm, "events")
    source.qmp.command("migrate-set-parameters", **{"max-bandwidth": LINK, "downtime-limit": LIMIT_MS})
    target.qmp.command("migrate-incoming", uri=uri)
    ReadyMemory(MIB).give()
    guest.ask("zp")
    with Recorder(source, path, source.program.name, to=uri, memory=MIB << 20, cpus=CPUS) as record:
        begin = time.monotonic()
        source.qmp.command("migrate", uri=uri)
        completed(source)
        total = time.monotonic() - begin
        completed(target)
        record.finish()
        there = Witness(target)
        felt = felt_ms(there.report)
        record.felt(felt)
    said = source.qmp.command("query-migrate")
    if "outlive-upgrade" in {command["name"] for command in target.qmp.command("query-commands")}:
        upgraded(target, there, os.path.join(os.path.dirname(path), "upgrade.record"))
    there.close()
    target.qmp.command("quit")  # wherever the guest is now
    return {"pause felt": felt, "pause said": said.get("outlive-downtime-us", said["downtime"] * 1e3) / 1e3,
            "pause predicted": expected_ms(path) or None, "all": total * 1e3}


def upgraded(vmm, guest, path):
    """Replace the VMM under it; a record of that."""
    guest.ask("zp")
    begin = time.monotonic()
    wall = time.time()
    report = vmm.qmp.command("outlive-upgrade", timeout=60)
    total = (time.monotonic() - begin) * 1e3
    with open(path, "w", encoding="utf-8") as file:
        for line in ({"record": 1, "kind": "upgrade", "guest": vmm.program.name, "begin-us": int(wall * 1e6)},
                     {"at-ms": total, "upgrade": report, "total-ms": total,
                      "felt-ms": felt_ms(guest.report)}):
            file.write(json.dumps(line) + "\n")


def measure(program, folder):
    """One round."""
    with Vmm(program, [*options(ARGS, **SIZE), *OPTIONS], os.path.join(folder, "log")) as vmm:
        guest = started(vmm, ARGS)
        words = [word for word in options(ARGS, **SIZE) if word != "-S"]
        with Vmm(program, [*words, "-incoming", "defer"], os.path.join(folder, "target-log")) as target:
            figures = migrated(vmm, target, guest, os.path.join(folder, "migration.record"))
        guest.close()
        return figures
