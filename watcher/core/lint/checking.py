"""Whether Prometheus would take a query: the tree for its places, and a library's parser for functions and types."""

from __future__ import annotations

import re
from collections.abc import Mapping

import promql_parser

from watcher.core.lint.findings import Remark
from watcher.core.lint.promql import AGGREGATIONS, parse
from watcher.core.lint.shapes import FUNCTIONS
from watcher.core.lint.tokens import TooDeep, Unreadable
from watcher.core.lint.tree import Expr, Selector, String, Subquery, bare, walk
from watcher.core.templates import VARIABLES, render
from watcher.core.units import near_miss

SAMPLE: Mapping[str, str] = {**dict.fromkeys(VARIABLES, "x"), "window": "1m"}
"""Values that stand for all others: what a query is made of does not depend on them."""

_UNKNOWN = re.compile(r"unknown function with name '([^']*)'")


def understood(template: str) -> tuple[Expr | None, list[Remark]]:
    """The tree of a template that can be rendered, and what keeps Prometheus from taking it. Without a tree nothing
    more can be said of it."""
    try:
        tree = parse(template)
    except TooDeep as error:
        return None, [Remark("BW102", error.start, error.problem, error.cure)]
    except Unreadable as error:
        return None, [Remark("BW101", error.start, error.problem, error.cure)]
    if _refusal(template, tree.start, tree.end):
        return None, [_located(template, tree)]
    numbers = bare(tree)
    if isinstance(numbers, String | Subquery) or (isinstance(numbers, Selector) and numbers.range_ is not None):
        what = "a text" if isinstance(numbers, String) else "a range of values for each series"
        cure = "write a query that gives one number"
        if not isinstance(numbers, String):
            cure = "put a function such as rate() or max_over_time() around it"
        return None, [Remark("BW103", numbers.start, f"the query gives {what}, not one", cure)]
    return tree, []


def _refusal(template: str, start: int, end: int) -> str:
    """What the library says against a part of a template; empty when nothing."""
    try:
        promql_parser.parse(render(template[start:end], SAMPLE))
    except ValueError as error:
        return str(error)
    return ""


def _located(template: str, tree: Expr) -> Remark:
    """The refusal of the innermost part that is refused by itself."""
    said, start = next((said, part.start) for part in walk(tree) if (said := _refusal(template, part.start, part.end)))
    for selector in (part for part in walk(tree) if isinstance(part, Selector) and part.start == start):
        for matcher in selector.matchers:
            if inner := _refusal(f"x{{{template[matcher.start : matcher.end]}}}", 0, matcher.end - matcher.start + 3):
                said, start = inner, matcher.start
                break
    unknown = _UNKNOWN.search(said)
    guess = near_miss(unknown[1], [*FUNCTIONS, *AGGREGATIONS]) if unknown else None
    return Remark("BW101", start, said, f'did you mean "{guess}"?' if guess else "correct the query")
