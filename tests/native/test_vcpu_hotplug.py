# SPDX-License-Identifier: Apache-2.0
"""vCPUs come and go while a guest runs; a guest of some hundred bytes does ACPI's part and starts them."""
import pytest

from frame.live import PATIENT
from frame.qemu import HOST_CPU
from frame.qmp import QmpError
from frame.rom import vcpu_guest
from frame.wait import until

SMP = "cpus=1,maxcpus=4,sockets=2,cores=2,threads=1"
KIND = "host-x86_64-cpu"
PLACES = {1: {"socket-id": 0, "core-id": 1, "thread-id": 0},
          2: {"socket-id": 1, "core-id": 0, "thread-id": 0},
          3: {"socket-id": 1, "core-id": 1, "thread-id": 0}}


def start(program, folder, *more, cpu="host"):
    """A guest with three free places."""
    rom, said = folder / "vcpu.rom", folder / "said"
    rom.write_bytes(vcpu_guest())
    vmm = program.start("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", cpu, "-nodefaults", "-display", "none", "-m", 64,
                        "-smp", SMP, "-bios", rom, "-chardev", f"file,id=d,path={said},append=on", "-device",
                        "isa-debugcon,iobase=0x402,chardev=d", *more)
    vmm.said = said.read_text
    return vmm


def add(vmm, place, ident=None):
    """Plug a vCPU as libvirt does."""
    vmm.qmp.command("device_add", driver=KIND, id=ident or f"vcpu{place}", **PLACES[place])


def there(vmm):
    """Places in use, with the paths of their vCPUs."""
    return {one["cpu-index"]: one["qom-path"] for one in vmm.qmp.command("query-cpus-fast")}


def ost(vmm):
    """The next thing that the guest says."""
    return vmm.qmp.wait_event("ACPI_DEVICE_OST", timeout=60)["data"]["info"]


def gone(vmm):
    """The id of the next vCPU that goes; QEMU's local APIC goes before it, as a device of its own."""
    data = vmm.qmp.wait_event("DEVICE_DELETED", timeout=60, match=lambda data: "device" in data)["data"]
    assert data["path"] == f"/machine/peripheral/{data['device']}"
    return data["device"]


@pytest.fixture(name="guest")
def _guest(outlive, kvm, tmp_path):
    return start(outlive, tmp_path)


def test_a_vcpu_comes_runs_and_goes_as_on_qemu(vmm_any, kvm, tmp_path):
    vmm = start(vmm_any, tmp_path, cpu=HOST_CPU)
    free = {one["props"]["socket-id"] * 2 + one["props"]["core-id"]: one for one in
            vmm.qmp.command("query-hotpluggable-cpus")}
    assert {place for place, one in free.items() if "qom-path" not in one} == {1, 2, 3}
    assert all(one["type"] == KIND and one["props"] == PLACES.get(place, one["props"]) for place, one in free.items())
    add(vmm, 2)
    assert ost(vmm) == {"device": "vcpu2", "slot": "2", "slot-type": "CPU", "source": 1, "status": 0}
    until(lambda: vmm.said() == "2", 60, "the vCPU runs")
    assert there(vmm)[2] == "/machine/peripheral/vcpu2" and set(there(vmm)) == {0, 2}
    with pytest.raises(QmpError, match="CPU"):
        add(vmm, 2, "again")
    vmm.qmp.command("device_del", id="vcpu2")
    assert gone(vmm) == "vcpu2"
    assert set(there(vmm)) == {0}
    add(vmm, 3)
    ost(vmm)
    vmm.qmp.command("device_del", id="vcpu3")
    assert ost(vmm) == {"device": "vcpu3", "slot": "3", "slot-type": "CPU", "source": 3, "status": 0x82}
    assert set(there(vmm)) == {0, 3}
    last = {one["slot"]: (one["source"], one["status"]) for one in vmm.qmp.command("query-acpi-ospm-status")}
    assert last == {"0": (0, 0), "1": (0, 0), "2": (1, 0), "3": (3, 0x82)}


def test_a_place_is_used_again_and_again(guest):
    for round_ in range(1, 51):
        add(guest, 2)
        until(lambda: guest.said() == "2" * round_, 60, "the vCPU runs")
        guest.qmp.command("device_del", id="vcpu2")
        assert gone(guest) == "vcpu2"
    assert set(there(guest)) == {0}


