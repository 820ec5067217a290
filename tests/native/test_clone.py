# SPDX-License-Identifier: Apache-2.0
"""A second guest from a snapshot or point: both run, both verify, and neither touches what is the other's."""
import json
import os
import socket
import uuid

import pytest

from frame.named import ARGS, PULSE, disk_image, run_db, run_witness, works_on
from frame.qemu import HOST_CPU

FAILED, USAGE, NO_GUEST, REFUSED = range(1, 5)

pytestmark = pytest.mark.timeout(600)  # several guests, each of which verifies all it has


def ask(cli, name, command):
    return json.loads(cli("qmp", name, command))


def processes(cli):
    return {row["name"]: row["pid"] for row in json.loads(cli("ls", "--json")) if row["state"] != "ended"}


@pytest.mark.parametrize("lazy", [(), ("--lazy",)], ids=["whole", "lazy"])
def test_both_guests_run_each_as_itself(cli, web, lazy):
    cli("snapshot", "save", web, "warm")
    clones = [json.loads(cli("snapshot", "clone", web, "warm", name, "--json", *lazy)) for name in ("one", "two")]
    assert len(set(processes(cli).values())) == 3
    ids = {ask(cli, name, "query-uuid")["UUID"] for name in (web, "one", "two")}
    assert len(ids) == 3 and {clone["uuid"] for clone in clones} < ids
    assert ask(cli, "one", "query-name")["name"] == "one"
    for name in (web, "one", "two"):
        works_on(cli, name)
    cli("upgrade", "one", "--pause-timeout", 60)
    works_on(cli, "one")
    cli("snapshot", "save", "one", "again")
    cli("kill", web)
    cli("snapshot", "clone", "one", "again", "three")
    works_on(cli, "three")


@pytest.fixture
def image(tmp_path):
    """A disk of 8 MiB with a comma in its name, half of it with something in it."""
    return disk_image(tmp_path / "a,disk.img")


@pytest.fixture
def db(cli, image, run_dir):
    """A guest that writes and checks its disk, with a generation id and a network card; gives its name."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.bind(f"{run_dir}/peer")
        peer.listen()
        yield run_db(cli, image, "--net", f"stream={run_dir}/peer")


def clone(cli, *words):
    return json.loads(cli("snapshot", "clone", *words, "--net", "none", "--json"))


def test_a_clone_of_a_point_has_the_disk_of_that_moment_while_the_first_one_writes(cli, db, image):
    cli("pause", db)
    cli("snapshot", "point", db, "still")
    was = image.read_bytes()
    cli("resume", db)
    works_on(cli, db, 3000)
    told = clone(cli, db, "still", "twin")
    copy = told["disks"][0]["copy"]
    assert copy == str(image.parent / "twin-a,disk.img")
    assert ask(cli, "twin", "query-status")["status"] == "paused"
    with open(copy, "rb") as file:
        assert file.read() == was
    cli("resume", "twin")
    for _ in range(2):
        works_on(cli, "twin", 1000)
        works_on(cli, db, 1000)
    cli("pause", "twin")
    cli("snapshot", "rollback", db, "still")
    assert image.read_bytes() == was, "the clone's writes went into the first guest's undo file"
    cli("resume", db)
    works_on(cli, db, 500)


def test_the_identity_is_fresh(cli, db):
    cli("snapshot", "point", db, "now")
    told = clone(cli, db, "now", "twin")
    guids = {ask(cli, name, "query-vm-generation-id")["guid"] for name in (db, "twin")}
    assert len(guids) == 2
    first, second = (json.loads(cli("qmp", name, "qom-get", "path=/machine/peripheral/nic0", "property=mac"))
                     for name in (db, "twin"))
    assert [second] == told["macs"] and first != second
    assert str(uuid.UUID(told["uuid"])) == told["uuid"]
    works_on(cli, "twin", 500)


def test_an_older_point_is_cloned_through_the_newer_one(cli, db, image):
    cli("pause", db)
    cli("snapshot", "point", db, "one")
    was = image.read_bytes()
    cli("resume", db)
    works_on(cli, db, 1000)
    cli("snapshot", "point", db, "two")
    works_on(cli, db, 1000)
    told = clone(cli, db, "one", "twin")
    with open(told["disks"][0]["copy"], "rb") as file:
        assert file.read() == was
    cli("resume", "twin")
    works_on(cli, "twin", 500)
    cli("snapshot", "rollback", db, "two")
    works_on(cli, db, 500)


def test_what_cannot_be_cloned_is_refused_and_leaves_nothing(cli, db, image, tmp_path):
    cli("snapshot", "save", db, "bare")
    assert "outlive snapshot point" in cli("snapshot", "clone", db, "bare", "twin", "--net", "none", code=REFUSED)
    cli("snapshot", "point", db, "now")
    assert "more networks than --net gives" in cli("snapshot", "clone", db, "now", "twin", code=FAILED)
    assert "runs already" in cli("snapshot", "clone", db, "now", db, "--net", "none", code=REFUSED)
    assert "there is no snapshot" in cli("snapshot", "clone", db, "none", "twin", "--net", "none", code=FAILED)
    (tmp_path / "twin-a,disk.img").write_bytes(b"mine")
    assert "is there already" in cli("snapshot", "clone", db, "now", "twin", "--net", "none", code=REFUSED)
    (tmp_path / "twin-a,disk.img").unlink()
    broken = f"{cli.env['OUTLIVE_RUN_DIR']}/db/snapshots/now.snapshot"
    with open(broken, "r+b") as file:
        file.truncate(os.path.getsize(broken) // 2)
    assert broken in cli("snapshot", "clone", db, "now", "twin", "--net", "none", code=FAILED)
    assert not [name for name in os.listdir(tmp_path) if name.startswith("twin")]
    assert set(processes(cli)) == {db}
    works_on(cli, db, 500)


def test_memory_in_a_file_is_never_shared_with_a_clone(cli, tmp_path):
    cli("run", "web", "-m", "32M", "--bios", PULSE, "--", "-cpu", HOST_CPU, "-machine", "memory-backend=m0",
        "-object", f"memory-backend-file,id=m0,size=32M,mem-path={tmp_path}/ram,share=on")
    cli("snapshot", "save", "web", "warm")
    assert "memory-backend-file" in cli("snapshot", "clone", "web", "warm", "twin", code=FAILED)
    assert set(processes(cli)) == {"web"}


def test_a_guest_of_32_mib_clones_at_once_when_lazy(cli):
    """How long is for the bench; here only that most of the memory is still to come."""
    run_witness(cli, "web", "32M", ARGS.replace("32M", "16M"))
    cli("snapshot", "save", "web", "warm")
    cli("snapshot", "clone", "web", "warm", "twin", "--lazy")
    works_on(cli, "twin")
