"""A daemon that was stopped while a version broke: what the Release says once somebody looks again.

The watch, the fold and the step of the lifecycle are the real ones; the metrics server is a table with the history, and
the cluster one object. Time is told, not waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tests.core.lifecycle.stages import after_the_flip
from tests.core.lifecycle.world import rule
from tests.support.acting import until
from tests.support.clock import HandClock
from watcher.core.lifecycle import step
from watcher.core.observed import WatchReading
from watcher.core.readings import Answer, Query, Row, Series
from watcher.core.release import Phase
from watcher.engine.watches import Watches

KEY = ("prod", "release")
WATCH = {"duration": "15m", "interval": "10s", "rules": ["http"]}


class History:
    """A share of errors of 4.2% for one minute, four minutes after the switch, and of 0.2% at every other time."""

    def __init__(self, switched_at: datetime) -> None:
        self.begins = switched_at + timedelta(minutes=4)
        self.ends = switched_at + timedelta(minutes=5)

    def query(self, batch: Sequence[Query], start: datetime, end: datetime, step: timedelta) -> dict[str, Answer]:
        points, at = {}, start
        while at <= end:
            points[at.timestamp()] = 0.042 if self.begins <= at < self.ends else 0.002
            at += step
        return {query.id: Series((Row({}, points),)) for query in batch}


def looked(watches: Watches, clock: HandClock, at: datetime) -> WatchReading:
    clock.seconds = at.timestamp()
    watches.tick()
    until(lambda: not watches.asking(), "the answers")
    found = watches.reading(KEY)
    assert found is not None
    return found


def test_a_breach_that_fell_into_five_stopped_minutes_goes_back_on_restart_and_says_how_late_it_is() -> None:
    story = after_the_flip(Phase.WATCHING, {"watch": WATCH}, rules=(rule(),))
    status = story.status
    assert status.switched_at is not None
    assert status.watch_until is not None
    assert status.pinned is not None
    clock, history = HandClock(status.switched_at.timestamp()), History(status.switched_at)

    stopped = Watches(history, clock, lambda _: None)
    stopped.follow(KEY, status.pinned.rules, status.switched_at, status.watch_until)
    for seconds in range(60, 181, 10):
        before = looked(stopped, clock, status.switched_at + timedelta(seconds=seconds))
    stopped.stop()
    assert before.verdict == "pass"

    # Five minutes later another process finds the Release as it was written, and nothing else.
    back = status.switched_at + timedelta(minutes=8)
    restarted = Watches(history, clock, lambda _: None)
    restarted.follow(KEY, status.pinned.rules, status.switched_at, status.watch_until)
    reading = looked(restarted, clock, back)
    restarted.stop()
    assert reading.verdict == "rollback"

    story.world = replace(story.world, now=back)
    observed = replace(story.world.observe(story.release), watch=reading)
    release, _ = step(story.release, observed, back)
    assert release.phase is Phase.ROLLING_BACK
    # `for: 30s` was met at 4 min 30 s; it is 8 min 0 s now.
    assert "error-rate was 4.2% (limit 1%) for 30 s (seen 210 s late, after a gap)" in release.status.message
    assert release.status.reason == "rule/http/error-rate"
