"""One watch, evaluated all at once: for a switch that lies in the past, or in series that were made up.

What always holds: the same times, queries, samples and fold as in the watch of a running Release, so that what comes
out is what the daemon would have said. A metrics server that is down is not evidence: it raises `Unanswered`. A query
that cannot be answered is, as it would have been in the watch, an `error` of its rule.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from watcher.core.comparison import Past
from watcher.core.evaluation import RuleState, advance, evaluation_times, initial, sample_at
from watcher.core.readings import Answer, Failed, Number, Query, reading_at
from watcher.core.references import Stretch, past, queries, stretches
from watcher.core.rules import BoundRule
from watcher.engine.watches import Metrics

MISSING = Failed("the metrics server left a query unanswered")


class Unanswered(Exception):
    """The metrics server answered nothing; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def replay(
    metrics: Metrics, rules: Sequence[BoundRule], switched_at: float, until: float
) -> dict[str, tuple[RuleState, ...]]:
    """The states of each rule (by id) after each of its evaluations, from the switch until then (Unix seconds)."""
    if not rules:
        return {}
    times = {rule.id: evaluation_times(switched_at, rule.interval, rule.warm_up, None, until) for rule in rules}
    answers = _answers(metrics, rules, times)
    pasts = {rule.id: _past(metrics, rule, switched_at) for rule in rules if rule.compare is not None}
    found = {}
    for rule in rules:
        state, states = initial(rule), []
        traffic = None if rule.traffic_query is None else answers[rule.traffic_query]
        for at in times[rule.id]:
            sample = sample_at(rule, at, answers[rule.query], traffic, pasts.get(rule.id))
            state = advance(rule, state, sample)
            states.append(state)
        found[rule.id] = tuple(states)
    return found


def earlier(
    metrics: Metrics, rules: Sequence[BoundRule], switched_at: float, length: float
) -> dict[str, tuple[tuple[float, float], ...]]:
    """Times and numbers of each rule (by id) for so many seconds before a switch. The rules are those of the colour
    that was live then. Raises Unanswered."""
    found = {}
    for rule in rules:
        step = rule.interval.total_seconds()
        times = [math.ceil(switched_at) - k * step for k in range(int(length // step), 0, -1)]
        if times:
            answer = _ask(metrics, {rule.id: rule.query}, times[0], times[-1], rule.interval)[rule.id]
            readings = [(at, reading_at(answer, at, rule.reduce)) for at in times]
            found[rule.id] = tuple((at, one.value) for at, one in readings if isinstance(one, Number))
    return found


def _answers(metrics: Metrics, rules: Sequence[BoundRule], times: Mapping[str, Sequence[float]]) -> dict[str, Answer]:
    """The answer to each query, by the query itself. Rules that begin at different times are asked together."""
    spans: dict[timedelta, list[BoundRule]] = defaultdict(list)
    for rule in rules:
        spans[rule.interval].append(rule)
    found: dict[str, Answer] = {}
    for interval, members in spans.items():
        asked = [rule for rule in members if times[rule.id]]
        exprs = list(dict.fromkeys(expr for rule in asked for expr in (rule.query, rule.traffic_query) if expr))
        if exprs:
            start = min(times[rule.id][0] for rule in asked)
            end = max(times[rule.id][-1] for rule in asked)
            found |= _ask(metrics, {expr: expr for expr in exprs}, start, end, interval)
    return defaultdict(lambda: MISSING, found)


def _past(metrics: Metrics, rule: BoundRule, switched_at: float) -> Past | Failed:
    """What a comparison is held against."""
    answered: list[tuple[Stretch, Mapping[str, Answer]]] = []
    for stretch in stretches(rule, switched_at):
        exprs = {query.id: query.expr for query in queries(rule, stretch.reference)}
        answered.append((stretch, _ask(metrics, exprs, stretch.start, stretch.end, stretch.step)))
    return past(rule, answered)


def _ask(metrics: Metrics, exprs: Mapping[str, str], start: float, end: float, step: timedelta) -> dict[str, Answer]:
    batch = [Query(name, expr) for name, expr in exprs.items()]
    answers = metrics.query(batch, _utc(start), _utc(end), step)
    failed = [answer for answer in answers.values() if isinstance(answer, Failed)]
    if failed and len(failed) == len(answers) and all(one.transient for one in failed):
        raise Unanswered(failed[0].reason)
    return answers


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
