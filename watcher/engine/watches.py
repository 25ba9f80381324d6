"""The rules of all running watches: asks Prometheus for what is due, folds the answers, and tells the workers.

What always holds: evaluation times are fixed by the flip (`switchedAt + k * interval`); each time is folded once, in
order, and only with a real answer; an outage leaves it due, so the whole gap is asked for when the server is back.
What is shown meanwhile is the same fold with the failure at the times at which it was met, so a rule that takes lasting
blindness for a breach can say so, and nothing else moves. However late it is, what the rules said at the end of the
watch is said before anything later is asked for. What a comparison asks of the past has threads of its own: it never
delays a rule that compares with nothing.
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

from watcher.core.comparison import Past
from watcher.core.evaluation import RuleState, advance, evaluation_times, initial, report, sample_at
from watcher.core.observed import WatchReading
from watcher.core.readings import Answer, Failed, Query
from watcher.core.references import Stretch, past, queries, stretches
from watcher.core.rules import BoundRule
from watcher.core.verdict import verdict
from watcher.engine.clock import Clock
from watcher.engine.standing import Watched

Key = tuple[str, str]
"""A Release: namespace and name."""

log = structlog.get_logger(__name__)

LINGER = 120.0
"""Seconds for which what the rules of a watch said last is still shown: it ends the moment that one of them is
breached, and whoever scrapes is to see that breach.
"""

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
    failing_since: float | None = None
    """The evaluation time at which answers began to fail; None while they do not."""
    past: Past | None = None
    """What a comparison compares with, once it is known."""

    @property
    def recalls(self) -> bool:
        """Whether the past has to be asked for first."""
        return self.rule.compare is not None and self.past is None

    def due(self, switched_at: float, until: float) -> list[float]:
        return evaluation_times(switched_at, self.rule.interval, self.rule.warm_up, self.folded_until, until)

    def take(self, times: Sequence[float], value: Answer, traffic: Answer | None) -> None:
        """Fold the answers for the times that were asked for; a failure is shown but not folded."""
        if not times:
            return
        if isinstance(value, Failed) or isinstance(traffic, Failed):
            # What failed is this request. The times of a gap before it may still be answered, and count for nothing.
            self.failing_since = times[-1] if self.failing_since is None else self.failing_since
            self.shown = self._folded([at for at in times if at >= self.failing_since], value, traffic)
            return
        self.failing_since = None
        self.state = self.shown = self._folded(times, value, traffic)
        self.folded_until = times[-1]

    def _folded(self, times: Sequence[float], value: Answer, traffic: Answer | None) -> RuleState:
        state = self.state
        for at in times:
            state = advance(self.rule, state, sample_at(self.rule, at, value, traffic, self.past))
        return state


@dataclass
class _Watch:
    """One Release's watch."""

    rules: list[_Rule]
    switched_at: float
    until: float
    asking: bool = False
    recalling: bool = False
    over: bool = False
    """Whether what the rules said at `until` has been said."""
    next_due: float = 0.0
    """No evaluation time lies between the last look and this one: the tick passes the watch over until then."""
    reading: WatchReading | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def horizon(self, now: float) -> float:
        """Up to which time evaluations count: not past the end of the watch before that end has been judged."""
        return now if self.over else min(now, self.until)

    def standing(self, behind: float) -> Watched:
        return Watched(tuple((entry.rule, entry.shown) for entry in self.rules), behind)

    def overdue(self, now: float) -> float:
        """For how many seconds the oldest evaluation without an answer has been due."""
        horizon = self.horizon(now)
        due = [times[0] for entry in self.rules if (times := entry.due(self.switched_at, horizon))]
        return now - min(due) if due else 0.0

    def behind(self, horizon: float) -> bool:
        """Whether answered times are still to be caught up with, because one request was not enough for the gap."""
        return any(
            entry.failing_since is None and not entry.recalls and entry.due(self.switched_at, horizon)
            for entry in self.rules
        )


Span = tuple[float, float, timedelta]


