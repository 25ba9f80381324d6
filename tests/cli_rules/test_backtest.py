"""`watcher rules backtest`, over the history of a real Prometheus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from typer.testing import CliRunner, Result

from tests.cli_rules.history import BEGIN, Phase, history
from tests.support.acting import until
from tests.support.clock import HandClock
from watcher.adapters.prometheus import PrometheusMetrics, PrometheusSettings
from watcher.adapters.prometheus.local import LocalPrometheus, Written
from watcher.cli.main import app
from watcher.core.application import Application
from watcher.core.documents import read_documents
from watcher.core.evaluation import report
from watcher.core.switches import Switch
from watcher.core.verdict import verdict
from watcher.engine.backtest import binder, own_metric
from watcher.engine.backtest import history as history_of
from watcher.engine.config import read_config
from watcher.engine.replay import replay
from watcher.engine.standing import ActiveColors
from watcher.engine.watches import Watches

HOUR = 3600.0
PHASES = [
    Phase(600, "blue"),
    Phase(2 * HOUR + 7, "green", lambda s: 0.002 + 0.003 * min(1.0, s / 600)),  # good: up to 0.5%
    Phase(6 * HOUR + 21, "blue", lambda s: 0.001 if s < 120 else 0.06),  # bad: 6% from the second minute on
    Phase(6 * HOUR + 251, "green"),  # so somebody went back
    Phase(9 * HOUR, "blue", lambda _: 0.004),  # good
    Phase(12 * HOUR + 100, "green", lambda s: 0.02 if 200 < s < 260 else 0.001),  # good, with a minute at 2%
]
LENGTH = 16 * HOUR
GAP = (14 * HOUR, 15 * HOUR)

APPLICATION = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: Application
metadata: {name: shop, namespace: shop}
spec:
  service: shop
  colors: {blue: {deployment: shop-blue}, green: {deployment: shop-green}}
  watch: {rules: [http]}
"""
RULES = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: RuleSet
metadata: {name: http}
spec:
  rules:
    - name: error-rate
      query: |
        sum(rate(http_requests_total{app="{{ application }}",color="{{ color }}",code="500"}[{{ window }}]))
        / sum(rate(http_requests_total{app="{{ application }}",color="{{ color }}"}[{{ window }}]))
      threshold: {above: 1%}
      for: 30s
      traffic:
        query: sum(increase(http_requests_total{app="{{ application }}",color="{{ color }}"}[{{ window }}]))
        atLeast: 50
"""

MORE = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: RuleSet
metadata: {name: more}
spec:
  rules:
    - name: errors-against-before
      query: sum(rate(http_requests_total{color="{{ color }}",code="500"}[{{ window }}]))
      compare: {with: [before], tolerance: {relative: 50%, absolute: 0.1}}
      onBreach: rollback
    - name: often
      query: max by (code) (rate(http_requests_total{color="{{ color }}"}[2m]))
      reduce: min
      threshold: {above: 0.15}
      breaches: {count: 3, of: 8}
      warmUp: 45s
      onBreach: notify
    - name: nothing
      query: no_such_metric{color="{{ color }}"}
      threshold: {above: 1}
      onBreach: observe
    - name: refused
      query: no_such_function(up)
      threshold: {above: 1}
      for: 20s
      onError: breach
      onBreach: notify
"""

