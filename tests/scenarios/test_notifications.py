"""What people are told while a daemon is killed, files are refused and channels fail; and that no secret gets out."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.adapters.conftest import Server, reply
from tests.support.acting import API, GOOD, application, until, write
from tests.support.proxy import Proxy, before
from watcher.adapters.kubernetes import paths
from watcher.core.release import Phase, Release
from watcher.demo.platform.manifests import NAMESPACE
from watcher.demo.stage import Stage

TOKEN = "xoxb-planted-s3cr3t-token"  # noqa: S105 - no real one
PATH = "/services/T000/B000/planted-s3cr3t-path"
KEY = "planted-s3cr3t-signing-key"


class Slack:
    """As much of chat.postMessage as the bot uses."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []

    def __call__(self, asked: Any, send: Any, _: Any) -> None:
        assert asked.headers["authorization"] == f"Bearer {TOKEN}"
        self.posted.append(json.loads(asked.body))
        send(reply(200, {"ok": True, "ts": f"17000000{len(self.posted):02}.000100"}))

    @property
    def titles(self) -> list[str]:
        return [message["blocks"][0]["text"]["text"].rpartition(": ")[2] for message in self.posted]

    def shows(self, title: str) -> Callable[[], bool]:
        return lambda: title in self.titles


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def serve(stack: ExitStack, script: Callable[..., Any]) -> Server:
    server = Server(script)
    stack.callback(server.close)
    return server


def settings(*channels: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "Settings",
        "notifications": channels,
        "log": {"level": "debug", "format": "json"},
    }


def ends(stage: Stage, release: Release) -> None:
    found = stage.follow(release, lambda r: r.phase.terminal, 60, "the Release to end")
    assert found.phase is Phase.COMPLETED, found.status.message


def noted(stage: Stage, release: Release, channel: str) -> bool:
    """Whether the cluster knows of a message that the channel took."""
    events = stage.hands.read_channels(NAMESPACE, release.uid)
    return any(event.states.get(channel, "").startswith("sent ") for event in events)


def everything_that_is_said(stage: Stage) -> str:
    """Logs, metrics, the page, the API, and every object that the daemon writes."""
    port = stage.http_port
    found = [stage.daemon_log.read_text("utf-8")]
    found += [requests.get(f"http://127.0.0.1:{port}{path}", timeout=10).text for path in ("/", "/metrics")]
    found += [json.dumps(stage.connection.get(path)) for path in (paths.releases(NAMESPACE), paths.events(NAMESPACE))]
    return "\n".join(found)


def test_one_release_is_one_thread_across_a_kill_and_no_secret_of_any_channel_gets_out(
    stack: ExitStack, tmp_path: Path
) -> None:
    slack = Slack()
    elsewhere = serve(stack, lambda _, send, __: send(reply(200)))
    places = {
        "good": serve(stack, slack),
        "echoes": serve(stack, lambda asked, send, _: send(reply(500, f"no such {asked.path}"))),
        "redirects": serve(stack, lambda _, send, __: send(reply(307, Location=f"{elsewhere.url}{PATH}"))),
        "hangs": serve(stack, lambda _, __, stopped: stopped.wait(60)),
    }
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, server in places.items():
        (secrets / name).write_text(TOKEN if name == "good" else server.url + PATH, "utf-8")
    (secrets / "key").write_text(KEY, "utf-8")
    config = write(
        tmp_path / "config",
        application(watch={"duration": "8s", "interval": "1s"}),
        settings(
            {"name": "good", "slack": {"tokenFile": str(secrets / "good"), "channel": "C1", "api": places["good"].url}},
            {"name": "echoes", "urlFile": str(secrets / "echoes"), "signingKeyFile": str(secrets / "key")},
            {"name": "redirects", "slack": {"urlFile": str(secrets / "redirects")}},
            {"name": "hangs", "teams": {"urlFile": str(secrets / "hangs")}},
        ),
    )
    stage = stack.enter_context(Stage(config=config, rate=0, prometheus=False))
    release = stage.release(GOOD)
    until(slack.shows("traffic is on green"), "the first message", 40)
    # Killed before it is noted, it would be told again.
    until(lambda: noted(stage, release, "good"), "the first message to be noted")
    stage.kill_daemon()
    stage.start_daemon()
    ends(stage, release)
    until(slack.shows("completed"), "the last message", 20)

    first, *others = slack.posted
    assert "thread_ts" not in first
    assert {message["thread_ts"] for message in others} == {"1700000001.000100"}
    until(lambda: places["redirects"].asked and places["echoes"].asked and places["hangs"].asked, "the other channels")
    assert not elsewhere.connections
    counted = 'watcher_notifications_total{channel="redirects",outcome="given_up"}'
    until(lambda: counted in everything_that_is_said(stage), "the channel that redirects to be given up", 30)
    said = everything_that_is_said(stage)
    assert '"redirects"' in said, "the log names the channel that was given up"
    assert "given up" in said
    for secret in (TOKEN, PATH, KEY):
        assert secret not in said


