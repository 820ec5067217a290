# SPDX-License-Identifier: Apache-2.0
"""Points and clones where files share blocks: nothing is copied, and each has its own from then on."""
import json
import os
import pathlib
import re
import subprocess

import pytest

from frame.named import disk_image, run_db, works_on

pytestmark = pytest.mark.timeout(600)  # a loop device on a busy machine


@pytest.fixture
def image(sharing):
    """A disk on such a file system."""
    return disk_image(sharing / "disk.img")


@pytest.fixture
def db(cli, image):
    """A guest that writes and checks it; gives its name."""
    return run_db(cli, image)


def kept(cli, name, point, folder):
    """The file that keeps what the disk was at a point."""
    described = json.loads(cli("snapshot", "show", name, point, "--dir", folder))
    return described["migration"]["outlive-disks"][0]["file"]


def shared_bytes(path):
    """How much of a file is in blocks that another file has, too (filefrag's "shared")."""
    lines = subprocess.run(["filefrag", "-ves", path], check=True, capture_output=True, text=True).stdout.splitlines()
    extents = [line.split(":") for line in lines if re.match(r" *\d+:", line) and "shared" in line]
    return sum(int(extent[3]) * 4096 for extent in extents)


def test_a_point_shares_its_blocks_and_the_disk_goes_back_to_the_byte(cli, db, image):
    cli("pause", db)
    cli("snapshot", "point", db, "one", "--dir", image.parent)
    was = image.read_bytes()
    clone = kept(cli, db, "one", image.parent)
    assert clone.endswith(".clone") and shared_bytes(clone) >= 4 << 20
    cli("resume", db)
    works_on(cli, db, 500)
    assert image.read_bytes() != was
    for _ in range(2):
        cli("snapshot", "rollback", db, "one", "--dir", image.parent)
        assert image.read_bytes() == was
        cli("resume", db)
        works_on(cli, db, 500)
    assert pathlib.Path(clone).read_bytes() == was


def test_points_in_a_row_and_the_newest_deleted_first(cli, db, image):
    for name in ("one", "two", "three"):
        cli("snapshot", "point", db, name, "--dir", image.parent)
        works_on(cli, db, 500)
    cli("snapshot", "delete", db, "three", "--dir", image.parent)
    cli("snapshot", "rollback", db, "two", "--dir", image.parent)
    works_on(cli, db, 500)
    cli("snapshot", "rollback", db, "one", "--dir", image.parent)
    works_on(cli, db, 500)
    assert sorted(name for name in os.listdir(image.parent) if name.endswith(".clone")) == ["one.disk0.clone"]


def test_a_clone_shares_the_points_blocks_and_both_write_their_own(cli, db, image):
    cli("pause", db)
    cli("snapshot", "point", db, "one", "--dir", image.parent)
    was = image.read_bytes()
    cli("resume", db)
    works_on(cli, db, 500)
    told = json.loads(cli("snapshot", "clone", db, "one", "twin", "--dir", image.parent, "--lazy", "--json"))
    disk = told["disks"][0]
    assert disk["shared"] and shared_bytes(disk["copy"]) >= 4 << 20
    assert pathlib.Path(disk["copy"]).read_bytes() == was
    cli("resume", "twin")
    for _ in range(2):
        works_on(cli, "twin", 500)
        works_on(cli, db, 500)
    cli("snapshot", "rollback", db, "one", "--dir", image.parent)
    assert image.read_bytes() == was
