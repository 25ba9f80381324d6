"""As how many series a query can answer: by which labels they can differ.

It errs on one side: "one series" is only said of what the query itself makes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from watcher.core.lint.shapes import is_scalar
from watcher.core.lint.tree import (
    Aggregation,
    Binary,
    Call,
    Expr,
    Number,
    Paren,
    String,
    Subquery,
    Unary,
    bare,
    selectors,
    walk,
)

_VECTOR_ARGUMENT: Mapping[str, int] = {"histogram_quantile": 1, "quantile_over_time": 1, "histogram_fraction": 2}
"""Where the series of a call come from, if not from its first argument."""
_UNLABELLED = frozenset({"scalar", "vector", "time", "pi"})


@dataclass(frozen=True, slots=True)
class Labels:
    """By which labels the series of an expression can differ, and which they can carry; None where it is not known.
    A label that they all carry with one value makes no difference until other series come beside them."""

    differ: frozenset[str] | None
    carried: frozenset[str] | None


_NO_LABELS = Labels(frozenset(), frozenset())
_UNKNOWN = Labels(None, None)
_ONE_SERIES = Labels(frozenset(), None)


def labels_of(expr: Expr) -> frozenset[str] | None:
    """By which labels the series of an expression can differ: empty for one series, None where that is not known."""
    return _labels(expr).differ


def _labels(expr: Expr) -> Labels:
    match expr:
        case Number() | String():
            return _NO_LABELS
        case Paren(expr=inner) | Unary(expr=inner) | Subquery(expr=inner):
            return _labels(inner)
        case Aggregation():
            return _grouped(expr)
        case Call():
            return _of_call(expr)
        case Binary():
            return _matched(expr)
        case _:
            return _UNKNOWN


def _of_call(expr: Call) -> Labels:
    name, args = expr.name, expr.args
    if name in ("absent", "absent_over_time"):
        return _ONE_SERIES  # with the labels that its selector fixes
    if name in _UNLABELLED or not args:
        return _NO_LABELS
    found = _labels(args[_VECTOR_ARGUMENT.get(name, 0)])
    if found.differ is None or found.carried is None:
        return found
    if name in ("label_replace", "label_join") and isinstance(args[1], String):
        return Labels(found.differ | {args[1].text}, found.carried | {args[1].text})
    if name == "histogram_quantile":
        return Labels(found.differ - {"le"}, found.carried - {"le"})
    return found


def _grouped(expr: Aggregation) -> Labels:
    inner = _labels(expr.expr)
    if expr.op in ("topk", "bottomk", "limitk", "limit_ratio"):
        one = isinstance(number := bare(expr.args[0]), Number) and number.value == 1 and expr.grouping is None
        return _ONE_SERIES if one else inner
    if expr.op == "count_values":
        return _UNKNOWN
    named = frozenset(expr.labels)
    if expr.grouping == "without":
        return Labels(*(None if one is None else one - named for one in (inner.differ, inner.carried)))
    carried = named if inner.carried is None else named & inner.carried
    return Labels(named - _fixed(expr.expr) if inner.differ is None else named & inner.differ, carried)


def _fixed(expr: Expr) -> frozenset[str]:
    """Labels to which every selector in an expression gives one value."""
    fixed = [frozenset(one.label for one in found.matchers if one.op == "=") for found in selectors(expr)]
    beside = any(isinstance(part, Binary) and part.op == "or" for part in walk(expr))
    return frozenset() if beside or not fixed else frozenset.intersection(*fixed)


def _matched(expr: Binary) -> Labels:
    left, right = _labels(expr.lhs), _labels(expr.rhs)
    if expr.op == "or":
        both = _union(left.carried, right.carried)
        return Labels(both, both)
    if expr.op in ("and", "unless") or is_scalar(expr.rhs):
        return left
    if is_scalar(expr.lhs):
        return right
    if expr.grouped:
        return Labels(_union(left.differ, right.differ), _union(left.carried, right.carried))
    if expr.on is not None:
        on = frozenset(expr.on)
        return Labels(on if left.differ is None else on & left.differ, on)
    if frozenset() in (left.differ, right.differ):
        return _ONE_SERIES
    if left.differ is None or right.differ is None:
        return _UNKNOWN
    return Labels(left.differ & right.differ, _union(left.carried, right.carried))


def _union(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return None if one is None or other is None else one | other
