"""PromQL checks against a real Prometheus: about the idle colour, tried until good, and never good by accident."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.adapters.conftest import Server, reply
from tests.core.test_application import load
from tests.support.acting import NoJobs, until
from watcher.adapters.prometheus import PrometheusMetrics, PrometheusSettings
from watcher.adapters.prometheus.local import LocalPrometheus, Written
from watcher.core.checks import PromqlCheck
from watcher.core.observed import CheckResult
from watcher.engine.blind import NoMetrics
from watcher.engine.checks import Checks, Key
from watcher.engine.clock import SystemClock

KEY: Key = ("prod", "shop-1")
ERRORS = 'sum(errors{namespace="{{ namespace }}",color="{{ color }}",version="{{ version }}"})'


@pytest.fixture(scope="module")
def prometheus() -> Iterator[LocalPrometheus]:
    with LocalPrometheus() as running:
        yield running


@pytest.fixture
def asked() -> Iterator[Callable[..., Checks]]:
    """Begin to ask a check of green, which is idle and has version 2.4.1."""
    with ExitStack() as stack:

        def begin(url: str, query: str = ERRORS, **changes: Any) -> Checks:
            metrics = PrometheusMetrics(PrometheusSettings(url=url, timeout=10)) if url else NoMetrics()
            checks = Checks(lambda _: None, SystemClock(), NoJobs(), metrics)
            stack.callback(checks.stop)
            given = {"query": query, "threshold": {"above": 2}, "every": "100ms", "within": "0s"} | changes
            check = PromqlCheck.model_validate_json(json.dumps(given))
            checks.ask(KEY, "smoke/errors/metrics", check, load(), "green", "2.4.1")
            return checks

        yield begin


def result(checks: Checks) -> CheckResult:
    return checks.results(KEY)["smoke/errors/metrics"]


def ended(checks: Checks) -> CheckResult:
    until(lambda: not result(checks).running, "the check to end", 60)
    return result(checks)


def write(prometheus: LocalPrometheus, namespace: str, color: str, value: float) -> None:
    labels = {"__name__": "errors", "namespace": namespace, "color": color, "version": "2.4.1"}
    prometheus.write([Written(labels, [(time.time(), value)])])


def test_the_idle_colour_is_asked_about_and_the_query_is_kept_as_it_was_sent(
    prometheus: LocalPrometheus, asked: Callable[..., Checks]
) -> None:
    write(prometheus, "prod", "blue", 100)
    write(prometheus, "prod", "green", 1)
    good = ended(asked(prometheus.url))
    assert good.ok, good.message
    assert good.message.startswith("PromQL gave 1 (limit 2) (1 try in ")
    bad = ended(asked(prometheus.url, threshold={"above": "50%"}))
    assert not bad.ok
    assert bad.message.startswith("PromQL: 100% (limit 50%) (1 try in ")
    assert bad.output == 'sum(errors{namespace="prod",color="green",version="2.4.1"})'


def test_a_metric_that_comes_late_is_waited_for(prometheus: LocalPrometheus, asked: Callable[..., Checks]) -> None:
    query = 'sum(late{color="{{ color }}"})'
    checks = asked(prometheus.url, query, within="1m", threshold={"below": 3})
    until(lambda: result(checks).tries >= 2, "two tries", 30)
    assert result(checks).last == "no data"
    prometheus.write([Written({"__name__": "late", "color": "green"}, [(time.time(), 3.0)])])
    assert ended(checks).ok


def test_no_data_fails_unless_it_was_said_to_be_good(prometheus: LocalPrometheus, asked: Callable[..., Checks]) -> None:
    assert ended(asked(prometheus.url, "nowhere")).message.startswith("PromQL: no data (1 try in ")
    passed = ended(asked(prometheus.url, "nowhere", onNoData="pass"))
    assert passed.ok
    assert "no data, which counts as a pass" in passed.message


def test_a_value_that_goes_past_its_limit_while_it_has_to_hold_fails(
    prometheus: LocalPrometheus, asked: Callable[..., Checks]
) -> None:
    query = 'max(held{color="{{ color }}"})'
    prometheus.write([Written({"__name__": "held", "color": "green"}, [(time.time() - 1, 1.0)])])
    checks = asked(prometheus.url, query, **{"for": "5m"})
    until(lambda: result(checks).tries >= 2, "two tries", 30)
    prometheus.write([Written({"__name__": "held", "color": "green"}, [(time.time(), 9.0)])])
    found = ended(checks)
    assert not found.ok
    assert " s of 300 s, then: 9 (limit 2) (" in found.message


def test_a_query_that_prometheus_does_not_take_fails_at_once(
    prometheus: LocalPrometheus, asked: Callable[..., Checks]
) -> None:
    found = ended(asked(prometheus.url, "sum(x", within="10m"))
    assert "could not be evaluated: " in found.message
    assert "(1 try in " in found.message


def test_several_series_fail_with_the_label_that_tells_them_apart(
    prometheus: LocalPrometheus, asked: Callable[..., Checks]
) -> None:
    now = time.time()
    prometheus.write([Written({"__name__": "several", "pod": pod}, [(now, 1.0)]) for pod in "ab"])
    assert (
        "several series where one number is needed (they differ in pod)"
        in ended(asked(prometheus.url, "several")).message
    )
    assert ended(asked(prometheus.url, "several", reduce="max")).ok


def test_a_partial_answer_is_an_error_with_its_text(asked: Callable[..., Checks]) -> None:
    row = {"metric": {}, "values": [[0, "1"]]}
    answer = {"status": "success", "warnings": ["store eu is away"], "data": {"resultType": "matrix", "result": [row]}}
    server = Server(lambda _, send, __: send(reply(200, answer)))
    try:
        found = ended(asked(server.url, onNoData="pass"))
    finally:
        server.close()
    assert not found.ok
    assert "could not be evaluated: Prometheus answered with a warning: store eu is away" in found.message


def test_without_a_prometheus_it_fails_at_once_and_says_what_to_set(asked: Callable[..., Checks]) -> None:
    found = ended(asked("", within="10m", onNoData="pass"))
    assert "no Prometheus is configured: set prometheus.url in watcher.yaml" in found.message


def test_a_check_that_is_cancelled_ends(prometheus: LocalPrometheus, asked: Callable[..., Checks]) -> None:
    checks = asked(prometheus.url, "nowhere", within="10m")
    until(lambda: result(checks).tries >= 1, "a try", 30)
    checks.cancel(KEY)
    assert checks.results(KEY) == {}
