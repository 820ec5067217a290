# SPDX-License-Identifier: Apache-2.0
"""The benchmarks' instrument: what it says of values whose truth is known.

Values are synthetic, from generators with fixed seeds, shaped as times are: a floor, a long tail,
and moments of other load that meet all programs of a round.
"""
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import random
import subprocess
import sys
import time
import types

import pytest

from frame.paths import BUILD, ROOT

sys.path.append(str(ROOT / "bench"))
from measure import markdown, page, stats, table  # noqa: E402


def script(path, name):
    """A program without .py as a module."""
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.modules[name] = module
    loader.exec_module(module)
    return module


bench, guard = script("bench/run", "bench_run"), script("bench/guard/run", "guard_run")


def rounds(seed, count=9, **true_ms):
    """{program: values} of programs with these true times; noise of a few per cent, a busy moment
    in one of eight rounds."""
    source, values = random.Random(seed), {name: [] for name in true_ms}
    for _ in range(count):
        busy = 1.6 if source.random() < 1 / 8 else 1.0
        for name, true in true_ms.items():
            values[name].append(true * busy * source.lognormvariate(0, 0.04))
    return values


def synthetic(times, title="A case", fail=()):
    """A case whose measured value is what `times` gives for the program's argv."""
    def measure(program, folder):
        if program.name in fail:
            raise AssertionError("it fell over\nand said more")
        return {"pause": times[program.argv[0]](), "constant": 1.0}
    return types.SimpleNamespace(__doc__=title, UNIT="ms", measure=measure)


def noisy(source, true):
    return lambda: true * source.lognormvariate(0, 0.02)


def program(name, binary):
    return types.SimpleNamespace(name=name, argv=(binary,), env=None)


def test_of_several_values_in_a_round_the_median_counts_and_all_are_drawn():
    case = types.SimpleNamespace(__doc__="A case", UNIT="ms", SCALES=[],
                                 measure=lambda program, folder: {"pause": [1.0, 2.0, 9.0]})
    result = bench.measure_case(case, [program("a", "/a")], 8, time.monotonic() + 30)
    assert result["figures"]["pause"]["a"] == [2.0] * 8
    assert sorted(result["samples"]["pause"]["a"]) == [1.0] * 8 + [2.0] * 8 + [9.0] * 8
    text = page.page({"machine": {}, "programs": {}, "ours": "a", "date": "d", "floor": [], "cases": {"x": result}})
    assert text.count("<svg") == 2 and "All 24 values" in text


def test_growth_is_drawn_where_there_are_two_points():
    scales = [{"title": "With vCPUs", "with": "vCPUs", "points": {"1": "one", "8": "eight", "64": "none"}}]
    case = types.SimpleNamespace(__doc__="A case", UNIT="ms", SCALES=scales,
                                 measure=lambda program, folder: {"one": 1.0, "eight": 2.0})
    result = bench.measure_case(case, [program("a", "/a")], 3, time.monotonic() + 30)
    text = page.page({"machine": {}, "programs": {}, "ours": "a", "date": "d", "floor": [], "cases": {"x": result}})
    assert "With vCPUs" in text and text.count("<svg") == 3


def measured(found, times, count=9, **options):
    """The result of a case."""
    return bench.measure_case(synthetic(times, **options), found, count, time.monotonic() + 30)


def test_two_runs_of_the_same_agree():
    pairs = [(rounds(seed, a=5.0)["a"], rounds(seed + 1000, a=5.0)["a"]) for seed in range(300)]
    assert sum(stats.agree(one, other) for one, other in pairs) >= 0.95 * len(pairs)


def test_two_runs_of_something_else_do_not_agree():
    pairs = [(rounds(seed, a=5.0)["a"], rounds(seed + 1000, a=9.0)["a"]) for seed in range(300)]
    assert sum(stats.agree(one, other) for one, other in pairs) <= 0.03 * len(pairs)


def test_equal_programs_are_rarely_called_different():
    verdicts = [stats.compare(*rounds(seed, a=5.0, b=5.0).values()).verdict for seed in range(400)]
    assert sum(word != "no difference seen" for word in verdicts) <= 0.1 * len(verdicts)


def test_a_tenth_more_is_seen():
    verdicts = [stats.compare(*rounds(seed, a=5.5, b=5.0).values()).verdict for seed in range(200)]
    assert sum(word == "more" for word in verdicts) >= 0.8 * len(verdicts)
    assert "less" not in verdicts


