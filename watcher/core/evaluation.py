"""One rule over time, as a fold: `advance(rule, state, sample) -> state`. Live, resumed and backtest are this fold.

Always holds: only numbers count towards a breach, and only numbers take one back; what could not be seen does neither.
A breach is latched: once `RuleState.breach` is set, nothing changes it. A sample at or before the last one changes
nothing, so it does no harm to fold a time twice. Times are Unix seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, assert_never

from watcher.core.comparison import Compared, Expected, Past, Point, Unknown, expect, judge
from watcher.core.models import Model
from watcher.core.readings import Answer, Failed, Number, Reading, Several, reading_at
from watcher.core.rules import BoundCompare, BoundRule, Threshold
from watcher.core.units import Quantity, format_value, say_duration


class Outcome(StrEnum):
    """What one evaluation of one rule gave."""

    PASS = "pass"  # noqa: S105 - the word of the design
    BREACH = "breach"
    NO_DATA = "noData"
    THIN = "thin"
    ERROR = "error"
    PENDING = "pending"


BLIND = frozenset({Outcome.NO_DATA, Outcome.THIN, Outcome.ERROR})
"""Outcomes that say nothing about the version."""


class Sample(NamedTuple):
    """What was read for one rule at one evaluation time. `traffic` is None when the rule asks for none, and `past` when
    it compares with nothing; every sample of a watch carries the same past.
    """

    at: float
    value: Reading
    traffic: Reading | None = None
    past: Past | Failed | None = None


Held = Compared | Expected | Unknown
"""What one evaluation of a comparison was held against."""


@dataclass(frozen=True, slots=True)
class Breach:
    """Why and when a rule's condition was met. `value` is None when it was met by blindness."""

    at: float
    since: float
    value: float | None
    message: str
    held: Held | None = None
    """Of a comparison, what the number was held against."""


class RuleState(NamedTuple):
    """What is known of one rule after its samples so far. (A named tuple, because that is the quickest to make.)"""

    at: float | None = None
    """The last evaluated time."""
    outcome: Outcome = Outcome.PENDING
    since: float | None = None
    """When `outcome` began."""
    run: int = 0
    """How many evaluations in a row gave `outcome`."""
    value: float | None = None
    """The last evaluation's number, if it gave one; of a comparison the level."""
    detail: str = ""
    """Why the last evaluation gave none; of a comparison what it came to."""
    evaluated: int = 0
    """How many evaluations gave a real outcome."""
    streak: int = 0
    """How many real outcomes in a row were breaching, the last one included."""
    streak_since: float | None = None
    recent: tuple[tuple[float, bool], ...] = ()
    """Time and breaching of the last real outcomes, as many as `breaches` looks at."""
    blind: int = 0
    """How many evaluations at the end were blind, of whatever kind."""
    breach: Breach | None = None
    """Set once, for ever."""
    seen: tuple[Point, ...] = ()
    """Of a comparison, every number since the switch."""
    held: Held | None = None
    """Of a comparison, what the last evaluation was held against."""


class RuleReport(Model):
    """One rule for people and programs: where it stands, or why it was breached."""

    id: str
    outcome: Outcome
    value: float | None
    """The number, in base units. None without one, and when it is infinite (JSON cannot say so; `message` does)."""
    threshold: str
    message: str
    since: float | None
    evaluated: int
    breached: bool
    breached_at: float | None
    detail: str = ""
    """Of a blind outcome its cause alone, without the rule's name."""
    before: float | None = None
    """Of a comparison, the level before the switch, in base units, and what it is expected to lie in now."""
    low: float | None = None
    high: float | None = None


def initial(rule: BoundRule) -> RuleState:
    """The state before the first sample."""
    return RuleState()


