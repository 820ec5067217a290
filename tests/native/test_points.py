# SPDX-License-Identifier: Apache-2.0
"""Points: a guest and its disk go back in time together. The witness writes its disk and knows what it last wrote."""
import json
import os
import signal

import pytest

import pulse_report
from frame.named import PULSE, mark, marks, report_of
from frame.qemu import HOST_CPU
from frame.wait import until
from frame.witness import CMDLINE

FAILED, REFUSED = 1, 4
ARGS = "rate=1M ws=2M blk=4 blk_size=4M"

pytestmark = pytest.mark.timeout(600)  # thousands of requests, several times


@pytest.fixture
def image(tmp_path):
    """A disk of 8 MiB, half of it with something in it, on a file system that can't share blocks."""
    path = tmp_path / "disk.img"
    path.write_bytes(os.urandom(4 << 20) + bytes(4 << 20))
    return path


@pytest.fixture
def db(cli, image):
    """A guest that writes and checks its disk; gives its name."""
    cli("run", "db", "-m", "32M", "--bios", PULSE, "--disk", image, "--", "-cpu", HOST_CPU,
        "-fw_cfg", f"name={CMDLINE},string={ARGS}")
    with report_of(cli, "db") as source:
        pulse_report.wait(source, "ready", 60)
    works_on(cli)
    return "db"


def disk(now):
    return now["device"][0]


def works_on(cli, requests=500):
    """The guest goes on reading and writing its disk, and finds there what it wrote."""
    with report_of(cli, "db") as source:
        before = disk(pulse_report.read(source))
        now = pulse_report.wait(source, lambda now: disk(now)["in"] > before["in"] + requests or disk(now)["bad"], 60)
    assert (disk(now)["bad"], disk(now)["lost"], now["faults"]) == (0, 0, 0), now


def test_a_guest_goes_back_to_a_point_with_its_disk(cli, db):
    told = json.loads(cli("snapshot", "point", db, "one", "--json"))
    assert told["pause-ms"] > 0
    works_on(cli, 3000)
    pid = json.loads(cli("ls", "--json"))[0]["pid"]
    for _ in range(2):
        assert mark(cli, db) == 1
        cli("snapshot", "rollback", db, "one")
        assert marks(cli, db) == 0
        works_on(cli, 1000)
    assert json.loads(cli("ls", "--json"))[0]["pid"] == pid, "it went back in place"


def test_the_disk_is_to_the_byte_what_it_was(cli, db, image):
    cli("pause", db)
    cli("snapshot", "point", db, "still")
    was = image.read_bytes()
    cli("resume", db)
    works_on(cli, 3000)
    assert image.read_bytes() != was
    cli("snapshot", "rollback", db, "still")
    assert json.loads(cli("ls", "--json"))[0]["state"] == "paused"
    assert image.read_bytes() == was


def test_points_follow_each_other_and_the_later_ones_go_with_a_rollback(cli, db):
    for name in ("one", "two", "three"):
        cli("snapshot", "point", db, name)
        works_on(cli, 1000)
    cli("snapshot", "rollback", db, "two")
    works_on(cli, 1000)
    names = {row["name"] for row in json.loads(cli("snapshot", "list", db, "--json"))}
    assert names == {"one", "two"}
    cli("snapshot", "delete", db, "two")
    works_on(cli, 1000)
    cli("snapshot", "rollback", db, "one")
    works_on(cli)


def test_a_point_outlives_upgrade_and_sudden_death(cli, db):
    cli("snapshot", "point", db, "one")
    works_on(cli)
    cli("upgrade", db, "--pause-timeout", 60)
    works_on(cli, 2000)
    os.kill(json.loads(cli("ls", "--json"))[0]["pid"], signal.SIGKILL)
    until(lambda: json.loads(cli("ls", "--json"))[0]["state"] == "ended", 60, "the guest has ended")
    cli("snapshot", "rollback", db, "one")
    works_on(cli, 2000)
    cli("snapshot", "rollback", db, "one", "--lazy")
    works_on(cli)


