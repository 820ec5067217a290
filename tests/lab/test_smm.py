# SPDX-License-Identifier: Apache-2.0
"""Firmware in system management mode, on stock QEMU and on Outlive, over upgrades and on the way from one to the other.

The guest is the ROM of tests/frame/smm.S: its handler counts in TSEG, which nobody else may see.
"""
import json

import pytest
from frame import linux, rom
from frame.paths import outlive_vmm
from frame.wait import until

QEMU = ["qemu-system-x86_64", "-accel", "kvm", "-M", "pc-q35-7.2"]
SLOW = {"prepare_timeout": 300000, "pause_timeout": 30000}  # an emulated host has seconds where others have ms

pytestmark = pytest.mark.skipif(not outlive_vmm().exists(), reason="outlive-vmm isn't built")


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A lab host with the ROM in /tmp/smm.bin."""
    from lab.host import Lab
    folder = tmp_path_factory.mktemp("smm")
    with Lab(memory=1024) as one:
        (one.work / "smm.bin").write_bytes(rom.smm_guest(folder))
        assert one.run(f"cp {one.work / 'smm.bin'} /tmp/smm.bin")[0] == 0
        yield one


def start(host, vmm, run, *more, **how):
    """The guest in QEMU or (None) in Outlive, once its monitor listens."""
    machine = [] if vmm else ["-accel", "kvm", "-M", "pc-q35-7.2"]
    guest = linux.Guest(host, [*machine, "-machine", "smm=on", "-m", 32, "-bios", "/tmp/smm.bin", *more], vmm=vmm,
                        run=run, **how)
    until(lambda: host.run(f"test -S {guest.qmp_socket}")[0] == 0, 120, "the monitor listens")
    return guest


def ask(guest, letter, answer):
    """Type a letter; wait for what the handler and the ROM say."""
    guest.type(letter)
    guest.expect(answer, 60)


def save(guest, path):
    """The guest is in a file, and its VMM ends."""
    guest.qmp(json.dumps({"execute": "migrate", "arguments": {"uri": f"exec:cat >{path}"}}), timeout=120)
    until(lambda: '"completed"' in guest.qmp("query-migrate"), 120, "the guest is saved")
    guest.qmp("quit")
    guest.wait()


@pytest.mark.parametrize("way", ["ours", "theirs"])
@pytest.mark.timeout(400)
def test_smm_moves_with_the_guest(host, way):
    """Locked SMRAM, a moved SMBASE, and a vCPU that is inside of the handler at that moment."""
    first, second = (None, QEMU) if way == "ours" else (QEMU, None)
    guest = start(host, first, f"/run/{way}1")
    guest.expect("AaA-", 60)
    ask(guest, "x", "[aA]-")
    ask(guest, "R", "[bA]-")
    ask(guest, "x", "[cA]-")
    ask(guest, "H", "[dAh")
    save(guest, f"/tmp/{way}.stream")
    guest = start(host, second, f"/run/{way}2", "-incoming", f"exec:cat /tmp/{way}.stream")
    until(lambda: '"running"' in guest.qmp("query-status"), 60, "the guest runs")
    ask(guest, "z", "z]-")
    ask(guest, "x", "[eA]-")
    guest.qmp("quit")
    guest.wait()


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_vcpu_inside_of_smm_outlives_an_upgrade(host):
    """Twice in the handler, once on its way to it from a moved SMBASE."""
    guest = start(host, None, "/run/upgrade", outlives=True)
    ask(guest, "x", "[aA]-")  # what was said before may have come before the console was connected
    ask(guest, "R", "[bA]-")
    ask(guest, "H", "[cAh")
    for _ in range(2):
        assert guest.command("outlive-upgrade", timeout=360, **SLOW)["done"]
    ask(guest, "z", "z]-")
    ask(guest, "x", "[dA]-")
    assert guest.command("outlive-upgrade", timeout=360, **SLOW)["done"]
    ask(guest, "x", "[eA]-")
    guest.qmp("quit")
    guest.wait()
