# SPDX-License-Identifier: Apache-2.0
"""The levels of tests and how each is run.

Theory of operation: a level is a folder below tests/ and a meson suite of the same name. Its
C tests run by `meson test` in the level's build folder, its Python tests by pytest, which
drives the programs of the plain build. Tests in the suite "threads" run once more under TSan.
Each level has a time limit of its own; what is not done by then counts as failed.

A level that drives real machines meets the host's other load. When its tests fail in a few ways,
those run once more with the machine to themselves, right after the others; a test that passes then
counts as passed, with a note that says how it failed first. Many failures are no accident and stay;
those of one fixture are one.
"""
import glob
import os
import time
from dataclasses import dataclass, field

from testrun import builds, cases, checks
from testrun.cases import FAILED, SKIPPED, Case
from testrun.process import run


@dataclass
class Level:
    """A level: where its C tests are built, its limit in minutes, whether its threads are tested
    under TSan, and the commands that fetch or build what it needs beside the tree (tests have no
    network). What fails in a level of `machines` gets a second try.
    """

    name: str
    build: str = "build"
    minutes: float = 5
    threads: bool = False
    prepare: tuple = ()
    machines: bool = False


@dataclass
class Result:
    """What a level gave."""

    level: Level
    cases: list = field(default_factory=list)
    seconds: float = 0.0

    def count(self, outcome):
        """How many cases ended so."""
        return sum(case.outcome == outcome for case in self.cases)


MOST_TRIED_AGAIN = 3  # ways to fail

LEVELS = {level.name: level for level in (
    Level("checks", minutes=20),
    Level("unit", build="build-asan", minutes=8, threads=True),
    Level("wire", build="build-asan", minutes=4),
    Level("native", minutes=15, prepare=(("tools/newest-qemu",), ("tools/last-release",)), machines=True),
    Level("interop", minutes=15, prepare=(("tools/newest-qemu",),), machines=True),
    Level("lab", minutes=25, prepare=(("lab/lab", "kernels", "--fetch"),), machines=True),
    Level("fault", minutes=15, machines=True),
)}


class Runner:
    """Runs levels in a tree; `deadline` is the monotonic time when all must be done."""

    def __init__(self, root, jobs, deadline, keyword=""):
        self.root = root
        self.jobs = jobs
        self.deadline = deadline
        self.keyword = keyword
        self.logs = os.path.join(root, "build-tests")
        self.built = {}
        os.makedirs(self.logs, exist_ok=True)

    def run(self, level):
        """All cases of a level."""
        start = time.monotonic()
        end = min(start + level.minutes * 60, self.deadline)
        result = Result(level)
        for number, argv in enumerate(level.prepare):
            result.cases += self.prepare(f"{level.name}-prepare{number or ''}", argv, end)
        if level.name == "checks":
            result.cases += self.checks(end)
        else:
            result.cases += self.meson(level, level.build, level.name, end)
            if level.threads:
                result.cases += self.meson(level, "build-tsan", "threads", end)
        result.cases += self.pytest(level, end)
        if not result.cases:
            result.cases = [Case("the whole level", SKIPPED, "there is no test in it yet")]
        result.seconds = time.monotonic() - start
        return result

    def build(self, name):
        """Build a folder once in this run; returns the cases to report (none when it is well)."""
        if name not in self.built:
            self.built[name] = builds.build(self.root, name, self.jobs, self.logs)
        return [Case(f"build of {name}", FAILED, self.built[name])] if self.built[name] else []

    def prepare(self, name, argv, end):
        """Get something that a level needs; a failed case when that is not possible."""
        done = run(list(argv), end - time.monotonic(), os.path.join(self.logs, f"{name}.log"), self.root)
        print(f"{argv[0]}: {done.output.strip().splitlines()[-1]}" if done.output.strip() else argv[0], flush=True)
        return [Case(" ".join(argv), FAILED, builds.tail(done.output))] if done.status else []

    def checks(self, end):
        """The checks of the source."""
        found = []
        for check in checks.CHECKS:
            found.append(checks.run_check(self.root, check, self.jobs, self.logs, end))
        return found

    def meson(self, level, folder, suite, end):
        """The C tests of a suite, in a build folder."""
        failed = self.build(folder)
        path = os.path.join(self.root, folder)
        if failed or not any(suite in names for names in builds.suites(path)):
            return failed
        env = {**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP",
               "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1",
               "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
               "TSAN_OPTIONS": "halt_on_error=1"}
        log = os.path.join(path, "meson-logs", "testlog.json")

        def start(names=()):
            argv = ["meson", "test", "-C", path, "--no-rebuild", "--suite", suite,
                    "--num-processes", str(1 if names else self.jobs), *names]
            return self.start(argv, log, f"{folder}-{suite}", cases.read_meson_log, end, env)

        done, found = start()
        done, found = self.try_again(level, done, found, start, cases.meson_name)
        for case in found:
            case.name = f"{folder}: {case.name}" if folder == "build-tsan" else case.name
        return found + self.verdict(f"meson test --suite {suite}", level, done, found)

    def pytest(self, level, end):
        """The Python tests of a level."""
        folder = os.path.join("tests", level.name)
        if not glob.glob(os.path.join(self.root, folder, "test_*.py")):
            return []
        failed = self.build("build") if level.name != "checks" else []
        if failed:
            return failed

        def start(names=()):
            report = os.path.join(self.logs, f"{level.name}{'-again' if names else ''}.xml")
            argv = ["/usr/bin/python3", "-B", "-m", "pytest", *(names or [folder]), "-v", f"--junitxml={report}"]
            return self.start(argv + (["-k", self.keyword] if self.keyword else []), report,
                              os.path.basename(report)[:-4], cases.read_junit, end)

        done, found = start()
        done, found = self.try_again(level, done, found, start, cases.pytest_name)
        return found + self.verdict(f"pytest {folder}", level, done, found, good=(0, 5))

    def start(self, argv, report, log, read, end, env=None):
        """Run a runner of tests until `end`; returns how it ended and the cases in its report."""
        if os.path.exists(report):
            os.unlink(report)
        done = run(argv, end - time.monotonic(), os.path.join(self.logs, f"{log}.log"), self.root, env)
        return done, read(report) if os.path.exists(report) else []

    def try_again(self, level, done, found, start, name):
        """How it ended and the cases, after a second try of a few that failed.

        `start(names)` runs those alone, `name(case)` is what it takes.
        """
        failed = [case for case in found if case.outcome == FAILED]
        ways = {case.detail for case in failed}
        if not level.machines or done.timed_out or done.left or not 0 < len(ways) <= MOST_TRIED_AGAIN:
            return done, found
        print(f"once more, alone: {', '.join(case.name for case in failed)}", flush=True)
        again, second = start(sorted({name(case) for case in failed}))
        if again.timed_out or again.left:
            return done, found
        cases.second_try(failed, second)
        return done if any(case.outcome == FAILED for case in failed) else again, found

    def verdict(self, what, level, done, found, good=(0,)):
        """A failed case for what no test tells: the limit, a crash of the runner, processes left."""
        told = any(case.outcome == FAILED for case in found)
        if done.timed_out:
            return [Case(what, FAILED, f"not done within {level.minutes:g} minutes for the level, "
                         f"or the limit of the run; last:\n{builds.tail(done.output)}")]
        if done.status not in good and not told:
            return [Case(what, FAILED, f"exit {done.status}\n{builds.tail(done.output)}")]
        if done.left:
            return [Case(what, FAILED, "processes left behind:\n" + "\n".join(done.left))]
        return []
