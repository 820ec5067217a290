# SPDX-License-Identifier: Apache-2.0
"""A guest whose frames the kernel's vhost-net moves: through an upgrade, a migration that is cancelled, and to QEMU."""
import time

import pytest
from frame import linux
from frame.paths import outlive_vmm

from lab import image

pytestmark = [pytest.mark.skipif(not outlive_vmm().exists(), reason="outlive-vmm isn't built"), pytest.mark.soak]
GUEST = "10.77.1.2"


def machine(host, name, options, vmm=None):
    """The guest's machine, in QEMU or in Outlive, with a tap of the bridge, once its monitor is there."""
    code, out = host.run(f"ip tuntap add {name} mode tap multi_queue && ip link set {name} master br0 up", timeout=60)
    assert code == 0, out
    nic = ["-netdev", f"tap,id=n0,ifname={name},script=no,downscript=no,vhost=on,vhostforce=on,queues=2",
           "-device", "virtio-net-pci,netdev=n0,mq=on,vectors=6,mac=52:54:00:12:34:56,romfile="]
    guest = linux.Guest(host, [*linux.machine(2), *nic, *options], vmm=vmm, run=f"/run/{name}", outlives=not vmm)
    guest.until_monitor()
    return guest


def kernel_serves(host):
    """The kernel threads of vhost, which have the VMM's process id in their names."""
    return [line for line in host.run("ps -e -o comm | grep ^vhost- || true")[1].split() if line]


def until_status(guest, want):
    """Wait for a word of query-migrate."""
    end = time.monotonic() + 120
    while (now := guest.command("query-migrate").get("status")) != want:
        assert now != "failed" and time.monotonic() < end, now
        guest.host.pump(0.2)


def moved(guest, uri):
    """Migrate; the VMM that had the guest ends."""
    info = guest.commands(("migrate", {"uri": uri}), ("until-migrated", {}), timeout=180)[-1]
    assert info["status"] == "completed", info
    guest.command("quit")


def answers(host, count=5):
    """The guest answers all pings."""
    code, out = host.run(f"ping -c {count} -i 0.2 -W 20 {GUEST}", timeout=120)
    assert code == 0 and f"{count} received" in out, out


@pytest.mark.timeout(900)
def test_the_kernel_moves_frames_wherever_the_guest_goes(lab):
    host = lab(memory=2816, modules=("vhost_net", "bridge"))
    assert host.run("ip link add br0 type bridge && ip addr add 10.77.1.1/24 dev br0 && ip link set br0 up")[0] == 0
    boot = linux.kernel(image.guest_image("6.1"), "echo SERVING; sleep 10000", words=f"guest.ip=eth0:{GUEST}/24")
    guest = machine(host, "tap0", boot)
    guest.expect("SERVING")
    answers(host)
    before = kernel_serves(host)
    assert before
    guest.command("outlive-upgrade", timeout=180, prepare_timeout=120000, pause_timeout=30000)
    answers(host)
    assert kernel_serves(host) and kernel_serves(host) != before

    guest.command("migrate-set-parameters", max_bandwidth=65536)
    guest.command("migrate", uri="exec:cat >/dev/null")
    until_status(guest, "active")
    answers(host)
    assert not kernel_serves(host), "while dirty pages are noted the VMM serves the rings"
    guest.command("migrate_cancel")
    until_status(guest, "cancelled")
    answers(host)
    assert kernel_serves(host)

    there = machine(host, "tap1", [*boot, "-incoming", "unix:/run/move"],
                    ["/usr/bin/qemu-system-x86_64", "-accel", "kvm", "-M", "pc-q35-7.2"])
    guest.command("migrate-set-parameters", max_bandwidth=0)
    moved(guest, "unix:/run/move")
    answers(host)
    back = machine(host, "tap2", [*boot, "-incoming", "unix:/run/back"])
    moved(there, "unix:/run/back")
    answers(host)
    assert kernel_serves(host)
    back.command("quit")
