# SPDX-License-Identifier: Apache-2.0
"""Guest memory in a file that was there before: who writes to it, and what the guest begins with, as on QEMU."""
import subprocess

import pytest

from frame.paths import outlive_vmm
from frame.witness import MACHINE

pytestmark = pytest.mark.usefixtures("kvm")
MEMORY_MIB = 64
PLACE = 48 << 20
WORDS = b"what the guest begins with"


@pytest.fixture
def template(tmp_path):
    """A file as large as the guest's memory, with a hole on each side of its words."""
    path = tmp_path / "template"
    with path.open("wb") as file:
        file.seek(PLACE)
        file.write(WORDS)
        file.truncate(MEMORY_MIB << 20)
    return path


def on_file(path, share):
    """Options that put guest memory on a file."""
    said = f",share={share}" if share else ""
    return ["-object", f"memory-backend-file,id=m0,size={MEMORY_MIB}M,mem-path={path}{said}",
            "-machine", "memory-backend=m0"]


@pytest.mark.parametrize("share", ["", "off"])
def test_a_file_stays_as_it_is_unless_it_is_shared(vmm_any, witness, template, tmp_path, share):
    before = template.read_bytes()
    paused = vmm_any.start(*MACHINE, "-S", "-m", MEMORY_MIB, *on_file(template, share), name="paused")
    paused.qmp.raw("pmemsave", {"val": PLACE, "size": len(WORDS), "filename": str(tmp_path / "seen")})
    assert (tmp_path / "seen").read_bytes() == WORDS
    guest = witness(vmm_any, *on_file(template, share), memory_mib=MEMORY_MIB, args="rate=4M")
    guest.wait(lambda now: now["dirtied"] > 500)
    guest.vmm.qmp.command("stop")
    assert template.read_bytes() == before


def test_a_shared_file_gets_what_the_guest_writes(vmm_any, witness, template):
    before = template.read_bytes()
    guest = witness(vmm_any, *on_file(template, "on"), memory_mib=MEMORY_MIB, args="rate=4M")
    guest.wait(lambda now: now["dirtied"] > 500)
    guest.vmm.qmp.command("stop")
    assert template.read_bytes() != before


@pytest.mark.parametrize("share", ["", "on"])
def test_a_file_of_another_size_is_refused_and_not_touched(vmm_any, tmp_path, share):
    path = tmp_path / "small"
    path.write_bytes(WORDS)
    with pytest.raises(AssertionError, match="closed|ended"):
        vmm_any.start(*MACHINE, "-S", "-m", MEMORY_MIB, *on_file(path, share))
    assert path.read_bytes() == WORDS


@pytest.mark.parametrize("path, why", [("/no/such/folder/ram", "No such file"), ("/dev/null", "share=on")])
def test_a_place_that_gives_no_memory_is_named(path, why):
    options = (*MACHINE, "-S", "-m", MEMORY_MIB, *on_file(path, ""))
    ended = subprocess.run([outlive_vmm(), *map(str, options)], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1 and path in ended.stderr and why in ended.stderr
