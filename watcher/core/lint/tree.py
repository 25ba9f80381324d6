"""PromQL templates as trees: what each part of a query is, and where it stands in the template."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from watcher.core.lint.tokens import Token

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Expr:
    """A part of a query: offsets into the template, and how many levels it has."""

    start: int
    end: int
    height: int


@dataclass(frozen=True, slots=True)
class Number(Expr):
    value: float


@dataclass(frozen=True, slots=True)
class String(Expr):
    text: str


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label; `text` as written, placeholders and escapes included."""

    label: str
    op: str
    text: str
    start: int
    end: int

    @property
    def variables(self) -> frozenset[str]:
        """The placeholders in its value."""
        return frozenset(_PLACEHOLDER.findall(self.text))


@dataclass(frozen=True, slots=True)
class Selector(Expr):
    """Series by name and labels. `range_` is the duration in brackets as written, `offset` too."""

    name: str
    matchers: tuple[Matcher, ...]
    range_: Token | None = None
    offset: Token | None = None


@dataclass(frozen=True, slots=True)
class Subquery(Expr):
    expr: Expr
    range_: Token
    offset: Token | None = None


@dataclass(frozen=True, slots=True)
class Call(Expr):
    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Aggregation(Expr):
    """`grouping` is None without a clause; then one series comes out."""

    op: str
    args: tuple[Expr, ...]
    grouping: Literal["by", "without"] | None
    labels: tuple[str, ...]

    @property
    def expr(self) -> Expr:
        """What is aggregated."""
        return self.args[-1]


@dataclass(frozen=True, slots=True)
class Binary(Expr):
    op: str
    lhs: Expr
    rhs: Expr
    bool_: bool
    op_start: int
    on: tuple[str, ...] | None = None
    """The labels of `on (...)`."""
    grouped: bool = False
    """Whether several series of one side go with one of the other: `group_left`, `group_right`."""


@dataclass(frozen=True, slots=True)
class Unary(Expr):
    op: str
    expr: Expr


@dataclass(frozen=True, slots=True)
class Paren(Expr):
    expr: Expr


def children(expr: Expr) -> tuple[Expr, ...]:
    """The parts of an expression, in the order in which they stand."""
    match expr:
        case Call(args=args) | Aggregation(args=args):
            return args
        case Binary(lhs=lhs, rhs=rhs):
            return lhs, rhs
        case Unary(expr=inner) | Paren(expr=inner) | Subquery(expr=inner):
            return (inner,)
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and all its parts, the inner ones first."""
    for child in children(expr):
        yield from walk(child)
    yield expr


def below(expr: Expr, above: tuple[Expr, ...] = ()) -> Iterator[tuple[Expr, tuple[Expr, ...]]]:
    """Every part of an expression with what it stands in, the outermost first."""
    for child in children(expr):
        yield from below(child, (*above, expr))
    yield expr, above


def bare(expr: Expr) -> Expr:
    """The expression without brackets around it."""
    while isinstance(expr, Paren):
        expr = expr.expr
    return expr


def selectors(expr: Expr) -> list[Selector]:
    """All selectors in an expression, as they stand."""
    return [part for part in walk(expr) if isinstance(part, Selector)]
