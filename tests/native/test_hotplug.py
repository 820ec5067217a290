# SPDX-License-Identifier: Apache-2.0
"""Devices come and go while a guest runs, without Linux: a guest of 50 bytes does ACPI's part."""
import pytest

from frame.live import PATIENT
from frame.qemu import HOST_CPU
from frame.qmp import QmpError
from frame.rom import acpi_guest, slot_guest
from frame.wait import until

PORT = ("pcie-root-port,id=pci.1,bus=pcie.0,chassis=1,addr=0x2",
        "pcie-root-port,id=pci.2,bus=pcie.0,chassis=2,addr=0x3")


def started(starter, folder, code, *options):
    """A guest of these bytes with ports and a disk to plug in."""
    rom, disk = folder / "guest.rom", folder / "disk.raw"
    rom.write_bytes(code)
    disk.write_bytes(bytes(1 << 20))
    said = folder / "serial.txt"
    said.touch()
    ports = [word for port in PORT for word in ("-device", port)]
    vmm = starter.start("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", HOST_CPU, "-nodefaults", "-display", "none",
                        "-m", 64, "-bios", rom, "-serial", f"file:{said}", *ports, *options)
    vmm.said = said.read_text
    vmm.disk = disk
    return vmm


@pytest.fixture(name="guest")
def _guest(outlive, kvm, tmp_path):
    return started(outlive, tmp_path, acpi_guest())


def add_disk(vmm, bus="pci.1", ident="d0"):
    """Plug a disk as libvirt does."""
    vmm.qmp.command("blockdev-add", driver="raw", **{"node-name": f"{ident}-node"},
                    file={"driver": "file", "filename": str(vmm.disk)})
    vmm.qmp.command("device_add", driver="virtio-blk-pci", id=ident, drive=f"{ident}-node", bus=bus, addr="0x0")


def peripherals(vmm):
    """Ids that the object tree shows."""
    return {one["name"] for one in vmm.qmp.command("qom-list", path="/machine/peripheral")}


def test_a_disk_comes_and_goes_and_its_node_is_free_again(guest):
    for round_ in range(1, 4):
        add_disk(guest)
        until(lambda: len(guest.said()) == round_, 60, "the guest sees the slot")
        with pytest.raises(QmpError, match="used by"):
            guest.qmp.command("blockdev-del", **{"node-name": "d0-node"})
        assert "d0" in peripherals(guest)
        guest.qmp.command("device_del", id="d0")
        gone = guest.qmp.wait_event("DEVICE_DELETED", timeout=60)
        assert "d0" not in peripherals(guest)
        assert gone["data"] == {"device": "d0", "path": "/machine/peripheral/d0"}
        guest.qmp.command("blockdev-del", **{"node-name": "d0-node"})


def test_what_goes_keeps_the_other_devices(guest):
    add_disk(guest)
    guest.qmp.command("device_add", driver="virtio-rng-pci", id="r0", bus="pci.2", addr="0x0")
    guest.qmp.command("device_del", id="d0")
    guest.qmp.wait_event("DEVICE_DELETED", timeout=60)
    with pytest.raises(QmpError, match="Device 'd0' not found"):
        guest.qmp.command("device_del", id="d0")
    guest.qmp.command("device_del", id="/machine/peripheral/r0")
    gone = guest.qmp.wait_event("DEVICE_DELETED", timeout=60)
    assert gone["data"]["device"] == "r0"


@pytest.mark.parametrize("controller, child", [
    ("virtio-scsi-pci", {"driver": "scsi-hd", "drive": "d0-node"}),
    ("virtio-serial-pci", {"driver": "virtserialport", "nr": 1}),
])
def test_what_sits_on_a_device_goes_with_it(guest, controller, child):
    guest.qmp.command("blockdev-add", driver="null-co", **{"node-name": "d0-node"}, size=1 << 20)
    guest.qmp.command("device_add", driver=controller, id="c0", bus="pci.1", addr="0x0")
    guest.qmp.command("device_add", id="k0", bus="c0.0", **child)
    until(guest.said, 60, "the guest sees the slot")
    guest.qmp.command("device_del", id="c0")
    gone = [guest.qmp.wait_event("DEVICE_DELETED", timeout=60)["data"]["device"] for _ in range(2)]
    assert gone == ["k0", "c0"]
    assert not {"c0", "k0"} & peripherals(guest)
    guest.qmp.command("blockdev-del", **{"node-name": "d0-node"})
    assert guest.qmp.command("outlive-upgrade", **PATIENT)["done"]
    guest.qmp.command("quit")


