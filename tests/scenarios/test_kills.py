"""Killed anywhere, it ends right (S5): SIGKILL at each point of a flip, another start, and the same end as ever."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.scenarios.conftest import Led
from tests.support.acting import BAD, GOOD, Selector
from tests.support.proxy import after, before
from watcher.core.release import Phase, Release
from watcher.demo.stage import Stage

SERVICE = r"/services/chatbot-platform$"
STATUS = r"/releases/[^/]+/status$"

# Each point of a flip: the request at which the daemon dies, and whether the server still hears of it.
POINTS = {
    "before-the-intent-is-written": (STATUS, '"intent": {', before),
    "after-the-intent-is-written-before-the-swap": (SERVICE, '"replace"', before),
    "after-the-swap-before-its-answer": (SERVICE, '"replace"', after),
    "before-the-confirmation-is-written": (STATUS, '"flips"', before),
}


def rolled_back(stage: Stage, release: Release) -> Release:
    """Wait for the one right end, and assert what must be true of it."""
    found = stage.follow(release, lambda r: r.phase.terminal, 60, "the Release to end")
    assert found.phase is Phase.ROLLED_BACK, found.status.message
    assert [(f.index, f.from_, f.to) for f in found.status.flips] == [(1, "blue", "green"), (2, "green", "blue")]
    assert found.status.flips[0].at < found.status.flips[1].at
    assert found.status.reason == "rule/errors/rate"
    assert stage.active() == "blue"
    return found


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_switching_it_still_switches_once_and_goes_back_once(point: str, led: Callable[..., Led]) -> None:
    found = led()
    path, body, when = POINTS[point]
    rule = found.proxy.on("PATCH", path, when(found.kill), body=body)
    with Selector(found.stage) as selector:
        release = found.stage.release(BAD)
        assert rule.struck.wait(40), found.stage.read(release).status.message
        found.start_again()
        rolled_back(found.stage, release)
        selector.was("blue", "green", "blue")


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_rolling_back_it_still_goes_back_once(point: str, led: Callable[..., Led]) -> None:
    found = led()
    path, body, when = POINTS[point]
    rule = found.proxy.on("PATCH", path, when(found.kill), body=body, first=2)
    with Selector(found.stage) as selector:
        release = found.stage.release(BAD)
        assert rule.struck.wait(60), found.stage.read(release).status.message
        found.start_again()
        rolled_back(found.stage, release)
        selector.was("blue", "green", "blue")


def test_killed_before_the_verdict_is_written_it_comes_to_the_same_verdict(led: Callable[..., Led]) -> None:
    found = led()
    rule = found.proxy.on("PATCH", STATUS, before(found.kill), body='"RollingBack"')
    with Selector(found.stage) as selector:
        release = found.stage.release(BAD)
        assert rule.struck.wait(60), found.stage.read(release).status.message
        assert found.stage.read(release).phase is Phase.WATCHING
        found.start_again()
        rolled_back(found.stage, release)
        selector.was("blue", "green", "blue")


def test_a_breach_that_happens_while_it_is_down_is_found_and_rolled_back(led: Callable[..., Led]) -> None:
    found = led()
    stage = found.stage
    rule = found.proxy.on("PATCH", STATUS, after(found.kill), body='"Watching"')
    with Selector(stage) as selector:
        release = stage.release(BAD)
        assert rule.struck.wait(40), stage.read(release).status.message
        failed = stage.load.snapshot().results["http_5xx"]
        stage.wait_for(lambda: stage.load.snapshot().results["http_5xx"] > failed + 40, "users to see errors", 30)
        assert stage.active() == "green"
        found.start_again()
        rolled_back(stage, release)
        selector.was("blue", "green", "blue")


def test_killed_in_a_good_watch_it_completes_without_another_flip(led: Callable[..., Led]) -> None:
    found = led()
    stage = found.stage
    with Selector(stage) as selector:
        release = stage.release(GOOD)
        stage.follow(release, lambda r: r.phase is Phase.WATCHING, 40, "the watch")
        moved = stage.read(release).status.switched_at
        found.kill()
        found.start_again()
        command = {"by": "a test", "reason": "enough seen"}
        stage.wait_for(lambda: any(r.outcome == "pass" for r in stage.read(release).status.rules), "a rule to pass", 30)
        assert stage.read(release).status.switched_at == moved
        stage.hands.command(release.namespace, release.name, "rollback", command)
        stage.follow(release, lambda r: r.phase is Phase.ROLLED_BACK, 20, "the rollback")
        selector.was("blue", "green", "blue")


def test_sigterm_ends_it_cleanly_and_the_next_one_goes_on(led: Callable[..., Led]) -> None:
    found = led()
    stage = found.stage
    with Selector(stage) as selector:
        release = stage.release(BAD)
        stage.follow(release, lambda r: r.status.switched_at is not None, 40, "the flip")
        assert stage.stop_daemon() == 0
        log = stage.daemon_log.read_text("utf-8")
        assert '"stopped"' in log
        assert "Traceback" not in log
        stage.start_daemon()
        rolled_back(stage, release)
        selector.was("blue", "green", "blue")


def test_a_stopped_daemon_leaves_no_process_behind(led: Callable[..., Led]) -> None:
    found = led()
    found.stage.wait_for(lambda: '"starts"' in found.stage.daemon_log.read_text("utf-8"), "the daemon to start")
    assert found.stage.stop_daemon() == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(found.pid, 0)
