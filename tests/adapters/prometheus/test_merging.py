"""Queries on a real Prometheus: merged, apart, refused, in pieces."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watcher.adapters.prometheus import PrometheusMetrics
from watcher.core.readings import Failed, NoData, Query, Series

AT = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
STEP = timedelta(seconds=10)
Port = Callable[..., PrometheusMetrics]


def ask(port: PrometheusMetrics, *exprs: str, points: int = 1, **more: Any) -> list[Any]:
    answers = port.query(
        [Query(str(n), expr) for n, expr in enumerate(exprs)], AT, AT + (points - 1) * STEP, STEP, **more
    )
    return [answers[str(n)] for n in range(len(exprs))]


def value(answer: Any) -> float:
    assert isinstance(answer, Series), answer
    (row,) = answer.rows
    (number,) = row.points.values()
    return number


def test_many_queries_travel_in_one_request(metrics: Port, through: Callable[..., Any]) -> None:
    server = through()
    port = metrics(server.url)
    answers = ask(port, *(f'sum(requests{{color="blue",code="200"}}) + {n}' for n in range(80)))
    assert [value(answer) for answer in answers] == [1200 + n for n in range(80)]
    assert [asked.method for asked in server.asked] == ["POST"]


def test_parameters_travel_in_the_body_and_not_in_the_address(metrics: Port, through: Callable[..., Any]) -> None:
    server = through()
    ask(metrics(server.url), "requests")
    assert server.asked[0].path == "/api/v1/query_range"
    assert server.asked[0].form["query"] == "requests"
    assert float(server.asked[0].form["timeout"]) < 5


def test_an_expression_that_several_ask_for_is_asked_once(metrics: Port, through: Callable[..., Any]) -> None:
    server = through()
    answers = ask(metrics(server.url), "vector(7)", "vector(7)", "vector(7)")
    assert [value(answer) for answer in answers] == [7, 7, 7]
    assert server.asked[0].form["query"] == "vector(7)"


def test_large_batches_are_cut_into_requests_of_a_hundred(metrics: Port, through: Callable[..., Any]) -> None:
    server = through()
    answers = ask(metrics(server.url), *(f"vector({n})" for n in range(250)))
    assert [value(answer) for answer in answers] == list(range(250))
    assert len(server.asked) == 3


def test_nothing_asked_costs_nothing(metrics: Port, through: Callable[..., Any]) -> None:
    server = through()
    assert metrics(server.url).query([], AT, AT, STEP) == {}
    assert server.asked == []


def test_empty_and_nan_and_infinite_answers_stay_what_they_are(metrics: Port, prometheus: str) -> None:
    nothing, nan, infinite, ratio = ask(
        metrics(prometheus), "no_such_metric", "broken", "endless", "vector(0)/vector(0)"
    )
    assert nothing == NoData()
    assert math.isnan(value(nan))
    assert value(infinite) == math.inf
    assert math.isnan(value(ratio))


def test_series_that_ended_have_points_only_while_they_lived(metrics: Port, prometheus: str) -> None:
    start = AT.replace(hour=11, minute=0)
    answer = metrics(prometheus).query([Query("q", "early")], start, start + timedelta(hours=1), timedelta(minutes=1))[
        "q"
    ]
    assert isinstance(answer, Series)
    assert set(answer.rows[0].points) == {(start + timedelta(minutes=n)).timestamp() for n in range(5)}


def test_several_series_stay_several_with_the_labels_of_the_query_alone(metrics: Port, prometheus: str) -> None:
    everything, summed = ask(metrics(prometheus), 'requests{color="green"}', "sum by (code) (requests)")
    assert {frozenset(row.labels.items()) for row in everything.rows} == {
        frozenset({("__name__", "requests"), ("color", "green"), ("code", code)}) for code in ("200", "500")
    }
    assert [row.labels for row in summed.rows] == [{"code": "200"}, {"code": "500"}]


def test_points_are_found_under_the_times_that_were_asked_for(metrics: Port, prometheus: str) -> None:
    """Servers count in milliseconds; a start with microseconds must not make its own points unfindable."""
    start = AT.replace(microsecond=123456)
    step = timedelta(milliseconds=1700)
    answers = metrics(prometheus).query([Query("a", "time()"), Query("b", "twin_a")], start, start + 9 * step, step)
    for answer in answers.values():
        assert isinstance(answer, Series)
        assert list(answer.rows[0].points) == [(start + k * step).timestamp() for k in range(10)]


def test_comments_and_line_breaks_at_the_end_of_an_expression_are_harmless(metrics: Port, prometheus: str) -> None:
    answers = ask(metrics(prometheus), "vector(1) # one", "vector(2)\n# two\n", "3 # three)", "vector(4)\n\n")
    assert [value(answer) for answer in answers] == [1, 2, 3, 4]


def test_scalars_travel_with_vectors(metrics: Port, through: Callable[..., Any]) -> None:
    server = through()
    exprs = ("1 + 2", "(4)", "-(5)", "scalar(twin_a)", "pi()", "1 > bool 2", "vector(9)")
    answers = ask(metrics(server.url), *exprs)
    assert [value(answer) for answer in answers] == [3, 4, -5, 120, math.pi, 0, 9]
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param("sum(", id="does not parse"),
        pytest.param("vector(1)) or (vector(2)", id="closes a bracket that is not its own"),
        pytest.param("vector(1) + on() group_left vector(2) +", id="ends too early"),
        pytest.param("requests[5m]", id="gives a range"),
        pytest.param('"text"', id="gives a string"),
        pytest.param("requests * on (color) requests", id="matches many to many"),
        pytest.param('-{__name__=~"twin_a|twin_b"}', id="makes two series alike"),
        pytest.param('label_replace(requests, "bad-name", "", "", "")', id="is refused at evaluation"),
        pytest.param("", id="is empty"),
    ],
)
def test_one_bad_query_does_not_blind_the_others(metrics: Port, through: Callable[..., Any], bad: str) -> None:
    server = through()
    port = metrics(server.url)
    exprs = [f"vector({n})" for n in range(20)]
    *good, failed, last = ask(port, *exprs, bad, "twin_b")
    assert [value(answer) for answer in good] == list(range(20))
    assert value(last) == -120
    assert isinstance(failed, Failed)
    assert not failed.transient
    assert server.url in failed.reason
    assert "400" in failed.reason or "422" in failed.reason
    assert len(server.asked) <= 12


def test_a_query_known_to_be_bad_no_longer_spoils_merged_requests(metrics: Port, through: Callable[..., Any]) -> None:
    server = through()
    port = metrics(server.url)
    exprs = [*(f"vector({n})" for n in range(30)), "requests * on (color) requests"]
    ask(port, *exprs)
    first = len(server.asked)
    assert first > 2
    *good, failed = ask(port, *exprs)
    assert len(server.asked) == first + 2
    assert [value(answer) for answer in good] == list(range(30))
    assert isinstance(failed, Failed)


def test_a_merged_request_with_too_many_samples_is_split(metrics: Port, prometheus: str) -> None:
    """This Prometheus loads at most 200,000 samples for one query."""
    hungry = "sum(sum_over_time(requests[4h])) + {n}"
    answers = metrics(prometheus).query(
        [Query(str(n), hungry.format(n=n)) for n in range(4)]
        + [Query("huge", "sum_over_time({__name__!=''}[4h:20ms])")],
        AT + timedelta(hours=2),
        AT + timedelta(hours=2, minutes=5),
        STEP,
    )
    assert isinstance(answers["huge"], Failed)
    assert "too many samples" in answers["huge"].reason
    assert all(isinstance(answers[str(n)], Series) for n in range(4))


def test_ranges_longer_than_a_server_gives_are_asked_in_pieces_and_joined(
    metrics: Port, through: Callable[..., Any]
) -> None:
    server = through()
    start, step = AT.replace(hour=10, minute=10), timedelta(seconds=1)
    end = start + 12_499 * step
    answers = metrics(server.url).query([Query("t", "time()"), Query("e", "early")], start, end, step)
    assert isinstance(answers["t"], Series)
    assert isinstance(answers["e"], Series)
    points = answers["t"].rows[0].points
    assert list(points) == [(start + k * step).timestamp() for k in range(12_500)]
    assert all(at == number for at, number in points.items())
    assert 0 < len(answers["e"].rows[0].points) < 12_500
    assert len(server.asked) == 2


def test_a_query_about_the_ends_of_its_range_is_not_answered_in_pieces(metrics: Port, prometheus: str) -> None:
    start, step = AT.replace(hour=10, minute=10), timedelta(seconds=1)
    query = Query("q", "twin_a @ end()")
    assert isinstance(metrics(prometheus).query([query], start, start + 100 * step, step)["q"], Series)
    long = metrics(prometheus).query([query], start, start + 12_000 * step, step)["q"]
    assert isinstance(long, Failed)
    assert not long.transient


def test_deeply_nested_text_is_left_to_the_server(metrics: Port, prometheus: str) -> None:
    """The parser in this process would overflow its stack and take the daemon with it."""
    good, chained = ask(metrics(prometheus), "vector(1)", "1" + "+1" * 2_100)
    assert value(good) == 1
    assert value(chained) == 2_101


def test_the_label_that_tells_answers_apart_may_be_used_by_a_query(metrics: Port, prometheus: str) -> None:
    own, other = ask(metrics(prometheus), 'label_replace(vector(1), "watcher_rule", "mine", "", "")', "vector(2)")
    assert own.rows[0].labels == {"watcher_rule": "mine"}
    assert value(other) == 2


def test_threads_may_share_one_port(metrics: Port, prometheus: str) -> None:
    port = metrics(prometheus)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: ask(port, f"vector({n})", f"{n} + 1"), range(64)))
    assert [(value(a), value(b)) for a, b in answers] == [(n, n + 1) for n in range(64)]


def test_instant_and_ready_ask_the_same_server(metrics: Port, prometheus: str) -> None:
    port = metrics(prometheus)
    assert value(port.instant("time()", AT)) == AT.timestamp()
    assert port.ready() is None


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [
        pytest.param(AT.replace(tzinfo=None), AT.replace(tzinfo=None), STEP, id="no time zone"),
        pytest.param(AT, AT - STEP, STEP, id="end before start"),
        pytest.param(AT, AT, timedelta(0), id="no step"),
        pytest.param(AT, AT, timedelta(microseconds=1500), id="step between milliseconds"),
    ],
)
def test_senseless_ranges_are_the_callers_mistake(
    metrics: Port, prometheus: str, start: datetime, end: datetime, step: timedelta
) -> None:
    with pytest.raises(ValueError, match=r"start|end|step"):
        metrics(prometheus).query([Query("q", "up")], start, end, step)


def test_one_id_for_two_queries_is_the_callers_mistake(metrics: Port, prometheus: str) -> None:
    with pytest.raises(ValueError, match="id 'a'"):
        metrics(prometheus).query([Query("a", "1"), Query("a", "2")], AT, AT, STEP)


_LEAVES = st.sampled_from(
    [
        "requests",
        'requests{color="green"}',
        "broken",
        "endless",
        "early",
        "nothing_here",
        "twin_a",
        '{__name__=~"twin_a|twin_b"}',
        "vector(3)",
        "vector(1) # note",
        "absent(nothing_here)",
    ]
)
_SCALARS = st.sampled_from(["1", "time()", "scalar(twin_a)", "(2)", "-pi()", "1 == bool 1", "Inf", "NaN"])
_VECTORS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.builds("sum by (color) ({}\n)".format, inner),
        st.builds("-({}\n)".format, inner),
        st.builds("max without (pod, code) ({}\n)".format, inner),
        st.builds("avg_over_time(({}\n)[2m:30s])".format, inner),
        st.builds("({}\n) or ({}\n)".format, inner, inner),
        st.builds("({}\n) / ignoring (code) ({}\n)".format, inner, inner),
        st.builds("({}\n) > {}".format, inner, _SCALARS),
        st.builds("count_values('worth', {}\n)".format, inner),
        st.builds("label_replace({}\n, 'color', 'x$1', 'color', '(.*)')".format, inner),
    ),
    max_leaves=3,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(exprs=st.lists(st.one_of(_VECTORS, _SCALARS), min_size=2, max_size=8, unique=True))
def test_merged_answers_are_the_answers_apart(metrics: Port, prometheus: str, exprs: list[str]) -> None:
    """Whatever the expressions: travelling together changes neither rows nor labels nor values nor failures."""
    together = ask(metrics(prometheus), *exprs, points=4)
    apart = [ask(metrics(prometheus), expr, points=4)[0] for expr in exprs]
    assert [_plain(answer) for answer in together] == [_plain(answer) for answer in apart]


def _plain(answer: Any) -> Any:
    if not isinstance(answer, Series):
        return type(answer)
    rows = [(sorted(row.labels.items()), [(at, repr(v)) for at, v in row.points.items()]) for row in answer.rows]
    return sorted(rows)
