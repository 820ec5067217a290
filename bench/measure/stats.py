# SPDX-License-Identifier: Apache-2.0
"""What can be said about a handful of measured values, and what can't.

Theory of operation: nothing is assumed about how values are distributed; pauses and start-up
times have long tails. A figure is a median with its smallest and largest value. Two programs are
compared round by round, since both were measured in the same moment: the ratios of the rounds
have a median too, and an interval that holds the true one with at least 90 % (by the binomial
distribution of order statistics). Only when 1 lies outside of it is one said to be faster.
"""
import math
import statistics
from dataclasses import dataclass

WIDE = 0.5          # quartiles further apart than this part of the median: no figure
CONFIDENCE = 0.9
FEW = 3             # fewer values than this say nothing about their spread


@dataclass(frozen=True)
class Summary:
    """Values of one figure of one program: median, range and quartiles."""

    count: int
    median: float
    low: float
    high: float
    spread: float   # distance of the quartiles, as a part of the median

    @property
    def wide(self):
        """Whether the values are too far apart for their median to be a figure."""
        return self.count >= FEW and self.spread > WIDE


def known(values):
    """The values of a list in which None stands for a round that gave none."""
    return [value for value in values or () if value is not None]


def summary(values):
    """The Summary of one value or more; None doesn't count."""
    values = sorted(known(values))
    middle = statistics.median(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") \
        if len(values) > 1 else (middle,) * 3
    spread = (high - low) / abs(middle) if middle else (math.inf if high > low else 0.0)
    return Summary(len(values), middle, values[0], values[-1], spread)


def interval(values):
    """Where the true median lies with CONFIDENCE, from the values' order; None: too few values.

    The k-th smallest and k-th largest of n enclose it unless fewer than k values fell on one
    side, which happens with twice the sum of binomial(n, i) / 2**n for i < k.
    """
    values, count = sorted(values), len(values)
    best, outside = None, 0.0
    for k in range(1, count // 2 + 1):
        outside += 2 * math.comb(count, k - 1) / 2 ** count
        if 1 - outside < CONFIDENCE:
            break
        best = (values[k - 1], values[count - k])
    return best


@dataclass(frozen=True)
class Comparison:
    """One program against another: ratio of the rounds, and whether it is beyond chance."""

    ratio: float
    low: float
    high: float
    verdict: str    # "less", "more", "no difference seen", "too few rounds"


def compare(ours, theirs):
    """The Comparison of two lists of values, paired by round; None when a ratio has no meaning."""
    pairs = [pair for pair in zip(ours, theirs) if None not in pair]
    if not pairs or any(a <= 0 or b <= 0 for a, b in pairs):
        return None
    ratios = [a / b for a, b in pairs]
    bounds = interval(ratios)
    if not bounds:
        return Comparison(statistics.median(ratios), min(ratios), max(ratios), "too few rounds")
    verdict = "less" if bounds[1] < 1 else "more" if bounds[0] > 1 else "no difference seen"
    return Comparison(statistics.median(ratios), *bounds, verdict)


def agree(one, other):
    """Whether two runs of one figure fit: the median of one lies in the range that the other states.

    With five values each that misses one in twenty pairs that are the same; asking it of both
    medians would miss one in five.
    """
    a, b = summary(one), summary(other)
    return b.low <= a.median <= b.high or a.low <= b.median <= a.high


def number(value):
    """A value with three digits that mean something."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 4)}f}"


def text(values):
    """A figure as it is shown: median (smallest-largest), or why there is none."""
    if not known(values):
        return "-"
    figure = summary(values)
    bounds = f"{number(figure.low)}-{number(figure.high)}"
    return f"too wide ({bounds})" if figure.wide else f"{number(figure.median)} ({bounds})"