def advance(rule: BoundRule, state: RuleState, sample: Sample) -> RuleState:
    """The state after one more sample."""
    at = sample.at
    if state.at is not None and at <= state.at:
        return state
    outcome, value, detail, seen, held = _look(rule, state, sample)
    same = outcome is state.outcome
    since, run = (state.since, state.run + 1) if same else (at, 1)
    if outcome in BLIND:
        new = state._replace(
            at=at,
            outcome=outcome,
            since=since,
            run=run,
            value=value,
            detail=detail,
            blind=state.blind + 1,
            seen=seen,
            held=held,
        )
    else:
        breaching = outcome is Outcome.BREACH
        recent = state.recent
        if rule.breaches is not None:
            recent = (*recent, (at, breaching))[-rule.breaches.of :]
        streak, streak_since = 0, None
        if breaching:
            streak = state.streak + 1
            streak_since = at if state.streak_since is None else state.streak_since
        new = RuleState(
            at,
            outcome,
            since,
            run,
            value,
            detail,
            state.evaluated + 1,
            streak,
            streak_since,
            recent,
            0,
            state.breach,
            seen,
            held,
        )
    if outcome is Outcome.PASS or new.breach is not None or (breach := _breach(rule, new, at)) is None:
        return new
    return new._replace(breach=breach)


def fold(rule: BoundRule, state: RuleState, samples: Sequence[Sample]) -> RuleState:
    """The state after several samples, in the order of their times."""
    for sample in samples:
        state = advance(rule, state, sample)
    return state


class _Look(NamedTuple):
    """One evaluation: outcome, number, what there is to say, and the numbers that a comparison has seen so far."""

    outcome: Outcome
    value: float | None
    detail: str
    seen: tuple[Point, ...]
    held: Held | None = None


_WITHIN, _PAST = Outcome.PASS, Outcome.BREACH


def _look(rule: BoundRule, state: RuleState, sample: Sample) -> _Look:
    blind = None if rule.traffic_at_least is None else _thin(rule.traffic_at_least, sample)
    if blind is not None:
        return _Look(*blind, state.seen, _unseen(rule, sample))
    reading = sample.value
    if isinstance(reading, Number) and not math.isnan(reading.value):
        if rule.threshold is None:
            return _compared(rule, state, sample, reading.value)
        return _Look(_PAST if rule.threshold.breached_by(reading.value) else _WITHIN, reading.value, "", ())
    if isinstance(reading, Failed | Several):
        return _Look(Outcome.ERROR, None, reason(reading), state.seen, _unseen(rule, sample))
    outcome = _WITHIN if rule.on_no_data == "pass" else Outcome.NO_DATA
    return _Look(outcome, None, "no data", state.seen, _unseen(rule, sample))


def _unseen(rule: BoundRule, sample: Sample) -> Expected | None:
    """What a comparison expects where it cannot see."""
    if rule.compare is None or not isinstance(sample.past, Past):
        return None
    return expect(rule.compare, sample.past, sample.at)


def _thin(floor: Quantity, sample: Sample) -> tuple[Outcome, None, str] | None:
    """What too little traffic, or traffic that is not known, makes of an evaluation; None when there is enough."""
    traffic = sample.traffic
    if isinstance(traffic, Number) and traffic.value >= floor.number:
        return None
    if traffic is None:
        return Outcome.ERROR, None, "its traffic was not asked for"
    if isinstance(traffic, Failed | Several):
        # When the server is down, both queries fail alike.
        return Outcome.ERROR, None, reason(traffic) if traffic == sample.value else f"its traffic: {reason(traffic)}"
    amount = traffic.value if isinstance(traffic, Number) else 0.0
    return Outcome.THIN, None, f"{format_value(amount, floor.unit)} where at least {floor} is needed"


def _compared(rule: BoundRule, state: RuleState, sample: Sample, value: float) -> _Look:
    """One number held against the past. Without a past that can be used there is nothing to say about it."""
    past = sample.past
    if rule.compare is None or past is None:
        return _Look(Outcome.ERROR, None, "what it compares with was not asked for", state.seen)
    if isinstance(past, Failed):
        return _Look(Outcome.ERROR, None, f"what it compares with: {reason(past)}", state.seen)
    seen = (*state.seen, (sample.at, value))
    found = judge(rule.compare, past, seen, _events(rule, rule.compare, sample))
    match found:
        case Compared():
            return _Look(_PAST if found.breaching else _WITHIN, found.level, found.said, seen, found)
        case Unknown():
            return _Look(Outcome.NO_DATA, None, found.reason, seen, found)
        case never:
            assert_never(never)


