# SPDX-License-Identifier: Apache-2.0
"""What QMP tells of a machine is what QEMU tells of the same one."""
import pytest

from frame.rom import outs_guest
from frame.wait import until
from frame.witness import MACHINE

DEVICES = ("-device", "pcie-root-port,id=rp,chassis=1,addr=3.0", "-device", "virtio-rng-pci,id=rng,bus=rp",
           "-device", "virtio-scsi-pci,id=scsi,addr=4.0",
           "-device", "virtio-net-pci,id=nic,addr=5.0,mac=52:54:00:12:34:56,romfile=")


def functions(vmm):
    """query-pci's functions of the root bus, in the order of their places."""
    bus, = vmm.qmp.command("query-pci")
    assert bus["bus"] == 0
    return sorted(bus["devices"], key=lambda function: (function["slot"], function["function"]))


def test_pci_functions_before_anybody_set_them_up(outlive, qemu):
    ours, theirs = (functions(one.start(*MACHINE, "-S", *DEVICES)) for one in (outlive, qemu))
    assert [function["qdev_id"] for function in ours] == ["", "rp", "scsi", "nic", "", "", ""]
    assert ours == theirs


def test_a_bridge_with_its_windows_and_what_is_behind_it(outlive, qemu, tmp_path):
    """Once a guest has given it bus numbers."""
    (tmp_path / "rom").write_bytes(outs_guest(
        (0xcf8, 0x80001820), (0xcfc, 0xe010e000), (0xcf8, 0x80001824), (0xcfc, 0xd011d001),  # windows
        (0xcf8, 0x80001804), (0xcfc, 7), (0xcf8, 0x80001818), (0xcfc, 0x00010100),           # on, bus 1
        (0xcf8, 0x80010014), (0xcfc, 0xe0000000), (0xcf8, 0x80010004), (0xcfc, 6)))          # the function's BAR
    told = []
    for vmm in (one.start(*MACHINE, *DEVICES, "-bios", tmp_path / "rom") for one in (outlive, qemu)):
        def behind():
            return functions(vmm)[1]["pci_bridge"].get("devices")
        until(lambda: behind() and behind()[0]["regions"][0]["address"] > 0, 60, "the guest sets up the bridge")
        told.append(functions(vmm))
    ours, theirs = told
    rng, = ours[1]["pci_bridge"]["devices"]
    assert rng["qdev_id"] == "rng" and rng["bus"] == 1
    assert ours[1]["pci_bridge"]["bus"]["memory_range"] == {"base": 0xe0000000, "limit": 0xe01fffff}
    assert ours == theirs


def test_the_receive_filter_of_a_network_interface(outlive, qemu):
    ours, theirs = (one.start(*MACHINE, "-S", *DEVICES) for one in (outlive, qemu))
    mine, other = (one.qmp.raw("query-rx-filter", {"name": "nic"})[0] for one in (ours, theirs))
    assert mine["main-mac"] == "52:54:00:12:34:56" and mine["promiscuous"]
    assert mine.pop("broadcast-allowed") is True  # QEMU says the opposite of what it means
    assert other.pop("broadcast-allowed") is False
    other["vlan-table"].sort()
    assert mine == other
    assert mine == {k: v for k, v in ours.qmp.command("query-rx-filter")[0].items() if k != "broadcast-allowed"}


def counters(vmm, target):
    """{name: (type, unit, base, exponent)} of a target's counters."""
    one, = [found for found in vmm.qmp.command("query-stats-schemas") if found["target"] == target]
    return {stat["name"]: (stat["type"], stat.get("unit"), stat.get("base"), stat["exponent"]) for stat in one["stats"]}


def test_the_kernels_counters_of_a_machine_and_its_vcpus(outlive, qemu):
    ours, theirs = (one.start(*MACHINE, "-smp", 2, "-S") for one in (outlive, qemu))
    if not theirs.qmp.command("query-stats-schemas"):
        pytest.skip("this kernel has no counters of KVM")
    for target in ("vm", "vcpu"):
        assert counters(ours, target) == counters(theirs, target)
    machine, = ours.qmp.raw("query-stats", {"target": "vm"})
    assert {stat["name"] for stat in machine["stats"]} == counters(ours, "vm").keys()
    paths = [vcpu["qom-path"] for vcpu in ours.qmp.command("query-cpus-fast")]
    one, = ours.qmp.raw("query-stats", {"target": "vcpu", "vcpus": [paths[1]],
                                        "providers": [{"provider": "kvm", "names": ["exits", "halt_wait_hist"]}]})
    found = {stat["name"]: stat["value"] for stat in one["stats"]}
    assert one["qom-path"] == paths[1] and found.keys() == {"exits", "halt_wait_hist"}
    assert isinstance(found["exits"], int) and len(found["halt_wait_hist"]) > 1
    assert ours.qmp.raw("query-stats", {"target": "vm", "providers": []}) == []


def test_counters_of_a_guest_that_runs_count(outlive, tmp_path):
    (tmp_path / "rom").write_bytes(outs_guest((0x80, 1)))
    vmm = outlive.start(*MACHINE, "-S", "-bios", tmp_path / "rom")
    if not vmm.qmp.command("query-stats-schemas"):
        pytest.skip("this kernel has no counters of KVM")

    def exits():
        told, = vmm.qmp.raw("query-stats", {"target": "vcpu", "providers": [{"provider": "kvm", "names": ["exits"]}]})
        return told["stats"][0]["value"]
    before = exits()
    vmm.qmp.command("cont")
    until(lambda: exits() > before, 60, "the vCPU leaves guest mode")
