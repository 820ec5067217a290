# SPDX-License-Identifier: Apache-2.0
"""A disk without space: the guest stops where werror says so, and each request is done when there is some."""
import subprocess

import pytest
from frame.live import live, vmms  # noqa: F401
from frame.moving import awaiting, move
from frame.paths import outlive_vmm
from frame.wait import until

pytestmark = pytest.mark.usefixtures("kvm")
MOVES = {"memory_mib": 64, "args": "blk=32 blk_size=16M rate=off"}
ARGS = {**MOVES, "boot": "pvh"}
MIB = 1 << 20


@pytest.fixture
def space(tmp_path):
    """A file system of 2 MiB with a disk of 32 MiB on it."""
    class Space:
        """Where the disk is."""
        folder = tmp_path / "space"
        disk = folder / "disk"

        def grow(self):
            """Make room for the whole disk."""
            subprocess.run(["mount", "-o", "remount,size=64M", self.folder], check=True)

        def options(self, werror=None):
            """Options of a guest with the disk."""
            more = f",werror={werror}" if werror else ""
            return ["-drive", f"file={self.disk},if=none,id=d0,format=raw",
                    "-device", f"virtio-blk-pci,drive=d0,num-queues=2{more}"]
    made = Space()
    made.folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2M", "none", made.folder], check=False)
    if mounted.returncode:
        pytest.skip("can't mount a tmpfs")
    with open(made.disk, "wb") as file:
        file.truncate(32 * MIB)
    yield made
    subprocess.run(["umount", "-l", made.folder], check=True)


def stopped(vmm):
    """Wait until the guest stops for want of space."""
    event = vmm.qmp.wait_event("BLOCK_IO_ERROR", timeout=60)["data"]
    assert event["operation"] == "write" and event["nospace"] and event["action"] == "stop", event
    until(lambda: vmm.qmp.command("query-status")["status"] == "io-error", 60, "the guest stops")


def goes_on(guest):
    """Nothing was lost or torn, and requests go on."""
    done = guest.report()["device"][0]["in"]
    now = guest.wait(lambda now: now["device"][0]["in"] > done + 200)
    assert now["device"][0]["bad"] == now["device"][0]["lost"] == 0, now


def test_a_full_disk_stops_the_guest_until_there_is_space(witness, outlive, space):
    guest = witness(outlive, *space.options(), **ARGS)
    stopped(guest.vmm)
    disk = guest.vmm.qmp.command("query-block")[0]
    assert disk["io-status"] == "nospace"
    guest.vmm.qmp.take_events()
    guest.vmm.qmp.command("cont")
    stopped(guest.vmm)
    space.grow()
    guest.vmm.qmp.command("cont")
    goes_on(guest)
    assert guest.vmm.qmp.command("query-block")[0]["io-status"] == "ok"


def test_what_waits_for_space_goes_along_in_an_upgrade(live, space):
    guest = live(*space.options("stop"), **ARGS)
    vmm = guest.witness.vmm
    stopped(vmm)
    guest.upgrade()
    assert vmm.qmp.command("query-status")["status"] == "io-error"
    space.grow()
    vmm.qmp.command("cont")
    goes_on(guest.witness)


@pytest.mark.parametrize("way", ["there", "back"])
def test_what_waits_for_space_goes_along_to_another_vmm(witness, outlive, qemu_any, space, way):
    first, second = (outlive, qemu_any) if way == "there" else (qemu_any, outlive)
    guest = witness(first, *space.options(), **MOVES)
    stopped(guest.vmm)
    target = awaiting(second, *space.options(), **MOVES)
    move(guest.vmm, target.vmm)
    guest.close()
    guest.vmm.quit()
    space.grow()
    assert target.vmm.qmp.command("query-status")["status"] in ("io-error", "paused")
    target.vmm.qmp.command("cont")
    goes_on(target)
    target.close()


def test_report_lets_the_guest_see_the_error(witness, outlive, space):
    guest = witness(outlive, *space.options("report"), **ARGS)
    event = guest.vmm.qmp.wait_event("BLOCK_IO_ERROR", timeout=60)["data"]
    assert event["action"] == "report", event
    assert guest.vmm.qmp.command("query-status")["status"] == "running"


def test_drive_says_what_its_device_does(witness, outlive, space):
    guest = witness(outlive, "-drive", f"file={space.disk},if=none,id=d0,format=raw,werror=ignore",
                    "-device", "virtio-blk-pci,drive=d0", **ARGS)
    event = guest.vmm.qmp.wait_event("BLOCK_IO_ERROR", timeout=60)["data"]
    assert event["action"] == "ignore", event


@pytest.mark.parametrize("option", ["rerror=enospc", "werror=perhaps"])
def test_a_policy_that_is_none_is_refused(tmp_path, option):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(MIB))
    done = subprocess.run([outlive_vmm(), "-nodefaults", "-display", "none", "-drive", f"file={disk},{option}"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and option.split("=")[1] in done.stderr
    assert not vmms()
