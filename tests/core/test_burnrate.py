"""Burn rates: which pairs of windows a watch can use, what is asked, and what the limits come to."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

import promql_parser
import pytest
from pydantic import ValidationError

from watcher.core.binding import Watched, bind
from watcher.core.burnrate import PAIRS, pairs_within, share_query
from watcher.core.models import API_VERSION
from watcher.core.rules import BoundRule, Rule, RuleOverride, RuleSet, apply_override
from watcher.core.units import Invalid

MINUTE = timedelta(minutes=1)
TEN = timedelta(seconds=10)
BURN = {
    "objective": "99.9%",
    "bad": 'rate(x{code=~"5..",color="{{ color }}"}[{{ window }}])',
    "total": 'rate(x{color="{{ color }}"}[{{ window }}])  # all',
}


def rule(burn: dict[str, Any] | None = None, **keys: Any) -> Rule:
    return Rule.model_validate_json(json.dumps({"name": "burn", "burnRate": BURN | (burn or {})} | keys))


def bound(written: Rule, minutes: int = 15) -> tuple[BoundRule, ...]:
    body = {
        "apiVersion": API_VERSION,
        "kind": "RuleSet",
        "metadata": {"name": "slo"},
        "spec": {"rules": [{"name": "a", "query": "up", "threshold": {"above": 1}}]},
    }
    now, before = {"color": "green"}, {"color": "blue"}
    watched = Watched(now, before, TEN, minutes * MINUTE, "enforce")
    return bind(RuleSet.model_validate_json(json.dumps(body)), written, watched)


@pytest.mark.parametrize(
    ("minutes", "suffixes"),
    [
        (6, ["5m-1m"]),
        (15, ["5m-1m", "10m-1m"]),
        (31, ["5m-1m", "10m-1m", "30m-3m"]),
        (120, ["5m-1m", "10m-1m", "30m-3m", "1h-5m"]),
        (600, ["5m-1m", "10m-1m", "30m-3m", "1h-5m", "6h-30m"]),
    ],
)
def test_a_watch_uses_the_pairs_that_fit_between_the_switch_and_its_end(minutes: int, suffixes: list[str]) -> None:
    assert [pair.suffix for pair in pairs_within(0.001, minutes * MINUTE, TEN)] == suffixes


@pytest.mark.parametrize(("seconds", "fits"), [(319, False), (320, True)])
def test_a_pair_fits_when_it_is_evaluated_three_times(seconds: int, fits: bool) -> None:
    duration = timedelta(seconds=seconds)
    if fits:
        assert [pair.suffix for pair in pairs_within(0.001, duration, TEN)] == ["5m-1m"]
        return
    with pytest.raises(Invalid) as refused:
        pairs_within(0.001, duration, TEN)
    assert str(refused.value) == (
        "no pair of burn rate windows fits into a watch of 5m19s: "
        "watch for 5m20s or more, or write a threshold on the share of bad events"
    )


def test_the_first_evaluation_of_a_pair_is_counted_from_the_grid_of_the_interval() -> None:
    seven = timedelta(seconds=7)
    least = timedelta(seconds=301 + 14)
    assert pairs_within(0.001, least, seven)
    with pytest.raises(Invalid, match="watch for 5m15s or more"):
        pairs_within(0.001, least - timedelta(seconds=1), seven)


def test_a_pair_that_even_an_outage_could_not_exceed_is_left_out() -> None:
    assert [pair.suffix for pair in pairs_within(0.02, 15 * MINUTE, TEN)] == ["10m-1m"]
    with pytest.raises(Invalid, match="watch for 30m20s or more"):
        pairs_within(0.04, 15 * MINUTE, TEN)


def test_an_objective_too_low_for_every_pair_is_said_to_be_so() -> None:
    with pytest.raises(Invalid, match="even a service that is down burns its budget only 4 times too fast: write a"):
        pairs_within(0.25, timedelta(days=1), TEN)


def test_the_pairs_are_the_workbooks_and_lie_on_the_line_through_them() -> None:
    by_suffix = {pair.suffix: pair for pair in PAIRS}
    assert by_suffix["1h-5m"].rate == 14.4
    assert by_suffix["6h-30m"].rate == 6
    for pair in PAIRS:
        assert pair.rate == pytest.approx(14.4 * math.sqrt(timedelta(hours=1) / pair.long), rel=0.03)


def test_a_burn_rate_becomes_a_threshold_for_each_pair_with_a_warm_up_of_its_longer_window() -> None:
    keys: dict[str, Any] = {"for": "20s", "traffic": {"query": "t[{{ window }}]", "atLeast": 9}}
    short, long = bound(rule(description="Availability", **keys))
    assert (short.id, str(short.threshold), short.warm_up, short.window) == (
        "slo/burn-5m-1m",
        "> 5%",
        5 * MINUTE,
        5 * MINUTE,
    )
    assert (long.id, str(long.threshold), long.warm_up) == ("slo/burn-10m-1m", "> 3.5%", 10 * MINUTE)
    assert short.description == "Availability (50 times what 99.9% allows, over 5m and 1m)"
    assert (short.traffic_query, long.traffic_query) == ("t[5m]", "t[10m]")
    assert short.for_ == timedelta(seconds=20)
    assert (short.on_breach, short.enforcing) == ("rollback", True)
    assert BoundRule.model_validate_json(short.model_dump_json()) == short


def test_without_a_description_a_pair_says_what_it_is() -> None:
    assert bound(rule())[1].description == "35 times what 99.9% allows, over 10m and 1m"


def test_the_limit_is_the_rate_times_the_budget_to_the_digits_that_people_read() -> None:
    assert [str(one.threshold) for one in bound(rule({"objective": "99.95%"}), 120)] == [
        "> 2.5%",
        "> 1.75%",
        "> 1%",
        "> 0.72%",
    ]


def test_the_query_asks_for_both_windows_and_keeps_its_shape_behind_a_comment() -> None:
    query = bound(rule())[0].query
    assert query == share_query(
        ['rate(x{code=~"5..",color="green"}[5m])', 'rate(x{code=~"5..",color="green"}[1m])'],
        ['rate(x{color="green"}[5m])  ', 'rate(x{color="green"}[1m])  '],
    )
    parsed = promql_parser.parse(query)
    assert isinstance(parsed, promql_parser.Call)
    assert parsed.func.name == "clamp_max"


@pytest.mark.parametrize(
    ("burn", "keys", "said"),
    [
        ({"objective": 1}, {}, '1 is no objective: write the share of good events, such as "99.9%"'),
        ({"objective": "0%"}, {}, "0% is no objective"),
        ({"bad": "rate(x[5m])"}, {}, 'this is asked over two windows and names none: write "[{{ window }}]"'),
        ({"total": "up"}, {}, "this is asked over two windows and names none"),
        ({}, {"query": "up"}, '"query" has no meaning beside burnRate: leave it out'),
        ({}, {"window": "1m"}, '"window" has no meaning beside burnRate: leave it out'),
        ({}, {"warmUp": "1m"}, '"warmUp" has no meaning beside burnRate: leave it out'),
        ({}, {"reduce": "max"}, '"reduce" has no meaning beside burnRate: leave it out'),
        ({}, {"threshold": {"above": 1}}, "a rule has threshold and burnRate: write exactly one of"),
    ],
)
def test_a_burn_rate_that_cannot_mean_anything_is_refused(
    burn: dict[str, Any], keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        rule(burn, **keys)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threshold": {"above": 1}}, '"burn" has no threshold: leave it out'),
        ({"window": "5m"}, '"burn" has a burnRate with windows of its own: leave it out'),
    ],
)
def test_an_application_cannot_change_what_a_burn_rate_has_not(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid) as refused:
        apply_override(rule(), RuleOverride.model_validate_json(json.dumps(change)))
    assert str(refused.value) == said


def test_a_burn_rate_names_its_queries_for_whoever_checks_them() -> None:
    written = rule(traffic={"query": "sum(x)", "atLeast": 1})
    assert [path for path, _ in written.queries()] == [("burnRate", "bad"), ("burnRate", "total"), ("traffic", "query")]
