"""Rules on a real Prometheus with a recorded past: what no errors, only errors, no traffic and no server come to.

The watches, the adapter and the shipped pack are the real ones; only the time is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.acting import until
from tests.support.clock import HandClock
from watcher.adapters.prometheus import PrometheusMetrics, PrometheusSettings
from watcher.adapters.prometheus.local import LocalPrometheus, Written
from watcher.core.application import Application
from watcher.core.binding import bind_rules
from watcher.core.documents import read_documents
from watcher.core.observed import WatchReading
from watcher.core.rules import RuleSet
from watcher.engine.config import KINDS
from watcher.engine.replay import replay
from watcher.engine.watches import Watches

RULES = Path(__file__).parents[2] / "rules"
SWITCH = 1_700_000_000.0
DAY, WEEK = 86_400.0, 7 * 86_400.0
SCRAPE = 15
KEY = ("prod", "release")
Rate = Callable[[float], float]


def counter(labels: Mapping[str, str], rate: Rate, *spans: tuple[float, float]) -> Written:
    """A counter that is scraped in the spans (seconds from the switch) and grows by a rate at each of their seconds."""
    total, samples = 0.0, []
    for begin, end in spans:
        for at in range(int(begin), int(end), SCRAPE):
            total += rate(at) * SCRAPE
            samples.append((SWITCH + at, total))
    return Written({"__name__": "http_requests_total", "namespace": "prod", **labels}, samples)


def gauge(name: str, labels: Mapping[str, str], value: Rate, *spans: tuple[float, float]) -> Written:
    samples = [(SWITCH + at, value(at)) for begin, end in spans for at in range(int(begin), int(end), SCRAPE)]
    return Written({"__name__": name, **labels}, samples)


def always(value: float) -> Rate:
    return lambda _: value


WATCHED = (-1800.0, 3900.0)
EARLIER = (*((-shift - 600, -shift + 3700) for shift in (WEEK, DAY)), WATCHED)


def history() -> Iterator[Written]:
    """One application for each of the cases; green is live from the switch on."""
    for app, codes in {
        "no-errors": {"200": always(10)},
        "only-errors": {"500": always(10)},
        "no-traffic": {"200": always(0)},
        "blip": {"200": always(10), "500": lambda at: 9.0 if 60 <= at < 90 else 0.0},
        "lasting": {"200": always(10), "500": lambda at: 2.0 if at >= 420 else 0.0, "503": always(0)},
    }.items():
        for code, rate in codes.items():
            yield counter({"app": app, "color": "green", "code": code}, rate, (0.0, WATCHED[1]))
    # Blue was live until the switch, and a day ago; green was live a week ago. Green is slower now, in "slower".
    for app in ("slower", "as-before"):
        labels = {"namespace": "prod", "app": app}
        now = 0.9 if app == "slower" else 0.5
        yield gauge("latency", labels | {"color": "blue"}, lambda at: 0.5 + at % 60 / 1000, *EARLIER)
        yield gauge("latency", labels | {"color": "green"}, lambda at, now=now: now if at > 0 else 0.45, *EARLIER)  # type: ignore[misc]
        yield counter(
            {"app": app, "color": "blue", "code": "200"}, lambda at: 9.0 if -2 * DAY < at < 0 else 0.0, *EARLIER
        )
        yield counter(
            {"app": app, "color": "green", "code": "200"}, lambda at: 0.0 if -2 * DAY < at < 0 else 9.0, *EARLIER
        )
    for active, value in (("blue", always(0)), ("green", always(1))):
        labels = {"application_namespace": "prod", "application": "as-before", "active": active}
        yield gauge("watcher_active_color", labels, value, EARLIER[1])


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with LocalPrometheus() as running:
        running.write(history())
        yield running.url


def rule_set(name: str, *rules: Mapping[str, Any]) -> RuleSet:
    return RuleSet.model_validate_json(
        json.dumps(
            {
                "apiVersion": "watcher.bluegreen.dev/v1alpha1",
                "kind": "RuleSet",
                "metadata": {"name": name},
                "spec": {"rules": rules},
            }
        )
    )


def shipped(name: str) -> RuleSet:
    (document,) = read_documents((RULES / f"{name}.yaml").read_text("utf-8"), name, KINDS).items
    assert isinstance(document.model, RuleSet)
    return document.model


def application(name: str, rules: list[Any], duration: str) -> Application:
    return Application.model_validate_json(
        json.dumps(
            {
                "apiVersion": "watcher.bluegreen.dev/v1alpha1",
                "kind": "Application",
                "metadata": {"name": name, "namespace": "prod"},
                "spec": {
                    "service": name,
                    "colors": {"blue": {"deployment": f"{name}-blue"}, "green": {"deployment": f"{name}-green"}},
                    "watch": {"rules": rules, "duration": duration},
                },
            }
        )
    )


@dataclass
class Watched:
    """What a watch said at each look, by seconds after the switch."""

    readings: dict[float, WatchReading]

    @property
    def end(self) -> WatchReading:
        return self.readings[max(self.readings)]

    def outcomes(self) -> dict[str, str]:
        return {report.id.rpartition("/")[2]: str(report.outcome) for report in self.end.reports}

    def message(self, name: str) -> str:
        (found,) = [report.message for report in self.end.reports if report.id.endswith(f"/{name}")]
        return found


def watch(url: str, app: str, rules: RuleSet, looks: list[float], duration: str = "15m", use: Any = None) -> Watched:
    """Watch an application from its switch on, looking at these seconds after it."""
    name = rules.metadata.name
    bound = bind_rules(application(app, [use or name], duration), {name: rules}, "green", "blue", "2")
    metrics, clock = PrometheusMetrics(PrometheusSettings(url)), HandClock(SWITCH)
    watches = Watches(metrics, clock, lambda _: None)
    begins = datetime.fromtimestamp(SWITCH, UTC)
    minutes = int(duration.removesuffix("m"))
    watches.follow(KEY, bound, begins, begins + timedelta(minutes=minutes))
    readings = {}
    try:
        for seconds in looks:
            clock.seconds = SWITCH + seconds
            watches.tick()
            until(lambda: not watches.asking(), "the answers", 30)
            found = watches.reading(KEY)
            assert found is not None
            readings[seconds] = found
    finally:
        watches.stop()
        metrics.close()
    return Watched(readings)


ERRORS = {"ruleSet": "http", "rule": "error-rate"}
MINUTES = [60.0 * n for n in range(1, 16)]


def test_a_service_without_any_5xx_series_passes_its_error_rate(server: str) -> None:
    found = watch(server, "no-errors", shipped("http"), MINUTES, use=ERRORS)
    assert found.outcomes() == {"error-rate": "pass"}
    assert found.message("error-rate") == "error-rate is 0% (limit 1%)"
    assert (found.end.verdict, found.end.ended) == ("pass", True)


def test_a_service_that_answers_only_5xx_breaches_it(server: str) -> None:
    found = watch(server, "only-errors", shipped("http"), [60.0, 70.0, 80.0, 90.0], use=ERRORS)
    assert found.message("error-rate") == "error-rate was 100% (limit 1%) for 30 s"
    assert [reading.verdict for reading in found.readings.values()] == ["hold", "hold", "hold", "rollback"]


@pytest.mark.parametrize("app", ["no-traffic", "nobody-ever-heard-of-it"])
def test_a_service_without_traffic_is_thin_and_neither_passes_nor_goes_back(server: str, app: str) -> None:
    found = watch(server, app, shipped("http"), MINUTES, use=ERRORS)
    assert found.outcomes() == {"error-rate": "thin"}
    assert found.message("error-rate") == "too little traffic for error-rate: 0 where at least 50 is needed"
    assert {reading.verdict for reading in found.readings.values()} == {"hold", "inconclusive"}
    assert (found.end.verdict, found.end.ended) == ("inconclusive", True)


def test_with_prometheus_down_rules_are_errors_and_neither_pass_nor_go_back() -> None:
    found = watch("http://127.0.0.1:1", "no-errors", shipped("http"), [60.0, 300.0, 900.0])
    assert set(found.outcomes().values()) == {"error"}
    assert [reading.verdict for reading in found.readings.values()] == ["hold", "hold", "inconclusive"]
    (reason,) = found.readings[300.0].reasons
    assert reason == (
        "4 rules (http/error-rate, http/latency-p50, http/latency-p90 and 1 more) could not be evaluated: "
        "Prometheus at http://127.0.0.1:1 could not be reached: connection refused"
    )


BURN = rule_set(
    "slo",
    {
        "name": "burn",
        "burnRate": {
            "objective": "99.9%",
            "bad": 'rate(http_requests_total{app="{{ application }}",color="{{ color }}",code=~"5.."}[{{ window }}])',
            "total": 'rate(http_requests_total{app="{{ application }}",color="{{ color }}"}[{{ window }}])',
        },
    },
)


@pytest.mark.parametrize(
    ("app", "outcomes"),
    [
        pytest.param("no-errors", {"burn-5m-1m": "pass", "burn-10m-1m": "pass"}, id="no series of bad events is none"),
        pytest.param("only-errors", {"burn-5m-1m": "breach", "burn-10m-1m": "pending"}, id="nothing but bad events"),
        pytest.param("no-traffic", {"burn-5m-1m": "noData", "burn-10m-1m": "noData"}, id="no events at all"),
        pytest.param("nobody", {"burn-5m-1m": "noData", "burn-10m-1m": "noData"}, id="no series at all"),
        pytest.param("blip", {"burn-5m-1m": "pass", "burn-10m-1m": "pass"}, id="a blip that is over"),
        pytest.param("lasting", {"burn-5m-1m": "breach", "burn-10m-1m": "pending"}, id="errors that last"),
    ],
)
def test_a_burn_rate_needs_both_its_windows(server: str, app: str, outcomes: Mapping[str, str]) -> None:
    found = watch(server, app, BURN, MINUTES)
    assert found.outcomes() == outcomes
    assert found.end.verdict == {"breach": "rollback", "pass": "pass", "noData": "inconclusive"}[outcomes["burn-5m-1m"]]


def test_a_blip_is_over_its_longer_window_alone(server: str) -> None:
    """So it is the shorter window that lets it pass."""
    long = 'sum(rate(http_requests_total{app="blip",code="500"}[5m])) / sum(rate(http_requests_total{app="blip"}[5m]))'
    rules = rule_set("long", {"name": "share", "query": long, "warmUp": "5m", "threshold": {"above": "5%"}})
    assert watch(server, "blip", rules, [310.0]).outcomes() == {"share": "breach"}


SLOWER = {
    "name": "latency",
    "query": 'avg(latency{app="{{ application }}",color="{{ color }}"})',
    "traffic": {
        "query": 'sum(rate(http_requests_total{app="{{ application }}",color="{{ color }}"}[{{ window }}]))',
        "atLeast": 1,
    },
    "compare": {"tolerance": {"relative": "20%", "absolute": "50ms"}},
}


def test_a_comparison_takes_the_colour_that_was_live_then_and_says_which(server: str) -> None:
    found = watch(server, "slower", rule_set("http", SLOWER), [*MINUTES[:2], 130.0])
    assert found.outcomes() == {"latency": "breach"}
    assert found.message("latency") == (
        "latency was 900 ms or more in 2 of the last 3 numbers since 22:14:20 UTC, expected up to 600 ms with 99% "
        "(before 522 ms on blue; yesterday 500 ms on blue, which had the traffic; lastWeek 450 ms on green, which had "
        "the traffic; by the little that there is of a past)"
    )
    assert found.end.verdict == "pass", "it only tells until somebody wrote that it may go back"


def test_a_comparison_that_may_goes_back(server: str) -> None:
    acting = rule_set("http", SLOWER | {"onBreach": "rollback"})
    assert watch(server, "slower", acting, [*MINUTES[:2], 130.0]).end.verdict == "rollback"


def test_what_the_watcher_saw_live_comes_before_the_traffic(server: str) -> None:
    without_traffic = {key: value for key, value in SLOWER.items() if key != "traffic"}
    found = watch(server, "as-before", rule_set("http", without_traffic), [*MINUTES[:2], 130.0])
    assert found.outcomes() == {"latency": "pass"}
    assert "lastWeek: both colours have numbers, and nothing says which one was live" in found.message("latency")
    assert "yesterday 450 ms on green, as the watcher saw" in found.message("latency")


def test_without_a_past_a_comparison_has_no_data(server: str) -> None:
    alone = rule_set(
        "http", {**SLOWER, "query": 'sum(rate(http_requests_total{app="no-errors",color="{{ color }}"}[1m]))'}
    )
    found = watch(server, "no-errors", alone, [*MINUTES[:2], 130.0])
    assert found.outcomes() == {"latency": "noData"}
    assert found.message("latency").startswith(
        "latency has nothing to compare with: yesterday: no data of either colour; lastWeek: no data of either colour; "
        "before has no numbers on blue; now it is 1"
    )


@pytest.mark.parametrize("app", ["no-errors", "only-errors", "blip", "lasting", "slower", "no-traffic"])
def test_a_watch_late_by_all_its_length_and_the_backtest_say_what_a_live_one_said(server: str, app: str) -> None:
    rules = rule_set(
        "all", *json.loads(shipped("http").model_dump_json(exclude_none=True))["spec"]["rules"][:1], SLOWER
    )
    live = watch(server, app, rules, [10.0 * n for n in range(1, 91)] + [900.5])
    late = watch(server, app, rules, [900.0, 900.5])
    metrics = PrometheusMetrics(PrometheusSettings(server))
    bound = bind_rules(application(app, ["all"], "15m"), {"all": rules}, "green", "blue", "2")
    states = replay(metrics, bound, SWITCH, SWITCH + 900)
    metrics.close()

    def breaches(found: Watched) -> dict[str, float | None]:
        return {report.id: report.breached_at for report in found.end.reports if report.id == "all/error-rate"}

    assert late.end.verdict == live.end.verdict
    assert breaches(late) == breaches(live)
    last = states["all/error-rate"][-1]
    assert breaches(late) == {"all/error-rate": last.breach.at if last.breach else None}
    if live.end.verdict != "rollback":
        assert late.end.reports == live.end.reports
