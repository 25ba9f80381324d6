"""The level of a watch, and the limit between good and bad: both held against the fold itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.evaluation import RuleState, Sample, advance, initial
from watcher.core.readings import Failed, NoData, Number, Reading
from watcher.core.rules import BoundRule
from watcher.core.separation import level, separate


def bound(**keys: Any) -> BoundRule:
    written = {
        "id": "http/error-rate",
        "description": "",
        "query": "x",
        "threshold": {"above": 10},
        "window": "1m",
        "for": "0s",
        "warmUp": "0s",
        "interval": "10s",
        "onBreach": "rollback",
        "onNoData": "hold",
        "onError": "hold",
        "mode": "enforce",
    }
    return BoundRule.model_validate_json(json.dumps(written | keys))


def states(rule: BoundRule, readings: Sequence[Reading | float]) -> list[RuleState]:
    state, found = initial(rule), []
    for index, one in enumerate(readings, 1):
        state = advance(rule, state, Sample(10.0 * index, Number(one) if isinstance(one, int | float) else one))
        found.append(state)
    return found


LEVELS: list[tuple[dict[str, Any], list[Reading | float], float | None]] = [
    ({}, [1, 5, 3], 5),
    ({"threshold": {"below": 10}}, [4, 2, 3], 2),
    ({"for": "20s"}, [9, 1, 5, 4, 6, 2], 4),
    ({"for": "20s"}, [9, NoData(), 8, Failed("down"), 7, 1], 7),
    ({"for": "20s"}, [9, 8], None),
    ({"for": "15s"}, [9, 8, 7], 7),
    ({"breaches": {"count": 2, "of": 3}}, [9, 1, 8, 1, 1, 7], 8),
    ({"breaches": {"count": 2, "of": 3}}, [9], None),
    ({"threshold": {"below": 10}, "breaches": {"count": 2, "of": 3}}, [1, 9, 2, 9, 9, 3], 2),
    ({"onNoData": "pass", "for": "10s"}, [9, NoData(), 8, 7], 7),
    ({"onNoData": "pass"}, [NoData(), NoData()], None),
    ({"threshold": {"outside": [1, 2]}}, [9], None),
    ({}, [], None),
    ({}, [math.inf, 1], math.inf),
    ({}, [-math.inf], None),
]


@pytest.mark.parametrize(("keys", "readings", "expected"), LEVELS)
def test_the_level_is_where_the_limit_would_have_been_reached(
    keys: dict[str, Any], readings: list[Reading | float], expected: float | None
) -> None:
    rule = bound(**keys)

    assert level(rule, states(rule, readings)) == expected


def test_a_rule_without_a_threshold_has_no_level() -> None:
    rule = bound().model_copy(update={"threshold": None})

    assert level(rule, []) is None
    assert separate(rule, [1], [2]) is None


readings_of = st.lists(st.one_of(st.integers(0, 8).map(float), st.just(NoData()), st.just(Failed("down"))), max_size=25)
conditions = st.one_of(
    st.sampled_from(["0s", "10s", "25s", "30s"]).map(lambda text: {"for": text}),
    st.tuples(st.integers(1, 4), st.integers(0, 3)).map(
        lambda pair: {"breaches": {"count": pair[0], "of": pair[0] + pair[1]}}
    ),
)


@given(readings_of, conditions, st.sampled_from(["above", "below"]), st.integers(-1, 9))
def test_the_fold_breaches_exactly_on_one_side_of_the_level(
    readings: list[Reading | float], condition: dict[str, Any], side: str, limit: int
) -> None:
    rule = bound(threshold={side: limit}, **condition)
    seen = states(rule, readings)
    found = level(rule, seen)

    breached = bool(seen) and seen[-1].breach is not None

    if found is None:
        assert not breached
    else:
        assert breached == (limit < found if side == "above" else limit > found)


SEPARATIONS: list[tuple[str, list[float], list[float], tuple[float | None, float | None, int, float | None]]] = [
    ("above", [1, 4], [9, 16], (4, 9, 2, 6.0)),
    ("below", [9, 16], [1, 4], (9, 4, 2, 6.0)),
    ("above", [1, 4], [3, 9], (4, 9, 1, 6.0)),
    ("above", [4], [1, 2], (4, None, 0, None)),
    ("above", [0], [0.05], (0, 0.05, 1, 0.025)),
    ("above", [-9], [-4], (-9, -4, 1, -6.0)),
    ("above", [-2], [2], (-2, 2, 1, 0)),
    ("above", [], [5], (None, 5, 1, None)),
    ("above", [5], [], (5, None, 0, None)),
    ("above", [], [], (None, None, 0, None)),
    ("above", [4], [math.inf], (4, math.inf, 1, 8.0)),
    ("above", [0], [math.inf], (0, math.inf, 1, 0)),
    ("above", [math.inf], [math.inf], (math.inf, None, 0, None)),
    ("above", [20.0], [20.1], (20.0, None, 0, None)),
    ("above", [1.01], [1.03], (1.01, 1.03, 1, 1.02)),
    ("above", [1.006], [1.0165], (1.006, 1.0165, 1, 1.01)),
    ("above", [1e308], [math.inf], (1e308, math.inf, 1, 1e308)),
    ("above", [9.981], [9.9951], (9.981, None, 0, None)),
    ("below", [1e-3], [1e-9], (1e-3, 1e-9, 1, 1e-6)),
]


@pytest.mark.parametrize(("side", "good", "bad", "expected"), SEPARATIONS)
def test_a_limit_lies_between_the_levels_of_good_and_bad(
    side: str, good: list[float], bad: list[float], expected: tuple[float | None, float | None, int, float | None]
) -> None:
    found = separate(bound(threshold={side: 10}), good, bad)

    assert found is not None
    assert (found.good_until, found.bad_from, found.caught, found.limit) == expected
    assert (found.good, found.bad) == (len(good), len(bad))


positive = st.floats(1e-6, 1e6)


@given(st.lists(positive, min_size=1, max_size=6), st.lists(positive, min_size=1, max_size=6), st.booleans())
def test_a_limit_that_separates_spares_every_good_one_and_catches_those_that_stand_out(
    good: list[float], bad: list[float], above: bool
) -> None:
    found = separate(bound(threshold={"above" if above else "below": 10}), good, bad)

    assert found is not None
    if found.limit is not None:
        caught = [one for one in bad if (one > found.limit if above else one < found.limit)]
        spared = [one for one in good if not (one > found.limit if above else one < found.limit)]
        assert len(caught) == found.caught > 0
        assert spared == good
        assert found.margin is not None
        assert found.margin > 1
    else:
        assert found.caught == 0
        assert found.margin is None


@pytest.mark.parametrize(("good", "bad", "margin"), [([2], [8], 4), ([0], [8], None), ([-2], [8], None)])
def test_the_margin_is_a_ratio_where_there_is_one(good: list[float], bad: list[float], margin: float | None) -> None:
    found = separate(bound(), good, bad)

    assert found is not None
    assert found.margin == margin