@pytest.mark.parametrize("wrong, words", [
    ({"socket-id": 2}, "socket-id: 2 must be in range 0:1"),
    ({"core-id": 7}, "core-id: 7 must be in range 0:1"),
    ({"apic-id": 9}, "no place of this machine has 9"),
    ({"apic-id": 2}, "socket-id: 0 isn't where apic-id says, which is 1"),
    ({"node-id": 1}, "NUMA node isn't 1"),
    ({"driver": "qemu64-x86_64-cpu"}, f"all vCPUs are of one kind, here '{KIND}'"),
    ({"sockets": 1}, "did you mean 'socket-id'"),
    ({"socket-id": 0, "core-id": 0}, "there is a vCPU 0 already"),
])
def test_a_vcpu_without_a_place_is_refused(guest, wrong, words):
    with pytest.raises(QmpError, match=words):
        guest.qmp.raw("device_add", {"driver": KIND, "id": "x", **PLACES[1], **wrong})
    assert set(there(guest)) == {0}


def test_the_vcpu_of_the_start_stays(guest):
    with pytest.raises(QmpError, match="not found"):
        guest.qmp.command("device_del", id="/machine/unattached/device[0]")


def test_a_stopped_guest_finds_its_vcpus_when_it_runs(guest):
    guest.qmp.command("stop")
    add(guest, 1)
    add(guest, 3)
    assert list(there(guest)) == [0, 1, 3]
    guest.qmp.command("cont")
    until(lambda: sorted(guest.said()) == ["1", "3"], 60, "both run")
    guest.qmp.command("stop")
    guest.qmp.command("device_del", id="vcpu1")
    guest.qmp.command("cont")
    assert gone(guest) == "vcpu1"
    guest.qmp.command("system_reset")
    assert guest.qmp.command("query-status")["running"] and list(there(guest)) == [0, 3]


def test_vcpus_of_the_command_line_need_no_plugging(outlive, kvm, tmp_path):
    vmm = start(outlive, tmp_path, "-device", f"{KIND},id=more,apic-id=3")
    assert there(vmm) == {0: "/machine/unattached/device[0]", 3: "/machine/peripheral/more"}
    assert vmm.qmp.command("qom-get", path="/machine/peripheral/more", property="socket-id") == 1


def test_a_vcpu_that_came_after_a_migration_has_no_part_in_it(guest):
    guest.qmp.command("migrate", uri="exec:false")
    until(lambda: guest.qmp.command("query-migrate")["status"] == "failed", 60, "it fails")
    add(guest, 1)
    assert ost(guest)["slot"] == "1"
    assert len(guest.qmp.command("query-migrate")["outlive-throttled-us"]) == 1


def test_plugged_vcpus_go_along_in_an_upgrade(guest):
    add(guest, 2)
    until(lambda: guest.said() == "2", 60, "the vCPU runs")
    assert guest.qmp.command("outlive-upgrade", **PATIENT)["done"]
    assert there(guest)[2] == "/machine/peripheral/vcpu2"
    add(guest, 1)
    until(lambda: guest.said() == "21", 60, "a further one runs")
    for ident in ("vcpu2", "vcpu1"):
        guest.qmp.command("device_del", id=ident)
        assert gone(guest) == ident
    add(guest, 2)
    until(lambda: guest.said() == "212", 60, "the place is free again")
    guest.qmp.command("quit")


@pytest.mark.parametrize("ways", ["outlive-outlive", "outlive-qemu", "qemu-outlive"])
def test_plugged_vcpus_follow_to_another_vmm(outlive, qemu, kvm, tmp_path, ways):
    programs = {"outlive": outlive, "qemu": qemu}
    here, over_there = (programs[name] for name in ways.split("-"))
    source = start(here, tmp_path, cpu=HOST_CPU)
    add(source, 2)
    until(lambda: source.said() == "2", 60, "the vCPU runs")
    target = start(over_there, tmp_path, "-incoming", "defer", "-device",
                   f"{KIND},id=vcpu2,socket-id=1,core-id=0,thread-id=0", cpu=HOST_CPU)
    sock = f"unix:{tmp_path}/m.sock"
    target.qmp.command("migrate-incoming", uri=sock)
    source.qmp.command("migrate", uri=sock)
    until(lambda: target.qmp.command("query-status")["status"] == "running", 60, "the guest runs there")
    assert set(there(target)) == {0, 2}
    add(target, 1)
    until(lambda: target.said() == "21", 60, "a further one runs")
    target.qmp.command("device_del", id="vcpu2")
    assert gone(target) == "vcpu2"


def test_a_target_without_the_plugged_vcpu_is_told_so(outlive, kvm, tmp_path):
    source = start(outlive, tmp_path)
    add(source, 2)
    target = start(outlive, tmp_path, "-incoming", "defer")
    sock = f"unix:{tmp_path}/m.sock"
    target.qmp.command("migrate-incoming", uri=sock)
    found = source.qmp.command("outlive-check-migration", uri=sock)["mismatches"]
    assert any(f"-device {KIND},socket-id=1,core-id=0,thread-id=0" in one for one in found), found
