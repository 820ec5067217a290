# SPDX-License-Identifier: Apache-2.0
"""SMBIOS types 8 and 11, -rtc base=, NMIs of running vCPUs, -fw_cfg that says nothing, C-a x."""
import socket
import subprocess
import time

import pytest
from frame import rom
from frame.paths import outlive_vmm
from frame.wait import until

pytestmark = pytest.mark.usefixtures("kvm")
SMBIOS = "etc/smbios/smbios-tables"


def started(program, tmp_path, image, *options):
    """A guest from a ROM, and the file its port 0x402 goes to."""
    bios, dump = tmp_path / "bios", tmp_path / "dump"
    bios.write_bytes(image)
    vmm = program.start("-M", "pc-q35-7.2", "-nodefaults", "-display", "none", "-m", "32", "-bios", bios,
                        "-chardev", f"file,id=d,path={dump}", "-device", "isa-debugcon,iobase=0x402,chardev=d",
                        *options)
    return vmm, dump


def structures(table, kinds):
    """The SMBIOS structures of some types, as bytes."""
    found, at = [], 0
    while at < len(table):
        end = table.index(b"\0\0", at + table[at + 1]) + 2
        if table[at] in kinds:
            found.append(table[at:end])
        at = end
    return found


def test_connectors_and_oem_strings_are_as_qemu_writes_them(outlive, qemu, tmp_path):
    text = tmp_path / "text"
    text.write_text("from a file")
    options = ["-smbios", "type=8,internal_reference=J1,external_reference=USB1,connector_type=0x12,port_type=0x10",
               "-smbios", "type=8,internal_reference=J2,connector_type=7",
               "-smbios", "type=11,value=one,value=two", "-smbios", f"type=11,value=three,path={text}"]
    seen = []
    for name, program in (("ours", outlive), ("theirs", qemu)):
        folder = tmp_path / name
        folder.mkdir()
        vmm, dump = started(program, folder, rom.fw_cfg_guest(), *options)
        until(lambda dump=dump: rom.fw_cfg_files(dump.read_bytes()), 60, "the guest's reading")
        vmm.quit()
        seen.append(structures(rom.fw_cfg_files(dump.read_bytes())[SMBIOS], (8, 11)))
    assert len(seen[0]) == 3 and seen[0] == seen[1]


def test_the_clock_starts_where_rtc_says(vmm_any, tmp_path):
    image = rom.cmos_guest(0x32, 0x09, 0x08, 0x07, 0x04)
    _, dump = started(vmm_any, tmp_path, image, "-rtc", "base=2001-02-03T04:05:06")
    until(lambda: len(dump.read_bytes()) == 5, 60, "the guest's reading")
    assert dump.read_bytes().hex() == "2001020304"


@pytest.mark.parametrize("base", ["utc", "2001-02-03T04:05:06"])
def test_a_guest_that_sets_its_clock_is_told_of_from_where_rtc_says(vmm_any, tmp_path, base):
    """By years, at which a second matters little: libvirt starts the guest there the next time."""
    years = 2031 - (time.gmtime().tm_year if base == "utc" else 2001)
    vmm, _ = started(vmm_any, tmp_path, rom.cmos_set_guest(9, 0x31), "-rtc", f"base={base}", "-S")
    vmm.qmp.command("cont")
    told = vmm.qmp.wait_event("RTC_CHANGE", timeout=60)["data"]
    assert round(told["offset"] / 86400 / 365.25) == years and told["qom-path"].startswith("/machine/"), told


def test_an_nmi_reaches_a_vcpu_that_never_leaves_the_guest(outlive, tmp_path):
    vmm, dump = started(outlive, tmp_path, rom.nmi_guest())
    until(lambda: dump.read_bytes() == b"R", 60, "the guest")
    for count in (1, 2):
        vmm.qmp.command("inject-nmi")
        until(lambda count=count: dump.read_bytes() == b"R" + b"N" * count, 60, "the NMI")
    vmm.qmp.command("stop")
    vmm.qmp.command("inject-nmi")
    vmm.qmp.command("cont")
    until(lambda: dump.read_bytes() == b"RNNN", 60, "the NMI of a stopped guest")


@pytest.mark.parametrize("options,why", [
    (["-fw_cfg", "name=opt/x"], "file= or string="), (["-fw_cfg", "name=opt/x,string=a,file=/dev/null"], "file= or"),
    (["-rtc", "base=yesterday"], "yesterday"), (["-smbios", "type=11,path=/none"], "No such file")])
def test_what_makes_no_sense_is_refused(options, why):
    done = subprocess.run([outlive_vmm(), "-nodefaults", "-display", "none", *options],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and why in done.stderr


def test_c_a_x_on_a_mux_ends_the_vmm(outlive, kvm):
    vmm = outlive.start("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none",
                        "-m", 64, "-S", "-chardev", "socket,id=m,path=@RUN@/mux,server=on,wait=off,mux=on",
                        "-serial", "chardev:m")
    with socket.socket(socket.AF_UNIX) as console:
        console.connect(vmm.path("mux"))
        console.sendall(b"\x01x")
        assert vmm.qmp.wait_event("SHUTDOWN", timeout=60)["data"] == {"guest": False, "reason": "host-qmp-quit"}
        assert vmm.wait() == 0
