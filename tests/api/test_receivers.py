"""Webhooks of other programs: each is read as its receiver says, and lets in who has a token or has signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from tests.api.conftest import RELEASER, Site, entry, opened, problem
from tests.api.test_alerts import RECEIVER, become, heard, now, watching
from tests.core.test_receivers import payload, receiver
from watcher.core.release import Phase
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE

USES = [{"match": {"receiver": "=~.+", "severity": "=~critical|P1"}, "action": "rollback"}]
KEY = "signing-key-0123456789"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site with the receivers of the documents. Grafana and GitHub sign; Datadog has a token."""
    secret = tmp_path / "hmac"
    secret.write_text(KEY, "utf-8")
    scope = {"secretFile": str(secret), "applications": [f"{NAMESPACE}/*"]}
    receivers = []
    for name in ("grafana", "datadog", "github"):
        found = json.loads(receiver(name).model_dump_json(exclude_none=True))
        if "signature" in found:
            found["signature"] |= scope
        receivers.append(found)
    tokens = [entry(tmp_path, "alerts", RECEIVER, "receiver"), entry(tmp_path, "ci", RELEASER, "releaser")]
    with opened(tmp_path, {"tokens": tokens}, settings={"receivers": receivers}, alerts=USES) as found:
        yield found


def began(seconds_ago: float = 5) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds_ago)


def github(at: datetime) -> bytes:
    body = payload("github")
    body["deployment_status"]["created_at"] = at.isoformat()
    return json.dumps(body).encode()


def grafana(at: datetime) -> bytes:
    body = payload("grafana")
    for alert in body["alerts"]:
        alert["startsAt"] = at.isoformat()
    return json.dumps(body).encode()


def signature(body: bytes, key: str = KEY) -> str:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


def hub(body: bytes, key: str = KEY) -> dict[str, str]:
    return {"X-Hub-Signature-256": f"sha256={signature(body, key)}", "X-GitHub-Delivery": "72d3162e"}


def stamped(body: bytes, at: float | None = None) -> dict[str, str]:
    said = str(int(at or time.time()))
    signed = signature(f"{said}:".encode() + body)
    return {"X-Grafana-Alerting-Timestamp": said, "X-Grafana-Alerting-Signature": signed}


def post(site: Site, name: str, body: bytes, headers: Mapping[str, str]) -> requests.Response:
    told = {"Content-Type": "application/json"} | dict(headers)
    return requests.post(f"{site.url}/webhooks/{name}", data=body, headers=told, timeout=20)


def test_a_signed_deployment_status_is_kept_and_the_same_again_changes_nothing(site: Site) -> None:
    name, body = watching(site), github(began())
    answer = post(site, "github", body, hub(body))
    assert answer.json() == {"acted": [f"{name}: firing DeploymentFailed: rollback"], "ignored": 0, "incomplete": 0}
    (alert,) = now(site, name).status.alerts
    assert (alert.by, alert.action, alert.summary) == ("github", "rollback", "End-to-end tests failed: 3 of 41")
    before = now(site, name).resource_version
    assert post(site, "github", body, hub(body)).json()["acted"] == []
    assert now(site, name).resource_version == before


def test_what_was_signed_for_an_earlier_release_does_nothing_to_a_later_one(site: Site) -> None:
    first, body = watching(site), github(began())
    post(site, "github", body, hub(body))
    assert heard(site, first)
    become(site, first, Phase.ROLLED_BACK, switched_at=began(10), ended_at=began(0))
    later = watching(site, switched_at=began(1))
    assert post(site, "github", body, hub(body)).json()["ignored"] == 1
    assert not heard(site, later)


def test_grafana_signs_with_a_time_and_what_is_old_is_refused(site: Site) -> None:
    name, body = watching(site), grafana(began())
    old = stamped(body, time.time() - 600)
    problem(post(site, "grafana", body, old), 401)
    problem(post(site, "grafana", body, old | {"X-Grafana-Alerting-Timestamp": str(int(time.time()))}), 401)
    assert not heard(site, name)
    answer = post(site, "grafana", body, stamped(body))
    assert answer.json()["acted"] == [f"{name}: firing High latency: rollback"]
    assert now(site, name).status.incomplete_alerts[0].left_out == 2


def test_datadog_has_a_token(site: Site) -> None:
    name = watching(site)
    body = json.dumps(payload("datadog") | {"date": str(int(began().timestamp() * 1000))}).encode()
    problem(post(site, "datadog", body, {}), 401)
    problem(post(site, "datadog", body, hub(body)), 401)
    problem(post(site, "datadog", body, {"Authorization": f"Bearer {RELEASER}"}), 403)
    assert not heard(site, name)
    assert post(site, "datadog", body, {"Authorization": f"Bearer {RECEIVER}"}).json()["acted"]
    (alert,) = now(site, name).status.alerts
    assert alert.name == "[Triggered on {service:chat}] Too many 5xx"
    assert alert.code == "alert/Triggered-on-service:chat-Too-many-5xx"


def test_whoever_has_not_signed_what_is_posted_is_refused(site: Site) -> None:
    name, body = watching(site), github(began())
    wrong: list[dict[str, str]] = [
        {},
        hub(body, "another-key-0123456789"),
        hub(body + b" "),
        {"X-Hub-Signature-256": signature(body)},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature": f"sha1={hmac.new(KEY.encode(), body, hashlib.sha1).hexdigest()}"},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": "Bearer wrong"} | hub(body),
    ]
    for headers in wrong:
        detail = problem(post(site, "github", body, headers), 401)
        assert KEY not in detail
    assert not heard(site, name)


def test_a_signature_counts_for_its_own_applications_alone(tmp_path: Path) -> None:
    secret = tmp_path / "hmac"
    secret.write_text(KEY, "utf-8")
    found = json.loads(receiver("github").model_dump_json(exclude_none=True))
    found["signature"] |= {"secretFile": str(secret), "applications": ["elsewhere/*"]}
    tokens = [entry(tmp_path, "ci", RELEASER, "releaser")]
    with opened(tmp_path, {"tokens": tokens}, settings={"receivers": [found]}, alerts=USES) as site:
        name, body = watching(site), github(began())
        problem(post(site, "github", body, hub(body)), 403)
        assert not heard(site, name)
        secret.unlink()
        problem(post(site, "github", body, hub(body)), 401)


def test_what_a_receiver_does_not_find_is_named(site: Site) -> None:
    watching(site)
    token = {"Authorization": f"Bearer {RECEIVER}"}
    body = json.dumps({"transition": "Triggered", "application": APPLICATION}).encode()
    answer = post(site, "datadog", body, token)
    problem(answer, 422)
    assert "startsAt is missing or not understood in alert 0" in answer.text
    problem(post(site, "datadog", b"[]", token), 422)
    problem(post(site, "datadog", b"{", token), 400)
    problem(post(site, "nobody", b"{}", token), 404)
    problem(post(site, "nobody", b"{}", {}), 401)
