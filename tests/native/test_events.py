# SPDX-License-Identifier: Apache-2.0
"""Events that a guest makes, as clients of QEMU hear them: each, and not more often than once in a second."""
import time

import pytest

from frame import rom
from frame.wait import until

pytestmark = pytest.mark.usefixtures("kvm")
CHANGES = 4000


def started(program, tmp_path, image, *options):
    """A paused guest from a ROM."""
    bios = tmp_path / "bios"
    bios.write_bytes(image)
    return program.start("-M", "pc-q35-7.2", "-accel", "kvm", "-nodefaults", "-display", "none", "-S", "-m", 32,
                         "-bios", bios, *options)


def test_a_guest_that_moves_its_balloon_all_the_time_is_told_of_once_in_a_second(vmm_any, tmp_path):
    image = rom.balloon_guest(5, CHANGES)
    vmm = started(vmm_any, tmp_path, image, "-device", "virtio-balloon-pci,id=b,addr=0x5")
    began = time.monotonic()
    vmm.qmp.command("cont")
    told = []
    while not told or told[-1] != (32 << 20) - CHANGES * 4096:
        told.append(vmm.qmp.wait_event("BALLOON_CHANGE", timeout=60)["data"]["actual"])
    assert len(told) <= time.monotonic() - began + 1
    assert told == sorted(told, reverse=True)


def frontend_open(qmp, label="ch"):
    """Whether somebody listens to the channel, as query-chardev tells it."""
    return [one["frontend-open"] for one in qmp.command("query-chardev") if one["label"] == label][0]


def test_a_channel_is_open_once_the_guest_has_opened_it(vmm_any, tmp_path):
    vmm = started(vmm_any, tmp_path, rom.port_guest(5, 1), "-device", "virtio-serial-pci,id=s,addr=0x5,max_ports=4",
                  "-chardev", "socket,id=ch,path=@RUN@/ch,server=on,wait=off",
                  "-chardev", "null,id=com", "-serial", "chardev:com",
                  "-device", "virtserialport,bus=s.0,nr=1,id=channel0,chardev=ch,name=org.qemu.guest_agent.0")
    assert not frontend_open(vmm.qmp) and frontend_open(vmm.qmp, "com")
    vmm.qmp.command("cont")
    assert vmm.qmp.wait_event("VSERPORT_CHANGE", timeout=60)["data"] == {"id": "channel0", "open": True}
    assert frontend_open(vmm.qmp)
    vmm.qmp.command("stop")
    vmm.qmp.command("system_reset")
    assert vmm.qmp.wait_event("VSERPORT_CHANGE", timeout=60)["data"] == {"id": "channel0", "open": False}
    until(lambda: not frontend_open(vmm.qmp), 60, "the channel is closed")
