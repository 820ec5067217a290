# SPDX-License-Identifier: Apache-2.0
"""Guests of every size, on every kind of memory: they run, are upgraded in place, and move away."""
import pathlib

import pytest

from frame.live import live  # noqa: F401
from frame.moving import awaiting, check, move

HUGE_PAGES = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
MEMORY_MIB = 96
BUSY = "ws=16M rate=4M fill=half"


@pytest.fixture
def huge_pages():
    """Enough huge pages for a guest of MEMORY_MIB, given back afterwards."""
    before = int(HUGE_PAGES.read_text(encoding="ascii"))
    wanted = before + MEMORY_MIB // 2 + 1
    HUGE_PAGES.write_text(f"{wanted}\n", encoding="ascii")
    yield
    HUGE_PAGES.write_text(f"{before}\n", encoding="ascii")


BACKENDS = {
    "memfd": "memory-backend-memfd,share=on",
    "huge pages": "memory-backend-memfd,share=on,hugetlb=on,hugetlbsize=2M",
    "folder": "memory-backend-file,share=on,mem-path={folder}",
    "file": "memory-backend-file,share=on,mem-path={folder}/ram",
    "tmpfs, in advance": "memory-backend-file,share=on,mem-path=/dev/shm,prealloc=on",
    "ram": "memory-backend-ram,share=on",
}


def backend(kind, folder):
    """Options that put all of a guest's memory on a back end of this kind."""
    return ["-object", f"{BACKENDS[kind].format(folder=folder)},id=pc.ram,size={MEMORY_MIB}M",
            "-machine", "memory-backend=pc.ram"]


@pytest.mark.parametrize("kind", BACKENDS)
def test_guest_on_each_kind_of_memory(live, outlive, tmp_path, request, kind):
    if kind == "huge pages":
        request.getfixturevalue("huge_pages")
    guest = live(*backend(kind, tmp_path), memory_mib=MEMORY_MIB, args=BUSY)
    for _ in range(2):
        before = guest.witness.report()["dirtied"]
        guest.upgrade()
        guest.witness.wait(lambda now, old=before: now["dirtied"] > old + 500)
    guest.verify()
    there = awaiting(outlive, memory_mib=MEMORY_MIB, args=BUSY)
    move(guest.witness.vmm, there.vmm, "return-path")
    check(there)
    there.close()


def test_guest_with_as_many_vcpus_as_can_be(live):
    guest = live(cpus=64, memory_mib=256, args=BUSY)
    guest.upgrade()
    report = guest.verify()
    assert report["cpus"] == 64 and all(cpu["online"] for cpu in report["cpu"])


def nodes(*sizes):
    """Options for NUMA nodes with so many MiB each."""
    return [word for n, mib in enumerate(sizes) for word in
            ("-object", f"memory-backend-memfd,id=m{n},size={mib}M,share=on", "-numa", f"node,memdev=m{n}")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("parts", [(), (1200, 1680)], ids=["one", "two-nodes"])
def test_guest_with_memory_on_both_sides_of_4_gib(live, parts):
    guest = live(*nodes(*parts), cpus=2, memory_mib=2880, args="ws=64M rate=20M fill=zero pattern=random")
    guest.upgrade()
    assert guest.verify()["ram_bytes"] > (2880 - 64) << 20