def test_a_guest_with_other_devices_than_at_the_point_is_not_given_up(cli, image):
    cli("run", "db", "-m", "32M", "--bios", PULSE, "--disk", image, "--", "-cpu", HOST_CPU, "-device",
        "pcie-root-port,id=port,chassis=1,slot=8", "-fw_cfg", f"name={CMDLINE},string={ARGS}")
    with report_of(cli, "db") as source:
        pulse_report.wait(source, "ready", 60)
    cli("snapshot", "point", "db", "without")
    cli("device", "add", "db", "virtio-rng-pci,id=hot,bus=port")
    assert "outlive device rm db hot" in cli("snapshot", "rollback", "db", "without", code=REFUSED)
    works_on(cli)
    cli("snapshot", "point", "db", "with")
    cli("snapshot", "rollback", "db", "with")
    works_on(cli)
    cli("kill", "db")
    cli("snapshot", "rollback", "db", "without")
    works_on(cli)


def test_a_disk_that_somebody_else_wrote_is_noticed(cli, db, image):
    cli("snapshot", "point", db, "one")
    works_on(cli)
    cli("kill", db)
    os.utime(image, ns=(0, image.stat().st_mtime_ns + 10 ** 10))
    assert "somebody else" in cli("snapshot", "rollback", db, "one", code=FAILED)
    assert json.loads(cli("ls", "--json"))[0]["state"] == "ended", "the VMM that was started for it isn't left"
    cli("snapshot", "rollback", db, "one", "--force")
    works_on(cli)


def test_a_guest_with_points_stays_on_its_host(cli, db, tmp_path):
    cli("snapshot", "point", db, "one")
    assert "delete the guest's points first" in cli("migrate", db, f"unix:{tmp_path}/none", code=FAILED)
    cli("snapshot", "delete", db, "one")
    assert "No such file" in cli("migrate", db, f"unix:{tmp_path}/none", code=FAILED)
    works_on(cli)
    assert not [name for name in os.listdir(f"{cli.env['OUTLIVE_RUN_DIR']}/db/snapshots")]


def test_a_snapshot_without_its_disks_is_not_restored_onto_others(cli, db):
    cli("snapshot", "save", db, "s", "--stop")
    cli("snapshot", "restore", db, "s")
    works_on(cli)
    cli("kill", db)
    assert "was written since" in cli("snapshot", "restore", db, "s", code=REFUSED)
    assert "is a point" not in cli("snapshot", "restore", db, "s", "--force")


def test_a_point_that_cannot_be_made_leaves_the_guest_alone(cli, db):
    folder = f"{cli.env['OUTLIVE_RUN_DIR']}/db/snapshots"
    os.makedirs(f"{folder}/one.json.new")
    cli("snapshot", "point", db, "one", code=FAILED)
    os.rmdir(f"{folder}/one.json.new")
    assert os.listdir(folder) == []
    assert "No such file" in cli("migrate", db, f"unix:{folder}/none", code=FAILED), "the disk is fed no more"
    cli("snapshot", "point", db, "one")
    works_on(cli)


def test_a_point_whose_command_was_killed_can_be_deleted_and_the_one_before_is_whole(cli, db, image):
    """The VMM has made the point, and nobody has described it."""
    cli("pause", db)
    cli("snapshot", "point", db, "one")
    was = image.read_bytes()
    cli("resume", db)
    works_on(cli, 1000)
    folder = f"{cli.env['OUTLIVE_RUN_DIR']}/db/snapshots"
    cli("qmp", db, "migrate", json.dumps({"uri": f"file:{folder}/two.snapshot", "outlive-continue": True,
                                          "outlive-points": f"{folder}/two"}))
    until(lambda: json.loads(cli("qmp", db, "query-migrate"))["status"] == "completed", 60, "it is written")
    works_on(cli, 1000)
    for command in "point", "save":
        assert "snapshot delete removes what is left" in cli("snapshot", command, db, "two", code=REFUSED)
    cli("snapshot", "delete", db, "two")
    assert sorted(os.listdir(folder)) == ["one.disk0.undo", "one.json", "one.snapshot"]
    works_on(cli, 1000)
    cli("snapshot", "rollback", db, "one")
    assert image.read_bytes() == was


