# SPDX-License-Identifier: Apache-2.0
"""Guests move between Outlive and stock QEMUs, both ways, and run on with all they had."""
import os
import uuid

import pytest

from frame.echo import Echo
from frame.moving import awaiting, check, ended, missed_s, move, send, switch_on
from frame.witness import Witness, options

DIRTYING = "rate=2M ws=4M fill=half"


class Traveller:
    """A guest that goes from VMM to VMM; each one it left is ended."""

    def __init__(self, witness, first, *more, **guest):
        self.guest = witness(first, *more, **guest)
        self.more, self.options = more, guest
        self.stays = 1

    def go(self, target, *capabilities, **how):
        """Move to another VMM, and see that all is well there."""
        there = awaiting(target, *self.more, name=f"stay-{self.stays}", **self.options)
        try:
            info = move(self.guest.vmm, there.vmm, *capabilities, **how)
        except BaseException:
            there.close()
            raise
        self.leave(there)
        return info

    def leave(self, there):
        """The guest is in another VMM now."""
        self.guest.close()
        self.guest.vmm.quit(60)  # on a busy machine
        self.guest = there
        self.stays += 1

    def check(self, **what):
        """See frame.moving.check()."""
        return check(self.guest, **what)

    def end(self):
        """Let go of the last one."""
        self.guest.close()


@pytest.fixture
def traveller(witness):
    """Function that starts a Traveller."""
    made = []

    def make(*args, **guest):
        made.append(Traveller(witness, *args, **guest))
        return made[-1]
    yield make
    for one in made:
        one.end()


@pytest.mark.parametrize("cpus", [1, 4])
@pytest.mark.parametrize("begin", ["qemu", "outlive"])
def test_a_guest_goes_there_and_back_twice(outlive, qemu_any, traveller, begin, cpus):
    first, second = (qemu_any, outlive) if begin == "qemu" else (outlive, qemu_any)
    guest = traveller(first, cpus=cpus, memory_mib=128, args=DIRTYING)
    for _ in range(2):
        guest.go(second)
        guest.check()
        guest.go(first, "return-path")
        assert guest.check()["cpus"] == cpus


@pytest.mark.parametrize("begin", ["qemu", "outlive"])
def test_apic_ids_may_leave_numbers_out(outlive, qemu_any, traveller, begin):
    """With three cores a socket, APIC id 3 belongs to nobody."""
    first, second = (qemu_any, outlive) if begin == "qemu" else (outlive, qemu_any)
    guest = traveller(first, cpus="6,sockets=2,cores=3", memory_mib=64, args=DIRTYING)
    guest.go(second)
    guest.go(first)
    assert guest.check()["cpus"] == 6


NODES = ("-object", "memory-backend-memfd,id=m0,size=48M,share=on",
         "-object", "memory-backend-memfd,id=m1,size=80M,share=on",
         "-numa", "node,memdev=m0,cpus=0", "-numa", "node,memdev=m1,cpus=1", "-numa", "dist,src=0,dst=1,val=21")


@pytest.mark.parametrize("begin", ["qemu", "outlive"])
def test_nodes_keep_memory_of_their_own(outlive, qemu_any, traveller, begin):
    first, second = (qemu_any, outlive) if begin == "qemu" else (outlive, qemu_any)
    guest = traveller(first, *NODES, cpus=2, memory_mib=128, args="rate=2M ws=64M fill=half")
    guest.go(second)
    guest.check()
    assert [cpu["props"]["node-id"] for cpu in guest.guest.vmm.qmp.command("query-cpus-fast")] == [0, 1]
    guest.go(first)
    guest.check()


@pytest.mark.parametrize("begin", ["qemu", "outlive"])
def test_a_guest_without_vmwares_port_goes_there_and_back(outlive, qemu_any, traveller, begin):
    first, second = (qemu_any, outlive) if begin == "qemu" else (outlive, qemu_any)
    guest = traveller(first, "-machine", "vmport=off", memory_mib=64, args=DIRTYING)
    guest.go(second)
    guest.go(first)
    guest.check()


