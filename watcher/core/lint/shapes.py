"""What numbers a query can give: between which limits, and in which unit.

Everything here errs on one side: a range is never narrower than the truth. So what is said to be out of reach is. The
tables follow Prometheus's documentation of its functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from watcher.core.lint.promql import COMPARISONS
from watcher.core.lint.tree import (
    Aggregation,
    Binary,
    Call,
    Expr,
    Number,
    Paren,
    Selector,
    Subquery,
    Unary,
    bare,
    selectors,
)

Unit = Literal["", "s", "ms", "B", "s/s", "ms/s", "B/s"]
"""What a number counts, where names tell it; empty where they do not."""

RATES = frozenset({"rate", "increase", "irate"})
COUNTER_ENDS = ("_total", "_count", "_sum", "_bucket")


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


_SAME = _words(
    "label_replace label_join sort sort_desc sort_by_label sort_by_label_desc scalar vector avg_over_time",
    "min_over_time max_over_time last_over_time first_over_time info",
)
"""Functions whose numbers are those of their (first) argument."""
_ROUNDED = _words("ceil floor round")
_NOT_NEGATIVE = _words(
    "rate increase irate resets changes count_over_time stddev_over_time stdvar_over_time mad_over_time abs sqrt exp",
    "time histogram_count histogram_quantile timestamp year month day_of_month day_of_week day_of_year days_in_month",
    "hour minute",
)
_ONE = _words("absent absent_over_time present_over_time")
_OTHERS = _words(
    "acos acosh asin asinh atan atanh clamp clamp_max clamp_min cos cosh deg delta deriv double_exponential_smoothing",
    "histogram_avg histogram_fraction histogram_stddev histogram_stdvar histogram_sum holt_winters idelta ln log10",
    "log2 pi predict_linear quantile_over_time rad sgn sin sinh sum_over_time tan tanh",
)
FUNCTIONS = _SAME | _ROUNDED | _NOT_NEGATIVE | _ONE | _OTHERS
"""Names to suggest for one that does not exist."""


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers that may come out lie in it."""

    low: float = -math.inf
    high: float = math.inf

    def __or__(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))


ANY = Range()
POSITIVE = Range(0.0)
SHARE = Range(0.0, 1.0)


def is_counter(name: str) -> bool:
    """Whether a metric's name says that it only ever grows."""
    return name.endswith(COUNTER_ENDS)


def may_count(name: str) -> bool:
    """Whether a metric may be a counter by its name; some exporters leave the ending off."""
    return is_counter(name) or name.endswith("_requests")


def range_of(expr: Expr) -> Range:
    """Between which limits the numbers of an expression lie."""
    match expr:
        case Number(value=value) if not math.isnan(value):
            return Range(value, value)
        case Selector(name=name):
            return POSITIVE if is_counter(name) else ANY
        case Paren(expr=inner) | Subquery(expr=inner):
            return range_of(inner)
        case Unary(op=op, expr=inner):
            found = range_of(inner)
            return Range(-found.high, -found.low) if op == "-" else found
        case Aggregation():
            return _aggregated(expr)
        case Call():
            return _called(expr)
        case Binary():
            return _combined(expr)
        case _:
            return ANY


def _aggregated(expr: Aggregation) -> Range:
    inner = range_of(expr.expr)
    match expr.op:
        case "sum":
            return Range(max(inner.low, 0.0)) if inner.low >= 0 else ANY
        case "count" | "count_values":
            return Range(1.0)
        case "group":
            return Range(1.0, 1.0)
        case "stddev" | "stdvar":
            return POSITIVE
        case _:
            return inner


