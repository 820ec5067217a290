# SPDX-License-Identifier: Apache-2.0
"""Guests go from the release before to this tree and back, with everything they have.

tools/last-release has built the release from git before the level started.
"""
import dataclasses
import json
import subprocess

import pytest

from frame.echo import Echo
from frame.live import PATIENT, Live
from frame.paths import ROOT, outlive_vmm
from frame.plugin import Starter, outlive_program
from frame.rom import SELECT_FILES, acpi_guest
from frame.wait import until

NIC = "virtio-net-pci,netdev=n0"


@pytest.fixture(scope="module", name="release")
def _release():
    done = subprocess.run([ROOT / "tools" / "last-release", "--json", "--no-build"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    print(answer["why"])
    return answer["program"] or str(outlive_vmm())


@pytest.fixture(name="old")
def _old(release, witness, tmp_path, leak_guard):
    """Function that starts a guest in the release."""
    starter = Starter(dataclasses.replace(outlive_program(), argv=(release,)), tmp_path)
    made = []

    def make(*more, **guest):
        made.append(Live(witness(starter, *more, **guest)))
        return made[-1]
    yield make
    for guest in made:
        guest.end()
    starter.end()


def there_and_back(guest, release, rounds=2):
    """Old, new, old, ... new: verified in each; the report names both."""
    versions = set()
    for _ in range(rounds):
        for program in (str(outlive_vmm()), release):
            report = guest.upgrade(binary=program)
            versions.add((report["from"], report["to"]))
            before = guest.witness.report()["dirtied"]
            guest.witness.wait(lambda now, before=before: now["dirtied"] > before + 200)
            guest.verify()
    assert len(versions) <= 2, versions


@pytest.mark.parametrize("cpus", [1, 8])
def test_memory_and_clocks(old, release, cpus):
    there_and_back(old(cpus=cpus, memory_mib=128, args="ws=24M rate=2M verify=2M"), release)


def test_disk_and_network_with_requests_on_the_way(old, release, tmp_path, run_dir):
    disk, echo = tmp_path / "disk", Echo(f"{run_dir}/net")
    disk.write_bytes(bytes(32 << 20))
    guest = old("-blockdev", f"driver=raw,node-name=d0,file.driver=file,file.filename={disk}",
                "-device", "virtio-blk-pci,drive=d0",
                "-netdev", f"stream,id=n0,server=off,addr.type=unix,addr.path={run_dir}/net", "-device", NIC,
                cpus=2, memory_mib=64, args="blk=32 blk_size=16M net=16 net_rate=500 rate=1M", boot="pvh")
    guest.witness.wait(lambda now: len(now["device"]) == 2 and all(one["in"] > 100 for one in now["device"]))
    there_and_back(guest, release)
    devices = {one["kind"]: one for one in guest.verify()["device"]}
    assert (devices["net"]["lost"], devices["net"]["duplicated"]) == (0, 0), devices
    assert echo.connections == 1
    guest.qmp.command("quit")
    echo.close()


def test_every_kind_of_device(old, release, tmp_path):
    """Each class that the release has and that can be plugged, in one guest."""
    disks = [tmp_path / f"disk{n}" for n in range(3)]
    for disk in disks:
        disk.write_bytes(bytes(1 << 20))
    nodes = [word for n, disk in enumerate(disks)
             for word in ("-blockdev", f"driver=raw,node-name=d{n},file.driver=file,file.filename={disk}")]
    devices = ["virtio-blk-pci,drive=d0,num-queues=2", "virtio-scsi-pci,id=scsi", "scsi-hd,bus=scsi.0,drive=d1",
               "virtio-blk-pci-transitional,drive=d2", "virtio-rng-pci", "virtio-balloon-pci,id=balloon",
               "virtio-serial-pci,id=vs", "virtserialport,bus=vs.0,chardev=ring,name=port",
               "virtconsole,bus=vs.0,chardev=pty", "isa-serial,chardev=pty2,index=1", "pvpanic",
               "pcie-root-port,id=port1,chassis=1", "pcie-root-port,id=port2,chassis=2",
               "virtio-net-pci,bus=port1", "isa-debugcon,iobase=0x402,chardev=null"]
    known = known_devices(release)
    assert {"virtio-blk-pci", "virtio-net-pci", "virtio-scsi-pci", "pcie-root-port"} <= known
    devices = [one for one in devices if one.split(",")[0] in known]
    guest = old(*nodes, "-chardev", "ringbuf,id=ring", "-chardev", "pty,id=pty", "-chardev", "pty,id=pty2",
                "-chardev", "null,id=null", *[word for one in devices for word in ("-device", one)],
                cpus=2, memory_mib=64, args="rate=1M")
    guest.qmp.command("ringbuf-write", device="ring", data="kept")
    guest.qmp.raw("device_add", {"driver": "virtio-rng-pci", "id": "late", "bus": "port2"})
    there_and_back(guest, release)
    assert guest.qmp.command("ringbuf-read", device="ring", size=100) == "kept"
    assert "late" in {one["name"] for one in guest.qmp.raw("qom-list", {"path": "/machine/peripheral"})}


def known_devices(program):
    """Names of the device classes that a program lists."""
    text = subprocess.run([program, "-device", "help"], capture_output=True, text=True, check=True).stdout
    return {word.strip('",') for word in text.split()}


def test_tables_of_the_first_release_number_buses_otherwise_and_hot_plug_goes_on(release, tmp_path, leak_guard, kvm):
    """Up to 0.1 the root bus was number 0; a guest has its tables until it starts anew."""
    starter = Starter(dataclasses.replace(outlive_program(), argv=(release,)), tmp_path)
    rom, disk, said = tmp_path / "guest.rom", tmp_path / "disk.raw", tmp_path / "said"
    # has its tables made, says so, and looks at bus 1 only
    rom.write_bytes(acpi_guest(2, 1, SELECT_FILES + bytes.fromhex("ba f8 03 b0 52 ee")))
    disk.write_bytes(bytes(1 << 20))
    said.touch()
    guest = starter.start("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none",
                          "-m", 64, "-bios", rom, "-serial", f"file:{said}",
                          "-device", "pcie-root-port,id=rp0,chassis=1,addr=2",
                          "-device", "pcie-root-port,id=rp1,chassis=2,addr=3")
    first = guest.qmp.command("query-version")["package"].startswith("outlive-0.1")
    until(lambda: said.read_bytes() == b"R", 60, "the guest has its tables")
    assert guest.qmp.command("outlive-upgrade", binary=str(outlive_vmm()), **PATIENT)["done"]
    guest.qmp.command("blockdev-add", driver="raw", **{"node-name": "d0"},
                      file={"driver": "file", "filename": str(disk)})
    guest.qmp.command("device_add", driver="virtio-blk-pci", id="hot", drive="d0", bus="rp1" if first else "rp0")
    until(lambda: said.read_bytes() == b"RU", 60, "the guest sees the slot")
    guest.qmp.command("quit")
    starter.end()
