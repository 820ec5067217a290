# SPDX-License-Identifier: Apache-2.0
"""outlive adopt and giveback: guests of QEMUs that were started without any thought of Outlive."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading

import pytest

from frame.echo import Echo
from frame.moving import check
from frame.paths import BUILD
from frame.plugin import qemu_or_skip, starter
from frame.process import alive
from frame.qemu import HOST_CPU, QEMUS
from frame.qmp import Qmp
from frame.standing import Command, StandingWitness
from frame.wait import Deadline, until
from frame.witness import CMDLINE, Witness

FAILED, REFUSED, TIMEOUT = 1, 4, 5
PULSE = BUILD / "guest" / "pulse" / "pulse.bios"
DIRTYING = "rate=2M ws=4M fill=half"
PATIENT_MS = 60000


@pytest.fixture
def command(run_dir):
    """The outlive command; its guests end with the test."""
    (run_dir / "guests").mkdir()
    one = Command(run_dir / "guests")
    yield one
    one.end()


@pytest.fixture(params=list(QEMUS))
def other(request, tmp_path, leak_guard):
    """Starter of each stock QEMU."""
    yield from starter(qemu_or_skip(request.param), tmp_path)


class Guest:
    """The witness in a QEMU as people start it: short options, a console on a socket."""

    def __init__(self, qemu, run_dir, *more, pulse=DIRTYING, cpus=2, memory=128, machine="pc-q35-7.2", cpu=HOST_CPU,
                 accel="kvm", defaults=("-nodefaults",)):
        self.console = run_dir / "console"
        self.vmm = qemu.start(
            "-M", f"{machine},accel={accel}", "-cpu", cpu, "-m", memory, "-smp", cpus, "-display", "none",
            *defaults, "-name", "web", "-bios", PULSE,
            "-fw_cfg", f"name={CMDLINE},string={pulse}", "-serial", f"unix:{self.console},server=on,wait=off",
            "-qmp", "unix:@RUN@/second.sock,server=on,wait=off", *more)
        self.vmm.path = lambda name, was=self.vmm.path: str(self.console) if name == "witness.sock" else was(name)
        self.here = Witness(self.vmm)
        self.here.wait("ready")
        self.monitor = self.vmm.path("qmp.sock")

    def leave(self):
        """Let go of monitor and console: one client at a time is served."""
        self.here.close()
        self.vmm.qmp.close()

    def second(self):
        """A client of the second monitor."""
        return self.vmm.connect("second.sock")

    def come_back(self):
        """The witness, still in this QEMU."""
        return StandingWitness(self.monitor, self.vmm.process.log, self.console, "qemu")


def arrived(command, guest):
    """The witness in the adopted guest."""
    folder = command.folder / "web"
    return StandingWitness(folder / "qmp.sock", folder / "log", guest.console)


def given(command, guest):
    """The witness in the QEMU it was given to."""
    folder = command.folder / "web"
    return StandingWitness(folder / "qemu.sock", folder / "qemu.log", guest.console, "qemu")


def emulator(guest, folder):
    """A program that starts the guest's QEMU again: the newest one needs a loader and paths."""
    path = folder / "emulator"
    program = guest.vmm.program
    env = "".join(f"export {key}='{value}'\n" for key, value in (program.env or {}).items() if key.startswith("QEMU"))
    path.write_text(f"#!/bin/sh\n{env}exec {' '.join(program.argv)} \"$@\"\n")
    path.chmod(0o755)
    return path


def visit(witness, **what):
    """See that all is well with a guest, see frame.moving.check()."""
    with witness:
        check(witness, **what)


def end_qemu(command):
    """End the QEMU that has the guest now."""
    qmp = Qmp(str(command.folder / "web" / "qemu.sock"))
    qmp.command("quit")
    qmp.close()


def disk(folder, name):
    """An empty image."""
    path = folder / name
    path.write_bytes(bytes(1 << 20))
    return path


