# SPDX-License-Identifier: Apache-2.0
"""The VMM is replaced under a running guest, and neither the guest nor its surroundings notice."""
import fcntl
import json
import os
import pathlib
import select
import signal
import socket

import pytest

from frame.echo import Echo
from frame.live import descriptors, live, memory_files, process_of, resident_kib  # noqa: F401
from frame.paths import BUILD
from frame.process import alive
from frame.qmp import QmpError
from frame.wait import until

BUSY = "ws=24M rate=2M verify=2M"


@pytest.mark.parametrize("cpus", [1, 8])
def test_memory_and_clocks_are_what_they_were(live, cpus):
    guest = live(cpus=cpus, memory_mib=128, args=BUSY)
    guest.witness.wait(lambda now: now["dirtied"] > 1000)
    life, files = guest.witness.report()["life"], memory_files(guest.pid)
    assert files
    for _ in range(3):
        before = guest.witness.report()
        report = guest.upgrade()
        assert memory_files(guest.pid) == files, "guest memory is not the same file"
        guest.witness.wait(lambda now: now["dirtied"] > before["dirtied"] + 500)
        assert {"pause", "captured", "seen", "taken", "running"} <= report["pause-us"].keys()
    now = guest.verify()
    assert (now["life"], now["cpus"]) == (life, cpus)
    assert abs(now["tsc_mono_max_ns"]) < 5_000_000, "the monotonic clock slept through the pauses"


def test_each_vcpu_has_a_thread_of_the_new_process(live):
    guest = live(cpus=4, memory_mib=64, args="rate=1M")
    guest.upgrade()
    threads = [cpu["thread-id"] for cpu in guest.qmp.command("query-cpus-fast")]
    assert len(set(threads)) == 4
    assert all(os.path.exists(f"/proc/{guest.pid}/task/{thread}") for thread in threads)
    before = [cpu["dirtied"] for cpu in guest.witness.report()["cpu"][1:]]
    guest.witness.wait(lambda now: all(cpu["dirtied"] > old for cpu, old in zip(now["cpu"][1:], before)))


def test_clients_stay_connected(live):
    guest = live("-qmp", "unix:@RUN@/second.sock,server=on,wait=off", "-chardev", "pty,id=terminal",
                 "-device", "isa-serial,chardev=terminal,index=1", memory_mib=64)
    second = guest.witness.vmm.connect("second.sock")
    info = {one["label"]: one["filename"] for one in guest.qmp.command("query-chardev")}
    terminal = os.open(info["terminal"].removeprefix("pty:"), os.O_RDWR | os.O_NOCTTY)
    second.send_raw(b'{"execute":"query-na')  # half of a command, read by the old process
    guest.upgrade()
    assert second.wait_event("OUTLIVE_UPGRADED", timeout=60)["data"]["done"]
    second.send_raw(b'me","id":"half"}\n')
    reply = json.loads(until_line(second))
    assert reply == {"return": {}, "id": "half"}
    assert guest.witness.ask("p").startswith('{"pulse"')
    assert info == {one["label"]: one["filename"] for one in guest.qmp.command("query-chardev")}
    poll = select.poll()
    poll.register(terminal, select.POLLHUP)
    assert not poll.poll(0), "the pseudo terminal hung up"
    os.close(terminal)


def until_line(client):
    """The next line that comes on a QMP connection."""
    client.sock.settimeout(60)
    while b"\n" not in client.buffer:
        client.buffer += client.sock.recv(4096)
    line, _, client.buffer = client.buffer.partition(b"\n")
    return line


def test_the_next_client_of_a_listening_socket_is_served(live):
    guest = live("-qmp", "unix:@RUN@/second.sock,server=on,wait=off", memory_mib=64)
    guest.upgrade()
    late = guest.witness.vmm.connect("second.sock")
    assert late.command("query-status")["running"]
    assert process_of(late) == guest.pid


def test_a_client_that_comes_or_goes_meanwhile_is_not_lost(live, tmp_path):
    """The new process hears of connections before the pause; what changed since is noticed."""
    guest = live("-qmp", "unix:@RUN@/second.sock,server=on,wait=off", memory_mib=64)
    slow = script(tmp_path, f'sleep 1\nexec {os.readlink(f"/proc/{guest.pid}/exe")} "$@"')
    number = guest.qmp.send("outlive-upgrade", {"binary": slow})
    second = guest.witness.vmm.connect("second.sock")
    reply = guest_reply(guest, number)
    assert reply["return"]["done"]
    guest.settle()
    assert second.command("query-status")["running"]
    assert process_of(second) == guest.pid


def guest_reply(guest, number):
    """The reply to a command that was sent, passing events."""
    while True:
        message = json.loads(until_line(guest.qmp))
        if message.get("id") == number:
            return message


