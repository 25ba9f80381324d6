"""What is doubtful in one query by itself: what it selects, how it reads counters and histograms.

Each check looks at the tree and gives remarks with offsets into the template. The reasons stand in docs/lint.md, code
by code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from watcher.core.lint.findings import Remark
from watcher.core.lint.labels import labels_of
from watcher.core.lint.shapes import COUNTER_ENDS, RATES, is_counter, may_count, range_of
from watcher.core.lint.tree import (
    Aggregation,
    Call,
    Expr,
    Matcher,
    Selector,
    Subquery,
    bare,
    below,
    children,
    selectors,
    walk,
)
from watcher.core.rules import Reduce

COLORS = ("blue", "green")
_TELLING = ("color", "previousColor", "deployment", "version")
"""Placeholders that tell one colour from the other."""
_READS_COUNTERS = RATES | {"resets", "changes", "absent", "absent_over_time", "count_over_time", "present_over_time"}
_READS_COUNTERS |= {"count", "group"}

Role = Literal["value", "traffic", "part"]


@dataclass(frozen=True, slots=True)
class Asked:
    """How a rule asks a query. A `part` is one side of a burn rate, of which all series are added up."""

    role: Role
    reduce: Reduce | None
    traffic: bool
    """Whether the rule has a floor of traffic."""
    passes_blind: bool
    """Whether no data is a pass."""


def remarks(tree: Expr, asked: Asked) -> Iterator[Remark]:
    """Everything doubtful in one query that does not depend on durations."""
    yield from by_itself(tree)
    yield from _several(tree, asked)


def by_itself(tree: Expr) -> Iterator[Remark]:
    """Everything doubtful in a query whatever its rule says."""
    yield from _selection(tree)
    yield from _counters(tree)
    yield from _histograms(tree)


def _selection(tree: Expr) -> Iterator[Remark]:
    found = selectors(tree)
    if not found:
        yield Remark("BW204", tree.start, "the query asks for no metric", "name the metric that the rule is about")
    for selector in found:
        named = [one.variables for one in selector.matchers]
        shown = selector.name or "this selector"
        fixed = [one for one in selector.matchers if _is_fixed_color(one)]
        for one in fixed:
            problem = f"{one.label} is fixed to {one.text}, whichever colour is new"
            yield Remark("BW202", one.start, problem, f'write {one.label}{one.op}"{{{{ color }}}}"')
        if not fixed and not any(variable in names for names in named for variable in _TELLING):
            cure = 'add color="{{ color }}", or pod=~"{{ deployment }}-.*" where there is no such label'
            yield Remark("BW201", selector.start, f"nothing tells {shown} of the new colour from the other's", cure)
        if not any("namespace" in names for names in named):
            problem = f"{shown} counts every namespace's"
            yield Remark("BW203", selector.start, problem, 'add namespace="{{ namespace }}"')


def _is_fixed_color(one: Matcher) -> bool:
    return one.op in ("=", "=~") and (one.text in COLORS or one.text.endswith(tuple(f"-{c}" for c in COLORS)))


def _counters(tree: Expr) -> Iterator[Remark]:
    for expr, above in below(tree):
        if isinstance(expr, Selector) and is_counter(expr.name):
            around = {one.name for one in above if isinstance(one, Call)}
            around |= {one.op for one in above if isinstance(one, Aggregation)}
            if not around & _READS_COUNTERS:
                problem = f"{expr.name} only ever grows, from the start of its process on"
                yield Remark("BW301", expr.start, problem, "read it through rate() or increase() over [{{ window }}]")
        if not (isinstance(expr, Call) and expr.name in RATES and expr.args):
            continue
        read = bare(expr.args[0])
        if isinstance(read, Subquery) and any(isinstance(one, Aggregation) for one in walk(read.expr)):
            problem = f"{expr.name}() of a sum takes each restart of a pod for a jump"
            yield Remark("BW305", expr.start, problem, f"write the sum of the {expr.name}(), one for each series")
        in_histogram = any(isinstance(one, Call) and one.name.startswith("histogram_") for one in above)
        if isinstance(read, Selector) and read.name and not in_histogram and not may_count(read.name):
            ends = ", ".join(COUNTER_ENDS)
            problem = f"{read.name} does not look like a counter (their names end in {ends})"
            cure = "use delta() or deriv() for what goes up and down, or take it as it is"
            yield Remark("BW302", expr.start, problem, cure)


def _histograms(tree: Expr) -> Iterator[Remark]:
    for expr in walk(tree):
        name = expr.name if isinstance(expr, Call) else expr.op if isinstance(expr, Aggregation) else ""
        if name not in ("histogram_quantile", "quantile_over_time", "quantile"):
            continue
        quantile, series = map(bare, children(expr))
        share = range_of(quantile)
        if share.low == share.high and not 0 <= share.low <= 1:
            problem = f"{share.low:g} is no quantile: everything outside of 0 to 1 gives an infinity"
            cure = f"did you mean {share.low / 100:g}?" if 1 < share.low <= 100 else "write one such as 0.99"
            yield Remark("BW407", quantile.start, problem, cure)
        if name == "histogram_quantile":
            yield from _without_le(series)


def _without_le(buckets: Expr) -> Iterator[Remark]:
    for part in walk(buckets):
        if not isinstance(part, Aggregation) or not any(one.name.endswith("_bucket") for one in selectors(part)):
            continue
        if ("le" in part.labels) == (part.grouping == "without"):
            yield Remark(
                "BW406", part.start, "the buckets' bounds are aggregated away", f"write {part.op} by (le) (...)"
            )


def _several(tree: Expr, asked: Asked) -> Iterator[Remark]:
    found = labels_of(tree)
    if found == frozenset() or asked.role == "part" or (asked.role == "value" and asked.reduce is not None):
        return
    differ = f", one for each {' and '.join(sorted(found))}" if found else ""
    cure = "write sum(...) around it" if asked.role == "traffic" else 'add "reduce: max", or write sum(...) around it'
    yield Remark("BW104", tree.start, f"this may give several series{differ}, which is an error", cure)
