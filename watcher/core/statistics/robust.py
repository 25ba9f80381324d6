"""Level, spread and quantiles that a few wild numbers do not move.

Always holds: the input is finite and not empty, and is not changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

NORMAL = 1.4826
"""Makes the median absolute deviation the standard deviation of a normal distribution (Rousseeuw and Croux,
"Alternatives to the Median Absolute Deviation", JASA 88, 1993)."""


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def spread(values: Sequence[float], around: float | None = None) -> float:
    """The median absolute deviation, scaled to a standard deviation."""
    level = median(values) if around is None else around
    return NORMAL * median([abs(value - level) for value in values])


def quantile(ordered: Sequence[float], share: float) -> float:
    """The quantile of numbers in ascending order, interpolated: type 7 of Hyndman and Fan, "Sample Quantiles in
    Statistical Packages", The American Statistician 50, 1996."""
    place = share * (len(ordered) - 1)
    below = floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
