"""Whether the numbers since the switch stand out from those before it.

The doors to the statistics are `learn`, once for a watch, and `judge`, at each of its looks.

A level is a median, its spread the median absolute deviation (scaled by 1.4826, which makes it the standard deviation
of a normal distribution). The range to expect reaches, on each side, as far as the widest of three: the relative
tolerance, the absolute one, and the spread times the normal quantile of the confidence. With several reference windows
it covers all of them: a number breaches only when it stands out against each.
What always holds: equal input gives an equal answer, and without a reference there is no answer, never a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median, median_low

from watcher.core.rules import BoundCompare
from watcher.core.units import format_value

Point = tuple[float, float]
"""A time (Unix seconds) and a number."""

RECENT = 5
"""The level now is that of so many of the last numbers."""

LEAST_POINTS = 5
"""A reference window with fewer numbers says nothing."""

_NORMAL = 1.4826


@dataclass(frozen=True, slots=True)
class PastWindow:
    """What the same query gave in one stretch of the past. `points` are finite, in the order of their times."""

    name: str
    origin: str
    """Whose numbers these are and how that is known, as in `green, which had the traffic`."""
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Past:
    """What was learnt from the reference windows of one comparison."""

    expected: tuple[float, float] | None
    """The range to expect; None when no window can be used."""
    said: str
    """The windows with their levels, and why the others cannot be used."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One look. `level` is the level now, `low` to `high` the range to expect."""

    breaching: bool
    level: float
    low: float
    high: float
    said: str
    """`480 ms, expected up to 294 ms (before 245 ms on blue)`"""


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is nothing to compare with, for this reason."""

    reason: str


def learn(compare: BoundCompare, windows: Sequence[PastWindow], missing: Sequence[str] = ()) -> Past:
    """What to expect after the switch. `missing` has a sentence for each reference that there is no window of."""
    usable = [window for window in windows if len(window.points) >= LEAST_POINTS]
    lost = [*missing, *(_too_few(window) for window in windows if window not in usable)]
    levels = [median(value for _, value in window.points) for window in usable]
    unit = compare.tolerance.absolute.unit
    told = [
        f"{window.name} {format_value(level, unit)} on {window.origin}"
        for window, level in zip(usable, levels, strict=True)
    ]
    said = "; ".join([*told, *lost])
    if not usable:
        return Past(None, said)
    reaches = [_reach(compare, window, level) for window, level in zip(usable, levels, strict=True)]
    low = min(level - reach for level, reach in zip(levels, reaches, strict=True))
    high = max(level + reach for level, reach in zip(levels, reaches, strict=True))
    return Past((low, high), said)


def judge(compare: BoundCompare, past: Past, seen: Sequence[Point]) -> Compared | Unknown:
    """Judge the newest of `seen`: every number since the switch in the order of their times, at least one."""
    if past.expected is None:
        return Unknown(f"nothing to compare with: {past.said}")
    low, high = past.expected
    now = median_low(value for _, value in seen[-RECENT:])
    above = now > high and compare.direction != "decrease"
    below = now < low and compare.direction != "increase"
    unit = compare.tolerance.absolute.unit
    text = f"{format_value(now, unit)}, expected {_range(compare, low, high, unit)} ({past.said})"
    return Compared(above or below, now, low, high, text)


def _reach(compare: BoundCompare, window: PastWindow, level: float) -> float:
    """How far from the level of a reference window a number may lie."""
    spread = _NORMAL * median(abs(value - level) for _, value in window.points)
    sides = 2 if compare.direction == "both" else 1
    quantile = NormalDist().inv_cdf(1 - (1 - compare.confidence.number) / sides)
    tolerance = compare.tolerance
    return max(tolerance.relative.number * abs(level), tolerance.absolute.number, quantile * spread)


def _too_few(window: PastWindow) -> str:
    count = len(window.points)
    return f"{window.name} has {count or 'no'} {'number' if count == 1 else 'numbers'} on {window.origin}"


def _range(compare: BoundCompare, low: float, high: float, unit: str) -> str:
    if compare.direction == "increase":
        return f"up to {format_value(high, unit)}"
    if compare.direction == "decrease":
        return f"{format_value(low, unit)} or more"
    return f"{format_value(low, unit)} to {format_value(high, unit)}"
