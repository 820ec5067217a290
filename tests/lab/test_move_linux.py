# SPDX-License-Identifier: Apache-2.0
"""A Debian guest at work, with disk and network in use, changes its VMM, and its host.

Between QEMU and Outlive in one emulated host, with an upgrade in between, and between two hosts with different kernels.
Watched from outside: one TCP connection, pings, wall clock. Two hosts' clocks go at rates of their own, so before each
move the target's is set a bit ahead of the source's, and the guest's is compared with that of the host it is on.
"""
import json
import os
import re

import pytest
from frame import linux
from frame.paths import outlive, outlive_vmm
from frame.watched import Watched, ahead

from lab import network

pytestmark = [pytest.mark.skipif(not outlive_vmm().exists(), reason="outlive-vmm isn't built"), pytest.mark.soak]
ROUNDS = int(os.environ.get("OUTLIVE_ROUNDS", "2"))
QEMU = "/usr/bin/qemu-system-x86_64"
AHEAD_MS = 100  # within what a target takes for the same time
SET_CLOCK = "import sys, time; time.clock_settime(time.CLOCK_REALTIME, time.time() + float(sys.argv[1]) / 1000)"
SLOW = {"prepare-timeout": 300000, "pause-timeout": 30000}  # an emulated host has seconds where others have ms


def command(host, *words):
    """The outlive command in the host; what it printed as JSON."""
    code, out = host.run([str(word) for word in (outlive(), *words, "--json")], timeout=400,
                         env={"OUTLIVE_RUN_DIR": "/run/outlive", "OUTLIVE_VMM": str(outlive_vmm())})
    assert code == 0, out
    return json.loads(out.strip().splitlines()[-1])


@pytest.mark.timeout(2400)
def test_a_guest_at_work_is_adopted_from_qemu_and_given_back(lab):
    host = lab(memory=2560)
    linux.make_tap(host)
    seen = Watched(host, "10.77.1.2", "10.77.1.1")
    linux.Guest(host, [*linux.machine(2), *seen.boot(), *seen.devices()],
                vmm=[QEMU, "-M", "pc-q35-7.2", "-accel", "kvm"])
    seen.begin()
    monitor = "/run/guest.qmp"
    for _ in range(ROUNDS):
        said = command(host, "adopt", monitor, "--name", "web")
        seen.moved("adopt", said["downtime-ms"])
        said = linux.commands_in(host, "/run/outlive/web/qmp.sock", ("outlive-upgrade", SLOW), timeout=360)[0]
        seen.moved("upgrade", said["pause-us"]["running"] / 1000, stands=False)
        monitor = "/run/back.qmp"
        said = command(host, "giveback", "web", "--emulator", QEMU, "--qmp", monitor)
        seen.moved("giveback", said["downtime-ms"])
    seen.end()


def bridged(host, number):
    """The cable and a tap of the host are one network."""
    code, out = host.run(f"modprobe tun && ip link add br0 type bridge && ip link set br0 up && "
                         f"ip addr flush dev lab0 && ip link set lab0 master br0 && "
                         f"ip addr add {network.Pair.address(number)}/24 dev br0 && "
                         f"ip tuntap add tap0 mode tap && ip link set tap0 master br0 up", timeout=60)
    assert code == 0, out


def cpu_for_both(hosts):
    """-cpu that both hosts can give: a check names what the second has more."""
    probes = [linux.Guest(host, [*linux.machine(2), *more], run="/run/probe")
              for host, more in zip(hosts, (("-incoming", "tcp:0.0.0.0:4445"), ("-S",)))]
    for probe in probes:
        probe.until_monitor()
    found = probes[1].command("outlive-check-migration", uri=f"tcp:{network.Pair.address(0)}:4445")
    for probe in probes:
        probe.command("quit")
        assert probe.wait() == 0
    print(f"between the hosts: {found}", flush=True)
    assert not found["unchecked"], found
    models = [named.group(1) for one in found["mismatches"] if (named := re.search(r"-cpu (host[\w,.-]*)", one))]
    assert len(models) == len(found["mismatches"]), found
    return models[0].rstrip(".,") if models else "host"


def set_clock(source, target, address):
    """The wall clock of the target's host, at an address, is that of the source's and AHEAD_MS."""
    change = AHEAD_MS - ahead(source, address)[0]
    code, out = target.run(["/usr/bin/python3", "-c", SET_CLOCK, str(change)], timeout=60)
    assert code == 0, out
    print(f"clock of {target.name} changed by {change:.1f} ms", flush=True)


def move(source, target):
    """Move the guest; gives its pause in ms."""
    info = source.commands(
        ("migrate-set-capabilities", {"capabilities": [{"capability": "return-path", "state": True}]}),
        ("migrate-set-parameters", {"max-bandwidth": 0, "downtime-limit": SLOW["pause-timeout"]}),
        ("migrate", {"uri": f"tcp:{target.address}:4444"}),
        ("until-migrated", {}), timeout=600)[-1]
    assert info["status"] == "completed", (info.get("error-desc"), target.output())
    source.command("quit")
    return info["outlive-downtime-us"] / 1000


@pytest.mark.timeout(2400)
def test_a_guest_at_work_goes_between_hosts_with_different_kernels(lab, tmp_path):
    cable = network.Pair()
    hosts = []
    for number, kernel in enumerate(("6.1", "6.12")):
        hosts.append(lab(kernel=kernel, memory=2048, nets=[cable.link(number)], fds=[cable.fd(number)],
                         modules=("bridge",), shares=[tmp_path], name="ab"[number]))
        bridged(hosts[-1], number)
    cable.close()
    seen = Watched(hosts[0], "10.77.0.9", network.Pair.address(0), folder=tmp_path)
    options = [*linux.machine(2), "-cpu", cpu_for_both(hosts), *seen.boot(), *seen.devices()]
    guest = linux.Guest(hosts[0], options)
    seen.begin()
    for number in [1, 0] * ROUNDS:
        set_clock(guest.host, hosts[number], network.Pair.address(number))
        there = linux.Guest(hosts[number], [*options, "-incoming", "tcp:0.0.0.0:4444"])
        there.address = network.Pair.address(number)
        there.until_monitor()
        pause = move(guest, there)
        guest = there
        seen.moved(f"to {hosts[number].release}", pause, stands=False, where=hosts[number])
    seen.end()
