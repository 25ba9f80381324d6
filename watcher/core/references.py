"""What a comparison asks of the past, and what of the answers it takes: the colour that was live then, and only it.

`before` ends at the switch, and the colour that was live is known. For `yesterday` and `lastWeek` (24 h and 7 days
earlier, so an hour off when the clocks changed in between) nothing in the files says which colour was live, so both are
asked for and the evidence decides, at each time anew: what the watcher itself saw live, where its metrics are there to
be asked; else which colour had the traffic of the rule's own traffic query; else which one has numbers at all.
What always holds: everything asked for lies in the past, so asking again gives the same; what cannot be told is left
out and said, never guessed; and a failed answer fails the whole, for half of the evidence could choose another colour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from watcher.core.comparison import Past, PastWindow, Point, learn
from watcher.core.evaluation import reading_at
from watcher.core.readings import Answer, Failed, NoData, Number, Query
from watcher.core.rules import BoundCompare, BoundRule, ColorQuery, Reference

MOST_POINTS = 720
"""How many numbers of one reference window are asked for; a finer interval is coarsened to a multiple."""

_EARLIER: Mapping[Reference, timedelta] = {"yesterday": timedelta(days=1), "lastWeek": timedelta(days=7)}
_LEAST_CLOCK_WINDOW = timedelta(hours=1)
"""yesterday and lastWeek cover the hour after the time of the switch, or as much as `before` when that is longer."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The times `start + k * step` up to `end` (Unix seconds) for which one reference is asked."""

    reference: Reference
    start: float
    end: float
    step: timedelta

    def times(self) -> list[float]:
        step = self.step.total_seconds()
        return [self.start + k * step for k in range(round((self.end - self.start) / step) + 1)]


def stretches(rule: BoundRule, switched_at: float) -> tuple[Stretch, ...]:
    """The stretches of the past that a rule is compared with: none unless it is a comparison."""
    if rule.compare is None:
        return ()
    return tuple(_stretch(reference, rule.compare, rule.interval, switched_at) for reference in rule.compare.with_)


def _stretch(reference: Reference, compare: BoundCompare, interval: timedelta, switched_at: float) -> Stretch:
    origin = math.ceil(switched_at)
    if reference == "before":
        step, count = _grid(compare.length, interval)
        # The times end one step before the switch: a number of the switch itself could be of either colour.
        return Stretch(reference, origin - count * step.total_seconds(), origin - step.total_seconds(), step)
    step, count = _grid(max(compare.length, _LEAST_CLOCK_WINDOW), interval)
    start = origin - _EARLIER[reference].total_seconds()
    return Stretch(reference, start, start + count * step.total_seconds(), step)


def _grid(length: timedelta, interval: timedelta) -> tuple[timedelta, int]:
    """The step, and how many of them a length has: at least one."""
    step = interval * max(1, -(-(length // interval) // MOST_POINTS))
    return step, max(1, length // step)


def queries(rule: BoundRule, reference: Reference) -> tuple[Query, ...]:
    """What is to be asked over one stretch. The ids are this module's own, and differ within the rule."""
    compare = rule.compare
    assert compare is not None
    colors = (compare.previous,) if reference == "before" else (compare.previous, compare.current)
    found = []
    for one in colors:
        found.append(Query(_id("value", one), one.query))
        if one.traffic_query is not None:
            found.append(Query(_id("traffic", one), one.traffic_query))
        if reference != "before":
            found.append(Query(_id("live", one), one.live_query))
    return tuple(found)


def _id(what: str, color: ColorQuery) -> str:
    return f"{what}/{color.color}"


def past(rule: BoundRule, answered: Sequence[tuple[Stretch, Mapping[str, Answer]]]) -> Past | Failed:
    """What is learnt for a comparison from the answers (by query id) to each of its stretches."""
    compare = rule.compare
    assert compare is not None
    windows, missing = [], []
    for stretch, answers in answered:
        failed = next((answer for answer in answers.values() if isinstance(answer, Failed)), None)
        if failed is not None:
            return failed
        chosen = window(rule, stretch, answers)
        if isinstance(chosen, PastWindow):
            windows.append(chosen)
        else:
            missing.append(f"{stretch.reference}: {chosen}")
    return learn(compare, windows, missing)


def window(rule: BoundRule, stretch: Stretch, answers: Mapping[str, Answer]) -> PastWindow | str:
    """The numbers of the colour that was live, or why they cannot be told. No answer is a failed one."""
    compare = rule.compare
    assert compare is not None
    times = stretch.times()
    if stretch.reference == "before":
        points = _points(rule, dict.fromkeys(times, compare.previous), answers)
        return PastWindow(stretch.reference, compare.previous.color, points)
    colors = (compare.previous, compare.current)
    for how, evidence in (("live", "as the watcher saw"), ("traffic", "which had the traffic")):
        live = {at: color for at in times if (color := _first(colors, answers, how, at)) is not None}
        if live:
            return PastWindow(stretch.reference, f"{_names(live)}, {evidence}", _points(rule, live, answers))
    having = [color for color in colors if not isinstance(answers[_id("value", color)], NoData)]
    if len(having) == 1:
        points = _points(rule, dict.fromkeys(times, having[0]), answers)
        return PastWindow(stretch.reference, f"{having[0].color}, which alone has numbers then", points)
    if not having:
        return "no data of either colour"
    return "both colours have numbers, and nothing says which one was live; give the rule a traffic query"


def _first(colors: Sequence[ColorQuery], answers: Mapping[str, Answer], how: str, at: float) -> ColorQuery | None:
    """The colour for which a query gave most at one time, if one gave more than the other, and more than nothing."""
    amounts = [_amount(answers.get(_id(how, color), NoData()), at) for color in colors]
    most = max(amounts)
    return colors[amounts.index(most)] if most > 0 and amounts.count(most) == 1 else None


def _amount(answer: Answer, at: float) -> float:
    reading = reading_at(answer, at, None)
    return reading.value if isinstance(reading, Number) else 0.0


def _points(rule: BoundRule, live: Mapping[float, ColorQuery], answers: Mapping[str, Answer]) -> tuple[Point, ...]:
    """The finite numbers of the colours that were live, leaving out the times with too little traffic."""
    found: list[Point] = []
    for at, color in live.items():
        reading = reading_at(answers[_id("value", color)], at, rule.reduce)
        if rule.traffic_at_least is not None:
            amount = _amount(answers[_id("traffic", color)], at)
            if amount < rule.traffic_at_least.number:
                continue
        if isinstance(reading, Number) and math.isfinite(reading.value):
            found.append((at, reading.value))
    return tuple(found)


def _names(live: Mapping[float, ColorQuery]) -> str:
    return " and ".join(dict.fromkeys(color.color for color in live.values()))
