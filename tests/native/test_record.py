# SPDX-License-Identifier: Apache-2.0
"""Runs that are written down and drawn: outlive migrate and upgrade with --record, outlive report."""
import json
import os
import re
import signal
import subprocess

import pytest

from frame.moving import awaiting
from frame.named import ARGS
from frame.paths import outlive as program

FAILED = 1
ELSEWHERE = re.compile(r"""(?:src|href)\s*=|url\(|@import|https?://|fetch\(|XMLHttpRequest""")


@pytest.fixture
def moved(cli, web, outlive, tmp_path):
    """A record of a migration."""
    there = awaiting(outlive, args=ARGS)
    try:
        uri = f"unix:{there.vmm.path('migrate.sock')}"
        there.vmm.qmp.command("migrate-incoming", uri=uri)
        cli("migrate", web, uri, "--bandwidth", "40", "--record", tmp_path / "move")
    finally:
        there.close()
    return tmp_path / "move"


def pictures(cli, record):
    """What is to be drawn."""
    return json.loads(cli("report", record, "--json"))


def in_order(parts):
    """Whether parts follow each other without overlap."""
    return all(one["from"] <= one["to"] <= other["from"] + 1e-6 for one, other in zip(parts, parts[1:]))


def test_a_recorded_migration_has_its_rounds_rates_and_pause(cli, web, moved):
    picture, = pictures(cli, moved)
    names = [part["name"] for part in picture["parts"]]
    assert (picture["end"], picture["title"]) == ("completed", f"{web}: migration")
    assert names[:2] == ["setup", "round 1"] and names[-1] == "switchover" and in_order(picture["parts"])
    first = picture["rounds"][0]
    assert first["sent"] > 4096 and first["rate"] > 0 and first["from"] < first["to"], first
    written = picture["charts"][0]["series"][1]["points"]
    assert written[1:] == [[one["to"], one["dirty-rate"]] for one in picture["rounds"]]
    pause = picture["pause"]
    assert pause["limit-ms"] == 300 and pause["said-ms"] > 0 and pause["predicted-ms"] > 0, pause
    assert [part["name"] for part in pause["parts"]][0] == "stop" and in_order(pause["parts"])
    assert pause["parts"][-1]["to"] == pytest.approx(pause["said-ms"])


def test_a_record_says_as_much_as_the_vmm_did(moved):
    lines = [json.loads(line) for line in moved.read_text().splitlines()]
    assert lines[0]["record"] == 1 and lines[0]["kind"] == "migration" and lines[0]["memory"] == 64 << 20
    events = [line["event"]["event"] for line in lines if "event" in line]
    assert "STOP" in events and "MIGRATION_PASS" in events
    last = [line["query-migrate"] for line in lines if "query-migrate" in line][-1]
    assert last["status"] == "completed" and last["ram"]["remaining"] == 0
    looks = [line["at-ms"] for line in lines if "query-migrate" in line]
    assert looks == sorted(looks) and len(looks) > 1


def test_the_text_and_the_page_show_the_same_run(cli, web, moved):
    text = cli("report", moved)
    assert f"{web}: migration, completed after" in text and re.search(r"^  switchover +[.#]+ ", text, re.M)
    assert re.search(r"^  predicted +[0-9.]+ (ms|us)$", text, re.M), text
    page = moved.with_name("move.html").read_text()
    assert page.count("<!DOCTYPE html>") == 1 and not ELSEWHERE.search(page)
    assert json.loads(page.split("getElementById('timelines'), ")[1].split(");\n</script>")[0]) == \
        pictures(cli, moved)
    assert cli("report", moved, "-o", "-") == page


def test_a_recorded_upgrade_has_its_stages_and_the_steps_of_the_pause(cli, web, tmp_path):
    record = tmp_path / "upgrades"
    for _ in range(2):
        cli("upgrade", web, "--pause-timeout", 60, "--record", record)
    both = pictures(cli, record)
    assert len(both) == 2
    for picture in both:
        assert picture["end"] == "completed" and in_order(picture["parts"])
        assert {"spawn", "target ready", "switch"} <= {part["name"] for part in picture["parts"]}
        steps = picture["pause"]["parts"]
        assert steps[-1]["to"] == pytest.approx(picture["pause"]["said-ms"]) and in_order(steps)
        assert picture["total-ms"] >= picture["parts"][-1]["to"]
    assert "the pause" in cli("report", record, "--text")
    assert not record.with_name("upgrades.html").exists()


def test_a_migration_that_is_cancelled_is_drawn_as_far_as_it_came(cli, web, outlive, tmp_path):
    there = awaiting(outlive, args=ARGS)
    try:
        uri = f"unix:{there.vmm.path('migrate.sock')}"
        there.vmm.qmp.command("migrate-incoming", uri=uri)
        with subprocess.Popen([program(), "migrate", web, uri, "--bandwidth", "1", "--json",
                               "--record", tmp_path / "move"], env=cli.env, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True) as mover:
            for line in mover.stdout:
                if json.loads(line).get("ram", {}).get("transferred", 0) > 1 << 18:
                    os.kill(mover.pid, signal.SIGINT)
                    break
            mover.stdout.read()
            assert mover.wait(60) == FAILED
    finally:
        there.close()
    picture, = pictures(cli, tmp_path / "move")
    names = [part["name"] for part in picture["parts"]]
    assert picture["end"] == "cancelled" and "round 1" in names and "switchover" not in names
    with open(tmp_path / "move", "r+b") as file:  # the file of a machine that went down meanwhile
        file.truncate(file.seek(0, os.SEEK_END) - 9)
    assert pictures(cli, tmp_path / "move")[0]["rounds"]


def test_what_is_no_record_is_refused(cli, tmp_path):
    (tmp_path / "other").write_text('{"a": 1}\n')
    assert "is not a record" in cli("report", tmp_path / "other", code=FAILED)
    (tmp_path / "other").write_text("nonsense\n")
    assert "line 1 is not a JSON object" in cli("report", tmp_path / "other", code=FAILED)
    (tmp_path / "other").write_text("")
    assert "there is no run in it" in cli("report", tmp_path / "other", code=FAILED)
    assert "No such file" in cli("report", tmp_path / "nowhere", code=FAILED)


def test_a_record_that_can_t_be_written_is_told_before_anything_happens(cli, web, tmp_path):
    assert "No such file" in cli("upgrade", web, "--record", tmp_path / "no" / "folder", code=FAILED)
    assert "No such file" in cli("migrate", web, "unix:/x", "--record", tmp_path / "no" / "folder", code=FAILED)
