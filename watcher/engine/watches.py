"""The rules of all running watches: asks Prometheus for what is due, folds the answers, and tells the workers.

What always holds: evaluation times are fixed by the flip (`switchedAt + k * interval`); each time is folded once, in
order, and only with a real answer; an outage leaves it due, so the whole gap is asked for when the server is back.
What is shown meanwhile is the same fold with the failure in the place of the answers that are missing, so a rule that
takes lasting blindness for a breach can say so, and nothing else moves.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from watcher.core.evaluation import RuleState, advance, evaluation_times, initial, report, sample_at
from watcher.core.observed import WatchReading
from watcher.core.readings import Answer, Failed, Query
from watcher.core.rules import BoundRule
from watcher.core.verdict import verdict
from watcher.engine.clock import Clock

Key = tuple[str, str]
"""A Release: namespace and name."""

log = structlog.get_logger(__name__)

MOST_TIMES = 5000
"""How many evaluation times one request asks for; a longer gap is caught up in several."""


class Metrics(Protocol):
    """What a metrics server can do for the watches: answer every query of a batch, never raise for its own trouble."""

    def query(self, batch: Sequence[Query], start: datetime, end: datetime, step: timedelta) -> dict[str, Answer]: ...


@dataclass
class _Rule:
    """One rule of a watch and how far it has been folded."""

    rule: BoundRule
    state: RuleState
    shown: RuleState
    folded_until: float | None = None

    def due(self, switched_at: float, until: float) -> list[float]:
        times = evaluation_times(switched_at, self.rule.interval, self.rule.warm_up, self.folded_until, until)
        return times[:MOST_TIMES]

    def take(self, times: Sequence[float], value: Answer, traffic: Answer | None) -> None:
        """Fold the answers for the times that were asked for; a failure is shown but not folded."""
        state = self.state
        failed = isinstance(value, Failed) or isinstance(traffic, Failed)
        for at in times:
            state = advance(self.rule, state, sample_at(self.rule, at, value, traffic))
        self.shown = state
        if not failed and times:
            self.state, self.folded_until = state, times[-1]


@dataclass
class _Watch:
    """One Release's watch."""

    rules: list[_Rule]
    switched_at: float
    until: float
    asking: bool = False
    next_due: float = 0.0
    """No evaluation time lies between the last look and this one: the tick passes the watch over until then."""
    reading: WatchReading | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


Span = tuple[float, float, timedelta]


