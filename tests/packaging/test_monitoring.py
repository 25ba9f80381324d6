"""The component for the Prometheus operator: each alert fires when it should and only then, as Prometheus sees it."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from tests.packaging.exported import families, populated
from tests.packaging.rendered import ROOT, WHOLE_CLUSTER, only, parse
from watcher.engine.standing import CONDITIONS

COMPONENT = ROOT / "deploy/components/monitoring"


def manifest(name: str) -> dict[str, Any]:
    (found,) = parse((COMPONENT / name).read_text("utf-8"))
    assert isinstance(found, dict)
    return found


RULES = [rule for group in manifest("prometheus-rule.yaml")["spec"]["groups"] for rule in group["rules"]]
ALERTS = [rule["alert"] for rule in RULES]

ONE = 'namespace="a",pod="w-1"'
TWO = 'namespace="a",pod="w-2"'


@dataclass(frozen=True)
class Case:
    """Series, a sample each minute, and whether the alert fires at a minute."""

    name: str
    alert: str
    series: dict[str, str]
    at: int
    fires: bool


def slow(buckets: str, count: str) -> dict[str, str]:
    return {
        f'watcher_rollback_seconds_bucket{{{ONE},le="30.0"}}': buckets,
        f"watcher_rollback_seconds_count{{{ONE}}}": count,
    }


def standing(condition: str, one: str, two: str) -> dict[str, str]:
    """What each of two replicas says of a condition."""
    about = f'application_namespace="shop",application="shop",condition="{condition}"'
    return {f"watcher_release_condition{{{pod},{about}}}": values for pod, values in ((ONE, one), (TWO, two))}


CASES = [
    Case("two replicas run", "BluegreenWatcherDown", {f"watcher_leads{{{ONE}}}": "1x20"}, 10, False),
    Case("none was ever seen", "BluegreenWatcherDown", {"up": "1x20"}, 3, True),
    Case("all went", "BluegreenWatcherDown", {f"watcher_leads{{{ONE}}}": "1x5 _x30"}, 20, True),
    Case(
        "one of two went",
        "BluegreenWatcherDown",
        {f"watcher_leads{{{ONE}}}": "1x30", f"watcher_leads{{{TWO}}}": "0x5"},
        20,
        False,
    ),
    Case(
        "all of one namespace went, and another has some",
        "BluegreenWatcherDown",
        {f"watcher_leads{{{ONE}}}": "1x5 _x30", 'watcher_leads{namespace="b",pod="w-1"}': "1x40"},
        20,
        True,
    ),
    Case(
        "one leads",
        "BluegreenWatcherWithoutLeader",
        {f"watcher_leads{{{ONE}}}": "1x20", f"watcher_leads{{{TWO}}}": "0x20"},
        10,
        False,
    ),
    Case(
        "none leads",
        "BluegreenWatcherWithoutLeader",
        {f"watcher_leads{{{ONE}}}": "0x20", f"watcher_leads{{{TWO}}}": "0x20"},
        10,
        True,
    ),
    Case("the lease changes hands", "BluegreenWatcherWithoutLeader", {f"watcher_leads{{{ONE}}}": "1 0 1x20"}, 1, False),
    Case(
        "another namespace's leader does not count",
        "BluegreenWatcherWithoutLeader",
        {f"watcher_leads{{{ONE}}}": "0x20", 'watcher_leads{namespace="b",pod="w-1"}': "1x20"},
        10,
        True,
    ),
    Case(
        "both lead",
        "BluegreenWatcherSeveralLeaders",
        {f"watcher_leads{{{ONE}}}": "1x20", f"watcher_leads{{{TWO}}}": "1x20"},
        10,
        True,
    ),
    Case(
        "one leads",
        "BluegreenWatcherSeveralLeaders",
        {f"watcher_leads{{{ONE}}}": "1x20", f"watcher_leads{{{TWO}}}": "0x20"},
        10,
        False,
    ),
    Case("files are good", "BluegreenWatcherConfigRefused", {f"watcher_config_valid{{{ONE}}}": "1x20"}, 10, False),
    Case(
        "one replica refuses",
        "BluegreenWatcherConfigRefused",
        {f"watcher_config_valid{{{ONE}}}": "0x20", f"watcher_config_valid{{{TWO}}}": "1x20"},
        10,
        True,
    ),
    Case(
        "refused for a moment",
        "BluegreenWatcherConfigRefused",
        {f"watcher_config_valid{{{ONE}}}": "1x5 0 1x20"},
        6,
        False,
    ),
    Case("ticks come in time", "BluegreenWatcherLate", {f"watcher_late_ticks_total{{{ONE}}}": "7x40"}, 20, False),
    Case("one late tick", "BluegreenWatcherLate", {f"watcher_late_ticks_total{{{ONE}}}": "0x10 1x40"}, 15, False),
    Case("late again and again", "BluegreenWatcherLate", {f"watcher_late_ticks_total{{{ONE}}}": "0+1x40"}, 20, True),
    Case("no rollback", "BluegreenWatcherRollbackSlow", slow("0x40", "0x40"), 20, False),
    Case("a quick one", "BluegreenWatcherRollbackSlow", slow("0x10 1x40", "0x10 1x40"), 15, False),
    Case("a slow one", "BluegreenWatcherRollbackSlow", slow("0x40", "0x10 1x40"), 15, True),
    Case("a slow one an hour ago", "BluegreenWatcherRollbackSlow", slow("0x80", "0x10 1x80"), 70, False),
    *(
        case
        for alert, condition, minutes in (
            ("BluegreenWatcherWayBackLost", "WayBackLost", 1),
            ("BluegreenWatcherNeedsAttention", "NeedsAttention", 1),
            ("BluegreenWatcherBlind", "Blind", 5),
        )
        for case in (
            Case("nobody is needed", alert, standing(condition, "0x20", "0x20"), 15, False),
            Case("one replica knows", alert, standing(condition, "0x20", "1x20"), 10, True),
            Case("not yet for long", alert, standing(condition, "0x20", "1x20"), minutes - 1, False),
            Case("another condition", alert, standing("Other", "1x20", "1x20"), 15, False),
            Case("over", alert, standing(condition, "1x10 0x20", "1x10 0x20"), 15, False),
        )
    ),
    Case("all is delivered", "BluegreenWatcherUndelivered", {f"watcher_undelivered_total{{{ONE}}}": "3x40"}, 20, False),
    Case("one is lost", "BluegreenWatcherUndelivered", {f"watcher_undelivered_total{{{ONE}}}": "0x10 1x40"}, 15, True),
]


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def rule_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules as a Prometheus without the operator reads them."""
    file = tmp_path_factory.mktemp("rules") / "rules.json"
    file.write_text(json.dumps(manifest("prometheus-rule.yaml")["spec"]), "utf-8")
    return file


