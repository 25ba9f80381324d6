"""One rule over time: each line of the rule semantics is a row, and the fold keeps its promises for any series.

A series is written as a word, one letter an evaluation (every 10 s): `p` passes, `b` breaches, `-` no data, `n` NaN,
`t` too little traffic, `e` a failed query, `s` several series, `i` +Inf.
"""

from __future__ import annotations

import itertools
import json
import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.evaluation import (
    Outcome,
    RuleState,
    Sample,
    advance,
    evaluation_times,
    evaluations_due,
    fold,
    initial,
    report,
    sample_at,
)
from watcher.core.readings import Failed, NoData, Number, Reading, Row, Series, Several, reading_at
from watcher.core.rules import BoundRule

START = 1_700_000_000.0
LETTERS: dict[str, Reading] = {
    "p": Number(0.002),
    "b": Number(0.042),
    "i": Number(math.inf),
    "-": NoData(),
    "n": Number(math.nan),
    "e": Failed("the server did not answer"),
    "s": Several(("pod", "zone")),
    "t": Number(0.042),
}
TRAFFIC = {"query": "sum(x)", "atLeast": 50}


def bound(**keys: Any) -> BoundRule:
    """A rule with a limit of 1%, evaluated every 10 s."""
    traffic = keys.pop("traffic", None)
    written = {
        "id": "http/error-rate",
        "description": "",
        "query": "x",
        "threshold": {"above": "1%"},
        "window": "1m",
        "for": "0s",
        "warmUp": "1m",
        "interval": "10s",
        "onBreach": "rollback",
        "onNoData": "hold",
        "onError": "hold",
        "mode": "enforce",
    }
    if traffic:
        written |= {"trafficQuery": traffic["query"], "trafficAtLeast": traffic["atLeast"]}
    return BoundRule.model_validate_json(json.dumps(written | keys))


def time_of(index: int) -> float:
    return START + 10.0 * index


def samples(word: str, *, traffic: bool = False) -> list[Sample]:
    enough, little = Number(50.0), Number(49.0)
    return [
        Sample(time_of(index), LETTERS[letter], (little if letter == "t" else enough) if traffic else None)
        for index, letter in enumerate(word)
    ]


def after(rule: BoundRule, word: str) -> RuleState:
    return fold(rule, initial(rule), samples(word, traffic=rule.traffic_query is not None))


def breached_at(state: RuleState) -> int | None:
    """The index of the evaluation that completed the breach."""
    return None if state.breach is None else round((state.breach.at - START) / 10)


FOR_30 = {"for": "30s"}
TWO_OF_THREE = {"breaches": {"count": 2, "of": 3}}