@pytest.mark.parametrize("cpus", [1, 4])
def test_a_guest_is_taken_over_and_given_back(other, command, run_dir, tmp_path, cpus):
    with Echo(run_dir / "echo") as echo:
        guest = Guest(other, run_dir, "-drive", f"file={disk(tmp_path, 'a')},format=raw,if=virtio", *echo.options(),
                      "-device", "virtio-scsi-pci", "-drive", f"file={disk(tmp_path, 'b')},format=raw,if=none,id=b",
                      "-device", "scsi-hd,drive=b", "-device", "virtio-serial-pci", "-chardev", "null,id=port",
                      "-device", "virtserialport,chardev=port,name=org.test", "-device", "virtio-rng-pci",
                      "-device", "virtio-balloon-pci", cpus=cpus,
                      pulse=f"{DIRTYING} blk=8 blk_size=1M net=16 net_rate=1000")
        guest.here.wait(lambda now: len(now["device"]) == 2 and all(d["in"] > 50 for d in now["device"]))
        inode = os.stat(guest.console).st_ino
        guest.leave()
        said = json.loads(command("adopt", guest.monitor, "--json").splitlines()[-1])
        assert said["name"] == "web" and said["blockers" if "blockers" in said else "notes"] == []
        assert guest.vmm.wait() == 0 and os.stat(guest.console).st_ino == inode
        visit(arrived(command, guest), devices=True, on_the_way=16)
        command("upgrade", "web", "--pause-timeout", 60)
        command("giveback", "web", "--emulator", emulator(guest, tmp_path), "--cpu", HOST_CPU)
        assert json.loads(command("ls", "--json"))[0]["state"] == "ended"
        assert os.stat(guest.console).st_ino == inode
        visit(given(command, guest), devices=True, on_the_way=32)
        command("adopt", command.folder / "web" / "qemu.sock", "--name", "web")
        visit(arrived(command, guest), devices=True, on_the_way=48)
        assert os.stat(guest.console).st_ino == inode


class Bounce:
    """Every frame that a guest sends through a tap comes back to it, and to it only."""

    def __init__(self, name):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.bind((name, 0))
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        """Until close()."""
        self.sock.settimeout(0.05)
        while not self.stop.is_set():
            try:
                frame, address = self.sock.recvfrom(65536)
            except TimeoutError:
                continue
            if address[2] != socket.PACKET_OUTGOING:
                with contextlib.suppress(OSError):  # nobody is at the tap: lost
                    self.sock.send(frame)

    def close(self):
        """End it."""
        self.stop.set()
        self.thread.join()
        self.sock.close()


@pytest.fixture
def tap():
    """A tap that is up."""
    subprocess.run(["ip", "tuntap", "add", "tap7", "mode", "tap"], check=True)
    subprocess.run(["ip", "link", "set", "tap7", "up"], check=True)
    yield "tap7"
    subprocess.run(["ip", "link", "del", "tap7"], check=True)


def test_a_tap_stays_what_it_is(qemu, command, run_dir, tmp_path, tap):
    bounce = Bounce(tap)
    try:
        guest = Guest(qemu, run_dir, "-nic", f"tap,ifname={tap},script=no,downscript=no,model=virtio-net-pci",
                      pulse=f"{DIRTYING} net=16 net_rate=1000")
        guest.here.wait(lambda now: now["device"] and now["device"][0]["in"] > 50)
        guest.leave()
        command("adopt", guest.monitor)
        visit(arrived(command, guest), devices=True, on_the_way=64)
        command("giveback", "web", "--emulator", emulator(guest, tmp_path), "--cpu", HOST_CPU)
        visit(given(command, guest), devices=True, on_the_way=128)
        end_qemu(command)
    finally:
        bounce.close()


@pytest.mark.parametrize("more,said", [
    (["-vga", "std"], "VGA"),
    (["-device", "ide-hd,drive=x", "-drive", "file=@DISK@,format=raw,if=none,id=x"], "virtio-blk-pci or scsi-hd"),
    (["-hda", "@DISK@"], "ide-hd"),
    (["-nic", "user,model=e1000e"], "virtio-net-pci"),
    (["-nic", "user,model=virtio-net-pci"], "the kind 'user' can't be carried"),
    (["-netdev", "user,id=u", "-device", "virtio-net-pci,netdev=u"], "netdev u: the kind 'user'"),
    (["-device", "virtio-net-pci,rss=on"], "rss"),
    (["-device", "qemu-xhci"], "qemu-xhci"),
    (["-parallel", "null"], "isa-parallel"),
    (["-drive", "file=@QCOW@,if=virtio"], "raw"),
    (["-chardev", "udp,id=u,host=127.0.0.1,port=9", "-device", "isa-serial,chardev=u"], "chardev u"),
])
def test_what_cannot_be_carried_is_named_and_nothing_happens(qemu, command, run_dir, tmp_path, more, said):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "q.qcow2", "1M"], check=True)
    fill = {"@DISK@": str(disk(tmp_path, "x")), "@QCOW@": str(tmp_path / "q.qcow2")}
    for old, new in fill.items():
        more = [word.replace(old, new) for word in more]
    guest = Guest(qemu, run_dir, *more)
    guest.leave()
    assert said in command("adopt", guest.monitor, code=REFUSED)
    assert command("ls", "--names") == ""
    visit(guest.come_back())