PAST = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: RuleSet
metadata: {name: past}
spec:
  rules:
    - name: share
      query: |
        sum(rate(http_requests_total{app="{{ application }}",color="{{ color }}",code="500"}[{{ window }}]))
        / sum(rate(http_requests_total{app="{{ application }}",color="{{ color }}"}[{{ window }}]))
      compare: {with: [before], tolerance: {relative: 50%, absolute: 1%}}
      for: 30s
    - name: requests
      query: sum(rate(http_requests_total{app="{{ application }}",color="{{ color }}"}[{{ window }}]))
      compare: {with: [before, yesterday], direction: both, tolerance: {relative: 20%, absolute: 1/s}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with LocalPrometheus() as running:
        running.write(history(PHASES, LENGTH, [GAP]))
        yield running.url


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/shop.yaml").write_text(APPLICATION, "utf-8")
    (tmp_path / "config/http.yaml").write_text(RULES, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WATCHER_CONFIG", raising=False)
    return tmp_path


def time(seconds: float) -> str:
    """So many seconds into the history."""
    return datetime.fromtimestamp(BEGIN + seconds, UTC).isoformat().replace("+00:00", "Z")


HISTORY = ["--since", time(0), "--until", time(LENGTH)]


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["rules", "backtest", *map(str, words)], env={"COLUMNS": "100"})


def shop(server: str, *words: str | Path) -> Result:
    """A backtest of the shop over its whole history."""
    return run("shop", "--config", "config", "--prometheus", server, *HISTORY, *words)


def found(server: str, *words: str | Path) -> Any:
    return json.loads(shop(server, "--json", *words).stdout)


# -- past switches ---------------------------------------------------------------------------------------------------


def test_every_switch_is_found_and_the_bad_one_named_at_the_right_time(files: Path, server: str) -> None:
    data = found(server)

    assert data["source"] == "watcher_active_color"
    assert [(one["at"], one["to"], one["verdict"]) for one in data["switches"]] == [
        (time(2 * HOUR + 15), "green", "pass"),
        (time(6 * HOUR + 30), "blue", "rollback"),
        (time(9 * HOUR), "blue", "pass"),
        (time(12 * HOUR + 105), "green", "rollback"),
    ]
    bad = data["switches"][1]
    assert bad["mark"] == "bad"
    assert bad["markedBecause"] == "traffic went back after 3 min 45 s"
    assert bad["cutBy"] == "next switch"
    assert bad["rollbackAt"] == time(6 * HOUR + 30 + 160)
    assert bad["rules"][0]["id"] == "http/error-rate"
    assert bad["reasons"][0].startswith("error-rate was 5.")
    assert data["rollbacks"] == 2


def test_false_alarms_and_the_limit_that_separates_are_told(files: Path, server: str) -> None:
    done = shop(server, "--good-all")

    assert done.exit_code == 1
    assert "FALSE ALARM" in done.stdout
    assert "2 rollbacks would have been: 1 of 1 bad release, 1 of 3 good releases." in done.stdout
    data = found(server, "--good-all")
    (rule,) = data["rules"]
    separation = rule["separation"]
    # The good minute at 2% peaks for less than 30 s; the bad release has 6% for more than 30 s.
    assert 0.01 < separation["goodUntil"] < 0.02
    assert separation["badFrom"] == pytest.approx(0.06, rel=0.01)
    assert separation["goodUntil"] < separation["limit"] < separation["badFrom"]
    assert data["falseAlarms"] == 1
    assert data["missed"] == 0


def test_the_limit_that_separates_does_so_when_it_is_used(files: Path, server: str) -> None:
    limit = found(server, "--good-all")["rules"][0]["separation"]["limit"]
    (files / "new.yaml").write_text(RULES.replace("above: 1%", f"above: {limit}"), "utf-8")

    done = shop(server, "--good-all", "--rules", "new.yaml")

    assert done.exit_code == 0, done.output
    assert "1 rollback would have been: 1 of 1 bad release, 0 of 3 good releases." in done.stdout


def test_a_limit_just_past_either_end_separates_no_more(files: Path, server: str) -> None:
    separation = found(server, "--good-all")["rules"][0]["separation"]
    counts = []
    for limit in (separation["goodUntil"] * 0.999, separation["badFrom"] * 1.001):
        (files / "new.yaml").write_text(RULES.replace("above: 1%", f"above: {limit}"), "utf-8")
        data = found(server, "--good-all", "--rules", "new.yaml")
        counts.append((data["falseAlarms"], data["missed"]))

    assert counts == [(1, 0), (0, 1)]


def test_overlapping_levels_give_no_limit(files: Path, server: str) -> None:
    done = shop(server, "--good", time(6 * HOUR), "--bad", time(9 * HOUR))

    assert done.exit_code == 1
    assert "none: good and bad overlap" in done.stdout
    assert "MISSED" in done.stdout


def test_one_switch_is_told_rule_by_rule(files: Path, server: str) -> None:
    done = shop(server, "--switch", time(6 * HOUR + 21))

    assert done.exit_code == 0
    assert done.stdout.startswith("1 switch of shop, as named.")
    assert "2m40s" in done.stdout
    assert "7 pass, 11 breach" in done.stdout


def test_a_named_switch_is_to_the_colour_that_became_active(files: Path, server: str) -> None:
    near = found(server, "--switch", time(2 * HOUR))["switches"][0]
    far = found(server, "--switch", time(8 * HOUR))["switches"][0]

    assert (near["to"], near["at"]) == ("green", time(2 * HOUR))
    assert far["to"] == "green"


@pytest.mark.parametrize("second", [21.0, 29.5])
def test_a_backtest_says_what_the_running_watch_would_have_said(files: Path, server: str, second: float) -> None:
    """Every rule's report and the verdict, from the daemon's own watches."""
    (files / "config/more.yaml").write_text(MORE, "utf-8")
    (files / "config/shop.yaml").write_text(APPLICATION.replace("[http]", "[http, more]"), "utf-8")
    config, _ = read_config([files / "config"], {})
    assert config is not None
    application = config.applications["shop", "shop"]
    metrics = PrometheusMetrics(PrometheusSettings(server))
    for begin, color in ((6 * HOUR, "blue"), (12 * HOUR + 90, "green"), (13.8 * HOUR, "green")):
        switched = BEGIN + begin + second
        bind = binder(application, config.rule_sets, "1")
        rules = bind(Switch(switched, "blue" if color == "blue" else "green"))
        end = switched + application.spec.watch.duration.total_seconds()

        clock = HandClock(switched)
        watches = Watches(metrics, clock, lambda _: None)
        key = ("shop", "a")
        watches.follow(key, rules, clock.now(), datetime.fromtimestamp(end, UTC))
        while clock.seconds < end:
            clock.seconds = min(end, clock.seconds + 10)
            watches.tick()
            until(partial(_idle, watches), "an answer")
        live = watches.reading(key)
        watches.stop()

        states = replay(metrics, rules, switched, end)
        judged = verdict([(rule, states[rule.id][-1]) for rule in rules], switched_at=switched, at=end, ended=True)
        assert live is not None
        assert judged.verdict.value == live.verdict
        if live.verdict != "rollback":  # with it the watch ends
            assert judged.reasons == live.reasons
            assert tuple(report(rule, states[rule.id][-1]) for rule in rules) == live.reports
        else:
            breached = [r for r in (report(rule, states[rule.id][-1]) for rule in rules) if r.breached]
            assert {r.id for r in live.reports if r.breached} <= {r.id for r in breached}
            assert min(r.breached_at or 0 for r in breached) == min(
                r.breached_at or 0 for r in live.reports if r.breached
            )
    metrics.close()


def _idle(watches: Watches) -> bool:
    return not watches.asking()


def test_the_daemons_own_metric_is_the_one_that_is_asked_for() -> None:
    colors = {("shop", "shop"): "blue", ("shop", "other"): "green", ("else", "shop"): "green"}
    with LocalPrometheus() as running:
        for at, live in ((0, "blue"), (15, "blue"), (30, "green")):
            colors["shop", "shop"] = live
            samples = [one for family in ActiveColors(lambda: colors).collect() for one in family.samples]
            running.write(
                Written({"__name__": one.name, **one.labels, "pod": pod}, [(BEGIN + at, one.value)])
                for one in samples
                for pod in ("a", "b")
            )
        metrics = PrometheusMetrics(PrometheusSettings(running.url))
        application = read(APPLICATION)
        known = history_of(metrics, own_metric(application), BEGIN, BEGIN + 30)
        metrics.close()

    assert list(known) == [(BEGIN, "blue"), (BEGIN + 15, "blue"), (BEGIN + 30, "green")]


def read(text: str) -> Application:
    (document,) = read_documents(text, "shop.yaml", {"Application": Application}).items
    assert isinstance(document.model, Application)
    return document.model


# -- gaps and ends of history ----------------------------------------------------------------------------------------


def test_a_switch_in_a_gap_says_nothing_and_counts_nowhere(files: Path, server: str) -> None:
    done = shop(server, "--switch", time(14.2 * HOUR), "--color", "green", "--good-all")

    assert done.exit_code == 2
    assert "nothing was learnt" in done.stderr
    assert "no data" in done.stdout
    assert "1 switch without any data: about those nothing is said." in done.stdout
    assert "0 rollbacks would have been." in done.stdout
    assert "Say with" not in done.stdout


def test_history_that_begins_later_is_said(files: Path, server: str) -> None:
    done = run(
        *("shop", "--config", "config", "--prometheus", server, "--every", "30m"),
        *("--since", time(-3 * HOUR), "--until", time(3 * HOUR)),
    )

    assert done.exit_code == 0, done.output
    assert f"watcher_active_color has no data before {time(600)[:-1].replace('T', ' ')}" in done.stdout
    assert "left out, as traffic moved" in done.stdout


def test_data_that_begins_later_than_the_switches_is_said(files: Path, server: str) -> None:
    done = run(
        *("shop", "--config", "config", "--prometheus", server, "--every", "30m", "--color", "blue"),
        *("--since", time(-2 * HOUR), "--until", time(2 * HOUR)),
    )

    assert done.exit_code == 0, done.output
    assert "There is no data before 2026-03-02 00:00:00." in done.stdout


def test_a_gap_in_the_colour_metric_is_said(files: Path, server: str) -> None:
    assert any("does not tell one active colour" in note for note in found(server)["notes"])


def test_a_watch_that_still_runs_is_judged_so_far(files: Path, server: str) -> None:
    done = run(
        *("shop", "--config", "config", "--prometheus", server, "--json"),
        *("--since", time(HOUR), "--until", time(2 * HOUR + 300)),
    )
    (switch,) = json.loads(done.stdout)["switches"]

    assert (switch["verdict"], switch["cutBy"]) == ("pass", "end of history")


def test_a_metric_without_data_is_said_with_what_else_to_do(files: Path, server: str) -> None:
    done = shop(server, "--color-metric", "no_such_metric")

    assert done.exit_code == 2
    assert "--switch" in done.stderr
    assert "--every" in done.stderr
    assert "--releases" in done.stderr


# -- other ways to switches ------------------------------------------------------------------------------------------


def test_any_metric_with_a_series_for_each_colour_will_do(files: Path, server: str) -> None:
    query = 'sum by (color) (rate(http_requests_total{app="shop"}[1m]))'

    data = found(server, "--color-metric", query)

    assert [one["to"] for one in data["switches"]] == ["green", "blue", "blue", "green"]
    assert data["switches"][1]["mark"] == "bad"


def test_switches_can_be_pretended(files: Path, server: str) -> None:
    data = found(server, "--every", "1h", "--good-all")

    assert len(data["switches"]) >= 10
    assert {one["verdict"] for one in data["switches"] if not one["withoutData"]} == {"pass"}
    assert data["falseAlarms"] == 0


def test_releases_bring_switches_versions_and_what_came_of_them(files: Path, server: str) -> None:
    def release(at: float, to: str, phase: str, version: str) -> dict[str, Any]:
        return {
            "metadata": {"name": f"shop-{version}", "namespace": "shop"},
            "spec": {"application": "shop", "version": version},
            "status": {"phase": phase, "switchedAt": time(at), "colors": {"from": "x", "to": to}},
        }

    releases = [
        release(2 * HOUR + 7, "green", "Completed", "2"),
        release(6 * HOUR + 21, "blue", "RolledBack", "3"),
    ]
    (files / "releases.json").write_text(json.dumps({"items": releases}), "utf-8")
    (files / "config/http.yaml").write_text(RULES.replace("traffic:", "description: '{{ version }}'\n      traffic:"))

    data = found(server, "--releases", "releases.json")

    assert data["source"] == "the Releases"
    assert [(one["at"], one["version"], one["mark"], one["rating"]) for one in data["switches"]] == [
        (time(2 * HOUR + 7), "2", "good", "right"),
        (time(6 * HOUR + 21), "3", "bad", "right"),
    ]


def test_of_many_switches_those_that_pass_are_only_counted(files: Path, server: str) -> None:
    done = shop(server, "--every", "10m", "--bad", time(4 * HOUR))

    rows = [line for line in done.stdout.splitlines() if line.startswith("2026")]
    assert done.exit_code == 1
    assert [line for line in rows if "MISSED" in line] == [rows[0]]
    assert all("no data" in line or "inconclusive" in line for line in rows[1:])
    assert f"and {87 - len(rows)} more that pass" in done.stdout
    assert "2 switches would have been held and told: neither good nor bad." in done.stdout


def test_a_query_that_names_the_version_needs_to_know_it(files: Path, server: str) -> None:
    (files / "config/http.yaml").write_text(RULES.replace('code="500"', 'code="500",version!="{{ version }}"'), "utf-8")

    unknown, known = shop(server), shop(server, "--version", "2")

    assert unknown.exit_code == 2
    assert "http/error-rate asks for the version, which is not known: give --version, or --releases" in unknown.stderr
    assert known.exit_code == 0


def test_rules_alone_are_enough_with_a_name(files: Path, server: str) -> None:
    done = run(
        *("shop", "--rules", "config/http.yaml", "--namespace", "shop", "--prometheus", server, *HISTORY, "--json"),
    )

    assert [one["verdict"] for one in json.loads(done.stdout)["switches"]] == ["pass", "rollback", "pass", "rollback"]


def test_the_address_may_come_from_the_environment(files: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHER_PROMETHEUS_URL", server)

    with_rules = run("shop", "--rules", "config/http.yaml", "--namespace", "shop", *HISTORY)
    with_config = run("shop", "--config", "config", *HISTORY)

    assert (with_rules.exit_code, with_config.exit_code) == (0, 0)


def test_a_new_rule_set_is_tried_beside_those_in_use(files: Path, server: str) -> None:
    (files / "new.yaml").write_text(RULES.replace("name: http}", "name: more}").replace("1%", "0.3%"), "utf-8")

    data = found(server, "--rules", "new.yaml")

    assert [one["id"] for one in data["rules"]] == ["http/error-rate", "more/error-rate"]
    assert [one["breached"] for one in data["rules"]] == [2, 4]


def test_a_watch_that_observes_is_replayed_as_if_it_enforced(files: Path, server: str) -> None:
    (files / "config/shop.yaml").write_text(APPLICATION.replace("[http]", "[http], mode: observe"), "utf-8")

    assert found(server)["rollbacks"] == 2


# -- what goes wrong -------------------------------------------------------------------------------------------------


def test_an_unknown_application_is_refused_with_the_one_that_was_meant(files: Path, server: str) -> None:
    done = run("shpo", "--config", "config", "--prometheus", server)

    assert done.exit_code == 2
    assert 'there is no Application shpo: did you mean "shop"?' in done.stderr


ABSURD: list[tuple[list[str], str]] = [
    (["--since", "soon"], '--since: "soon" is no time'),
    (["--until", "2999-01-01"], "lies in the future"),
    (["--since", "0s"], "there is no time from --since 0s to the end"),
    (["--since", time(LENGTH)], "there is no time from"),
    (["--switch", "2999-01-01"], "lies in the future"),
    (["--switch", "yesterday"], '--switch: "yesterday" is no time'),
    (["--every", "10ms"], "--every 10ms is too short"),
    (["--every", "often"], '"often" is no duration'),
    (["--every", "1s"], "no more than 5000"),
    (["--every", "1h", "--switch", time(0)], "exclude one another"),
    (["--color", "red"], "--color red: write blue or green"),
    (["--good", time(-90 * HOUR)], "the nearest is at"),
    (["--color-metric", "sum("], "parse error"),
    (["--prometheus", "ftp://x"], "--prometheus: the address"),
    (["--releases", "nothing.json"], "--releases nothing.json cannot be read"),
    (["--releases", "config/shop.yaml"], "these are no Releases"),
    (["--rules", "nothing.yaml"], "nothing.yaml:1:1: does not exist"),
    (["--rules", "config/shop.yaml"], "there is no RuleSet in config/shop.yaml"),
    (["--namespace", "other"], "there is no Application shop in namespace other"),
    (["--config", "elsewhere"], "elsewhere:1:1: does not exist"),
    (["--plot", "rules.pdf"], "ends with .png or .svg"),
    (["--plot", "no/such/rules.png"], "there is no directory no/such"),
]


@pytest.mark.parametrize(("words", "said"), ABSURD, ids=[" ".join(words) for words, _ in ABSURD])
def test_absurd_arguments_are_refused_with_exit_status_2(files: Path, server: str, words: list[str], said: str) -> None:
    done = shop(server, *words)

    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_query_that_the_server_refuses_is_quoted_and_no_success(files: Path, server: str) -> None:
    (files / "config/http.yaml").write_text(RULES.replace("sum(rate(", "no_such_function(rate(", 1), "utf-8")

    done = shop(server)

    assert done.exit_code == 2
    assert "no_such_function" in done.stdout


def test_one_of_several_namespaces_has_to_be_named(files: Path, server: str) -> None:
    (files / "config/again.yaml").write_text(APPLICATION.replace("namespace: shop", "namespace: shop-2"), "utf-8")

    several, one = shop(server), shop(server, "--namespace", "shop")

    assert several.exit_code == 2
    assert "there are Applications shop in shop, shop-2: say which" in several.stderr
    assert one.exit_code == 0


def test_a_long_history_is_asked_for_in_pieces(files: Path, server: str) -> None:
    words = ("shop", "--config", "config", "--prometheus", server, "--until", time(LENGTH), "--json", "--since")

    week, year = (json.loads(run(*words, since).stdout) for since in ("10d", "365d"))

    assert [one["at"] for one in week["switches"]] == [one["at"] for one in year["switches"]]
    assert len(week["switches"]) == 4


def test_a_name_that_no_application_could_have_is_refused(files: Path, server: str) -> None:
    done = run("No Name", "--rules", "config/http.yaml", "--prometheus", server)

    assert done.exit_code == 2
    assert "is no name" in done.stderr


def test_without_any_address_of_prometheus_it_says_where_to_put_one(files: Path) -> None:
    done = run("shop", "--config", "config")

    assert done.exit_code == 2
    assert "give --prometheus, or prometheus.url in watcher.yaml" in done.stderr


def test_a_server_that_is_down_is_said_in_one_line(files: Path) -> None:
    done = run("shop", "--config", "config", "--prometheus", "http://127.0.0.1:9", *HISTORY)

    assert done.exit_code == 2
    assert "could not be reached" in done.stderr
    assert len(done.stderr.splitlines()) == 1


class PassingOn(BaseHTTPRequestHandler):
    """Passes requests on to a server; those for trials after a time get no answer."""

    target = ""
    gone_after = float("inf")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if "http_requests_total" in asked["query"] and float(asked["start"]) > self.gone_after:
            self.close_connection = True
            return
        request = Request(self.target + self.path, body, {"Content-Type": self.headers["Content-Type"]})  # noqa: S310
        with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
            data = answer.read()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_server_that_goes_away_in_the_middle_leaves_what_was_learnt(files: Path, server: str) -> None:
    handler = type("Handler", (PassingOn,), {"target": server, "gone_after": BEGIN + 8 * HOUR})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        done = shop(f"http://127.0.0.1:{proxy.server_port}")
        proxy.shutdown()

    assert done.exit_code == 2
    assert [line.split()[3] for line in done.stdout.splitlines() if line.startswith("2026")] == ["pass", "rollback"]
    assert "So only 2 of 4 switches were looked at." in done.stderr


def test_a_token_of_the_settings_goes_to_no_other_server(files: Path, server: str) -> None:
    heard: list[str | None] = []

    class Listening(PassingOn):
        target = server

        def do_POST(self) -> None:
            heard.append(self.headers.get("X-Tenant"))
            super().do_POST()

    with ThreadingHTTPServer(("127.0.0.1", 0), Listening) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{proxy.server_port}"
        head = "apiVersion: watcher.bluegreen.dev/v1alpha1\nkind: Settings\n"
        settings = head + "prometheus: {url: '%s', headers: {X-Tenant: s}}\n"
        (files / "config/watcher.yaml").write_text(settings % "http://127.0.0.1:1", "utf-8")
        other = shop(url)
        (files / "config/watcher.yaml").write_text(settings % url, "utf-8")
        own = run("shop", "--config", "config", *HISTORY)
        proxy.shutdown()

    assert (other.exit_code, own.exit_code) == (0, 0)
    half = len(heard) // 2
    assert heard == [None] * half + ["s"] * half


# -- the plot --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words", "magic"),
    [
        ("many.png", ["--good-all"], b"\x89PNG"),
        ("one.svg", ["--switch", time(6 * HOUR + 21)], b"<?xml"),
        ("blind.png", ["--switch", time(14.2 * HOUR), "--color", "green"], b"\x89PNG"),
        ("pretended.svg", ["--every", "20m", "--color", "blue"], b"<?xml"),
    ],
)
def test_a_plot_is_drawn(files: Path, server: str, name: str, words: list[str], magic: bytes) -> None:
    done = shop(server, "--plot", name, *words)

    assert f"Drawn into {name}." in done.stderr
    assert (files / name).read_bytes().startswith(magic)


def test_a_single_switchs_plot_says_what_happened_when(files: Path, server: str) -> None:
    shop(server, "--switch", time(6 * HOUR + 21), "--plot", "one.svg")

    drawn = (files / "one.svg").read_text("utf-8")
    for text in ("switch to blue", "rollback after 2m40s", "http/error-rate", "green, before", "verdict rollback"):
        assert f"<!-- {text}" in drawn or text in drawn


def test_a_comparisons_plot_shows_what_was_expected_the_levels_how_sure_and_since_when(
    files: Path, server: str
) -> None:
    (files / "past.yaml").write_text(PAST, "utf-8")
    one = ["--switch", time(6 * HOUR + 21), "--rules", "past.yaml"]

    shop(server, *one, "--plot", "one.svg")
    shop(server, *one, "--plot", "one.png")
    shop(server, "--rules", "past.yaml", "--plot", "many.svg")

    drawn = (files / "one.svg").read_text("utf-8")
    for text in ("expected", "level before", "past/share", "past/requests"):
        assert f"<!-- {text}" in drawn
    for text in (
        "0.5% before, 6% then, range with 99%, breach since 06:03:01 UTC",
        "20/s before, 20/s at the end, range with 99%, pass since 06:01:21 UTC",
    ):
        assert f"<!-- {text}" in drawn
    assert "<!-- level before" not in (files / "many.svg").read_text("utf-8")


def test_without_matplotlib_it_says_how_to_get_it(files: Path, server: str) -> None:
    script = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from watcher.cli.main import main\n"
        f"sys.argv = ['watcher', 'rules', 'backtest', 'shop', '--config', 'config', '--prometheus', {server!r}, "
        "'--plot', 'x.png']\n"
        "main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ)
    )

    assert done.returncode == 2
    assert done.stderr.strip() == "watcher: --plot needs matplotlib: pip install 'bluegreen-watcher[plot]'"
