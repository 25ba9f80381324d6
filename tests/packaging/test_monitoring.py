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
ALERTS = [rule["alert"] for rule in RULES if "alert" in rule]
RECORDS = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}

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


def behind(values: str) -> dict[str, str]:
    return {f'watcher_watch_behind_seconds{{{ONE},application_namespace="shop",application="shop"}}': values}


def prometheus(up: str, watches: str) -> dict[str, str]:
    return {f"watcher_prometheus_up{{{ONE}}}": up, f"watcher_watches{{{ONE}}}": watches}


def channel(failed: str, delivered: str) -> dict[str, str]:
    about = f'{ONE},channel="team-chat"'
    values = {"failed": failed, "delivered": delivered}
    return {f'watcher_notifications_total{{{about},outcome="{name}"}}': value for name, value in values.items()}


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
    Case("in time", "BluegreenWatcherBehind", behind("0x20"), 10, False),
    Case("in time again", "BluegreenWatcherBehind", behind("0 70 0x20"), 3, False),
    Case("far behind", "BluegreenWatcherBehind", behind("0 60 120+60x20"), 10, True),
    Case("prometheus answers", "BluegreenWatcherPrometheusUnreachable", prometheus("1x20", "2x20"), 10, False),
    Case("prometheus is away", "BluegreenWatcherPrometheusUnreachable", prometheus("0x20", "2x20"), 10, True),
    Case("away, and nobody asks", "BluegreenWatcherPrometheusUnreachable", prometheus("0x20", "0x20"), 10, False),
    Case(
        "away, and the one that watches is another replica, which reaches it",
        "BluegreenWatcherPrometheusUnreachable",
        {f"watcher_prometheus_up{{{ONE}}}": "0x20", f"watcher_watches{{{TWO}}}": "2x20"},
        10,
        False,
    ),
    Case(
        "one failure", "BluegreenWatcherLeaseFailing", {f"watcher_lease_failures_total{{{ONE}}}": "0x5 1x20"}, 8, False
    ),
    Case(
        "again and again",
        "BluegreenWatcherLeaseFailing",
        {f"watcher_lease_failures_total{{{ONE}}}": "0+2x20"},
        10,
        True,
    ),
    Case("usable", "BluegreenWatcherCertificateRefused", {f"watcher_certificate_valid{{{ONE}}}": "1x20"}, 10, False),
    Case(
        "just changed",
        "BluegreenWatcherCertificateRefused",
        {f"watcher_certificate_valid{{{ONE}}}": "1x5 0x3 1x20"},
        9,
        False,
    ),
    Case("unusable", "BluegreenWatcherCertificateRefused", {f"watcher_certificate_valid{{{ONE}}}": "0x20"}, 10, True),
    Case("it takes them", "BluegreenWatcherNotificationsFailing", channel("0x40", "0+1x40"), 20, False),
    Case("it takes nothing", "BluegreenWatcherNotificationsFailing", channel("0+1x40", "0x40"), 20, True),
    Case("it takes some", "BluegreenWatcherNotificationsFailing", channel("0+1x40", "0x15 1x25"), 20, False),
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


def test_the_figures_of_delivery_are_those_of_two_replicas_and_a_restart(rule_file: Path, tmp_path: Path) -> None:
    """One replica leads for two days and is replaced; the other one goes on, and restarts once."""
    shop = 'application_namespace="shop",application="shop"'
    one, two = f"{ONE},{shop}", f"{TWO},{shop}"
    series = {
        f"watcher_deployments_total{{{one}}}": "0x23 4x23 _x120",
        f"watcher_deployments_total{{{two}}}": "0x71 3x24 0x24 1x48",
        f"watcher_deployment_failures_total{{{one}}}": "0x23 1x23 _x120",
        f"watcher_deployment_failures_total{{{two}}}": "0x71 1x24 0x72",
    }
    for le in ("60.0", "300.0", "+Inf"):
        for name in ("lead_time", "restore", "rollback"):
            values = "0x168" if le == "60.0" else "0x71 2x97"
            series[f'watcher_{name}_seconds_bucket{{{two},le="{le}"}}'] = values
    labels = f"{{{shop}}}"
    wanted = {
        "application:watcher_deployments:per_day7d": 8 / 7,
        "application:watcher_change_failures:ratio7d": 2 / 8,
        "application:watcher_lead_time_seconds:p50_7d": 180,
        "application:watcher_restore_seconds:p50_7d": 180,
        "application:watcher_rollback_seconds:p90_7d": 276,
    }
    assert set(wanted) == set(RECORDS)
    expressions = [
        {
            # The window's two ends are not samples: what increase adds for them is no more than a fortieth.
            "expr": f"round({record}{{}}, {abs(value) / 20})",
            "eval_time": "7d",
            "exp_samples": [{"labels": labels, "value": value}],
        }
        for record, value in wanted.items()
    ]
    test = {
        "interval": "1h",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": expressions,
    }
    file = tmp_path / "tests.json"
    file.write_text(json.dumps({"rule_files": [str(rule_file)], "evaluation_interval": "1h", "tests": [test]}), "utf-8")

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


@pytest.mark.parametrize("rule", [rule for rule in RULES if "alert" in rule], ids=ALERTS)
def test_each_alert_says_what_is_wrong_and_what_to_look_at(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert all(annotations[key].endswith(".") for key in ("summary", "description"))
    file, _, anchor = annotations["runbook_url"].partition("#")
    headings = re.findall(r"^## (.+)$", (ROOT / file).read_text("utf-8"), re.MULTILINE)
    assert rule["alert"] in headings
    assert anchor == rule["alert"].lower(), "as code hosts make it"


def test_the_runbook_has_the_alerts_in_their_order_and_nothing_else() -> None:
    text = (ROOT / "docs/runbook.md").read_text("utf-8")

    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ALERTS


def test_the_rule_file_for_a_prometheus_without_the_operator_is_the_same() -> None:
    assert manifest("rules.yaml") == manifest("prometheus-rule.yaml")["spec"]


def test_the_figures_of_delivery_are_documented_as_they_are_recorded() -> None:
    text = (ROOT / "docs/metrics.md").read_text("utf-8")
    (block,) = re.findall(r"```promql\n(.*?)```", text, re.DOTALL)

    assert re.findall(r"`(application:\S+)` \|$", text, re.MULTILINE) == list(RECORDS)
    assert [expr.strip() for expr in block.split("\n\n")] == [expr.strip() for expr in RECORDS.values()]


def test_the_monitor_scrapes_the_port_of_the_service() -> None:
    service, monitor = only(WHOLE_CLUSTER, "Service"), manifest("service-monitor.yaml")["spec"]
    (endpoint,) = monitor["endpoints"]

    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"