def test_a_busy_moment_that_meets_both_does_not_hide_a_difference():
    ours, theirs = [1.0, 1.1, 5.0, 1.0, 9.0], [2.0, 2.2, 10.0, 2.0, 18.0]
    known = stats.compare(ours, theirs)
    assert known.verdict == "less" and known.ratio == pytest.approx(0.5)


def test_a_sleep_in_a_build_is_shown_as_that_sleep():
    source = random.Random(3)
    times = {"/plain": noisy(source, 5.0), "/slow": lambda: 4.0 + noisy(source, 5.0)()}
    found = [program("new", "/slow"), program("old", "/plain")]
    values = measured(found, times)["figures"]["pause"]
    assert stats.compare(values["new"], values["old"]).verdict == "more"
    medians = [stats.summary(values[name]).median for name in ("new", "old")]
    assert medians[0] - medians[1] == pytest.approx(4.0, abs=0.3)


def test_swapping_the_binaries_swaps_the_results():
    source = random.Random(4)
    times = {"/fast": noisy(source, 2.0), "/slow": noisy(source, 3.0)}
    one = measured([program("a", "/fast"), program("b", "/slow")], times)["figures"]["pause"]
    two = measured([program("a", "/slow"), program("b", "/fast")], times)["figures"]["pause"]
    assert stats.agree(one["a"], two["b"]) and stats.agree(one["b"], two["a"])
    assert not stats.agree(one["a"], two["a"])
    verdicts = [stats.compare(values["a"], values["b"]) for values in (one, two)]
    assert [known.verdict for known in verdicts] == ["less", "more"]
    assert verdicts[0].ratio * verdicts[1].ratio == pytest.approx(1, abs=0.1)


def test_no_program_is_always_first():
    seen = []
    times = {name: lambda name=name: seen.append(name) or 1.0 for name in ("/a", "/b")}
    measured([program("a", "/a"), program("b", "/b")], times, count=3)
    assert seen == ["/a", "/b", "/b", "/a", "/a", "/b"]


def test_values_too_far_apart_give_no_figure():
    assert stats.text([1.0, 1.0, 5.0, 9.0, 9.0]) == "too wide (1.00-9.00)"
    assert stats.text([1.0, 1.1, 1.2, 1.3, 9.0]) == "1.20 (1.00-9.00)"
    case = {"figures": {"x": {"a": [1.0, 5.0, 9.0] * 3, "b": [1.0] * 9}}}
    assert table.comparisons(case, "x", "a") == []


def compared(before, now):
    """What --against says of two runs of one figure."""
    cases = [{"ours": "a", "cases": {"case": {"figures": {"figure": values}}}} for values in (before, now)]
    with io.StringIO() as said, contextlib.redirect_stdout(said):
        table.against(cases[1], cases[0])
        return said.getvalue()


def test_a_slower_machine_changes_the_figures_and_not_the_ratios():
    before, now = rounds(21, a=2.0, b=6.0), rounds(22, a=6.0, b=18.0)
    said = compared(before, now)
    assert said.count("the runs DISAGREE") == 2 and "the ratios agree" in said, said


def test_a_slower_program_changes_the_ratio():
    assert "the ratios DISAGREE" in compared(rounds(13, a=2.0, b=6.0), rounds(14, a=3.0, b=6.0))


def test_runs_that_are_too_wide_neither_agree_nor_disagree():
    assert table.agreement([1.0, 5.0, 9.0], [1.0, 5.0, 9.0]) == "are too wide to tell"
    assert table.agreement([1.0, 1.1, 1.2], [1.1, 1.1, 1.3]) == "agree"
    assert table.agreement([1.0, 1.1, 1.2], [2.0, 2.1, 2.2]) == "DISAGREE"


def test_few_rounds_give_no_verdict():
    assert stats.interval([1.0] * 4) is None
    assert stats.interval([3.0, 1.0, 2.0, 5.0, 4.0]) == (1.0, 5.0)
    assert stats.compare([1.0] * 4, [2.0] * 4).verdict == "too few rounds"


def test_a_program_that_fails_is_named_and_the_other_is_measured():
    result = measured([program("a", "/a"), program("b", "/b")], {"/b": lambda: 2.0}, count=2,
                      fail=("a",))
    assert result["figures"]["pause"] == {"a": [None, None], "b": [2.0, 2.0]}
    assert result["troubles"] == [f"a failed in round {n}: it fell over" for n in (1, 2)]
    assert result["failed"] == 2
    assert stats.text(result["figures"]["pause"]["a"]) == "-"


