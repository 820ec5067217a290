# SPDX-License-Identifier: Apache-2.0
"""The witness guest on an ordinary KVM host: a stock Debian kernel, ring 0 as the hardware does it."""
import json
import shlex

import pytest

from frame.paths import BUILD

PULSE = BUILD / "guest" / "pulse"
PARAMS = "rate=1M verify=1M ws=2M blk=2 blk_size=64K"
SECONDS = (6, 20, 60)  # the later ones where an emulated host is so slow that nothing was verified before


def command(machine, cpus, boot, seconds):
    """A shell line that runs the witness for some seconds, with a disk."""
    words = f"seconds={seconds} {PARAMS}"
    device = "virtio-blk-pci" if machine == "q35" else "virtio-blk-device"
    way = (["-bios", PULSE / "pulse.bios", "-fw_cfg", f"name=opt/outlive/pulse/cmdline,string={words}"]
           if boot == "bios" else ["-kernel", PULSE / "pulse.elf", "-append", words])
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-accel", "kvm", "-cpu", "host", "-display",
             "none", "-serial", "stdio", "-M", machine, "-m", "512", "-smp", cpus, *way, "-drive",
             "if=none,id=disk,file=/tmp/disk,format=raw", "-device", f"{device},drive=disk"]
    return "truncate -s 4M /tmp/disk && " + shlex.join(map(str, argv))


def ended(host, *guest):
    """The witness' last report."""
    for seconds in SECONDS:
        code, output = host.run(command(*guest, seconds), timeout=100 + seconds)
        assert code == 0, output
        report = json.loads([line for line in output.splitlines() if line.startswith('{"pulse"')][-1])
        if report["verified"]:
            break
    return report


@pytest.mark.parametrize("machine, boot", [("q35", "bios"), ("q35", "pvh"), ("microvm", "bios"), ("microvm", "pvh")])
def test_witness_works_on_a_stock_kvm_host(lab, machine, boot):
    host = lab(memory=2048, cpus=2)
    for cpus in (1, 2):
        report = ended(host, machine, cpus, boot)
        assert (report["state"], report["cpus"], report["faults"]) == ("ended", cpus, 0)
        assert report["beats"] > 1000 and report["verified"] > 0 and report["mono_ns"] and report["wall_ns"]
        assert report["blk"]["in"] > 0 and report["blk"]["bad"] == report["blk"]["lost"] == 0
