# SPDX-License-Identifier: Apache-2.0
"""A guest that sleeps (ACPI S3) and what wakes it, as on QEMU; it sleeps on over an upgrade and a move."""
import pytest
from frame import moving, rom
from frame.live import PATIENT
from frame.qemu import HOST_CPU
from frame.wait import until

pytestmark = pytest.mark.usefixtures("kvm")
COLD, RESUMED = b"c", b"r"


def sleeper(kind):
    """A ROM that says whether it resumes, by CMOS, and its PM1 status then; from a cold start it goes to sleep."""
    resume = bytes.fromhex("ba0204 b072 ee"                     # mov dx, 0x402; 'r'
                           "ba0006 ed ba0204 ee 88e0 ee f4ebfd")  # in ax, 0x600; both bytes; halt
    cold = bytes.fromhex("ba0204 b063 ee") + rom.out32(0x604, 0x2000 | kind << 10) + bytes.fromhex("f4ebfd")
    code = rom.out32(0xcf8, 0x8000f840) + rom.out32(0xcfc, 0x601)            # PMBASE
    code += rom.out32(0xcf8, 0x8000f844) + rom.out32(0xcfc, 0x80)            # ACPI_CNTL
    code += bytes.fromhex("b00f e670 e471 3cfe 75") + bytes([len(resume)])  # CMOS 0x0f is 0xfe? else jump
    code += resume + cold
    back = rom.CODE_AT - (rom.VECTOR + 3)
    return rom.rom({rom.CODE_AT: code, rom.VECTOR: b"\xe9" + (back & 0xFFFF).to_bytes(2, "little")})


def started(program, tmp_path, kind, *more, name="guest"):
    """The guest and the file it writes to."""
    bios, dump = tmp_path / "bios", tmp_path / name
    bios.write_bytes(sleeper(kind))
    vmm = program.start("-M", "pc-q35-7.2,smm=off", "-accel", "kvm", "-cpu", HOST_CPU, "-nodefaults",
                        "-display", "none", "-m", 32, "-bios", bios, "-chardev", f"file,id=d,path={dump}",
                        "-device", "isa-debugcon,iobase=0x402,chardev=d", *more, name=name)
    return vmm, dump


def asleep(vmm):
    """Wait until the guest sleeps."""
    until(lambda: vmm.qmp.command("query-status")["status"] == "suspended", 60, "the guest sleeps")


def woken(vmm, dump, before=COLD):
    """Wake the guest; firmware finds a guest to go on with, and the power button as the reason."""
    vmm.qmp.command("system_wakeup")
    vmm.qmp.wait_event("WAKEUP", timeout=60)
    until(lambda: len(dump.read_bytes()) == len(before) + 3, 60, "the guest's resume")
    status = int.from_bytes(dump.read_bytes()[-2:], "little")
    assert dump.read_bytes()[:-2] == before + RESUMED and status & 0x8100 == 0x8100
    assert vmm.qmp.command("query-status")["status"] == "running"


def test_a_guest_sleeps_and_is_woken(vmm_any, tmp_path):
    vmm, dump = started(vmm_any, tmp_path, 1)
    asleep(vmm)
    assert not vmm.qmp.command("query-status")["running"]
    vmm.qmp.command("cont")
    assert vmm.qmp.command("query-status")["status"] == "suspended"
    woken(vmm, dump)


def test_a_sleeping_guest_sleeps_on_over_an_upgrade(outlive, tmp_path):
    vmm, dump = started(outlive, tmp_path, 1)
    asleep(vmm)
    vmm.qmp.command("outlive-upgrade", **PATIENT)
    assert vmm.qmp.command("query-status")["status"] == "suspended"
    vmm.qmp.command("stop")
    assert vmm.qmp.command("query-status")["status"] == "paused"
    vmm.qmp.command("cont")
    assert vmm.qmp.command("query-status")["status"] == "suspended"
    woken(vmm, dump)
    vmm.quit()


@pytest.mark.parametrize("to", ["outlive", "qemu"])
def test_a_sleeping_guest_sleeps_on_over_a_move(request, outlive, tmp_path, to):
    source, _ = started(outlive, tmp_path, 1, name="source")
    asleep(source)
    target, dump = started(request.getfixturevalue(to), tmp_path, 1, "-incoming", "defer", name="target")
    moving.move(source, target)
    asleep(target)
    woken(target, dump, before=b"")


def test_suspend_to_disk_is_told_and_powers_off(vmm_any, tmp_path):
    vmm, dump = started(vmm_any, tmp_path, 2, "-no-shutdown", "-S")
    vmm.qmp.command("cont")
    vmm.qmp.wait_event("SUSPEND_DISK", timeout=60)
    assert vmm.qmp.wait_event("SHUTDOWN", timeout=60)["data"] == {"guest": True, "reason": "guest-shutdown"}
    assert dump.read_bytes() == COLD
