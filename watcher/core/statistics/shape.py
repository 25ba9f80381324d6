"""What a metric does at this time of the day: how far other days moved away from their level in the hour before.

Days are compared by how they went on, not by where they were, so a metric that is twice as high this week still has its
morning rise. The median over the days is taken, so one odd day (a holiday, an incident) does not bend it.
Always holds: the shape at an origin uses no number of the watch that begins there.
"""

from __future__ import annotations

from itertools import pairwise
from math import isnan, nan

from watcher.core.statistics.history import DAY, MEDIAN, History
from watcher.core.statistics.robust import median

MOST_DAYS = 7
NODE = 5
"""The shape is smooth, so every fifth step is looked up and the others are interpolated."""

Curve = list[float]
"""How far from the level each step is expected; entry 0 is MEDIAN.middle steps before the origin."""


def origins_of_other_days(past: History, origin: int, horizon: int) -> list[int]:
    """The same time of day on other days, where the hour before and the whole watch lie in the past."""
    found = []
    for day in range(1, MOST_DAYS + 1):
        away = round(day * DAY / past.grid.step)
        found += [at for at in (origin - away, origin + away) if past.hour <= at <= len(past.values) - horizon]
    return found


def shape(past: History, origin: int, horizon: int, days: list[int]) -> Curve | None:
    """The expected course of a watch, from the same time on other days; None when no day can tell."""
    known = [(day, level) for day in days if (level := past.level(day)) is not None]
    if not known:
        return None
    smooth, size = past.smooth, len(past.values)
    nodes = []
    for step in [*range(-MEDIAN.middle, horizon, NODE), horizon - 1]:
        moved = sorted(
            one for day, level in known if (at := day + step) < size and not isnan(one := smooth[at] - level)
        )
        nodes.append((step, median(moved) if moved else nan))
    usable = [(step, value) for step, value in nodes if not isnan(value)]
    return _between(usable, horizon) if usable else None


def trend(past: History, origin: int, level: float, horizon: int) -> Curve | None:
    """The expected course if the level goes on moving as it did from the hour before last to the last one.

    The slope is that between two medians, so a spike does not tilt it. Both stand for the middle of their hour.
    """
    before = past.level(origin - past.hour)
    if before is None:
        return None
    slope = (level - before) / past.hour
    return [slope * (past.hour / 2 + step) for step in range(-MEDIAN.middle, horizon)]


def _between(nodes: list[tuple[int, float]], horizon: int) -> Curve:
    """Straight lines between the nodes, level lines outside them."""
    found = [nodes[0][1]] * (nodes[0][0] + MEDIAN.middle)
    for (start, left), (end, right) in pairwise(nodes):
        slope = (right - left) / (end - start) if end > start else 0.0
        found += [left + slope * k for k in range(end - start)]
    return found + [nodes[-1][1]] * (horizon + MEDIAN.middle - len(found))
