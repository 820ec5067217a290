# SPDX-License-Identifier: Apache-2.0
"""Nested guests get each interrupt once, whatever the emulator's threads are asked in the meantime (lab/kvm_amd.py)."""
import pytest
from frame import linux
from frame.paths import outlive_vmm

from lab import image, kernels, kvm_amd
from lab.paths import LabError

LOOKS, SECONDS = 8000, 300  # whichever comes first; without the change, guests ended after 1283 and 2533
WORK = "while :; do :; done & while :; do :; done & n=0; while :; do echo alive $n; n=$((n+1)); usleep 200000; done"
# Decoding of an idle device's memory goes on and off: QEMU has every other vCPU flush its TLB each time.
DECODE = """
import glob, os, time
path, = [p for p in glob.glob("/sys/bus/pci/devices/*") if open(p + "/class").read().startswith("0x010601")]
config = os.open(path + "/config", os.O_RDWR)
low, high = os.pread(config, 2, 4)
end = time.monotonic() + SECONDS
for n in range(LOOKS):
    if time.monotonic() > end:
        break
    os.pwrite(config, bytes([low & ~2 | 2 * (n & 1), high]), 4)
    time.sleep(0.003)
print(n + 1)
"""


@pytest.mark.parametrize("series", kernels.SERIES)
def test_kvm_amd_is_changed_in_two_places(series):
    kernel = kernels.fetch(series, "generic")
    path = next(path for path in kernel.module_files(("kvm-amd",)) if path.name.startswith("kvm-amd."))
    before = kernels.read_module(path)
    after = kvm_amd.for_emulation(before)
    bytes_changed = [(was, now) for was, now in zip(before, after) if was != now]
    assert [now for _, now in bytes_changed] == [0xc3, 0x66, 0x90]
    assert bytes_changed[1][0] == 0x74, "the second change isn't at a short jump"
    with pytest.raises(LabError, match="0 times, not once"):
        kvm_amd.for_emulation(after)


@pytest.mark.soak
@pytest.mark.skipif(not outlive_vmm().exists(), reason="outlive-vmm isn't built")
@pytest.mark.timeout(1200)
def test_a_guest_at_work_survives_what_makes_vcpus_look_up(lab):
    host = lab(memory=1536)
    guest = linux.Guest(host, [*linux.machine(2), "-no-reboot", *linux.kernel(image.guest_image("6.1"), WORK)])
    guest.expect("alive 3", timeout=360)
    decode = DECODE.replace("LOOKS", str(LOOKS)).replace("SECONDS", str(SECONDS))
    code, looks = host.run(["/usr/bin/python3", "-c", decode], timeout=600)
    assert code == 0, looks
    print(f"looked up {looks.strip()} times")
    lines = guest.output().count("alive ")
    guest.expect(f"alive {lines + 3}", timeout=120)
    assert "BUG" not in guest.output() and "Oops" not in guest.output()
