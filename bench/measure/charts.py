# SPDX-License-Identifier: Apache-2.0
"""Pictures of values as SVG: each value of each program, how they are distributed, how they grow.

Colours and type come from the page's style (src/cli/report/style.css); a program keeps its colour
through a case. Whatever is text is escaped here.
"""
import html
import math

from measure import stats

COLOURS = ("--a", "--b", "--c", "--d", "--e", "--f")
WIDTH, LABEL, VALUE, ROW = 960, 190, 150, 24


def colour(at):
    """The colour of the program that is number `at` of its case."""
    return f"var({COLOURS[at % len(COLOURS)]})"


def ticks(top):
    """Round numbers from 0 to `top`, four to six of them."""
    power = 10 ** math.floor(math.log10(top / 4))
    step = next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= top / 4)
    return [n * step for n in range(int(top / step * 1.0001) + 1)]


def log_ticks(low, high):
    """1, 2 and 5 of each decade between two values."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [n * 10.0 ** d for d in decades for n in (1, 2, 5) if low <= n * 10.0 ** d <= high]


def short(value):
    """A number for a mark: no zeros behind the point."""
    return f"{value:.4f}".rstrip("0").rstrip(".") if value < 1000 else f"{value:,.0f}"


def text(x, y, words, anchor="start", kind=""):
    """A line of text."""
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{f" class={kind}" if kind else ""}>'
            f'{html.escape(words)}</text>')


def line(kind, x1, y1, x2, y2, more=""):
    """A straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {more}/>'


def svg(height, parts):
    """The whole picture."""
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{"".join(parts)}</svg>'


def by_program(case, figure, key="figures"):
    """[(place in the case, program, its values)] of those that have any."""
    values = case.get(key, {}).get(figure) or case["figures"][figure]
    return [(at, name, stats.known(values[name])) for at, name in enumerate(values)
            if stats.known(values[name])]


def row(at, colour_of, name, values, place):
    """A program: a dot for each value, a bar from the smallest to the largest, a mark at the median."""
    y, known = ROW * at + ROW / 2, stats.summary(values)
    parts = [text(0, y + 4, name, kind="name"),
             f'<rect x="{place(known.low):.1f}" y="{y - 5}" width="{place(known.high) - place(known.low):.1f}" '
             f'height="10" rx="5" fill="{colour_of}" fill-opacity=".18"/>']
    parts += [f'<circle cx="{place(value):.1f}" cy="{y}" r="3.2" fill="{colour_of}" fill-opacity=".6"/>'
              for value in values]
    parts.append(f'<rect x="{place(known.median) - 1.5:.1f}" y="{y - 9}" width="3" height="18" rx="1.5" '
                 f'fill="{colour_of}"/>')
    said = "too wide" if known.wide else stats.number(known.median)
    return parts + [text(WIDTH, y + 4, said, "end", "strong")]


def strip(case, figure):
    """Every value of a figure, a row for each program; the floor as a line."""
    rows, floor = by_program(case, figure), case["floor"].get(figure)
    top = max((value for _, _, values in rows for value in values), default=0) or 1
    bottom = ROW * len(rows) + 4

    def place(value):
        return LABEL + (WIDTH - LABEL - VALUE) * max(value, 0) / top
    parts = []
    for mark in ticks(top):
        parts += [line("grid", place(mark), 0, place(mark), bottom),
                  text(place(mark), bottom + 14, short(mark), "middle", "dim")]
    if floor and floor <= top:
        parts += [line("limit", place(floor), 0, place(floor), bottom),
                  text(place(floor) + 4, bottom - 2, "floor", kind="dim")]
    for at, (number, name, values) in enumerate(rows):
        parts += row(at, colour(number), name, values, place)
    parts.append(text(WIDTH, bottom + 14, case["units"][figure], "end", "dim"))
    return svg(bottom + 22, parts)


def key(rows):
    """Which colour is whose, as HTML."""
    return "".join(f'<span class=key style="background:{colour(at)}"></span>'
                   f'<span class=note>{html.escape(name)}</span>' for at, name, _ in rows)


def distribution(case, figure):
    """What part of all values is at most so large: a line for each program, on a scale of ratios."""
    rows = by_program(case, figure, "samples")
    every = [value for _, _, values in rows for value in values if value > 0]
    low, high, height = min(every) / 1.1, max(every) * 1.1, 190

    def place(value):
        return 46 + (WIDTH - 56) * math.log(max(value, low) / low) / math.log(high / low)

    def rise(part):
        return height - (height - 10) * part
    parts = []
    for mark in (0, 0.5, 0.9, 1):
        parts += [line("grid", 46, rise(mark), WIDTH - 10, rise(mark)),
                  text(40, rise(mark) + 4, f"{mark * 100:.0f} %", "end", "dim")]
    for mark in log_ticks(low, high):
        parts += [line("grid", place(mark), 10, place(mark), height),
                  text(place(mark), height + 15, short(mark), "middle", "dim")]
    for at, _, values in rows:
        steps = "".join(f"H{place(value):.1f}V{rise((n + 1) / len(values)):.1f}"
                        for n, value in enumerate(sorted(values)))
        parts.append(f'<path d="M46 {height}{steps}H{WIDTH - 10}" fill="none" stroke="{colour(at)}" stroke-width="2"/>')
    parts.append(text(WIDTH - 10, height + 30, case["units"][figure], "end", "dim"))
    return key(rows) + svg(height + 36, parts)


def scaling(case, scale):
    """How figures grow with something: medians with their ranges, a line for each program.

    A range that goes far beyond all medians leaves the picture: the table has it.
    """
    figures = [(float(at), figure) for at, figure in scale["points"].items() if figure in case["figures"]]
    unit = case["units"][figures[0][1]]
    rows = by_program(case, figures[0][1])
    known = {name: [(at, stats.summary(case["figures"][figure][name])) for at, figure in figures
                    if stats.known(case["figures"][figure].get(name))] for _, name, _ in rows}
    every = [value for points in known.values() for _, value in points]
    top = min(max(value.high for value in every), 2 * max(value.median for value in every)) or 1
    first, last, height = figures[0][0], figures[-1][0], 200

    def place(at):
        return 60 + (WIDTH - 90) * math.log2(at / first) / math.log2(last / first)

    def rise(value):
        return height - (height - 12) * value / top
    parts = []
    for mark in ticks(top):
        parts += [line("grid", 46, rise(mark), WIDTH - 10, rise(mark)),
                  text(40, rise(mark) + 4, short(mark), "end", "dim")]
    parts += [text(place(at), height + 16, short(at), "middle", "dim") for at, _ in figures]
    for number, name, _ in rows:
        drawn = "".join(f"{'L' if n else 'M'}{place(at):.1f} {rise(value.median):.1f}"
                        for n, (at, value) in enumerate(known[name]))
        parts.append(f'<path d="{drawn}" fill="none" stroke="{colour(number)}" stroke-width="2"/>')
        for at, value in known[name]:
            x = place(at) + 3 * (number - len(rows) / 2)
            parts += [line("", x, rise(value.low), x, rise(min(value.high, top)),
                           f'stroke="{colour(number)}" stroke-width="1.5" stroke-opacity=".6"'),
                      f'<circle cx="{place(at):.1f}" cy="{rise(value.median):.1f}" r="4" fill="{colour(number)}"/>']
    parts += [text(0, height + 16, unit, kind="dim"), text(WIDTH - 10, height + 32, scale["with"], "end", "dim")]
    return key(rows) + svg(height + 38, parts)
