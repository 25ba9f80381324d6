"""What an Alertmanager posts acts on the Release that is watched, once, and only if it began after the flip."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.api.conftest import READER, RELEASER, Site, entry, opened, problem
from tests.support.acting import until
from tests.support.certificates import certificate
from watcher.adapters.children import spawn
from watcher.adapters.kubernetes import paths
from watcher.core.release import Phase, Release, Status
from watcher.demo.platform.manifests import NAMESPACE

RECEIVER = "receiver-0123456789abcdef"
HOOK = "/webhooks/alertmanager"
USES = [
    {"match": {"severity": "critical", "app": '=~"chat.*"'}, "action": "rollback"},
    {"match": {"severity": "warning"}, "action": "hold"},
]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Site]:
    """A site whose Application means some alerts; the caller `alerts` may post them."""
    tokens = [entry(tmp_path, "alerts", RECEIVER, "receiver"), entry(tmp_path, "ci", RELEASER, "releaser")]
    tokens += [entry(tmp_path, "screen", READER, "reader")]
    with opened(tmp_path, {"tokens": tokens}, alerts=USES) as site:
        yield site


def watching(site: Site, phase: Phase = Phase.WATCHING) -> str:
    """A Release that was switched a moment ago."""
    name: str = site.create().json()["name"]
    release = now(site, name)
    switched = datetime.now(UTC) - timedelta(seconds=10)
    site.hands.write_status(release, Status(phase=phase, switched_at=switched))
    return name


def now(site: Site, name: str) -> Release:
    found = site.hands.read_release(NAMESPACE, name)
    assert found is not None
    return found


def sent(severity: str = "critical", ago: float = 5, status: str = "firing", fingerprint: str = "1") -> dict[str, Any]:
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=ago)
    labels = {"alertname": "ErrorsHigh", "severity": severity, "app": "chatbot"}
    return {"status": status, "labels": labels, "startsAt": began.isoformat(), "fingerprint": fingerprint}


def post(site: Site, *alerts: dict[str, Any], token: str = RECEIVER, truncated: int = 0) -> requests.Response:
    body = {"version": "4", "truncatedAlerts": truncated, "alerts": list(alerts)}
    return site.ask("POST", HOOK, token, body)


def test_a_critical_alert_sends_traffic_back_once_however_often_it_comes(watched: Site) -> None:
    name, alert = watching(watched), sent()
    answer = post(watched, alert)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["acted"]) == 1
    first = now(watched, name)
    assert first.spec.rollback is not None
    assert first.spec.rollback.by == "alerts"
    assert "ErrorsHigh" in first.spec.rollback.reason

    assert post(watched, alert).json() == {"acted": [], "ignored": 1, "incomplete": 0}
    assert post(watched, alert | {"status": "resolved"}).json()["acted"] == []
    assert now(watched, name).resource_version == first.resource_version, "its end takes nothing back"


def test_a_hold_ends_with_the_last_alert_that_holds(watched: Site) -> None:
    name = watching(watched)
    one, two = sent("warning"), sent("warning", fingerprint="2")
    post(watched, one, two)
    assert now(watched, name).spec.paused is not None
    post(watched, one | {"status": "resolved"})
    assert now(watched, name).spec.paused is not None
    post(watched, two | {"status": "resolved"})
    assert now(watched, name).spec.paused is None


def test_a_persons_pause_is_not_ended_by_an_alert(watched: Site) -> None:
    name = watching(watched)
    watched.ask("POST", f"/api/v1/releases/{NAMESPACE}/{name}/pause", RELEASER, {"reason": "mine"})
    alert = sent("warning")
    post(watched, alert)
    post(watched, alert | {"status": "resolved"})
    paused = now(watched, name).spec.paused
    assert paused is not None
    assert paused.by == "ci"


def test_what_does_not_count_changes_nothing(watched: Site) -> None:
    """What began before the flip, is not meant, has ended, or does not say when it began."""
    name = watching(watched)
    before = now(watched, name).resource_version
    unclear = [sent() | {"labels": {}}, sent() | {"startsAt": "never"}]
    for alert in (sent(ago=60), sent("info"), sent(status="resolved"), *unclear):
        assert post(watched, alert).json() == {"acted": [], "ignored": 1, "incomplete": 0}
    assert now(watched, name).resource_version == before


def test_before_the_flip_nothing_counts_and_during_it_the_alert_has_to_come_again(watched: Site) -> None:
    name = watching(watched, Phase.TESTING)
    assert post(watched, sent()).json()["ignored"] == 1
    watched.hands.write_status(now(watched, name), Status(phase=Phase.SWITCHING))
    problem(post(watched, sent()), 503)
    watched.hands.write_status(
        now(watched, name), Status(phase=Phase.VERIFYING, switched_at=datetime.now(UTC) - timedelta(seconds=10))
    )
    assert len(post(watched, sent()).json()["acted"]) == 1


def test_a_notice_that_leaves_alerts_out_says_so_on_the_release(watched: Site) -> None:
    name = watching(watched)
    assert post(watched, truncated=3).json()["incomplete"] == 3
    events = watched.connection.get(paths.events(NAMESPACE))["items"]
    assert [
        one["message"] for one in events if one["involvedObject"]["name"] == name and "left out 3" in one["message"]
    ]


def test_only_a_receiver_may_post_and_it_may_do_nothing_else(watched: Site) -> None:
    watching(watched)
    problem(post(watched, sent(), token=""), 401)
    problem(post(watched, sent(), token=READER), 403)
    problem(post(watched, sent(), token=RELEASER), 403)
    problem(watched.create(RECEIVER), 403)
    assert watched.ask("GET", "/api/v1/releases", RECEIVER).json() == {"items": []}
    problem(watched.ask("POST", HOOK, RECEIVER, {"version": "3", "alerts": []}), 422)


def test_a_real_alertmanager_posts_by_tls_with_a_token_and_a_real_prometheus_rule(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    tokens = [entry(tmp_path, "alerts", RECEIVER, "receiver"), entry(tmp_path, "ci", RELEASER, "releaser")]
    http = {"certFile": str(cert), "keyFile": str(key)}
    with opened(tmp_path, {"tokens": tokens}, http=http, alerts=USES) as site:
        name = watching(site)
        manager, server = free(), free()
        hook = {
            "url": site.url + HOOK,
            "http_config": {
                "authorization": {"credentials_file": str(tmp_path / "alerts.token")},
                "tls_config": {"ca_file": str(cert)},
            },
        }
        route = {"receiver": "watcher", "group_wait": "0s", "group_interval": "1s"}
        written(tmp_path / "am.yml", {"route": route, "receivers": [{"name": "watcher", "webhook_configs": [hook]}]})
        labels = {"severity": "critical", "app": "chatbot"}
        rule = {"alert": "AlwaysHigh", "expr": "vector(1)", "labels": labels}
        written(tmp_path / "rules.yml", {"groups": [{"name": "g", "interval": "1s", "rules": [rule]}]})
        told = {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{manager}"]}]}]}
        written(tmp_path / "p.yml", {"rule_files": [str(tmp_path / "rules.yml")], "alerting": told})
        processes = [
            spawn(
                [
                    command_of("prometheus-alertmanager"),
                    f"--config.file={tmp_path}/am.yml",
                    f"--storage.path={tmp_path}/am",
                    f"--web.listen-address=127.0.0.1:{manager}",
                    "--cluster.listen-address=",
                ],
                tmp_path / "am.log",
            ),
            spawn(
                [
                    command_of("prometheus"),
                    f"--config.file={tmp_path}/p.yml",
                    f"--storage.tsdb.path={tmp_path}/tsdb",
                    f"--web.listen-address=127.0.0.1:{server}",
                    # What it sends before it has found the Alertmanager is dropped.
                    "--rules.alert.resend-delay=1s",
                ],
                tmp_path / "p.log",
            ),
        ]
        try:
            until(lambda: now(site, name).spec.rollback, "the alert to send traffic back", 60)
        finally:
            for process in processes:
                ended(process)
        command = now(site, name).spec.rollback
        assert command is not None
        assert (command.by, "AlwaysHigh" in command.reason) == ("alerts", True)


def command_of(name: str) -> str:
    found = shutil.which(name)
    assert found, f"needs the Debian package {name}"
    return found


def ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)


def written(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content), "utf-8")


def free() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
