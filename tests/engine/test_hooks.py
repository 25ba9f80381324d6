"""A hook is called once, at its own address, and learns from its body which release calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.adapters.conftest import Asked, reply
from tests.support.acting import NoJobs, until
from tests.support.clock import HandClock
from watcher.core.checks import Hook
from watcher.core.release import Colors, Phase, Release, Spec, Status
from watcher.engine.blind import NoMetrics
from watcher.engine.checks import Checks, Key
from watcher.engine.hooks import introduced
from watcher.engine.probes import probes

A: Key = ("prod", "chat-x7k2p")
RELEASE = Release(
    name="chat-x7k2p",
    namespace="prod",
    uid="u1",
    resource_version="1",
    created_at=datetime(2026, 11, 23, tzinfo=UTC),
    spec=Spec(application="chat", version="2.4.1"),
    status=Status(phase=Phase.VERIFYING, colors=Colors(from_="blue", to="green")),
)


def hook(url: str, **http: Any) -> Hook:
    return Hook.model_validate_json(json.dumps({"http": {"url": url, "timeout": "2s"} | http}))


def called(checks: Checks, id_: str, found: Hook) -> Any:
    assert found.http
    checks.start(A, id_, probes(introduced(found, id_, RELEASE), [found.http.url]))
    until(lambda: not checks.results(A)[id_].running, id_)
    return checks.results(A)[id_]


def test_a_hook_is_sent_the_release_as_json(serve: Callable[..., Any]) -> None:
    server = serve(lambda _, send, __: send(reply(204)))
    checks = Checks(lambda _: None, HandClock(), NoJobs(), NoMetrics())
    try:
        assert called(checks, "postSwitch/flags/hook", hook(f"{server.url}/on")).ok
    finally:
        checks.stop()
    asked: Asked = server.asked[0]
    assert (asked.method, asked.path) == ("POST", "/on")
    body = json.loads(asked.body)
    assert body["key"] == "u1/postSwitch/flags/hook"
    assert {body[name] for name in ("application", "version", "from", "to")} == {"chat", "2.4.1", "blue", "green"}


def test_a_hook_that_fails_is_not_called_again(serve: Callable[..., Any]) -> None:
    server = serve(lambda _, send, __: send(reply(500, "no such flag")))
    checks = Checks(lambda _: None, HandClock(), NoJobs(), NoMetrics())
    try:
        found = called(checks, "preSwitch/warm/hook", hook(server.url))
    finally:
        checks.stop()
    assert not found.ok
    assert "no such flag" in found.output
    assert len(server.asked) == 1


def test_a_hook_with_a_body_of_its_own_keeps_it() -> None:
    own = hook("http://flags.example/off", body='{"flag": "chat"}')
    assert introduced(own, "postRollback/0/hook", RELEASE) == own
