"""What other programs post is read as alerts, as the examples in the documents say; and signatures hold or do not."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.core.test_hearing import watched
from watcher.core.alerts import Mapped, Report
from watcher.core.hearing import hear
from watcher.core.receivers import Receiver, Signature, at, text, when
from watcher.core.settings import Settings

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 23, 14, 3, 0, tzinfo=UTC)
KEY = "0123456789abcdef"


def receiver(example: str, /, **changes: Any) -> Receiver:
    """That of the documents."""
    given = YAML(typ="safe", pure=True).load((ROOT / f"docs/receivers/{example}.yaml").read_text("utf-8"))
    given["receivers"][0] |= changes
    return Settings.model_validate_json(json.dumps(given)).receivers[0]


def payload(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / f"tests/support/payloads/{name}.json").read_text("utf-8"))
    return found


def read(name: str, body: Any = None, **changes: Any) -> Report:
    found = receiver(name, **changes).read(payload(name) if body is None else body)
    assert isinstance(found, Report), found
    return found


def test_what_grafana_posts_is_read_alert_by_alert() -> None:
    found = read("grafana")
    firing, resolved = found.alerts
    assert (firing.status, firing.name, firing.summary) == ("firing", "High latency", "p99 is 2.4 s")
    assert firing.labels["severity"] == "critical"
    assert firing.labels["app"] == "chatbot-platform"
    assert firing.labels["receiver"] == "grafana"
    assert firing.began == datetime(2026, 11, 23, 14, 2, 51, 482000, tzinfo=UTC)
    assert firing.known_by == "grafana/c6eadffa33fcdf37"
    assert (resolved.status, resolved.labels.get("folder")) == ("resolved", None)
    assert found.left_out == 2
    assert found.group
    assert found.group != read("grafana", payload("grafana") | {"groupKey": "another"}).group
    assert read("grafana", payload("grafana") | {"truncatedAlerts": "many", "groupKey": None}).left_out == 0


def test_what_datadog_posts_is_read_as_its_payload_says() -> None:
    (alert,) = read("datadog").alerts
    assert isinstance(alert, Mapped)
    assert (alert.status, alert.application, alert.labels["severity"]) == ("firing", "chatbot-platform", "P1")
    assert alert.began == datetime.fromtimestamp(1795442571, UTC)
    (over,) = read("datadog", payload("datadog") | {"transition": "Recovered"}).alerts
    assert (over.status, over.known_by) == ("resolved", alert.known_by)
    assert not read("datadog", payload("datadog") | {"transition": "Re-Triggered"}).alerts


def test_what_github_posts_of_a_deployment_status_is_read() -> None:
    (alert,) = read("github").alerts
    assert isinstance(alert, Mapped)
    assert (alert.name, alert.labels["severity"], alert.application) == (
        "DeploymentFailed",
        "critical",
        "chatbot-platform",
    )
    assert alert.summary == "End-to-end tests failed: 3 of 41"
    assert not read("github", {"zen": "Keep it logically awesome.", "hook_id": 1}).alerts, "a ping"
    pending = payload("github")
    pending["deployment_status"]["state"] = "in_progress"
    assert not read("github", pending).alerts


def test_what_is_resolved_later_ends_what_fired_though_each_has_its_own_time() -> None:
    release = watched()
    switched = release.status.switched_at
    assert switched

    def posted(state: str, after: float) -> dict[str, Any]:
        body = payload("github")
        body["repository"]["name"] = release.spec.application
        body["deployment_status"] |= {"state": state, "created_at": (switched + timedelta(seconds=after)).isoformat()}
        return body

    for state, after, kept in (("failure", 5, "firing"), ("success", 9, "resolved"), ("failure", 5, "resolved")):
        report = read("github", posted(state, after), labels={"app": {"value": "chatbot"}})
        status, _ = hear(release, report, "github", NOW)
        release = release.model_copy(update={"status": status})
        assert [one.state for one in status.alerts] == [kept]
    report = read("github", posted("failure", 8), labels={"app": {"value": "chatbot"}})
    replayed, _ = hear(release, report, "github", NOW)
    assert replayed == release.status, "what began before it was over is over"


def test_what_is_missing_is_named_and_nothing_is_guessed() -> None:
    body = payload("grafana")
    del body["alerts"][0]["startsAt"], body["alerts"][1]["fingerprint"]
    assert receiver("grafana").read(body) == [
        "startsAt is missing or not understood in alert 0",
        "identity is missing or not understood in alert 1",
    ]
    assert receiver("grafana").read({"alerts": {}}) == ["alerts is no list"]


@pytest.mark.parametrize(
    ("path", "found"),
    [("a.b", 1), ("a.x", None), ("l.1.c", "d"), ("l.7.c", None), ("l.x", None), ("a.b.c", None), ("n", None)],
)
def test_a_path_leads_through_objects_and_lists(path: str, found: object) -> None:
    assert at({"a": {"b": 1}, "l": [0, {"c": "d"}], "n": None}, path) == found


def test_only_a_single_value_is_a_text() -> None:
    given: tuple[object, ...] = ("a", 1, 2.5, True, None, [], {})
    assert [text(one) for one in given] == ["a", "1", "2.5", "true", "", "", ""]


@pytest.mark.parametrize("said", [1795442571, "1795442571", 1795442571000, "1795442571000", "2026-11-23T14:02:51Z"])
def test_a_time_is_a_text_or_a_number(said: object) -> None:
    assert when(said) == datetime(2026, 11, 23, 14, 2, 51, tzinfo=UTC)


@pytest.mark.parametrize("said", ["", None, "2026-11-23T14:02:51", "soon", "nan", "1e300", float("inf"), []])
def test_what_is_no_time_is_none(said: object) -> None:
    assert when(said) is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "alertmanager"}, "there already"),
        ({"group": None}, "leftOut says nothing"),
        ({"startsAt": "a..b"}, "no path"),
        ({"state": {"path": "a", "firing": []}}, "at least 1"),
    ],
)
def test_a_receiver_that_cannot_work_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        receiver("grafana", **changes)


def test_two_receivers_of_one_name_are_refused() -> None:
    one = json.loads(receiver("github").model_dump_json(exclude_none=True))
    with pytest.raises(ValueError, match="two receivers are named github"):
        Settings.model_validate_json(json.dumps({"receivers": [one, one]}))


def signed(body: bytes, key: str = KEY, prefix: str = "sha256=") -> str:
    return prefix + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


def holds(signature: Signature, headers: dict[str, str], body: bytes = b"{}", secrets: str = KEY) -> bool:
    return signature.holds(headers, body, [secrets], NOW)


def test_a_signature_holds_for_the_body_that_was_signed_and_no_other() -> None:
    signature = receiver("github").signature
    assert signature
    good = {"x-hub-signature-256": signed(b"{}")}
    assert holds(signature, good)
    assert holds(signature, good, secrets=f"another-0123456789\n{KEY}\n"), "one of two, while it is changed"
    assert not holds(signature, good, b'{"a": 1}')
    assert not holds(signature, {})
    assert not holds(signature, {"x-hub-signature-256": signed(b"{}", "another-0123456789")})
    assert not holds(signature, {"x-hub-signature-256": signed(b"{}", prefix="")})
    assert not holds(signature, {"x-hub-signature-256": "sha256=\u00e9"})
    assert not holds(signature, {"x-hub-signature-256": signed(b"{}", "short")}, secrets="short")
    assert not holds(signature, {"x-hub-signature-256": signed(b"{}", "")}, secrets="")


@pytest.mark.parametrize(("ago", "good"), [(0, True), (299, True), (301, False), (-301, False)])
def test_a_signature_with_a_time_holds_only_for_some_minutes(ago: int, good: bool) -> None:
    signature = receiver("grafana").signature
    assert signature
    at_ = str(int(NOW.timestamp()) - ago)
    headers = {"x-grafana-alerting-timestamp": at_}
    headers["x-grafana-alerting-signature"] = signed(f"{at_}:{{}}".encode(), prefix="")
    assert holds(signature, headers) is good
    later = headers | {"x-grafana-alerting-timestamp": str(int(NOW.timestamp()) - 1)}
    assert not holds(signature, later), "the time is signed too"
    assert not holds(signature, headers | {"x-grafana-alerting-timestamp": "now"})
    assert not holds(signature, {"x-grafana-alerting-signature": signed(b"{}", prefix="")})
