# SPDX-License-Identifier: Apache-2.0
"""Every property of QEMU's devices is here with its default, or is refused with the reason."""
import base64
import json
import subprocess

import pytest

from frame import rom
from frame.paths import outlive_vmm
from frame.qmp import QmpError
from frame.wait import until

pytestmark = pytest.mark.usefixtures("kvm")
DEVICES = [f"virtio-{name}-pci{kind}" for name in ("balloon", "blk", "net", "rng", "scsi", "serial")
           for kind in ("", "-transitional", "-non-transitional")]
DEVICES += ["isa-debug-exit", "isa-debugcon", "isa-serial", "pcie-root-port", "pvpanic", "scsi-hd", "virtconsole",
            "virtserialport", "vmgenid"]
OPTIONS = ("-M", "pc-q35-7.2", "-accel", "kvm", "-nodefaults", "-display", "none", "-S", "-m", 32,
           "-blockdev", "null-co,node-name=n0,size=1048576", "-device", "pcie-root-port,id=p1")


def properties(qmp, device):
    """{name: row} of a device's properties, without its parts."""
    return {row["name"]: row for row in qmp.command("device-list-properties", typename=device)
            if not row["type"].startswith("child<") and row["name"] != "guest-stats"}


def complaint(words):
    """What the VMM says of a device on its command line, which it refuses."""
    ended = subprocess.run([outlive_vmm(), *map(str, OPTIONS), "-device", words], capture_output=True, text=True,
                           timeout=60, check=False)
    assert ended.returncode == 1
    return ended.stderr


def refusal(qmp, device, name, value):
    """What is said of a property of a device that can't be made either, by what comes last."""
    if device == "pcie-root-port":  # can't be plugged
        return complaint(f"{device},{name}={json.dumps(value)},zzz=1".replace('"', ""))
    with pytest.raises(QmpError) as error:
        qmp.raw("device_add", {"driver": device, name: value, "bus": "p1", "zzz": 1})
    return str(error.value)


def test_no_property_of_qemu_is_unknown(outlive, qemu):
    ours, theirs = outlive.start(*OPTIONS).qmp, qemu.start(*OPTIONS).qmp
    for device in DEVICES:
        known = properties(ours, device)
        for name, row in properties(theirs, device).items():
            default = row.get("default-value")
            if name in known:
                if "default-value" in known[name] and default is not None:
                    assert (device, name, known[name]["default-value"]) == (device, name, default)
                continue
            others = {"bool": [not default], "OnOffAuto": ["on", "off"], "str": ["other"]}.get(row["type"], [7])
            assert any("isn't here: " in refusal(ours, device, name, other) for other in others), (device, name)
            if default is not None:
                assert "isn't here" not in refusal(ours, device, name, default), (device, name)


def test_block_sizes_may_have_a_unit(vmm_any):
    qmp = vmm_any.start(*OPTIONS, "-device", "virtio-blk-pci,id=d0,bus=p1,drive=n0,"
                        "logical_block_size=4k,physical_block_size=4K").qmp
    assert qmp.command("qom-get", path="/machine/peripheral/d0", property="logical_block_size") == 4096


@pytest.mark.parametrize("words, why", [
    ("net-pci,speed=-2", "speed: Mbit/s"), ("net-pci,duplex=fast,speed=10", "duplex: half or full"),
    ("net-pci,speed=x", "speed: 'x' is not"), ("blk-pci,drive=n0,physical_block_size=4G", "4G is too large")])
def test_a_value_that_is_none_is_refused(words, why):
    assert why in complaint(f"virtio-{words}")


@pytest.mark.parametrize("words", [
    "speed=10000,duplex=full", "speed=100,duplex=half,host_mtu=1400,mq=on", "speed=0", ""])
def test_a_guest_is_told_the_speed_as_on_qemu(outlive, qemu, tmp_path, words):
    bios = tmp_path / "bios"
    bios.write_bytes(rom.registers_guest(5, 20, 24))
    seen = []
    for program in (outlive, qemu):
        vmm = program.start("-M", "pc-q35-7.2", "-accel", "kvm", "-nodefaults", "-display", "none", "-m", 32,
                            "-bios", bios, "-chardev", "ringbuf,id=d", "-device", "isa-debugcon,iobase=0x402,chardev=d",
                            "-device", f"virtio-net-pci,mac=52:54:00:01:02:03,addr=5,{words}".rstrip(","))
        read = []
        until(lambda r=read, v=vmm: r.append(v.qmp.raw("ringbuf-read", {"device": "d", "size": 64, "format": "base64"}))
              or sum(len(base64.b64decode(one)) for one in r) == 24, 60, "the guest's reading")
        seen.append(b"".join(base64.b64decode(one) for one in read).hex())
    assert seen[0] == seen[1]
