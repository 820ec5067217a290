# SPDX-License-Identifier: Apache-2.0
"""The checks of the source, each one program; a check is one case in the level "checks"."""
import os
import time
from dataclasses import dataclass

from testrun import builds
from testrun.cases import FAILED, PASSED, Case
from testrun.process import run


@dataclass
class Check:
    """A check: its name, and its command or the build folder that must compile."""

    name: str
    argv: tuple = ()
    folder: str = ""


CHECKS = (
    Check("rooms use only what is above them", ("tools/check-rooms",)),
    Check("style: budgets, comments, text", ("tools/check-style",)),
    Check("clang-format agrees with the layout", ("tools/check-format",)),
    Check("cppcheck finds nothing", ("tools/check-cppcheck",)),
    Check("documents agree with the tree", ("tools/check-docs",)),
    Check("gcc compiles the tree", folder="build"),
    Check("gcc with address and undefined sanitizers compiles the tree", folder="build-asan"),
    Check("gcc with thread sanitizer compiles the tree", folder="build-tsan"),
    Check("clang-14 compiles the tree", folder="build-clang"),
    Check("gcc for aarch64 compiles the neutral rooms", ("tools/check-aarch64",)),
)


def run_check(root, check, jobs, logs, end):
    """Run one check until `end` (monotonic) at the latest."""
    start = time.monotonic()
    if check.folder:
        detail = builds.build(root, check.folder, jobs, logs)
    else:
        log = os.path.join(logs, os.path.basename(check.argv[0]) + ".log")
        done = run(list(check.argv), end - start, log, root)
        detail = builds.tail(done.output, 100) if done.status or done.timed_out else ""
        if done.timed_out:
            detail += "\nended at the time limit"
        elif done.status and not detail:
            detail = f"exit {done.status}"
    return Case(check.name, FAILED if detail else PASSED, detail, time.monotonic() - start)
