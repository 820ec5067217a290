# SPDX-License-Identifier: Apache-2.0
"""What happens to the channel of a migration, at each kind of message: the guest is in one place, and well.

Theory of operation: somebody stands in the middle of the unix socket and passes on what comes. When
a name goes by that begins a message of that kind, the stream is cut there, held up, or its next byte
is changed, or one side is killed or stopped. Whatever the two VMMs then say, the guest must run in
exactly one of them, with all of its memory, and if it stayed it must be able to move at once.
"""
import os
import select
import signal
import socket
import subprocess
import threading

import pytest

from frame.moving import TAKEN, awaiting, check, ended, move, send, status, switch_on
from frame.qmp import QmpClosed, QmpError
from frame.wait import until
from frame.witness import Witness

HOLD_SECONDS = 0.5
LOAD = "rate=1M ws=2M fill=half blk=8 blk_size=1M"
TALKATIVE = {"cpus": 8, "args": "rate=1M ws=1M fill=zero"}  # whose devices have much to say
KINDS = {"header": b"QEVM", "configuration": b"pc-q35-7.2", "memory blocks": b"pc.ram", "timer": b"\x05timer",
         "vCPU": b"\x03cpu\0\0", "APIC": b"\x04apic", "clock": b"kvmclock", "chipset": b"ICH9LPC",
         "disk": b"virtio-blk", "run state": b"globalstate", "description": b'"devices"'}


class Middle:
    """Somebody in the middle of a migration: `at` is what it waits for, `act` what it then does.

    A function as `act` is called when the message begins, which then goes on its way. `back` is what
    the target mustn't get through: the wire is cut there.
    """

    def __init__(self, folder, target, at, act, back=None):
        self.path, self.target, self.at, self.act, self.back = folder / "middle", target, at, act, back
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.done = False
        self.thread = threading.Thread(target=self.carry)
        self.thread.start()

    def carry(self):
        """One connection, from begin to end."""
        with self.listener:
            source, _ = self.listener.accept()
        with source, socket.socket(socket.AF_UNIX) as target:
            target.connect(str(self.target))
            tail = b""
            while True:
                ready, _, _ = select.select([source, target], [], [])
                for one in ready:
                    try:
                        data = one.recv(65536)
                    except ConnectionResetError:
                        data = b""
                    if not data:
                        return
                    if one is target and self.back and data.endswith(self.back):
                        self.done = True
                        return
                    if one is source:
                        tail, data = self.look(tail, data)
                    try:
                        (target if one is source else source).sendall(data)
                    except OSError:
                        return
                    if self.done and self.act == "cut":
                        return

    def look(self, tail, data):
        """What goes on, once the place may have been found; and the end of it for the next look."""
        seen = tail + data
        place = seen.find(self.at) if self.at and not self.done else -1
        if place >= 0:
            self.done = True
            end = max(place + len(self.at) - len(tail), 0)
            if self.act == "cut":
                data = data[:end]
            elif self.act == "change" and end < len(data):
                data = data[:end] + bytes([data[end] ^ 0xff]) + data[end + 1:]
            elif self.act == "hold":
                threading.Event().wait(HOLD_SECONDS)
            elif callable(self.act):
                self.act()
        return seen[-64:], data

    def close(self):
        """Wait for the end; unlink, so that the next one can come."""
        self.thread.join()
        os.unlink(self.path)


class Traveller:
    """A guest that stays where it is, or goes."""

    def __init__(self, outlive, witness, disk):
        self.outlive = outlive
        self.more = ["-blockdev", f"driver=file,node-name=disk,filename={disk}", "-device", "virtio-blk-pci,drive=disk"]
        self.guest = witness(outlive, *self.more, args=LOAD)
        self.tries = 0

    def target(self):
        """One more VMM that waits."""
        self.tries += 1
        there = awaiting(self.outlive, *self.more, name=f"target-{self.tries}", args=LOAD)
        there.vmm.qmp.command("migrate-incoming", uri=f"unix:{there.vmm.path('migrate.sock')}")
        return there

    def go(self, there, uri, *capabilities):
        """Try to go; what the source says in the end."""
        send(self.guest.vmm, uri, *capabilities)
        return ended(self.guest.vmm)

    def settle(self, there, info):
        """The guest runs in one place only: there if the source says so, else here."""
        if info["status"] == "completed":
            until(lambda: runs(there.vmm), 60, "the guest runs there")
            assert self.guest.vmm.qmp.command("query-status")["status"] == "postmigrate"
            self.guest.close()
            self.guest.vmm.quit()
            self.guest = there
        else:
            assert runs(self.guest.vmm) and not runs(there.vmm), info
            there.close()
            there.vmm.kill()
        check(self.guest)


