"""Things that happen at the same moment, or to the Release itself while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tests.scenarios.conftest import Led
from tests.support.acting import API, GOOD, Selector, events
from tests.support.proxy import Exchange, drop_answer
from watcher.adapters.kubernetes import paths
from watcher.core.release import Phase, Release
from watcher.demo.platform.manifests import APPLICATION, CONTAINER, NAMESPACE, image
from watcher.demo.stage import Stage

STATUS = r"/releases/[^/]+/status$"
HELD = {"smoke": [{"name": "healthz", "http": {"path": "/healthz", "for": "60s"}}]}


def named(stage: Stage, name: str, version: str = GOOD, **spec: object) -> Release:
    """Ask for a release under a name of one's own."""
    asked = {"application": APPLICATION, "version": version, "images": {CONTAINER: image(version)}}
    body: dict[str, Any] = {"apiVersion": API, "kind": "Release", "metadata": {"name": name, "namespace": NAMESPACE}}
    return stage.hands.create_release(NAMESPACE, body | {"spec": asked | spec})


def begun(stage: Stage, *releases: Release) -> list[str]:
    """Which of them ever began."""
    return [release.name for release in releases if stage.read(release).status.started_at]


def test_of_two_releases_asked_for_at_once_only_one_begins_however_slow_the_api_server_is(
    led: Callable[..., Led],
) -> None:
    found = led(rules=False, tests=HELD)
    stage = found.stage
    go_on = threading.Event()

    def slowly(exchange: Exchange) -> None:
        go_on.wait(3)
        exchange.pass_on()

    # Within one second the name decides which one was asked for first, and with it whether the second one is refused
    # or waits.
    rule = found.proxy.on("PATCH", r"/releases/z-first/status$", slowly, body='"Deploying"')
    first = named(stage, "z-first")
    assert rule.struck.wait(10)
    second = named(stage, "a-second")
    written = found.proxy.on("PATCH", r"/releases/a-second/status$", lambda exchange: exchange.pass_on())
    written.struck.wait(1.0)
    go_on.set()
    stage.follow(first, lambda r: r.phase is Phase.TESTING, 20, "the first to run")
    said = stage.follow(second, lambda r: bool(r.status.message), 20, "the second to be answered")
    assert "z-first" in said.status.message
    assert begun(stage, first, second) == ["z-first"]


def test_of_two_releases_asked_for_at_once_only_one_begins_although_an_answer_was_lost(
    led: Callable[..., Led],
) -> None:
    found = led(rules=False, tests=HELD)
    stage = found.stage
    found.proxy.on("PATCH", r"/releases/z-first/status$", drop_answer, body='"Deploying"')
    first, second = named(stage, "z-first"), named(stage, "a-second")
    stage.wait_for(lambda: all(stage.read(r).status.message for r in (first, second)), "both to be answered")
    stage.wait_for(lambda: any(stage.read(r).phase is Phase.TESTING for r in (first, second)), "one of them to run")
    assert len(begun(stage, first, second)) == 1


def test_a_release_that_is_deleted_in_its_watch_is_told_of_and_moves_nothing(small: Callable[..., Stage]) -> None:
    stage = small(watch={"duration": "10m", "interval": "1s"})
    with Selector(stage) as selector:
        release = stage.release(GOOD)
        stage.follow(release, lambda r: r.phase is Phase.WATCHING, 40, "the watch")
        stage.connection.delete(paths.releases(NAMESPACE, release.name))

        def told() -> list[str]:
            return [e["message"] for e in events(stage, "Service", APPLICATION) if e["reason"] == "ReleaseDeleted"]

        stage.wait_for(lambda: bool(told()), "the Service to say so")
        assert "nobody watches 2.4.0" in told()[0]
        assert "watcher rollback chatbot-platform" in told()[0]
        selector.was("blue", "green")


def test_a_release_that_is_made_anew_under_its_old_name_runs_its_checks_anew(led: Callable[..., Led]) -> None:
    found = led(rules=False, approval="beforeSwitch")
    stage, go_on = found.stage, threading.Event()
    release = named(stage, "the-release")
    stage.follow(release, lambda r: r.phase is Phase.AWAITING_APPROVAL, 40, "the tests to pass")

    def slowly(exchange: Exchange) -> None:
        go_on.wait(3)
        exchange.pass_on()

    # While its worker is busy it cannot see that there was none of the name for a moment.
    rule = found.proxy.on("PATCH", STATUS, slowly)
    stage.hands.command(NAMESPACE, release.name, "approve", {"by": "ada"})
    assert rule.struck.wait(10)
    stage.connection.delete(paths.releases(NAMESPACE, release.name))
    again = named(stage, "the-release", version="2.4.1-smoke")
    go_on.set()
    ended = stage.follow(again, lambda r: r.phase.terminal or bool(r.status.switched_at), 40, "the second to end")
    assert ended.status.reason == "TestsFailed", ended.status.message