@pytest.mark.parametrize("how,said", [
    ({"accel": "tcg", "cpu": "max"}, "without KVM"),
    ({"machine": "pc-q35-7.1"}, "machine type pc-q35-7.1"),
    ({"machine": "pc"}, "machine type pc-i440fx"),
    ({"defaults": ("-parallel", "none", "-monitor", "none")}, "ide-cd"),
    ({"defaults": ("-parallel", "none", "-monitor", "none")}, "VGA"),
])
def test_other_machines_are_refused(qemu, command, run_dir, how, said):
    guest = Guest(qemu, run_dir, **how)
    guest.leave()
    assert said in command("adopt", guest.monitor, code=REFUSED)
    with guest.come_back() as here:
        assert here.vmm.qmp.command("query-status")["status"] == "running"


def test_a_named_cpu_model_goes_along_and_back(qemu, command, run_dir):
    guest = Guest(qemu, run_dir, cpu="Nehalem,-x2apic")
    guest.leave()
    command("adopt", guest.monitor)
    visit(arrived(command, guest))
    command("giveback", "web")
    with given(command, guest) as there:
        check(there)
        assert there.vmm.qmp.command("qom-get", path="/machine/unattached/device[0]",
                                     property="type") == "Nehalem-x86_64-cpu"
    end_qemu(command)


def test_a_plugged_device_goes_along(qemu, command, run_dir):
    guest = Guest(qemu, run_dir, "-device", "pcie-root-port,id=port1,chassis=1,slot=1",
                  "-device", "pcie-root-port,id=port2,chassis=2,slot=2")
    guest.vmm.qmp.command("device_add", driver="virtio-rng-pci", id="rng", bus="port1")
    guest.leave()
    command("adopt", guest.monitor)
    assert "rng" in command("device", "ls", "web")
    visit(arrived(command, guest))
    command("device", "add", "web", "virtio-balloon-pci,id=late,bus=port2")
    command("giveback", "web", "--cpu", HOST_CPU)
    with given(command, guest) as there:
        check(there)
        plugged = {d["name"]: d["type"] for d in there.vmm.qmp.command("qom-list", path="/machine/peripheral")}
        assert plugged["rng"] == "child<virtio-rng-pci>" and plugged["late"] == "child<virtio-balloon-pci>"
    end_qemu(command)


def test_the_console_of_a_terminal_moves_to_outlive_console(qemu, command, run_dir):
    guest = Guest(qemu, run_dir, "-serial", "pty")
    guest.leave()
    said = json.loads(command("adopt", guest.monitor, "--json").splitlines()[-1])
    assert "outlive console web" in said["notes"][0]
    assert (command.folder / "web" / "console.sock").exists()
    visit(arrived(command, guest))


def test_wrong_peers_are_refused(outlive, command, run_dir):
    assert "isn't there" in command("adopt", run_dir / "nobody", code=FAILED)
    ours = outlive.start("-M", "none", "-S")
    ours.qmp.close()
    assert "query-cpus-fast" in command("adopt", ours.path("qmp.sock"), code=FAILED)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(run_dir / "mute"))
        mute.listen()
        assert "doesn't answer" in command("adopt", run_dir / "mute", code=TIMEOUT)


def test_our_own_guest_and_a_forwarded_monitor_are_refused(outlive, qemu, command, run_dir):
    ours = outlive.start("-M", "pc-q35-7.2", "-nodefaults", "-S", "-m", 16)
    ours.qmp.close()
    assert "outlive-vmm already" in command("adopt", ours.path("qmp.sock"), code=REFUSED)
    guest = Guest(qemu, run_dir)
    guest.leave()
    with socket.socket(socket.AF_UNIX) as middle:
        middle.bind(str(run_dir / "middle"))
        middle.listen()
        thread = threading.Thread(target=forward, args=(middle, guest.monitor))
        thread.start()
        assert "vCPUs are of process" in command("adopt", run_dir / "middle", code=REFUSED)
        thread.join()
    visit(guest.come_back())


