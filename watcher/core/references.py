"""What a comparison asks of the past, and what of the answers it takes: the colour that was live then, and only it.

`before` ends at the switch, and the colour that was live is known. Behind it the past goes on without a gap, a day and
an hour back with `yesterday`, a week and an hour with `lastWeek`: how a metric goes on at this time of the day, and how
far it strays by itself, is learnt from all of it. Without `before` the two are the hour or more from the same time on
(so an hour off when the clocks changed in between). Nothing in the files says which colour was live then, so both are
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
from watcher.core.readings import Answer, Failed, NoData, Number, Query, Reading, Row, Series, reading_at
from watcher.core.rules import BoundCompare, BoundRule, ColorQuery, Reduce, Reference

MOST_POINTS = 720
"""How many numbers of one reference window are asked for; a finer interval is coarsened to a multiple."""

_EARLIER: Mapping[Reference, timedelta] = {"yesterday": timedelta(days=1), "lastWeek": timedelta(days=7)}
_LEAST_CLOCK_WINDOW = timedelta(hours=1)
"""Without `before`, yesterday and lastWeek cover the hour after the time of the switch, or more for a longer watch."""

_LEVEL = timedelta(hours=1)
"""Whoever looks at a day gone by has to know where it stood in the hour before."""

_DAY = timedelta(days=1)
"""A longer stretch is asked for in pieces of this length, so that no single query is heavy."""

_COARSE = timedelta(minutes=1)
"""A past of days is asked for in steps of about this length, however short the interval is."""


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
    compare = rule.compare
    if compare is None:
        return ()
    origin = math.ceil(switched_at)
    step, count = _grid(compare.length, rule.interval)
    begins = origin - count * step.total_seconds()
    found: list[Stretch] = []
    for reference in compare.with_:
        if reference == "before":
            # The times end one step before the switch: a number of the switch itself could be of either colour.
            found.append(Stretch(reference, begins, origin - step.total_seconds(), step))
        elif "before" in compare.with_:
            nearer = reference == "lastWeek" and "yesterday" in compare.with_
            until = origin - (_EARLIER["yesterday"] + _LEVEL).total_seconds() if nearer else begins
            found += _pieces(reference, rule.interval, origin, until)
        else:
            step, count = _grid(max(compare.length, _LEAST_CLOCK_WINDOW), rule.interval)
            start = origin - _EARLIER[reference].total_seconds()
            found.append(Stretch(reference, start, start + count * step.total_seconds(), step))
    return tuple(found)


def _pieces(reference: Reference, interval: timedelta, origin: int, until: float) -> list[Stretch]:
    """From the hour before the same time of the day to where the nearer reference begins, in pieces of a day."""
    step = interval * -(-max(interval, _COARSE) // interval)
    seconds = step.total_seconds()
    earliest = origin - (_EARLIER[reference] + _LEVEL).total_seconds()
    each = max(1, _DAY // step)
    count = math.floor((until - earliest) / seconds)
    first = until - count * seconds
    return [
        Stretch(reference, first + k * seconds, first + (min(k + each, count) - 1) * seconds, step)
        for k in range(0, count, each)
    ]


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
    for reference in compare.with_:
        found, lost = [], []
        for stretch, answers in answered:
            if stretch.reference != reference:
                continue
            failed = next((answer for answer in answers.values() if isinstance(answer, Failed)), None)
            if failed is not None:
                return failed
            chosen = window(rule, stretch, answers)
            if isinstance(chosen, PastWindow):
                found.append(chosen)
            else:
                lost.append(chosen)
        if found:
            windows.append(_joined(found))
        else:
            missing.append(f"{reference}: {'; '.join(dict.fromkeys(lost))}")
    return learn(compare, windows, missing)


def _joined(pieces: Sequence[PastWindow]) -> PastWindow:
    """The pieces of one reference, in the order of their times."""
    origins = dict.fromkeys(piece.origin for piece in pieces if piece.points)
    points = tuple(point for piece in pieces for point in piece.points)
    return PastWindow(pieces[0].name, "; ".join(origins) or pieces[0].origin, points)


def window(rule: BoundRule, stretch: Stretch, answers: Mapping[str, Answer]) -> PastWindow | str:
    """The numbers of the colour that was live, or why they cannot be told. No answer is a failed one."""
    compare = rule.compare
    assert compare is not None
    times = stretch.times()
    answers = {id_: _indexed(answer) for id_, answer in answers.items()}
    if stretch.reference == "before":
        points = _points(rule, dict.fromkeys(times, compare.previous), answers)
        return PastWindow(stretch.reference, compare.previous.color, points)
    colors = (compare.previous, compare.current)
    for how, evidence in (("live", "as the watcher saw"), ("traffic", "which had the traffic")):
        live = {at: color for at in times if (color := _first(colors, answers, how, at)) is not None}
        if live:
            return PastWindow(stretch.reference, f"{_names(live)}, {evidence}", _points(rule, live, answers))
    having = [color for color in colors if not isinstance(answers[_id("value", color)], NoData)]
    if having == [compare.current] and _next_to_before(compare, stretch):
        # It may be the idle colour, made ready for the switch.
        return f"only {having[0].color} has numbers, and nothing says that it was live"
    if len(having) == 1:
        points = _points(rule, dict.fromkeys(times, having[0]), answers)
        return PastWindow(stretch.reference, f"{having[0].color}, which alone has numbers then", points)
    if not having:
        return "no data of either colour"
    return "both colours have numbers, and nothing says which one was live; give the rule a traffic query"


def _next_to_before(compare: BoundCompare, stretch: Stretch) -> bool:
    """Whether the stretch is of the reference that goes on behind `before`."""
    nearest: Reference = "yesterday" if "yesterday" in compare.with_ else "lastWeek"
    return "before" in compare.with_ and stretch.reference == nearest


def _first(colors: Sequence[ColorQuery], answers: Mapping[str, Answer], how: str, at: float) -> ColorQuery | None:
    """The colour for which a query gave most at one time, if one gave more than the other, and more than nothing."""
    amounts = [_amount(answers.get(_id(how, color), NoData()), at) for color in colors]
    most = max(amounts)
    return colors[amounts.index(most)] if most > 0 and amounts.count(most) == 1 else None


def _indexed(answer: Answer) -> Answer:
    """The same with times to the millisecond, as a server tells them: so a time is found at once, or is not there."""
    if not isinstance(answer, Series):
        return answer
    return Series(tuple(Row(row.labels, {round(at, 3): one for at, one in row.points.items()}) for row in answer.rows))


def _at(answer: Answer, at: float, reduce: Reduce | None) -> Reading:
    """What an indexed answer says for one time."""
    if not isinstance(answer, Series):
        return reading_at(answer, at, reduce)
    at = round(at, 3)
    return reading_at(Series(tuple(row for row in answer.rows if at in row.points)), at, reduce)


def _amount(answer: Answer, at: float) -> float:
    reading = _at(answer, at, None)
    return reading.value if isinstance(reading, Number) else 0.0


def _points(rule: BoundRule, live: Mapping[float, ColorQuery], answers: Mapping[str, Answer]) -> tuple[Point, ...]:
    """The finite numbers of the colours that were live, leaving out the times with too little traffic."""
    found: list[Point] = []
    for at, color in live.items():
        reading = _at(answers[_id("value", color)], at, rule.reduce)
        if rule.traffic_at_least is not None:
            amount = _amount(answers[_id("traffic", color)], at)
            if amount < rule.traffic_at_least.number:
                continue
        if isinstance(reading, Number) and math.isfinite(reading.value):
            found.append((at, reading.value))
    return tuple(found)


def _names(live: Mapping[float, ColorQuery]) -> str:
    return " and ".join(dict.fromkeys(color.color for color in live.values()))
