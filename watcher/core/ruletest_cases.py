"""Rule tests at work: found among the documents of a run, laid out in time, and judged.

What always holds: a test is judged on the states of the watch's own fold and by its verdict; no two tests of a run see
each other's series, for they lie further apart than any of their queries looks; and everything that is said of a test
names the line that it is about.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from watcher.core.documents import Document, Problem
from watcher.core.evaluation import RuleState, initial
from watcher.core.readings import SAME_TIME
from watcher.core.rules import BoundRule, RuleSet
from watcher.core.ruletest import Expected, RuleTest, Test, named, rules_of
from watcher.core.units import Invalid, format_value
from watcher.core.verdict import verdict
from watcher.core.yamltree import Listing, Node, Table, read

NEAR = 0.005
"""Values are equal when they differ by less than this share: three significant digits."""

WEEK = 7 * 24 * 3600
LONGEST_RUN = 130 * 365 * 24 * 3600
"""Seconds that all tests of a run may span."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test of a file, ready to run. `lines` are those of its expectations."""

    file: str
    line: int
    suite: str
    test: Test
    rules: tuple[BoundRule, ...]
    lines: tuple[int, ...]
    verdict_line: int

    def line_of(self, index: int | None) -> int:
        """Where an expectation stands."""
        return self.verdict_line if index is None else self.lines[index]


def cases(
    documents: Iterable[Document], texts: Mapping[str, str], rule_sets: Mapping[str, RuleSet]
) -> tuple[list[Case], list[Problem]]:
    """The tests among the documents, and what is wrong with those that cannot be run. `texts` are the files."""
    found: list[Case] = []
    problems: list[Problem] = []
    for document in documents:
        if not isinstance(document.model, RuleTest):
            continue
        spec = document.model.spec
        root = next(root for root in read(texts[document.file]).roots if root.line == document.line)
        for index, test in enumerate(spec.tests):
            path = ("spec", "tests", index)
            try:
                rules = rules_of(spec, test, rule_sets)
            except Invalid as error:
                place = _node(root, (*path, *error.path) if error.path else ("spec", "rules"))
                cure = error.cure
                if not rule_sets:
                    cure = "name the files of the RuleSets as well"
                problems.append(Problem(document.file, place.line, place.column, error.problem, cure))
                continue
            lines = tuple(_node(root, (*path, "expect", place)).line for place in range(len(test.expect)))
            verdict_line = _node(root, (*path, "verdict")).line
            line = _node(root, path).line
            found.append(Case(document.file, line, document.name, test, rules, lines, verdict_line))
    return found, sorted(set(problems))


def _node(root: Node, path: Sequence[str | int]) -> Node:
    """The deepest node on the way."""
    node = root
    for step in path:
        if isinstance(node, Table) and step in node.entries:
            node = node.entries[str(step)][1]
        elif isinstance(node, Listing) and isinstance(step, int):
            node = node.items[step]
    return node


_LENGTHS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": WEEK, "y": 365 * 86_400}
_LENGTH = re.compile(r"([0-9]+)(ms|[smhdwy])")


def reach(rule: BoundRule) -> float:
    """Seconds that a rule's queries can see from their time, either way: no more than all its durations together."""
    queries = [rule.query, rule.traffic_query or ""]
    past = 0.0
    if rule.compare is not None:
        queries += [query for one in (rule.compare.previous, rule.compare.current) for query in _asked(one)]
        past = WEEK + 2 * rule.compare.length.total_seconds()
    longest = max(sum(int(count) * _LENGTHS[unit] for count, unit in _LENGTH.findall(query)) for query in queries)
    return longest + past


def _asked(query: object) -> list[str]:
    return [text for name in ("query", "traffic_query", "live_query") if (text := getattr(query, name, None))]


