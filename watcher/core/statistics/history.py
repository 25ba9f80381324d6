"""A metric's past on a grid of equal steps, and what is looked up in it again and again.

Always holds: cell `len(values)` is the first one after the past, so a watch at the origin `o` of a past hour and the
real one are the same arithmetic. A cell without a number is NaN; of several numbers in one cell the last counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import isnan, nan

from watcher.core.statistics.ranks import Check, Ranked, ranked
from watcher.core.statistics.robust import median

Point = tuple[float, float]
"""A time (Unix seconds) and a finite number."""

HOUR = 3600.0
DAY = 86400.0

CHECKS = (Check(1, 1), Check(2, 3), Check(3, 15), Check(8, 15))
MEDIAN = CHECKS[-1]
WIDEST = max(check.of for check in CHECKS)

LEAST_IN_LEVEL = 5
"""A level needs so many numbers."""


@dataclass(frozen=True, slots=True)
class Grid:
    """`end` is the time of the first cell after the past."""

    end: float
    step: float

    def cell(self, at: float) -> int:
        """Which cell a time after the past lies in: 0 is the first."""
        return round((at - self.end) / self.step)


@dataclass(frozen=True, slots=True)
class History:
    grid: Grid
    values: list[float]
    ranks: Mapping[Check, Ranked]
    smooth: list[float]
    """The median of the numbers around each cell, which needs as many after it as before it."""
    hour: int
    """How many numbers a level is made of: those of an hour, but not too few."""
    _noise: list[float]
    _counted: list[int]
    _levels: dict[int, float | None] = field(default_factory=dict)

    def level(self, origin: int) -> float | None:
        """The median of the hour before a cell."""
        if origin not in self._levels:
            present = [v for v in self.values[max(0, origin - self.hour) : origin] if not isnan(v)]
            self._levels[origin] = median(present) if len(present) >= LEAST_IN_LEVEL else None
        return self._levels[origin]

    def noise(self, start: int, end: int) -> float | None:
        """The mean distance of the numbers in these cells from their running median."""
        start, end = max(0, start), min(end, len(self.values))
        counted = self._counted[end] - self._counted[start] if start < end else 0
        return (self._noise[end] - self._noise[start]) / counted if counted else None


def history(points: Sequence[Point], step: float, longest: float) -> History:
    """The past as a grid, from points in the order of their times (at least one); at most so many seconds of it."""
    last = points[-1][0]
    grid = Grid(last + step, step)
    first = max(round((points[0][0] - last) / step), -round(longest / step) + 1)
    values = [nan] * (1 - first)
    for at, value in points:
        cell = round((at - last) / step) - first
        if cell >= 0:
            values[cell] = value
    ranks = ranked(values, CHECKS)
    half = MEDIAN.middle
    tops = ranks[MEDIAN].high
    lows = ranks[MEDIAN].low
    smooth = [
        (tops[i + half] + lows[i + half]) / 2 if i + half < len(values) and tops[i + half] > -1e308 else nan
        for i in range(len(values))
    ]
    away = [abs(value - middle) for value, middle in zip(values, smooth, strict=True)]
    noise = [0.0, *accumulate(0.0 if isnan(one) else one for one in away)]
    counted = [0, *accumulate(int(not isnan(one)) for one in away)]
    hour = max(2 * LEAST_IN_LEVEL, round(HOUR / step))
    return History(grid, values, ranks, smooth, hour, noise, counted)