def test_prometheus_takes_the_rules(rule_file: Path) -> None:
    assert f"SUCCESS: {len(RULES)} rules found" in promtool("check", "rules", str(rule_file))


def test_each_alert_fires_when_it_should_and_only_then(rule_file: Path, tmp_path: Path) -> None:
    tests = []
    for case in CASES:
        firing = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}})'
        wanted = [{"labels": "{}", "value": 1}] if case.fires else []
        tests.append(
            {
                "name": f"{case.alert}: {case.name}",
                "interval": "1m",
                "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
                "promql_expr_test": [{"expr": firing, "eval_time": f"{case.at}m", "exp_samples": wanted}],
            }
        )
    file = tmp_path / "tests.json"
    file.write_text(json.dumps({"rule_files": [str(rule_file)], "evaluation_interval": "1m", "tests": tests}), "utf-8")

    promtool("test", "rules", str(file))


def test_each_alert_is_seen_to_fire_and_seen_not_to() -> None:
    assert {(case.alert, case.fires) for case in CASES} == {
        (alert, fires) for alert in ALERTS for fires in (True, False)
    }


def test_alerts_ask_only_for_what_the_daemon_exports() -> None:
    exported = {sample.name for family in families() for sample in family.samples}
    asked = {name for rule in RULES for name in re.findall(r"watcher_\w+", rule["expr"])}

    assert asked
    assert asked - exported == set()
    conditions = {label for rule in RULES for label in re.findall(r'condition="([^"]+)"', rule["expr"])}
    assert conditions == set(CONDITIONS), "each is told of"
    (bound,) = {label for rule in RULES for label in re.findall(r'le="([^"]+)"', rule["expr"])}
    assert f'le="{bound}"' in generate_latest(populated().registry).decode()


def test_prometheus_finds_nothing_to_complain_of_in_the_metrics() -> None:
    text = generate_latest(populated().registry)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.mark.parametrize("rule", RULES, ids=ALERTS)
def test_each_alert_says_what_is_wrong_and_what_to_look_at(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description"}
    assert all(text.endswith(".") for text in rule["annotations"].values())


def test_the_monitor_scrapes_the_port_of_the_service() -> None:
    service, monitor = only(WHOLE_CLUSTER, "Service"), manifest("service-monitor.yaml")["spec"]
    (endpoint,) = monitor["endpoints"]

    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"
