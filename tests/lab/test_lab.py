# SPDX-License-Identifier: Apache-2.0
"""The lab itself: what it promises to those who run tests in it."""

import json
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from lab import image, network, session  # noqa: E402
from lab.host import Lab  # noqa: E402
from lab.job import LabTimeout, Progress  # noqa: E402

pytestmark = pytest.mark.skipif(not shutil.which("qemu-system-x86_64"),
                                reason="the lab needs qemu-system-x86_64 (apt-get install qemu-system-x86)")

COMMAND = [str(PROJECT / "lab" / "lab")]
KVM_API = """
import fcntl, os
kvm = os.open("/dev/kvm", os.O_RDWR)
print("api", fcntl.ioctl(kvm, 0xAE00))			# KVM_GET_API_VERSION
vm = fcntl.ioctl(kvm, 0xAE01, 0)			# KVM_CREATE_VM
print("vcpu", fcntl.ioctl(vm, 0xAE41, 0) > vm)		# KVM_CREATE_VCPU
"""


@pytest.fixture(scope="module", params=["6.1", "6.12"])
def host(request):
    """A running host with each of Debian's kernels."""
    with Lab(kernel=request.param) as lab:
        yield lab


def lab_command(*args, timeout=240, **kwargs):
    """Run the `lab` command to its end."""
    return subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=timeout, **kwargs)


def children(pid):
    """Return the process ids of all children of @pid's threads."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def wait_until(what, condition, limit=60):
    """Wait until @condition() holds, with a bound."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"not within {limit} s: {what}"
        time.sleep(0.05)


def stock_qemu(guest, line, *more):
    """Return the command that runs a guest under stock QEMU inside the host."""
    return ["qemu-system-x86_64", "-M", "q35", "-accel", "kvm", "-cpu", "host", "-m", "384", "-nographic", "-no-reboot",
            "-kernel", guest.vmlinux, "-initrd", guest.initrd, "-append", line, *more]


# -- one host ----------------------------------------------------------------


def test_kernel_is_the_one_asked_for(host):
    assert host.release.startswith(host.kernel_name + ".")
    assert host.run("uname -r") == (0, host.release + "\n")
    assert host.ready_s > 0


def test_command_gives_its_output_and_exit_code(host):
    assert host.run("echo out; echo err >&2; exit 7") == (7, "out\nerr\n")
    assert host.run(["printf", "%s|", "a b", "$HOME"]) == (0, "a b|$HOME|")
    assert host.run("kill -TERM $$")[0] == 128 + signal.SIGTERM


def test_output_comes_while_the_command_runs(host):
    pieces = []
    go = host.work / "go"

    def sink(data):
        pieces.append(data)
        go.touch()	# the command can only end if "first" was seen before its end

    code, _ = host.run(f"echo first; until [ -e {go} ]; do sleep 0.1; done; echo last", timeout=60, sink=sink)
    assert code == 0 and b"".join(pieces) == b"first\nlast\n"


def test_kernel_console_stays_out_of_the_output(host):
    code, out = host.run("echo '<0>loud' >/dev/kmsg; echo quiet")
    assert (code, out) == (0, "quiet\n")
    wait_until("the message is in the console log", lambda: "loud" in host.console())


def test_commands_run_side_by_side(host):
    fifo = "/run/fifo"
    host.run(f"rm -f {fifo}; mkfifo {fifo}")
    reader = host.spawn(f"cat {fifo}")
    assert host.run(f"echo through >{fifo}")[0] == 0
    assert reader.wait(60) == 0 and reader.output() == "through\n"


def test_kvm_works(host):
    assert host.run(["/usr/bin/python3", "-c", KVM_API]) == (0, "api 12\nvcpu True\n")


def test_files_pass_both_ways(host, tmp_path):
    (tmp_path / "in").write_bytes(b"\0to the host\n")
    path = host.put(tmp_path / "in")
    assert host.run(f"cat {path} {path} >{host.work}/out")[0] == 0
    assert host.get("out", tmp_path / "out") == b"\0to the host\n" * 2 == (tmp_path / "out").read_bytes()
    for text in ("one", "two"):	# nothing is cached on the way
        path.write_text(text)
        assert host.run(f"cat {path}") == (0, text)


def test_machine_is_safe_from_the_host(host):
    assert host.run(f"touch {PROJECT}/README.md")[0] != 0
    assert host.run("echo changed >/etc/hostname && cat /etc/hostname") == (0, "changed\n")
    assert pathlib.Path("/etc/hostname").read_text() != "changed\n"
    assert host.run("ip -o link | grep -v LOOPBACK")[0] == 1	# no NIC unless asked for


