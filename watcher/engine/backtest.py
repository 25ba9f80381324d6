"""Rules over the history of a real Prometheus: finds past switches there, and replays the watch of each.

What always holds: requests stay within what Prometheus gives at once (the adapter cuts them), each has a deadline, and
a server that goes away in the middle ends the work with what was learnt so far.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from watcher.core.application import Application, Color, other
from watcher.core.backtest import MOST_TRIALS, Planned, Trial, plan, pretended, tried
from watcher.core.binding import bind_rules
from watcher.core.past_releases import switches_of
from watcher.core.readings import Answer, Failed, NoData, Query, Row
from watcher.core.rules import BoundRule, RuleSet
from watcher.core.switches import (
    NEAR_ENOUGH,
    Change,
    Switch,
    Timeline,
    changes,
    color_at,
    marked,
    releases_in,
    say_time,
    timeline,
)
from watcher.core.units import Invalid
from watcher.engine.replay import Unanswered, replay
from watcher.engine.watches import Metrics

FINE = timedelta(days=14)
"""Up to this length history is searched every 15 s, beyond it every minute."""
THREADS = 4
"""Requests on their way at once."""
MOST_KEPT = 400
"""Switches up to which every course is kept; 90 evaluations of 20 rules at 5,000 switches would take a gigabyte."""
_AT_ONCE = 10_000
"""Points of one request; Prometheus gives no more than 11,000."""
_REFINED = 3600.0
"""A change is looked at second by second when it is known to within so many."""

Bind = Callable[[Switch], Sequence[BoundRule]]


def step_for(since: float, until: float) -> timedelta:
    """How finely a stretch of history is searched for switches."""
    return timedelta(seconds=15 if until - since <= FINE.total_seconds() else 60)


def history(metrics: Metrics, query: str, since: float, until: float) -> Timeline:
    """Which colour was active when. Empty when the metric has no data. Raises Unanswered."""
    step = step_for(since, until).total_seconds()
    known: list[tuple[float, Color]] = []
    for begin in range(0, int((until - since) // step) + 1, _AT_ONCE):  # each request with a deadline of its own
        first = since + begin * step
        last = min(until, since + (begin + _AT_ONCE - 1) * step)
        known += timeline(_rows(_ask(metrics, query, first, last, timedelta(seconds=step))))
    return known


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
    """The trial of each planned switch, in their order. Raises Unanswered when the server goes away.

    `keep` the courses of their rules, for a plot: of very many those that breached or are bad, and every so many-th.
    """
    every = len(planned) // MOST_KEPT + 1

    def one_trial(index: int, one: Planned, rules: Sequence[BoundRule]) -> Trial:
        states = replay(metrics, rules, one.switch.at, one.until)
        trial = tried(one, rules, states, keep=keep)
        matters = one.switch.mark == "bad" or trial.breached_at is not None or index % every == 0
        return trial if not keep or matters else tried(one, rules, states, keep=False)

    # A few at once, as most of the time goes by waiting for the server; never many more than have been taken.
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="backtest")
    running: deque[Future[Trial]] = deque()
    try:
        for index, one in enumerate(planned):
            running.append(pool.submit(one_trial, index, one, bind(one.switch)))
            if len(running) > 2 * THREADS:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ask(metrics: Metrics, query: str, since: float, until: float, step: timedelta) -> Answer:
    start, end = datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(max(since, until), UTC)
    answer = metrics.query([Query("color", query)], start, end, step)["color"]
    if isinstance(answer, Failed):
        raise Unanswered(answer.reason)
    return answer


def _rows(answer: Answer) -> Sequence[Row]:
    return () if isinstance(answer, NoData | Failed) else answer.rows


@dataclass(frozen=True, slots=True)
class Sought:
    """Which switches are to be looked at: those at `times`, one `every` so often, those that Releases remember
    (`releases` is their JSON), or else every one that the colour metric shows. Times are Unix seconds.
    """

    since: float
    until: float
    times: Sequence[float] = ()
    every: timedelta | None = None
    releases: str | None = None
    color: Color | None = None
    query: str = ""
    """The colour metric; without it, the watcher's own."""
    good: Sequence[float] = ()
    bad: Sequence[float] = ()
    rest_is_good: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The switches to look at, where they come from, and what has to be said about that."""

    planned: Sequence[Planned]
    source: str
    notes: Sequence[str] = ()


def make_plan(metrics: Metrics, app: Application, sought: Sought) -> Plan:
    """The switches to look at, at least one. Raises Invalid, and Unanswered."""
    duration = app.spec.watch.duration
    notes: list[str] = []
    if sought.releases is not None:
        source = "the Releases"
        switches, found = switches_of(sought.releases, app.namespace, app.name)
        switches = [one for one in switches if sought.since <= one.at <= sought.until]
    else:
        query = sought.query or own_metric(app)
        source = sought.query or "watcher_active_color"
        since, until = _searched(sought, duration)
        known = history(metrics, query, since, until)
        found = refined(metrics, query, changes(known))
        notes = _doubts(known, since, until, source, sought)
        switches = _switches(sought, known, found, duration)
    for times, mark in ((sought.good, "good"), (sought.bad, "bad")):
        switches = marked(switches, times, "good" if mark == "good" else "bad", f"said with --{mark}")
    if sought.rest_is_good:
        switches = [one if one.mark else replace(one, mark="good", why="said with --good-all") for one in switches]
    if len(switches) > MOST_TRIALS:
        raise Invalid(f"these are {len(switches)} switches", f"look at no more than {MOST_TRIALS} at once")
    planned = plan(switches, found, duration, sought.until)
    if sought.every is not None:
        whole = [one for one in planned if not one.cut]
        if len(whole) < len(planned):
            notes.append(f"{len(planned) - len(whole)} times are left out, as traffic moved in the watch after them")
        planned = whole
    if not planned:
        raise Invalid(f"{source} shows no switch of {app.name} in this time", _CURE)
    return Plan(planned, source, notes)


_CURE = (
    "name one with --switch, pretend some with --every, give the Releases with --releases, or a metric that tells "
    "colours with --color-metric"
)


def own_metric(app: Application) -> str:
    """The query for what the daemon exports of an Application."""
    labels = f'application_namespace="{app.namespace}",application="{app.name}"'
    return f"max by (active) (watcher_active_color{{{labels}}})"


def _searched(sought: Sought, duration: timedelta) -> tuple[float, float]:
    """The stretch of history in which the colour metric is asked for."""
    if not sought.times:
        return sought.since, sought.until
    around = NEAR_ENOUGH.total_seconds()
    return min(sought.times) - around, min(sought.until, max(sought.times) + duration.total_seconds() + around)


def _switches(sought: Sought, known: Timeline, found: Sequence[Change], duration: timedelta) -> list[Switch]:
    if sought.times:
        return [Switch(at, sought.color or _color_from(at, known, found)) for at in sorted(sought.times)]
    if sought.every is not None:
        if not known and sought.color is None:
            raise Invalid("nothing tells which colour was active", "give --color, or --color-metric")
        return pretended(known, sought.since, sought.until, sought.every, duration, sought.color)
    switches = releases_in(found, duration, step_for(sought.since, sought.until))
    return [replace(one, color=sought.color or one.color) for one in switches]


def _color_from(at: float, known: Timeline, found: Sequence[Change]) -> Color:
    """The colour that a switch at this time went to: that of the change which is near, else the active one."""
    near = [one for one in found if abs(one.at - at) <= NEAR_ENOUGH.total_seconds()]
    if near:
        return min(near, key=lambda one: abs(one.at - at)).color
    color = color_at(known, at)
    if color is None:
        raise Invalid(f"nothing tells which colour was active at {say_time(at)}", "give --color, or --color-metric")
    return color


def _doubts(known: Timeline, since: float, until: float, source: str, sought: Sought) -> list[str]:
    """What the colour metric leaves open."""
    if not known:
        return [] if sought.color is not None else [f"{source} has no data in this time"]
    step = step_for(since, until).total_seconds()
    notes = []
    if known[0][0] - since > 2 * NEAR_ENOUGH.total_seconds():
        notes.append(f"{source} has no data before {say_time(known[0][0])}")
    missing = 1 - len(known) * step / max(step, until - known[0][0])
    if missing > 0.02:
        notes.append(f"for {missing:.0%} of the time since then it does not tell one active colour")
    return notes


def binder(app: Application, rule_sets: Mapping[str, RuleSet], version: str) -> Bind:
    """What gives the rules of a switch, as its watch would have had them; with `mode: observe` as if it enforced.
    The Bind raises Invalid when a query names the version and nothing tells it."""
    enforcing = app.spec.watch.model_copy(update={"mode": "enforce"})
    app = app.model_copy(update={"spec": app.spec.model_copy(update={"watch": enforcing})})

    @cache
    def bound(color: Color, known: str) -> Sequence[BoundRule]:
        rules = bind_rules(app, rule_sets, color, other(color), known or "0")
        if not known:
            for rule, another in zip(rules, bind_rules(app, rule_sets, color, other(color), "1"), strict=True):
                if rule != another:
                    raise Invalid(
                        f"{rule.id} asks for the version, which is not known", "give --version, or --releases"
                    )
        if not rules:
            raise Invalid(f"{app.name} has no rules", "list RuleSets in its watch.rules, or give some with --rules")
        return rules

    return lambda switch: bound(switch.color, version or switch.version)
