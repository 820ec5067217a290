# SPDX-License-Identifier: Apache-2.0
"""Results as Markdown tables, for documents: what the terminal shows, with the comparison in a column of its own."""
from measure import stats, table


def heading(name, case):
    """What a table is of, in one line."""
    load = case["load"]
    return (f"`{name}`: {case['title']}. {case['rounds']} rounds in {load['seconds']:.0f} s; others used "
            f"{load['other_cpus']:.1f} CPUs, load {load['load']:.1f}.")


def rows(case, ours):
    """The lines of a case's table."""
    programs = table.columns(case)
    yield "| | " + " | ".join(programs) + " | beside |"
    yield "|" + " --- |" * (len(programs) + 2)
    for figure, values in case["figures"].items():
        cells = [f"{figure}, {case['units'][figure]}", *(stats.text(values.get(program)) for program in programs),
                 "; ".join(table.comparisons(case, figure, ours))]
        yield "| " + " | ".join(cells) + " |"


def document(results):
    """All cases of a bench.json."""
    parts = [f"{heading(name, case)}\n\n" + "\n".join(rows(case, results["ours"])) + "\n"
             for name, case in results["cases"].items()]
    return "\n".join(parts)
