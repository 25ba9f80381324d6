"""Past switches of traffic between the colours, found in the history of a metric that tells which colour was active.

The metric may be the watcher's own (1 for the active colour, 0 for the other) or any query with one series for each
colour: the one with the greatest value above zero is the active one. What always holds: a time at which that is unclear
(no data, or equal values) is no switch; a switch is where the new colour is first seen, and `unsure` says how much
earlier it may have been. Times are Unix seconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

from watcher.core.application import COLORS, Color, other
from watcher.core.readings import Row
from watcher.core.units import Invalid, say_duration

Mark = Literal["good", "bad", ""]

NEAR_ENOUGH = timedelta(minutes=5)
"""How far the time that somebody gives for a switch may be from it."""


@dataclass(frozen=True, slots=True)
class Change:
    """The active colour was another one at `last_seen`, and is this one at `at`."""

    at: float
    color: Color
    last_seen: float


@dataclass(frozen=True, slots=True)
class Switch:
    """Traffic went to a colour. `mark` is what is known of the version that it brought; `why` says from whom."""

    at: float
    color: Color
    version: str = ""
    mark: Mark = ""
    why: str = ""
    unsure: float = 0.0
    """Seconds that it may have been earlier."""

    @property
    def previous(self) -> Color:
        return other(self.color)


Timeline = Sequence[tuple[float, Color]]
"""Which colour was active at the times at which that is clear, in their order."""


def color_of(row: Row) -> Color | None:
    """The colour that a series is about: the value of one of its labels. None when no label, or several, name one."""
    named = {color for color in COLORS if color in row.labels.values()}
    return named.pop() if len(named) == 1 else None


def timeline(rows: Iterable[Row]) -> Timeline:
    """Which colour was active when."""
    amounts: dict[float, dict[Color, float]] = {}
    for row in rows:
        color = color_of(row)
        if color is None:
            continue
        for at, value in row.points.items():
            if value > 0:  # never so for NaN
                colors = amounts.setdefault(at, {})
                colors[color] = max(value, colors.get(color, 0.0))
    found: list[tuple[float, Color]] = []
    for at, colors in sorted(amounts.items()):
        most = max(colors.values())
        leading = [color for color, amount in colors.items() if amount == most]
        if len(leading) == 1:
            found.append((at, leading[0]))
    return found


def changes(known: Timeline) -> list[Change]:
    """Where the active colour changed."""
    return [Change(at, color, earlier) for (earlier, before), (at, color) in pairwise(known) if color != before]


def color_at(known: Timeline, at: float) -> Color | None:
    """The colour that was active at a time: the last one that was seen until then."""
    seen = bisect_right(known, at, key=lambda one: one[0])
    return known[seen - 1][1] if seen else None


def releases_in(found: Sequence[Change], watch: timedelta, step: timedelta) -> list[Switch]:
    """The changes as switches. One that takes traffic back within the length of a watch is no release of its own: it
    says that the one before was bad."""
    switches: list[Switch] = []
    index = 0
    while index < len(found):
        one = found[index]
        unsure = one.at - one.last_seen
        switch = Switch(one.at, one.color, unsure=unsure if unsure > step.total_seconds() else 0.0)
        following = found[index + 1] if index + 1 < len(found) else None
        if following is not None and following.at - one.at <= watch.total_seconds():
            after = say_duration(timedelta(seconds=round(following.at - one.at)))
            switch = replace(switch, mark="bad", why=f"traffic went back after {after}")
            index += 1
        switches.append(switch)
        index += 1
    return switches


def marked(switches: Sequence[Switch], times: Iterable[float], mark: Mark, why: str) -> list[Switch]:
    """The switches with the ones next to these times marked. Raises Invalid when there is none near enough."""
    marks = dict.fromkeys(_nearest(switches, at) for at in times)
    return [replace(switch, mark=mark, why=why) if index in marks else switch for index, switch in enumerate(switches)]


def _nearest(switches: Sequence[Switch], at: float) -> int:
    nearest = min(range(len(switches)), key=lambda index: abs(switches[index].at - at), default=None)
    if nearest is None or abs(switches[nearest].at - at) > NEAR_ENOUGH.total_seconds():
        near = "there is none at all" if nearest is None else f"the nearest is at {say_time(switches[nearest].at)}"
        problem = f"no switch lies within {say_duration(NEAR_ENOUGH)} of {say_time(at)}"
        raise Invalid(problem, near)
    return nearest


def say_time(at: float) -> str:
    """A time for people, in UTC."""
    return datetime.fromtimestamp(round(at), UTC).strftime("%Y-%m-%d %H:%M:%S")
