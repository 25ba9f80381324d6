"""A real Prometheus scrapes a real daemon through two releases, one of which goes back: each panel of the dashboard,
each variable, each annotation and each recorded figure has something to show, and of the alerts only one fires: the one
about the channel that takes nothing.
"""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.packaging.exported import families
from tests.packaging.rendered import ROOT, parse
from tests.support.acting import API, BAD, ERRORS, GOOD, application, write
from watcher.core.release import Phase
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE
from watcher.demo.platform.prometheus import PrometheusServer, StaticTargets
from watcher.demo.stage import Stage

MONITORING = ROOT / "deploy/components/monitoring"
RULES = MONITORING / "rules.yaml"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))

CHOSEN = {
    "$namespace": NAMESPACE,
    "$application": APPLICATION,
    "$rule": ".*",
    "$__rate_interval": "10s",
    "$__range_s": "300",
    "$__range": "300s",
}
"""What Grafana puts in the place of its variables."""

TRAFFIC = {
    "name": "traffic",
    "query": 'sum(rate(http_requests_total{namespace="{{ namespace }}",color="{{ color }}"}[{{ window }}]))',
    "window": "3s",
    "threshold": {"below": "0.01"},
    "onBreach": "observe",
}
"""A rule with a lower limit, which only looks on: a scrape that is late must not decide how the release ends."""


@dataclass
class Asked:
    """A Prometheus, and since when it is of interest."""

    url: str
    since: float

    def _get(self, path: str, **parameters: Any) -> Any:
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=20)
        found = answer.json()
        assert found["status"] == "success", (parameters, found)
        return found["data"]

    def over(self, expr: str) -> list[float]:
        """Every number that a query has given since."""
        # The last step is after the last scrape, so that what it brought is seen.
        data = self._get("query_range", query=expr, start=self.since, end=time.time() + 2, step=1)
        numbers = [float(value) for series in data["result"] for _, value in series["values"]]
        return [number for number in numbers if not math.isnan(number)]

    def now(self, expr: str) -> dict[tuple[str, ...], float]:
        """What it gives now, by the values of its labels."""
        data = self._get("query", query=expr)
        return {tuple(one["metric"].values()): float(one["value"][1]) for one in data["result"]}

    def one(self, expr: str) -> float:
        """The only number, or nothing as 0."""
        return sum(self.now(expr).values())

    def label(self, name: str, match: str) -> list[str]:
        found: list[str] = self._get(f"label/{name}/values", **{"match[]": match}, start=self.since, end=time.time())
        return found

    def firing(self) -> list[str]:
        return [rule["name"] for rule in self.rules() if rule.get("state") == "firing"]

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]


def nowhere() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def filled(expr: str) -> str:
    for variable, value in CHOSEN.items():
        expr = expr.replace(variable, value)
    assert "$" not in expr, "Grafana knows this variable, and this test does not"
    return expr


def panels(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in found:
        yield panel
        yield from panels(panel.get("panels", []))


def queries() -> dict[str, str]:
    """Every query of every panel, and of every annotation."""
    every = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels(DASHBOARD["panels"])
        for target in panel.get("targets", [])
    }
    return every | {one["name"]: one["expr"] for one in DASHBOARD["annotations"]["list"]}


def recorded() -> dict[str, str]:
    (document,) = parse(RULES.read_text("utf-8"))
    return {
        rule.get("record") or rule["alert"]: rule["expr"] for group in document["groups"] for rule in group["rules"]
    }