def test_killed_between_telling_and_noting_it_tells_all_of_it_and_nothing_thrice(
    stack: ExitStack, tmp_path: Path
) -> None:
    told: list[str] = []

    def hear(asked: Any, send: Any, _: Any) -> None:
        told.append(json.loads(asked.body)["key"].partition("/")[2])
        send(reply(204))

    config = write(
        tmp_path / "config",
        application(watch={"duration": "4s", "interval": "1s"}),
        settings({"name": "chat", "url": serve(stack, hear).url}),
    )
    stage = stack.enter_context(Stage(config=config, rate=0, prometheus=False, daemon=False))
    proxy = stack.enter_context(Proxy(stage.kubeconfig))
    pid = stage.start_daemon(proxy.kubeconfig(tmp_path / "through-proxy"))
    rule = proxy.on("PATCH", "/events/", before(lambda: os.kill(pid, signal.SIGKILL)))
    release = stage.release(GOOD)
    assert rule.struck.wait(40), stage.read(release).status.message
    assert told, "it was told before it was noted"
    stage.kill_daemon()
    stage.start_daemon()
    ends(stage, release)
    until(lambda: "end" in told and not stage.hands.read_owed(NAMESPACE), "everything to be told and noted", 30)
    counted = Counter(told)
    assert set(counted) >= {"flip/1", "end"}
    assert max(counted.values()) <= 2
    assert counted["end"] == 1


def test_files_that_are_refused_are_told_and_that_they_are_right_again(stack: ExitStack, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []

    def hear(asked: Any, send: Any, _: Any) -> None:
        told.append(json.loads(asked.body))
        send(reply(204))

    (directory,) = write(
        tmp_path / "config",
        application(),
        settings({"name": "chat", "url": serve(stack, hear).url, "events": ["files"]}),
    )
    stage = stack.enter_context(Stage(config=(directory,), rate=0, prometheus=False))
    until(lambda: stage.connection.get(paths.leases(NAMESPACE))["items"], "a leader", 20)
    (directory / "more.yaml").write_text(
        f"apiVersion: {API}\nkind: RuleSet\nmetadata: {{name: x}}\nspec: {{rulse: []}}\n", "utf-8"
    )
    until(lambda: len(told) == 1, "the refusal", 30)
    assert told[0]["reason"] == "FilesRefused"
    assert 'more.yaml:4:8: unknown key "rulse": did you mean "rules"?' in told[0]["message"]
    (directory / "more.yaml").unlink()
    until(lambda: len(told) == 2, "that they are right again", 30)
    assert told[1]["reason"] == "FilesAccepted"
    (event,) = stage.hands.read_channels(NAMESPACE, told[0]["key"].partition("/")[0])[:1]
    assert event.states["chat"].startswith("sent ")