@pytest.fixture
def begun(cli, db, image):
    """A guest with a point "one" and a second one that was made and that nobody knows of; gives the image as at the
    first."""
    cli("pause", db)
    cli("snapshot", "point", db, "one")
    was = image.read_bytes()
    folder = f"{cli.env['OUTLIVE_RUN_DIR']}/db/snapshots"
    cli("qmp", db, "migrate", json.dumps({"uri": f"file:{folder}/two.snapshot", "outlive-continue": True,
                                          "outlive-points": f"{folder}/two"}))
    until(lambda: json.loads(cli("qmp", db, "query-migrate"))["status"] == "completed", 60, "it is written")
    cli("resume", db)
    works_on(cli, 1000)
    return was


def test_a_point_is_whole_if_the_next_one_is_cut_off_by_the_death_of_the_vmm(cli, db, image, begun):
    """Until somebody knows of the newer one both are fed, also through an upgrade."""
    cli("upgrade", db)
    works_on(cli, 2000)
    os.kill(json.loads(cli("ls", "--json"))[0]["pid"], signal.SIGKILL)
    until(lambda: json.loads(cli("ls", "--json"))[0]["state"] == "ended", 10, "the guest has ended")
    assert image.read_bytes() != begun
    cli("snapshot", "rollback", db, "one")
    assert image.read_bytes() == begun
    cli("snapshot", "delete", db, "two")
    folder = f"{cli.env['OUTLIVE_RUN_DIR']}/db/snapshots"
    assert sorted(os.listdir(folder)) == ["one.disk0.undo", "one.json", "one.snapshot"]
    cli("resume", db)
    works_on(cli, 1000)


def test_a_point_is_whole_after_others_of_which_one_was_never_known(cli, db, image, begun):
    cli("snapshot", "point", db, "three")
    works_on(cli, 1000)
    cli("snapshot", "delete", db, "two")
    works_on(cli, 1000)
    cli("snapshot", "rollback", db, "one")
    assert image.read_bytes() == begun


def written(cli):
    """Undo files that the guest's disk feeds: more room is needed in them."""
    folder = f"{cli.env['OUTLIVE_RUN_DIR']}/db/snapshots"
    return {name: os.stat(f"{folder}/{name}").st_mtime_ns for name in os.listdir(folder) if name.endswith(".undo")}


def test_only_the_newest_known_point_is_fed(cli, db):
    for name in ("one", "two"):
        cli("snapshot", "point", db, name)
    cli("upgrade", db)
    before = written(cli)
    works_on(cli, 3000)
    cli("pause", db)
    cli("snapshot", "point", db, "three")
    after = written(cli)
    assert after["one.disk0.undo"] == before["one.disk0.undo"] and after["two.disk0.undo"] > before["two.disk0.undo"]


def test_a_snapshot_never_takes_the_place_of_a_point(cli, db):
    cli("snapshot", "point", db, "one")
    assert "is a point with disks" in cli("snapshot", "save", db, "one", code=REFUSED)
    works_on(cli)
    cli("snapshot", "rollback", db, "one")
    works_on(cli)


def job(cli, command, tag, **more):
    """Runs a job of QMP to its end; gives its error, or None."""
    node = [disk for disk in json.loads(cli("qmp", "db", "query-block")) if disk.get("inserted")][0]
    name = node["inserted"]["node-name"]
    if command != "snapshot-delete":
        more["vmstate"] = name
    cli("qmp", "db", command, json.dumps({"job-id": "j", "tag": tag, "devices": [name], **more}))
    done = until(lambda: [job for job in json.loads(cli("qmp", "db", "query-jobs")) if job["status"] == "concluded"],
                 60, "the job has concluded")[0]
    cli("qmp", "db", "job-dismiss", "id=j")
    return done.get("error")


