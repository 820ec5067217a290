# SPDX-License-Identifier: Apache-2.0
"""Results as one HTML page without any other file: a picture of every value, and the figures."""
import html

from measure import stats, table

COLOURS = ("#0b6e99", "#b3541e", "#6b7280", "#5b8c2a", "#8a4fa0")
WIDTH, LABEL, ROW = 860, 150, 22

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;
color:#1f2933;background:#fff}table{border-collapse:collapse}td,th{padding:.15em .9em;
text-align:right}td:first-child,th:first-child{text-align:left}h2{margin-top:2em}
.note{color:#52606d;font-size:13px}svg{display:block;margin:.4em 0 1.2em}"""


def strip(case, figure):
    """An SVG: a row for each program, a dot for each value, a bar at the median."""
    rows = {name: stats.known(values) for name, values in case["figures"][figure].items()}
    rows = {name: values for name, values in rows.items() if values}
    top = max((value for values in rows.values() for value in values), default=0) or 1
    span, height = WIDTH - LABEL - 30, ROW * len(rows) + 24
    parts = []
    for at, (name, values) in enumerate(rows.items()):
        y, colour = ROW * at + ROW / 2, COLOURS[at % len(COLOURS)]
        known = stats.summary(values)
        low, mid, high = (LABEL + span * max(value, 0) / top
                          for value in (known.low, known.median, known.high))
        parts.append(f'<text x="0" y="{y + 4:.0f}">{html.escape(name)}</text>'
                     f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="{colour}"/>'
                     f'<line x1="{mid:.1f}" x2="{mid:.1f}" y1="{y - 8}" y2="{y + 8}" '
                     f'stroke="{colour}" stroke-width="3"/>')
        parts += [f'<circle cx="{LABEL + span * max(value, 0) / top:.1f}" cy="{y}" r="3.5" '
                  f'fill="{colour}" fill-opacity=".5"/>' for value in values]
    axis = ROW * len(rows) + 4
    parts.append(f'<line x1="{LABEL}" x2="{LABEL + span}" y1="{axis}" y2="{axis}" '
                 f'stroke="#9aa5b1"/><text x="{LABEL}" y="{axis + 16}">0</text>'
                 f'<text x="{LABEL + span}" y="{axis + 16}" text-anchor="end">'
                 f'{stats.number(top)} {html.escape(case["units"][figure])}</text>')
    return (f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" '
            f'font-size="13">{"".join(parts)}</svg>')


def case_html(name, case, ours):
    """One case: a table, and a picture for each figure."""
    programs, load = table.columns(case), case["load"]
    head = "".join(f"<th>{html.escape(program)}</th>" for program in programs)
    rows = "".join(
        f"<tr><td>{html.escape(figure)}, {html.escape(case['units'][figure])}</td>"
        + "".join(f"<td>{html.escape(stats.text(values.get(name)))}</td>" for name in programs)
        + "</tr>" for figure, values in case["figures"].items())
    pictures = ""
    for figure in case["figures"]:
        said = html.escape("; ".join(table.notes(case, figure, ours)))
        pictures += (f"<h3>{html.escape(figure)}</h3><p class=note>{said}</p>"
                     + strip(case, figure))
    troubles = "".join(f"<p class=note>{html.escape(line)}</p>" for line in case["troubles"])
    return (f"<h2>{html.escape(name)}: {html.escape(case['title'])}</h2><p class=note>"
            f"{case['rounds']} rounds in {load['seconds']:.0f} s; others used "
            f"{load['other_cpus']:.1f} CPUs, {load['stolen_cpus']:.1f} stolen, load "
            f"{load['load']:.1f}</p><table><tr><th></th>{head}</tr>{rows}</table>"
            f"{troubles}{pictures}")


def floor_html(rows):
    """The floor's table."""
    body = "".join(f"<tr><td>{html.escape(row['group'])}: {html.escape(row['name'])}</td>"
                   f"<td>{html.escape(stats.text(row['samples']))}</td></tr>"
                   for row in rows if row["samples"])
    return f"<h2>What the machine itself costs, µs</h2><table>{body}</table>" if body else ""


def page(results):
    """The whole page."""
    machine = results["machine"]
    facts = "; ".join(f"{key} {value}" for key, value in machine.items())
    versions = "; ".join(f"{name}: {value}" for name, value in results["programs"].items())
    cases = "".join(case_html(name, case, results["ours"])
                    for name, case in results["cases"].items())
    return (f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Side by side</title>"
            f"<style>{STYLE}</style><h1>Side by side</h1><p>{html.escape(versions)}</p>"
            f"<p class=note>{html.escape(facts)}; {html.escape(results['date'])}</p>"
            "<p class=note>Figures are medians (smallest-largest) of rounds that took all programs "
            "in turn; a dot is a value. Ratios are of rounds, with the interval that holds the "
            "true median with 90 %.</p>"
            f"{cases}{floor_html(results['floor'])}</html>\n")