def test_ports_reserve_for_firmware_what_they_reserve_on_qemu(outlive, qemu_any, traveller):
    port = "pcie-root-port,id=rp,chassis=1,io-reserve=4k,mem-reserve=2M,pref64-reserve=32M,bus-reserve=2"
    guest = traveller(qemu_any, "-device", port, memory_mib=64, args=DIRTYING)
    guest.go(outlive)
    guest.go(qemu_any)
    guest.check()


def all_devices(folder, echo):
    """A guest with each virtio device, those in use that the witness drives."""
    disk = folder / "disk"
    disk.write_bytes(bytes(1 << 20))
    return ["-blockdev", f"driver=file,node-name=disk,filename={disk}", "-device", "virtio-blk-pci,drive=disk",
            *echo.options(), "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
            "-device", "virtio-balloon-pci", "-device", "virtio-scsi-pci"]


@pytest.mark.parametrize("cpus", [1, 4])
def test_disk_and_network_are_in_use_all_the_way(outlive, qemu_any, traveller, tmp_path, run_dir, cpus):
    with Echo(run_dir / "echo") as echo:
        guest = traveller(qemu_any, *all_devices(tmp_path, echo), cpus=cpus, memory_mib=128,
                          args=f"{DIRTYING} blk=8 blk_size=1M net=16 net_rate=1000")
        guest.guest.wait(lambda now: len(now["device"]) == 2 and all(d["in"] > 50 for d in now["device"]))
        for target in (outlive, qemu_any, outlive):
            guest.go(target)
            guest.check(devices=True, on_the_way=16 * (guest.stays - 1))


def test_twenty_round_trips_lose_nothing(outlive, qemu, traveller):
    guest = traveller(qemu, cpus=2, args=DIRTYING)
    for _ in range(20):
        guest.go(outlive)
        guest.go(qemu)
    guest.check()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cpus", [1, 4])
def test_fifty_round_trips_with_everything_in_use(outlive, qemu_any, traveller, tmp_path, run_dir, cpus):
    with Echo(run_dir / "echo") as echo:
        guest = traveller(qemu_any, *all_devices(tmp_path, echo), cpus=cpus, memory_mib=128,
                          args=f"{DIRTYING} blk=8 blk_size=1M net=16 net_rate=1000")
        for trip in range(50):
            ways = ({}, {}) if trip % 2 else ({"uri": "tcp:127.0.0.1:4713"}, {"uri": "tcp:127.0.0.1:4714"})
            guest.go(outlive, "return-path", **ways[0])
            guest.go(qemu_any, "return-path", **ways[1])
            if trip % 10 == 9:
                guest.check(devices=True, on_the_way=16 * (guest.stays - 1))


def test_a_guest_comes_and_goes_by_tcp(outlive, qemu_any, traveller):
    guest = traveller(qemu_any, args=DIRTYING)
    guest.go(outlive, uri="tcp:127.0.0.1:4711")
    guest.check()
    guest.go(qemu_any, "return-path", uri="tcp:127.0.0.1:4712")
    guest.check()


def test_a_guest_comes_and_goes_by_a_file(outlive, qemu_any, traveller, tmp_path):
    guest = traveller(qemu_any, args=DIRTYING)
    for target, name in ((outlive, "from-qemu"), (qemu_any, "from-outlive")):
        send(guest.guest.vmm, f"exec:cat > {tmp_path / name}")
        assert ended(guest.guest.vmm)["status"] == "completed"
        there = awaiting(target, name=name, incoming=f"exec:cat {tmp_path / name}", args=DIRTYING)
        assert ended(there.vmm)["status"] == "completed"
        guest.leave(there)
        guest.check()