class Watches:
    """`told(key)` is called when what the rules of a Release say has changed, and `lagged(seconds)` for each answer:
    how long after the time that it is for it was judged.
    """

    def __init__(
        self,
        metrics: Metrics,
        clock: Clock,
        told: Callable[[Key], None],
        threads: int = 4,
        lagged: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._metrics, self._clock, self._told, self._lagged = metrics, clock, told, lagged
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="metrics")
        self._past_pool = ThreadPoolExecutor(2, thread_name_prefix="past")
        self._watches: dict[Key, _Watch] = {}
        self._ended: dict[Key, tuple[float, Watched]] = {}
        """What the rules said at the end of a watch, and until when that is shown."""
        self._lock = threading.Lock()
        self._stopped = False

    def follow(self, key: Key, rules: Sequence[BoundRule], switched_at: datetime, until: datetime) -> None:
        """Begin (or go on) to watch a Release; a later `until` extends it. Without rules there is nothing to do."""
        with self._lock:
            known = self._watches.get(key)
            if known is not None:
                known.over = known.over and known.until == until.timestamp()
                known.until = until.timestamp()
                known.next_due = min(known.next_due, known.until)
                return
            if not rules:
                return
            fresh = [_Rule(rule, initial(rule), initial(rule)) for rule in rules]
            self._watches[key] = _Watch(fresh, switched_at.timestamp(), until.timestamp())

    def forget(self, key: Key) -> None:
        """Somebody else goes on with it, or it is gone."""
        with self._lock:
            self._watches.pop(key, None)
            self._ended.pop(key, None)

    def end(self, key: Key) -> None:
        """The watch is over: nothing is asked for it any more."""
        now = self._clock.now().timestamp()
        with self._lock:
            watch = self._watches.pop(key, None)
            self._shown_still(now)
            if watch is not None:
                self._ended[key] = now + LINGER, watch.standing(0.0)

    def reading(self, key: Key) -> WatchReading | None:
        """What the rules say; None before they were first asked."""
        with self._lock:
            found = self._watches.get(key)
            return found.reading if found else None

    def standing(self) -> dict[Key, Watched]:
        """Where each rule of each watch stands, and how far the watch is behind; also of those that have just ended."""
        now = self._clock.now().timestamp()
        with self._lock:
            self._shown_still(now)
            ended = {key: watched for key, (_, watched) in self._ended.items()}
            watches = dict(self._watches)
        return ended | {key: watch.standing(watch.overdue(now)) for key, watch in watches.items()}

    def _shown_still(self, now: float) -> None:
        """Let go of what ended long ago, also where nobody scrapes."""
        self._ended = {key: one for key, one in self._ended.items() if now < one[0]}

    def running(self) -> int:
        with self._lock:
            return len(self._watches)

    def asking(self) -> int:
        """How many watches wait for an answer."""
        with self._lock:
            return sum(watch.asking or watch.recalling for watch in self._watches.values())

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
            horizon = watch.horizon(now)
            recalled = []
            for entry in watch.rules:
                times = entry.due(watch.switched_at, horizon)[:MOST_TIMES]
                if times and entry.recalls:
                    recalled.append((entry, times))
                elif times:
                    span = (times[0], times[-1], entry.rule.interval)
                    groups[span].append((key, watch, entry, times))
                    asked[key].append(span)
            if recalled and not watch.recalling:
                watch.recalling = True
                self._past_pool.submit(self._recall, key, watch, recalled, now)
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
        for pool in (self._pool, self._past_pool):
            pool.shutdown(wait=False, cancel_futures=True)

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
        answers = self._answers([Query(id_, expr) for expr, id_ in ids.items()], start, end, step)
        done: dict[Key, _Watch] = {}
        answered: set[Key] = set()
        for key, watch, entry, times in members:
            self._take(entry, times, answers, ids)
            done[key] = watch
            if entry.failing_since is None:
                answered.add(key)
        lag = self._clock.now().timestamp() - end
        for _ in answered:
            self._lagged(lag)
        for key, watch in done.items():
            with counting:
                pending[key] -= 1
                last = pending[key] == 0
            if last:
                try:
                    self._conclude(key, watch, now)
                finally:
                    watch.asking = False

    def _answers(self, batch: Sequence[Query], start: float, end: float, step: timedelta) -> dict[str, Answer]:
        """An answer to every query, whatever the adapter does."""
        try:
            found = self._metrics.query(batch, _utc(start), _utc(end), step)
        except Exception as error:
            log.exception("the metrics adapter failed; its rules are blind")
            failed = Failed(f"asking for metrics failed: {type(error).__name__}")
            return {query.id: failed for query in batch}
        missing = Failed("the metrics server left a query unanswered")
        return {query.id: found.get(query.id, missing) for query in batch}

    @staticmethod
    def _take(entry: _Rule, times: list[float], answers: Mapping[str, Answer], ids: Mapping[str, str]) -> None:
        traffic_query = entry.rule.traffic_query
        traffic = answers[ids[traffic_query]] if traffic_query is not None else None
        try:
            entry.take(times, answers[ids[entry.rule.query]], traffic)
        except Exception as error:
            log.exception("a rule could not be judged; it is blind", rule=entry.rule.id)
            entry.take(times, Failed(f"judging its answer failed: {type(error).__name__}"), None)

    def _recall(self, key: Key, watch: _Watch, entries: Sequence[tuple[_Rule, list[float]]], now: float) -> None:
        """Ask what comparisons compare with. It is the same whenever it is asked, so nobody has to write it down."""
        try:
            wanted: dict[Stretch, dict[int, tuple[Query, ...]]] = defaultdict(dict)
            for index, (entry, _) in enumerate(entries):
                for stretch in stretches(entry.rule, watch.switched_at):
                    wanted[stretch][index] = queries(entry.rule, stretch.reference)
            found: dict[int, list[tuple[Stretch, dict[str, Answer]]]] = defaultdict(list)
            for stretch, asked in wanted.items():
                batch = [Query(f"{index}/{q.id}", q.expr) for index, several in asked.items() for q in several]
                answers = self._answers(batch, stretch.start, stretch.end, stretch.step)
                for index, several in asked.items():
                    found[index].append((stretch, {q.id: answers[f"{index}/{q.id}"] for q in several}))
            for index, (entry, times) in enumerate(entries):
                known = _known(entry.rule, found[index])
                if isinstance(known, Failed):
                    entry.take(times, Failed(f"what it compares with: {known.reason}", known.transient), None)
                else:
                    entry.past, entry.failing_since = known, None
                    watch.next_due = now
            self._conclude(key, watch, now)
        finally:
            watch.recalling = False

    def _conclude(self, key: Key, watch: _Watch, now: float) -> None:
        """Put the rules together and wake the worker if what they say is new."""
        with watch.lock:
            horizon = watch.horizon(now)
            behind = watch.behind(horizon)
            ended = now >= watch.until and not behind
            judged = verdict(
                [(entry.rule, entry.shown) for entry in watch.rules],
                switched_at=watch.switched_at,
                at=horizon,
                ended=ended,
            )
            reports = tuple(report(entry.rule, entry.shown) for entry in watch.rules)
            moved = [e.shown.breach.at for e in watch.rules if e.shown.breach and e.rule.enforcing]
            late = now - min(moved) if moved else 0.0
            watch.over = ended
            if behind:
                watch.next_due = now
            before, after = watch.reading, WatchReading(reports, judged.verdict.value, judged.reasons, ended, late)
            if before is not None and before.verdict == "rollback":
                return  # latched (S8)
            watch.reading = after
        if before is None or _said(before) != _said(after):
            self._told(key)


def _known(rule: BoundRule, answered: Sequence[tuple[Stretch, Mapping[str, Answer]]]) -> Past | Failed:
    """What a rule compares with, whatever the answers are."""
    try:
        return past(rule, answered)
    except Exception as error:
        log.exception("the past of a comparison could not be understood", rule=rule.id)
        return Failed(f"understanding it failed: {type(error).__name__}")


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