def _events(rule: BoundRule, compare: BoundCompare, sample: Sample) -> float | None:
    """Of how many events a share (its tolerance is in percent) is one, by the traffic of the rule's window."""
    floor, traffic = rule.traffic_at_least, sample.traffic
    if compare.tolerance.absolute.unit != "%" or floor is None or not isinstance(traffic, Number):
        return None
    return traffic.value * (rule.window.total_seconds() if "/" in floor.unit else 1)


def reason(reading: Failed | Several) -> str:
    """Why there is no number, for the end of a sentence."""
    if isinstance(reading, Failed):
        return reading.reason.removesuffix(".")
    differ = f" (they differ in {', '.join(reading.labels)})" if reading.labels else ""
    return f"several series where one number is needed{differ}; aggregate them in the query, or say how to reduce them"


def _breach(rule: BoundRule, state: RuleState, at: float) -> Breach | None:
    """The breach that the newest evaluation completes, if it does."""
    since = at if state.since is None else state.since
    if state.outcome is Outcome.NO_DATA and rule.on_no_data == "breach" and _lasted(rule, state.run):
        message = f"{rule.name} gave no data for {say_duration(rule.for_)}, which this rule counts as a breach"
        return Breach(at, since, None, message)
    if state.outcome is Outcome.ERROR and rule.on_error == "breach" and _lasted(rule, state.run):
        lasted = f"{rule.name} could not be evaluated for {say_duration(rule.for_)}"
        return Breach(at, since, None, f"{lasted}, which this rule counts as a breach: {state.detail}")
    if state.outcome is not Outcome.BREACH or state.value is None:
        return None
    was = f"{rule.name} was {_against(rule, state)}"
    if rule.breaches is not None:
        breaching = [time for time, breached in state.recent if breached]
        if len(breaching) < rule.breaches.count:
            return None
        counted = f"in {len(breaching)} of the last {len(state.recent)} evaluations"
        return Breach(at, breaching[0], state.value, f"{was} {counted}", state.held)
    if not _lasted(rule, state.streak):
        return None
    lasted = f" for {say_duration(rule.for_)}" if rule.for_ else ""
    since = at if state.streak_since is None else state.streak_since
    return Breach(at, since, state.value, was + lasted, state.held)


def _lasted(rule: BoundRule, evaluations: int) -> bool:
    """Whether so many evaluations in a row span the rule's `for`."""
    return (evaluations - 1) * rule.interval >= rule.for_


def _against(rule: BoundRule, state: RuleState) -> str:
    """`4.2% (limit 1%)`, `3 (at least 5)`, or what a comparison came to."""
    assert state.value is not None
    return state.detail if rule.threshold is None else against(rule.threshold, state.value)


def against(threshold: Threshold, value: float) -> str:
    """A number and the limit, with as many digits as it takes to tell the two apart."""
    unit = threshold.range[0].unit
    limits = [limit.number for limit in threshold.range]
    text = format_value(value, unit)
    for digits in (4, 6, 9, 17):
        if value in limits or all(text != format_value(limit, unit, digits - 1) for limit in limits):
            break
        text = format_value(value, unit, digits)
    word = "limits" if threshold.outside else "at least" if threshold.below else "limit"
    return f"{text} ({word} {threshold.limit})"


def report(rule: BoundRule, state: RuleState) -> RuleReport:
    """Where a rule stands: its latched breach if there is one, else its last evaluation."""
    breach = state.breach
    value = breach.value if breach else state.value
    held = breach.held if breach else state.held
    held = None if isinstance(held, Unknown) else held
    return RuleReport(
        id=rule.id,
        outcome=Outcome.BREACH if breach else state.outcome,
        value=None if value is None else _finite(value),
        threshold=rule.limit,
        message=_standing(rule, state) + _beside(state) if breach is None else breach.message + _instead(rule),
        since=breach.since if breach else state.since,
        evaluated=state.evaluated,
        breached=breach is not None,
        breached_at=breach.at if breach else None,
        detail=state.detail if state.outcome in BLIND else "",
        before=_finite(held.before) if held else None,
        low=_finite(held.low) if held else None,
        high=_finite(held.high) if held else None,
    )