def _called(expr: Call) -> Range:
    name, args = expr.name, expr.args
    if name in _ONE:
        return Range(1.0, 1.0)
    if name in RATES and not all(may_count(one.name) for one in selectors(expr)):
        return ANY  # of numbers below zero a rate can be anything
    if name in _NOT_NEGATIVE:
        return POSITIVE
    if not args:
        return ANY
    inner = range_of(args[0])
    if name in _SAME:
        return inner
    if name in _ROUNDED:
        return Range(_outward(math.floor, inner.low), _outward(math.ceil, inner.high)) if len(args) == 1 else ANY
    if name == "sum_over_time":
        return POSITIVE if inner.low >= 0 else ANY
    if name == "sgn":
        return Range(-1.0, 1.0)
    bounds = [found.low if (found := range_of(one)).low == found.high else math.nan for one in args[1:]]
    if name in ("clamp", "clamp_min", "clamp_max") and not any(math.isnan(bound) for bound in bounds):
        low = bounds[0] if name != "clamp_max" else -math.inf
        high = bounds[-1] if name != "clamp_min" else math.inf
        return Range(min(max(inner.low, low), high), max(min(inner.high, high), low))
    return ANY


def _outward(rounding: Callable[[float], int], value: float) -> float:
    return float(rounding(value)) if math.isfinite(value) else value


def _combined(expr: Binary) -> Range:
    left, right = range_of(expr.lhs), range_of(expr.rhs)
    match expr.op:
        case "or":
            return left | right
        case "and" | "unless":
            return left
        case op if op in COMPARISONS:
            if expr.bool_ or (is_scalar(expr.lhs) and is_scalar(expr.rhs)):
                return SHARE
            # What comes through is the series, on whichever side it stands.
            return _filtered(_FLIPPED[op], right, left) if is_scalar(expr.lhs) else _filtered(op, left, right)
        case "+":
            return Range(_sum(left.low, right.low, -math.inf), _sum(left.high, right.high, math.inf))
        case "-":
            return Range(_sum(left.low, -right.high, -math.inf), _sum(left.high, -right.low, math.inf))
        case "*":
            return _product(left, right)
        case "/" if (whole := share_of(expr)) is not None:
            return Range(0.0, whole)
        case "/" if right.low == right.high and right.low not in (0.0, math.inf, -math.inf):
            return _product(left, Range(1 / right.low, 1 / right.low))
        case "/" if left.low >= 0 and right.low >= 0:
            return POSITIVE
        case _:
            return ANY


_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def _sum(a: float, b: float, unclear: float) -> float:
    total = a + b
    return unclear if math.isnan(total) else total


def _product(left: Range, right: Range) -> Range:
    # Zero times infinity: one end has no bound, so the product has none either way.
    corners = [a * b for a in (left.low, left.high) for b in (right.low, right.high)]
    if any(math.isnan(corner) for corner in corners):
        return POSITIVE if left.low >= 0 and right.low >= 0 else ANY
    return Range(min(corners), max(corners))


def _filtered(op: str, left: Range, right: Range) -> Range:
    """What a comparison without `bool` lets through."""
    if op in (">", ">="):
        return replace(left, low=max(left.low, right.low))
    if op in ("<", "<="):
        return replace(left, high=min(left.high, right.high))
    return left


def share_of(expr: Binary) -> float | None:
    """Whether a division gives a part of a whole: the same sum above with narrower selectors than below. The number
    that stands for the whole then: 1, or 100 for `100 * a / b`."""
    factor, above = 1.0, bare(expr.lhs)
    if isinstance(above, Binary) and above.op == "*":
        for number, rest in ((bare(above.lhs), above.rhs), (bare(above.rhs), above.lhs)):
            if isinstance(number, Number) and number.value > 0:
                factor, above = number.value, bare(rest)
                break
    if isinstance(above, Binary) and above.op == "or" and is_zero(above.rhs):
        above = bare(above.lhs)
    below = bare(expr.rhs)
    if isinstance(below, Binary) and below.op in COMPARISONS and not below.bool_ and is_scalar(below.rhs):
        below = bare(below.lhs)
    return factor if range_of(above).low >= 0 and _part_of(above, below) else None


def _part_of(part: Expr, whole: Expr) -> bool:
    part, whole = bare(part), bare(whole)
    match part, whole:
        case Selector(), Selector():
            return _narrower(part, whole)
        case Aggregation(), Aggregation() if part.op == whole.op and part.op in ("sum", "count"):
            same = (part.grouping, part.labels) == (whole.grouping, whole.labels)
            return same and _part_of(part.expr, whole.expr)
        case Call(), Call() if part.name == whole.name and part.name in RATES:
            return _part_of(part.args[0], whole.args[0])
        case _:
            return False


