# SPDX-License-Identifier: Apache-2.0
"""The generation id: where the guest reads it, when it changes, and that the guest is told."""
import struct
import subprocess
import uuid

import pytest

import stream_reader
from frame.live import live  # noqa: F401
from frame.moving import awaiting, ended, send
from frame.paths import outlive_vmm
from frame.qmp import QmpError

GUID = "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87"
AT = 0x9e028     # where a guest without firmware has it
TABLES = 0xc0000  # where its ACPI tables are
EVENT = 1 << 5

pytestmark = pytest.mark.usefixtures("kvm")


def asked(guest):
    """What QMP says."""
    return guest.vmm.qmp.command("query-vm-generation-id")["guid"]


def seen(guest, at=AT):
    """What the guest has in its memory."""
    return str(uuid.UUID(bytes_le=guest.source.read(at, 16)))


def device(guid="auto"):
    return ["-device", f"vmgenid,guid={guid}"]


def saved(guest, path, *capabilities):
    """The guest written to a file, as the second reader has it; it stays paused."""
    send(guest.vmm, f"file:{path}", *capabilities)
    assert ended(guest.vmm)["status"] == "completed"
    return stream_reader.read(path.read_bytes())


def events(stream):
    """Status of the first eight general purpose events."""
    return stream.section("0000:00:1f.0/ICH9LPC").field("pm/acpi_regs.gpe.sts[0]").value


def loaded(outlive, path, *more, name="again", boot="pvh"):
    """The guest from a file in another VMM, running."""
    guest = awaiting(outlive, *more, name=name, boot=boot)
    guest.vmm.qmp.command("migrate-incoming", uri=f"file:{path}")
    assert ended(guest.vmm)["status"] == "completed", guest.vmm.output()
    return guest


def test_the_guest_reads_the_guid_it_was_given_and_its_tables_lead_there(outlive, witness):
    guest = witness(outlive, *device(GUID), boot="pvh")
    assert asked(guest) == seen(guest) == GUID
    tables = guest.source.read(TABLES, 0x8000)
    at = tables.index(b"SSDT")
    table = tables[at:at + struct.unpack_from("<I", tables, at + 4)[0]]
    assert sum(table) % 256 == 0 and table[16:24] == b"VMGENID\0"
    assert table[36:42] == b"\x08VGIA\x0c" and struct.unpack_from("<I", table, 42)[0] == AT - 40
    assert b"VGEN" in table and b"_GPE_E05" in table
    rsdt = struct.unpack_from("<I", tables, 16)[0] - TABLES
    places = struct.unpack_from(f"<{(struct.unpack_from('<I', tables, rsdt + 4)[0] - 36) // 4}I", tables, rsdt + 36)
    assert TABLES + at in places


def test_auto_is_random_and_comes_again_after_a_reset(outlive, witness):
    ids = set()
    for name in ("one", "two"):
        guest = witness(outlive, *device(), name=name, boot="pvh")
        assert uuid.UUID(asked(guest)).version == 4 and asked(guest) == seen(guest)
        ids.add(asked(guest))
        life = guest.report()["life"]
        guest.vmm.qmp.command("system_reset")
        guest.wait(lambda now, old=life: now["life"] != old and now["state"] == "running")
        assert asked(guest) == seen(guest) in ids
    assert len(ids) == 2


def test_a_restored_guest_has_a_new_guid_and_is_told(outlive, witness, tmp_path):
    guest = witness(outlive, *device(), boot="pvh")
    before = seen(guest)
    stream = saved(guest, tmp_path / "one")
    assert events(stream) & EVENT == 0
    section = stream.section("vmgenid")
    assert (section.version, section.instance, section.payload) == (1, 0, struct.pack("<Q", AT))
    again = loaded(outlive, tmp_path / "one", *device())
    assert asked(again) == seen(again) != before
    assert events(saved(again, tmp_path / "two")) & EVENT
    again.close()


def test_a_guid_that_both_sides_were_given_is_no_news(outlive, witness, tmp_path):
    guest = witness(outlive, *device(GUID), boot="pvh")
    saved(guest, tmp_path / "one")
    again = loaded(outlive, tmp_path / "one", *device(GUID))
    assert asked(again) == seen(again) == GUID
    assert events(saved(again, tmp_path / "two")) & EVENT == 0
    again.close()


def test_an_upgrade_keeps_the_guid_and_a_rollback_after_it_doesnt(live, tmp_path):
    guest = live(*device(), boot="pvh")
    before = seen(guest.witness)
    for _ in range(2):
        guest.upgrade()
        assert asked(guest.witness) == seen(guest.witness) == before
    guest.qmp.command("migrate", uri=f"file:{tmp_path / 'point'}", **{"outlive-continue": True})
    assert ended(guest.witness.vmm)["status"] == "completed"
    assert events(stream_reader.read((tmp_path / "point").read_bytes())) & EVENT == 0
    guest.qmp.command("outlive-rollback", uri=f"file:{tmp_path / 'point'}", disks=[])
    assert ended(guest.witness.vmm)["status"] == "completed"
    after = asked(guest.witness)
    assert after == seen(guest.witness) != before
    guest.upgrade()
    assert asked(guest.witness) == after
    assert events(saved(guest.witness, tmp_path / "two")) & EVENT


@pytest.mark.parametrize("options,reason", [
    ([*device(), *device()], "at most one"), (device("324e6eaf"), "a UUID or auto")], ids=["two", "short"])
def test_a_wrong_device_is_refused(options, reason):
    done = subprocess.run([outlive_vmm(), "-M", "q35", "-nodefaults", "-display", "none", *options],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and reason in done.stderr, done.stderr


def test_a_machine_without_one_says_so(outlive):
    vmm = outlive.start("-M", "pc-q35-7.2", "-nodefaults", "-display", "none", "-m", "64", "-S")
    with pytest.raises(QmpError, match="VM Generation ID device not found"):
        vmm.qmp.command("query-vm-generation-id")
