"""What is doubtful about shares: what is empty while all is well, what is infinite, what takes a gap for an answer."""

from __future__ import annotations

from collections.abc import Iterator

from watcher.core.lint.findings import Remark
from watcher.core.lint.queries import Asked
from watcher.core.lint.shapes import RATES, is_scalar, is_zero, range_of
from watcher.core.lint.tree import Binary, Call, Expr, Matcher, Selector, bare, children, selectors, walk

_OUTCOMES = frozenset(
    {"code", "status", "status_code", "response_code", "http_status", "grpc_code", "grpc_status"}
    | {"grpc_response_status", "error", "outcome", "result", "reason"}
)
"""Labels that part good from bad: some of their values may never have been seen."""


def remarks(tree: Expr, asked: Asked) -> Iterator[Remark]:
    """Everything doubtful about the shares in a rule's query."""
    yield from _shares(tree, asked)
    yield from _blind_while_good(tree, asked)


def _shares(tree: Expr, asked: Asked) -> Iterator[Remark]:
    for expr in walk(tree):
        if not isinstance(expr, Binary) or expr.op not in ("/", "%") or is_scalar(expr.rhs):
            continue
        below = selectors(expr.rhs)
        for selector in _unprotected(expr.lhs):
            narrow = _narrowing(selector, below)
            if narrow is not None and not asked.passes_blind:
                problem = f'there is no such series until {narrow.label}{narrow.op}"{narrow.text}" was seen once'
                yield Remark("BW401", selector.start, problem, 'write "(sum(...) or vector(0))" for the numerator')
        if asked.traffic:
            continue
        if _rated(expr.lhs) and _rated(expr.rhs):
            problem = "a share of three requests says nothing"
            yield Remark("BW404", expr.start, problem, 'give the rule "traffic" with a query and an "atLeast"')
        elif range_of(expr.rhs).low <= 0 and not _above_zero(expr.rhs):
            problem = "where this is 0, the quotient is infinite, which is past any limit"
            yield Remark("BW405", expr.rhs.start, problem, 'write "(... > 0)", so that it gives no data instead')


def _above_zero(expr: Expr) -> bool:
    """Whether a comparison keeps zero away."""
    inner = bare(expr)
    if not isinstance(inner, Binary) or inner.bool_ or not is_scalar(inner.rhs):
        return False
    return (inner.op == "!=" and is_zero(inner.rhs)) or (inner.op == ">" and range_of(inner.rhs).low >= 0)


def _rated(expr: Expr) -> bool:
    return any(isinstance(one, Call) and one.name in RATES for one in walk(expr))


def _unprotected(expr: Expr) -> Iterator[Selector]:
    """The selectors of an expression for which nothing stands in when they are empty."""
    if isinstance(expr, Selector):
        yield expr
    elif isinstance(expr, Binary) and expr.op == "or":
        yield from _unprotected(expr.rhs)
    elif not (isinstance(expr, Call) and expr.name.startswith("absent")):
        for child in children(expr):
            yield from _unprotected(child)


def _narrowing(selector: Selector, below: list[Selector]) -> Matcher | None:
    """The condition by which a numerator's selector may match nothing while the denominator's matches."""
    same = [one for one in below if one.name == selector.name]
    if same:
        wide = {(m.label, m.op, m.text) for one in same for m in one.matchers}
        return next((m for m in selector.matchers if (m.label, m.op, m.text) not in wide and _may_be_empty(m)), None)
    wide_labels = {m.label for one in below for m in one.matchers}
    return next((m for m in selector.matchers if m.label in _OUTCOMES - wide_labels and _may_be_empty(m)), None)


def _may_be_empty(one: Matcher) -> bool:
    return not (one.op == "!=" and not one.text) and not one.variables and one.label != "le"


def _blind_while_good(tree: Expr, asked: Asked) -> Iterator[Remark]:
    whole = bare(tree)
    if isinstance(whole, Binary) and whole.op == "or" and _is_constant(whole.rhs) and not asked.traffic:
        problem = "without any series at all this is a number too, and a gap looks like an answer"
        yield Remark("BW403", whole.op_start, problem, 'give the rule "traffic", or protect the numerator alone')
    if asked.passes_blind:
        return
    shares = [one for one in walk(tree) if isinstance(one, Binary) and one.op in ("/", "%")]
    inside = {id(selector) for share in shares for selector in selectors(share)}
    for selector in _unprotected(tree):
        narrow = next((m for m in selector.matchers if m.label in _OUTCOMES and _may_be_empty(m)), None)
        if narrow is not None and id(selector) not in inside:
            problem = (
                f'until {narrow.label}{narrow.op}"{narrow.text}" was seen once, this is no data, and the watch holds'
            )
            yield Remark(
                "BW402", selector.start, problem, 'write "(sum(...) or vector(0))", and give the rule "traffic"'
            )


def _is_constant(expr: Expr) -> bool:
    """Whether an expression is a number made into a series, as in `vector(0)`."""
    inner = bare(expr)
    return isinstance(inner, Call) and inner.name == "vector"
