"""What the rules would have said of past switches: one trial for each, and what the trials say together.

What always holds: a trial is the same fold and the same verdict as a watch, over the same times; what happened after
the next switch says nothing about the version and is left out; and a trial without any number is no success, it is
told as one without data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from watcher.core.application import Color
from watcher.core.comparison import Compared, Expected, Point
from watcher.core.evaluation import Outcome, RuleReport, RuleState, initial, report
from watcher.core.rules import BoundRule
from watcher.core.separation import Separation, level, separate
from watcher.core.switches import Change, Switch, Timeline, color_at
from watcher.core.units import Invalid
from watcher.core.verdict import Judgement, Verdict, verdict

MOST_TRIALS = 5_000
"""Switches that one run looks at."""

Cut = Literal["", "next switch", "end of history"]
Rating = Literal["right", "false alarm", "missed", ""]


@dataclass(frozen=True, slots=True)
class Planned:
    """A switch to look at, and until when its watch can be: `cut` says what ended it early."""

    switch: Switch
    until: float
    cut: Cut = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """One rule over one switch."""

    rule: BoundRule
    report: RuleReport
    outcomes: Mapping[Outcome, int]
    """How many evaluations gave what."""
    level: float | None
    """The number at which its limit would have been reached."""
    numbers: int
    """How many evaluations gave a number."""
    course: tuple[tuple[float, Outcome, float | None], ...]
    """Time, outcome and number of each evaluation; empty unless it was to be kept."""
    numbers_seen: tuple[Point, ...] = ()
    """Of a comparison the numbers as they came, of which those of the course are made. Kept as the course is."""
    held: tuple[tuple[float, Compared | Expected], ...] = ()
    """Of a comparison what was expected, by time of evaluation. Kept as the course is."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One switch, and what the rules would have said."""

    planned: Planned
    judgement: Judgement
    breached_at: float | None
    """When an enforcing rule would have taken traffic back."""
    rules: tuple[Tried, ...]

    @property
    def switch(self) -> Switch:
        return self.planned.switch

    @property
    def without_data(self) -> bool:
        """Whether no rule gave any number: such a trial says nothing."""
        return not any(tried.numbers for tried in self.rules)

    @property
    def rating(self) -> Rating:
        """Whether the verdict was right, where it is known what the version was, and where there is a verdict."""
        back = self.judgement.verdict is Verdict.ROLLBACK
        if self.switch.mark == "good":
            passes = self.judgement.verdict is Verdict.PASS
            return "false alarm" if back else "right" if passes else ""
        if self.switch.mark == "bad":
            return "right" if back else "missed"
        return ""


def plan(
    switches: Sequence[Switch], found: Sequence[Change], duration: timedelta, history_ends: float
) -> list[Planned]:
    """Each switch with the end of its watch: as long as it would have been, but no later than the next change."""
    planned = []
    for switch in switches:
        until = switch.at + duration.total_seconds()
        cut: Cut = ""
        following = next((one.at for one in found if one.at > switch.at and one.color != switch.color), None)
        if following is not None and following < until:
            until, cut = following, "next switch"
        if history_ends < until:
            until, cut = history_ends, "end of history"
        planned.append(Planned(switch, until, cut))
    return planned


def pretended(
    known: Timeline, since: float, until: float, every: timedelta, duration: timedelta, color: Color | None
) -> list[Switch]:
    """A switch every so often, to the colour that was active then (or to `color`), as long as a watch still fits.
    Raises Invalid when these are too many."""
    step = every.total_seconds()
    count = int((until - duration.total_seconds() - since) // step) + 1
    if count > MOST_TRIALS:
        raise Invalid(f"these are {count} switches", f"look at no more than {MOST_TRIALS}: write a longer --every")
    times = [since + k * step for k in range(count)]
    chosen = [(at, color or color_at(known, at)) for at in times]
    return [Switch(at, active) for at, active in chosen if active is not None]


def tried(
    planned: Planned, rules: Sequence[BoundRule], states: Mapping[str, Sequence[RuleState]], *, keep: bool
) -> Trial:
    """What the rules would have said, from their states after each evaluation. `keep` their courses, for a plot."""
    last = {rule.id: states[rule.id][-1] if states[rule.id] else initial(rule) for rule in rules}
    judgement = verdict(
        [(rule, last[rule.id]) for rule in rules],
        switched_at=planned.switch.at,
        at=planned.until,
        ended=not planned.cut,
    )
    breaches = [breach.at for rule in rules if rule.enforcing and (breach := last[rule.id].breach) is not None]
    return Trial(
        planned,
        judgement,
        min(breaches, default=None),
        tuple(_tried(rule, states[rule.id], last[rule.id], keep) for rule in rules),
    )


def _tried(rule: BoundRule, states: Sequence[RuleState], last: RuleState, keep: bool) -> Tried:
    kept = [(one.at, one) for one in states if one.at is not None] if keep else []
    return Tried(
        rule=rule,
        report=report(rule, last),
        outcomes=Counter(state.outcome for state in states),
        level=level(rule, states),
        numbers=sum(state.value is not None for state in states),
        course=tuple((at, one.outcome, one.value) for at, one in kept),
        numbers_seen=last.seen if keep else (),
        held=tuple((at, one.held) for at, one in kept if isinstance(one.held, Compared | Expected)),
    )


@dataclass(frozen=True, slots=True)
class RuleSummary:
    """One rule over all switches."""

    rule: BoundRule
    trials: int
    breached: int
    without_numbers: int
    separation: Separation | None


@dataclass(frozen=True, slots=True)
class Summary:
    """All trials together."""

    rollbacks: int
    right: int
    false_alarms: int
    missed: int
    without_data: int
    data_since: float | None
    """The first switch of which any rule gave a number. None when there is none."""
    rules: tuple[RuleSummary, ...]


def summary(trials: Sequence[Trial]) -> Summary:
    """What the trials say together. Trials without data are counted apart, and rate nothing."""
    seen = [trial for trial in trials if not trial.without_data]
    ratings = Counter(trial.rating for trial in seen)
    by_rule: dict[str, list[tuple[Trial, Tried]]] = {}
    for trial in trials:
        for one in trial.rules:
            by_rule.setdefault(one.rule.id, []).append((trial, one))
    back = [trial for trial in seen if trial.judgement.verdict is Verdict.ROLLBACK]
    return Summary(
        rollbacks=len(back),
        right=sum(trial.switch.mark == "bad" for trial in back),
        false_alarms=ratings["false alarm"],
        missed=ratings["missed"],
        without_data=len(trials) - len(seen),
        data_since=min((trial.switch.at for trial in seen), default=None),
        rules=tuple(_summary(members) for members in by_rule.values()),
    )


def _summary(members: Sequence[tuple[Trial, Tried]]) -> RuleSummary:
    rule = members[-1][1].rule
    levels: dict[str, list[float]] = {"good": [], "bad": [], "": []}
    for trial, one in members:
        if one.level is not None:
            levels[trial.switch.mark].append(one.level)
    return RuleSummary(
        rule=rule,
        trials=len(members),
        breached=sum(one.report.breached for _, one in members),
        without_numbers=sum(not one.numbers for _, one in members),
        separation=separate(rule, levels["good"], levels["bad"]),
    )
