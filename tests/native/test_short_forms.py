# SPDX-License-Identifier: Apache-2.0
"""Short forms of options that make several things at once."""
import pathlib
import socket
import subprocess

import pytest

from frame.paths import BUILD, outlive_vmm

START = ("-M", "q35", "-nodefaults", "-display", "none", "-m", 64, "-S")


@pytest.fixture(name="tap")
def _tap():
    subprocess.run("ip tuntap add oltap0 mode tap".split(), check=True)
    yield "oltap0"
    subprocess.run("ip link delete oltap0".split(), check=True)


def test_nic_makes_a_device_on_a_network(outlive, tap, kvm):
    vmm = outlive.start(*START, "-nic", f"tap,ifname={tap},script=no,downscript=no,model=virtio,mac=52:54:00:11:22:33",
                        "-nic", "none")
    filters = vmm.qmp.command("query-rx-filter")
    assert [one["main-mac"] for one in filters] == ["52:54:00:11:22:33"]
    subprocess.run(["ip", "link", "set", tap, "up"], check=True)
    shown = subprocess.run(["ip", "link", "show", tap], check=True, capture_output=True, text=True).stdout
    assert "NO-CARRIER" not in shown, "nobody is at the tap"


@pytest.mark.parametrize("cache, volatile", [("writeback", True), ("writethrough", False), ("none", True),
                                             ("directsync", False)])
def test_cache_of_drive_is_the_disks(outlive, tmp_path, kvm, cache, volatile):
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    vmm = outlive.start(*START, "-drive", f"file={tmp_path / 'disk'},format=raw,if=none,id=d,cache={cache}",
                        "-device", "virtio-blk,drive=d,id=disk")
    status = vmm.qmp.command("query-block")[0]["inserted"]["cache"]
    assert status["writeback"] == volatile


def test_nowait_is_wait_off(outlive, run_dir, kvm):
    outlive.start(*START, "-chardev", f"socket,id=c,path={run_dir}/c.sock,server,nowait", "-mon", "c,mode=control")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{run_dir}/c.sock")
        assert b"QMP" in client.recv(4096)


QCOW2 = b"QFI\xfb\0\0\0\3"


def test_an_image_that_is_not_raw_is_no_raw_disk(tmp_path):
    image = tmp_path / "debian.qcow2"
    image.write_bytes(QCOW2 + bytes(4096))
    for words in ((outlive_vmm(), *map(str, START), "-drive", f"file={image},if=virtio"),
                  (pathlib.Path(BUILD, "src", "cli", "outlive"), "run", "web", "--dry-run", "--disk", image)):
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode and "debian.qcow2 is a qcow2 image" in done.stderr and "qemu-img convert" in done.stderr


def test_format_raw_takes_an_image_as_it_is(outlive, tmp_path, kvm):
    (tmp_path / "image").write_bytes(QCOW2 + bytes(4096))
    outlive.start(*START, "-drive", f"file={tmp_path / 'image'},if=virtio,format=raw")