def test_output_and_input_on_the_way_arrive_once(live):
    """More output than a socket holds waits in the VMM while it is replaced."""
    guest = live(memory_mib=64, cpus=2)
    asked = 60
    guest.witness.console.sendall(b"p" * asked)
    guest.upgrade()
    for _ in range(asked):
        assert json.loads(guest.witness.line(60))["pulse"] == 1


def test_a_paused_guest_stays_paused(live):
    guest = live(memory_mib=64)
    guest.qmp.command("stop")
    guest.upgrade()
    status = guest.qmp.command("query-status")
    assert (status["status"], status["running"]) == ("paused", False)
    beats = guest.witness.report()["cpu"][0]["beats"]
    assert guest.witness.report()["cpu"][0]["beats"] == beats
    guest.qmp.command("cont")
    guest.settle()
    guest.verify()


def test_pid_file_and_name_go_along(live):
    guest = live("-pidfile", "@RUN@/pid", "-name", "guest=kept,process=kept-guest", memory_mib=64)
    path = pathlib.Path(guest.witness.vmm.path("pid"))
    assert int(path.read_text(encoding="ascii")) == guest.pid
    guest.upgrade()
    assert int(path.read_text(encoding="ascii")) == guest.pid
    assert guest.qmp.command("query-name") == {"name": "kept"}
    assert pathlib.Path(f"/proc/{guest.pid}/comm").read_text(encoding="ascii").strip() == "kept-guest"
    with open(path, "r+b") as file, pytest.raises(OSError):
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    guest.qmp.command("quit")
    until(lambda: not path.exists(), 60, "the pid file goes with the guest")


