"""How far back a query looks, and over how long it makes its rates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from watcher.core.lint.promql import number_of
from watcher.core.lint.tokens import Token
from watcher.core.lint.tree import Call, Expr, Selector, Subquery, bare, below, selectors, walk

SCRAPES = 4
"""So many scrapes a window has to hold: two to make a rate of, and one lost or late at either end."""


@dataclass(frozen=True, slots=True)
class Scrapes:
    """How far apart two scrapes are: of the metrics of which it is known, and of all others."""

    default: timedelta
    known: Mapping[str, timedelta] = field(default_factory=dict)

    def of(self, tree: Expr) -> timedelta:
        """The longest of what an expression reads."""
        found = [self.known.get(one.name, self.default) for one in selectors(tree)]
        return max(found, default=self.default)


_PER_SECOND = frozenset({"rate", "increase", "irate", "delta", "idelta", "deriv"})


@dataclass(frozen=True, slots=True)
class Reach:
    """A range in a query: how long, and whether it is the rule's own window."""

    start: int
    length: timedelta
    is_window: bool


def rate_ranges(tree: Expr, window: timedelta) -> Iterator[Reach]:
    """The ranges over which rates are made."""
    for expr in walk(tree):
        if isinstance(expr, Call) and expr.name in _PER_SECOND and expr.args:
            read = bare(expr.args[0])
            if isinstance(read, Selector) and read.range_ is not None:
                yield Reach(read.range_.start, length(read.range_, window), _is_window(read.range_))


def reaches(tree: Expr, window: timedelta) -> Reach | None:
    """How far back the query looks, by its range that looks the farthest; None when it looks at the moment alone."""
    found = [_reach(selector, above, window) for selector, above in below(tree) if isinstance(selector, Selector)]
    return max((one for one in found if one.length > timedelta()), key=lambda one: one.length, default=None)


def _reach(selector: Selector, above: tuple[Expr, ...], window: timedelta) -> Reach:
    words = [selector.range_, selector.offset]
    words += [word for one in above if isinstance(one, Subquery) for word in (one.range_, one.offset)]
    given = [word for word in words if word is not None]
    total = sum((length(word, window) for word in given), timedelta())
    start = given[0].start if given else selector.start
    return Reach(start, total, all(_is_window(word) for word in given))


def _is_window(word: Token) -> bool:
    return word.text.startswith("{{")


def length(word: Token, window: timedelta) -> timedelta:
    """A duration as written in PromQL. A bare number is seconds."""
    if _is_window(word):
        return window
    parts = re.findall(r"([0-9]+)([a-z]+)", word.text)
    seconds = number_of(word.text) if word.kind == "number" else sum(int(n) * _SECONDS[unit] for n, unit in parts)
    return timedelta(seconds=min(seconds, _LONGEST))


_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_LONGEST = 100 * 365 * 86400
"""Seconds; whatever is longer is as good as this."""
