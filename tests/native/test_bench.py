# SPDX-License-Identifier: Apache-2.0
"""The benchmarks themselves: cases give a figure for each VMM, and what the instrument shows is true."""
import json
import subprocess
import sys

import pytest

from frame.paths import BUILD, ROOT, outlive_vmm

sys.path.append(str(ROOT / "bench"))
from measure import stats  # noqa: E402

BENCH = ROOT / "bench" / "run"
SLEEP_MS = 300
IDLE = "1 vCPU, 256 MiB"


@pytest.fixture
def bench(kvm, tmp_path):
    """Runs the benchmark; what it wrote, and what it said."""
    def run(*words, timeout=150):
        asked = subprocess.run([BENCH, "--no-floor", "--output", tmp_path, *map(str, words)], capture_output=True,
                               text=True, timeout=timeout, check=False)
        assert asked.returncode == 0, (asked.stdout, asked.stderr)
        return json.loads((tmp_path / "bench.json").read_text()), asked.stdout
    return run


def test_each_kind_of_exit_is_measured_in_each_vmm(bench):
    figures = bench("--rounds", 1, "exits")[0]["cases"]["exits"]["figures"]
    assert list(figures) == ["port read", "port write", "MMIO read", "MMIO write", "doorbell"]
    for values in figures.values():
        assert {"outlive", "qemu-7.2"} <= set(values)
        assert all(0.05 < value < 1e5 for (value,) in values.values()), figures


def test_packets_come_back_in_each_vmm(bench):
    figures = bench("--rounds", 1, "net")[0]["cases"]["net"]["figures"]
    assert set(figures) == {"there and back", "32 at a time"}
    assert all(value > 0 for values in figures.values() for (value,) in values.values()), figures


def test_a_recorded_run_of_each_vmm_is_drawn_and_no_guest_is_left(bench, tmp_path):
    case = bench("--rounds", 1, "--only", "outlive,qemu-7.2", "timeline")[0]["cases"]["timeline"]
    assert set(case["records"]) == {"outlive, migration", "outlive, upgrade", "qemu-7.2, migration"}
    page = (tmp_path / "bench.html").read_text()
    lines = json.loads(page.split("Object.entries(")[-1].split("))\n\ttimelines")[0])["timeline"]
    assert [one["title"] for one in lines] == ["outlive, migration", "outlive, upgrade", "qemu-7.2, migration"]
    for one in lines[0], lines[2]:
        assert one["end"] == "completed" and one["parts"][-1]["name"] == "switchover" and one["pause"]["felt-ms"] > 0
        assert sum(part["sent"] for part in one["rounds"]) > 256 << 20 and one["rounds"][0]["rate"] > 0


@pytest.mark.timeout(600)
def test_a_sleep_in_the_switchover_is_shown_as_that_sleep_and_swapped_builds_swap_results(bench, tmp_path):
    plain = str(outlive_vmm())
    slow = f"env LD_PRELOAD={BUILD}/tests/libsleep_in_pause.so SLEEP_MS={SLEEP_MS} {plain}"

    def measured(one, other, *words):
        told, said = bench("--only", "one,other", "--vmm", f"one={one}", "--vmm", f"other={other}", "--cells", IDLE,
                           *words, "scale", timeout=280)
        return told["cases"]["scale"]["figures"][IDLE], said
    first, _ = measured(plain, slow)
    (tmp_path / "bench.json").rename(tmp_path / "first.json")
    second, said = measured(slow, plain, "--against", tmp_path / "first.json")
    for figures, verdict in (first, "less"), (second, "more"):
        assert stats.compare(figures["one"], figures["other"]).verdict == verdict, figures
    # What else a busy machine adds is least in the smallest values.
    least = {name: (min(first[name]), min(second[name])) for name in ("one", "other")}
    assert least["other"][0] - least["one"][0] == pytest.approx(SLEEP_MS, rel=0.4), (first, second)
    assert least["one"][1] - least["other"][1] == pytest.approx(SLEEP_MS, rel=0.4), (first, second)
    verdicts = [line for line in said.splitlines() if IDLE in line and "now: the runs" in line]
    assert len(verdicts) == 2 and not any(line.endswith("agree") for line in verdicts), said
