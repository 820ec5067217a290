# SPDX-License-Identifier: Apache-2.0
"""A real guest's stream, cut at every byte of its device part and each of these bytes turned over in turn."""
import fcntl
import json
import random
import subprocess

import pytest

import stream_reader
from frame.moving import awaiting, check, ended, send
from frame.paths import BUILD
from frame.qmp import QmpClosed
from frame.witness import options

SAMPLES = 40  # of the damaged streams that a whole VMM gets
DEVICES = ("-device", "virtio-rng-pci", "-device", "virtio-serial-pci", "-device", "virtio-balloon-pci",
           "-device", "virtio-scsi-pci,id=scsi0", "-device", "scsi-hd,drive=second,bus=scsi0.0",
           "-device", "virtio-net-pci", "-device", "vmgenid")


@pytest.fixture(name="devices")
def _devices(tmp_path):
    """Options of one device of each kind."""
    words = []
    for name in ("first", "second"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
        words += ["-blockdev", f"driver=file,node-name={name},filename={tmp_path / name}"]
    return [*words, "-device", "virtio-blk-pci,drive=first", *DEVICES]


@pytest.fixture(name="stream")
def _stream(outlive, witness, devices, tmp_path):
    """A running guest's stream, as a file and as the second reader has it."""
    guest = witness(outlive, *devices, cpus=2, args="rate=1M ws=1M blk=4 blk_size=512K")
    guest.wait(lambda now: now["device"][0]["in"] > 50)
    whole = tmp_path / "whole"
    send(guest.vmm, f"file:{whole}")
    assert ended(guest.vmm)["status"] == "completed"
    guest.close()
    guest.vmm.quit()
    return whole, stream_reader.read(whole.read_bytes())


def without_pages(whole, parsed, folder):
    """Files for the harness: the stream without the pages sent while the guest ran, and where its payloads are then."""
    data, lines, gone = whole.read_bytes(), [], 0
    for s in parsed.sections:
        if s.name == "ram" and s.mark == "PART":
            data = data[:s.offset - gone] + data[s.offset - gone + s.size:]
            gone += s.size
        elif s.name not in ("ram", "globalstate"):
            end = s.offset - gone + s.size - 5  # its footer
            lines.append(f"{end - len(s.payload)} {len(s.payload)} {s.instance} {s.version} {s.name}\n")
    (folder / "stream").write_bytes(data)
    (folder / "sections").write_text("".join(lines))
    return folder / "stream", folder / "sections", lines


@pytest.mark.timeout(900)
@pytest.mark.parametrize("stride", [13, pytest.param(1, marks=pytest.mark.soak)])
def test_every_byte_of_the_devices_is_refused_with_a_reason_or_harmless(stream, devices, tmp_path, stride):
    whole, parsed = stream
    names = {s.name.rsplit("/", 1)[-1] for s in parsed.sections}
    assert {"virtio-blk", "virtio-net", "virtio-rng", "virtio-scsi", "virtio-balloon", "serial", "cpu"} <= names
    *files, lines = without_pages(whole, parsed, tmp_path)
    words = [word for word in options(cpus=2) if word != "-S"]
    words = [*words[:words.index("-chardev")], "-chardev", "null,id=witness", "-serial", "chardev:witness"]
    done = subprocess.run([BUILD / "tests" / "every_byte", *files, str(stride), *map(str, words), *map(str, devices),
                           "-incoming", "defer"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr)
    counts = json.loads(done.stdout)
    print(counts)
    assert counts["good"] == len(lines) + 2  # it goes on with the whole one after each section
    assert counts["taken"] + counts["refused"] > sum(min(int(line.split()[1]), 8192) for line in lines)
    assert counts["refused"] > 2000


@pytest.mark.timeout(300)
def test_a_vmm_refuses_one_damaged_stream_after_the_other_and_takes_the_good_one(outlive, stream, devices, tmp_path):
    whole, parsed = stream
    data = whole.read_bytes()
    devices_at = min(s.offset for s in parsed.sections if s.name != "ram")
    end = max(s.offset + s.size for s in parsed.sections)
    choose = random.Random(7)
    guest = awaiting(outlive, *devices, cpus=2)
    refused = 0
    for number in range(SAMPLES):
        at = choose.randrange(devices_at if number % 2 else 8, end)
        bad = tmp_path / "bad"
        bad.write_bytes(data[:at])
        try:
            guest.vmm.qmp.command("migrate-incoming", uri=f"exec:cat {bad}", **{"exit-on-error": False})
            info = ended(guest.vmm)
        except QmpClosed:
            raise AssertionError(f"cut at byte {at}:\n{guest.vmm.output()}") from None
        assert info["status"] == "failed" and info["error-desc"], (at, info)
        refused += 1
    assert refused == SAMPLES
    guest.vmm.qmp.command("migrate-incoming", uri=f"exec:cat {whole}")
    assert ended(guest.vmm)["status"] == "completed"
    check(guest)
    guest.close()


def test_what_the_kernel_refuses_of_a_vcpu_leaves_a_machine_that_takes_the_good_one(outlive, stream, devices, tmp_path):
    whole, parsed = stream
    data = bytearray(whole.read_bytes())
    field = parsed.section("cpu").field("env.cr[4]")
    data[field.offset:field.offset + field.size] = b"\xff" * field.size
    (tmp_path / "bad").write_bytes(data)
    guest = awaiting(outlive, *devices, cpus=2)
    for _ in range(2):
        guest.vmm.qmp.command("migrate-incoming", uri=f"exec:cat {tmp_path / 'bad'}", **{"exit-on-error": False})
        info = ended(guest.vmm)
        assert info["status"] == "failed" and "vCPU 0" in info["error-desc"], info
        with open(tmp_path / "first", "r+b") as disk:
            fcntl.lockf(disk, fcntl.LOCK_EX | fcntl.LOCK_NB)
    guest.vmm.qmp.command("migrate-incoming", uri=f"exec:cat {whole}")
    assert ended(guest.vmm)["status"] == "completed", guest.vmm.output()
    check(guest)
    guest.close()
