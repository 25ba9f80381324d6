"""Somebody sets the machine's time during a watch: nothing takes longer or shorter for it.

The daemon is a process of its own in which only the wall clock is changed (libfaketime); monotonic time goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from tests.support.acting import GOOD
from watcher.core.release import Phase
from watcher.demo.platform.manifests import NAMESPACE
from watcher.demo.stage import Stage

WATCH, KEEP = 8, 4
HOUR = 3600


def time_set_by(file: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is off by the seconds that stand in a file, at every reading."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")  # the Debian package faketime: make setup
    file.write_text("+0", "utf-8")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
    }


def logged_at(stage: Stage, words: str) -> datetime:
    """What the daemon's wall clock said when it logged a line: its log is stamped with it."""

    def lines() -> list[str]:
        return [line for line in stage.daemon_log.read_text("utf-8").splitlines() if words in line]

    stage.wait_for(lambda: bool(lines()), f"the log to say {words!r}")
    return datetime.fromisoformat(json.loads(lines()[0])["timestamp"])


def test_a_wall_clock_set_an_hour_forward_and_back_changes_no_duration(
    small: Callable[..., Stage], tmp_path: Path
) -> None:
    machine = tmp_path / "machine-time"
    watch = {"duration": f"{WATCH}s", "interval": "1s"}
    stage = small(environment=time_set_by(machine), watch=watch, previous={"keep": f"{KEEP}s"})
    began = time.monotonic()
    release = stage.release(GOOD)
    stage.follow(release, lambda r: r.phase is Phase.WATCHING, 60, "the watch")
    machine.write_text(f"+{HOUR}", "utf-8")
    stage.hands.command(NAMESPACE, release.name, "approve", {"by": "ada", "reason": "an hour later"})
    later = logged_at(stage, "an hour later")
    machine.write_text(f"-{HOUR}", "utf-8")
    stage.hands.command(NAMESPACE, release.name, "overrideWindow", {"by": "ada", "reason": "two hours back"})
    earlier = logged_at(stage, "two hours back")
    assert later - earlier > timedelta(seconds=HOUR), "the daemon's wall clock was not set"
    ended = stage.follow(release, lambda r: r.phase.terminal, 60, "the watch to end").status
    took = time.monotonic() - began
    assert ended.phase is Phase.COMPLETED, ended.message
    assert took >= WATCH
    assert ended.switched_at is not None
    assert ended.ended_at is not None
    assert WATCH <= (ended.ended_at - ended.switched_at).total_seconds() <= took
    # The keep-time too.
    kept = time.monotonic()
    stage.wait_for(lambda: stage.ready_pods("blue") == 0, "blue to make room", 60)
    assert time.monotonic() - kept >= KEEP - 1
