"""Many queries as one, and one long range as several: the arithmetic of asking, without any input or output.

A merged request is `label_replace((<expr>), "watcher_rule", "<n>", "", "") or ...`: the added label tells the answers
apart and keeps `or` from dropping rows that look alike. What always holds: an expression is merged only when the parser
has understood it, because only then do its brackets close what they open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

import promql_parser

from watcher.core.readings import Answer, Failed, NoData, Row, Series

RULE_LABEL = "watcher_rule"
MAX_POINTS = 11_000  # points of one series that Prometheus gives in one answer
MAX_MERGED = 100  # expressions in one request
MAX_MERGED_CHARS = 200_000
MAX_MERGED_POINTS = 300_000  # expressions times evaluation times in one request
MAX_PARSED_CHARS = 4_000  # the parser recurses: text nested some thousand levels deep would crash the process

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RANGE_ENDS = re.compile(r"@\s*(?:start|end)\s*\(")

Kind = Literal["vector", "scalar", "apart"]


@lru_cache(maxsize=8192)
def kind_of(expr: str) -> Kind:
    """Say whether an expression gives a vector or a scalar, or has to be asked apart.

    Apart: what the parser refuses (it may be too new for the parser, so the server decides), strings and ranges (the
    server refuses them with a reason worth showing), and what speaks of our own label.
    """
    if len(expr) > MAX_PARSED_CHARS or RULE_LABEL in expr:
        return "apart"
    try:
        parsed = promql_parser.parse(expr)
    except ValueError:
        return "apart"
    return _kind(parsed)


def _kind(parsed: promql_parser.Expr) -> Kind:
    match parsed:
        case promql_parser.NumberLiteral():
            return "scalar"
        case promql_parser.StringLiteral() | promql_parser.MatrixSelector() | promql_parser.SubqueryExpr():
            return "apart"
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            return _kind(parsed.expr)
        case promql_parser.BinaryExpr():
            return "scalar" if _kind(parsed.lhs) == _kind(parsed.rhs) == "scalar" else "vector"
        case promql_parser.Call():
            return "scalar" if parsed.func.return_type == promql_parser.ValueType.Scalar else "vector"
        case _:
            return "vector"


def merge(exprs: Sequence[str]) -> str:
    """One expression whose rows carry, as RULE_LABEL, the place in `exprs` of the one that they belong to."""
    if len(exprs) == 1:
        return exprs[0]
    # A line break ends a comment that an expression may end with; without it the bracket would be part of the comment.
    tagged = [
        f'label_replace({"vector" if kind_of(expr) == "scalar" else ""}({expr}\n),"{RULE_LABEL}","{place}","","")'
        for place, expr in enumerate(exprs)
    ]
    return _either(tagged)


def _either(parts: Sequence[str]) -> str:
    """`a or b or ...` as a balanced tree: as a chain, each `or` would copy all the rows before it once more."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_either(parts[:middle])} or {_either(parts[middle:])})"


def part(rows: Iterable[Row], places: int) -> list[tuple[Row, ...]]:
    """Undo `merge`: the rows of each place, with the labels that the expression alone would have given.

    Raises ValueError for a row that belongs nowhere, and so does not answer what was asked.
    """
    parted: list[list[Row]] = [[] for _ in range(places)]
    for row in rows:
        labels = dict(row.labels)
        place = int(labels.pop(RULE_LABEL, "-1"))
        if not 0 <= place < places:
            raise ValueError(f"a row of the answer has no usable {RULE_LABEL} label")
        parted[place].append(Row(labels, row.points))
    return [tuple(rows) for rows in parted]


def groups(exprs: Sequence[str], points: int) -> Iterator[tuple[str, ...]]:
    """Cut expressions into groups, each of a size that one request should have."""
    largest = max(1, min(MAX_MERGED, MAX_MERGED_POINTS // points))
    group: list[str] = []
    chars = 0
    for expr in exprs:
        if group and (len(group) == largest or chars + len(expr) > MAX_MERGED_CHARS):
            yield tuple(group)
            group, chars = [], 0
        group.append(expr)
        chars += len(expr)
    if group:
        yield tuple(group)


@dataclass(frozen=True, slots=True)
class Span:
    """Evaluation times `start + k * step` up to `end`, as a server is asked for them: in whole milliseconds."""

    start: datetime
    step: timedelta
    points: int

    @classmethod
    def over(cls, start: datetime, end: datetime, step: timedelta) -> Span:
        """Raises ValueError for what no caller may ask: naive times, an end before the start, a step without length."""
        if start.tzinfo is None or end.tzinfo is None:
            raise ValueError("start and end must have a time zone")
        if end < start:
            raise ValueError("end must not be before start")
        if step < _MILLISECOND or step % _MILLISECOND:
            raise ValueError("step must be a whole number of milliseconds, at least one")
        return cls(start, step, (end - start) // step + 1)

    def pieces(self) -> list[Span]:
        """Spans of at most MAX_POINTS points that together are this one."""
        return [
            Span(self.start + done * self.step, self.step, min(MAX_POINTS, self.points - done))
            for done in range(0, self.points, MAX_POINTS)
        ]

    def parameters(self) -> dict[str, str]:
        first = self._milliseconds()
        step = self.step // _MILLISECOND
        last = first + (self.points - 1) * step
        return {"start": _seconds(first), "end": _seconds(last), "step": _seconds(step)}

    def keys(self) -> Mapping[int, float]:
        """By millisecond, as servers count: `(start + k * step).timestamp()`, so that callers find what they asked."""
        first, step = self._milliseconds(), self.step // _MILLISECOND
        return {first + k * step: (self.start + k * self.step).timestamp() for k in range(self.points)}

    def _milliseconds(self) -> int:
        return round((self.start - _EPOCH) / _MILLISECOND)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03}"


def means_the_range(expr: str) -> bool:
    """Whether `@ start()` or `@ end()` occurs: then an answer in pieces would not be the answer."""
    return _RANGE_ENDS.search(expr) is not None


def join(answers: Iterable[Answer]) -> Answer:
    """The answers to the pieces of one span as one. One failed piece fails the whole: half a range misleads."""
    rows: dict[frozenset[tuple[str, str]], tuple[Mapping[str, str], dict[float, float]]] = {}
    for answer in answers:
        if isinstance(answer, Failed):
            return answer
        for row in answer.rows if isinstance(answer, Series) else ():
            _, points = rows.setdefault(frozenset(row.labels.items()), (row.labels, {}))
            points.update(row.points)
    if not rows:
        return NoData()
    return Series(tuple(Row(labels, points) for labels, points in rows.values()))
