# SPDX-License-Identifier: Apache-2.0
"""A guest whose frames the kernel's vhost-net moves: through an upgrade, a migration that is cancelled, and to QEMU."""
import json
import time

import pytest
from frame import linux
from frame.paths import outlive_vmm

from lab import image

pytestmark = [pytest.mark.skipif(not outlive_vmm().exists(), reason="outlive-vmm isn't built"), pytest.mark.soak]
GUEST = "10.77.1.2"
QMP = """
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
f = s.makefile("rw")
f.readline()
for command in ({"execute": "qmp_capabilities"}, *json.loads(sys.argv[2])):
    f.write(json.dumps(command) + "\\n")
    f.flush()
    while True:
        answer = json.loads(f.readline())
        if "event" not in answer:
            break
print(json.dumps(answer))
"""


class Vm:
    """A VMM in the host with a tap of the bridge, its console in a file."""

    def __init__(self, host, name, options, vmm=None, queues=2):
        self.host, self.name = host, name
        program = vmm or [outlive_vmm()]
        code, out = host.run(f"ip tuntap add {name} mode tap multi_queue && ip link set {name} master br0 up",
                             timeout=30)
        assert code == 0, out
        words = [*program, "-M", "pc-q35-7.2", "-nodefaults", "-cpu", "host", "-display", "none",
                 "-chardev", f"file,id=s,path=/run/{name}.out", "-serial", "chardev:s", "-smp", "2", "-m", "384",
                 "-qmp", f"unix:/run/{name}.qmp,server=on,wait=off",
                 "-netdev", f"tap,id=n0,ifname={name},script=no,downscript=no,vhost=on,vhostforce=on,queues={queues}",
                 "-device", f"virtio-net-pci,netdev=n0,mq=on,vectors={2 * queues + 2},mac=52:54:00:12:34:56,romfile=",
                 *options]
        self.job = host.spawn(" ".join("'" + str(word).replace("'", "'\\''") + "'" for word in words))
        self.until(f"test -S /run/{name}.qmp", "a monitor")

    def until(self, command, what, seconds=180):
        """Wait until a command in the host succeeds."""
        end = time.monotonic() + seconds
        while self.host.run(command, timeout=60)[0]:
            assert self.job.code is None, self.job.output()
            assert time.monotonic() < end, f"no {what}: {self.job.output()}"
            self.host.pump(0.2)

    def qmp(self, name, **arguments):
        """Run a QMP command, with underscores for dashes."""
        command = {"execute": name, "arguments": {key.replace("_", "-"): value for key, value in arguments.items()}}
        code, out = self.host.run(["/usr/bin/python3", "-c", QMP, f"/run/{self.name}.qmp", json.dumps([command])],
                                  timeout=90)
        assert code == 0, out
        answer = json.loads(out.strip().splitlines()[-1])
        assert "return" in answer, answer
        return answer["return"]

    def kernel_serves(self):
        """The kernel threads of vhost, which have the VMM's process id in their names."""
        return [line for line in self.host.run("ps -e -o comm | grep ^vhost- || true")[1].split() if line]

    def until_status(self, want):
        """Wait for a word of query-migrate."""
        end = time.monotonic() + 120
        while (now := self.qmp("query-migrate").get("status")) != want:
            assert now != "failed" and time.monotonic() < end, now
            self.host.pump(0.2)


def answers(host, count=5):
    """The guest answers all pings."""
    code, out = host.run(f"ping -c {count} -i 0.2 -W 20 {GUEST}", timeout=120)
    assert code == 0 and f"{count} received" in out, out


@pytest.mark.timeout(900)
def test_the_kernel_moves_frames_wherever_the_guest_goes(lab):
    host = lab(memory=2816, modules=("vhost_net", "bridge"))
    assert host.run("ip link add br0 type bridge && ip addr add 10.77.1.1/24 dev br0 && ip link set br0 up")[0] == 0
    boot = linux.kernel(image.guest_image("6.1"), "echo SERVING; sleep 10000", words=f"guest.ip=eth0:{GUEST}/24")
    vm = Vm(host, "tap0", boot)
    vm.until("grep -q SERVING /run/tap0.out", "guest")
    answers(host)
    before = vm.kernel_serves()
    assert before
    vm.qmp("outlive-upgrade", binary=str(outlive_vmm()))
    answers(host)
    assert vm.kernel_serves() and vm.kernel_serves() != before

    vm.qmp("migrate-set-parameters", max_bandwidth=65536)
    vm.qmp("migrate", uri="exec:cat >/dev/null")
    vm.until_status("active")
    answers(host)
    assert not vm.kernel_serves(), "while dirty pages are noted the VMM serves the rings"
    vm.qmp("migrate_cancel")
    vm.until_status("cancelled")
    answers(host)
    assert vm.kernel_serves()

    there = Vm(host, "tap1", [*boot, "-incoming", "unix:/run/move"], ["/usr/bin/qemu-system-x86_64", "-accel", "kvm"])
    vm.qmp("migrate-set-parameters", max_bandwidth=0)
    vm.qmp("migrate", uri="unix:/run/move")
    vm.until_status("completed")
    vm.qmp("quit")
    answers(host)
    back = Vm(host, "tap2", [*boot, "-incoming", "unix:/run/back"])
    there.qmp("migrate", uri="unix:/run/back")
    there.until_status("completed")
    there.qmp("quit")
    answers(host)
    assert back.kernel_serves()
    back.qmp("quit")
