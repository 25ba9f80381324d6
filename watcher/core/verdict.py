"""What the rules say together, as a pure function of their states; the order of the rules makes no difference.

A breach of an enforcing rule is a rollback for ever. What could not be seen is neither a failure nor a success: it
holds a watch that runs, and keeps one that has ended from passing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from watcher.core.evaluation import BLIND, Outcome, RuleReport, RuleState, evaluations_due, report
from watcher.core.rules import BoundRule

NAMED = 3
"""How many rules a sentence about several names."""

LASTING = 3
"""A watch that has ended does not pass when this many evaluations of a rule were blind at its end."""


class Verdict(StrEnum):
    """What the rules together say."""

    ROLLBACK = "rollback"
    HOLD = "hold"
    PASS = "pass"  # noqa: S105 - the word of the design
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Minimum:
    """How many real outcomes a rule needs for a pass: this share of those due, and at least so many."""

    share: float = 0.5
    at_least: int = 3

    def of(self, due: int) -> int:
        """The number needed. Never more than were due, but always one: what was never seen cannot pass."""
        return max(1, min(due, max(self.at_least, math.ceil(due * self.share))))


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and what it rests on."""

    verdict: Verdict
    reasons: tuple[str, ...]
    """Sentences: for a rollback the breaches, oldest first; else one for each rule that keeps it from passing."""
    breached: tuple[str, ...] = ()
    """The enforcing rules that are breached, by id, in the order of their breaches."""
    blind: tuple[str, ...] = ()
    """The enforcing rules whose last evaluation saw nothing, by id."""


def verdict(
    rules: Sequence[tuple[BoundRule, RuleState]],
    *,
    switched_at: float,
    at: float,
    ended: bool,
    minimum: Minimum = Minimum(),
) -> Judgement:
    """The verdict at `at` (Unix seconds), when every evaluation due until then has been folded into the states.

    While the watch runs: `rollback`, `hold` (a rule is blind, pending, or breaching but not for long enough), or `pass`
    (nothing is wrong so far). When it has `ended`, `inconclusive` takes the place of `hold`.
    """
    enforcing = sorted((pair for pair in rules if pair[0].enforcing), key=lambda pair: pair[0].id)
    breached = sorted(
        ((state.breach.at, rule.id, state.breach.message) for rule, state in enforcing if state.breach is not None)
    )
    blind = tuple(rule.id for rule, state in enforcing if state.blind)
    if breached:
        ids = tuple(rule_id for _, rule_id, _ in breached)
        return Judgement(Verdict.ROLLBACK, tuple(message for _, _, message in breached), ids, blind)
    if not enforcing:
        return Judgement(Verdict.PASS, ("no rule enforces anything",))
    if ended:
        doubts = [
            _doubt_at_end(rule, state, minimum, evaluations_due(rule, switched_at, at)) for rule, state in enforcing
        ]
    else:
        doubts = [_doubt(rule, state) for rule, state in enforcing]
    reasons = _sentences([doubt for doubt in doubts if doubt is not None])
    if reasons:
        return Judgement(Verdict.INCONCLUSIVE if ended else Verdict.HOLD, reasons, blind=blind)
    count = len(enforcing)
    return Judgement(Verdict.PASS, (f"{count} {'rule passes' if count == 1 else 'rules pass'}",), blind=blind)


@dataclass(frozen=True, slots=True)
class _Doubt:
    """What keeps a rule from being fine: where it stands, and before it why that matters."""

    report: RuleReport
    lead: str = ""
    """`gave a result in 3 of 8 evaluations, 4 are needed`"""
    ended: bool = False


def _doubt(rule: BoundRule, state: RuleState) -> _Doubt | None:
    """What keeps a rule from being fine while the watch runs."""
    if state.blind or state.streak or state.outcome is Outcome.PENDING:
        return _Doubt(report(rule, state))
    return None


def _doubt_at_end(rule: BoundRule, state: RuleState, minimum: Minimum, due: int) -> _Doubt | None:
    """What keeps a rule from passing when the watch has ended."""
    needed = minimum.of(due)
    if state.evaluated < needed:
        few = f"gave a result in {state.evaluated} of {due} evaluations, {needed} are needed"
        return _Doubt(report(rule, state), few, ended=True)
    if state.streak or state.blind >= LASTING:
        return _Doubt(report(rule, state), ended=True)
    return None


def blindness(reports: Sequence[RuleReport]) -> tuple[str, ...]:
    """Sentences about the rules that see nothing: one for all that see nothing for the same reason."""
    return _sentences([_Doubt(report) for report in reports if report.outcome in BLIND])


def _sentences(doubts: Sequence[_Doubt]) -> tuple[str, ...]:
    groups: dict[object, list[_Doubt]] = {}
    for doubt in doubts:
        said = doubt.report
        cause = (doubt.lead, doubt.ended, said.outcome, said.detail) if said.outcome in BLIND else said.id
        groups.setdefault(cause, []).append(doubt)
    return tuple(_sentence(group) for group in groups.values())


def _sentence(doubts: Sequence[_Doubt]) -> str:
    first = doubts[0]
    if len(doubts) == 1:
        message = first.report.message
        if first.lead:
            return f"{first.report.id.rpartition('/')[2]} {first.lead}; at last {message}"
        return f"at the end {message}" if first.ended else message
    names = [doubt.report.id for doubt in doubts]
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    who = f"{len(names)} rules ({', '.join(names[:NAMED])}{rest})"
    match first.report.outcome:
        case Outcome.ERROR:
            stand = f"could not be evaluated: {first.report.detail}"
        case Outcome.THIN:
            stand = f"had too little traffic: {first.report.detail}"
        case _:
            stand = f"have {first.report.detail}"
    if first.lead:
        return f"{who} {first.lead}; at last they {stand}"
    return f"at the end {who} {stand}" if first.ended else f"{who} {stand}"
