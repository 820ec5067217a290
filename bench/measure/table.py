# SPDX-License-Identifier: Apache-2.0
"""Results as text: a table a case, ours beside each peer."""
from measure import stats


def columns(case):
    """Programs of a case in the order in which they were measured."""
    return list(dict.fromkeys(name for values in case["figures"].values() for name in values))


def floor_note(case, figure, ours):
    """How far a figure is from what the machine itself costs; empty where nothing is known."""
    floor = case["floor"].get(figure)
    if not floor or not stats.known(case["figures"][figure].get(ours)):
        return ""
    value = stats.summary(case["figures"][figure][ours]).median
    if value < floor:
        return f"floor {stats.number(floor)} {case['units'][figure]}: the machine was too busy to tell the distance"
    return (f"floor {stats.number(floor)} {case['units'][figure]}: {ours} is "
            f"{stats.number(value / floor)} times that")


def comparisons(case, figure, ours):
    """A sentence for each peer of `ours`, such as "0.41 of qemu-7.2 (0.38-0.45), less"."""
    values, found = case["figures"][figure], []
    for peer in values:
        if peer == ours or not stats.known(values.get(ours)) or not stats.known(values[peer]):
            continue
        if stats.summary(values[ours]).wide or stats.summary(values[peer]).wide:
            continue
        known = stats.compare(values[ours], values[peer])
        if known:
            found.append(f"{stats.number(known.ratio)} of {peer} ({stats.number(known.low)}-"
                         f"{stats.number(known.high)}), {known.verdict}")
    return found


def disagreements(case, figure):
    """Where a VMM's own word is more than a factor of 2 off what its guest felt."""
    other = case["beside"].get(figure)
    for program, felt in case["figures"][figure].items():
        said = case["figures"].get(other, {}).get(program)
        if stats.known(felt) and stats.known(said):
            pair = [stats.summary(values).median for values in (felt, said)]
            if max(pair) > 2 * min(pair):
                yield (f"{program} says {stats.number(pair[1])}, its guest felt "
                       f"{stats.number(pair[0])} {case['units'][figure]}")


def notes(case, figure, ours):
    """All that is to be said about a figure."""
    found = [*comparisons(case, figure, ours), floor_note(case, figure, ours),
             *disagreements(case, figure)]
    return [line for line in found if line]


def agreement(one, other):
    """What is to be said of two runs of a figure."""
    if stats.summary(one).wide or stats.summary(other).wide:
        return "are too wide to tell"
    return "agree" if stats.agree(one, other) else "DISAGREE"


def ratios(now, before, ours):
    """For each peer of both runs of a figure: its name, and what `ours` was of it then and now (stats.compare())."""
    for peer in now:
        if peer != ours and all(stats.known(run.get(name)) for run in (now, before) for name in (ours, peer)):
            pair = [stats.compare(run[ours], run[peer]) for run in (before, now)]
            if all(pair):
                yield peer, *pair


def against(now, before):
    """Print, for each figure of two runs, whether they agree, and whether what they say of the VMMs does.

    A machine may be slower for all of them the second time; a ratio within a run doesn't know of that.
    """
    for name, case in now["cases"].items():
        for figure, values in case["figures"].items():
            old = before["cases"].get(name, {}).get("figures", {}).get(figure, {})
            for program, ours in values.items():
                if stats.known(ours) and stats.known(old.get(program)):
                    word = agreement(old[program], ours)
                    print(f"  {name}, {figure}, {program}: {stats.text(old[program])} then, "
                          f"{stats.text(ours)} now: the runs {word}")
            for peer, then, new in ratios(values, old, now["ours"]):
                word = "agree" if then.low <= new.high and new.low <= then.high else "DISAGREE"
                print(f"  {name}, {figure}, beside {peer}: {stats.number(then.ratio)} ({stats.number(then.low)}-"
                      f"{stats.number(then.high)}) then, {stats.number(new.ratio)} ({stats.number(new.low)}-"
                      f"{stats.number(new.high)}) now: the ratios {word}")


def show(name, case, ours):
    """Print a case."""
    programs = columns(case)
    load = case["load"]
    print(f"\n{name}: {case['title']}\n  {case['rounds']} rounds in {load['seconds']:.0f} s; "
          f"others used {load['other_cpus']:.1f} CPUs, load {load['load']:.1f}")
    print(f"  {'':34}" + "".join(f"{program:>28}" for program in programs))
    for figure, values in case["figures"].items():
        cells = "".join(f"{stats.text(values.get(program)):>28}" for program in programs)
        print(f"  {figure + ', ' + case['units'][figure]:34}{cells}")
        for line in notes(case, figure, ours):
            print(f"      {line}")
    for trouble in case["troubles"]:
        print(f"  {trouble}")