def test_service_manager_hears_of_the_new_main_process(live, run_dir, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{run_dir}/notify")
        monkeypatch.setenv("NOTIFY_SOCKET", f"{run_dir}/notify")
        guest = live(memory_mib=64)
        guest.upgrade()
        manager.settimeout(60)
        assert f"MAINPID={guest.pid}" in manager.recv(4096).decode().splitlines()


PRIVILEGES = ("Umask", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs",
              "Seccomp")


def privileges(pid):
    """What a process may do, as the kernel tells it."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {line.split(":")[0]: line.split()[1:] for line in lines if line.split(":")[0] in PRIVILEGES}


def test_limits_and_group_go_along(live):
    guest = live(memory_mib=64)
    pathlib.Path(f"/proc/{guest.pid}/oom_score_adj").write_text("123", encoding="ascii")
    kept = ("cgroup", "limits", "oom_score_adj")
    before = [pathlib.Path(f"/proc/{guest.pid}/{name}").read_text(encoding="ascii") for name in kept]
    may = privileges(guest.pid)
    guest.upgrade()
    assert privileges(guest.pid) == may and len(may) == len(PRIVILEGES)
    assert before == [pathlib.Path(f"/proc/{guest.pid}/{name}").read_text(encoding="ascii") for name in kept]


def test_what_was_made_at_run_time_is_there_afterwards(live, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    guest = live("-device", "pcie-root-port,id=port,chassis=1", memory_mib=64)
    guest.qmp.command("chardev-add", id="extra",
                      backend={"type": "ringbuf", "data": {"size": 4096}})
    guest.qmp.raw("blockdev-add", {"driver": "raw", "node-name": "n1",
                                   "file": {"driver": "file", "filename": str(disk)}})
    guest.qmp.raw("device_add", {"driver": "virtio-blk-pci", "id": "disk1", "drive": "n1", "bus": "port"})
    guest.upgrade()
    assert "extra" in {one["label"] for one in guest.qmp.command("query-chardev")}
    assert "n1" in {one["node-name"] for one in guest.qmp.command("query-named-block-nodes")}
    guest.upgrade()
    with pytest.raises(QmpError, match="disk1.*already"):
        guest.qmp.raw("device_add", {"driver": "virtio-rng-pci", "id": "disk1", "bus": "port"})


def test_what_to_do_when_the_guest_ends_goes_along(live):
    guest = live(memory_mib=64)
    guest.qmp.command("set-action", shutdown="pause")
    guest.upgrade()
    guest.witness.console.sendall(b"q")
    until(lambda: guest.qmp.command("query-status")["status"] == "shutdown", 60, "the guest has ended")
    guest.upgrade()
    assert guest.qmp.command("query-status")["status"] == "shutdown"


SOAK = bool(os.environ.get("OUTLIVE_SOAK"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("cpus", [1, 8])
def test_a_chain_of_upgrades_grows_nothing(live, cpus):
    guest = live(cpus=cpus, memory_mib=64, args=BUSY)
    guest.upgrade()
    guest.upgrade()  # from one taken-over process to the next: the state that repeats
    fds, kib = len(descriptors(guest.pid)), resident_kib(guest.pid)
    for _ in range(200 if SOAK else 20):
        guest.upgrade()
    assert len(descriptors(guest.pid)) == fds, descriptors(guest.pid)
    assert resident_kib(guest.pid) < kib + 2048
    guest.verify()


# Disks and networks with requests on the way.

def test_no_block_is_lost(live, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(32 << 20))
    guest = live("-drive", f"file={disk},if=none,id=d0,format=raw", "-device", "virtio-blk-pci,drive=d0",
                 cpus=2, memory_mib=64, args="blk=32 blk_size=16M rate=1M", boot="pvh")
    guest.witness.wait(lambda now: now["device"] and now["device"][0]["in"] > 200)
    for _ in range(5):
        done = guest.witness.report()["device"][0]["in"]
        guest.upgrade()
        guest.witness.wait(lambda now: now["device"][0]["in"] > done + 200)
    guest.verify()


def test_no_packet_is_lost(live, run_dir):
    echo = Echo(f"{run_dir}/net")
    guest = live("-netdev", f"stream,id=n0,server=off,addr.type=unix,addr.path={run_dir}/net",
                 "-device", "virtio-net-pci,netdev=n0", cpus=2, memory_mib=64,
                 args="net=16 net_rate=1000 rate=1M", boot="pvh")
    guest.witness.wait(lambda now: now["device"] and now["device"][0]["in"] > 200)
    for _ in range(5):
        done = guest.witness.report()["device"][0]["in"]
        guest.upgrade()
        guest.witness.wait(lambda now: now["device"][0]["in"] > done + 200)
    device = guest.verify()["device"][0]
    assert (device["lost"], device["duplicated"], device["reordered"]) == (0, 0, 0), device
    assert echo.connections == 1
    guest.qmp.command("quit")
    echo.close()


# Attempts that fail.

def script(folder, text):
    """An executable shell script."""
    path = folder / "target.sh"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
    path.chmod(0o755)
    return str(path)


def fails(guest, words, **arguments):
    """An upgrade fails and says why; the guest runs on where it was, and the next one works."""
    before = guest.pid
    with pytest.raises(QmpError) as failure:
        guest.qmp.command("outlive-upgrade", **arguments)
    assert words in failure.value.desc, failure.value.desc
    assert guest.settle() == before
    guest.upgrade()
    guest.settle()
    guest.verify()


def test_a_program_that_is_missing(live):
    fails(live(memory_mib=64), "/nowhere/vmm", binary="/nowhere/vmm")


def test_a_program_that_is_another(live):
    fails(live(memory_mib=64), "without saying hello", binary="/bin/true")


def test_a_program_that_talks_nonsense(live, tmp_path):
    fails(live(memory_mib=64), "", binary=script(tmp_path, 'printf "\\377\\377\\377\\377nonsense" >&3'))


def test_a_program_that_hangs(live, tmp_path):
    fails(live(memory_mib=64), "", binary=script(tmp_path, "exec sleep 1000"), prepare_timeout=500)


def test_a_dry_run_leaves_the_guest_where_it_is(live):
    guest = live(memory_mib=64)
    before = guest.pid
    report = guest.qmp.command("outlive-upgrade", dry_run=True)
    assert not report["done"]
    assert "pause-us" not in report or not report["pause-us"]
    assert guest.settle() == before
    guest.upgrade()


def test_one_at_a_time(live, tmp_path):
    guest = live("-qmp", "unix:@RUN@/second.sock,server=on,wait=off", memory_mib=64)
    second = guest.witness.vmm.connect("second.sock")
    number = guest.qmp.send("outlive-upgrade", {
        "binary": script(tmp_path, f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 1000")})
    until((tmp_path / "pid").exists, 60, "the first one is under way")
    with pytest.raises(QmpError, match="under way"):
        second.command("outlive-upgrade")
    os.kill(int((tmp_path / "pid").read_text(encoding="ascii")), signal.SIGKILL)
    assert "error" in guest_reply(guest, number)
    guest.upgrade()


@pytest.mark.parametrize("boundary", [1, 4])
def test_a_target_that_dies_while_it_prepares(live, tmp_path, boundary):
    guest = live(memory_mib=64)
    (tmp_path / "die-at").write_text(f"target {boundary}", encoding="ascii")
    program = os.readlink(f"/proc/{guest.pid}/exe")
    env = f"LD_PRELOAD={BUILD}/tests/libdie_at.so DIE_AT={tmp_path}/die-at DIE_LOG={tmp_path}/die-log"
    fails(guest, "", binary=script(tmp_path, f'{env} exec {program} "$@"'))
    assert len((tmp_path / "die-log").read_text(encoding="ascii").splitlines()) == 1


def test_a_source_that_is_killed_at_once_afterwards(live):
    guest = live(memory_mib=64, args=BUSY)
    old = guest.pid
    guest.qmp.send("outlive-upgrade", {})
    guest.qmp.wait_event("OUTLIVE_UPGRADED", timeout=60)
    if alive(old):
        os.kill(old, signal.SIGKILL)
    until_line(guest.qmp)
    assert guest.settle() != old
    guest.verify()