def test_rounds_stay_paired_where_one_is_missing():
    known = stats.compare([1.0, None, 3.0, 4.0, 5.0, 6.0], [2.0, 9.0, 6.0, 8.0, 10.0, 12.0])
    assert (known.low, known.high) == (0.5, 0.5)


def test_the_time_limit_ends_a_case_and_is_told(monkeypatch):
    monkeypatch.setattr(bench.signal, "setitimer", lambda *_: None)
    case = synthetic({"/a": lambda: time.sleep(0.25) or 1.0})
    start = time.monotonic()
    result = bench.measure_case(case, [program("a", "/a")], 1000, start + 2)
    assert time.monotonic() - start < 60
    assert 1 <= result["rounds"] < 9 and "of 1000 rounds" in result["troubles"][0]
    assert not result["failed"]


def test_a_vmm_that_says_less_than_its_guest_felt_is_told():
    case = {"figures": {"felt": {"a": [4.0] * 5, "b": [4.0] * 5},
                        "said": {"a": [1.0] * 5, "b": [3.0] * 5}},
            "beside": {"felt": "said"}, "units": {"felt": "ms"}}
    assert list(table.disagreements(case, "felt")) == ["a says 1.00, its guest felt 4.00 ms"]


def test_the_distance_to_the_floor_is_in_the_figure_s_unit():
    case = types.SimpleNamespace(FLOOR={"pause": ("get", "set"), "eight": ("get", ("set", 8)), "other": ("unknown",)})
    units = {"pause": "ms", "eight": "ms", "other": "ms"}
    assert bench.floor_of(case, units, {"get": [100.0], "set": [400.0]}) == {"pause": 0.5, "eight": 3.3}


def test_the_page_needs_no_other_file():
    result = measured([program("a", "/a"), program("<b>", "/b")],
                      {"/a": lambda: 1.0, "/b": lambda: 2.0}, count=3)
    text = page.page({"machine": {"cpu": "x"}, "programs": {"a": "1"}, "ours": "a", "date": "d",
                      "cases": {"pause": result}, "floor": []})
    assert text.count("<svg") == 2 and "<circle" in text and "&lt;b&gt;" in text
    assert not any(word in text for word in ("http", "src=", "href=", "url(", "@import", "<b></b>"))
    assert "<b>" not in text.replace("<b>1</b>", "").replace("<b>x</b>", "").replace("<b>d</b>", "")


def test_a_document_has_each_figure_with_its_peers():
    result = measured([program("a", "/a"), program("b", "/b")], {"/a": lambda: 1.0, "/b": lambda: 2.0}, count=5)
    lines = markdown.document({"ours": "a", "cases": {"pause": result}}).splitlines()
    assert lines[0].startswith("`pause`: A case. 5 rounds")
    assert lines[2:4] == ["| | a | b | beside |", "| --- | --- | --- | --- |"]
    assert "| pause, ms | 1.00 (1.00-1.00) | 2.00 (2.00-2.00) | 0.500 of b (0.500-0.500), less |" in lines


@pytest.mark.parametrize("now, verdict, status", [
    (1060, "worse", 1), (1040, "ok", 0), (1000, "ok", 0), (960, "ok", 0), (940, "better", 0)])
def test_the_guard_s_limit(now, verdict, status):
    rows = guard.judge({"path": now}, {"path": 1000})
    assert [row[3] for row in rows] == [verdict]
    assert guard.compare("here", rows) == status


def test_the_guard_wants_every_case_counted():
    assert [row[3] for row in guard.judge({"a": 1}, {"b": 1})] == ["new", "gone"]
    assert guard.compare("here", guard.judge({"a": 1}, {"b": 1})) == 1


def test_the_floor_is_measured(kvm):
    asked = subprocess.run([BUILD / "bench" / "floor", "--json", "--rounds", "1"],
                           capture_output=True, text=True, timeout=60, check=True)
    rows = {row["name"]: row["samples"] for row in json.loads(asked.stdout)["rows"]}
    assert asked.stderr == ""
    assert {"create VM", "capture a vCPU", "apply a vCPU", "port write", "MMIO write",
            "doorbell by eventfd", "first touch of a new page", "futex, there and back",
            "loopback TCP, 1 MiB"} <= set(rows)
    assert all(value > 0 for values in rows.values() for value in values)