def _finite(value: float) -> float | None:
    """JSON has no infinities."""
    return value if math.isfinite(value) else None


def _instead(rule: BoundRule) -> str:
    """What a breach would have done, where the watch only observes."""
    observed = rule.mode == "observe" and rule.on_breach == "rollback"
    return "; an enforcing watch would have gone back" if observed else ""


def _beside(state: RuleState) -> str:
    """Of a comparison that is not breached, what else is known: the number, what was expected, since when so."""
    if state.held is None or state.since is None or state.outcome is Outcome.BREACH:
        return ""
    match state.held:
        case Compared():
            known = ""
        case Expected(said=said):
            known = f", {said}"
        case Unknown(now=now):
            known = f"; now it is {now}"
        case never:
            assert_never(never)
    return f"{known}; so since {datetime.fromtimestamp(state.since, UTC):%H:%M:%S} UTC"


def _standing(rule: BoundRule, state: RuleState) -> str:
    """A sentence about the last evaluation of a rule that is not breached."""
    if state.outcome is Outcome.PENDING:
        return f"{rule.name} has not been evaluated yet"
    if state.outcome is Outcome.THIN:
        return f"too little traffic for {rule.name}: {state.detail}"
    if state.outcome is Outcome.ERROR:
        return f"{rule.name} could not be evaluated: {state.detail}"
    if state.value is None:
        said = f"{rule.name} has {state.detail}"
        return f"{said}, which counts as a pass" if state.outcome is Outcome.PASS else said
    now = f"{rule.name} is {_against(rule, state)}"
    if state.outcome is Outcome.PASS:
        return now
    if rule.breaches is not None:
        breaching = sum(breached for _, breached in state.recent)
        return f"{now}, {breaching} of the {rule.breaches.count} times in {rule.breaches.of} that make a breach"
    so_far = say_duration((state.streak - 1) * rule.interval)
    return f"{now} for {so_far} of {say_duration(rule.for_)}"


def sample_at(
    rule: BoundRule, at: float, value: Answer, traffic: Answer | None, past: Past | Failed | None = None
) -> Sample:
    """The sample of one rule at one evaluation time, from the answers to its queries and what it compares with."""
    amount = None if traffic is None else reading_at(traffic, at, None)
    return Sample(at, reading_at(value, at, rule.reduce), amount, past)


_MICROSECOND = timedelta(microseconds=1)


def evaluation_times(
    switched_at: float, interval: timedelta, warm_up: timedelta, start_after: float | None, until: float
) -> list[float]:
    """The fixed evaluation times after `start_after` (all of them if None), up to and including `until`.

    They are `origin + k * interval` for k >= 1, not before `origin + warm_up`, where `origin` is the first whole second
    at or after `switched_at`. All arguments are finite.
    """
    origin = math.ceil(switched_at)
    first, last = _grid(origin, interval, warm_up, until)
    if start_after is not None:
        first = max(first, _microseconds(start_after - origin) // (interval // _MICROSECOND) + 1)
    return [_time(origin, interval, k) for k in range(first, last + 1)]


def evaluations_due(rule: BoundRule, switched_at: float, until: float) -> int:
    """How many evaluation times a rule has up to and including `until`."""
    first, last = _grid(math.ceil(switched_at), rule.interval, rule.warm_up, until)
    return max(0, last - first + 1)


def _grid(origin: int, interval: timedelta, warm_up: timedelta, until: float) -> tuple[int, int]:
    """The first and the last k; the last is below the first when none is due."""
    return max(1, -(-warm_up // interval)), _microseconds(until - origin) // (interval // _MICROSECOND)


def _time(origin: int, interval: timedelta, k: int) -> float:
    return (origin * 1_000_000 + k * (interval // _MICROSECOND)) / 1_000_000


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