def test_hang_ends_at_its_limit_with_what_was_last_seen(host):
    with pytest.raises(LabTimeout) as caught:
        host.run("echo '<1>last words' >/dev/kmsg; echo so far; exec sleep 987", timeout=20)
    text = str(caught.value)
    assert "no end within 20 s" in text and "last words" in text and "so far" in text
    gone = "for i in $(seq 100); do pgrep -f 'sleep 98[7]' >/dev/null || exit 0; sleep 0.1; done; exit 1"
    assert host.run(gone)[0] == 0	# it was killed, and the host goes on


@pytest.mark.timeout(400)
def test_debian_guest_boots_under_stock_qemu(host, tmp_path):
    guest = image.guest_image(host.kernel_name)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "hello").write_text("from the disk\n")
    disk = image.make_disk(host.work / "disk.img", 16, tree=tmp_path / "tree")
    line = guest.command_line("cat /mnt/hello; ping -c 1 10.0.2.2; dmesg >/mnt/dmesg; umount /mnt; exit 9",
                              f"{image.FAST} guest.mount=vda:/mnt guest.ip=eth0:10.0.2.15/24")
    code, out = host.run(stock_qemu(guest, line, "-nic", "user,restrict=on,model=virtio-net-pci",
                                    "-drive", f"file={disk},if=virtio,format=raw"), timeout=300)
    assert code == 0
    assert f"OUTLIVE-GUEST up {guest.release}" in out
    assert "from the disk" in out and "1 packets received" in out
    assert "OUTLIVE-GUEST exit 9" in out and "OUTLIVE-GUEST failed" not in out
    dmesg = image.read_file(disk, "/dmesg").decode()	# over the serial port it would take long
    assert f"Linux version {guest.release}" in dmesg and "Hypervisor detected: KVM" in dmesg


# -- hosts of their own ------------------------------------------------------


@pytest.mark.timeout(400)
def test_guest_works_with_an_assigned_nic():
    bind = """
dev=$(basename $(dirname $(grep -l 0x10d3 /sys/bus/pci/devices/*/device)))
echo vfio-pci >/sys/bus/pci/devices/$dev/driver_override
echo $dev >/sys/bus/pci/drivers_probe
echo $dev $(basename $(readlink /sys/bus/pci/devices/$dev/driver))
"""
    guest = image.guest_image("6.1", "generic")	# it has the NIC's driver
    line = guest.command_line("until ping -c 1 -W 2 10.0.2.2; do :; done; grep -c eth0 /proc/interrupts; exit 9",
                              f"{image.FAST} guest.ip=eth0:10.0.2.15/24")
    with Lab(devices=["intel-iommu,intremap=on", "e1000e,netdev=n1,romfile="], nets=["user,id=n1"],
             modules=["vfio-pci"], append="intel_iommu=on") as lab:
        code, out = lab.run(bind)
        dev, driver = out.split()
        assert (code, driver) == (0, "vfio-pci")
        code, out = lab.run(stock_qemu(guest, line, "-nic", "none", "-device", f"vfio-pci,host={dev}"), timeout=300)
        assert code == 0 and " 0% packet loss" in out and "\n3\r\nOUTLIVE-GUEST exit 9" in out


def test_two_hosts_ping_each_other():
    outputs = [[], []]
    summary = session.run_pair(["ping -c 2 -w 60 10.77.0.2 && exit 3", "ping -c 2 -w 60 10.77.0.1 && exit 4"],
                               120, [out.append for out in outputs], memory=768)
    assert summary.exit_codes == [3, 4] and summary.exit_code == 3, summary
    for index, out in enumerate(outputs):
        assert b"bytes from 10.77.0.%d" % (2 - index) in b"".join(out)


def test_known_hang_is_tried_again_once_and_counted(tmp_path):
    first = tmp_path / "first"
    script = f"""
[ -e {first} ] && {{ echo fine; exit 0; }}
touch {first}
echo '<0>watchdog: BUG: soft lockup - CPU#1 stuck for 23s!' >/dev/kmsg
sleep 600
"""
    out = []
    summary = session.run_one(script, 60, out.append, shares=[str(tmp_path)], stall_s=2, memory=768)
    assert (summary.outcome, summary.exit_code, summary.retries) == ("exited", 0, 1)
    assert "soft lockup" in summary.retry_reasons[0] and b"".join(out) == b"fine\n"


def test_known_hang_while_booting_is_tried_again_once(monkeypatch):
    signs = iter(["soft lockup"])
    monkeypatch.setattr(Progress, "stalled", lambda self, at_limit=False: next(signs, None))
    with Lab(memory=768) as lab:
        assert lab.run("true") == (0, "")
        assert lab.retries == ["the host hangs while it boots (soft lockup)"]


