# SPDX-License-Identifier: Apache-2.0
"""The witness guest on an ordinary KVM host: a stock Debian kernel, ring 0 as the hardware does it."""
import json
import shlex

import pytest

from frame.paths import BUILD

PULSE = BUILD / "guest" / "pulse"
PARAMS = "seconds=6 rate=1M verify=1M ws=2M blk=2 blk_size=64K"


def command(machine, cpus, boot):
    """A shell line that runs the witness for six seconds, with a disk."""
    device = "virtio-blk-pci" if machine == "q35" else "virtio-blk-device"
    way = (["-bios", PULSE / "pulse.bios", "-fw_cfg", f"name=opt/outlive/pulse/cmdline,string={PARAMS}"]
           if boot == "bios" else ["-kernel", PULSE / "pulse.elf", "-append", PARAMS])
    words = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-accel", "kvm", "-cpu", "host", "-display",
             "none", "-serial", "stdio", "-M", machine, "-m", "512", "-smp", cpus, *way, "-drive",
             "if=none,id=disk,file=/tmp/disk,format=raw", "-device", f"{device},drive=disk"]
    return "truncate -s 4M /tmp/disk && " + shlex.join(map(str, words))


@pytest.mark.parametrize("machine, boot", [("q35", "bios"), ("q35", "pvh"), ("microvm", "bios"), ("microvm", "pvh")])
def test_witness_works_on_a_stock_kvm_host(lab, machine, boot):
    host = lab(memory=2048, cpus=2)
    for cpus in (1, 2):
        code, output = host.run(command(machine, cpus, boot), timeout=100)
        assert code == 0, output
        lines = [line for line in output.splitlines() if line.startswith('{"pulse"')]
        report = json.loads(lines[-1])
        assert (report["state"], report["cpus"], report["faults"]) == ("ended", cpus, 0)
        assert report["beats"] > 1000 and report["verified"] > 0 and report["mono_ns"] and report["wall_ns"]
        assert report["blk"]["in"] > 0 and report["blk"]["bad"] == report["blk"]["lost"] == 0