def test_the_jobs_of_qmp_save_load_and_delete(cli, db, image):
    assert job(cli, "snapshot-save", "a") is None
    works_on(cli, 1000)
    assert mark(cli, db) == 1
    assert job(cli, "snapshot-save", "b") is None
    works_on(cli, 2000)
    assert job(cli, "snapshot-load", "a") is None
    assert marks(cli, db) == 0
    works_on(cli, 1000)
    assert job(cli, "snapshot-delete", "a") is None
    assert job(cli, "snapshot-delete", "a") is None, "what isn't there is deleted"
    works_on(cli)
    assert sorted(os.listdir(image.parent)) == sorted(["disk.img", "disk.img.points.json"])


def test_a_job_whose_snapshot_cannot_be_known_leaves_nothing(cli, db, image):
    assert job(cli, "snapshot-save", "a") is None
    works_on(cli, 1000)
    (image.parent / "disk.img.points.json.new").mkdir()
    assert "points.json" in job(cli, "snapshot-save", "b")
    works_on(cli, 1000)
    (image.parent / "disk.img.points.json.new").rmdir()
    assert not list(image.parent.glob("disk.img.b.*"))
    assert job(cli, "snapshot-save", "b") is None
    works_on(cli, 1000)
    assert job(cli, "snapshot-load", "a") is None
    works_on(cli, 1000)


def test_what_a_killed_vmm_leaves_of_a_job_can_be_deleted(cli, db, image):
    for name in ("snapshot", "disk0.undo", "disk1.clone"):
        (image.parent / f"disk.img.b.{name}").write_bytes(b"half")
    (image.parent / "disk.img.bb.snapshot").write_bytes(b"another")
    assert job(cli, "snapshot-delete", "b") is None
    assert not list(image.parent.glob("disk.img.b.*")) and (image.parent / "disk.img.bb.snapshot").exists()
    assert job(cli, "snapshot-save", "b") is None


def test_a_job_that_names_no_disk_of_the_guest_is_refused(cli, db):
    node = json.loads(cli("qmp", "db", "query-block"))[0]["inserted"]["node-name"]
    for devices, said in (([node, "nothing"], "No block device node 'nothing'"), ([], "names no disk")):
        for command in "snapshot-save", "snapshot-load":
            assert said in cli("qmp", "db", command, json.dumps(
                {"job-id": "j", "tag": "a", "vmstate": node, "devices": devices}), code=FAILED)
    works_on(cli)


def test_a_job_that_cannot_save_says_so_and_the_guest_goes_on(cli, db, image):
    (image.parent / "disk.img.a.disk0.undo").mkdir()
    assert "disk.img" in job(cli, "snapshot-save", "a")
    works_on(cli)
    (image.parent / "disk.img.a.disk0.undo").rmdir()
    assert job(cli, "snapshot-save", "a") is None


def test_after_a_refused_load_the_same_process_loads_the_good_one(cli, db):
    told = json.loads(cli("snapshot", "point", db, "one", "--json"))
    path = told["file"]
    works_on(cli, 1000)
    with open(path, "r+b") as file:
        good = file.read()
        file.seek(json.loads(cli("inspect", "--json", path))["sections"][-1]["offset"] + 30)
        file.write(b"damage")
    pid = json.loads(cli("ls", "--json"))[0]["pid"]
    assert "damaged" in cli("snapshot", "rollback", db, "one", code=FAILED)
    works_on(cli, 1000)
    disks = json.loads(cli("snapshot", "show", db, "one"))["migration"]["outlive-disks"]
    cli("qmp", db, "outlive-rollback", json.dumps({"uri": f"file:{path}", "disks": [
        {key: disk[key] for key in ("filename", "file")} for disk in disks]}))
    until(lambda: json.loads(cli("qmp", db, "query-migrate"))["status"] == "failed", 60, "it is refused")
    with open(path, "wb") as file:
        file.write(good)
    cli("snapshot", "rollback", db, "one")
    works_on(cli)
    assert json.loads(cli("ls", "--json"))[0]["pid"] == pid
