"""Live, killed at any tick and resumed, blind for a while, or all at once: one series, one verdict.

The watches are the real ones with their threads; the metrics server is a table of numbers by time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.acting import until
from tests.support.clock import HandClock
from watcher.core.evaluation import report
from watcher.core.readings import Answer, Failed, NoData, Query, Row, Series
from watcher.core.rules import BoundRule
from watcher.core.verdict import verdict
from watcher.engine.replay import replay
from watcher.engine.watches import Watches

START = 1_000_000.0
STEP, TICKS = 10, 14
KEY = ("prod", "release")
MEANING: Mapping[str, float] = {"p": 1.0, "b": 50.0, "n": math.nan, "i": math.inf, "t": 1.0, "-": 0.0}


@dataclass
class Table:
    """Answers what stands in its words: a letter for each evaluation time of a rule, `-` where there is no series."""

    words: Mapping[str, str]
    down: bool = False
    asked: list[tuple[str, float, float]] = field(default_factory=list)

    def query(self, batch: Sequence[Query], start: datetime, end: datetime, step: timedelta) -> dict[str, Answer]:
        if self.down:
            return {query.id: Failed("down") for query in batch}
        return {query.id: self._answer(query.expr, start.timestamp(), end.timestamp(), step) for query in batch}

    def _answer(self, expr: str, start: float, end: float, step: timedelta) -> Answer:
        points = {}
        for k in range(round((end - start) / step.total_seconds()) + 1):
            at = start + k * step.total_seconds()
            letter = self._letter(expr, round((at - START) / STEP))
            if letter != "-":
                points[at] = {"t": 10.0}.get(letter, 60.0) if expr.startswith("traffic") else MEANING[letter]
        return Series((Row({}, points),)) if points else NoData()

    def _letter(self, expr: str, tick: int) -> str:
        if expr.startswith("blue"):
            return "p"  # the time before the switch was calm
        word = self.words[expr.removeprefix("traffic ")]
        return word[tick - 1] if 0 < tick <= len(word) else "-"


def rule(name: str, **keys: Any) -> BoundRule:
    fields: dict[str, Any] = {
        "id": f"http/{name}",
        "description": "",
        "query": name,
        "threshold": {"above": 10},
        "window": "10s",
        "for": "0s",
        "warmUp": "0s",
        "interval": "10s",
        "onBreach": "rollback",
        "onNoData": "hold",
        "onError": "hold",
        "mode": "enforce",
    }
    return BoundRule.model_validate(fields | keys, strict=False)


def compared(name: str) -> BoundRule:
    one = {"color": "blue", "query": f"blue {name}", "liveQuery": "live"}
    compare = {
        "with": ("before",),
        "direction": "increase",
        "tolerance": {"relative": "20%", "absolute": "5"},
        "confidence": "99%",
        "previous": one,
        "current": {"color": "green", "query": name, "liveQuery": "live"},
        "length": "10m",
    }
    return rule(name, threshold=None, compare=compare, **{"for": "20s"})


RULES = (
    rule("plain"),
    rule("lasting", **{"for": "30s"}),
    rule("counted", breaches={"count": 2, "of": 4}),
    rule("busy", trafficQuery="traffic busy", trafficAtLeast=50, **{"for": "10s"}),
    rule("lenient", onNoData="pass", **{"for": "20s"}),
    rule("strict", onNoData="breach", **{"for": "40s"}),
    rule("late", warmUp="55s", onBreach="notify"),
    rule("observed", mode="observe"),
    compared("level"),
)
# Mostly calm, so that not every example ends at its first evaluation.
WORDS = st.text(alphabet="ppppppppppppppppppppppb--nit", min_size=TICKS, max_size=TICKS)
TABLES = st.fixed_dictionaries({one.query: WORDS for one in RULES})
Said = tuple[str, bool, object]


@contextmanager
def running(table: Table, clock: HandClock, rules: Sequence[BoundRule]) -> Iterator[Watches]:
    watches = Watches(table, clock, lambda _: None)
    begins = datetime.fromtimestamp(START, UTC)
    watches.follow(KEY, rules, begins, begins + timedelta(seconds=STEP * TICKS))
    try:
        yield watches
    finally:
        watches.stop()


def look(watches: Watches, clock: HandClock, seconds: float) -> None:
    clock.seconds = START + seconds
    watches.tick()
    until(lambda: not watches.asking(), "the answers")


def said(watches: Watches) -> Said:
    """What the watch came to: of a rollback its first breaches, else where every rule stands."""
    found = watches.reading(KEY)
    assert found is not None
    if found.verdict == "rollback":
        moving = {one.id for one in RULES if one.enforcing}
        breaches = [(r.breached_at, r.id, r.value, r.message) for r in found.reports if r.breached and r.id in moving]
        first = min(str(breach[0]) for breach in breaches)
        return "rollback", True, sorted(str(breach) for breach in breaches if str(breach[0]) == first)
    return found.verdict, found.ended, sorted(repr(one) for one in found.reports)


def live(
    words: Mapping[str, str], rules: Sequence[BoundRule] = RULES, kills: Sequence[int] = (), down: Sequence[int] = ()
) -> Said:
    """A watch that looks at every tick, except that it is killed at some and the server is down at others."""
    table, clock = Table(words), HandClock(START)
    edges = [0, *sorted(set(kills)), TICKS]
    final: Said | None = None
    for begin, end in itertools.pairwise(edges):
        with running(table, clock, rules) as watches:
            for tick in range(begin + 1, end + 1):
                table.down = tick in down and tick != TICKS
                look(watches, clock, STEP * tick)
            table.down = False
            # A comparison asks for its past first; what is due then is asked for at the next look.
            look(watches, clock, STEP * end + 0.5)
            final = said(watches)
            if final[0] == "rollback":
                return final
    assert final is not None
    return final


def at_once(words: Mapping[str, str]) -> Said:
    """The backtest: first what is due until each tick, as it is known afterwards."""
    states = replay(Table(words), RULES, START, START + STEP * TICKS)
    for tick in range(1, TICKS + 1):
        until_then = []
        for one in RULES:
            known = [state for state in states[one.id] if state.at is not None and state.at <= START + STEP * tick]
            until_then.append((one, known[-1] if known else None))
        moved = [
            (state.breach.at, report(one, state))
            for one, state in until_then
            if state is not None and state.breach is not None and one.enforcing
        ]
        if moved:
            shown = [(r.breached_at, r.id, r.value, r.message) for _, r in moved]
            return "rollback", True, sorted(str(breach) for breach in shown)
    last = [(one, states[one.id][-1]) for one in RULES]
    judged = verdict(last, switched_at=START, at=START + STEP * TICKS, ended=True)
    return judged.verdict.value, True, sorted(repr(report(one, state)) for one, state in last)


few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@given(TABLES)
def test_a_live_watch_comes_to_what_the_backtest_says(words: dict[str, str]) -> None:
    assert live(words) == at_once(words)


@few
@given(TABLES, st.lists(st.integers(1, TICKS - 1), min_size=1, max_size=3))
def test_a_watch_that_is_killed_at_any_tick_comes_to_the_same(words: dict[str, str], kills: list[int]) -> None:
    assert live(words, kills=kills) == at_once(words)


@few
@given(TABLES, st.sets(st.integers(1, TICKS - 1)))
def test_an_outage_at_any_ticks_changes_nothing_that_is_seen_afterwards(words: dict[str, str], down: set[int]) -> None:
    assert live(words, down=sorted(down)) == at_once(words)


@few
@given(TABLES, st.permutations(RULES))
def test_the_order_of_the_rules_makes_no_difference(words: dict[str, str], rules: list[BoundRule]) -> None:
    assert live(words, rules) == at_once(words)


@few
@given(TABLES, st.integers(1, TICKS), st.integers(1, TICKS))
def test_a_gap_in_the_series_never_makes_a_pass_of_what_was_none(
    words: dict[str, str], begin: int, length: int
) -> None:
    """Of the rules for which no data is no pass."""
    gapped = {
        name: word
        if name in {"lenient", "strict"}
        else word[:begin] + ("-" * length + word[begin + length :])[: TICKS - begin]
        for name, word in words.items()
    }
    before, after = at_once(words), at_once(gapped)
    assert after[0] != "rollback" or before[0] == "rollback"
    assert after[0] != "pass" or before[0] in {"pass", "rollback"}
    if before[0] == "inconclusive":
        assert after[0] == "inconclusive"