def runs(vmm):
    """Whether a guest runs in a VMM, which may have ended."""
    try:
        return vmm.qmp.command("query-status")["running"]
    except (QmpClosed, OSError):
        return False


@pytest.fixture
def traveller(outlive, witness, tmp_path):
    """A guest with a disk."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    one = Traveller(outlive, witness, disk)
    yield one
    one.guest.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("act", ["cut", "change", "hold"])
def test_each_kind_of_message(traveller, run_dir, act):
    stayed = 0
    for kind, at in KINDS.items():
        there = traveller.target()
        middle = Middle(run_dir, there.vmm.path("migrate.sock"), at, act)
        try:
            info = traveller.go(there, f"unix:{middle.path}", "return-path")
        finally:
            middle.close()
        assert middle.done, f"{kind}: never seen"
        stayed += info["status"] != "completed"
        assert (act, info["status"]) not in (("cut", "completed"), ("hold", "failed")), (kind, info)
        traveller.settle(there, info)
    assert stayed >= {"hold": 0, "change": 6, "cut": len(KINDS)}[act], "changed bytes were taken"
    there = traveller.target()
    traveller.settle(there, traveller.go(there, f"unix:{there.vmm.path('migrate.sock')}", "return-path"))


@pytest.mark.timeout(600)
def test_a_target_killed_at_each_kind_of_message(traveller, run_dir):
    for kind, at in KINDS.items():
        there = traveller.target()
        middle = Middle(run_dir, there.vmm.path("migrate.sock"), at, there.vmm.kill)
        try:
            info = traveller.go(there, f"unix:{middle.path}", "return-path")
        finally:
            middle.close()
        assert middle.done and info["status"] == "failed" and info["error-desc"], (kind, info)
        traveller.settle(there, info)
    there = traveller.target()
    traveller.settle(there, traveller.go(there, f"unix:{there.vmm.path('migrate.sock')}", "return-path"))


def called_off(source):
    """Cancel; False: it is too late for that."""
    try:
        source.qmp.command("migrate_cancel")
    except QmpError as error:
        assert "too late" in str(error)
        return False
    return True


@pytest.mark.timeout(600)
def test_a_target_that_hangs_at_each_kind_of_message(traveller, run_dir):
    for kind, at in KINDS.items():
        there = traveller.target()
        stopped = threading.Event()

        def stop(vmm=there.vmm, done=stopped):
            os.kill(vmm.pid, signal.SIGSTOP)
            done.set()
        middle = Middle(run_dir, there.vmm.path("migrate.sock"), at, stop)
        try:
            send(traveller.guest.vmm, f"unix:{middle.path}", "return-path")
            assert stopped.wait(60), kind
            left = not called_off(traveller.guest.vmm)
            os.kill(there.vmm.pid, signal.SIGCONT)
            info = ended(traveller.guest.vmm)
        finally:
            middle.close()
        assert info["status"] == ("completed" if left else "cancelled"), (kind, info)
        traveller.settle(there, info)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["memory blocks", "vCPU", "run state"])
def test_a_source_killed_on_the_way_leaves_a_whole_guest_or_none(traveller, run_dir, kind):
    there = traveller.target()
    middle = Middle(run_dir, there.vmm.path("migrate.sock"), KINDS[kind], traveller.guest.vmm.kill)
    try:
        send(traveller.guest.vmm, f"unix:{middle.path}", "return-path")
        info = ended(there.vmm)
    finally:
        middle.close()
    assert middle.done
    if info["status"] == "completed":  # it had written everything before
        check(there)
    else:
        assert info["error-desc"] and not runs(there.vmm), info
    there.close()


def wire(here, there):
    """Descriptors for both sides; the wire takes less than what the devices alone have to say."""
    for side, end in zip((here, there), socket.socketpair()):
        with end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            side.vmm.qmp.command("getfd", fds=[end.fileno()], fdname="wire")


def test_a_target_that_hangs_while_the_guest_stands_still_is_given_up(outlive, witness):
    here, there = witness(outlive, **TALKATIVE), awaiting(outlive, **TALKATIVE)
    wire(here, there)
    there.vmm.qmp.command("migrate-incoming", uri="fd:wire")
    send(here.vmm, "fd:wire", "return-path", "pause-before-switchover", **{"downtime-limit": 60000})
    until(lambda: status(here.vmm) == "pre-switchover", 60, "the guest stands still")
    os.kill(there.vmm.pid, signal.SIGSTOP)
    here.vmm.qmp.command("migrate-continue", state="pre-switchover")
    info = ended(here.vmm)
    assert info["status"] == "failed" and "hang" in info["error-desc"], info
    os.kill(there.vmm.pid, signal.SIGCONT)
    assert ended(there.vmm)["status"] == "failed"
    assert runs(here.vmm) and not runs(there.vmm)
    check(here)
    here.close()
    there.close()


@pytest.mark.parametrize("checked", [True, False], ids=["asked", "not asked"])
def test_a_lost_word_of_the_target_never_makes_two(outlive, witness, run_dir, checked):
    here, there = witness(outlive, args="rate=off"), awaiting(outlive, args="rate=off")
    there.vmm.qmp.command("migrate-incoming", uri=f"unix:{there.vmm.path('migrate.sock')}")
    middle = Middle(run_dir, there.vmm.path("migrate.sock"), None, None, back=TAKEN)
    try:
        switch_on(here.vmm, "return-path")
        here.vmm.qmp.raw("migrate", {"uri": f"unix:{middle.path}", "outlive-no-check": not checked})
        info = ended(here.vmm)
    finally:
        middle.close()
    assert middle.done and info["status"] == "failed" and "may or may not" in info["error-desc"], info
    until(lambda: runs(there.vmm), 60, "the guest runs there")
    assert here.vmm.qmp.command("query-status")["status"] == "postmigrate"
    check(there)
    here.close()
    there.close()


def swallow(end, last):
    """Take what comes, until `last` has come; then go."""
    seen = b""
    with end:
        while last not in seen:
            data = end.recv(4096)
            assert data, "it ended before"
            seen = seen[-64:] + data


def test_without_answers_a_cut_in_the_last_bytes_never_makes_two(outlive, witness):
    here = witness(outlive, **TALKATIVE)
    source, other = socket.socketpair()
    with source:
        source.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # much less than the description
        here.vmm.qmp.command("getfd", fds=[source.fileno()], fdname="wire")
    thread = threading.Thread(target=swallow, args=(other, KINDS["description"]))
    thread.start()
    send(here.vmm, "fd:wire")
    info = ended(here.vmm)
    thread.join()
    assert info["status"] == "failed" and "may or may not" in info["error-desc"], info
    assert here.vmm.qmp.command("query-status")["status"] == "postmigrate"
    here.vmm.qmp.command("cont")
    check(here)
    here.close()


def answer(listener, words):
    """Somebody else at the other end: says something, listens, goes."""
    client, _ = listener.accept()
    with client:
        client.settimeout(60)
        try:
            client.sendall(words)
            client.recv(4096)
        except OSError:
            pass


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b'{"QMP": {}}\r\n', bytes(64)],
                         ids=["silent", "web server", "monitor", "zeroes"])
@pytest.mark.parametrize("capabilities", [(), ("return-path",)])
def test_a_wrong_peer_costs_nothing(traveller, run_dir, words, capabilities):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_dir / "peer"))
        listener.listen()
        thread = threading.Thread(target=answer, args=(listener, words))
        thread.start()
        send(traveller.guest.vmm, f"unix:{run_dir / 'peer'}", *capabilities)
        info = ended(traveller.guest.vmm)
        thread.join()
    assert info["status"] == "failed" and info["error-desc"], info
    check(traveller.guest)


def test_a_full_disk_costs_nothing(traveller, run_dir):
    (run_dir / "small").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", run_dir / "small"], check=True)
    try:
        send(traveller.guest.vmm, f"file:{run_dir / 'small' / 'guest'}")
        info = ended(traveller.guest.vmm)
        assert info["status"] == "failed" and "No space left" in info["error-desc"], info
        assert not os.listdir(run_dir / "small"), "half a file is left"
    finally:
        subprocess.run(["umount", run_dir / "small"], check=True)
    check(traveller.guest)
    there = awaiting(traveller.outlive, *traveller.more, name="after", args=LOAD)
    assert isinstance(there, Witness)
    move(traveller.guest.vmm, there.vmm, "return-path")
    traveller.settle(there, {"status": "completed"})
