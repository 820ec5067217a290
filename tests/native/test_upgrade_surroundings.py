# SPDX-License-Identifier: Apache-2.0
"""What watches the VMM's process, and what happens to the guest while its VMM is being replaced."""
import os
import pathlib
import socket
import struct
import sys

import pytest

from frame.live import descriptors, live, process_of, vmms  # noqa: F401
from frame.process import alive
from frame.qmp import QmpError
from frame.rom import acpi_guest
from frame.wait import Deadline, until

PATIENT = {"pause-timeout": 60000}  # a host without a free CPU for a second isn't the matter here
# A terminal of which the program is the leader, as under "tmux new-window" or a container with one.
IN_TERMINAL = "import os, pty, sys; pty.spawn(sys.argv[1:], lambda fd: os.read(fd, 4096), lambda fd: b'')"


class SlowTarget:
    """A program that waits until it may go on, then is what the guest runs in: `path`."""

    def __init__(self, folder, guest):
        self.path, self._begun, self._gate = str(folder / "slow.sh"), folder / "begun", folder / "gate"
        (folder / "slow.sh").write_text(f'#!/bin/sh\necho >{self._begun}\n'
                                        f'while ! [ -e {self._gate} ]; do sleep 0.05; done\n'
                                        f'exec {os.readlink(f"/proc/{guest}/exe")} "$@"\n', encoding="ascii")
        (folder / "slow.sh").chmod(0o755)

    def wait(self):
        """Until the upgrade is under way."""
        until(self._begun.exists, 60, "the new process is started")

    def go_on(self):
        """Let it, and those that come after it."""
        self._gate.touch()


def answer(client, number):
    """The answer to a command that was sent, passing events by."""
    while (message := client.receive(Deadline(60, "the answer"))).get("id") != number:
        client.events.append(message)
    return message["return"]


def status_of(pid, key):
    """A line of the kernel's word about a process."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{key}:"))


def test_the_old_process_tells_the_service_manager_and_leaves_last(live, run_dir, monkeypatch):
    """With NotifyAccess=main systemd hears the old process only; with PIDFile= it reads the file at that one's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        manager.bind(f"{run_dir}/notify")
        manager.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{run_dir}/notify")
        guest = live("-pidfile", "@RUN@/pid", memory_mib=64)
        pidfile = pathlib.Path(guest.witness.vmm.path("pid"))
        for _ in range(2):
            old = guest.pid
            number = guest.qmp.send("outlive-upgrade", PATIENT)
            sender, main = None, old
            while sender != old or main == old:
                text, ancillary, _, _ = manager.recvmsg(4096, 256)
                sender = struct.unpack("3i", ancillary[0][2][:12])[0]
                main = int(text.decode().split("MAINPID=")[1].split()[0])
            until(lambda: not alive(old), 60, "the old process ends")
            assert main == int(pidfile.read_text(encoding="ascii"))
            assert answer(guest.qmp, number)["done"]
            assert guest.settle() == int(pidfile.read_text(encoding="ascii"))


