"""Secrets are sent to those that they are meant for, and stand nowhere in what the daemon writes or says."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from ruamel.yaml import YAML

from tests.adapters.conftest import Asked, Server, reply
from tests.packaging.rendered import ROOT
from tests.support.acting import API, ERRORS, GOOD, application, write
from tests.support.certificates import certificate
from watcher.core.release import Phase, Release
from watcher.demo.platform import manifests
from watcher.demo.stage import Stage

NAMESPACE, APPLICATION = manifests.NAMESPACE, manifests.APPLICATION
ECHO = "9.9.9"
"""A version that refuses what a check asks, and says again what it was told."""
PAGES = ("/", "/metrics", "/livez", "/readyz", "/api/v1/openapi.json", "/api/v1/applications", "/api/v1/releases")
OF_APPLICATION = ("", "/rules")
OF_RELEASE = ("", "/wait?timeout=1", "/evaluations")


def random_secret() -> str:
    """Has in it what an address, JSON and a page would each write differently."""
    return f'{secrets.token_urlsafe(18)}/+"&<{secrets.token_urlsafe(6)}'


@dataclass
class Planted:
    """The secrets of one run, by what they are for; and all that was written or said anywhere."""

    values: dict[str, str] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)

    def plant(self, name: str, value: str) -> str:
        self.values[name] = value
        return value

    def saw(self, where: str, text: str) -> None:
        assert text, where
        self.found[where] = text

    def leaks(self) -> list[str]:
        return [
            f"{name} ({what}) in {where}"
            for name, value in self.values.items()
            for what, form in forms(value)
            for where, text in self.found.items()
            if form in text
        ]


def forms(value: str) -> Iterator[tuple[str, str]]:
    """The value as whoever is careless would write it."""
    yield "as it is", value
    yield "percent-encoded", quote(value, safe="")
    yield "percent-encoded with slashes", quote(value)
    yield "in JSON", json.dumps(value)[1:-1]
    yield "its plain beginning", value.partition("/+")[0]
    for shift in range(3):
        raw = base64.b64encode(b"x" * shift + value.encode()).decode()
        yield f"in base64 ({shift})", raw[-(-shift * 8 // 6) : (shift + len(value.encode())) * 8 // 6]


def everything_in(stage: Stage, planted: Planted) -> None:
    """Every object of the cluster, of every kind that it serves."""
    groups = [f"/apis/{one['preferredVersion']['groupVersion']}" for one in stage.connection.get("/apis")["groups"]]
    for base in ("/api/v1", *groups):
        for kind in stage.connection.get(base)["resources"]:
            if "/" not in kind["name"] and "list" in kind["verbs"]:
                planted.saw(f"{base}/{kind['name']}", json.dumps(stage.connection.get(f"{base}/{kind['name']}")))


def everything_said(url: str, authority: Path, token: str, names: list[str], planted: Planted) -> None:
    """Every page and answer of the daemon, with what it streams."""
    paths = [*PAGES, *(f"/api/v1/applications/{NAMESPACE}/{APPLICATION}{what}" for what in OF_APPLICATION)]
    paths += [f"/api/v1/releases/{NAMESPACE}/{name}{what}" for name in names for what in OF_RELEASE]
    given = {"Authorization": f"Bearer {token}"}
    for path in paths:
        answer = requests.get(f"{url}{path}", headers=given, verify=str(authority), timeout=30)
        planted.saw(path, f"{answer.status_code} {answer.headers} {answer.text}")
    for name in names:
        path = f"/api/v1/releases/{NAMESPACE}/{name}/events"
        answer = requests.get(f"{url}{path}", headers=given, verify=str(authority), timeout=30)  # ends: it has ended
        assert "event:" in answer.text
        planted.saw(path, answer.text)


@dataclass
class World:
    """What is outside of the cluster: a metrics server and receivers, all of which say again what they are told."""

    asked: list[Asked] = field(default_factory=list)

    def script(self, asked: Asked, send: Callable[[bytes], None], _: Any) -> None:
        self.asked.append(asked)
        said = {"path": asked.path, "headers": asked.headers, "body": asked.body.decode("utf-8", "replace")}
        whole = {"status": "error", "errorType": "execution", "error": json.dumps(said), "also": said}
        first = sum(one.path == asked.path for one in self.asked) == 1
        refuses = asked.path.startswith("/prometheus") or (asked.path.startswith("/told") and first)
        send(reply(503 if refuses else 200, whole))

    def at(self, path: str) -> list[Asked]:
        return [one for one in self.asked if one.path.startswith(path)]


def configured(directory: Path, world: str, planted: Planted, tls: tuple[Path, Path]) -> tuple[Path, ...]:
    """Files with a secret at each place that can have one."""
    kept = directory / "kept"
    kept.mkdir()
    for name in ("smoke-header", "smoke-query", "smoke-body", "hook-header", "hook-path", "prometheus-header"):
        (kept / name).write_text(planted.plant(name, random_secret()) + "\n", "utf-8")
    (kept / "hook-url").write_text(f"{world}/hidden/{planted.plant('hook-url', secrets.token_urlsafe(18))}", "utf-8")
    files = {}
    for name in ("caller", "prometheus-token", "told-url"):
        files[name] = directory / f"{name}.txt"
        value = planted.plant(name, secrets.token_urlsafe(24))
        files[name].write_text(f"{world}/told/{value}" if name == "told-url" else f"{value}\n", "utf-8")
    for number, line in enumerate(tls[1].read_text("utf-8").splitlines()[1:-1]):
        planted.plant(f"tls-key-{number}", line)
    smoke = {
        "path": "/echo?key={{ secrets.smoke-query }}",
        "method": "POST",
        "headers": {"Authorization": "Bearer {{ secrets.smoke-header }}", "Content-Type": "application/json"},
        "body": '{"pin": "{{ secrets.smoke-body }}"}',
        "expect": {"status": [404, 405]},
        "every": "200ms",
        "within": "2s",
    }
    before = {
        "url": f"{world}/before/{{{{ secrets.hook-path }}}}",
        "headers": {"X-Api-Key": "{{ secrets.hook-header }}"},
        "expect": {"status": [200]},
    }
    refused = {"url": "{{ secrets.hook-url }}", "body": "again", "expect": {"text": "what nobody says"}}
    settings = {
        "apiVersion": API,
        "kind": "Settings",
        "secrets": {"directory": str(kept)},
        "prometheus": {
            "headers": {"X-Key": "Key {{ secrets.prometheus-header }}"},
            "tokenFile": str(files["prometheus-token"]),
        },
        "http": {"certFile": str(tls[0]), "keyFile": str(tls[1])},
        "api": {
            "tokens": [
                {"name": "pipeline", "file": str(files["caller"]), "roles": ["releaser"], "applications": ["*/*"]}
            ]
        },
        "notifications": [{"name": "team", "urlFile": str(files["told-url"])}],
    }
    return write(
        directory / "config",
        application(
            tests={"smoke": [{"name": "echo", "http": smoke}]},
            hooks={
                "preSwitch": [{"name": "before", "http": before}],
                "postSwitch": [{"name": "hidden", "http": refused}],
                "postRollback": [{"name": "hidden", "http": refused}],
                "onFailure": [{"name": "hidden", "http": refused}],
            },
            watch={"duration": "4s", "interval": "1s", "rules": ["errors"], "mode": "observe"},
        ),
        ERRORS,
        settings,
    )


def ended(release: Release) -> bool:
    return release.phase.terminal


@pytest.fixture
def echoing(tmp_path: Path) -> Path:
    """The images of the platform, and one more."""
    images = YAML(typ="safe", pure=True).load(manifests.IMAGES.read_text("utf-8"))
    command = ["{python}", str(ROOT / "tests/support/echoing.py")]
    (tmp_path / "images.yaml").write_text(json.dumps(images | {f"chat:{ECHO}": {"command": command}}), "utf-8")
    return tmp_path / "images.yaml"


def test_no_secret_stands_anywhere_after_a_whole_life(tmp_path: Path, echoing: Path) -> None:
    """A version that is released, one whose tests fail while it says again what it was told, and a rollback."""
    planted, world = Planted(), World()
    server = Server(world.script)
    url = server.url
    tls = certificate(tmp_path)
    config = configured(tmp_path, url, planted, tls)
    environment = {"WATCHER_LOG_LEVEL": "debug", "WATCHER_PROMETHEUS_URL": f"{url}/prometheus"}
    stage = Stage(config=config, images=echoing, rate=0, prometheus=False, environment=environment)
    with closing(server), stage:
        good = stage.follow(stage.release(GOOD), ended, 120, "the end of the good one")
        assert good.phase is Phase.COMPLETED, good.status.message
        bad = stage.follow(stage.release(ECHO), ended, 120, "the end of the bad one")
        assert (bad.phase, bad.status.reason) == (Phase.FAILED, "TestsFailed"), bad.status.message
        assert "[cut]" in json.dumps(bad.model_dump(mode="json")), "it did say again what it was told"
        daemon, token = stage.page.rstrip("/").replace("http:", "https:"), planted.values["caller"]
        asked = requests.post(
            f"{daemon}/api/v1/applications/{NAMESPACE}/{APPLICATION}/rollback",
            headers={"Authorization": f"Bearer {token}"},
            json={"reason": f"I am {token}"},
            verify=str(tls[0]),
            timeout=30,
        )
        assert asked.status_code == 201, asked.text
        names = [good.name, bad.name, asked.json()["name"]]
        back = stage.follow(good.model_copy(update={"name": names[2]}), ended, 120, "the end of the rollback")
        assert back.phase is Phase.ROLLED_BACK, back.status.message
        stage.wait_for(lambda: len(world.at("/hidden")) >= 3, "the hooks after each end")

        planted.saw("the answer to the command", asked.text)
        everything_said(daemon, tls[0], token, names, planted)
        everything_in(stage, planted)
        (pods,) = [t for p, t in planted.found.items() if p == "/api/v1/pods"]
        logs = "".join(
            stage.connection.text(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}/log")
            for pod in json.loads(pods)["items"]
            if f"chat:{ECHO}" in json.dumps(pod)
        )
        stage.stop_daemon()
        planted.saw("the log", stage.daemon_log.read_text("utf-8"))
        for file in (one for directory in config for one in directory.rglob("*") if one.is_file()):
            planted.saw(str(file), file.read_text("utf-8"))

    planted.saw("what was told", "".join(one.body.decode() for one in world.at("/told")))
    value = planted.values
    tried = [json.loads(line) for line in logs.splitlines() if line.startswith("{")]
    assert {one["headers"]["Authorization"] for one in tried} == {f"Bearer {value['smoke-header']}"}
    assert {json.loads(one["body"])["pin"] for one in tried} == {value["smoke-body"]}
    assert {one["path"] for one in tried} == {f"/echo?key={quote(value['smoke-query'], safe='')}"}
    assert all(one.path.endswith(f"/{quote(value['hook-path'], safe='')}") for one in world.at("/before"))
    assert {one.headers["x-api-key"] for one in world.at("/before")} == {value["hook-header"]}
    assert {one.path for one in world.at("/hidden")} == {f"/hidden/{value['hook-url']}"}
    assert {one.path for one in world.at("/told")} == {f"/told/{value['told-url']}"}
    asked_metrics = {(one.headers["x-key"], one.headers["authorization"]) for one in world.at("/prometheus")}
    assert asked_metrics == {(f"Key {value['prometheus-header']}", f"Bearer {value['prometheus-token']}")}
    assert '"level": "debug"' in planted.found["the log"]
    assert "answered 503" in planted.found["the log"] + planted.found["/apis/watcher.bluegreen.dev/v1alpha1/releases"]
    assert not planted.leaks(), "\n".join(planted.leaks())
