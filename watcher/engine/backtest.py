"""Rules over the history of a real Prometheus: finds past switches there, and replays the watch of each.

What always holds: requests stay within what Prometheus gives at once (the adapter cuts them), each has a deadline, and
a server that goes away in the middle ends the work with what was learnt so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from watcher.core.backtest import Planned, Trial, tried
from watcher.core.readings import Answer, Failed, NoData, Query, Row
from watcher.core.rules import BoundRule
from watcher.core.switches import Change, Switch, Timeline, changes, timeline
from watcher.engine.replay import Unanswered, replay
from watcher.engine.watches import Metrics

FINE = timedelta(days=14)
"""Up to this length history is searched every 15 s, beyond it every minute."""
_REFINED = 3600.0
"""A change is looked at second by second when it is known to within so many."""

Bind = Callable[[Switch], Sequence[BoundRule]]


def step_for(since: float, until: float) -> timedelta:
    """How finely a stretch of history is searched for switches."""
    return timedelta(seconds=15 if until - since <= FINE.total_seconds() else 60)


def history(metrics: Metrics, query: str, since: float, until: float) -> Timeline:
    """Which colour was active when. Empty when the metric has no data. Raises Unanswered."""
    return timeline(_rows(_ask(metrics, query, since, until, step_for(since, until))))


def refined(metrics: Metrics, query: str, found: Sequence[Change]) -> list[Change]:
    """The changes with their times to the second, as far as the metric was scraped so often. Raises Unanswered."""
    better = []
    for one in found:
        sharper = None
        if one.at - one.last_seen <= _REFINED:
            answer = _ask(metrics, query, math.floor(one.last_seen), one.at, timedelta(seconds=1))
            sharper = next((new for new in changes(timeline(_rows(answer))) if new.color == one.color), None)
        better.append(sharper or one)
    return better


def run_trials(metrics: Metrics, planned: Sequence[Planned], bind: Bind, *, keep: bool) -> Iterator[Trial]:
    """The trial of each planned switch, in their order, with its rules' courses if they are to be kept. Raises
    Unanswered when the server goes away."""
    for one in planned:
        rules = bind(one.switch)
        yield tried(one, rules, replay(metrics, rules, one.switch.at, one.until), keep=keep)


def _ask(metrics: Metrics, query: str, since: float, until: float, step: timedelta) -> Answer:
    start, end = datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(max(since, until), UTC)
    answer = metrics.query([Query("color", query)], start, end, step)["color"]
    if isinstance(answer, Failed):
        raise Unanswered(answer.reason)
    return answer


def _rows(answer: Answer) -> Sequence[Row]:
    return () if isinstance(answer, NoData | Failed) else answer.rows