def test_a_stopped_guest_ejects_when_it_runs_again(guest):
    add_disk(guest)
    until(guest.said, 60, "the guest sees the slot")
    guest.qmp.command("stop")
    guest.qmp.command("device_del", id="d0")
    guest.qmp.command("cont")
    guest.qmp.wait_event("DEVICE_DELETED", timeout=60)


def test_a_reset_takes_away_what_was_asked_to_go(guest):
    add_disk(guest)
    guest.qmp.command("stop")
    guest.qmp.command("device_del", id="d0")
    guest.qmp.command("system_reset")
    guest.qmp.wait_event("DEVICE_DELETED", timeout=60)


@pytest.mark.parametrize("arguments, words", [
    ({"driver": "virtio-rng-pci", "id": "x"}, "pcie.0"),
    ({"driver": "virtio-rng-pci", "id": "x", "bus": "nowhere"}, "Bus 'nowhere' not found"),
    ({"driver": "pcie-root-port", "id": "x", "bus": "pci.1"}, "does not support hotplugging"),
    ({"driver": "no-such", "id": "x"}, "no-such"),
    ({"driver": "virtio-blk-pci", "id": "x", "bus": "pci.1"}, "drive"),
])
def test_a_device_that_cannot_come_is_refused(guest, arguments, words):
    with pytest.raises(QmpError, match=words):
        guest.qmp.command("device_add", **arguments)


def test_a_port_without_hot_plug_says_so(outlive, kvm, tmp_path):
    guest = started(outlive, tmp_path, acpi_guest(), "-device", "pcie-root-port,id=pci.3,chassis=3,addr=4,hotplug=off")
    with pytest.raises(QmpError, match="port 'pci.3' has hotplug=off"):
        guest.qmp.command("device_add", driver="virtio-rng-pci", id="x", bus="pci.3")


def test_what_cannot_go_is_refused(guest):
    with pytest.raises(QmpError, match="does not support hotplugging"):
        guest.qmp.command("device_del", id="pci.1")
    with pytest.raises(QmpError, match="not found"):
        guest.qmp.command("device_del", id="nobody")


def test_what_was_plugged_goes_along_in_an_upgrade(guest):
    guest.qmp.command("object-add", qom_type="iothread", id="io9")
    add_disk(guest)
    until(guest.said, 60, "the guest sees the slot")
    assert guest.qmp.command("outlive-upgrade", **PATIENT)["done"]
    assert "d0" in peripherals(guest)
    assert [one["id"] for one in guest.qmp.command("query-iothreads")] == ["io9"]
    guest.qmp.command("device_del", id="d0")
    assert guest.qmp.wait_event("DEVICE_DELETED", timeout=60)["data"]["device"] == "d0"
    guest.qmp.command("object-del", id="io9")
    guest.qmp.command("quit")


@pytest.mark.parametrize("number, bus", [(0, "pci.2"), (1, "pci.1")])
def test_a_bus_has_the_number_that_stock_qemu_gives_it(vmm_any, kvm, tmp_path, number, bus):
    guest = started(vmm_any, tmp_path, acpi_guest(number + 1, number))
    add_disk(guest, bus)
    until(guest.said, 60, f"the guest sees the slot of bus {number}")


OFF = ("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off")


def test_a_port_does_it_itself_where_acpi_does_not(vmm_any, kvm, tmp_path):
    guest = started(vmm_any, tmp_path, slot_guest(2 << 3), *OFF)
    for round_ in range(1, 4):
        add_disk(guest)
        until(lambda: len(guest.said()) == round_, 60, "the guest switches the slot on")
        guest.qmp.command("device_del", id="d0")
        guest.qmp.wait_event("DEVICE_DELETED", match=lambda data: data.get("device") == "d0", timeout=60)
        guest.qmp.command("blockdev-del", **{"node-name": "d0-node"})


def test_a_port_that_does_it_itself_goes_along_in_an_upgrade(outlive, kvm, tmp_path):
    guest = started(outlive, tmp_path, slot_guest(2 << 3), *OFF)
    add_disk(guest)
    until(guest.said, 60, "the guest switches the slot on")
    assert guest.qmp.command("outlive-upgrade", **PATIENT)["done"]
    guest.qmp.command("device_del", id="d0")
    assert guest.qmp.wait_event("DEVICE_DELETED", timeout=60)["data"]["device"] == "d0"
    guest.qmp.command("quit")