def _narrower(part: Selector, whole: Selector) -> bool:
    conditions = {(one.label, one.op, one.text) for one in part.matchers}
    same_time = [a.text if a else "" for a in (part.range_, part.offset)] == [
        a.text if a else "" for a in (whole.range_, whole.offset)
    ]
    if part.name.endswith("_bucket") and whole.name == part.name.removesuffix("_bucket") + "_count":
        # One bucket of a histogram against the count of it.
        les = {one for one in conditions if one[:2] == ("le", "=")}
        return same_time and bool(les) and {(o.label, o.op, o.text) for o in whole.matchers} <= conditions - les
    named = bool(part.name) and part.name == whole.name
    return same_time and named and {(o.label, o.op, o.text) for o in whole.matchers} <= conditions


def is_scalar(expr: Expr) -> bool:
    """Whether an expression is a plain number, which goes with every series."""
    match bare(expr):
        case Number():
            return True
        case Call(name=name):
            return name in ("scalar", "time", "pi")
        case Unary(expr=inner):
            return is_scalar(inner)
        case Binary(lhs=lhs, rhs=rhs):
            return is_scalar(lhs) and is_scalar(rhs)
        case _:
            return False


def unit_of(expr: Expr) -> Unit:
    """What the numbers of an expression count, as far as the metrics' names say it."""
    match expr:
        case Selector(name=name):
            return _unit_of_name(name)
        case Paren(expr=inner) | Subquery(expr=inner) | Unary(expr=inner):
            return unit_of(inner)
        case Aggregation(op=op) if op not in ("count", "count_values", "group", "stdvar"):
            return unit_of(expr.expr)
        case Call(name=name, args=args) if args:
            return _unit_of_call(name, args)
        case Binary(op=op, lhs=lhs, rhs=rhs):
            left, right = unit_of(lhs), unit_of(rhs)
            if op in ("and", "unless") or (op in COMPARISONS and not expr.bool_):
                return left
            if op in ("+", "-", "or"):
                return left if left == right or is_zero(rhs) else ""
            # The mean of a histogram: seconds per second by events per second.
            return _per_event(left) if op == "/" and _counts_events(rhs) else ""
        case _:
            return ""


def is_zero(expr: Expr) -> bool:
    """Whether an expression is nothing but `vector(0)` or 0."""
    return range_of(expr) == Range(0.0, 0.0)


def _unit_of_name(name: str) -> Unit:
    if name.endswith(("_count", "_bucket")):
        return ""
    return _base_unit(name.removesuffix("_total").removesuffix("_sum"))


def _base_unit(name: str) -> Unit:
    if name.endswith("_milliseconds"):
        return "ms"
    if name.endswith("_seconds"):
        return "s"
    return "B" if name.endswith("_bytes") else ""


def _unit_of_call(name: str, args: tuple[Expr, ...]) -> Unit:
    if name == "histogram_quantile" and len(args) == 2:
        units = {_base_unit(one.name.removesuffix("_bucket")) for one in selectors(args[1])}
        return units.pop() if len(units) == 1 else ""
    if name in ("rate", "irate", "deriv"):
        per: Mapping[Unit, Unit] = {"s": "s/s", "ms": "ms/s", "B": "B/s"}
        return per.get(unit_of(args[0]), "")
    if name in _SAME or name in _ROUNDED or name in ("increase", "delta", "idelta", "abs", "sum_over_time"):
        return unit_of(args[0])
    return unit_of(args[-1]) if name == "quantile_over_time" else ""


def _per_event(unit: Unit) -> Unit:
    back: Mapping[Unit, Unit] = {"s/s": "s", "ms/s": "ms", "B/s": "B"}
    return back.get(unit, "")


def _counts_events(expr: Expr) -> bool:
    found = selectors(expr)
    return bool(found) and all(one.name.endswith("_count") and one.range_ is not None for one in found)
