# SPDX-License-Identifier: Apache-2.0
"""What a guest reads from its keyboard when send-key types is what it reads on QEMU."""
import os
import re
import signal

import pytest

from frame.live import PATIENT, vmms
from frame.paths import ROOT
from frame.qmp import QmpError
from frame.rom import keyboard_guest
from frame.wait import until
from frame.witness import MACHINE

TABLE = (ROOT / "src/device/ps2_keys.c").read_text(encoding="utf-8")
ROWS = re.findall(r'\t\{"(\w+)", 0x(\w+), 0x\w+, 0x\w+\},', TABLE)
# What fits into a keyboard's 16 bytes, together with the Escape that follows.
COMBINATIONS = (("ctrl", "alt", "delete"), ("alt", "print"), ("shift_r", "print"), ("ctrl", "pause"), ("pause",),
                ("print",))
MODES = {  # mode of the controller, commands to the keyboard, what it says of Escape
    "set 1 by translation": (0x40, (), b"\x01\x81"),
    "set 2": (0x00, (), b"\x76\xf0\x76"),
    "set 3": (0x00, (0xf0, 3), b"\x08\xf0\x08"),
}


class Typist:
    """A guest that shows what it reads."""

    def __init__(self, program, folder, mode):
        folder.mkdir()
        controller, commands, self.escape = MODES[mode]
        self.dump = folder / "dump"
        (folder / "rom").write_bytes(keyboard_guest(controller, *commands))
        self.vmm = program.start(*MACHINE, "-bios", folder / "rom", "-chardev", f"file,id=d,path={self.dump}",
                                 "-device", "isa-debugcon,iobase=0x402,chardev=d")
        until(lambda: self.dump.exists() and b"R" in self.dump.read_bytes(), 60, "the guest is ready")
        self.seen = 1

    def press(self, *keys):
        """Send keys, by name or number."""
        self.vmm.qmp.raw("send-key", {"hold-time": 1, "keys": [
            {"type": "number" if isinstance(key, int) else "qcode", "data": key} for key in keys]})

    def type(self, *keys):
        """What the guest reads for keys, which Escape follows."""
        def new():
            data = self.dump.read_bytes()[self.seen:]
            return data if data.endswith(self.escape) else None
        self.press(*keys)
        self.press("esc")
        data = until(new, 60, f"the guest reads {keys}")
        self.seen += len(data)
        return data.hex(" ")


@pytest.mark.parametrize("every", [16, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("mode", MODES)
def test_keys_and_numbers_are_typed_as_on_qemu(mode, every, outlive, qemu, kvm, tmp_path):
    ours, theirs = (Typist(one, tmp_path / one.program.name, mode) for one in (outlive, qemu))
    wanted = [(name,) for name, _ in ROWS[::every]] + [(int(number, 16),) for _, number in ROWS[1::every]]
    assert len(wanted) > 290 / every
    if mode == "set 1 by translation":
        wanted.append(("alt_r", "print"))
    wanted = [keys for keys in wanted + list(COMBINATIONS) if keys not in (("esc",), (1,))]  # which ends each
    assert {keys: ours.type(*keys) for keys in wanted} == {keys: theirs.type(*keys) for keys in wanted}


def test_ctrl_alt_delete_goes_down_in_order_and_up_the_other_way(outlive, kvm, tmp_path):
    typist = Typist(outlive, tmp_path / "guest", "set 1 by translation")
    assert typist.type("ctrl", "alt", "delete") == "1d 38 e0 53 e0 d3 b8 9d 01 81"
    assert typist.type(0x1d, 0x38, 0xd3) == "1d 38 e0 53 e0 d3 b8 9d 01 81"


def test_keys_that_are_down_when_the_guest_is_upgraded_go_up(outlive, kvm, tmp_path):
    typist = Typist(outlive, tmp_path / "guest", "set 1 by translation")
    vmm = typist.vmm
    vmm.qmp.raw("send-key", {"hold-time": 60000, "keys": [{"type": "qcode", "data": key} for key in ("ctrl", "c")]})
    until(lambda: typist.dump.read_bytes()[1:] == b"\x1d", 60, "the first key is down")
    try:
        vmm.qmp.command("outlive-upgrade", **PATIENT)
        until(lambda: typist.dump.read_bytes()[1:] == b"\x1d\x2e\xae\x9d", 60, "all keys are up")
    finally:
        for pid in vmms():
            os.kill(pid, signal.SIGKILL)


def test_a_key_that_is_none_is_refused_by_name(outlive, kvm):
    vmm = outlive.start(*MACHINE, "-S")
    with pytest.raises(QmpError, match="there is no key 'crtl'.*ctrl"):
        vmm.qmp.raw("send-key", {"keys": [{"type": "qcode", "data": "crtl"}]})
    with pytest.raises(QmpError, match="no key with number 300"):
        vmm.qmp.raw("send-key", {"keys": [{"type": "number", "data": 300}]})
    with pytest.raises(QmpError, match="number.* is expected"):
        vmm.qmp.raw("send-key", {"keys": [{"type": "number", "data": "ctrl"}]})
