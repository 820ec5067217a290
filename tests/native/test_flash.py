# SPDX-License-Identifier: Apache-2.0
"""Firmware in flash chips: commands as QEMU's chips take them, what is written stays in the image."""
import socket
import subprocess

import pytest
from frame import flash, rom
from frame.paths import outlive_vmm
from frame.live import PATIENT, vmms
from frame.wait import until

pytestmark = pytest.mark.usefixtures("kvm")
V = flash.VARIABLES


def commands():
    """A program of all commands, and what it reads."""
    code = rom.Flat(0x402)
    code.write(V, flash.QUERY).put(V + 0x10, 3).put(V + 0x27).put(V + 0x2d).write(V, flash.READ)
    code.write(V + 0x1234, flash.ERASE, flash.CONFIRM).put(V).write(V, flash.READ).put(V + 0x1fff).put(V + 0xfff)
    flash.program(code, 0x1000, b"kept").put(V + 0x1000, 4)
    code.write(V, flash.PROGRAM, 0x6f, flash.STATUS).put(V).write(V, 0x50)
    code.write(V + 0x2000, flash.BUFFER, 3)
    for i, byte in enumerate(b"four"):
        code.write(V + 0x2000 + i, byte)
    code.write(V + 0x2000, flash.CONFIRM).put(V).write(V, flash.READ).put(V + 0x2000, 5)
    return code, b"QRY" + b"\x10\x0f" + flash.READY + b"\xff!" + b"kept" + flash.READY + flash.READY + b"fouro"


def test_commands_do_what_they_do_on_qemu_and_the_image_has_the_result(vmm_any, tmp_path):
    code, want = commands()
    guest = flash.FlashGuest(tmp_path, code)
    vmm = vmm_any.start(*guest.options(tmp_path / "dump"))
    flash.said(tmp_path / "dump", want)
    vmm.quit()
    image = guest.variables.read_bytes()
    assert image[0x1000:0x2000] == b"kept".ljust(4096, b"\xff")
    assert image[0x2000:0x2008] == b"fourold!"
    assert image[:0x1000] == b"old!" * 1024


def test_nodes_and_machine_properties_name_the_chips(outlive, tmp_path):
    code, want = commands()
    guest = flash.FlashGuest(tmp_path, code)
    outlive.start("-M", "q35,pflash0=c,pflash1=v", "-nodefaults", "-display", "none", "-m", "32",
                  "-blockdev", f"driver=file,node-name=c,read-only=on,filename={guest.code}",
                  "-blockdev", f"driver=raw,node-name=v,file.driver=file,file.filename={guest.variables}",
                  "-chardev", f"file,id=d,path={tmp_path}/dump", "-device", "isa-debugcon,iobase=0x402,chardev=d")
    flash.said(tmp_path / "dump", want)


def test_a_read_only_image_says_so_in_the_status(outlive, tmp_path):
    code = rom.Flat(0x402).write(V, flash.PROGRAM, 1).put(V).write(V, flash.READ).put(V)
    guest = flash.FlashGuest(tmp_path, code)
    options = [f"{word},readonly=on" if "unit=1" in str(word) else word for word in guest.options(tmp_path / "dump")]
    outlive.start(*options)
    flash.said(tmp_path / "dump", b"\x90o")
    assert guest.variables.read_bytes()[:4] == b"old!"


def test_an_upgrade_in_the_middle_of_a_command(outlive, tmp_path):
    """The chip answers queries before and after; what is programmed afterwards is in the image."""
    code = rom.Flat(0x402).write(V, flash.QUERY).put(V + 0x10).wait().put(V + 0x11).write(V, flash.READ)
    flash.program(code, 0, b"new").put(V, 4)
    guest = flash.FlashGuest(tmp_path, code)
    vmm = outlive.start(*guest.options(tmp_path / "dump"))
    flash.said(tmp_path / "dump", b"Q")
    vmm.qmp.command("outlive-upgrade", binary=str(outlive_vmm()), **PATIENT)
    with socket.socket(socket.AF_UNIX) as serial:
        serial.connect(vmm.path("serial"))
        serial.send(b"x")
        flash.said(tmp_path / "dump", b"QRnew!")
    assert guest.variables.read_bytes()[:4] == b"new!"
    vmm.qmp.command("quit")
    until(lambda: not vmms(), 60, "the new process ends")


@pytest.mark.parametrize("options,why", [
    (["-M", "q35,pflash1=v"], "pflash0"), (["-M", "q35,pflash0=none"], "no node 'none'"),
    (["-M", "q35,pflash0=odd"], "multiple of 4096"), (["-M", "q35,pflash0=large"], "larger than"),
    (["-M", "q35,pflash0=v", "-bios", "x"], "in flash"),
    (["-M", "q35,pflash0=v", "-global", "driver=cfi.pflash01,property=secure,value=on"], "system management"),
    (["-M", "q35", "-global", "pflash.secure=on"], "no driver 'pflash'"),
    (["-M", "q35", "-global", "kvm-pit.lost_tick_policy=slew"], "lost_tick_policy")])
def test_what_cannot_be_is_refused(options, why):
    nodes = [f"driver=null-co,node-name={name},size={size}" for name, size in
             (("v", 65536), ("odd", 5001 * 512), ("large", 16 << 20))]
    done = subprocess.run([outlive_vmm(), "-nodefaults", "-display", "none", *options,
                           *[word for node in nodes for word in ("-blockdev", node)]],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert why in done.stderr
