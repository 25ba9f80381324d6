"""What a reference says of the watch that follows it: learnt once, then held against each newest number.

A look asks four questions of the last numbers (ranks.py): is one number, are most of three, is a fifth of fifteen, is
the median of fifteen further from what is expected than a watch without a change ever gets? Expected is the level of
the hour before the switch, and from there the way other days went on at this time, if that served the past watches
better than a level line. Distances are measured in the noise usual at this hour and lately, and the limits hold for the
whole watch (extremes.py), shared out equally among the questions (Bonferroni).
Always holds: equal input gives an equal answer; nothing that was seen after the switch changes what is expected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan, pi, sqrt
from operator import sub
from typing import Literal

from watcher.core.statistics.autocorrelation import effective_size
from watcher.core.statistics.extremes import BEYOND_FITTED, BEYOND_SEEN, BURSTS_SEEN, LEVELS_SEEN, limit
from watcher.core.statistics.history import CHECKS, DAY, LEAST_IN_LEVEL, MEDIAN, WIDEST, Grid, History, Point, history
from watcher.core.statistics.ranks import Check, newest
from watcher.core.statistics.robust import median, spread
from watcher.core.statistics.shape import Curve, origins_of_other_days, shape, trend
from watcher.core.statistics.student import upper_quantile

LONGEST = 7 * DAY + 7200
"""How much of the past is learnt from."""

STRIDE = 1 / 3
"""A past watch begins every so many hours."""

LEAST_WATCHES = 24
"""With fewer past watches their largest deviations say nothing about a tail."""

_WAYS: tuple[Way, ...] = ("trend", "shape")

FEW = 6.0
"""What few watches have shown is less than there is: limits from n of them are wider by FEW / n."""

SINGLE = 2.0
"""One number alone has to lie so many times further out than the worst one of all past watches."""

Way = Literal["level", "trend", "shape", "short"]
"""What the expectation rests on: `short` when there was too little of a past to choose."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far above and below what is expected one check may lie."""

    above: float
    below: float


@dataclass(frozen=True, slots=True)
class Seen:
    """One check of one look."""

    check: Check
    high: float
    low: float
    expected: float
    reach: Reach


@dataclass(frozen=True, slots=True)
class Reference:
    grid: Grid
    tail: tuple[float, ...]
    """The last numbers before the switch: a check that looks further back than the switch begins with them."""
    level: float
    course: tuple[float, ...]
    """What is expected, from MEDIAN.middle steps before the switch on."""
    reaches: Mapping[Check, Reach]
    way: Way
    watches: int
    """How many past watches the limits come from."""

    def expected(self, cell: int) -> float:
        return self.course[max(0, min(cell + MEDIAN.middle, len(self.course) - 1))]

    def look(self, seen: Sequence[Point]) -> list[Seen]:
        """Judge the newest of the numbers since the switch (in the order of their times, at least one)."""
        now = max(0, self.grid.cell(seen[-1][0]))
        cells = self._last_cells(seen, now)
        found = []
        for check, reach in self.reaches.items():
            high, low = newest(cells, check)
            found.append(Seen(check, high, low, self.expected(now - check.middle), reach))
        return found

    def expect(self, at: float) -> Seen:
        """The middle of the last numbers as it is expected at a time at which there are none."""
        middle = self.expected(max(0, self.grid.cell(at)) - MEDIAN.middle)
        return Seen(MEDIAN, middle, middle, middle, self.reaches[MEDIAN])

    def _last_cells(self, seen: Sequence[Point], now: int) -> list[float]:
        cells = [nan] * WIDEST
        for back, value in enumerate(reversed(self.tail)):
            place = WIDEST - 1 - (now + 1 + back)
            if place >= 0:
                cells[place] = value
        for at, value in reversed(seen):
            place = WIDEST - 1 - (now - self.grid.cell(at))
            if place < 0:
                break
            if place < WIDEST and isnan(cells[place]):
                cells[place] = value
        return cells


def prepare(points: Sequence[Point], step: float, watch: float, rate: float, sides: int) -> Reference | None:
    """Learn from a reference; None when it is too short to say anything.

    `step` and `watch` are seconds: between two numbers, and of the watch for which `rate` is the probability of a false
    alarm. `sides` is 2 when both an increase and a decrease count.
    """
    past = history(points, step, LONGEST)
    end = len(past.values)
    level = past.level(end)
    if level is None:
        return None
    horizon = max(1, round(watch / step))
    share = rate / (len(CHECKS) * sides)
    overall = past.noise(0, end) or 0.0
    now = _watch(past, end, level, horizon, overall)
    stride = max(1, round(STRIDE * past.hour))
    earlier = [
        _watch(past, origin, one, horizon, overall)
        for origin in range(end - horizon, past.hour + WIDEST, -stride)
        if (one := past.level(origin)) is not None
    ]
    found = _learnt(past, now, earlier, horizon, share) or _short(past, now, earlier, horizon, share)
    course, reaches, way, watches = found
    tail = tuple(past.values[-WIDEST:])
    return Reference(past.grid, tail, level, course, reaches, way, watches)


Found = tuple[tuple[float, ...], dict[Check, Reach], Way, int]


@dataclass(frozen=True, slots=True)
class _Watch:
    """A watch of the past, in which nothing was changed, or the real one."""

    origin: int
    level: float
    curves: Mapping[Way, Curve]
    """How far from the level each way expects it; a level line has none."""
    noise: float