def test_cable_can_be_cut():
    cable = network.Pair()
    ping = f"ping -c 1 -w %d {cable.address(1)}"
    labs = [Lab(name=name, nets=[cable.link(i)], fds=[cable.fd(i)], memory=512) for i, name in enumerate("ab")]
    try:
        for lab in labs:
            lab.start()
        assert labs[0].run(ping % 30)[0] == 0
        labs[0].qmp.command("set_link", name="cable", up=False)
        assert labs[0].run(ping % 1)[0] != 0
        labs[0].qmp.command("set_link", name="cable", up=True)
        assert labs[0].run(ping % 30)[0] == 0
    finally:
        for lab in labs:
            lab.stop()
        cable.close()


def test_kexec_brings_the_host_back():
    program = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
files = [os.open(os.environ[name], os.O_RDONLY) for name in ("LAB_KERNEL", "LAB_INITRD")]
line = open("/proc/cmdline", "rb").read().strip() + b" second=boot\\0"
if libc.syscall(320, *files, len(line), line, 0) == 0:		# kexec_file_load
    libc.syscall(169, 0xfee1dead, 0x28121969, 0x45584543, 0)	# reboot, KEXEC
print(os.strerror(ctypes.get_errno()))
"""
    with Lab(memory=1024) as lab:
        (lab.work / "kept").write_text("kept")
        lab.spawn(["/usr/bin/python3", "-c", program])
        lab.wait_ready()
        code, out = lab.run("cat kept /proc/cmdline; test -c /dev/kvm")
        assert code == 0 and out.startswith("kept") and "second=boot" in out


def test_known_hang_twice_is_a_failure():
    script = "echo '<0>rcu: rcu_preempt kthread timer wakeup didn'\"'\"'t happen' >/dev/kmsg; sleep 600"
    summary = session.run_one(script, 60, stall_s=1, memory=768)
    assert (summary.outcome, summary.exit_code, summary.retries) == ("hang", 124, 1)
    assert "timer wakeup didn't happen" in summary.error


def test_dead_host_is_named():
    summary = session.run_one("echo c >/proc/sysrq-trigger; sleep 60", 60, memory=768)
    assert (summary.outcome, summary.exit_code, summary.retries) == ("failed", 125, 0)
    assert "sysrq triggered crash" in summary.error


# -- the command -------------------------------------------------------------


def test_command_line_runs_a_script_with_arguments(tmp_path):
    script = tmp_path / "s.sh"
    script.write_text("#!/bin/bash\necho \"<$1> $NAME\"\n[[ $2 == b ]] && exit 3\n")
    done = lab_command("run", "--env", "NAME=x y", "--memory", "768", str(script), "a a", "b")
    assert (done.returncode, done.stdout) == (3, "<a a> x y\n"), done.stderr


def test_command_line_limit_and_summary(tmp_path):
    done = lab_command("run", "--json", "--timeout", "5", "--memory", "768", "--", "echo begun; sleep 600")
    summary = json.loads(done.stdout)
    assert done.returncode == 124 and summary["outcome"] == "limit" and summary["retries"] == 0
    assert "begun" in done.stderr and "no end within 5 s" in summary["error"]
    assert summary["total_s"] >= summary["ready_s"] > 0


def test_missing_script_is_an_error():
    done = lab_command("run", "/nonexistent.sh")
    assert done.returncode == 125 and "/nonexistent.sh: no such script" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_when_the_command_is_killed(how):
    with subprocess.Popen([*COMMAND, "run", "--memory", "768", "--", "echo begun; sleep 600"],
                          stdout=subprocess.PIPE) as command:
        assert command.stdout.readline() == b"begun\n"
        (qemu,) = children(command.pid)
        assert b"qemu-system" in pathlib.Path(f"/proc/{qemu}/cmdline").read_bytes()
        pidfd = os.pidfd_open(qemu)
        command.send_signal(how)
        command.wait(60)
    assert select.select([pidfd], [], [], 60)[0], "QEMU still runs"
    os.close(pidfd)
    assert lab_command("run", "--memory", "768", "--", "true").returncode == 0	# sweeps up what SIGKILL left
    run = pathlib.Path(os.environ.get("OUTLIVE_LAB_DIR", PROJECT / "build" / "lab")) / "run"
    assert not list(run.glob(f"lab.{command.pid}.*"))


def test_shell_gives_a_terminal():
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, "shell", "--memory", "768"], stdin=theirs, stdout=theirs, stderr=theirs,
                          start_new_session=True) as shell:
        os.close(theirs)
        seen = read_terminal(ours, b"# ")
        os.write(ours, b"echo $((6 * 7))=; tty; exit 5\r")
        seen += read_terminal(ours, b"/dev/hvc0")
        assert shell.wait(60) == 5
    os.close(ours)
    assert b"42=" in seen


def read_terminal(fd, until, limit=120):
    """Read from a terminal until some text came."""
    seen, end = b"", time.monotonic() + limit
    while until not in seen:
        assert time.monotonic() < end, seen
        if select.select([fd], [], [], 1)[0]:
            seen += os.read(fd, 4096)
    return seen
