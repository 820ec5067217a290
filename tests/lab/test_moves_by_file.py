# SPDX-License-Identifier: Apache-2.0
"""A Debian guest is saved to a file by stock QEMU, goes on in Outlive, and back, inside of a lab host with KVM."""
import json

import pytest
from frame import linux
from frame.paths import outlive_vmm
from frame.wait import until

from lab import bootdisk, image

QEMU = ["qemu-system-x86_64", "-accel", "kvm", "-M", "pc-q35-7.2"]
SCRIPT = """echo kept >/tmp/kept
(n=0; while :; do n=$((n + 1)); echo $n >/tmp/count; usleep 100000; done) &
sh -i"""
FORKED = "crng reseeded due to virtual machine fork"

pytestmark = pytest.mark.skipif(not outlive_vmm().exists(), reason="outlive-vmm isn't built")


def start(host, vmm, number, *more):
    """The guest's machine, in QEMU or (None) in Outlive, once its monitor listens; its disk is the same file."""
    run = f"/run/stay{number}"
    assert host.run(f"mkdir {run}")[0] == 0
    guest = linux.Guest(host, [*linux.machine(2, 512), *linux.disk("/tmp/boot.img"), "-device", "virtio-rng-pci",
                               "-device", "vmgenid", *more], vmm=vmm, run=run)
    guest.until_monitor()
    return guest


def answers(guest, *commands):
    """What QMP returns, without the greeting's."""
    said = [json.loads(line) for line in guest.qmp(*commands, timeout=120).splitlines() if line.startswith("{")]
    return [one["return"] for one in said if "return" in one]


def save(guest, path):
    """The guest is in a file, and its VMM ends."""
    guest.qmp(json.dumps({"execute": "migrate", "arguments": {"uri": f"exec:cat >{path}"}}), timeout=120)

    def status():
        return answers(guest, "query-migrate")[-1].get("status")
    until(lambda: status() in ("completed", "failed"), 240, "the guest is saved")
    assert status() == "completed"
    guest.qmp("quit")
    guest.wait()


def goes_on(guest, number):
    """Its console answers, what it had is there, and what ran runs; gives the counter."""
    forks = f"$(dmesg | grep -c '{FORKED}')"
    guest.type(f"echo stay {number} of $((2 + 1)): $(cat /tmp/kept) $(cat /tmp/count) {forks} end")
    line = guest.expect(f"stay {number} of 3: kept ", 240)
    words = line[line.rindex("kept "):].split()
    return int(words[1]), int(words[2])


@pytest.mark.timeout(900)
def test_a_debian_guest_goes_from_qemu_to_outlive_and_back_by_files(lab):
    host = lab(memory=2560)
    guest_image = image.guest_image("6.1", "generic")
    disk = bootdisk.boot_disk(host.work / "boot.img", guest_image, guest_image.command_line(SCRIPT, image.FAST), mib=96)
    host.run(f"cp {disk} /tmp/boot.img", timeout=120)
    guest = start(host, QEMU, 0)
    guest.expect(f"{image.MARK} up", 400)
    count, forks = goes_on(guest, 0)
    assert forks == 0
    for number, vmm in ((1, None), (2, QEMU)):
        save(guest, f"/tmp/stay{number}")
        guest = start(host, vmm, number, "-incoming", f"exec:cat /tmp/stay{number}")
        until(lambda: answers(guest, "query-status")[-1]["status"] == "running", 120, "the guest runs")
        later, forks = goes_on(guest, number)
        assert later >= count and forks == number, "each restored guest is told that it was one"
        count = later
    guest.type("poweroff -f")
    assert guest.wait() == 0
