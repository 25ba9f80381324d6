"""What a look comes to: whether anything stands out that far, in the direction asked for, and what stands out most.

Always holds: a breach is further out than the statistics allow *and* than the relative *and* the absolute tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from watcher.core.statistics.model import Seen
from watcher.core.statistics.ranks import Check

Direction = Literal["increase", "decrease", "both"]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a number may move whatever the statistics say: a share of the expected level, and an amount."""

    relative: float
    absolute: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """The check that says most. `low` to `high` is where its value is to be expected."""

    check: Check
    value: float
    expected: float
    low: float
    high: float
    times: float
    """How far out the value is, as a multiple of how far it may be: above 1 it breaches."""

    @property
    def breaching(self) -> bool:
        return self.times > 1


def weigh(seen: Sequence[Seen], direction: Direction, tolerance: Tolerance) -> Evidence | None:
    """The evidence of one look; None when every check has too few numbers yet."""
    found = [one for look in seen for one in _sides(look, direction, tolerance)]
    return max(found, key=lambda one: one.times, default=None)


def usual(seen: Sequence[Seen], tolerance: Tolerance) -> Evidence:
    """The middle one of the last numbers and its range, for a look in which nothing stands out. One check can tell."""
    found = [one for look in seen for one in _sides(look, "both", tolerance)]
    return min(found, key=lambda one: (one.check.of == 1, one.check.of))


def _sides(look: Seen, direction: Direction, tolerance: Tolerance) -> list[Evidence]:
    least = max(tolerance.relative * abs(look.expected), tolerance.absolute)
    above, below = max(look.reach.above, least), max(look.reach.below, least)
    low, high = look.expected - below, look.expected + above
    found = []
    if direction != "decrease" and look.high > -inf:
        times = _times(look.high - look.expected, above, look.high > high)
        found.append(Evidence(look.check, look.high, look.expected, low, high, times))
    if direction != "increase" and look.low < inf:
        times = _times(look.expected - look.low, below, look.low < low)
        found.append(Evidence(look.check, look.low, look.expected, low, high, times))
    return found


def _times(distance: float, reach: float, out: bool) -> float:
    """`distance / reach`, kept on the side of 1 on which the comparison itself was, and finite for a reach of zero."""
    if not out:
        return min(1.0, max(0.0, distance / reach)) if reach > 0 else 0.0
    return max(distance / reach, 1 + 1e-9) if reach > 0 else inf
