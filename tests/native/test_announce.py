# SPDX-License-Identifier: Apache-2.0
"""A guest that has moved is announced to its network, as often as the parameters say."""
import socket
import struct

import pytest

from frame.moving import awaiting, check, move
from frame.wait import Deadline

MAC = bytes.fromhex("525400abcdef")
RARP = (b"\xff" * 6 + MAC + bytes.fromhex("8035" "0001" "0800" "06" "04" "0003")
        + MAC + bytes(4) + MAC + bytes(4)).ljust(60, b"\0")


class Wire:
    """The other end of -netdev stream: what the guest's interface sends."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.path, self.end, self.bytes = path, None, b""

    def options(self):
        """Options of the guest's end."""
        return ["-netdev", f"stream,id=net,server=off,addr.type=unix,addr.path={self.path}",
                "-device", "virtio-net-pci,id=nic,netdev=net,mac=52:54:00:ab:cd:ef"]

    def take(self, n, deadline):
        """The next bytes."""
        while len(self.bytes) < n:
            self.end.settimeout(deadline.left())
            data = self.end.recv(65536)
            assert data, "the wire is cut"
            self.bytes += data
        taken, self.bytes = self.bytes[:n], self.bytes[n:]
        return taken

    def frames(self, n, seconds=30):
        """The next n frames."""
        deadline = Deadline(seconds, f"{n} frames")
        if not self.end:
            self.end, _ = self.listener.accept()
        return [self.take(struct.unpack("!I", self.take(4, deadline))[0], deadline) for _ in range(n)]

    def close(self):
        """Let go of it."""
        if self.end:
            self.end.close()
        self.listener.close()


@pytest.fixture
def wires(run_dir):
    """A wire for each of two VMMs."""
    made = [Wire(run_dir / name) for name in ("here", "there")]
    yield made
    for one in made:
        one.close()


def test_a_guest_that_has_come_is_announced_by_reverse_arp(outlive, witness, wires):
    here = witness(outlive, *wires[0].options(), args="rate=1M")
    there = awaiting(outlive, *wires[1].options(), args="rate=1M")
    try:
        there.vmm.qmp.command("migrate-set-parameters", **{
            "announce-rounds": 3, "announce-initial": 10, "announce-step": 10, "announce-max": 20})
        move(here.vmm, there.vmm, "return-path")
        assert wires[1].frames(3) == [RARP] * 3
        check(there)
    finally:
        there.close()


def test_announce_self_does_it_again_and_for_some_only(outlive, witness, wires):
    here = witness(outlive, *wires[0].options(), args="rate=1M")
    here.vmm.qmp.command("announce-self", initial=10, max=20, step=10, rounds=2)
    assert wires[0].frames(2) == [RARP] * 2
    here.vmm.qmp.command("announce-self", initial=10, max=20, step=10, rounds=1, interfaces=["other"])
    here.vmm.qmp.command("announce-self", initial=10, max=20, step=10, rounds=1, interfaces=["nic"])
    assert wires[0].frames(1) == [RARP]