@pytest.mark.parametrize(
    ("keys", "word", "at"),
    [
        pytest.param({}, "ppb", 2, id="without for, the first breaching evaluation is a breach"),
        pytest.param({}, "ppp", None, id="numbers within the limit are none"),
        pytest.param({}, "i", 0, id="infinity compares as a number"),
        pytest.param({}, "-nnes-", None, id="what is not a number is never a breach"),
        pytest.param(FOR_30, "bbb", None, id="three evaluations 10 s apart span 20 s"),
        pytest.param(FOR_30, "bbbb", 3, id="four evaluations 10 s apart span 30 s"),
        pytest.param(FOR_30, "bbpbbb", None, id="a number within the limit begins for anew"),
        pytest.param(FOR_30, "bbpbbbb", 6, id="and it can still be met later"),
        pytest.param(FOR_30, "bb-bb", 4, id="no data does not reset for"),
        pytest.param(FOR_30, "b-nes-bb", None, id="and blind evaluations do not count towards it"),
        pytest.param(FOR_30, "b-nes-bbb", 8, id="only numbers do"),
        pytest.param(FOR_30 | {"traffic": TRAFFIC}, "bttbtbb", 6, id="thin neither counts nor resets"),
        pytest.param({"for": "25s"}, "bbbb", 3, id="for between two evaluations is met at the later one"),
        pytest.param({"for": "5s"}, "bb", 1, id="for shorter than the interval needs two evaluations"),
        pytest.param(TWO_OF_THREE, "bb", 1, id="two breaches of three need no third evaluation"),
        pytest.param(TWO_OF_THREE, "bpb", 2, id="two of the last three"),
        pytest.param(TWO_OF_THREE, "bppb", None, id="the first of four is forgotten"),
        pytest.param(TWO_OF_THREE, "bp--e-b", 6, id="only evaluations that gave a number are counted"),
        pytest.param({"breaches": {"count": 1, "of": 1}}, "pb", 1, id="one of one"),
        pytest.param(FOR_30 | {"onNoData": "breach"}, "---", None, id="no data for 20 s is not yet lasting"),
        pytest.param(FOR_30 | {"onNoData": "breach"}, "----", 3, id="no data for as long as for breaches if asked"),
        pytest.param(FOR_30 | {"onNoData": "breach"}, "---p----", 7, id="data in between begins it anew"),
        pytest.param(FOR_30 | {"onNoData": "breach"}, "---e---", None, id="another blindness is not the same one"),
        pytest.param(FOR_30 | {"onNoData": "breach"}, "eeeeeeee", None, id="errors are not no data"),
        pytest.param(FOR_30 | {"onNoData": "breach", "traffic": TRAFFIC}, "tttttt", None, id="nor is thin traffic"),
        pytest.param(FOR_30 | {"onError": "breach"}, "eeee", 3, id="errors for as long as for breach if asked"),
        pytest.param(FOR_30 | {"onError": "breach"}, "eses", 3, id="several series are an error too"),
        pytest.param(FOR_30 | {"onError": "breach"}, "------", None, id="no data is not an error"),
        pytest.param(
            FOR_30 | {"onNoData": "pass"}, "bb-bb", None, id="no data that passes resets for as a number would"
        ),
        pytest.param(TWO_OF_THREE | {"onNoData": "pass"}, "b--b", None, id="and counts among the last of"),
    ],
)
def test_when_a_rule_is_breached(keys: dict[str, Any], word: str, at: int | None) -> None:
    assert breached_at(after(bound(**keys), word)) == at


@pytest.mark.parametrize(
    ("keys", "word", "outcome", "value", "evaluated", "message"),
    [
        ({}, "", "pending", None, 0, "error-rate has not been evaluated yet"),
        ({}, "p", "pass", 0.002, 1, "error-rate is 0.2% (limit 1%)"),
        ({}, "b", "breach", 0.042, 1, "error-rate was 4.2% (limit 1%)"),
        ({}, "i", "breach", None, 1, "error-rate was +Inf (limit 1%)"),
        ({}, "p-", "noData", None, 1, "error-rate has no data"),
        ({}, "n", "noData", None, 0, "error-rate has no data"),
        ({"onNoData": "pass"}, "-", "pass", None, 1, "error-rate has no data, which counts as a pass"),
        ({}, "e", "error", None, 0, "error-rate could not be evaluated: the server did not answer"),
        (
            {},
            "s",
            "error",
            None,
            0,
            (
                "error-rate could not be evaluated: several series where one number is needed (they differ in pod, "
                "zone); aggregate them in the query, or say how to reduce them"
            ),
        ),
        (
            {"traffic": TRAFFIC},
            "t",
            "thin",
            None,
            0,
            "too little traffic for error-rate: 49 where at least 50 is needed",
        ),
        (FOR_30, "bb", "breach", 0.042, 2, "error-rate is 4.2% (limit 1%) for 10 s of 30 s"),
        (FOR_30, "bbbb", "breach", 0.042, 4, "error-rate was 4.2% (limit 1%) for 30 s"),
        (FOR_30, "bbbbpp", "breach", 0.042, 6, "error-rate was 4.2% (limit 1%) for 30 s"),
        (
            TWO_OF_THREE,
            "pb",
            "breach",
            0.042,
            2,
            "error-rate is 4.2% (limit 1%), 1 of the 2 times in 3 that make a breach",
        ),
        (TWO_OF_THREE, "pbpb", "breach", 0.042, 4, "error-rate was 4.2% (limit 1%) in 2 of the last 3 evaluations"),
        (
            FOR_30 | {"onNoData": "breach"},
            "----",
            "breach",
            None,
            0,
            "error-rate gave no data for 30 s, which this rule counts as a breach",
        ),
        (
            FOR_30 | {"onError": "breach"},
            "eeee",
            "breach",
            None,
            0,
            "error-rate could not be evaluated for 30 s, which this rule counts as a breach: the server did not answer",
        ),
    ],
)
def test_what_a_rule_reports(
    keys: dict[str, Any], word: str, outcome: str, value: float | None, evaluated: int, message: str
) -> None:
    rule = bound(**keys)
    said = report(rule, after(rule, word))
    assert (said.id, said.threshold) == ("http/error-rate", "> 1%")
    assert (said.outcome, said.value, said.evaluated, said.message) == (outcome, value, evaluated, message)
    assert type(said).model_validate_json(said.model_dump_json()) == said