def test_dashboard_and_rules_have_something_to_show_of_a_daemon_that_released(tmp_path: Path) -> None:
    rules = ERRORS | {"spec": {"rules": [*ERRORS["spec"]["rules"], TRAFFIC]}}  # type: ignore[index]
    watch = {"duration": "8s", "interval": "1s", "rules": ["errors"]}
    # A channel on which nobody listens: what is told there fails, and holds nothing up.
    settings = {"apiVersion": API, "kind": "Settings", "notifications": [{"name": "team-chat", "url": nowhere()}]}
    config = write(tmp_path / "config", application(watch=watch), rules, settings)
    with Stage(config=config, rate=40.0) as stage:
        labels = {"namespace": "bluegreen-watcher", "pod": "watcher-0"}
        daemon = StaticTargets([f"127.0.0.1:{stage.http_port}"], labels)
        with PrometheusServer([daemon], directory=tmp_path / "prometheus", rule_files=[RULES]) as prometheus:
            asked = Asked(prometheus.url, time.time())
            # What was counted before the first scrape no `increase` sees.
            stage.wait_for(lambda: asked.one("watcher_deployments_total == bool 0") == 1, "the first scrape", 60)
            for version, phase in ((GOOD, Phase.COMPLETED), (BAD, Phase.ROLLED_BACK)):
                ended = stage.follow(stage.release(version), lambda r: r.phase.terminal, 90, "the end")
                assert ended.phase is phase, ended.status.message
            missing = {name: filled(expr) for name, expr in queries().items()}

            def all_show() -> bool:
                for name in [name for name, expr in missing.items() if asked.over(expr)]:
                    del missing[name]
                return not missing

            # What happened last may not have been scraped yet.
            stage.wait_for(all_show, "every panel to show something", 30, lambda: f"nothing to see in {list(missing)}")
            assert set(recorded()) == {rule["name"] for rule in asked.rules()}
            stage.wait_for(
                lambda: asked.one("watcher_deployments_total") == 2 and bool(asked.over(ABOVE)),
                "the breach to be seen, with the number beside its limit",
            )
            shows_figures(asked)
            only_the_channel = ["BluegreenWatcherNotificationsFailing"]
            stage.wait_for(lambda: asked.firing() == only_the_channel, f"{only_the_channel} alone to fire", 60)
            every_alert_is_evaluated(asked)
            offers_choices(asked)
            forgets_what_is_gone(asked)
            text = requests.get(f"{stage.page}metrics", timeout=10).content
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    assert set(re.findall(r"^# HELP (watcher_\w+)", text.decode(), re.MULTILINE)) == {
        f"{one.name}_total" if one.type == "counter" else one.name for one in families()
    }


ABOVE = 'watcher_rule_value{rule="errors/rate"} > on (rule) watcher_rule_threshold{rule="errors/rate"}'


def shows_figures(asked: Asked) -> None:
    """Two deployments, one of which failed, and was off within its watch."""
    figures = {name: asked.over(expr) for name, expr in recorded().items() if ":" in name}
    assert [name for name, values in figures.items() if not values] == []
    of_deployments, of_failures = "watcher_deployments_total", "watcher_deployment_failures_total"
    assert (asked.one(of_deployments), asked.one(of_failures)) == (2, 1)
    assert asked.one('watcher_flips_total{direction="forward",reason="switch"}') == 2
    assert asked.one('watcher_flips_total{direction="back",reason="rule"}') == 1
    assert asked.one('watcher_verdicts_total{verdict="rollback"}') == 1
    assert asked.one("watcher_restore_seconds_count") == asked.one("watcher_rollback_seconds_count") == 1
    assert 0 < asked.one("watcher_rollback_seconds_sum") <= asked.one("watcher_restore_seconds_sum")


def every_alert_is_evaluated(asked: Asked) -> None:
    """On metrics that are there."""
    alerts = [rule for rule in asked.rules() if rule["type"] == "alerting"]
    assert [rule["name"] for rule in alerts if rule["health"] != "ok"] == []
    for name, expr in recorded().items():
        if ":" not in name:
            metrics = re.findall(r"watcher_\w+", expr)
            assert [metric for metric in metrics if not asked.over(metric)] == [], name


def offers_choices(asked: Asked) -> None:
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            match, _, label = variable["query"]["query"].removeprefix("label_values(").rstrip(")").rpartition(", ")
            assert asked.label(label, filled(match)), variable["name"]


def forgets_what_is_gone(asked: Asked) -> None:
    """Nothing runs any more."""
    running = "watcher_release_phase_start_timestamp_seconds"
    assert asked.over(running)
    assert asked.now(running) == {}
    assert asked.one('watcher_releases{phase="RolledBack"}') == asked.one('watcher_releases{phase="Completed"}') == 1
