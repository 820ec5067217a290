# SPDX-License-Identifier: Apache-2.0
"""outlive upgrade --all: every guest is tried, and each one's end is told."""
import json
import subprocess

import pytest

from frame.named import PULSE, cli, web  # noqa: F401
from frame.paths import outlive as program, outlive_vmm
from frame.qemu import HOST_CPU


@pytest.fixture(name="guests")
def _guests(cli, web):
    """Two that can be upgraded, and between them one that can't: it waits for its state."""
    cli("run", "db", "-m", "64M", "--bios", PULSE, "--", "-cpu", HOST_CPU, "-incoming", "defer")
    cli("run", "alpha", "-m", "64M", "--bios", PULSE, "--", "-cpu", HOST_CPU)
    return "alpha", "db", web


def upgrade_all(cli, *words):
    """Exit code, standard output, standard error."""
    done = subprocess.run([program(), "upgrade", "--all", "--pause-timeout", "60", *words], env=cli.env,
                          capture_output=True, text=True, timeout=170, check=False)
    return done.returncode, done.stdout, done.stderr


def pids(cli):
    """Process ids by name."""
    return {one["name"]: one["pid"] for one in json.loads(cli("ls", "--json"))}


def test_one_that_fails_keeps_nobody_back(cli, guests):
    before = pids(cli)
    code, out, err = upgrade_all(cli)
    after = pids(cli)
    assert code != 0 and "db" in err, err
    assert [name for name in guests if before[name] == after[name]] == ["db"]
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["NAME", "FROM", "TO"], out
    assert {line.split()[0]: line.split()[-1] for line in lines[1:] if "db" not in line} == \
        {"alpha": "upgraded", "web": "upgraded"}
    assert "stands in the way" in next(line for line in lines if line.startswith("db")), out


def test_json_is_one_array(cli, guests):
    code, out, _ = upgrade_all(cli, "--json", "--binary", str(outlive_vmm()))
    results = {one["name"]: one for one in json.loads(out)}
    assert code != 0
    assert {name: one["done"] for name, one in results.items()} == {"alpha": True, "db": False, "web": True}
    assert "waits for its state" in results["db"]["blockers"][0]
    assert results["web"]["total-ms"] > 0 and results["web"]["pause-us"]["running"] > 0
    code, out, _ = upgrade_all(cli, "--dry-run", "--json")
    assert {one["name"]: one["done"] for one in json.loads(out)} == dict.fromkeys(guests, False)


def test_all_of_none_is_fine(cli):
    code, out, err = upgrade_all(cli, "--json")
    assert (code, json.loads(out), err) == (0, [], "")


def test_a_record_is_of_one_guest(cli, guests, tmp_path):
    before = pids(cli)
    code, _, err = upgrade_all(cli, "--record", str(tmp_path / "record"))
    assert code == 2 and "one guest" in err, err
    assert pids(cli) == before and not (tmp_path / "record").exists()