@pytest.mark.parametrize(
    ("threshold", "value", "message"),
    [
        ({"above": "1%"}, 0.010004, "error-rate was 1.0004% (limit 1%)"),
        ({"above": "250ms"}, 0.312, "error-rate was 312 ms (limit 250ms)"),
        ({"below": "99.9%"}, 0.98, "error-rate was 98% (at least 99.9%)"),
        ({"below": "99.9%"}, 0.99899999, "error-rate was 99.899999% (at least 99.9%)"),
        ({"above": "2GiB"}, 3 * 1024**3, "error-rate was 3 GiB (limit 2GiB)"),
        ({"outside": ["1%", "5%"]}, 0.07, "error-rate was 7% (limits 1% to 5%)"),
        ({"above": 0}, math.nextafter(0, 1), "error-rate was 4.94e-324 (limit 0)"),
        ({"above": 1}, math.nextafter(1, 2), "error-rate was 1.0000000000000002 (limit 1)"),
    ],
)
def test_a_breach_is_said_in_the_unit_of_the_limit_and_differs_from_it(
    threshold: dict[str, Any], value: float, message: str
) -> None:
    rule = bound(threshold=threshold)
    assert report(rule, advance(rule, initial(rule), Sample(START, Number(value)))).message == message


def test_a_value_at_the_limit_is_said_as_it_is() -> None:
    rule = bound()
    assert (
        report(rule, advance(rule, initial(rule), Sample(START, Number(0.01)))).message == "error-rate is 1% (limit 1%)"
    )


@pytest.mark.parametrize(
    ("traffic", "outcome"),
    [
        (Number(50.0), Outcome.BREACH),
        (Number(math.inf), Outcome.BREACH),
        (Number(49.9), Outcome.THIN),
        (Number(math.nan), Outcome.THIN),
        (NoData(), Outcome.THIN),
        (Failed("time-out"), Outcome.ERROR),
        (Several(("pod",)), Outcome.ERROR),
        (None, Outcome.ERROR),
    ],
)
@pytest.mark.parametrize("value", ["b", "-", "e"])
def test_traffic_is_asked_first(traffic: Any, outcome: Outcome, value: str) -> None:
    rule = bound(traffic=TRAFFIC)
    got = advance(rule, initial(rule), Sample(START, LETTERS[value], traffic)).outcome
    assert got == (outcome if outcome is not Outcome.BREACH else Outcome(after(bound(), value).outcome))


@pytest.mark.parametrize(
    ("traffic", "why"),
    [
        (Failed("time-out"), "its traffic: time-out"),
        (Several(()), "its traffic: several series where one number is needed; aggregate"),
        (None, "its traffic was not asked for"),
    ],
)
def test_an_error_of_the_traffic_query_says_so(traffic: Any, why: str) -> None:
    rule = bound(traffic=TRAFFIC)
    state = advance(rule, initial(rule), Sample(START, Number(0.5), traffic))
    assert report(rule, state).message.startswith(f"error-rate could not be evaluated: {why}")


def test_a_server_that_is_down_for_both_queries_is_said_once() -> None:
    rule, down = bound(traffic=TRAFFIC), Failed("it is down.")
    state = advance(rule, initial(rule), Sample(START, down, down))
    assert report(rule, state).message == "error-rate could not be evaluated: it is down"


