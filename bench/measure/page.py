# SPDX-License-Identifier: Apache-2.0
"""Results as one HTML page without any other file: pictures, figures, and what follows from them.

Style and the drawing of time lines are those of `outlive report` (src/cli/report/), which also says
what is in a record; all other pictures are made here, once, as SVG.
"""
import html
import json
import os
import subprocess
import tempfile

from measure import charts, stats, table

ASSETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src", "cli", "report")
MANY = 20  # values from which on their distribution is worth a picture


def asset(name):
    """A file of `outlive report`."""
    with open(os.path.join(ASSETS, name), encoding="utf-8") as file:
        return file.read()


def pictures(record, outlive):
    """What `outlive report` makes of a record (its text); none where there is no such program."""
    if not outlive or not os.path.exists(outlive):
        return []
    with tempfile.NamedTemporaryFile("w", prefix="olb", suffix=".jsonl") as file:
        file.write(record)
        file.flush()
        asked = subprocess.run([outlive, "report", "--json", file.name], capture_output=True, text=True, check=False)
    return json.loads(asked.stdout) if asked.returncode == 0 else []


def figures_html(case, ours):
    """The table of a case: a row for each figure, and what is to be said of it."""
    programs = table.columns(case)
    head = "".join(f"<th>{html.escape(program)}</th>" for program in programs)
    rows = "".join(
        f"<tr><td>{html.escape(figure)}, {html.escape(case['units'][figure])}</td>"
        + "".join(f"<td>{html.escape(stats.text(values.get(name)))}</td>" for name in programs)
        + "</tr>" for figure, values in case["figures"].items())
    return f"<div class=scroll><table><tr><th></th>{head}</tr>{rows}</table></div>"


def figure_html(case, figure, ours):
    """One figure: what is to be said of it, each value, and how many are how large."""
    said = f"<p class=note>{html.escape('; '.join(table.notes(case, figure, ours)))}</p>"
    spread = ""
    samples = [stats.known(values) for values in case.get("samples", {}).get(figure, {}).values()]
    if samples and max(map(len, samples)) >= MANY and all(value > 0 for values in samples for value in values):
        spread = f"<p class=note>All {sum(map(len, samples))} values: the part that is at most so large</p>" \
            + charts.distribution(case, figure)
    return f"<h3>{html.escape(figure)}</h3>{said}{charts.strip(case, figure)}{spread}"


def scales_html(case):
    """Pictures of growth."""
    found = ""
    for scale in case.get("scales", ()):
        if sum(figure in case["figures"] for figure in scale["points"].values()) > 1:
            found += f"<h3>{html.escape(scale['title'])}</h3>" + charts.scaling(case, scale)
    return found


def case_html(name, case, ours):
    """One case."""
    load = case["load"]
    troubles = "".join(f"<p class=note>{html.escape(line)}</p>" for line in case["troubles"])
    figures = "".join(figure_html(case, figure, ours) for figure in case["figures"])
    open_ = " open" if len(case["figures"]) <= 6 else ""
    return (f'<section class=card id="{html.escape(name)}"><h2>{html.escape(name)}</h2>'
            f"<p>{html.escape(case['title'])}</p><p class=note>"
            f"{case['rounds']} rounds in {load['seconds']:.0f} s; others used "
            f"{load['other_cpus']:.1f} CPUs, {load['stolen_cpus']:.1f} stolen, load "
            f"{load['load']:.1f}</p>{figures_html(case, ours)}{troubles}{scales_html(case)}"
            f"<details{open_}><summary>each value</summary>{figures}</details>"
            f'<div class=lines id="lines-{html.escape(name)}"></div></section>')


def floor_html(rows):
    """The floor's table."""
    body = "".join(f"<tr><td>{html.escape(row['group'])}: {html.escape(row['name'])}</td>"
                   f"<td>{html.escape(stats.text(row['samples']))}</td></tr>"
                   for row in rows if row["samples"])
    return ("<section class=card><h2>What the machine itself costs, µs</h2><div class=scroll>"
            f"<table>{body}</table></div></section>") if body else ""


def lines_html(results, outlive):
    """Time lines of the cases that recorded any: data, and the call that draws them."""
    found = {}
    for name, case in results["cases"].items():
        for program, record in case.get("records", {}).items():
            for picture in pictures(record, outlive):
                found.setdefault(name, []).append(dict(picture, title=program))
    if not found:
        return ""
    data = json.dumps(found).replace("<", "\\u003c")
    return (f"<script>{asset('timeline.js')}\nfor (const [name, all] of Object.entries({data}))\n"
            "\ttimelines(document.getElementById(`lines-${name}`), all);\n</script>")


def facts_html(results):
    """Machine, versions, time."""
    def words(value):
        return ", ".join(value) if isinstance(value, list) else str(value)
    facts = " ".join(f"<span>{html.escape(key)} <b>{html.escape(words(value))}</b></span>"
                     for key, value in {**results["machine"], "taken": results["date"]}.items())
    versions = " ".join(f"<span>{html.escape(name)} <b>{html.escape(version)}</b></span>"
                       for name, version in results["programs"].items())
    return f"<p class=facts>{versions}</p><p class=facts>{facts}</p>"


def page(results, outlive=""):
    """The whole page; `outlive` is the program that explains records."""
    cases = "".join(case_html(name, case, results["ours"]) for name, case in results["cases"].items())
    return ("<!DOCTYPE html>\n<html lang=en><meta charset=utf-8>"
            "<meta name=viewport content='width=device-width'><title>Side by side</title>"
            f"<style>{asset('style.css')}</style><h1>Side by side</h1>{facts_html(results)}"
            "<p class=note>A figure is the median (smallest-largest) of rounds that took all programs in turn; a dot "
            "is a round. Ratios are of rounds, with the interval that holds the true median with 90 %. Where the "
            "quartiles are more than half of the median apart there is no figure.</p>"
            f"{cases}{floor_html(results['floor'])}{lines_html(results, outlive)}</html>\n")
