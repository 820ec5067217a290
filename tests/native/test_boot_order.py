# SPDX-License-Identifier: Apache-2.0
"""What -boot and bootindex= tell the firmware is what QEMU tells it."""
import subprocess

import pytest
from frame import rom
from frame.paths import outlive_vmm
from frame.qmp import QmpError
from frame.wait import until

pytestmark = pytest.mark.usefixtures("kvm")
DISK = ["-blockdev", "driver=null-co,node-name=d{0},size=1048576"]
DEVICES = [
    "-device", "pcie-root-port,id=rp,port=16,chassis=1,addr=6",
    "-device", "virtio-blk-pci,drive=d0,addr=3,bootindex=4",
    "-device", "virtio-blk-pci,drive=d1,addr=4.1,bootindex=2",
    "-device", "virtio-blk-pci,drive=d2,bus=rp,bootindex=7",
    "-device", "virtio-scsi-pci,id=s,addr=5", "-device", "scsi-hd,drive=d3,bus=s.0,scsi-id=3,lun=1,bootindex=1",
    "-device", "virtio-net-pci,romfile=,addr=8,bootindex=3", "-device", "virtio-blk-pci,drive=d4,addr=9",
]
ORDER = (b"/pci@i0cf8/scsi@5/channel@0/disk@3,1\n/pci@i0cf8/scsi@4,1/disk@0,0\n/pci@i0cf8/ethernet@8/ethernet-phy@0\n"
         b"/pci@i0cf8/scsi@3/disk@0,0\n/pci@i0cf8/pci-bridge@6/scsi@0/disk@0,0")


def files(program, tmp_path, *options):
    """The files of fw_cfg as a guest reads them."""
    bios, dump = tmp_path / "bios", tmp_path / "dump"
    bios.write_bytes(rom.fw_cfg_guest())
    vmm = program.start("-M", "pc-q35-7.2", "-nodefaults", "-display", "none", "-m", "32", "-bios", bios,
                        "-chardev", f"file,id=d,path={dump}", "-device", "isa-debugcon,iobase=0x402,chardev=d",
                        *options)
    until(lambda: rom.fw_cfg_files(dump.read_bytes()), 60, "the guest's reading")
    vmm.quit()
    return rom.fw_cfg_files(dump.read_bytes())


def disks(count):
    return [word.format(i) for i in range(count) for word in DISK]


def test_devices_stand_in_the_order_of_their_bootindex(vmm_any, tmp_path):
    seen = files(vmm_any, tmp_path, *disks(5), *DEVICES)
    assert seen["bootorder"] == ORDER + b"\0"


def test_strict_ends_the_order(vmm_any, tmp_path):
    seen = files(vmm_any, tmp_path, *disks(5), *DEVICES, "-boot", "strict=on")
    assert seen["bootorder"] == ORDER + b"\nHALT\0"


def test_nothing_to_boot_from_is_an_empty_order(vmm_any, tmp_path):
    assert files(vmm_any, tmp_path, "-boot", "strict=on")["bootorder"] == b""


def test_menu_splash_and_times(vmm_any, tmp_path):
    picture = tmp_path / "splash.jpg"
    picture.write_bytes(b"\xff\xd8" + bytes(100))
    seen = files(vmm_any, tmp_path, "-boot",
                 f"menu=on,splash={picture},splash-time=5000,reboot-timeout=1000")
    assert seen["etc/boot-menu-wait"] == (5000).to_bytes(2, "little")
    assert seen["etc/boot-fail-wait"] == (1000).to_bytes(4, "little")
    assert seen["bootsplash.jpg"] == picture.read_bytes()


@pytest.mark.parametrize("options,why", [
    (["-boot", "order=cx"], "no drive 'x'"), (["-boot", "once=abcd"], "more than three"),
    (["-boot", "splash-time=70000"], "65535"), (["-boot", "reboot-timeout=-2"], "-1 to"),
    (["-boot", "splash=/dev/null"], "16 MiB"), (["-boot", "splash=/none"], "No such file")])
def test_what_cannot_be_is_refused(options, why):
    done = subprocess.run([outlive_vmm(), "-M", "q35", "-nodefaults", "-display", "none", *options],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert why in done.stderr


def test_a_bootindex_is_given_once(outlive):
    vmm = outlive.start("-M", "q35", "-nodefaults", "-display", "none", "-S", *disks(2),
                        "-device", "pcie-root-port,id=rp,port=16,chassis=1",
                        "-device", "virtio-blk-pci,drive=d0,bootindex=1")
    with pytest.raises(QmpError, match="bootindex 1"):
        vmm.qmp.command("device_add", driver="virtio-blk-pci", drive="d1", bus="rp", bootindex=1)
    assert vmm.qmp.command("query-status")["status"] == "prelaunch"