def forward(middle, path):
    """Pass one connection on to another socket, until it ends."""
    client, _ = middle.accept()
    with client, socket.socket(socket.AF_UNIX) as server:
        server.connect(str(path))

        def back():
            while data := server.recv(65536):
                client.sendall(data)
        thread = threading.Thread(target=back)
        thread.start()
        while data := client.recv(65536):
            server.sendall(data)
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


class Endless:
    """A guest that is being adopted, by a target that is stopped on the way: it writes too much to get there before."""

    def __init__(self, qemu, command, run_dir):
        self.guest = Guest(qemu, run_dir, pulse="rate=max ws=48M fill=random", cpus=1, memory=192)
        self.qmp = self.guest.second()
        self.limit = self.qmp.command("query-migrate-parameters")["max-bandwidth"]
        self.guest.leave()
        self.adopting = command.begin("adopt", self.guest.monitor, "--downtime", 1)
        deadline = Deadline(60, "it is under way")
        while self.status() in (None, "setup"):  # without a pause
            deadline.left()
        self.target = int((command.folder / "web" / "pid").read_text())
        os.kill(self.target, signal.SIGSTOP)
        assert self.status() == "active"

    def status(self):
        """How far the migration is."""
        return self.qmp.command("query-migrate").get("status")

    def failed(self):
        """The command ends, and says why."""
        _, complaint = self.adopting.communicate(timeout=60)
        assert self.adopting.returncode == FAILED, complaint
        return complaint

    def stays(self, command):
        """The guest is in QEMU as it was, and Outlive has left nothing that runs."""
        until(lambda: not alive(self.target), 60, "the target ends")
        assert self.qmp.command("query-status")["status"] == "running"
        assert self.qmp.command("query-migrate-parameters")["max-bandwidth"] == self.limit
        assert all(not c["state"] for c in self.qmp.command("query-migrate-capabilities")
                   if c["capability"] == "return-path")
        visit(self.guest.come_back())
        command("adopt", self.guest.monitor, "--downtime", PATIENT_MS)
        visit(arrived(command, self.guest))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_target_that_is_killed_leaves_the_guest_in_qemu(qemu, command, run_dir, number):
    endless = Endless(qemu, command, run_dir)
    os.kill(endless.target, number)
    if number != signal.SIGKILL:
        os.kill(endless.target, signal.SIGCONT)
    assert "stays in QEMU" in endless.failed()
    endless.stays(command)


def test_a_target_that_hangs_when_the_migration_fails_is_said_to_hang(qemu, command, run_dir):
    endless = Endless(qemu, command, run_dir)
    endless.qmp.command("yank", instances=[{"type": "migration"}])
    assert "the new VMM hangs" in endless.failed()
    endless.stays(command)


def test_an_interrupt_leaves_the_guest_in_qemu(qemu, command, run_dir):
    endless = Endless(qemu, command, run_dir)
    endless.adopting.send_signal(signal.SIGINT)
    assert "cancelled" in endless.failed()
    endless.stays(command)


def test_without_the_command_the_guest_still_arrives_once(qemu, command, run_dir):
    endless = Endless(qemu, command, run_dir)
    endless.adopting.kill()
    endless.adopting.communicate()
    os.kill(endless.target, signal.SIGCONT)
    endless.qmp.command("migrate-set-parameters", downtime_limit=PATIENT_MS)
    until(lambda: endless.status() == "completed", 60, "it arrives")
    assert endless.qmp.command("query-status")["status"] == "postmigrate"
    endless.guest.vmm.kill()  # both would take clients of the console
    visit(arrived(command, endless.guest))


def test_a_qemu_that_is_killed_takes_its_guest_along(qemu, command, run_dir):
    endless = Endless(qemu, command, run_dir)
    endless.guest.vmm.kill()
    assert "has ended" in endless.failed()
    until(lambda: not alive(endless.target), 60, "the target ends")


def test_a_giveback_that_fails_leaves_the_guest_with_us(qemu, command, run_dir, tmp_path):
    guest = Guest(qemu, run_dir)
    guest.leave()
    command("adopt", guest.monitor)
    assert "doesn't answer as a VMM" in command("giveback", "web", "--emulator", "/bin/false", code=FAILED)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\ncase \"$*\" in *incoming*) echo no memory >&2; exit 1;; esac\n"
                      f"exec {' '.join(guest.vmm.program.argv)} \"$@\"\n")
    broken.chmod(0o755)
    assert "no memory" in command("giveback", "web", "--emulator", broken, code=FAILED)
    visit(arrived(command, guest))
