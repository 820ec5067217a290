# SPDX-License-Identifier: Apache-2.0
"""A test that met the lab's known hang runs once more, on fresh hosts, and the repetition is counted."""
import os
import subprocess
import sys

import pytest

from frame.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from testrun import cases  # noqa: E402

TESTS = """
import pytest
from lab.job import LabStall

runs, made = [], []

@pytest.fixture(scope="module")
def host():
    made.append("made")
    if len(made) == FIRST_GOOD_HOST - 1:
        raise LabStall("the host hangs (soft lockup)\\nlong story")
    yield made
    made.append("ended")

@pytest.fixture
def folder(host):
    runs.append("run")
    yield

def test_hangs(host, folder):
    if len(runs) <= HANGS:
        raise LabStall("the host hangs (soft lockup)\\nlong story")

def test_next(host):
    print(runs, made)
    assert runs == ["run"] * RUNS and made == MADE

def test_wrong():
    assert not runs
"""


def run(folder, **values):
    """Run the tests above with these values; return {name: Case}."""
    text = TESTS
    for name, value in values.items():
        text = text.replace(name.upper(), repr(value))
    (folder / "test_it.py").write_text(text)
    command = [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-p", "frame.hang", "-q", "test_it.py"]
    subprocess.run([*command, "--junitxml=report.xml", "-o", "junit_family=xunit1"], cwd=folder, check=False,
                   timeout=60, env={**os.environ, "PYTHONPATH": f"{ROOT}/tests:{ROOT}"}, stdout=subprocess.DEVNULL)
    return {case.name.rsplit("::", 1)[1]: case for case in cases.read_junit(folder / "report.xml")}


@pytest.mark.parametrize("values", [
    {"hangs": 1, "first_good_host": 0, "runs": 2, "made": ["made", "ended", "made"]},
    {"hangs": 0, "first_good_host": 2, "runs": 1, "made": ["made", "made"]},
], ids=["in the test", "while its host starts"])
def test_one_hang_is_run_again_and_noted(tmp_path, values):
    seen = run(tmp_path, **values)
    assert seen["test_hangs"].outcome == seen["test_next"].outcome == "passed", seen
    assert seen["test_hangs"].notes == ["run again: the host hangs (soft lockup)"]
    assert not seen["test_next"].notes


def test_second_hang_is_a_failure_and_others_never_repeat(tmp_path):
    seen = run(tmp_path, hangs=2, first_good_host=0, runs=2, made=["made", "ended", "made"])
    assert seen["test_hangs"].outcome == "failed" and "soft lockup" in seen["test_hangs"].detail
    assert seen["test_next"].outcome == "passed"
    assert seen["test_wrong"].outcome == "failed" and not seen["test_wrong"].notes
