# SPDX-License-Identifier: Apache-2.0
"""Storage that stands still while a guest is about to leave: the VMM answers, and goes on when the storage does."""
import contextlib
import dataclasses
import os

import pytest

from frame.moving import awaiting, check, ended, send, status
from frame.paths import BUILD
from frame.plugin import Starter, outlive_program
from frame.wait import until

LOAD = {"cpus": 1, "memory_mib": 64, "args": "ws=4M rate=4M"}
MOMENTS = {"while it runs": (0, "running"), "in the pause": (1, "finish-migrate")}
ANSWERS = 50  # of the monitor, while it waits

pytestmark = pytest.mark.usefixtures("kvm")


@pytest.fixture(name="storage")
def _storage(tmp_path):
    """Where fdatasync(2) waits, see still_storage.c."""
    return tmp_path / "still"


@pytest.fixture(name="starter")
def _starter(storage, tmp_path, leak_guard):
    """Starter of VMMs with such a storage."""
    preload = BUILD / "tests" / "libstill_storage.so"
    assert preload.exists(), f"{preload} is not built"
    env = {**os.environ, "LD_PRELOAD": str(preload), "STILL_STORAGE": str(storage)}
    made = Starter(dataclasses.replace(outlive_program(), env=env), tmp_path)
    yield made
    storage.unlink(missing_ok=True)
    made.end()


@contextlib.contextmanager
def leaving(witness, starter, tmp_path, storage, moment):
    """A guest whose migration waits for its storage, and its target; the monitor answers all the time."""
    image = tmp_path / "disk"
    image.write_bytes(bytes(4 << 20))
    disk = ["-drive", f"file={image},if=none,id=d0,format=raw", "-device", "virtio-blk-pci,drive=d0"]
    guest = witness(starter, *disk, **LOAD)
    target = awaiting(starter, *disk, **LOAD)
    through, word = MOMENTS[moment]
    storage.write_text(str(through), encoding="ascii")
    uri = f"unix:{target.vmm.path('migrate.sock')}"
    with contextlib.closing(target):
        target.vmm.qmp.command("migrate-incoming", uri=uri)
        send(guest.vmm, uri, "return-path")
        until((storage.parent / "still.waits").exists, 60, "the migration waits for the storage")
        for _ in range(ANSWERS):
            assert guest.vmm.qmp.command("query-status")["status"] == word
            assert status(guest.vmm) == "active"
        yield guest, target


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_monitor_answers_and_the_guest_leaves_when_the_storage_is_back(witness, starter, tmp_path, storage, moment):
    with leaving(witness, starter, tmp_path, storage, moment) as (guest, target):
        storage.unlink()
        assert (ended(guest.vmm)["status"], ended(target.vmm)["status"]) == ("completed", "completed")
        check(target)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_migration_that_is_called_off_meanwhile_leaves_the_guest_here(witness, starter, tmp_path, storage, moment):
    with leaving(witness, starter, tmp_path, storage, moment) as (guest, _):
        guest.vmm.qmp.command("migrate_cancel")
        storage.unlink()
        assert ended(guest.vmm)["status"] == "cancelled"
        assert guest.vmm.qmp.command("query-status")["status"] == "running"
        check(guest)
