# SPDX-License-Identifier: Apache-2.0
"""Debian's kernels under outlive-vmm, on an emulated KVM host.

OUTLIVE_SOAK=1 runs all kernels, vCPU counts and ways to boot, and many reboots; without it a few that
meet every part once.
"""
import os
import pathlib
import re
import shutil

import pytest
from frame import linux
from frame.paths import outlive_vmm

from lab import bootdisk, image

SOAK = bool(os.environ.get("OUTLIVE_SOAK"))
UP = f"{image.MARK} up"
END = f"{image.MARK} exit"
OVMF = pathlib.Path("/usr/share/ovmf/OVMF.fd")
OVMF_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
SECURE = ("-machine", "smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on")
ALL = [(series, flavour, cpus, boot) for series in ("6.1", "6.12") for flavour in ("cloud", "generic")
       for cpus in (1, 2, 8) for boot in ("pvh", "bzimage", "seabios", "ovmf")]
FEW = [("6.1", "cloud", 1, "pvh"), ("6.12", "cloud", 8, "bzimage"), ("6.1", "cloud", 2, "seabios")]

pytestmark = pytest.mark.skipif(not outlive_vmm().exists(), reason="outlive-vmm isn't built")


@pytest.fixture
def host(lab):
    """An emulated KVM host with a tap."""
    made = lab(memory=2560)
    linux.make_tap(made)
    return made


@pytest.mark.timeout(600)
@pytest.mark.parametrize("series,flavour,cpus,boot", ALL if SOAK else FEW)
def test_debian_reaches_user_space_and_powers_off(lab, series, flavour, cpus, boot):
    host = lab(memory=2560)
    guest_image = image.guest_image(series, flavour)
    script = "grep -c ^processor /proc/cpuinfo; dmesg -r | grep '^<[0-3]>'"
    if boot in ("seabios", "ovmf"):
        words = guest_image.command_line(script, image.FAST)
        options = linux.disk(bootdisk.boot_disk(host.work / "boot.img", guest_image, words, mib=96))
        options += ["-bios", OVMF] if boot == "ovmf" else []
    else:
        options = linux.kernel(guest_image, script, boot=boot)
    guest = linux.Guest(host, [*linux.machine(cpus, 640), *options, "-no-reboot"])
    assert guest_image.release in guest.expect(UP, timeout=360)
    said = guest.expect(END)
    assert re.search(rf"^{cpus}\r?$", said, re.M), said
    assert guest.wait() == 0


@pytest.mark.timeout(400)
def test_disk_keeps_its_file_over_a_reboot_and_the_nic_answers(host):
    disk = host.work / "data.img"
    image.make_disk(disk, 32)
    script = ("if [ -e /mnt/file ]; then md5sum -c /mnt/sum && echo KEPT; poweroff -f; fi; "
              "dd if=/dev/urandom of=/mnt/file bs=64k count=96 2>/dev/null; md5sum /mnt/file >/mnt/sum; "
              "ping -c 3 -q 10.77.1.1; umount /mnt; reboot -f")
    words = "guest.mount=vda:/mnt guest.ip=eth0:10.77.1.2/24"
    host.run(f"cp {disk} /tmp/data.img")
    guest = linux.Guest(host, [*linux.machine(2), *linux.kernel(image.guest_image("6.1"), script, words),
                               *linux.disk("/tmp/data.img"), *linux.tap()])
    guest.expect(UP)
    assert " 0% packet loss" in guest.expect("packet loss")
    guest.expect(UP)
    assert "/mnt/file: OK" in guest.expect("KEPT")
    assert guest.wait() == 0
    assert guest.output().count("triple fault, the guest is reset") == 1  # by "reboot=t"


@pytest.mark.timeout(300)
def test_shell_on_the_console_and_the_power_button(host):
    script = ("sh -i; button=$(grep -l 'Power Button' /sys/class/input/event*/device/name | cut -d/ -f5); "
              "echo shell ended, waiting for $button; head -c 24 /dev/input/$button >/dev/null; "
              "echo pressed; poweroff -f")
    guest = linux.Guest(host, [*linux.machine(1), *linux.kernel(image.guest_image("6.1"), script)])
    guest.expect(UP)
    guest.type("echo $((6 * 7)) from the guest")
    guest.expect("42 from the guest")
    guest.type("exit")
    guest.expect("shell ended, waiting for event")
    assert '"running": true' in guest.qmp("query-status")
    guest.qmp("system_powerdown")
    guest.expect("pressed", 60)
    assert guest.wait() == 0


VARIABLE = "Outlive-5f3c2d1e-0000-4000-8000-0123456789ab"
WRITE_VARIABLE = ("mount -t efivarfs e /sys/firmware/efi/efivars; cd /sys/firmware/efi/efivars; "
                  f"if [ -e {VARIABLE} ]; then echo KEPT $(tail -c +5 {VARIABLE}); poweroff -f; fi; "
                  f"printf '\\007\\000\\000\\000stays' >{VARIABLE}; echo WRITTEN; sync; poweroff -f")


@pytest.mark.soak
@pytest.mark.skipif(not OVMF.exists(), reason="no OVMF (apt-get install ovmf)")
@pytest.mark.parametrize("code, options", [("OVMF_CODE_4M.fd", ()), ("OVMF_CODE_4M.secboot.fd", SECURE)])
@pytest.mark.timeout(1500)
def test_debian_boots_by_uefi_from_flash_and_its_variables_stay(lab, code, options):
    """Also with firmware that keeps them in system management mode, which alone may write the flash."""
    host = lab(memory=2560)
    guest_image = image.guest_image("6.1")
    shutil.copy(OVMF_VARS, host.work / "vars.fd")
    disk = bootdisk.boot_disk(host.work / "boot.img", guest_image,
                              guest_image.command_line(WRITE_VARIABLE, f"{image.FAST} guest.load=efivarfs"), mib=96)
    flash = ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/{code}",
             "-drive", f"if=pflash,unit=1,format=raw,file={host.work}/vars.fd"]
    for word in ("WRITTEN", "KEPT stays"):
        guest = linux.Guest(host, [*linux.machine(2, 512), *options, *flash, *linux.disk(disk)])
        guest.expect(word, timeout=600)
        assert guest.wait() == 0
    assert "Outlive".encode("utf-16-le") in (host.work / "vars.fd").read_bytes()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_reboots_a_hundred_times(host):
    guest = linux.Guest(host, [*linux.machine(2), *linux.kernel(image.guest_image("6.1"), words="guest.end=reboot")])
    for _ in range(100):
        guest.expect(UP)
    guest.qmp("quit")
    assert guest.wait() == 0