def layout(tests: Iterable[tuple[Test, Sequence[BoundRule]]]) -> list[float]:
    """Where each test's series begin (Unix seconds): so far apart that no query of one sees what another left. Each
    begins at a Thursday's midnight (UTC), as promtool's do. Raises Invalid when that takes more time than there is.
    """
    starts: list[float] = []
    free = 0.0
    for test, rules in tests:
        sight = max((reach(rule) for rule in rules), default=0.0)
        longest = max((len(one.points()) for one in test.input_series), default=0)
        length = max(longest * test.interval.total_seconds(), (test.switched_at + test.duration).total_seconds())
        start = (math.ceil((free + sight) / WEEK) + 1) * float(WEEK)
        starts.append(start)
        free = start + length + sight
        if free > LONGEST_RUN:
            raise Invalid("the tests together span more than 130 years", "test fewer at once, or with shorter ranges")
    return starts


# -- judging -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """One expectation and what came of it. `index` is its place in `expect`; None is the test's own verdict."""

    index: int | None
    at: timedelta
    subject: str
    expected: str
    got: str
    ok: bool


Course = tuple[BoundRule, tuple[RuleState, ...]]
"""A rule and its states after each evaluation, in the order of their times."""


def check(test: Test, courses: Sequence[Course], switched_at: float) -> list[Finding]:
    """What came of each expectation. `switched_at` is where the switch lay (Unix seconds)."""
    found = []
    for index, one in enumerate(test.expect):
        if one.verdict is not None:
            found.append(_verdict(test, courses, switched_at, one.at, one.verdict, index))
            continue
        rule = named(one.rule or "", [rule for rule, _ in courses])
        states = next(states for known, states in courses if known is rule)
        found.append(_of_rule(one, rule, state_at(rule, states, switched_at + one.at.total_seconds()), index))
    if test.verdict is not None:
        found.append(_verdict(test, courses, switched_at, test.duration, test.verdict, None))
    return found


def state_at(rule: BoundRule, states: Sequence[RuleState], at: float) -> RuleState:
    """The state after the last evaluation until then."""
    return next((one for one in reversed(states) if one.at is not None and one.at <= at + SAME_TIME), initial(rule))


def _verdict(
    test: Test, courses: Sequence[Course], switched_at: float, at: timedelta, expected: str, index: int | None
) -> Finding:
    moment = switched_at + at.total_seconds()
    states = [(rule, state_at(rule, states, moment)) for rule, states in courses]
    ended = at >= test.duration
    judged = verdict(states, switched_at=switched_at, at=moment, ended=ended)
    ok = judged.verdict.value == expected
    why = "" if ok else f": {'; '.join(judged.reasons)}"
    return Finding(index, at, "verdict", expected, f"{judged.verdict.value}{why}", ok)


def _of_rule(one: Expected, rule: BoundRule, state: RuleState, index: int) -> Finding:
    unit = one.value.unit if one.value is not None else rule.threshold.range[0].unit if rule.threshold else ""
    right = [
        one.outcome is None or state.outcome.value == one.outcome,
        one.value is None or (state.value is not None and near(state.value, one.value.number)),
        one.breached is None or (state.breach is not None) == one.breached,
    ]
    wanted = [word for word in (one.outcome, str(one.value) if one.value else "", _breached(one.breached)) if word]
    got = state.outcome.value
    if state.value is not None:
        got += f" {_told_apart(state.value, one.value.number if one.value else math.nan, unit)}"
    if one.breached is not None:
        got += f", {_breached(state.breach is not None)}"
    if state.value is None and state.detail:
        got += f" ({state.detail})"
    return Finding(index, one.at, rule.name, ", ".join(wanted), got, all(right))


def _breached(breached: bool | None) -> str:
    return "" if breached is None else "breached" if breached else "not breached"


def near(got: float, wanted: float) -> bool:
    """Whether two numbers are equal to three significant digits. Nothing but zero is near zero."""
    return math.isclose(got, wanted, rel_tol=NEAR, abs_tol=1e-12)


def _told_apart(value: float, wanted: float, unit: str) -> str:
    """The value with as many digits as it takes to differ from what was wanted, when it does."""
    text = format_value(value, unit)
    if not near(value, wanted) and text == format_value(wanted, unit):
        return format_value(value, unit, 6)
    return text
