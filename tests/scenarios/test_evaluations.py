"""What the API says of a watch, evaluation by evaluation, out of a real Prometheus: as it runs, and after its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.acting import BAD, ERRORS, GOOD, application, write
from watcher.core.release import Phase, Release
from watcher.demo.stage import Stage

INTERVAL = 1.0


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Stage]:
    """A stage whose watch lasts longer than the test looks at it."""
    watch = {"duration": "60s", "interval": "1s", "rules": ["errors"]}
    with ExitStack() as stack:
        yield stack.enter_context(Stage(config=write(tmp_path / "config", application(watch=watch), ERRORS)))


def told(stage: Stage, release: Release) -> dict[str, Any]:
    path = f"api/v1/releases/{release.namespace}/{release.name}/evaluations"
    answer = requests.get(f"{stage.page}{path}", timeout=20)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def seconds(found: dict[str, Any]) -> list[float]:
    """When the evaluations of the one rule were, in seconds after the switch."""
    since = datetime.fromisoformat(found["switchedAt"])
    (rule,) = found["items"]
    return [(datetime.fromisoformat(point["at"]) - since).total_seconds() for point in rule["items"]]


def outcomes(found: dict[str, Any]) -> list[str]:
    (rule,) = found["items"]
    return [point["outcome"] for point in rule["items"]]


def grid(times: list[float]) -> bool:
    """Whether the times are the watch's own: its interval apart, on whole intervals after the switch."""
    return all(abs(time - (times[0] + number * INTERVAL)) < 0.01 for number, time in enumerate(times))


def test_a_running_watch_is_told_as_far_as_it_is_and_grows(watched: Stage) -> None:
    stage = watched
    release = stage.follow(stage.release(GOOD), lambda r: r.phase is Phase.WATCHING, 90, "the watch")
    stage.wait_for(lambda: outcomes(told(stage, release)).count("pass") >= 2, "two evaluations that passed", 40)
    first = told(stage, release)
    stage.wait_for(lambda: len(seconds(told(stage, release))) >= len(seconds(first)) + 3, "three more", 40)
    later = told(stage, release)

    assert first["items"][0]["rule"] == "errors/rate"
    assert first["items"][0]["limit"] == "> 5%"
    for found in (first, later):
        times = seconds(found)
        assert grid(times)
        until = datetime.fromisoformat(found["until"]) - datetime.fromisoformat(found["switchedAt"])
        assert times[-1] <= until.total_seconds() < times[-1] + INTERVAL + 0.01, "neither behind nor ahead of its time"
    same = [point for point in first["items"][0]["items"][:-1] if "value" in point]
    assert same
    assert all(point in later["items"][0]["items"] for point in same), "what was said is said again"
    assert all(point["value"] == 0 for point in same)


def test_what_sent_traffic_back_is_told_after_the_end_too(watched: Stage) -> None:
    stage = watched
    release = stage.follow(stage.release(BAD), lambda r: r.phase.terminal, 120, "the rollback")
    assert release.phase is Phase.ROLLED_BACK, release.status.message
    found = told(stage, release)

    assert grid(seconds(found))
    assert outcomes(found)[-1] == "breach"
    assert release.status.rollback
    decided = release.status.rollback.at - datetime.fromisoformat(found["switchedAt"])
    assert seconds(found)[-1] <= decided.total_seconds(), "nothing is evaluated after the verdict"
    assert found["items"][0]["items"][-1]["value"] > 0.05
    assert told(stage, release) == found, "it does not grow after its end"


def test_a_watch_does_not_pass_at_a_last_look_that_saw_nothing(tmp_path: Path) -> None:
    watch = {"duration": "18s", "interval": "3s", "rules": ["errors"]}
    with Stage(config=write(tmp_path / "config", application(watch=watch), ERRORS), rate=40.0) as stage:
        release = stage.follow(stage.release(GOOD), lambda r: r.phase is Phase.WATCHING, 90, "the watch")
        ends = release.status.watch_until
        assert ends

        def left() -> float:
            return (ends - datetime.now(UTC)).total_seconds()

        # The last evaluation is two to three seconds before the end.
        stage.wait_for(lambda: left() < 4, "the last look")
        stage.prometheus.kill()
        stage.wait_for(lambda: left() < -1, "the watch to be over")
        blind = stage.read(release)
        assert blind.phase is Phase.WATCHING, blind.status.message
        assert "rate could not be evaluated: Prometheus at" in blind.status.message
        stage.prometheus.start()
        ended = stage.follow(release, lambda r: r.phase.terminal, 90, "the end")
        assert ended.phase is Phase.COMPLETED, ended.status.message
