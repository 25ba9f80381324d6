"""Whether the numbers since the switch stand out from those before it.

The doors to the statistics (watcher/core/statistics) are `learn`, once for a watch, and `judge`, at each of its looks.
All reference windows together are one past: its last hour says where the metric is, the days before how it goes on from
there at this time, and all of them how far it strays when nothing is changed.
What always holds: equal input gives an equal answer, and without a reference there is no answer, never a pass. A breach
is past the statistics *and* past both tolerances, and of a share also more than so few events bring by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median

from watcher.core.rules import BoundCompare
from watcher.core.statistics.evidence import Evidence, Tolerance, usual, weigh
from watcher.core.statistics.model import Reference, prepare
from watcher.core.statistics.proportions import is_evidence
from watcher.core.units import format_value

Point = tuple[float, float]
"""A time (Unix seconds) and a number."""

LEAST_POINTS = 5
"""A reference window with fewer numbers says nothing."""

WATCH = 3600.0
"""The confidence is that of so many seconds of watching, however often it is looked."""


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

    reference: Reference | None
    """None when no window can be used."""
    said: str
    """The windows with their levels, and why the others cannot be used."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One look. `level` is the level now, or what stands out of it, `low` to `high` the range to expect it in."""

    breaching: bool
    before: float
    """The level in the hour before the switch."""
    level: float
    low: float
    high: float
    said: str
    """`480 ms, expected up to 294 ms with 99% (before 245 ms on blue; by 500 past hours)`"""
    since: float | None = None
    """Of a breach, the time of the first number that stands out."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What to expect at a time at which nothing can be seen."""

    before: float
    low: float
    high: float
    said: str
    """`expected up to 294 ms with 99% (before 245 ms on blue; by 500 past hours)`"""


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is nothing to compare with, for this reason."""

    reason: str
    now: str
    """The newest number, as it is said."""


def learn(compare: BoundCompare, windows: Sequence[PastWindow], missing: Sequence[str] = ()) -> Past:
    """What to expect after the switch. `missing` has a sentence for each reference that there is no window of."""
    usable = [window for window in windows if len(window.points) >= LEAST_POINTS]
    lost = [*missing, *(_too_few(window) for window in windows if window not in usable)]
    unit = compare.tolerance.absolute.unit
    told = [f"{one.name} {format_value(_level(one), unit)} on {one.origin}" for one in usable]
    said = "; ".join([*told, *lost])
    if not usable:
        return Past(None, said)
    points = sorted({at: value for window in usable for at, value in window.points}.items())
    step = max(median(later - at for (at, _), (later, _) in pairwise(window.points)) for window in usable)
    sides = 2 if compare.direction == "both" else 1
    return Past(prepare(points, step, WATCH, 1 - compare.confidence.number, sides), said)


def judge(compare: BoundCompare, past: Past, seen: Sequence[Point], events: float | None = None) -> Compared | Unknown:
    """Judge the newest of `seen`: every number since the switch in the order of their times, at least one.

    `events` is of how many events the newest number is the share, if it is one and that is known.
    """
    newest = _number(compare, seen[-1][1])
    if past.reference is None:
        return Unknown(f"nothing to compare with: {past.said}", newest)
    before = past.reference.level
    looks = past.reference.look(seen)
    tolerance = _tolerance(compare)
    found = weigh(looks, compare.direction, tolerance)
    if found is None:
        return Unknown(f"too few numbers since the switch to compare with the past ({past.said})", newest)
    learnt = f"({past.said}; {_learnt_from(past.reference)})"
    counted = events is None or not found.breaching or _is_evidence(compare, found, tolerance, events)
    if not found.breaching or not counted:
        now = usual(looks, tolerance)
        few = "" if counted else f", and of {events:.0f} events too few to be sure of more"
        said = f"{_number(compare, now.value)}, {_expected(compare, now)}{few} {learnt}"
        return Compared(False, before, now.value, now.low, now.high, said)
    since = _since(found, seen)
    begun = datetime.fromtimestamp(since, UTC).strftime("%H:%M:%S")
    said = (
        f"{_number(compare, found.value)} or {'more' if found.value > found.high else 'less'} {_often(found)} "
        f"since {begun} UTC, {_expected(compare, found)} {learnt}"
    )
    return Compared(True, before, found.value, found.low, found.high, said, since)


def expect(compare: BoundCompare, past: Past, at: float) -> Expected | None:
    """What to expect at a time (Unix seconds) at which nothing can be seen; None without a past that can be used."""
    if past.reference is None:
        return None
    usually = usual([past.reference.expect(at)], _tolerance(compare))
    said = f"{_expected(compare, usually)} ({past.said}; {_learnt_from(past.reference)})"
    return Expected(past.reference.level, usually.low, usually.high, said)


def _tolerance(compare: BoundCompare) -> Tolerance:
    return Tolerance(compare.tolerance.relative.number, compare.tolerance.absolute.number)


def _is_evidence(compare: BoundCompare, found: Evidence, tolerance: Tolerance, events: float) -> bool:
    """Whether the events that were counted bear out a share past the level and the tolerances."""
    least = max(tolerance.relative * abs(found.expected), tolerance.absolute)
    usual_share = found.expected + (least if found.value > found.high else -least)
    return is_evidence(found.value, usual_share, events, 1 - compare.confidence.number)


def _since(found: Evidence, seen: Sequence[Point]) -> float:
    """When the numbers that stand out began: behind them lie as many that do not as the check looks at."""
    begun, within = seen[-1][0], 0
    for at, value in reversed(seen):
        if found.low <= value <= found.high:
            within += 1
            if within >= found.check.of:
                break
        else:
            begun, within = at, 0
    return begun


def _often(found: Evidence) -> str:
    check = found.check
    return "in one number" if check.of == 1 else f"in {check.rank} of the last {check.of} numbers"


def _learnt_from(reference: Reference) -> str:
    if reference.watches:
        return f"by {reference.watches} past hours"
    return "by the little that there is of a past"


def _level(window: PastWindow) -> float:
    return median(value for _, value in window.points)


def _too_few(window: PastWindow) -> str:
    count = len(window.points)
    return f"{window.name} has {count or 'no'} {'number' if count == 1 else 'numbers'} on {window.origin}"


def _number(compare: BoundCompare, value: float) -> str:
    return format_value(value, compare.tolerance.absolute.unit)


def _expected(compare: BoundCompare, found: Evidence) -> str:
    low, high = _number(compare, found.low), _number(compare, found.high)
    ranges = {"increase": f"up to {high}", "decrease": f"{low} or more", "both": f"{low} to {high}"}
    return f"expected {ranges[compare.direction]} with {compare.confidence.text}"
