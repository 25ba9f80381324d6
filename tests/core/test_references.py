"""What a comparison asks of the past, and which colour's numbers it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from watcher.core.application import Application
from watcher.core.binding import bind_rules
from watcher.core.comparison import Past, PastWindow
from watcher.core.evaluation import Outcome, Sample, advance, initial, report, sample_at
from watcher.core.readings import Answer, Failed, NoData, Number, Reading, Row, Series
from watcher.core.references import MOST_POINTS, Stretch, past, queries, stretches, window
from watcher.core.rules import BoundRule, Rule, RuleSet

API = "watcher.bluegreen.dev/v1alpha1"
SWITCHED = 1_700_000_000.0
DAY, HOUR = 86_400.0, 3_600.0
TOLERANCE = {"relative": "20%", "absolute": "50ms"}
TRAFFIC = {"query": 'sum(t{color="{{ color }}"})', "atLeast": 10}


def rule(
    compare: dict[str, Any] | None = None, *, duration: str = "15m", interval: str = "10s", **keys: Any
) -> BoundRule:
    written = {"name": "p99", "query": 'q{color="{{ color }}",pod=~"{{ deployment }}-.*"}'}
    return bound(written | {"compare": {"tolerance": TOLERANCE} | (compare or {})} | keys, duration, interval)


def bound(written: Mapping[str, Any], duration: str = "15m", interval: str = "10s") -> BoundRule:
    rule_set = {"apiVersion": API, "kind": "RuleSet", "metadata": {"name": "http"}, "spec": {"rules": [written]}}
    app = {
        "apiVersion": API,
        "kind": "Application",
        "metadata": {"name": "chat", "namespace": "prod"},
        "spec": {
            "service": "chat",
            "colors": {"blue": {"deployment": "chat-b"}, "green": {"deployment": "chat-g"}},
            "watch": {"rules": ["http"], "duration": duration, "interval": interval},
        },
    }
    sets = {"http": RuleSet.model_validate_json(json.dumps(rule_set))}
    (made,) = bind_rules(Application.model_validate_json(json.dumps(app)), sets, "green", "blue", "2")
    return made


def flat(stretch: Stretch, value: float) -> Series:
    return Series((Row({}, dict.fromkeys(stretch.times(), value)),))


def answered(made: BoundRule, *answers: Mapping[str, float | Answer]) -> list[tuple[Stretch, dict[str, Answer]]]:
    """Each reference in turn with its answers; a number is a flat series, what is left out is no data."""
    assert made.compare is not None
    given = dict(zip(made.compare.with_, answers, strict=True))
    found: list[tuple[Stretch, dict[str, Answer]]] = []
    for stretch in stretches(made, SWITCHED):
        whole: dict[str, Answer] = {query.id: NoData() for query in queries(made, stretch.reference)}
        assert set(given[stretch.reference]) <= set(whole)
        for id_, answer in given[stretch.reference].items():
            whole[id_] = flat(stretch, answer) if isinstance(answer, float) else answer
        found.append((stretch, whole))
    return found


def gather(made: BoundRule, *answers: Mapping[str, float | Answer]) -> Past | Failed:
    """What is learnt when each stretch in turn is answered so."""
    return past(made, answered(made, *answers))


def one_window(made: BoundRule, answers: Mapping[str, float | Answer]) -> PastWindow:
    ((stretch, whole),) = answered(made, answers)
    found = window(made, stretch, whole)
    assert isinstance(found, PastWindow)
    return found


def values(found: PastWindow) -> set[float]:
    return {value for _, value in found.points}


# -- the stretches ----------------------------------------------------------------------------------------------------


def test_before_is_as_long_as_the_watch_and_ends_at_the_switch() -> None:
    (stretch,) = stretches(rule({"with": ["before"]}), SWITCHED + 0.3)
    times = stretch.times()
    assert (times[0], times[-1], len(times)) == (SWITCHED + 1 - 900, SWITCHED + 1 - 10, 90)


@pytest.mark.parametrize(("duration", "seconds"), [("1m", 600), ("15m", 900), ("1h", 3600), ("8h", 7200)])
def test_before_is_bounded_both_ways(duration: str, seconds: int) -> None:
    (stretch,) = stretches(rule({"with": ["before"]}, duration=duration), SWITCHED)
    assert SWITCHED - stretch.start == seconds


def test_behind_before_the_past_goes_on_for_a_week_and_an_hour_without_a_gap() -> None:
    found = stretches(rule(), SWITCHED)
    assert [one.reference for one in found] == ["before", "yesterday", "yesterday", *["lastWeek"] * 6]
    before, *behind = found
    assert all(one.end - one.start < DAY for one in behind)
    assert {one.step.total_seconds() for one in behind} == {60.0}
    times = sorted(time for one in behind for time in one.times())
    assert {later - at for at, later in pairwise(times)} == {60.0}
    assert (times[0], times[-1]) == (SWITCHED - 7 * DAY - HOUR, before.start - 60)


@pytest.mark.parametrize(
    ("keys", "earlier", "step"),
    [
        ({"interval": "45s"}, 7 * DAY + HOUR, 90),
        ({"interval": "5m", "duration": "1h"}, 7 * DAY + HOUR, 300),
        ({"compare": {"with": ["yesterday", "before"]}}, DAY + HOUR, 60),
    ],
)
def test_days_are_asked_for_in_steps_of_a_minute_or_the_interval(
    keys: dict[str, Any], earlier: float, step: float
) -> None:
    behind = [one for one in stretches(rule(**keys), SWITCHED) if one.reference != "before"]
    assert {one.step.total_seconds() for one in behind} == {step}
    assert 0 <= min(one.start for one in behind) - (SWITCHED - earlier) < step


@pytest.mark.parametrize(("reference", "earlier"), [("yesterday", DAY), ("lastWeek", 7 * DAY)])
@pytest.mark.parametrize(("duration", "seconds"), [("15m", HOUR), ("90m", 1.5 * HOUR), ("8h", 2 * HOUR)])
def test_without_before_the_other_windows_begin_at_the_same_time_of_day(
    reference: str, earlier: float, duration: str, seconds: float
) -> None:
    (stretch,) = stretches(rule({"with": [reference]}, duration=duration), SWITCHED)
    assert (stretch.start, stretch.end) == (SWITCHED - earlier, SWITCHED - earlier + seconds)


def test_a_fine_interval_is_coarsened() -> None:
    (stretch,) = stretches(rule({"with": ["before"]}, duration="2h", interval="1s"), SWITCHED)
    assert stretch.step.total_seconds() == 10
    assert len(stretch.times()) == MOST_POINTS


def test_a_rule_with_a_threshold_asks_for_no_past() -> None:
    assert stretches(bound({"name": "a", "query": "up", "threshold": {"above": 1}}), SWITCHED) == ()


# -- the queries ------------------------------------------------------------------------------------------------------


def test_before_is_asked_of_the_colour_that_was_live_with_its_deployment() -> None:
    found = {query.id: query.expr for query in queries(rule(traffic=TRAFFIC), "before")}
    assert found == {"value/blue": 'q{color="blue",pod=~"chat-b-.*"}', "traffic/blue": 'sum(t{color="blue"})'}


def test_yesterday_is_asked_of_both_colours_with_the_evidence() -> None:
    found = {query.id: query.expr for query in queries(rule(traffic=TRAFFIC), "yesterday")}
    assert set(found) == {f"{what}/{color}" for what in ("value", "traffic", "live") for color in ("blue", "green")}
    assert found["value/green"] == 'q{color="green",pod=~"chat-g-.*"}'
    assert found["live/green"] == (
        'max(watcher_active_color{application_namespace="prod",application="chat",active="green"})'
    )
    assert set(map(str, {query.id for query in queries(rule(), "lastWeek")})) == {
        "value/blue",
        "live/blue",
        "value/green",
        "live/green",
    }


# -- whose numbers are taken ------------------------------------------------------------------------------------------

YESTERDAY = {"with": ["yesterday"]}


def test_before_takes_the_colour_that_was_live() -> None:
    found = one_window(rule({"with": ["before"]}), {"value/blue": 0.5})
    assert (found.name, found.origin, values(found), len(found.points)) == ("before", "blue", {0.5}, 90)


def test_what_the_watcher_saw_live_decides_first() -> None:
    answers = {"value/blue": 1.0, "value/green": 2.0, "live/blue": 0.0, "live/green": 1.0}
    traffic: dict[str, float | Answer] = {"traffic/blue": 100.0, "traffic/green": 50.0}
    found = one_window(rule(YESTERDAY, traffic=TRAFFIC), answers | traffic)
    assert (found.origin, values(found)) == ("green, as the watcher saw", {2.0})


def test_else_the_colour_that_had_the_traffic() -> None:
    answers: dict[str, float | Answer] = {"value/blue": 1.0, "value/green": 2.0}
    found = one_window(rule(YESTERDAY, traffic=TRAFFIC), answers | {"traffic/blue": 100.0, "traffic/green": 1.0})
    assert (found.origin, values(found)) == ("blue, which had the traffic", {1.0})


def test_a_switch_within_the_window_is_followed() -> None:
    made = rule(YESTERDAY, traffic=TRAFFIC)
    (stretch,) = stretches(made, SWITCHED)
    times = stretch.times()
    half = len(times) // 2
    early, late = (Series((Row({}, dict.fromkeys(part, 100.0)),)) for part in (times[:half], times[half:]))
    answers: dict[str, float | Answer] = {"value/blue": 1.0, "value/green": 2.0}
    found = one_window(made, answers | {"traffic/blue": early, "traffic/green": late})
    assert found.origin == "blue and green, which had the traffic"
    assert found.points == tuple((at, 1.0 if at < times[half] else 2.0) for at in times)


def test_times_at_which_neither_had_more_are_left_out() -> None:
    made = rule(YESTERDAY, traffic=TRAFFIC)
    (stretch,) = stretches(made, SWITCHED)
    times = stretch.times()
    blue = Series((Row({}, dict.fromkeys(times[:9], 100.0) | dict.fromkeys(times[9:], 50.0)),))
    answers: dict[str, float | Answer] = {"value/blue": 1.0, "value/green": 2.0}
    found = one_window(made, answers | {"traffic/blue": blue, "traffic/green": 50.0})
    assert [at for at, _ in found.points] == times[:9]


def test_else_the_colour_that_alone_has_numbers() -> None:
    found = one_window(rule(YESTERDAY), {"value/green": 2.0})
    assert (found.origin, values(found)) == ("green, which alone has numbers then", {2.0})


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({}, "yesterday: no data of either colour"),
        (
            {"value/blue": 1.0, "value/green": 2.0},
            "yesterday: both colours have numbers, and nothing says which one was live; give the rule a traffic query",
        ),
    ],
)
def test_what_cannot_be_told_is_left_out_and_said(answers: dict[str, float | Answer], said: str) -> None:
    assert gather(rule(YESTERDAY), answers) == Past(None, said)


def test_the_colour_of_now_alone_is_not_believed_to_have_been_live_just_before_the_switch() -> None:
    found = gather(rule(), {}, {"value/green": 1.0}, {"value/green": 2.0})
    assert isinstance(found, Past)
    assert found.said == (
        "lastWeek 2000 ms on green, which alone has numbers then; "
        "yesterday: only green has numbers, and nothing says that it was live; before has no numbers on blue"
    )
    nearest = gather(rule({"with": ["before", "lastWeek"]}), {"value/blue": 1.0}, {"value/green": 2.0})
    assert isinstance(nearest, Past)
    assert nearest.said == (
        "before 1000 ms on blue; lastWeek: only green has numbers, and nothing says that it was live"
    )


def test_thin_times_nan_infinity_and_several_series_are_left_out() -> None:
    made = rule({"with": ["before"]}, traffic=TRAFFIC)
    (stretch,) = stretches(made, SWITCHED)
    times = stretch.times()
    numbers = dict.fromkeys(times, 1.0) | {times[0]: float("nan"), times[1]: float("inf")}
    traffic = dict.fromkeys(times, 10.0) | {times[2]: 9.0}
    answers: dict[str, float | Answer] = {
        "value/blue": Series((Row({"pod": "a"}, numbers), Row({"pod": "b"}, {times[3]: 2.0}))),
        "traffic/blue": Series((Row({}, traffic),)),
    }
    assert [at for at, _ in one_window(made, answers).points] == times[4:]


def test_the_pieces_of_a_reference_are_one_window_and_say_every_colour_that_was_live() -> None:
    made = rule({"with": ["before", "lastWeek"]})
    assert made.compare is not None
    pieces = []
    for stretch, answers in answered(made, {"value/blue": 1.0}, {"value/blue": 2.0, "value/green": 3.0}):
        late = stretch.start > SWITCHED - 3 * DAY
        color = "blue" if late else "green"
        seen = {"live/" + color: flat(stretch, 1.0)} if stretch.reference == "lastWeek" else {}
        pieces.append((stretch, answers | seen))
    found = past(made, pieces)
    assert isinstance(found, Past)
    assert (
        found.said == "before 1000 ms on blue; lastWeek 3000 ms on green, as the watcher saw; blue, as the watcher saw"
    )


def test_a_failed_answer_fails_the_whole() -> None:
    failed = Failed("no answer")
    made = rule({"with": ["before", "lastWeek"]})
    assert gather(made, {"value/blue": 1.0}, {"live/green": failed}) == failed


# -- in the fold ------------------------------------------------------------------------------------------------------


def test_a_comparison_is_judged_in_the_fold_and_a_gap_neither_counts_nor_resets() -> None:
    made = rule({"with": ["before"]}, **{"for": "20s"})
    known = gather(made, {"value/blue": 0.5})
    state = initial(made)
    outcomes = []
    for index, value in enumerate([0.5, 0.9, 0.9, None, 0.9, 0.9]):
        at = SWITCHED + 60 + 10 * index
        answer: Answer = NoData() if value is None else Series((Row({}, {at: value}),))
        state = advance(made, state, sample_at(made, at, answer, None, known))
        outcomes.append(state.outcome.value)
    # One number alone stands out of nothing: it takes two of the last three.
    assert outcomes == ["pass", "pass", "breach", "noData", "breach", "breach"]
    assert state.breach is not None
    assert report(made, state).message == (
        "p99 was 900 ms or more in 2 of the last 3 numbers since 22:14:30 UTC, expected up to 600 ms with 99% "
        "(before 500 ms on blue; by the little that there is of a past) for 20 s"
    )
    assert report(made, state).threshold == "+20% and +50ms on before"


@pytest.mark.parametrize(
    ("known", "outcome", "message"),
    [
        (None, Outcome.ERROR, "p99 could not be evaluated: what it compares with was not asked for"),
        (Failed("no answer"), Outcome.ERROR, "p99 could not be evaluated: what it compares with: no answer"),
        (
            Past(None, "before: gone"),
            Outcome.NO_DATA,
            "p99 has nothing to compare with: before: gone; now it is 1000 ms; so since 22:13:20 UTC",
        ),
    ],
)
def test_without_a_past_a_number_is_no_pass(known: Past | Failed | None, outcome: Outcome, message: str) -> None:
    for keys in ({}, {"onNoData": "pass"}):
        made = rule({"with": ["before"]}, **keys)
        state = advance(made, initial(made), Sample(SWITCHED, Number(1.0), None, known))
        assert (state.outcome, report(made, state).message) == (outcome, message)


KNOWN = "with 99% (before 500 ms on blue; by the little that there is of a past); so since 22:14:20 UTC"


@pytest.mark.parametrize(
    ("value", "traffic", "outcome", "message"),
    [
        (Number(0.52), 90.0, Outcome.PASS, f"p99 is 520 ms, expected up to 600 ms {KNOWN}"),
        (
            Number(0.9),
            5.0,
            Outcome.THIN,
            f"too little traffic for p99: 5 where at least 10 is needed, expected up to 600 ms {KNOWN}",
        ),
        (NoData(), 90.0, Outcome.NO_DATA, f"p99 has no data, expected up to 600 ms {KNOWN}"),
        (
            Failed("no answer"),
            90.0,
            Outcome.ERROR,
            f"p99 could not be evaluated: no answer, expected up to 600 ms {KNOWN}",
        ),
    ],
    ids=lambda value: value.value if isinstance(value, Outcome) else "",
)
def test_every_outcome_says_the_level_before_what_is_expected_how_surely_and_since_when(
    value: Reading, traffic: float, outcome: Outcome, message: str
) -> None:
    made = rule({"with": ["before"]}, traffic=TRAFFIC)
    known = gather(made, {"value/blue": 0.5, "traffic/blue": 500.0})
    state = initial(made)
    for at in (SWITCHED + 60, SWITCHED + 70):
        state = advance(made, state, Sample(at, value, Number(traffic), known))
    found = report(made, state)
    assert (found.outcome, found.message) == (outcome, message)
    assert (found.before, found.high) == (0.5, 0.6)


# -- who may move traffic ---------------------------------------------------------------------------------------------


SHARES = {"compare": {"with": ["before"], "tolerance": {"relative": "20%", "absolute": "1%"}}}


@pytest.mark.parametrize(
    ("keys", "traffic", "outcome"),
    [
        pytest.param({}, 20.0, "pass", id="one of twenty in the window"),
        pytest.param({}, 2000.0, "breach", id="a hundred of two thousand"),
        pytest.param({"traffic": TRAFFIC | {"atLeast": "10/s"}}, 20.0, "breach", id="of twenty a second"),
        pytest.param({"compare": {"with": ["before"]}}, 20.0, "breach", id="no share, going by its tolerance"),
    ],
)
def test_a_share_is_held_against_the_traffic_of_its_window(keys: dict[str, Any], traffic: float, outcome: str) -> None:
    made = rule(**(SHARES | {"traffic": TRAFFIC} | keys))
    before: dict[str, float | Answer] = {"value/blue": 0.0, "traffic/blue": 500.0}
    known, state = gather(made, before), initial(made)
    for at in (SWITCHED + 60, SWITCHED + 70):
        value, amount = (Series((Row({}, {at: one}),)) for one in (0.06, traffic))
        state = advance(made, state, sample_at(made, at, value, amount, known))
    assert state.outcome.value == outcome


@pytest.mark.parametrize(
    ("keys", "enforcing"),
    [({}, False), ({"onBreach": "notify"}, False), ({"onBreach": "observe"}, False), ({"onBreach": "rollback"}, True)],
)
def test_a_comparison_moves_traffic_only_where_somebody_wrote_so(keys: dict[str, Any], enforcing: bool) -> None:
    assert rule(**keys).enforcing is enforcing


@pytest.mark.parametrize(
    ("compare", "keys", "said"),
    [
        ({"with": []}, {}, "at least 1 item"),
        ({"with": ["before", "before"]}, {}, '"before" stands here twice: keep one of them'),
        ({"tolerance": {"relative": "20%"}}, {}, "absolute"),
        ({"tolerance": {"relative": "-1%", "absolute": 0}}, {}, "-1% is below zero"),
        ({"confidence": "100%"}, {}, '100% is no confidence: write at least "50%" and less than "100%"'),
        ({"confidence": "1%"}, {}, "1% is no confidence"),
        ({}, {"query": "q{v='{{ version }}'}"}, 'take "{{ version }}" out'),
        ({}, {"traffic": {"query": "q{v='{{ version }}'}", "atLeast": 1}}, 'take "{{ version }}" out'),
        ({}, {"onNoData": "breach", "for": "1m"}, "would go back when only the past is missing"),
    ],
)
def test_a_comparison_that_cannot_mean_anything_is_refused(
    compare: dict[str, Any], keys: dict[str, Any], said: str
) -> None:
    written = {"name": "a", "query": "up", "compare": {"tolerance": TOLERANCE} | compare} | keys
    with pytest.raises(ValidationError) as refused:
        Rule.model_validate_json(json.dumps(written))
    assert said in str(refused.value)


def test_a_bound_comparison_survives_the_way_through_a_status() -> None:
    made = rule({"confidence": "95%"}, traffic=TRAFFIC)
    assert made.compare is not None
    assert made.compare.confidence.number == 0.95
    assert BoundRule.model_validate_json(made.model_dump_json()) == made
