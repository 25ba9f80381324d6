"""What an Alertmanager posts acts on the Release that is watched, once, and only if it began after the flip."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.api.conftest import READER, RELEASER, Site, entry, opened, problem
from tests.support.acting import until
from tests.support.api import CRDS
from tests.support.certificates import certificate
from watcher.adapters.children import spawn
from watcher.adapters.errors import Conflict
from watcher.core.alerts import AlertUse
from watcher.core.release import Flip, Phase, Pinned, Release, Status
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE

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


def watching(site: Site, phase: Phase = Phase.WATCHING, **status: Any) -> str:
    """A Release that was switched a moment ago."""
    name: str = site.create().json()["name"]
    become(site, name, phase, **({"switched_at": datetime.now(UTC) - timedelta(seconds=10)} | status))
    return name


def become(site: Site, name: str, phase: Phase, **status: Any) -> None:
    """A status as a leader elsewhere has written it."""
    app = site.daemon.config.applications[NAMESPACE, APPLICATION]
    site.hands.write_status(now(site, name), Status(phase=phase, pinned=Pinned(application=app), **status))


def heard(site: Site, name: str) -> list[tuple[str, str, str]]:
    return [(one.name, one.action, one.state) for one in now(site, name).status.alerts]


def now(site: Site, name: str) -> Release:
    found = site.hands.read_release(NAMESPACE, name)
    assert found is not None
    return found


def sent(severity: str = "critical", ago: float = 5, status: str = "firing", fingerprint: str = "1") -> dict[str, Any]:
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=ago)
    labels = {"alertname": "ErrorsHigh", "severity": severity, "app": "chatbot"}
    notes = {"summary": "Too many errors"}
    return {
        "status": status,
        "labels": labels,
        "annotations": notes,
        "startsAt": began.isoformat(),
        "fingerprint": fingerprint,
    }


def post(site: Site, *alerts: dict[str, Any], token: str = RECEIVER, truncated: int = 0) -> requests.Response:
    body = {"version": "4", "truncatedAlerts": truncated, "alerts": list(alerts)}
    return site.ask("POST", HOOK, token, body)


def test_an_alert_is_on_the_release_once_it_is_acknowledged_however_often_it_comes(watched: Site) -> None:
    name, alert = watching(watched), sent()
    answer = post(watched, alert)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"acted": [f"{name}: firing ErrorsHigh: rollback"], "ignored": 0, "incomplete": 0}
    first = now(watched, name)
    assert heard(watched, name) == [("ErrorsHigh", "rollback", "firing")]
    assert first.status.alerts[0].by == "alerts"
    assert first.spec.rollback is None, "what follows is the leader's to decide"
    shown = watched.ask("GET", f"/api/v1/releases/{NAMESPACE}/{name}", READER).json()
    assert shown["status"]["alerts"][0]["summary"] == "Too many errors"

    assert post(watched, alert).json() == {"acted": [], "ignored": 1, "incomplete": 0}
    assert now(watched, name).resource_version == first.resource_version


def test_the_end_of_an_alert_is_kept_too(watched: Site) -> None:
    name = watching(watched)
    one, two = sent("warning"), sent("warning", fingerprint="2")
    post(watched, one, two)
    post(watched, one | {"status": "resolved"})
    assert heard(watched, name) == [("ErrorsHigh", "hold", "resolved"), ("ErrorsHigh", "hold", "firing")]


def test_what_an_application_means_is_what_it_meant_when_the_release_began(watched: Site) -> None:
    name = watching(watched)
    release = now(watched, name)
    assert release.status.pinned
    spec = release.status.pinned.application.spec
    uses = [AlertUse(match={"severity": "info"}, action="notify")]
    app = release.status.pinned.application.model_copy(update={"spec": spec.model_copy(update={"alerts": uses})})
    status = release.status.model_copy(update={"pinned": Pinned(application=app)})
    watched.hands.write_status(release, status)
    until(lambda: _pins(watched, name, uses), "the daemon to see it", 20)
    assert post(watched, sent(), sent("info", fingerprint="2")).json()["ignored"] == 1
    assert heard(watched, name) == [("ErrorsHigh", "notify", "firing")]


def _pins(site: Site, name: str, uses: list[AlertUse]) -> bool:
    found = site.daemon.cached(NAMESPACE, name)
    return bool(found and found.status.pinned and found.status.pinned.application.spec.alerts == uses)


def test_a_write_of_somebody_else_meanwhile_loses_nothing(watched: Site) -> None:
    """The leader writes the status all the time that alerts come."""
    name = watching(watched)
    answers: list[int] = []

    def send(index: int) -> None:
        answers.append(post(watched, sent("warning", fingerprint=str(index))).status_code)

    threads = [threading.Thread(target=send, args=(index,)) for index in range(20)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        release = now(watched, name)
        with contextlib.suppress(Conflict):
            watched.hands.write_status(release, release.status.model_copy(update={"message": f"{time.monotonic()}"}))
    for thread in threads:
        thread.join()
    kept = {one.fingerprint for one in now(watched, name).status.alerts}
    assert len(kept) == answers.count(200)
    assert set(answers) <= {200, 503}
    assert answers.count(200) > 0


def test_what_cannot_be_written_is_not_acknowledged(tmp_path: Path) -> None:
    tokens = [entry(tmp_path, "alerts", RECEIVER, "receiver"), entry(tmp_path, "ci", RELEASER, "releaser")]
    with opened(tmp_path, {"tokens": tokens}, alerts=USES) as site:
        watching(site)
        site.connection.delete(f"{CRDS}/releases.watcher.bluegreen.dev")
        problem(post(site, sent()), 503)
        assert post(site, sent("nothing that is meant")).status_code == 200


def test_what_does_not_count_changes_nothing(watched: Site) -> None:
    """What began before the flip, is not meant, has ended, or does not say when it began."""
    name = watching(watched)
    before = now(watched, name).resource_version
    unclear = [sent() | {"labels": {}}, sent() | {"startsAt": "never"}]
    for alert in (sent(ago=60), sent("info"), sent(status="resolved"), *unclear):
        assert post(watched, alert).json() == {"acted": [], "ignored": 1, "incomplete": 0}
    assert now(watched, name).resource_version == before


def test_before_the_flip_nothing_counts_and_during_it_what_began_since_is_kept(watched: Site) -> None:
    name = watching(watched, Phase.TESTING)
    assert post(watched, sent()).json()["ignored"] == 1
    become(watched, name, Phase.SWITCHING)
    assert post(watched, sent()).json()["ignored"] == 1
    asked = datetime.now(UTC) - timedelta(seconds=8)
    become(watched, name, Phase.SWITCHING, intent=Flip(index=1, from_="blue", to="green", reason="switch", at=asked))
    assert len(post(watched, sent(), sent(ago=9, fingerprint="2")).json()["acted"]) == 1


def test_a_notice_that_leaves_alerts_out_is_kept_as_incomplete_until_a_whole_one_comes(watched: Site) -> None:
    name = watching(watched)
    assert post(watched, truncated=3).json()["incomplete"] == 3
    assert [one.left_out for one in now(watched, name).status.incomplete_alerts] == [3]
    post(watched, sent("info"))
    assert not now(watched, name).status.incomplete_alerts


def test_alerts_that_are_too_much_at_once_are_to_be_sent_again(watched: Site) -> None:
    name = watching(watched)
    head = f"POST {HOOK} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {RECEIVER}\r\nContent-Type: application/json\r\n"
    with contextlib.ExitStack() as stack:

        def full() -> bool:
            """Whether there is no room beside one more that sends slowly; one that came beside a post found none."""
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", watched.server.port), 20))
            slow.sendall(f"{head}Content-Length: {4 * 1024 * 1024}\r\n\r\n{{".encode())
            return post(watched, sent("nothing that is meant")).status_code == 503

        until(full, "it to be too much", 10)
        assert "Retry-After" in post(watched, sent()).headers
    until(lambda: post(watched, sent()).status_code == 200, "room again", 20)
    assert heard(watched, name)


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
            until(lambda: now(site, name).status.alerts, "the alert to arrive", 60)
        finally:
            for process in processes:
                ended(process)
        (alert,) = now(site, name).status.alerts
        assert (alert.by, alert.name, alert.action) == ("alerts", "AlwaysHigh", "rollback")


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
