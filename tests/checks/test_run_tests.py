# SPDX-License-Identifier: Apache-2.0
"""tools/run-tests counts test functions, hides no crash, and keeps its limits."""
import os
import subprocess
import sys
import time

import pytest

from frame.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from testrun import builds, cases, levels, process, report  # noqa: E402

TAP = "1..3\nok 1 - adds\nnot ok 2 - cuts\n# 0x1 != 0x2\nnot ok 3 # SKIP waits\n# not ok - group\n"


def entry(stdout, result="OK", returncode=0):
    """A line of meson's testlog.json."""
    return {"name": "outlive:unit / unit_room", "stdout": stdout, "result": result,
            "returncode": returncode, "duration": 1.5, "stderr": "SUMMARY: AddressSanitizer\n"}


def outcomes(found):
    """{name: outcome} of cases."""
    return {case.name: case.outcome for case in found}


def test_each_cmocka_function_counts():
    found = cases.read_meson_test(entry(TAP, "FAIL", 1))
    assert outcomes(found) == {"unit_room::adds": "passed", "unit_room::cuts": "failed",
                               "unit_room::waits": "skipped"}
    assert "0x1 != 0x2" in found[1].detail


def test_a_crash_after_good_tests_is_a_failure():
    found = cases.read_meson_test(entry("1..1\nok 1 - adds\n", "FAIL", 23))
    assert outcomes(found) == {"unit_room::adds": "passed", "unit_room::exit": "failed"}
    assert "AddressSanitizer" in found[1].detail


def test_functions_that_a_crash_left_out_are_failures():
    found = cases.read_meson_test(entry("1..3\nok 1 - adds\n", "TIMEOUT", -9))
    assert [case.outcome for case in found] == ["passed", "failed", "failed"]


def test_a_program_without_tap_counts_once():
    assert outcomes(cases.read_meson_test(entry("fine"))) == {"unit_room": "passed"}
    assert outcomes(cases.read_meson_test(entry("", "ERROR", 99))) == {"unit_room": "failed"}


def test_a_real_cmocka_program_is_read_as_it_prints(tmp_path):
    source = tmp_path / "t.c"
    source.write_text("""
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
static void good(void **s) { assert_true(1); }
static void bad(void **s) { assert_int_equal(1, 2); }
static void later(void **s) { skip(); }
int main(void)
{
    const struct CMUnitTest t[] = {cmocka_unit_test(good), cmocka_unit_test(bad),
                                   cmocka_unit_test(later)};
    return cmocka_run_group_tests(t, NULL, NULL);
}
""")
    subprocess.run(["gcc", "-o", tmp_path / "t", source, "-lcmocka"], check=True)
    done = subprocess.run([tmp_path / "t"], env={"CMOCKA_MESSAGE_OUTPUT": "TAP"}, check=False,
                          capture_output=True, text=True)
    planned, found = cases.read_tap(done.stdout)
    assert planned == 3
    assert outcomes(found) == {"good": "passed", "bad": "failed", "later": "skipped"}


def test_a_failed_teardown_does_not_count_twice(tmp_path):
    junit = tmp_path / "r.xml"
    junit.write_text("""<testsuites><testsuite>
        <testcase classname="a" name="one" time="1"><properties>
        <property name="note" value="again"/></properties></testcase>
        <testcase classname="a" name="two" time="1"><failure>no</failure></testcase>
        <testcase classname="a" name="two" time="1"><error>left behind</error></testcase>
        <testcase classname="a" name="one" time="1"><error>left behind</error></testcase>
        <testcase classname="a" name="three"><skipped message="no /dev/kvm"/></testcase>
        </testsuite></testsuites>""")
    found = cases.read_junit(junit)
    assert outcomes(found) == {"a::one": "failed", "a::two": "failed", "a::three": "skipped"}
    assert found[2].detail == "no /dev/kvm" and found[0].notes == ["again"]


