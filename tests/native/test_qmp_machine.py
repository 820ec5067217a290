# SPDX-License-Identifier: Apache-2.0
"""What QMP says about a machine that is there, and changes of it."""
import os
import socket

import pytest

from frame.qmp import QmpError
from frame.rom import outs_guest, reset_guest
from frame.wait import until
from frame.witness import options

DEVICES = (
    "-object", "iothread,id=io0",
    "-object", "rng-random,id=rng0,filename=/dev/urandom",
    "-device", "pcie-root-port,id=pci.1,chassis=1,addr=0x2",
    "-device", '{"driver":"virtio-blk-pci","id":"disk0","drive":"t0","iothread":"io0","bus":"pci.1"}',
    "-device", "virtio-rng-pci,id=r0,rng=rng0",
    "-device", "virtio-balloon-pci,id=balloon0",
    "-device", "virtio-net-pci,id=nic0,mac=52:54:00:00:00:01",
)


@pytest.fixture(name="qmp")
def _qmp(outlive, kvm, tmp_path):
    """A running guest with one device of each kind."""
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    node = ('{"driver":"throttle","node-name":"t0","file":{"driver":"raw","node-name":"raw0",'
            f'"file":{{"driver":"file","filename":"{disk}"}}}}}}')
    vmm = outlive.start(*options(), "-blockdev", node, *DEVICES)
    vmm.qmp.command("cont")
    return vmm.qmp


def test_a_disk_is_listed_with_its_device_node_and_counters(qmp):
    disk, = qmp.command("query-block")
    assert disk["qdev"] == "/machine/peripheral/disk0/virtio-backend"
    assert disk["inserted"]["node-name"] == "t0"
    assert disk["inserted"]["image"]["virtual-size"] == 1 << 20
    stats, = qmp.command("query-blockstats")
    assert stats["qdev"] == disk["qdev"] and stats["stats"]["rd_bytes"] == 0
    assert stats["parent"]["node-name"] == "raw0"
    assert {"t0", "raw0"} <= {one["node-name"] for one in qmp.command("query-blockstats", **{"query-nodes": True})}


def test_a_disk_grows_and_is_throttled(qmp):
    qmp.command("block_resize", **{"node-name": "t0"}, size=2 << 20)
    assert qmp.command("query-block")[0]["inserted"]["image"]["virtual-size"] == 2 << 20
    limits = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 1 << 20)
    qmp.raw("block_set_io_throttle", {"id": "disk0", **limits})
    with pytest.raises(QmpError, match="'nobody' not found"):
        qmp.raw("block_set_io_throttle", {"id": "nobody", **limits})


def test_io_threads_are_threads_of_the_process(qmp):
    thread, = qmp.command("query-iothreads")
    assert thread["id"] == "io0"
    name = f"/proc/{thread['thread-id']}/comm"
    with open(name, encoding="ascii") as file:
        assert file.read().startswith("io ")
    qmp.command("object-add", **{"qom-type": "iothread"}, id="io1")
    assert {one["id"] for one in qmp.command("query-iothreads")} == {"io0", "io1"}
    with pytest.raises(QmpError, match="'io1' already"):
        qmp.command("object-add", **{"qom-type": "iothread"}, id="io1")
    tid = [one["thread-id"] for one in qmp.command("query-iothreads") if one["id"] == "io1"][0]
    qmp.command("object-del", id="io1")
    until(lambda: not os.path.exists(f"/proc/{tid}"), 60, "the kernel has taken away the thread that was waited for")


@pytest.mark.parametrize("ident, user", [("io0", "disk0"), ("rng0", "r0")])
def test_an_object_in_use_stays(qmp, ident, user):
    with pytest.raises(QmpError, match=f"'{ident}' is in use by {user}"):
        qmp.command("object-del", id=ident)
    with pytest.raises(QmpError, match="not found"):
        qmp.command("object-del", id="nobody")


def test_the_tree_shows_devices_and_their_properties(qmp):
    names = {one["name"]: one["type"] for one in qmp.command("qom-list", path="/machine/peripheral")}
    assert names["disk0"] == "child<virtio-blk-pci>" and {"r0", "balloon0", "pci.1"} <= names.keys()
    for path in names:
        for one in qmp.command("qom-list", path=f"/machine/peripheral/{path}"):
            qmp.command("qom-get", path=f"/machine/peripheral/{path}", property=one["name"])
    assert qmp.command("qom-get", path="/machine/peripheral/disk0", property="drive") == "t0"
    assert qmp.command("qom-get", path="/machine/peripheral/nic0", property="mac") == "52:54:00:00:00:01"
    assert qmp.command("qom-get", path="/objects/io0", property="type") == "iothread"
    with pytest.raises(QmpError, match="DeviceNotFound"):
        qmp.command("qom-list", path="/machine/peripheral/nobody")
    with pytest.raises(QmpError, match="not found"):
        qmp.command("qom-get", path="/machine/peripheral/disk0", property="colour")