@pytest.mark.parametrize(
    ("keys", "word", "since"),
    [
        ({}, "ppp", 0),
        ({}, "pp--", 2),
        (FOR_30, "pbb", 1),
        (FOR_30, "pb-bbb", 1),
        (TWO_OF_THREE, "bppbpb", 3),
        (FOR_30 | {"onNoData": "breach"}, "p----", 1),
    ],
)
def test_a_report_says_since_when(keys: dict[str, Any], word: str, since: int) -> None:
    rule = bound(**keys)
    assert report(rule, after(rule, word)).since == time_of(since)


def test_a_time_that_was_folded_already_changes_nothing() -> None:
    rule = bound(**FOR_30)
    state = after(rule, "bb")
    for sample in samples("bb"):
        assert advance(rule, state, sample) == state


WORDS = st.text(alphabet="pbin-est", max_size=40)
RULES = st.sampled_from(
    [
        bound(),
        bound(**FOR_30),
        bound(**FOR_30, onNoData="breach", onError="breach"),
        bound(**FOR_30, onNoData="pass"),
        bound(**TWO_OF_THREE),
        bound(**FOR_30, traffic=TRAFFIC),
        bound(threshold={"outside": ["0.1%", "1%"]}, breaches={"count": 3, "of": 7}),
    ]
)


@given(RULES, WORDS, st.lists(st.integers(0, 40)))
def test_folding_in_any_chunks_is_folding_in_one_go(rule: BoundRule, word: str, cuts: list[int]) -> None:
    series = samples(word, traffic=True)
    state = initial(rule)
    edges = [0, *sorted(cuts), len(series)]
    for begin, end in itertools.pairwise(edges):
        state = fold(rule, state, series[begin:end])
    assert state == fold(rule, initial(rule), series)


@given(RULES, WORDS, WORDS)
def test_a_breach_is_latched_with_its_evidence(rule: BoundRule, word: str, later: str) -> None:
    before, state = after(rule, word), after(rule, word + later)
    if before.breach is not None:
        assert state.breach == before.breach
        assert report(rule, state).outcome == "breach"
        assert report(rule, state).breached_at == before.breach.at


@given(WORDS, st.integers(0, 40), st.sampled_from("-nes"), st.sampled_from([{}, FOR_30, TWO_OF_THREE]))
def test_a_gap_never_makes_or_takes_a_breach(word: str, place: int, gap: str, keys: dict[str, Any]) -> None:
    rule = bound(**keys)
    without, with_gap = after(rule, word), after(rule, word[:place] + gap + word[place:])
    assert (without.breach is None) == (with_gap.breach is None)
    assert (without.evaluated, without.streak) == (with_gap.evaluated, with_gap.streak)


@given(RULES, WORDS)
def test_every_state_can_be_reported(rule: BoundRule, word: str) -> None:
    said = report(rule, after(rule, word))
    assert said.message
    assert said.breached == (said.breached_at is not None)


# What a range answer says for one time.


def series(*rows: tuple[dict[str, str], dict[float, float]]) -> Series:
    return Series(tuple(Row(labels, points) for labels, points in rows))


@pytest.mark.parametrize(
    ("answer", "reduce", "reading"),
    [
        (NoData(), None, NoData()),
        (Failed("x"), "max", Failed("x")),
        (series(({}, {START: 3.0})), None, Number(3.0)),
        (series(({}, {START: 3.0})), "max", Number(3.0)),
        (series(({}, {START + 0.0004: 3.0})), None, Number(3.0)),
        (series(({}, {START + 0.001: 3.0})), None, NoData()),
        (series(({}, {START: math.nan})), None, NoData()),
        (series(({}, {START: math.inf})), None, Number(math.inf)),
        (series(({"a": "1"}, {START: 1.0}), ({"a": "2"}, {START + 10: 2.0})), None, Number(1.0)),
        (
            series(({"a": "1", "b": "x", "c": "y"}, {START: 1.0}), ({"a": "2", "b": "x"}, {START: 2.0})),
            None,
            Several(("a", "c")),
        ),
        (series(({"a": "1"}, {START: 1.0}), ({"a": "2"}, {START: math.nan})), None, Several(("a",))),
        (series(({"a": "1"}, {START: 1.0}), ({"a": "2"}, {START: math.nan})), "min", Number(1.0)),
        (series(({"a": "1"}, {START: math.nan}), ({"a": "2"}, {START: math.nan})), "sum", NoData()),
        (series(({"a": "1"}, {START: 1.0}), ({"a": "2"}, {START: 4.0})), "max", Number(4.0)),
        (series(({"a": "1"}, {START: 1.0}), ({"a": "2"}, {START: 4.0})), "min", Number(1.0)),
        (series(({"a": "1"}, {START: 1.0}), ({"a": "2"}, {START: 4.0})), "sum", Number(5.0)),
        (series(({"a": "1"}, {START: 1.0}), ({"a": "2"}, {START: 4.0})), "avg", Number(2.5)),
        (series(({"a": "1"}, {START: math.inf}), ({"a": "2"}, {START: -math.inf})), "sum", NoData()),
        (series(), None, NoData()),
    ],
)
def test_one_time_of_an_answer_is_read(answer: Any, reduce: Any, reading: Any) -> None:
    assert reading_at(answer, START, reduce) == reading