def _learnt(past: History, now: _Watch, watches: Sequence[_Watch], horizon: int, share: float) -> Found | None:
    """From past watches, if there are enough of them."""
    if len(watches) < LEAST_WATCHES:
        return None
    ways: list[Way] = [
        way for way in _WAYS if way in now.curves and sum(way in w.curves for w in watches) >= LEAST_WATCHES
    ]
    way = min(["level", *ways], key=lambda one: _off(past, watches, one, horizon))
    watches = [watch for watch in watches if way == "level" or way in watch.curves]
    course = [now.level + moved for moved in now.curves.get(way, [0.0] * (horizon + MEDIAN.middle))]
    reaches = {}
    for check in CHECKS:
        ups, downs = _largest(past, watches, check, horizon, way)
        if len(ups) < LEAST_WATCHES:
            return None
        reaches[check] = Reach(now.noise * _limit(check, ups, share), now.noise * _limit(check, downs, share))
    return tuple(course), reaches, way, len(watches)


def _limit(check: Check, maxima: Sequence[float], share: float) -> float:
    found = max(0.0, limit(maxima, share, LEVELS_SEEN if check == MEDIAN else BURSTS_SEEN))
    found = max(found, SINGLE * max(maxima)) if check.of == 1 else found
    return found * (1 + FEW / len(maxima))


def _watch(past: History, origin: int, level: float, horizon: int, overall: float) -> _Watch:
    days = origins_of_other_days(past, origin, horizon)
    hour = past.hour
    lately = past.noise(origin - 2 * hour, origin)
    usual = [one for day in days if (one := past.noise(day - hour, day + horizon)) is not None]
    lately = overall if lately is None else lately
    here = (lately + (sum(usual) / len(usual) if usual else lately)) / 2
    curves: dict[Way, Curve] = {}
    if (curve := shape(past, origin, horizon, days)) is not None:
        curves["shape"] = curve
    if (curve := trend(past, origin, level, horizon)) is not None:
        curves["trend"] = curve
    return _Watch(origin, level, curves, (here + overall / 2) or 1.0)


def _off(past: History, watches: Sequence[_Watch], way: Way, horizon: int) -> float:
    """How far off one way of expecting was on average, in the watches in which it was possible."""
    total, count = 0.0, 0
    for watch in watches:
        curve = watch.curves.get(way)
        if curve is None and way != "level":
            continue
        for quarter in (1, 2, 3, 4):
            step = max(0, quarter * horizon // 4 - 1)
            value = past.smooth[watch.origin + step - MEDIAN.middle] - watch.level
            if curve is not None:
                value -= curve[step]
            if not isnan(value):
                total += abs(value)
                count += 1
    return total / count if count else inf


def _largest(
    past: History, watches: Sequence[_Watch], check: Check, horizon: int, way: Way
) -> tuple[list[float], list[float]]:
    """The largest deviation up and down of each past watch, in units of its noise."""
    ranks = past.ranks[check]
    skip = MEDIAN.middle - check.middle
    ups, downs = [], []
    for watch in watches:
        high = ranks.high[watch.origin : watch.origin + horizon]
        low = ranks.low[watch.origin : watch.origin + horizon]
        curve = watch.curves.get(way)
        if curve is not None:
            moved = curve[skip : skip + horizon]
            top, bottom = max(map(sub, high, moved)), min(map(sub, low, moved))
        else:
            top, bottom = max(high), min(low)
        if top > -inf:
            ups.append((top - watch.level) / watch.noise)
            downs.append((watch.level - bottom) / watch.noise)
    return ups, downs


def _short(past: History, now: _Watch, watches: Sequence[_Watch], horizon: int, share: float) -> Found:
    """From the numbers themselves, when the past is too short to hold enough watches: a prediction interval.

    The spread of what there is without a gap of an hour, Student's t for as many independent samples as that is, and
    all looks at once (Bonferroni): level +- t s sqrt(1 + 1/n) (Hahn and Meeker, "Statistical Intervals", section 4.7).
    And beyond whatever the few past watches did. One number alone is no evidence here: what n numbers never did, the
    next still does with probability 1 / (n + 1).
    """
    present = _unbroken(past)
    size = effective_size(present)
    middle = median(present)
    deviation = max(spread(present), sqrt(sum((v - middle) ** 2 for v in present) / len(present)))
    moving = _moving(present, deviation / sqrt(size)) * horizon
    reaches = {}
    for check in CHECKS:
        if check.of == 1:
            continue
        t = upper_quantile(share / max(1.0, horizon / check.of), max(1.0, size - 1))
        usual = BEYOND_FITTED * t * deviation * sqrt(1 + 1 / size) + moving
        ups, downs = _largest(past, watches, check, horizon, "level")
        reaches[check] = Reach(
            max(usual + max(0.0, middle - now.level), BEYOND_SEEN * now.noise * max(ups, default=0.0)),
            max(usual + max(0.0, now.level - middle), BEYOND_SEEN * now.noise * max(downs, default=0.0)),
        )
    return tuple([now.level] * (horizon + MEDIAN.middle)), reaches, "short", 0


def _unbroken(past: History) -> list[float]:
    """The last numbers up to where more than an hour is missing, but enough to tell a level."""
    found: list[float] = []
    missing = 0
    for value in reversed(past.values):
        missing = missing + 1 if isnan(value) else 0
        if missing > past.hour and len(found) >= LEAST_IN_LEVEL:
            break
        if not missing:
            found.append(value)
    return found[::-1]


def _moving(values: Sequence[float], error: float) -> float:
    """How much the level surely moves in one step: by the medians of both halves, less twice the error of that.

    `error` is the standard error of a mean; a median's is sqrt(pi / 2) times it, and each half has half the numbers.
    """
    half = len(values) // 2
    moved = abs(median(values[-half:]) - median(values[:half]))
    return max(0.0, moved - 2 * sqrt(pi / 2) * 2 * error) / (len(values) / 2)
