# SPDX-License-Identifier: Apache-2.0
"""Two hundred upgrades in a row between two builds, for each size of guest and each load.

The other build is the release before, or the outlive-vmm that OUTLIVE_OTHER names.
"""
import json
import os
import statistics
import subprocess

import pytest

from frame.echo import Echo
from frame.live import descriptors, live, resident_kib  # noqa: F401
from frame.paths import ROOT, outlive_vmm

ROUNDS = int(os.environ.get("OUTLIVE_ROUNDS", "200"))
PATIENT_MS = 30000  # a host without a free CPU for a second calls an upgrade off, which isn't the matter here
LOADS = {"idle": "ws=4M rate=0", "busy": "ws=64M rate=20M blk=32 blk_size=16M net=16 net_rate=500"}


@pytest.fixture(scope="module", name="builds")
def _builds():
    """This tree's build, and the other one."""
    if "OUTLIVE_OTHER" in os.environ:
        return str(outlive_vmm()), os.environ["OUTLIVE_OTHER"]
    done = subprocess.run([ROOT / "tools" / "last-release", "--json", "--no-build"], capture_output=True, text=True,
                          check=True)
    return str(outlive_vmm()), json.loads(done.stdout)["program"] or str(outlive_vmm())


@pytest.fixture(name="echo")
def _echo(run_dir):
    made = Echo(f"{run_dir}/net")
    yield made
    made.close()


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("memory_mib", [1024, 8192])
@pytest.mark.parametrize("cpus", [1, 8])
def test_two_hundred_in_a_row(live, builds, echo, tmp_path, run_dir, cpus, memory_mib, load):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(32 << 20))
    guest = live("-drive", f"file={disk},if=none,id=d0,format=raw", "-device", "virtio-blk-pci,drive=d0",
                 "-netdev", f"stream,id=n0,server=off,addr.type=unix,addr.path={run_dir}/net",
                 "-device", "virtio-net-pci,netdev=n0", cpus=cpus, memory_mib=memory_mib, args=LOADS[load], boot="pvh")
    if load == "busy":
        guest.witness.wait(lambda now: len(now["device"]) == 2 and all(one["in"] > 100 for one in now["device"]))
    pauses, held, after = [], {}, 3
    for number in range(ROUNDS):
        report = guest.upgrade(binary=builds[number % 2], **{"pause-timeout": PATIENT_MS})
        pauses.append(report["pause-us"]["running"] / 1000)
        if number in (after, after + 1):
            held[number % 2] = (len(descriptors(guest.pid)), resident_kib(guest.pid))
    last = (ROUNDS - 1) % 2
    fds, kib = len(descriptors(guest.pid)), resident_kib(guest.pid)
    print(f"\n{cpus} vCPUs, {memory_mib} MiB, {load}: {ROUNDS} upgrades, pause in ms median "
          f"{statistics.median(pauses):.2f}, range {min(pauses):.2f} to {max(pauses):.2f}; "
          f"{held[last][0]} -> {fds} descriptors, {held[last][1]} -> {kib} KiB")
    assert fds == held[last][0], descriptors(guest.pid)
    assert kib < held[last][1] + 2048
    for device in guest.verify()["device"]:
        if device["kind"] == "net":  # an echo later than five seconds counts as lost, then as one too many
            assert device["duplicated"] <= device["lost"] and not device["reordered"], device
    guest.qmp.command("quit")