WATCHERS = {
    "container": (("unshare", "--pid", "--fork", "--kill-child"), "first of its container"),
    "terminal": ((sys.executable, "-c", IN_TERMINAL), "leads the session of a terminal"),
    "service": (("sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$@"', "sh"), "NotifyAccess=main"),
    "service that is heard": (("sh", "-c", 'NOTIFY_SOCKET=/nowhere SYSTEMD_EXEC_PID=$$ exec "$@"', "sh"), None),
    "shell": (("sh", "-c", 'SYSTEMD_EXEC_PID=$$; export SYSTEMD_EXEC_PID; "$@"', "sh"), None),
}


@pytest.mark.parametrize("watcher", WATCHERS)
def test_an_upgrade_is_refused_where_the_old_process_would_take_the_new_one_along(outlive, kvm, watcher):
    within, words = WATCHERS[watcher]
    vmm = outlive.start("-M", "pc-q35-7.2", "-nodefaults", "-display", "none", "-m", 64, "-S", within=within)
    blockers = vmm.qmp.command("query-upgrade-blockers")
    if not words:
        assert not blockers
        return
    assert len(blockers) == 1 and words in blockers[0], blockers
    with pytest.raises(QmpError, match=words):
        vmm.qmp.command("outlive-upgrade")
    assert vmm.qmp.command("query-status")["status"] == "prelaunch"


def test_memory_stays_locked(live):
    guest = live("-overcommit", "mem-lock=on", memory_mib=64)
    before = int(status_of(guest.pid, "VmLck"))
    assert before > 64 << 10
    guest.upgrade()
    assert int(status_of(guest.pid, "VmLck")) > 64 << 10


def threads_of(guest):
    """{what: its thread} of the process."""
    found = {f"vcpu {one['cpu-index']}": one["thread-id"] for one in guest.qmp.command("query-cpus-fast")}
    found |= {one["id"]: one["thread-id"] for one in guest.qmp.command("query-iothreads")}
    return found | {"main": guest.pid}


def placed(guest):
    """Where each runs, and how it is scheduled."""
    return {name: (os.sched_getaffinity(thread), os.sched_getscheduler(thread), os.getpriority(os.PRIO_PROCESS, thread))
            for name, thread in threads_of(guest).items()}


def test_threads_stay_pinned_with_their_priorities(live):
    guest = live("-object", "iothread,id=io1", cpus=2, memory_mib=64)
    first = {min(os.sched_getaffinity(0))}
    threads = threads_of(guest)
    os.sched_setaffinity(threads["vcpu 1"], first)
    nice = min(os.getpriority(os.PRIO_PROCESS, threads["vcpu 1"]) + 3, 19)
    os.setpriority(os.PRIO_PROCESS, threads["vcpu 1"], nice)
    os.sched_setscheduler(threads["vcpu 0"], os.SCHED_BATCH, os.sched_param(0))
    os.sched_setaffinity(threads["io1"], first)
    before = placed(guest)
    assert before["vcpu 1"] == (first, os.SCHED_OTHER, nice) and before["vcpu 0"][1] == os.SCHED_BATCH
    for _ in range(2):
        guest.upgrade()
        assert placed(guest) == before
    guest.verify()


def test_a_pinned_thread_that_could_not_be_pinned_again_refuses(live):
    guest = live("-sandbox", "on,resourcecontrol=deny", memory_mib=64)
    guest.upgrade()
    thread = threads_of(guest)["vcpu 0"]
    os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
    with pytest.raises(QmpError, match="vCPU 0: its thread can't get the CPUs and the priority"):
        guest.qmp.command("outlive-upgrade")
    os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
    guest.upgrade()
    guest.settle()


@pytest.mark.parametrize("end", ["quit", "power off"])
def test_a_guest_that_ends_meanwhile_has_ended(live, end):
    """Whatever the moment: nobody goes on with it."""
    for delay in range(4):
        guest = live("-qmp", "unix:@RUN@/second.sock,server=on,wait=off", memory_mib=64)
        second, old = guest.witness.vmm.connect("second.sock"), guest.pid
        guest.qmp.send("outlive-upgrade", PATIENT)
        if delay:  # once the new process is there, and a little later
            until(lambda: len(vmms()) > 1 or not alive(old), 60, "the new process is there")
        for _ in range((delay - 1) * 30):
            second.command("query-version")
        if end == "quit":
            second.send("quit", {})
        else:
            guest.witness.console.sendall(b"q")
        until(lambda: not vmms(), 60, f"nothing is left of {vmms()}")


def test_what_would_cross_an_upgrade_is_refused_meanwhile(live, tmp_path):
    guest = live("-qmp", "unix:@RUN@/second.sock,server=on,wait=off", memory_mib=64)
    second = guest.witness.vmm.connect("second.sock")
    target = SlowTarget(tmp_path, guest.pid)
    number = guest.qmp.send("outlive-upgrade", PATIENT | {"binary": target.path})
    target.wait()
    for command, arguments in (("migrate", {"uri": "exec:cat >/dev/null"}), ("device_del", {"id": "any"}),
                               ("device_add", {"driver": "virtio-rng-pci"})):
        with pytest.raises(QmpError, match="being upgraded"):
            second.raw(command, arguments)
    target.go_on()
    assert answer(guest.qmp, number)["done"]
    second.raw("migrate", {"uri": "exec:cat >/dev/null"})
    until(lambda: second.command("query-migrate")["status"] == "completed", 60, "it can be sent now")
    second.command("quit")


def test_a_daemon_that_is_told_to_end_ends(live, tmp_path):
    guest = live("-qmp", "unix:@RUN@/second.sock,server=on,wait=off", memory_mib=64)
    second = guest.witness.vmm.connect("second.sock")
    target = SlowTarget(tmp_path, guest.pid)
    guest.qmp.send("outlive-upgrade", PATIENT | {"binary": target.path})
    target.wait()
    second.command("quit")
    until(lambda: not vmms(), 60, f"nothing is left of {vmms()}")
    target.go_on()  # whoever is asked to take over finds nobody


def test_a_guest_on_its_way_elsewhere_stays_until_that_has_ended(live, run_dir):
    guest = live(memory_mib=64, args="rate=1M")
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(f"{run_dir}/deaf")
        deaf.listen()
        guest.qmp.command("migrate", uri=f"unix:{run_dir}/deaf")
        assert "the guest is being migrated" in guest.qmp.command("query-upgrade-blockers")
        for dry_run in (True, False):
            with pytest.raises(QmpError, match="being migrated"):
                guest.qmp.command("outlive-upgrade", dry_run=dry_run)
        guest.qmp.raw("migrate_cancel")
        until(lambda: guest.qmp.command("query-migrate")["status"] == "cancelled", 60, "it is called off")
    guest.upgrade()
    guest.verify()


@pytest.fixture(name="plugging")
def _plugging(outlive, kvm, tmp_path):
    """A guest that does its part of hot-plug, with a disk behind a port, and a second client."""
    rom, disk = tmp_path / "guest.rom", tmp_path / "disk"
    rom.write_bytes(acpi_guest())
    disk.write_bytes(bytes(1 << 20))
    ports = [word for n in (1, 2) for word in ("-device", f"pcie-root-port,id=port{n},chassis={n}")]
    vmm = outlive.start("-M", "pc-q35-7.2", "-accel", "kvm", "-nodefaults", "-display", "none", "-m", 64, "-bios", rom,
                        "-serial", f"file:{tmp_path}/said", "-device", "virtio-rng-pci,id=rng", *ports,
                        "-blockdev", f"file,node-name=n,filename={disk}",
                        "-device", "virtio-blk-pci,id=disk,drive=n,bus=port1", "-qmp",
                        "unix:@RUN@/second.sock,server=on,wait=off")
    vmm.disk, vmm.second = disk, vmm.connect("second.sock")
    yield vmm
    vmm.second.command("quit")
    until(lambda: not vmms(), 60, "the guest has ended")


def test_a_device_that_the_guest_lets_go_meanwhile_is_gone(plugging, tmp_path):
    second, old = plugging.second, process_of(plugging.second)
    for command, arguments in (("stop", {}), ("device_del", {"id": "disk"})):
        second.raw(command, arguments)
    target = SlowTarget(tmp_path, old)
    number = plugging.qmp.send("outlive-upgrade", PATIENT | {"binary": target.path})
    target.wait()
    second.command("cont")
    target.go_on()
    assert answer(plugging.qmp, number)["done"]
    second.wait_event("DEVICE_DELETED", timeout=60)
    assert process_of(second) != old
    second.raw("blockdev-del", {"node-name": "n"})
    names = {one["name"] for one in second.raw("qom-list", {"path": "/machine/peripheral"})}
    assert names == {"port1", "port2", "rng"}


def test_what_was_plugged_is_unplugged_after_upgrades_and_leaves_nothing_open(plugging, run_dir):
    qmp = plugging.qmp
    with socket.socket(socket.AF_UNIX) as switch:
        switch.bind(f"{run_dir}/net")
        switch.listen()
        qmp.raw("netdev_add", {"type": "stream", "id": "net", "server": False,
                               "addr": {"type": "unix", "path": f"{run_dir}/net"}})
        wire, _ = switch.accept()
        with wire:
            qmp.raw("device_add", {"driver": "virtio-net-pci", "id": "nic", "netdev": "net", "bus": "port2"})
            for _ in range(2):
                assert qmp.raw("outlive-upgrade", PATIENT, timeout=90)["done"]
            for device in ("nic", "disk"):
                qmp.raw("device_del", {"id": device})
                gone = qmp.wait_event("DEVICE_DELETED", timeout=60, match=lambda data: "device" in data)
                assert gone["data"]["device"] == device
            qmp.raw("netdev_del", {"id": "net"})
            wire.settimeout(60)
            while wire.recv(4096):
                pass
    qmp.raw("blockdev-del", {"node-name": "n"})
    assert str(plugging.disk) not in {link for link, _ in descriptors(process_of(qmp)).values()}