def test_sum_and_names_of_skips(capsys):
    level = levels.LEVELS["unit"]
    result = levels.Result(level, [cases.Case("a", "passed"), cases.Case("b", "failed", "why"),
                                   cases.Case("c", "skipped", "no /dev/kvm")])
    assert report.last_line([result, result]) == "2 passed, 2 failed, 2 skipped"
    report.skips([result])
    assert "unit: c: no /dev/kvm" in capsys.readouterr().out


def test_a_failed_build_shows_what_the_compiler_said():
    said = builds.complaints("[1/3] Compiling C object a.o\n[2/3] Compiling C object b.o\n"
                             "FAILED: b.o \ncc -Isrc -Wall -c b.c\nb.c:1:1: error: no\n"
                             "[3/3] Compiling C object c.o\nninja: build stopped.\n")
    assert said == "b.c:1:1: error: no"


def runs(tmp_path, script, seconds):
    """Outcome of a shell script under the runner, in a process of its own."""
    code = ("import sys; from testrun import process; process.become_subreaper();"
            f"o = process.run(['sh', '-c', {script!r}], {seconds}, {str(tmp_path / 'log')!r});"
            "print(o.status, o.timed_out, o.left)")
    return subprocess.run([sys.executable, "-B", "-c", code], check=True, text=True, timeout=60,
                          capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT / "tools")}
                          ).stdout.strip()


def test_a_command_is_ended_at_its_limit(tmp_path):
    start = time.monotonic()
    assert runs(tmp_path, "sleep 77", 1).split()[1] == "True"
    assert time.monotonic() - start < 70


def test_what_a_command_leaves_is_ended_and_named(tmp_path):
    said = runs(tmp_path, "setsid sleep 77.25 & until grep -qx sleep /proc/$!/comm; do sleep 0.01; done; exit 3", 60)
    assert said.startswith("3 False") and "sleep 77.25" in said


def tries(tmp_path, level, first, second, apart=True):
    """What a level's first and second try give together: (exit status, outcomes, names tried again).

    @apart: each test failed in its own way."""
    asked = []

    def start(names):
        asked.extend(names)
        return process.Outcome(int("failed" in second.values()), "", False, []), [
            cases.Case(name, outcome) for name, outcome in second.items()]

    runner = levels.Runner(str(tmp_path), 1, time.monotonic() + 60)
    found = [cases.Case(name, outcome, f"why {name if apart else ''}") for name, outcome in first.items()]
    done, found = runner.try_again(levels.LEVELS[level], process.Outcome(1, "", False, []), found, start,
                                   cases.pytest_name)
    assert all(case.notes and "why" in case.notes[0] for case in found
               if first[case.name] != case.outcome == "passed")
    return done.status, outcomes(found), asked


def test_a_test_of_machines_that_fails_gets_one_more_try_alone(tmp_path):
    first = {"native.test_a::one[1]": "failed", "native.test_a::two": "passed"}
    alone = ["tests/native/test_a.py::one[1]"]
    assert tries(tmp_path, "native", first, {"native.test_a::one[1]": "passed"}) == (
        0, dict.fromkeys(first, "passed"), alone)
    assert tries(tmp_path, "native", first, {"native.test_a::one[1]": "failed"}) == (1, first, alone)
    assert tries(tmp_path, "native", first, {}) == (1, first, alone)


def test_many_failures_or_those_of_other_levels_are_no_accident(tmp_path):
    many = {f"native.test_a::test_{number}": "failed" for number in range(4)}
    assert tries(tmp_path, "native", many, dict.fromkeys(many, "passed")) == (1, many, [])
    assert tries(tmp_path, "native", many, dict.fromkeys(many, "passed"), apart=False) == (
        0, dict.fromkeys(many, "passed"), [f"tests/native/test_a.py::test_{number}" for number in range(4)])
    one = {"unit.test_a::one": "failed"}
    assert tries(tmp_path, "unit", one, dict.fromkeys(one, "passed")) == (1, one, [])


@pytest.mark.parametrize("argument", ["nonsense"])
def test_an_unknown_level_is_refused(argument):
    done = subprocess.run([ROOT / "tools" / "run-tests", argument], check=False,
                          capture_output=True, text=True)
    assert done.returncode == 2 and "no level 'nonsense'" in done.stderr
