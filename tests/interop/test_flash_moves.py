# SPDX-License-Identifier: Apache-2.0
"""A guest's flash goes along, in the middle of a command, and the image there gets what is in it."""
import socket

import pytest
from frame import flash, moving, rom

pytestmark = pytest.mark.usefixtures("kvm")
V = flash.VARIABLES


def forgets(vmms):
    """QEMU 7.2 shows a chip's array after loading its state, whatever command it was in, from its own streams too."""
    return vmms.program.name == "qemu-7.2"


@pytest.mark.parametrize("way", ["there", "back"])
def test_flash_goes_along(outlive, qemu_any, tmp_path, way):
    first, second = (outlive, qemu_any) if way == "there" else (qemu_any, outlive)
    code = flash.program(rom.Flat(0x402), 0, b"here").write(V, flash.QUERY).put(V + 0x10).wait().put(V + 0x11)
    flash.program(code.write(V, flash.READ), 0x1000, b"there").put(V, 5).put(V + 0x1000, 6)
    guest = flash.FlashGuest(tmp_path, code)
    copy = tmp_path / "copy.fd"
    copy.write_bytes(bytes(flash.BYTES))
    source = first.start(*guest.options(tmp_path / "dump"), name="source")
    flash.said(tmp_path / "dump", b"Q")
    target = second.start(*guest.options(tmp_path / "dump2", copy), "-incoming", "defer", name="target")
    moving.move(source, target)
    source.quit()
    with socket.socket(socket.AF_UNIX) as serial:
        serial.connect(target.path("serial"))
        serial.send(b"x")
        flash.said(tmp_path / "dump2", (b"l" if forgets(second) else b"R") + b"hereo" + b"therel")
    target.quit()
    image = copy.read_bytes()
    assert image[:8] == b"hereold!" and image[0x1000:0x1008] == b"thereld!"
