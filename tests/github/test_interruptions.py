"""Jobs that are cancelled, daemons that restart, tokens that run out: what was asked for ends right all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.conftest import Asked, Server, reply
from tests.github.conftest import Pipeline
from tests.support.acting import GOOD
from tests.support.issuer import HERE, REPOSITORY, Provider
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE

HELD = {"smoke": [{"name": "never", "http": {"path": "/nothing", "within": "5m", "every": "200ms"}}]}
"""A smoke test that keeps a Release in Testing."""
LONG = {"duration": "10m", "interval": "1s"}


@pytest.mark.parametrize("cancel", ["cancel", "terminate"])
def test_a_job_cancelled_before_the_switch_aborts_its_release(cancel: str, pipeline: Callable[..., Pipeline]) -> None:
    site = pipeline(tests=HELD)
    running = site.start(GOOD)
    running.until_it_says("Testing: ")
    done = getattr(running, cancel)()
    assert done.status == 130, done.raw
    name = done.outputs["release"]
    assert ("warning", "Cancelled", f"{NAMESPACE}/{name} is aborted.") in done.annotations
    ended = site.steer("wait", name)
    assert (ended.status, ended.outputs["phase"], ended.outputs["active-color"]) == (7, "Aborted", "blue")
    assert "the workflow was cancelled" in ended.outputs["message"]


def test_a_job_cancelled_after_the_switch_leaves_the_watch_to_the_daemon_unless_it_says_rollback(
    pipeline: Callable[..., Pipeline],
) -> None:
    site = pipeline(watch=LONG)
    running = site.start(GOOD)
    running.until_it_says("Watching: ")
    done = running.cancel()
    assert done.status == 130, done.raw
    assert "goes on being watched" in done.told()
    name = done.outputs["release"]
    for on_cancel, phase in (("leave", "Watching"), ("rollback", "RolledBack")):
        waiting = site.job().start(**site.where, command="wait", release=name, on_cancel=on_cancel)
        waiting.until_it_says("Watching: ")
        assert waiting.cancel().status == 130
        if phase == "RolledBack":
            assert site.steer("wait", name).status == 4
        now = site.job().run(**site.where, command="status", release=name)
        assert now.outputs["phase"] == phase, now.raw


def test_a_job_survives_a_daemon_that_is_killed_and_started_again(pipeline: Callable[..., Pipeline]) -> None:
    site = pipeline(approval="beforeSwitch")
    running = site.start(GOOD)
    running.until_it_says("AwaitingApproval: ")
    site.stage.kill_daemon()
    running.until_it_says("tries again.")
    site.stage.start_daemon()
    running.until_it_says("The daemon answers again.")
    (release,) = site.stage.hands.read_releases(NAMESPACE)
    site.stage.hands.command(NAMESPACE, release.name, "approve", {"by": "ada"})
    done = running.end()
    assert done.status == 0, done.raw
    assert done.shown.count("AwaitingApproval: ") == 1, "what was told is not told again"


def test_a_release_asked_for_while_the_daemon_is_away_is_made_once_it_is_back(
    pipeline: Callable[..., Pipeline],
) -> None:
    site = pipeline()
    site.stage.kill_daemon()
    running = site.start(GOOD)
    running.until_it_says("tries again.")
    site.stage.start_daemon()
    done = running.end()
    assert done.status == 0, done.raw
    assert len(site.stage.hands.read_releases(NAMESPACE)) == 1


class TokenService:
    """What gives jobs their tokens, as GitHub does; `tokens` makes each of them."""

    def __init__(self, token: Callable[[int], str]) -> None:
        self.given = 0
        self._token = token
        self.server = Server(self._answer)

    def _answer(self, asked: Asked, send: Callable[[bytes], None], _: threading.Event) -> None:
        assert asked.headers["authorization"] == "Bearer request-secret"
        assert asked.path == f"/token?api-version=2&audience={HERE}"
        self.given += 1
        send(reply(200, {"count": 1, "value": self._token(self.given)}))

    @property
    def environment(self) -> dict[str, str]:
        url = f"{self.server.url}/token?api-version=2"
        return {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-secret"}


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[tuple[Provider, dict[str, Any]]]:
    """An issuer, and the daemon's settings that let its tokens in."""
    found = Provider(tmp_path)
    entry = {
        "name": "github",
        "issuer": found.url,
        "audience": HERE,
        "claims": REPOSITORY,
        "caFile": str(found.ca_file),
        "roles": ["releaser"],
        "applications": [f"{NAMESPACE}/{APPLICATION}"],
    }
    yield found, {"oidc": [entry]}
    found.server.close()


def test_a_jobs_own_token_lets_it_in_and_is_renewed_before_and_after_it_runs_out(
    issuer: tuple[Provider, dict[str, Any]], pipeline: Callable[..., Pipeline]
) -> None:
    provider, api = issuer
    made: list[str] = []

    def token(number: int) -> str:
        # The first is refused though it does not look so; the others are about to run out.
        now = int(time.time())
        changes: dict[str, Any] = {"nbf": now + 200} if number == 1 else {"exp": now + 50}
        made.append(provider.token(**changes))
        return made[-1]

    service = TokenService(token)
    site = pipeline(api=api, watch={"duration": "4s", "interval": "1s"})
    done = site.job(**service.environment).run(**site.release(GOOD, token=""))
    service.server.close()
    assert done.status == 0, done.raw
    assert service.given > 4, "a new one before the old one runs out, and one for the one that was refused"
    assert site.ended()["spec"]["requestedBy"] == "github:repo:org/chat"
    for secret in (*made, "request-secret"):
        assert f"::add-mask::{secret}" in done.raw
        assert secret not in done.told()


def test_a_jobs_token_that_is_not_let_in_is_told_with_what_it_claims(
    issuer: tuple[Provider, dict[str, Any]], pipeline: Callable[..., Pipeline]
) -> None:
    provider, api = issuer
    service = TokenService(lambda _: provider.token(ref="refs/heads/topic"))
    site = pipeline(api=api)
    done = site.job(**service.environment).run(**site.release(GOOD, token=""))
    service.server.close()
    assert done.status == 1, done.raw
    assert "401: This token is not let in" in done.shown
    assert "  | ref: refs/heads/topic" in done.shown
    assert "  | repository: org/chat" in done.shown
    assert service.given == 2, "one that was refused is tried once more with a new one"
    assert done.outputs["release"] == ""
    assert site.stage.hands.read_releases(NAMESPACE) == ()