def test_a_guest_that_is_paused_arrives_paused(outlive, qemu_any, traveller):
    guest = traveller(qemu_any, args=DIRTYING)
    for target in (outlive, qemu_any):
        guest.guest.vmm.qmp.command("stop")
        guest.go(target)
        assert guest.guest.vmm.qmp.command("query-status")["status"] == "paused"
        guest.guest.vmm.qmp.command("cont")
        guest.check()


def test_a_guest_that_qemu_refuses_runs_on(outlive, qemu, traveller):
    guest = traveller(outlive, "-device", "virtio-rng-pci", args=DIRTYING)
    target = qemu.start("-M", "pc-q35-7.2", "-accel", "kvm", "-nodefaults", "-display", "none", "-m", 64,
                        "-cpu", "host,-arch-capabilities", "-incoming", "defer", name="other-machine")
    target.qmp.command("migrate-incoming", uri=f"unix:{target.path('migrate.sock')}")
    switch_on(target, "events")
    send(guest.guest.vmm, f"unix:{target.path('migrate.sock')}", "return-path")
    info = ended(guest.guest.vmm)
    assert info["status"] == "failed" and info["error-desc"], info
    target.wait()
    guest.check()
    guest.go(outlive)
    guest.check()


def test_shared_memory_stays_where_it_is(outlive, qemu_any, traveller, tmp_path):
    (tmp_path / "ram").write_bytes(b"")
    memory = ["-object", f"memory-backend-file,id=m0,size=64M,mem-path={tmp_path / 'ram'},share=on",
              "-machine", "memory-backend=m0"]
    guest = traveller(qemu_any, *memory, args=DIRTYING)
    for target in (outlive, qemu_any):
        there = awaiting(target, *memory, name=f"shared-{target.program}", args=DIRTYING)
        try:
            switch_on(there.vmm, "x-ignore-shared")
            info = move(guest.guest.vmm, there.vmm, "x-ignore-shared")
        except BaseException:
            there.close()
            raise
        guest.leave(there)
        assert info["ram"]["transferred"] < 4 << 20
        guest.check()


def firmware_less(words):
    """Options for a VMM that waits for a guest started by -kernel without firmware: its own firmware isn't run."""
    at = words.index("-kernel")
    return [*words[:at], *words[at + 4:]]


def test_each_side_tells_the_guest_its_generation_id(outlive, qemu_any, witness):
    device = ["-device", "vmgenid"]
    guest = witness(outlive, *device, boot="pvh")
    here, ids = guest, []
    for number, starter in enumerate((qemu_any, outlive)):
        words = [word for word in firmware_less(options(boot="pvh")) if word != "-S"]
        there = Witness(starter.start(*words, *device, "-incoming", "defer", name=f"stay-{number}"))
        move(here.vmm, there.vmm)
        ids.append(there.vmm.qmp.command("query-vm-generation-id")["guid"])
        assert str(uuid.UUID(bytes_le=there.source.read(0x9e028, 16))) == ids[-1]
        if here is not guest:
            here.close()
        here.vmm.quit(60)
        here = there
    check(here)
    here.close()
    assert len(set(ids)) == 2


def test_a_guest_in_a_file_of_qemus_misses_the_saving_not_the_time_in_the_file(outlive, qemu_any, witness, tmp_path):
    """What stops its clocks is told by when the file was written."""
    args = {"memory_mib": 64, "args": "wall=20 rate=off"}
    guest = witness(qemu_any, **args)
    assert abs(missed_s(guest)) < 0.5
    path = tmp_path / "file"
    send(guest.vmm, f"exec:cat > {path}")
    assert ended(guest.vmm)["status"] == "completed"
    was = path.stat()
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns - 20 * 10 ** 9))  # as if it were older
    there = awaiting(outlive, **args)
    there.vmm.qmp.command("migrate-incoming", uri=f"file:{path}")
    assert ended(there.vmm)["status"] == "completed"
    assert missed_s(there) < -15, "its clocks went on by the 20 s, which didn't really go by"
    there.close()