@given(
    st.lists(st.tuples(st.dictionaries(st.text(), st.text()), st.dictionaries(st.floats(), st.floats()))),
    st.floats(),
    st.sampled_from([None, "max", "min", "sum", "avg"]),
)
def test_any_answer_is_read_without_nan(rows: list[Any], at: float, reduce: Any) -> None:
    reading = reading_at(series(*rows), at, reduce)
    assert not (isinstance(reading, Number) and math.isnan(reading.value))


def test_a_sample_reduces_the_value_and_not_the_traffic() -> None:
    two = series(({"a": "1"}, {START: 1.0}), ({"a": "2"}, {START: 4.0}))
    rule = bound(reduce="max", traffic=TRAFFIC)
    assert sample_at(rule, START, two, two) == Sample(START, Number(4.0), Several(("a",)))
    assert sample_at(rule, START, two, None) == Sample(START, Number(4.0), None)


# When a rule is evaluated.


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@pytest.mark.parametrize(
    ("switched_at", "interval", "warm_up", "start_after", "until", "times"),
    [
        (100.0, 10, 0, None, 130.0, [110, 120, 130]),
        (99.2, 10, 0, None, 130.0, [110, 120, 130]),
        (100.0, 10, 20, None, 130.0, [120, 130]),
        (100.0, 10, 15, None, 130.0, [120, 130]),
        (100.0, 10, 0, 110.0, 130.0, [120, 130]),
        (100.0, 10, 0, 109.9, 130.0, [110, 120, 130]),
        (100.0, 10, 0, 130.0, 130.0, []),
        (100.0, 10, 0, 90.0, 110.0, [110]),
        (100.0, 10, 60, None, 130.0, []),
        (100.0, 10, 0, None, 129.999, [110, 120]),
        (100.0, 10, 0, None, 50.0, []),
        (100.0, 0.25, 0, 100.5, 101.0, [100.75, 101.0]),
    ],
)
def test_evaluation_times_lie_on_a_fixed_grid(
    switched_at: float,
    interval: float,
    warm_up: float,
    start_after: float | None,
    until: float,
    times: list[float],
) -> None:
    assert evaluation_times(switched_at, seconds(interval), seconds(warm_up), start_after, until) == times


@given(
    st.floats(1.6e9, 1.9e9),
    st.integers(100, 60_000),
    st.integers(0, 300_000),
    st.lists(st.floats(0, 600), min_size=1, max_size=8),
)
def test_any_ticks_evaluate_each_time_once(switched_at: float, interval: int, warm_up: int, ticks: list[float]) -> None:
    rule = bound(interval=f"{interval}ms", warmUp=f"{warm_up}ms")
    last: float | None = None
    seen: list[float] = []
    for tick in sorted(ticks):
        times = evaluation_times(switched_at, rule.interval, rule.warm_up, last, switched_at + tick)
        seen += times
        last = seen[-1] if seen else None
    end = switched_at + max(ticks)
    assert seen == evaluation_times(switched_at, rule.interval, rule.warm_up, None, end)
    assert len(seen) == evaluations_due(rule, switched_at, end)
    assert all(time >= switched_at + warm_up / 1000 for time in seen)