class Watches:
    """`told(key)` is called when what the rules of a Release say has changed."""

    def __init__(self, metrics: Metrics, clock: Clock, told: Callable[[Key], None], threads: int = 4) -> None:
        self._metrics, self._clock, self._told = metrics, clock, told
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="metrics")
        self._watches: dict[Key, _Watch] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def follow(self, key: Key, rules: Sequence[BoundRule], switched_at: datetime, until: datetime) -> None:
        """Begin (or go on) to watch a Release; a later `until` extends it. Without rules there is nothing to do."""
        with self._lock:
            known = self._watches.get(key)
            if known is not None:
                known.until = until.timestamp()
                known.next_due = min(known.next_due, known.until)
                return
            if not rules:
                return
            fresh = [_Rule(rule, initial(rule), initial(rule)) for rule in rules]
            self._watches[key] = _Watch(fresh, switched_at.timestamp(), until.timestamp())

    def forget(self, key: Key) -> None:
        with self._lock:
            self._watches.pop(key, None)

    def reading(self, key: Key) -> WatchReading | None:
        """What the rules say; None before they were first asked."""
        with self._lock:
            found = self._watches.get(key)
            return found.reading if found else None

    def running(self) -> int:
        with self._lock:
            return len(self._watches)

    def asking(self) -> int:
        """How many watches wait for an answer."""
        with self._lock:
            return sum(watch.asking for watch in self._watches.values())

    def tick(self) -> None:
        """Ask for whatever is due. Requests run in their own threads; a watch that still waits for one is left out."""
        now = self._clock.now().timestamp()
        with self._lock:
            if self._stopped:
                return
            idle = [(k, w) for k, w in self._watches.items() if not w.asking and now >= w.next_due]
        groups: dict[Span, list[tuple[Key, _Watch, _Rule, list[float]]]] = defaultdict(list)
        asked: dict[Key, list[Span]] = defaultdict(list)
        for key, watch in idle:
            watch.next_due = _next_due(watch, now)
            for entry in watch.rules:
                times = entry.due(watch.switched_at, now)
                if times:
                    span = (times[0], times[-1], entry.rule.interval)
                    groups[span].append((key, watch, entry, times))
                    asked[key].append(span)
            if key in asked:
                watch.asking = True
            elif watch.reading is None or (now >= watch.until and not watch.reading.ended):
                self._conclude(key, watch, now)
        pending = {key: len(set(spans)) for key, spans in asked.items()}
        counting = threading.Lock()
        for span, members in groups.items():
            self._pool.submit(self._ask, span, members, now, pending, counting)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(
        self,
        span: Span,
        members: Sequence[tuple[Key, _Watch, _Rule, list[float]]],
        now: float,
        pending: dict[Key, int],
        counting: threading.Lock,
    ) -> None:
        start, end, step = span
        ids: dict[str, str] = {}
        for _, _, entry, _ in members:
            for expr in (entry.rule.query, entry.rule.traffic_query):
                if expr is not None:
                    ids.setdefault(expr, str(len(ids)))
        try:
            batch = [Query(id_, expr) for expr, id_ in ids.items()]
            answers = self._metrics.query(batch, _utc(start), _utc(end), step)
        except Exception as error:
            log.exception("the metrics adapter failed; its rules are blind")
            failed = Failed(f"asking for metrics failed: {type(error).__name__}")
            answers = dict.fromkeys(ids.values(), failed)
        done: dict[Key, _Watch] = {}
        for key, watch, entry, times in members:
            self._take(entry, times, answers, ids)
            done[key] = watch
        for key, watch in done.items():
            with counting:
                pending[key] -= 1
                last = pending[key] == 0
            if last:
                self._conclude(key, watch, now)
                watch.asking = False

    @staticmethod
    def _take(entry: _Rule, times: list[float], answers: Mapping[str, Answer], ids: Mapping[str, str]) -> None:
        missing = Failed("the metrics server left a query unanswered")
        traffic_query = entry.rule.traffic_query
        traffic = answers.get(ids[traffic_query], missing) if traffic_query is not None else None
        entry.take(times, answers.get(ids[entry.rule.query], missing), traffic)

    def _conclude(self, key: Key, watch: _Watch, now: float) -> None:
        """Put the rules together and wake the worker if what they say is new."""
        with watch.lock:
            ended = now >= watch.until
            judged = verdict(
                [(entry.rule, entry.shown) for entry in watch.rules],
                switched_at=watch.switched_at,
                at=now,
                ended=ended,
            )
            reports = tuple(report(entry.rule, entry.shown) for entry in watch.rules)
            breaches = [entry.shown.breach.at for entry in watch.rules if entry.shown.breach]
            late = now - min(breaches) if breaches else 0.0
            before, after = watch.reading, WatchReading(reports, judged.verdict.value, judged.reasons, ended, late)
            if before is not None and before.verdict == "rollback":
                return  # latched (S8)
            watch.reading = after
        if before is None or _said(before) != _said(after):
            self._told(key)


def _next_due(watch: _Watch, now: float) -> float:
    """The earliest time after now at which there is something to ask or to conclude."""
    origin = math.ceil(watch.switched_at)
    seconds = min(entry.rule.interval.total_seconds() for entry in watch.rules)
    following = origin + (math.floor((now - origin) / seconds) + 1) * seconds
    return min(following, watch.until) if now < watch.until else following


def _said(reading: WatchReading) -> object:
    return reading.verdict, reading.ended, [(r.id, r.outcome) for r in reading.reports]


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
