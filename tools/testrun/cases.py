# SPDX-License-Identifier: Apache-2.0
"""Results of single tests, read from what the runners leave behind.

Theory of operation: pytest writes JUnit XML. A cmocka binary, told so by
CMOCKA_MESSAGE_OUTPUT=TAP, prints one TAP line for each test function; meson keeps its
output in testlog.json. So both are counted by test function, never by binary. What a
runner started and did not report counts as failed: a crash can't hide a test.
"""
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass
class Case:
    """One test: its name, outcome, reason (why skipped, or how it failed), seconds and notes.

    A note is what a good test still wants known, such as a lab that had to be started again.
    """

    name: str
    outcome: str
    detail: str = ""
    seconds: float = 0.0
    notes: list = field(default_factory=list)


def read_junit(path):
    """The cases of a JUnit XML file as pytest writes it."""
    cases = []
    for node in ET.parse(path).getroot().iter("testcase"):
        name = "::".join(filter(None, (node.get("classname"), node.get("name"))))
        outcome, detail = PASSED, ""
        for child in node:
            if child.tag in ("failure", "error"):
                outcome = FAILED
                detail += (child.text or child.get("message") or "").strip() + "\n"
            elif child.tag == "skipped" and outcome == PASSED:
                outcome, detail = SKIPPED, child.get("message") or ""
        notes = [node_of.get("value") for node_of in node.iter("property")
                 if node_of.get("name") == "note"]
        cases.append(Case(name, outcome, detail, float(node.get("time") or 0), notes))
    return merge(cases)


def merge(cases):
    """One case for a test that is reported twice (call failed, then teardown failed too)."""
    merged = {}
    for case in cases:
        first = merged.get(case.name)
        if not first:
            merged[case.name] = case
        elif FAILED in (first.outcome, case.outcome):
            first.outcome = FAILED
            first.detail += case.detail
    return list(merged.values())


TAP_LINE = re.compile(r"^(not )?ok (\d+)\s*(?:-\s*(.*)|# SKIP\s*(.*))?$")


def read_tap(text):
    """(number planned, cases) of the TAP output of a cmocka binary, several groups allowed.

    cmocka 1.1.5 prints "not ok N # SKIP name" for a skipped test, which strict readers of TAP
    take for a failure; here it is a skip.
    """
    planned, cases, notes = 0, [], []
    for line in text.splitlines():
        plan = re.match(r"^1\.\.(\d+)$", line)
        match = TAP_LINE.match(line)
        if plan:
            planned += int(plan.group(1))
        elif match and match.group(4) is not None:
            cases.append(Case(match.group(4), SKIPPED, "skipped by the test"))
        elif match:
            notes = []
            failed = match.group(1)
            case = Case(match.group(3) or match.group(2), FAILED if failed else PASSED)
            cases.append(case)
            if failed:
                notes = [case]
        elif notes and line.startswith("# "):
            notes[0].detail += line[2:] + "\n"
    return planned, cases


def read_meson_test(entry):
    """The cases of one line of meson's testlog.json: a cmocka binary, or any other program."""
    name = entry["name"].split(" / ")[-1]
    output = (entry.get("stdout") or "") + "\n" + (entry.get("stderr") or "")
    good = entry["result"] in ("OK", "EXPECTEDFAIL")
    planned, cases = read_tap(entry.get("stdout") or "")
    for case in cases:
        case.name = f"{name}::{case.name}"
    if not planned:
        outcome = PASSED if good else SKIPPED if entry["result"] == "SKIP" else FAILED
        detail = "" if good else f"{entry['result']}, exit {entry['returncode']}\n{output}"
        return [Case(name, outcome, detail, entry["duration"])]
    if cases:
        cases[-1].seconds = entry["duration"]
    if not good and not any(case.outcome == FAILED for case in cases):
        cases.append(Case(f"{name}::exit", FAILED,
                          f"{entry['result']}, exit {entry['returncode']}\n{output}"))
    for number in range(len(cases), planned):
        cases.append(Case(f"{name}::test {number + 1} of {planned}", FAILED, "never reported\n"))
    return cases


def read_meson_log(path):
    """The cases of meson's testlog.json."""
    with open(path, encoding="utf-8") as log:
        return [case for line in log for case in read_meson_test(json.loads(line))]


def pytest_name(case):
    """What pytest takes to run this case."""
    module, _, test = case.name.partition("::")
    return f"tests/{module.replace('.', '/')}.py::{test}"


def meson_name(case):
    """What `meson test` takes to run the program of this case."""
    return case.name.partition("::")[0]


def second_try(failed, second):
    """Cases that failed and have passed in a second try count as passed, and note how they failed."""
    passed = {case.name for case in second if case.outcome == PASSED}
    for case in failed:
        if case.name in passed:
            case.outcome = PASSED
            case.notes.append("failed at first, passed alone; at first:\n" + case.detail.strip())
