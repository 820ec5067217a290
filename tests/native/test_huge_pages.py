# SPDX-License-Identifier: Apache-2.0
"""Guest RAM has huge pages, whatever the host gives shared memory by default, and who may not have them is told."""
import pathlib
import re

import pytest

from frame.live import live  # noqa: F401
from frame.moving import awaiting, check, move

POLICY = pathlib.Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
NO_MOUNTING = ("setpriv", "--bounding-set=-sys_admin", "--")
SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
NO_NAMESPACES = ("unshare", "--user", "--map-root-user", "sh", "-c",
                 'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-sys_admin -- "$@"', "sh")
FULL = "fill=random rate=off verify=off wall=0"


def huge_kib(pid):
    """How much of the guest's memory is mapped by huge pages."""
    found, inside = 0, False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text(encoding="ascii").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = "pc.ram" in line
        elif inside and line.startswith("ShmemPmdMapped:"):
            found += int(line.split()[1])
    return found


@pytest.fixture
def shared_huge_pages():
    """A host that has them, but doesn't deny them everywhere."""
    assert POLICY.exists() and "[deny]" not in POLICY.read_text(encoding="ascii"), \
        f"this kernel gives no huge pages to shared memory: {POLICY}"


@pytest.mark.usefixtures("shared_huge_pages")
@pytest.mark.parametrize("within", [(), NO_MOUNTING], ids=["root", "who may not mount"])
@pytest.mark.parametrize("options", [(), SANDBOX], ids=["open", "sandbox"])
def test_memory_is_huge_and_stays_so(live, within, options):
    guest = live(*options, memory_mib=64, args=FULL, within=within)
    assert huge_kib(guest.pid) > 32 * 1024
    guest.upgrade()
    guest.verify()
    assert huge_kib(guest.pid) > 32 * 1024


@pytest.mark.usefixtures("shared_huge_pages")
def test_small_pages_are_said(live):
    if re.search(r"\[(advise|always|within_size|force)\]", POLICY.read_text(encoding="ascii")):
        pytest.fail("a memfd has huge pages here, so nobody can be without: set shmem_enabled to never")
    guest = live(memory_mib=64, args=FULL, within=NO_NAMESPACES)
    assert huge_kib(guest.pid) == 0
    assert "small pages are slower for the guest" in guest.witness.vmm.output()


@pytest.mark.usefixtures("shared_huge_pages")
def test_memory_that_has_moved_is_huge(outlive, witness):
    here, there = witness(outlive, memory_mib=64, args=FULL), awaiting(outlive, memory_mib=64, args=FULL)
    move(here.vmm, there.vmm, "return-path")
    here.close()
    check(there)
    assert huge_kib(there.vmm.pid) > 32 * 1024
    there.close()