def test_the_balloon_has_a_size_and_a_polling_interval(qmp):
    path = "/machine/peripheral/balloon0"
    assert qmp.command("query-balloon") == {"actual": 64 << 20}
    qmp.command("balloon", value=32 << 20)  # this guest has no driver for it
    qmp.command("qom-set", path=path, property="guest-stats-polling-interval", value=5)
    assert qmp.command("qom-get", path=path, property="guest-stats-polling-interval") == 5
    assert "last-update" in qmp.command("qom-get", path=path, property="guest-stats")
    with pytest.raises(QmpError, match="can't be changed"):
        qmp.command("qom-set", path=path, property="deflate-on-oom", value=True)


def test_the_guest_moves_the_balloon_and_an_event_says_so(outlive, kvm, tmp_path):
    rom = tmp_path / "balloon.rom"
    rom.write_bytes(outs_guest((0xCF8, 0x80002810), (0xCFC, 0xC000),  # 00:05.0: I/O registers at 0xc000,
                               (0xCF8, 0x80002804), (0xCFC, 1),       # on
                               (0xC000 + 24, 256)))                   # "actual": 256 pages are lent back
    vmm = outlive.start("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none",
                        "-S", "-m", 64, "-bios", rom, "-device", "virtio-balloon-pci,id=b,addr=0x5")
    vmm.qmp.command("cont")
    assert vmm.qmp.wait_event("BALLOON_CHANGE", timeout=60)["data"] == {"actual": 63 << 20}
    assert vmm.qmp.command("query-balloon") == {"actual": 63 << 20}


def test_a_guest_without_balloon_says_so(outlive, kvm):
    vmm = outlive.start(*options())
    with pytest.raises(QmpError, match="DeviceNotActive"):
        vmm.qmp.command("query-balloon")


def test_vcpus_have_places(outlive, kvm):
    vmm = outlive.start(*options(cpus=2))
    places = vmm.qmp.command("query-hotpluggable-cpus")
    cpus = vmm.qmp.command("query-cpus-fast")
    assert {one["qom-path"] for one in places} == {one["qom-path"] for one in cpus}
    assert [one["props"] for one in reversed(places)] == [one["props"] for one in cpus]


def test_set_action_changes_what_a_reboot_does(outlive, kvm, tmp_path):
    image = tmp_path / "reset.rom"
    image.write_bytes(reset_guest())
    vmm = outlive.start("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none",
                        "-S", "-m", 64, "-bios", image)
    vmm.qmp.command("set-action", reboot="shutdown", shutdown="pause")
    vmm.qmp.command("watchdog-set-action", action="pause")
    vmm.qmp.command("cont")
    vmm.qmp.wait_event("SHUTDOWN", timeout=60)
    assert vmm.qmp.command("query-status")["status"] == "shutdown"


def test_an_nmi_does_not_stop_the_guest(qmp):
    qmp.take_events()
    qmp.command("inject-nmi")
    assert qmp.command("query-status")["running"]
    assert not [event for event in qmp.take_events() if event["event"] in ("STOP", "RESUME")]


def test_a_reset_is_no_stop_for_clients(qmp):
    qmp.take_events()
    qmp.command("system_reset")
    qmp.wait_event("RESET", timeout=60)
    assert qmp.command("query-status")["running"]
    assert not [event for event in qmp.take_events() if event["event"] in ("STOP", "RESUME")]


def test_a_cable_goes_by_the_interfaces_id(outlive, kvm, run_dir):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.bind(str(run_dir / "net"))
        peer.listen()
        vmm = outlive.start(*options(), "-netdev", f"stream,id=n0,addr.type=unix,addr.path={run_dir}/net",
                            "-device", "virtio-net-pci,id=nic0,netdev=n0", "-device", "virtio-net-pci,id=nic1")
        vmm.qmp.command("set_link", name_="nic0", up=False)
        vmm.qmp.command("set_link", name_="n0", up=True)
        vmm.qmp.command("announce-self", initial=50, max=550, rounds=5, step=50)
        with pytest.raises(QmpError, match="no network"):
            vmm.qmp.command("set_link", name_="nic1", up=True)
        with pytest.raises(QmpError, match="'nobody' not found"):
            vmm.qmp.command("set_link", name_="nobody", up=True)
