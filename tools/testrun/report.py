# SPDX-License-Identifier: Apache-2.0
"""What a person and a CI system read at the end of a run."""
from testrun.cases import FAILED, PASSED, SKIPPED

SLOWEST = 5
DETAIL_LINES = 60


def clock(seconds):
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def level_done(result):
    """Print one level's failures as soon as it is done."""
    for case in result.cases:
        if case.outcome == FAILED:
            print(f"\nFAILED  {result.level.name}: {case.name}")
            lines = case.detail.strip().splitlines()
            if len(lines) > DETAIL_LINES:
                lines = lines[:DETAIL_LINES // 2] + ["..."] + lines[-DETAIL_LINES // 2:]
            print("\n".join("    " + line for line in lines))


def skips(results):
    """Name every skipped test with its reason."""
    named = [(r.level.name, c) for r in results for c in r.cases if c.outcome == SKIPPED]
    if named:
        print("\nSkipped:")
    for level, case in named:
        print(f"  {level}: {case.name}: {case.detail.strip() or 'no reason given'}")


def notes(results):
    """What tests noted."""
    for result in results:
        for case in result.cases:
            for note in case.notes:
                print(f"Note    {result.level.name}: {case.name}: " + "\n    ".join(note.splitlines()))


def slowest(results):
    """The tests that take most of the time."""
    timed = sorted(((c.seconds, r.level.name, c.name) for r in results for c in r.cases),
                   reverse=True)[:SLOWEST]
    print("\nSlowest:")
    for seconds, level, name in timed:
        print(f"  {seconds:6.1f} s  {level}: {name}")


def table(results):
    """A line for each level."""
    print(f"\n{'level':10}{'passed':>8}{'failed':>8}{'skipped':>9}{'time':>8}{'limit':>8}")
    for result in results:
        counts = [result.count(outcome) for outcome in (PASSED, FAILED, SKIPPED)]
        print(f"{result.level.name:10}{counts[0]:8}{counts[1]:8}{counts[2]:9}"
              f"{clock(result.seconds):>8}{clock(result.level.minutes * 60):>8}")


def last_line(results):
    """The sum over all levels."""
    passed, failed, skipped = (sum(result.count(outcome) for result in results)
                               for outcome in (PASSED, FAILED, SKIPPED))
    return f"{passed} passed, {failed} failed, {skipped} skipped"
