# SPDX-License-Identifier: Apache-2.0
"""The checks of the source, each one program; a check is one case in the level "checks"."""
import os
import time
from dataclasses import dataclass

from testrun import builds
from testrun.cases import FAILED, PASSED, SKIPPED, Case
from testrun.process import run


SKIP_STATUS = 77


@dataclass
class Check:
    """A check: its name, and its command or the build folder that must compile.

    A command's exit status 77 is a skip. `compiles`: the command needs the build folder.
    """

    name: str
    argv: tuple = ()
    folder: str = ""
    compiles: bool = False


CHECKS = (
    Check("rooms use only what is above them", ("tools/check-rooms",)),
    Check("style: budgets, comments, text", ("tools/check-style",)),
    Check("clang-format agrees with the layout", ("tools/check-format",)),
    Check("cppcheck finds nothing", ("tools/check-cppcheck",)),
    Check("documents agree with the tree", ("tools/check-docs",)),
    Check("gcc compiles the tree", folder="build"),
    Check("hot paths take no more instructions than before", ("bench/guard/run",), compiles=True),
    Check("gcc with address and undefined sanitizers compiles the tree", folder="build-asan"),
    Check("gcc with thread sanitizer compiles the tree", folder="build-tsan"),
    Check("clang-14 compiles the tree", folder="build-clang"),
    Check("nor where clang compiles them", ("bench/guard/run", "--build", "build-clang"), compiles=True),
    Check("fuzzers find nothing in a few seconds each", ("fuzz/run", "--seconds", "4", "--jobs", "2"), compiles=True),
    Check("gcc for aarch64 compiles the neutral rooms", ("tools/check-aarch64",)),
)


def run_command(root, check, logs, seconds):
    """Run a check's command; returns (outcome, detail, notes)."""
    log = os.path.join(logs, check.argv[0].replace("/", "-") + ".log")
    done = run(list(check.argv), seconds, log, root)
    tail = builds.tail(done.output, 100)
    if done.timed_out:
        return FAILED, tail + "\nended at the time limit", []
    if done.status == SKIP_STATUS:
        return SKIPPED, tail.strip().rpartition("\n")[2], []
    if done.status:
        return FAILED, tail or f"exit {done.status}", []
    return PASSED, "", [line for line in done.output.splitlines() if "--update" in line]


def run_check(root, check, jobs, logs, end):
    """Run one check until `end` (monotonic) at the latest."""
    start = time.monotonic()
    notes = []
    if check.folder:
        detail = builds.build(root, check.folder, jobs, logs)
        outcome = FAILED if detail else PASSED
    else:
        outcome, detail, notes = run_command(root, check, logs, end - start)
    return Case(check.name, outcome, detail, time.monotonic() - start, notes)
