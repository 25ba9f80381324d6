"""Trials of past switches, and what they say together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from watcher.core.backtest import MOST_TRIALS, Planned, Trial, plan, pretended, summary, tried
from watcher.core.evaluation import Outcome, RuleState, Sample, advance, initial
from watcher.core.readings import NoData, Number, Reading
from watcher.core.rules import BoundRule
from watcher.core.switches import Change, Mark, Switch
from watcher.core.units import Invalid
from watcher.core.verdict import Verdict

WATCH = timedelta(seconds=60)
BEGIN = 1000.0


def bound(name: str = "errors", **keys: Any) -> BoundRule:
    written = {
        "id": f"http/{name}",
        "description": "",
        "query": "x",
        "threshold": {"above": 10},
        "window": "10s",
        "for": "10s",
        "warmUp": "10s",
        "interval": "10s",
        "onBreach": "rollback",
        "onNoData": "hold",
        "onError": "hold",
        "mode": "enforce",
    }
    return BoundRule.model_validate_json(json.dumps(written | keys))


RULE = bound()


def states(rule: BoundRule, values: Sequence[float | None], begin: float) -> tuple[RuleState, ...]:
    state, found = initial(rule), []
    for index, value in enumerate(values, 1):
        reading: Reading = NoData() if value is None else Number(value)
        state = advance(rule, state, Sample(begin + 10 * index, reading))
        found.append(state)
    return tuple(found)


def trial(*values: float | None, at: float = BEGIN, mark: Mark = "", rule: BoundRule = RULE, cut: Any = "") -> Trial:
    planned = Planned(Switch(at, "green", mark=mark), at + 60, cut)
    return tried(planned, [rule], {rule.id: states(rule, values, at)}, keep=True)


BAD, GOOD, BLIND = (1, 20, 30, 30, 30, 30), (1, 2, 3, 2, 1, 2), (None,) * 6


def test_a_trial_says_when_an_enforcing_rule_would_have_gone_back() -> None:
    found = trial(*BAD)

    assert found.judgement.verdict is Verdict.ROLLBACK
    assert found.breached_at == BEGIN + 30
    (rule,) = found.rules
    assert rule.report.breached_at == BEGIN + 30
    assert rule.outcomes == {Outcome.PASS: 1, Outcome.BREACH: 5}
    assert (rule.level, rule.numbers) == (30, 6)
    assert rule.course[1] == (BEGIN + 20, Outcome.BREACH, 20)


def test_a_rule_that_only_tells_moves_no_traffic_in_a_trial() -> None:
    found = trial(*BAD, rule=bound(onBreach="notify"))

    assert found.judgement.verdict is Verdict.PASS
    assert found.breached_at is None
    assert found.rules[0].report.breached


def test_a_trial_without_any_evaluation_is_without_data() -> None:
    found = trial()

    assert found.without_data
    assert found.rules[0].report.outcome is Outcome.PENDING


@pytest.mark.parametrize(("cut", "verdict"), [("", Verdict.INCONCLUSIVE), ("next switch", Verdict.HOLD)])
def test_a_watch_that_was_cut_short_has_not_ended(cut: str, verdict: Verdict) -> None:
    assert trial(1, 20, cut=cut).judgement.verdict is verdict


def test_courses_are_kept_only_when_asked_for() -> None:
    planned = Planned(Switch(BEGIN, "green"), BEGIN + 60)

    found = tried(planned, [RULE], {RULE.id: states(RULE, GOOD, BEGIN)}, keep=False)

    assert found.rules[0].course == ()
    assert found.rules[0].numbers == 6
    assert not found.without_data


RATINGS: list[tuple[Sequence[float | None], Mark, str]] = [
    (BAD, "good", "false alarm"),
    (GOOD, "good", "right"),
    ((1, 20), "good", ""),
    (BAD, "bad", "right"),
    (GOOD, "bad", "missed"),
    ((1, 20), "bad", "missed"),
    (BAD, "", ""),
]


@pytest.mark.parametrize(("values", "mark", "rating"), RATINGS)
def test_a_verdict_is_rated_where_it_is_known_what_the_version_was(
    values: Sequence[float | None], mark: Mark, rating: str
) -> None:
    assert trial(*values, mark=mark).rating == rating


def test_the_summary_counts_right_and_wrong_and_leaves_out_what_has_no_data() -> None:
    trials = [
        trial(*BLIND, at=0, mark="good"),
        trial(*BLIND, at=100, mark="bad"),
        trial(*BAD, at=200, mark="bad"),
        trial(*BAD, at=300, mark="good"),
        trial(*GOOD, at=400, mark="bad"),
        trial(*GOOD, at=500, mark="good"),
        trial(*BAD, at=600),
    ]

    found = summary(trials)

    assert (found.rollbacks, found.right, found.false_alarms, found.missed) == (3, 1, 1, 1)
    assert (found.without_data, found.data_since) == (2, 200)
    (rule,) = found.rules
    assert (rule.trials, rule.breached, rule.without_numbers) == (7, 3, 2)
    assert rule.separation is not None
    assert (rule.separation.good, rule.separation.bad, rule.separation.limit) == (2, 2, None)


def test_a_limit_that_separates_comes_from_the_trials() -> None:
    found = summary([trial(*GOOD, mark="good"), trial(*BAD, mark="bad", at=2000)])

    assert found.rules[0].separation is not None
    assert found.rules[0].separation.good_until == 2
    assert found.rules[0].separation.bad_from == 30
    assert found.rules[0].separation.limit == 7.7


def test_a_summary_of_nothing_has_no_data() -> None:
    found = summary([trial(*BLIND)])

    assert found.data_since is None
    assert found.without_data == 1


# -- plans -----------------------------------------------------------------------------------------------------------


def test_a_watch_ends_in_time_or_at_the_next_switch_or_with_the_history() -> None:
    switches = [Switch(0.0, "green"), Switch(100.0, "blue"), Switch(500.0, "green")]
    found = [Change(0.0, "green", -15), Change(100.0, "blue", 85), Change(130.0, "green", 115)]

    planned = plan(switches, found, WATCH, history_ends=540.0)

    assert [(one.until, one.cut) for one in planned] == [(60, ""), (130, "next switch"), (540, "end of history")]


def test_a_change_to_the_same_colour_does_not_cut_a_watch() -> None:
    (planned,) = plan([Switch(0.0, "green")], [Change(8.0, "green", -7)], WATCH, history_ends=999.0)

    assert planned == Planned(Switch(0.0, "green"), 60.0, "")


def test_switches_are_pretended_to_the_active_colour_while_a_watch_still_fits() -> None:
    known: list[tuple[float, Any]] = [(50.0, "blue"), (250.0, "green")]

    found = pretended(known, 0.0, 400.0, timedelta(seconds=100), WATCH, None)

    assert [(one.at, one.color) for one in found] == [(100, "blue"), (200, "blue"), (300, "green")]


def test_switches_are_pretended_to_the_colour_that_is_named() -> None:
    found = pretended([], 0.0, 160.0, timedelta(seconds=50), WATCH, "green")

    assert [(one.at, one.color) for one in found] == [(0, "green"), (50, "green"), (100, "green")]


def test_a_history_shorter_than_a_watch_gives_no_pretended_switch() -> None:
    assert pretended([], 0.0, 30.0, timedelta(seconds=50), WATCH, "green") == []


def test_too_many_pretended_switches_are_refused_before_they_are_made() -> None:
    with pytest.raises(Invalid, match=f"no more than {MOST_TRIALS}"):
        pretended([], 0.0, 1e12, timedelta(seconds=1), WATCH, "green")
