"""What a backtest found, as tables for people and as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from watcher.core.application import Application
from watcher.core.backtest import RuleSummary, Summary, Trial
from watcher.core.evaluation import Outcome
from watcher.core.rules import BoundRule
from watcher.core.switches import say_time
from watcher.core.units import format_duration, format_value
from watcher.core.verdict import Verdict
from watcher.engine.backtest import Plan, Sought

LONGEST = 90
"""Characters of a reason in a table."""
MOST_ROWS = 20
"""Switches up to which those that pass as they should are rows too."""


@dataclass(frozen=True)
class Whole:
    """One run of a backtest. `stopped` says why it ended early."""

    app: Application
    sought: Sought
    plan: Plan
    trials: Sequence[Trial]
    summary: Summary
    stopped: str
    earlier: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """Of a single switch, for a plot: times and numbers of each rule before it, on the colour that was live then."""


# -- text --------------------------------------------------------------------------------------------------------------


def as_text(whole: Whole) -> str:
    """Tables of the switches and of the rules, and what they come to."""
    count = len(whole.trials)
    shown = whole.trials if count <= MOST_ROWS else _telling(whole.trials)
    what = f"{_counted(count, 'switch', 'es')} of {whole.app.name}"
    between = f", between {say_time(whole.sought.since)} and {say_time(whole.sought.until)} UTC"
    where = "as named" if whole.sought.times else f"from {whole.plan.source}{between}"
    lines = [f"{what}, {where}.", *(f"Note: {note}." for note in whole.plan.notes)]
    lines += [
        "",
        *_table(["switch (UTC)", "to", "verdict", "after", "known to be", "", "because"], _rows(shown)),
    ]
    if len(shown) < count:
        lines.append(f"and {count - len(shown)} more{_what_else(whole.trials, shown)}")
    if count == 1:
        lines += ["", *_table(["rule", "outcome", "breached after", "seen", "says"], _rules(whole.trials[0]))]
    lines += [
        "",
        *_table(["rule", "breached", "good until", "bad from", "limit now", "limit that separates"], _limits(whole)),
    ]
    return "\n".join([*lines, "", *_conclusions(whole)])


def _telling(trials: Sequence[Trial]) -> Sequence[Trial]:
    """Of many switches those that do not pass; of those, when they are many too, first the ones with a rating."""
    telling = sorted((trial for trial in trials if not _dull(trial)), key=lambda one: (_weight(one), one.switch.at))
    return sorted(telling[: 2 * MOST_ROWS], key=lambda one: one.switch.at)


def _weight(trial: Trial) -> int:
    rated = trial.rating in ("false alarm", "missed")
    return 0 if rated else 1 if trial.breached_at is not None else 2


def _what_else(trials: Sequence[Trial], shown: Sequence[Trial]) -> str:
    """What the switches that are left out of the table are."""
    left = len(trials) - len(shown) - sum(map(_dull, trials))
    return " that pass" if not left else f", of which {left} do not pass; --json has them all"


def _dull(trial: Trial) -> bool:
    """Whether it passes, and nobody knows better."""
    return trial.judgement.verdict is Verdict.PASS and trial.rating != "missed" and not trial.without_data


def _rows(trials: Sequence[Trial]) -> Iterator[list[str]]:
    for trial in trials:
        after = "" if trial.breached_at is None else _after(trial, trial.breached_at)
        reason = "; ".join(trial.judgement.reasons)
        if trial.without_data:
            failed = [one.report.message for one in trial.rules if one.report.outcome is Outcome.ERROR]
            reason = failed[0] if failed else "no rule has any data then"
        elif trial.planned.cut:
            cut = _after(trial, trial.planned.until)
            reason = f"{reason} (its watch ends after {cut}: {trial.planned.cut})"
        rating = trial.rating if trial.rating in ("false alarm", "missed") else ""
        said = trial.switch.mark and not trial.switch.why.startswith("said with")
        known = f"{trial.switch.mark} ({trial.switch.why})" if said else trial.switch.mark or "-"
        yield [
            say_time(trial.switch.at),
            trial.switch.color,
            "no data" if trial.without_data else trial.judgement.verdict.value,
            after,
            known,
            rating.upper(),
            reason
            if len(reason) <= LONGEST or len(trials) == 1 or trial.without_data
            else f"{reason[: LONGEST - 3]}...",
        ]


def _rules(trial: Trial) -> Iterator[list[str]]:
    for one in trial.rules:
        seen = ", ".join(f"{one.outcomes[outcome]} {outcome.value}" for outcome in Outcome if one.outcomes.get(outcome))
        breach = "" if one.report.breached_at is None else _after(trial, one.report.breached_at)
        yield [one.rule.id, one.report.outcome.value, breach, seen or "nothing was due", one.report.message]


def _limits(whole: Whole) -> Iterator[list[str]]:
    for one in whole.summary.rules:
        separation = one.separation
        breached = f"{one.breached} of {one.trials}"
        if separation is None:
            yield [one.rule.id, breached, "-", "-", one.rule.limit, "has no one limit to look for"]
            continue
        yield [
            one.rule.id,
            breached,
            _number(one.rule, separation.good_until),
            _number(one.rule, separation.bad_from),
            one.rule.limit,
            separates(one),
        ]


def separates(one: RuleSummary) -> str:
    """Whether there is a limit between good and bad, in words."""
    found = one.separation
    if found is None:
        return "has no one limit to look for"
    if not found.good and not found.bad:
        return "nothing is known to be good or bad" if one.without_numbers < one.trials else "no data"
    if not found.bad:
        return "no bad release to tell apart"
    if not found.good:
        return "no good release to tell apart"
    if found.limit is None:
        return "none: good and bad overlap"
    share = "" if found.caught == found.bad else f" for {found.caught} of {found.bad} bad"
    room = "" if found.margin is None else f" ({found.margin:.3g} times apart)"
    sign = one.rule.limit.partition(" ")[0]
    return f"{sign} {_number(one.rule, found.limit)}{share}{room}"


def _conclusions(whole: Whole) -> list[str]:
    found = whole.summary
    lines = []
    verdicts = f"{_counted(found.rollbacks, 'rollback')} would have been"
    good = [trial for trial in whole.trials if trial.switch.mark == "good" and not trial.without_data]
    bad = [trial for trial in whole.trials if trial.switch.mark == "bad" and not trial.without_data]
    if good or bad:
        verdicts += (
            f": {found.right} of {_counted(len(bad), 'bad release')}, "
            f"{found.false_alarms} of {_counted(len(good), 'good release')}"
        )
    lines.append(f"{verdicts}.")
    undecided = [
        trial
        for trial in whole.trials
        if trial.judgement.verdict in (Verdict.HOLD, Verdict.INCONCLUSIVE) and not trial.without_data
    ]
    if undecided:
        lines.append(f"{_counted(len(undecided), 'switch', 'es')} would have been held and told: neither good nor bad.")
    if found.without_data:
        lines.append(f"{_counted(found.without_data, 'switch', 'es')} without any data: about those nothing is said.")
        if found.data_since is not None and whole.trials[0].without_data:
            lines.append(f"There is no data before {say_time(found.data_since)}.")
    if not any(trial.switch.mark for trial in whole.trials):
        lines.append("Say with --good, --bad or --good-all how the releases were, to learn which limits separate them.")
    return lines


def _after(trial: Trial, at: float) -> str:
    return format_duration(timedelta(seconds=round(at - trial.switch.at)))


def _number(rule: BoundRule, number: float | None) -> str:
    if number is None:
        return "-"
    return format_value(number, rule.threshold.range[0].unit if rule.threshold else "")


def _counted(count: int, word: str, plural: str = "s") -> str:
    return f"{count} {word}{'' if count == 1 else plural}"


def _table(head: Sequence[str], rows: Iterator[list[str]]) -> list[str]:
    """Columns as wide as they need to be; what stands last is not padded."""
    whole = [list(head), *rows]
    widths = [max(len(row[column]) for row in whole) for column in range(len(head) - 1)]
    kept = [column for column, width in enumerate(widths) if width]
    return ["  ".join([*(row[column].ljust(widths[column]) for column in kept), row[-1]]).rstrip() for row in whole]


# -- JSON --------------------------------------------------------------------------------------------------------------


def as_json(whole: Whole) -> str:
    """Everything, with times as in Kubernetes and numbers in base units."""
    found = whole.summary
    return json.dumps(
        {
            "application": {"namespace": whole.app.namespace, "name": whole.app.name},
            "source": whole.plan.source,
            "since": _iso(whole.sought.since),
            "until": _iso(whole.sought.until),
            "notes": list(whole.plan.notes),
            "stopped": whole.stopped or None,
            "rollbacks": found.rollbacks,
            "falseAlarms": found.false_alarms,
            "missed": found.missed,
            "withoutData": found.without_data,
            "dataSince": _iso(found.data_since),
            "switches": [_trial(trial) for trial in whole.trials],
            "rules": [_rule(one) for one in found.rules],
        },
        indent=2,
        allow_nan=False,
    )


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "at": _iso(trial.switch.at),
        "unsureSeconds": trial.switch.unsure,
        "to": trial.switch.color,
        "version": trial.switch.version or None,
        "mark": trial.switch.mark or None,
        "markedBecause": trial.switch.why or None,
        "watchedUntil": _iso(trial.planned.until),
        "cutBy": trial.planned.cut or None,
        "verdict": trial.judgement.verdict.value,
        "rollbackAt": _iso(trial.breached_at) if trial.judgement.verdict is Verdict.ROLLBACK else None,
        "reasons": list(trial.judgement.reasons),
        "rating": trial.rating or None,
        "withoutData": trial.without_data,
        "rules": [
            {
                "id": one.rule.id,
                "outcome": one.report.outcome.value,
                "breachedAt": _iso(one.report.breached_at),
                "message": one.report.message,
                "outcomes": {outcome.value: count for outcome, count in sorted(one.outcomes.items())},
                "level": _finite(one.level),
            }
            for one in trial.rules
        ],
    }


def _rule(one: RuleSummary) -> dict[str, Any]:
    found = one.separation
    return {
        "id": one.rule.id,
        "limit": one.rule.limit,
        "breached": one.breached,
        "trials": one.trials,
        "withoutNumbers": one.without_numbers,
        "separation": None
        if found is None
        else {
            "good": found.good,
            "bad": found.bad,
            "goodUntil": _finite(found.good_until),
            "badFrom": _finite(found.bad_from),
            "caught": found.caught,
            "limit": _finite(found.limit),
            "margin": _finite(found.margin),
            "says": separates(one),
        },
    }


def _finite(number: float | None) -> float | None:
    """JSON has no infinity; the text has it."""
    return number if number is not None and math.isfinite(number) else None


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
