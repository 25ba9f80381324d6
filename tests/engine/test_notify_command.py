"""`watcher notify`: somebody tries a channel before it is needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.adapters.conftest import Server, reply
from watcher.cli.main import app

Serve = Callable[..., Server]


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Result]:
    """Run the command with these channels in the settings."""

    def run(verb: str, *channels: dict[str, Any], of: str = "team-chat") -> Result:
        head = {"apiVersion": "watcher.bluegreen.dev/v1alpha1", "kind": "Settings", "notifications": channels}
        (tmp_path / "watcher.yaml").write_text(json.dumps(head), "utf-8")
        names = [of] if verb == "test" else []
        return CliRunner().invoke(app, ["notify", verb, *names, "--config", str(tmp_path)])

    return run


def test_a_channel_is_sent_a_message_that_says_it_is_a_test(serve: Serve, ask: Callable[..., Result]) -> None:
    server = serve(reply(204))
    done = ask("test", {"name": "team-chat", "url": server.url, "severity": "critical", "template": "{{ title }}!"})
    assert (done.exit_code, done.output) == (0, "team-chat (webhook) took it\n")
    assert "only a test" in json.loads(server.asked[0].body)["text"]


def test_an_incident_that_was_opened_to_try_is_closed_again(
    serve: Serve, ask: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER_KEY", "k")
    server = serve(reply(202))
    done = ask("test", {"name": "team-chat", "pagerDuty": {"routingKeyEnv": "PAGER_KEY", "url": server.url}})
    assert done.output == "team-chat (pagerDuty) took it\n"
    assert [json.loads(asked.body)["event_action"] for asked in server.asked] == ["trigger", "resolve"]


def test_what_was_not_taken_is_said_without_the_address(serve: Serve, ask: Callable[..., Result]) -> None:
    server = serve(reply(403))
    done = ask("test", {"name": "team-chat", "url": f"{server.url}/s3cr3t"})
    assert (done.exit_code, done.output) == (1, "watcher: team-chat (webhook) was not told: it answered 403\n")


def test_a_template_that_fails_is_said(serve: Serve, ask: Callable[..., Result]) -> None:
    done = ask("test", {"name": "team-chat", "url": serve(reply(200)).url, "template": "{{ evidence.a.b }}"})
    assert done.exit_code == 1
    assert "UndefinedError" in done.output


def test_a_name_that_is_none_gets_a_hint(ask: Callable[..., Result]) -> None:
    there = {"name": "team-chat", "url": "http://127.0.0.1:9/"}
    done = ask("test", there, of="team-caht")
    assert (done.exit_code, 'did you mean "team-chat"?' in done.output) == (2, True)
    assert "there is none" in ask("test").output


def test_the_channels_are_listed_with_what_they_want(ask: Callable[..., Result]) -> None:
    done = ask(
        "list",
        {"name": "on-call", "pagerDuty": {"routingKeyFile": "/run/key"}},
        {"name": "log", "url": "http://log/", "events": ["flip", "end"]},
    )
    assert done.output == "on-call\tpagerDuty\tcritical\teverything\nlog\twebhook\tinfo\tflip end\n"
