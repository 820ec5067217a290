# SPDX-License-Identifier: Apache-2.0
"""The same guest on stock QEMU and on outlive-vmm sees the same machine, but for what docs/differences.md explains.

Both boot one disk by SeaBIOS in one emulated host; the guest copies what it sees of its machine to a second disk
(collect.sh). Each exception below has the heading of its paragraph in docs/differences.md.
"""
import collections
import io
import pathlib
import re
import subprocess
import tarfile

import pytest
from frame import linux
from frame.paths import ROOT, outlive_vmm

from lab import bootdisk, image, kernels

HERE = pathlib.Path(__file__).parent
GUID = "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87"
QEMU = ["qemu-system-x86_64", "-accel", "kvm", "-M", "pc-q35-7.2"]

# {file: {offset: heading}}: bytes that may differ
BYTES = {}
# lines of text files that may be on one side only
LINES = {
    "Option ROM for task priorities": {"fw_cfg": r"genroms_kvmvapic", "iomem": r"Video ROM"},
}
# dmesg: what depends on the moment, not on the machine
MOMENT = re.compile(r"clock|tsc|BogoMIPS|Calibrat|RAMDISK|initrd memory|Memory: |audit|random|ata\d|sched|deferred|"
                    r"usecs|hpet\d|input: |rtc_cmos|hpet: Lost|XSAVE|Trace|xstate|WARNING|cut here|end trace|"
                    r"\+0x[0-9a-f]+/0x|R[A-Z0-9]{2}:|Modules linked|Hardware name|Code: |[A-Z]S: |CR\d|PKRU|TASK|"
                    r"start_kernel|fpu_|static_key|arch_cpu|secondary_startup|Comm: |Tainted|Linux version|workqueue|"
                    r"Freeing|virtio_blk|x86/fpu|interrupt took|rcu|watchdog|lockup|perf:")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """{"qemu", "outlive": {file: bytes}}: what the guest saw on each."""
    if not outlive_vmm().exists():
        pytest.skip("outlive-vmm isn't built")
    from lab.host import Lab
    folder = tmp_path_factory.mktemp("differences")
    with Lab(memory=2560) as host:
        disk = bootdisk.boot_disk(host.work / "boot.img", *collector(folder), mib=96)
        return {name: collect(host, disk, vmm) for name, vmm in (("qemu", QEMU), ("outlive", None))}


def collector(folder):
    """A guest image that runs collect.sh, and its command line."""
    binary = folder / "cpuid"
    subprocess.run(["gcc", "-O1", "-static", "-o", binary, HERE / "cpuid.c"], check=True)
    files = {"guest/run": ((HERE / "collect.sh").read_bytes(), 0o755), "guest/cpuid": (binary.read_bytes(), 0o755)}
    for module in kernels.fetch("6.1", "generic").module_files(["qemu_fw_cfg"]):
        files["guest/qemu_fw_cfg.ko"] = (kernels.read_module(module), 0o644)
    guest = image.guest_image("6.1", "generic").with_files(files, folder)
    return guest, guest.command_line(None, f"{image.FAST} guest.end=poweroff")


def collect(host, disk, vmm):
    """Boot the disk under a VMM; return {file: bytes} of what the guest found."""
    host.run(f"cp {disk} /tmp/boot.img; rm -f /tmp/found.img; truncate -s 8M /tmp/found.img")
    guest = linux.Guest(host, [*linux.machine(2, 512), *linux.disk("/tmp/boot.img"),
                               *linux.disk("/tmp/found.img", "d1"), "-device", "virtio-rng-pci",
                               "-device", f"vmgenid,guid={GUID}", "-no-reboot"], vmm=vmm)
    guest.expect(f"{image.MARK} exit 0", 240)
    assert guest.wait() == 0
    host.run(f"cp /tmp/found.img {host.work}/found.img")
    archive = tarfile.open(fileobj=io.BytesIO(host.get("found.img")))
    return {str(pathlib.PurePath(m.name)): archive.extractfile(m).read() for m in archive if m.isfile()}


def explained(heading):
    """The heading is there in the document, so somebody wrote why."""
    return f"## {heading}" in (ROOT / "docs" / "differences.md").read_text()


def allowed(kind, line):
    """Whether a line that only one side has is explained."""
    return any(kind in lines and re.search(lines[kind], line) and explained(heading)
               for heading, lines in LINES.items())


def only_one_side(kind, left, right):
    """Lines that are on one side only and not explained."""
    first, second = collections.Counter(left), collections.Counter(right)
    lines = [f"- {line}" for line in first - second] + [f"+ {line}" for line in second - first]
    return [line for line in lines if not allowed(kind, line[2:])]


def text(seen, name):
    """Lines of a file, on both sides."""
    return [seen[side][name].decode(errors="replace").splitlines() for side in ("qemu", "outlive")]


def differing_bytes(seen, name):
    """Offsets at which a file differs without a reason; of different lengths: these and where the first one is."""
    left, right = seen["qemu"][name], seen["outlive"].get(name, b"")
    if len(left) != len(right):
        first = next((n for n, (a, b) in enumerate(zip(left[36:], right[36:]), 36) if a != b), None)
        part = slice(first, first + 16)
        return f"{len(left)} and {len(right)} bytes, from {first} on: {left[part].hex()} {right[part].hex()}"
    at = BYTES.get(name, {})
    return [n for n in range(len(left)) if left[n] != right[n] and not (n in at and explained(at[n]))]


@pytest.mark.timeout(500)
def test_pci_functions_have_the_same_configuration_space(seen):
    names = [name for name in seen["qemu"] if name.startswith("pci/")]
    assert sorted(names) == sorted(name for name in seen["outlive"] if name.startswith("pci/"))
    assert {name: differing_bytes(seen, name) for name in names if differing_bytes(seen, name) != []} == {}


def test_acpi_tables_are_the_same(seen):
    names = sorted(name for name in seen["qemu"] if re.fullmatch(r"acpi/[A-Z]+", name))
    assert names == sorted(name for name in seen["outlive"] if re.fullmatch(r"acpi/[A-Z]+", name))
    assert {name: differing_bytes(seen, name) for name in names if differing_bytes(seen, name) != []} == {}


def test_smbios_is_the_same(seen):
    assert seen["qemu"]["dmi/DMI"] == seen["outlive"]["dmi/DMI"]


@pytest.mark.parametrize("name", ["iomem", "ioports", "interrupts", "cpuid"])
def test_guest_lists_the_same(seen, name):
    assert only_one_side(name, *text(seen, name)) == []


def test_fw_cfg_has_the_same_files(seen):
    sides = [[name[7:] for name in seen[side] if name.startswith("fw_cfg/") and name.endswith(".size")]
             for side in ("qemu", "outlive")]
    assert only_one_side("fw_cfg", *sides) == []


def test_kernel_says_the_same(seen):
    def lines(side):
        for line in seen[side]["dmesg"].decode(errors="replace").splitlines():
            line = re.sub(r"^\[ *[0-9.]*\] ", "", line)
            if not MOMENT.search(line):
                yield re.sub(r"(0x)?[0-9a-fA-F]{5,}", "#", line)
    assert only_one_side("dmesg", list(lines("qemu")), list(lines("outlive"))) == []
