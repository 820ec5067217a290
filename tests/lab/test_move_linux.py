# SPDX-License-Identifier: Apache-2.0
"""A Debian guest at work, with disk and network in use, changes its VMM, and its host.

Between QEMU and Outlive in one emulated host, and between two hosts with different kernels. Watched from outside: one
TCP connection, pings, wall clock.
"""
import json
import os
import pathlib
import re
import time

import pytest
from frame import linux
from frame.paths import outlive, outlive_vmm

from lab import image, network

pytestmark = [pytest.mark.skipif(not outlive_vmm().exists(), reason="outlive-vmm isn't built"), pytest.mark.soak]
ROUNDS = int(os.environ.get("OUTLIVE_ROUNDS", "2"))
QEMU = "/usr/bin/qemu-system-x86_64"
HERE = pathlib.Path(__file__).parent
MAC = "52:54:00:12:34:56"
CLOCK_MS = 10  # besides the pause, over which a guest's clock stands still, as with QEMU


class Watched:
    """A guest at work at @address, seen from @host, which has the address @peer."""

    def __init__(self, host, address, peer):
        self.host, self.address, self.peer = host, address, peer
        self.outside = host.spawn(["/usr/bin/python3", str(HERE / "outside.py"), address, "7000", "/tmp/stop"])
        self.moves, self.offset = [], None

    def boot(self):
        """Options that boot it."""
        script = f"dmesg -c >/dev/null; {linux.at_work(self.peer)} {linux.TELL}"
        return linux.kernel(image.guest_image("6.1"), script, f"guest.ip=eth0:{self.address}/24")

    def begin(self):
        """Wait until it works."""
        end = time.monotonic() + 420
        while "outside: watching" not in self.outside.output():
            assert self.outside.code is None and time.monotonic() < end, self.outside.output()
            self.host.pump(0.2)
        self.goes_on()
        self.offset = self.clock()

    def get(self, name):
        """A file of its /tmp."""
        code, text = self.host.run(f"wget -q -T 60 -O - http://{self.address}:8080/{name}", timeout=120)
        assert code == 0, f"{name}: {text}"
        return text.strip()

    def clock(self):
        """Its wall clock minus the host's, in ms."""
        code, text = self.host.run(["/usr/bin/python3", str(HERE / "wallclock.py"), self.address], timeout=300)
        assert code == 0, text
        return float(re.search(r"offset (\S+)", text).group(1))

    def goes_on(self):
        """Its disk is written and read back again, twice more."""
        enough, end = int(self.get("verify.rounds")) + 2, time.monotonic() + 240
        while int(self.get("verify.rounds")) < enough:
            assert time.monotonic() < end, "the disk stands still"
            self.host.pump(0.5)

    def moved(self, how, pause_ms):
        """It has been moved: all is as it was, but for the pause."""
        offset = self.clock()
        behind = self.offset - offset
        self.offset = offset
        self.moves.append((how, round(pause_ms, 1), round(behind, 1)))
        print(f"{how}: paused for {pause_ms:.1f} ms, wall clock behind by {behind:.1f} ms more than before", flush=True)
        self.goes_on()
        assert self.get("verify.bad") == ""
        assert self.get("complaints") == ""
        assert -CLOCK_MS < behind < pause_ms + CLOCK_MS, self.moves

    def end(self):
        """What was seen from outside: nothing lost on the connection."""
        self.host.run("touch /tmp/stop")
        assert self.outside.wait(180) == 0, self.outside.output()
        seen = json.loads(self.outside.output().split("outside: ")[-1])
        print(f"moves: {self.moves}; disk rounds: {self.get('verify.rounds')}; outside: {seen}")
        assert (seen["twice"], seen["wrong"], seen["connections"], seen["ended"]) == ([], None, 1, False), seen
        return seen


def nic(tap="tap0"):
    """Options of its network."""
    return ["-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=n0,mac={MAC},romfile="]


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
    image.make_disk(host.work / "data.img", 32)
    host.run(f"cp {host.work / 'data.img'} /tmp/data.img")
    seen = Watched(host, "10.77.1.2", "10.77.1.1")
    linux.Guest(host, [*linux.machine(2), *seen.boot(), *linux.disk("/tmp/data.img"), *nic()],
                vmm=[QEMU, "-M", "pc-q35-7.2", "-accel", "kvm"])
    seen.begin()
    monitor = "/run/guest.qmp"
    for _ in range(ROUNDS):
        said = command(host, "adopt", monitor, "--name", "web")
        seen.moved("adopt", said["downtime-ms"])
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
    question = {"execute": "outlive-check-migration", "arguments": {"uri": f"tcp:{network.Pair.address(0)}:4445"}}
    found = json.loads(probes[1].qmp(json.dumps(question)).splitlines()[-1])["return"]
    for probe in probes:
        probe.qmp("quit")
        assert probe.wait() == 0
    print(f"between the hosts: {found}", flush=True)
    assert not found["unchecked"], found
    models = [named.group(1) for one in found["mismatches"] if (named := re.search(r"-cpu (host[\w,.-]*)", one))]
    assert len(models) == len(found["mismatches"]), found
    return models[0].rstrip(".,") if models else "host"


def move(source, target):
    """Move the guest; gives its pause in ms."""
    source.qmp(json.dumps({"execute": "migrate-set-capabilities", "arguments": {"capabilities": [
        {"capability": "return-path", "state": True}]}}), json.dumps({
            "execute": "migrate-set-parameters", "arguments": {"max-bandwidth": 0}}), json.dumps({
                "execute": "migrate", "arguments": {"uri": f"tcp:{target.address}:4444"}}))
    end = time.monotonic() + 600
    while True:
        info = json.loads(source.qmp("query-migrate").splitlines()[-1])["return"]
        if info.get("status") not in ("setup", "active", "device"):
            break
        assert time.monotonic() < end, info
        source.host.pump(0.3)
    assert info["status"] == "completed", (info.get("error-desc"), target.output())
    source.qmp("quit")
    return info["outlive-downtime-us"] / 1000


@pytest.mark.timeout(2400)
def test_a_guest_at_work_goes_between_hosts_with_different_kernels(lab, tmp_path):
    cable = network.Pair()
    disk = image.make_disk(tmp_path / "data.img", 32)
    hosts = []
    for number, kernel in enumerate(("6.1", "6.12")):
        hosts.append(lab(kernel=kernel, memory=2048, nets=[cable.link(number)], fds=[cable.fd(number)],
                         modules=("bridge",), shares=[tmp_path], name="ab"[number]))
        bridged(hosts[-1], number)
    cable.close()
    seen = Watched(hosts[0], "10.77.0.9", network.Pair.address(0))
    options = [*linux.machine(2), "-cpu", cpu_for_both(hosts), *seen.boot(), *linux.disk(disk), *nic()]
    guest = linux.Guest(hosts[0], options)
    seen.begin()
    for number in [1, 0] * ROUNDS:
        there = linux.Guest(hosts[number], [*options, "-incoming", "tcp:0.0.0.0:4444"])
        there.address = network.Pair.address(number)
        there.until_monitor()
        pause = move(guest, there)
        guest = there
        seen.moved(f"to {hosts[number].release}", pause)
    seen.end()
