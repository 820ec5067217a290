# SPDX-License-Identifier: Apache-2.0
"""Memory that firmware hides from the guest (SMRAM), as on QEMU, and on its way to other processes; -machine smm=.

What runs in system management mode is in tests/lab/test_smm.py: not each host's KVM has it.
"""
import fcntl
import os
import socket
import subprocess

import pytest
from frame import moving, rom
from frame.live import PATIENT
from frame.paths import outlive_vmm
from frame.qemu import HOST_CPU

pytestmark = pytest.mark.usefixtures("kvm")
# 0xa0000 and TSEG, before and after they are locked; without VGA the first is seen by all
HIDDEN = b"AaA-\n"


class Console:
    """The guest's serial port, from its first byte."""

    def __init__(self, vmm):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(vmm.path("con")))
        self.socket.settimeout(60)
        self.said = b""

    def line(self):
        """What came up to the next line's end."""
        while b"\n" not in self.said:
            more = self.socket.recv(100)
            assert more, self.said
            self.said += more
        line, self.said = self.said.split(b"\n", 1)
        return line + b"\n"

    def ask(self, letter):
        """What the guest says to a letter."""
        self.socket.sendall(letter)
        return self.line()


@pytest.fixture
def console():
    """console(vmm): its serial port."""
    opened = []

    def connect(vmm):
        opened.append(Console(vmm))
        return opened[-1]
    yield connect
    for one in opened:
        one.socket.close()


def options(tmp_path, *more):
    """The machine, whose console is the socket "con"."""
    bios = tmp_path / "bios"
    if not bios.exists():
        bios.write_bytes(rom.smm_guest(tmp_path))
    return ["-M", "pc-q35-7.2,smm=off", "-accel", "kvm", "-cpu", HOST_CPU, "-nodefaults",
            "-display", "none", "-m", 32, "-bios", bios, "-chardev", "socket,id=c,path=@RUN@/con,server=on,wait=off",
            "-serial", "chardev:c", *more]


def started(program, console, tmp_path, name="guest"):
    """The guest and its console, once it has said what it sees."""
    vmm = program.start(*options(tmp_path, "-S"), name=name)
    port = console(vmm)
    vmm.qmp.command("cont")
    assert port.line() == HIDDEN
    return vmm, port


@pytest.mark.parametrize("which", ["outlive", "qemu"])  # newer QEMU hides nothing with smm=off
def test_hidden_memory_is_hidden_as_on_qemu(request, console, tmp_path, which):
    _, port = started(request.getfixturevalue(which), console, tmp_path)
    assert port.ask(b"x") == b"]-\n", "there is nobody to take the SMI, and TSEG stays hidden"


def test_hidden_memory_stays_hidden_over_an_upgrade(outlive, console, tmp_path):
    vmm, port = started(outlive, console, tmp_path)
    vmm.qmp.command("outlive-upgrade", **PATIENT)
    assert port.ask(b"x") == b"]-\n"
    vmm.quit()


@pytest.mark.parametrize("way", ["there", "back"])
def test_hidden_memory_stays_hidden_over_a_move(outlive, qemu, console, tmp_path, way):
    first, second = (outlive, qemu) if way == "there" else (qemu, outlive)
    source, _ = started(first, console, tmp_path, name="source")
    target = second.start(*options(tmp_path, "-incoming", "defer"), name="target")
    moving.move(source, target)
    assert console(target).ask(b"x") == b"]-\n"


def has_smm():
    """Whether this host's KVM has system management mode."""
    kvm = os.open("/dev/kvm", os.O_RDWR)
    has = fcntl.ioctl(kvm, 0xAE03, 117)  # KVM_CHECK_EXTENSION, KVM_CAP_X86_SMM
    os.close(kvm)
    return has > 0


def test_smm_is_there_or_refused_by_name(outlive, tmp_path):
    words = [str(word).replace("@RUN@", str(tmp_path)) for word in options(tmp_path)]
    words[1] = "pc-q35-7.2,smm=on"
    if has_smm():
        assert outlive.start(*words, "-S").qmp.command("query-status")["status"] == "prelaunch"
        return
    done = subprocess.run([outlive_vmm(), *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "KVM_CAP_X86_SMM" in done.stderr and "smm=off" in done.stderr
