"""Reads PromQL templates into trees in which every node knows where it stands, for findings that name their place.

The parser of a library has no places, and crashes the process on deep nesting. This one reads what a rule may say;
whether functions and their arguments exist is then asked of the library (`checking`). What always holds: any text ends
in a tree of at most DEEPEST levels or in one `Unreadable`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from watcher.core.lint.tokens import Token, TooDeep, Unreadable, tokens
from watcher.core.lint.tree import (
    Aggregation,
    Binary,
    Call,
    Expr,
    Matcher,
    Number,
    Paren,
    Selector,
    String,
    Subquery,
    Unary,
)
from watcher.core.units import shown

LONGEST = 4_000
"""Characters of a query that are looked into."""
DEEPEST = 60
"""Levels of a query that are looked into."""

WITH_PARAMETER = frozenset({"count_values", "bottomk", "topk", "quantile", "limitk", "limit_ratio"})
AGGREGATIONS = WITH_PARAMETER | {"sum", "min", "max", "avg", "group", "stddev", "stdvar", "count"}
COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_PRECEDENCE = {
    "or": 1,
    "and": 2,
    "unless": 2,
    **dict.fromkeys(COMPARISONS, 3),
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
    "%": 5,
    "atan2": 5,
    "^": 6,
}
_UNARY = 5
_MATCHES = ("=", "!=", "=~", "!~")


def parse(template: str) -> Expr:
    """The tree of a template; raises Unreadable (TooDeep for what may be right and is too much to look into)."""
    if len(template) > LONGEST:
        problem = f"the query has {len(template)} characters, and only {LONGEST} are looked into"
        raise TooDeep(0, problem, "move a part of it into a recording rule")
    parser = _Parser(tokens(template))
    expr = parser.expression(0)
    if parser.next.kind != "end":
        raise parser.unexpected()
    return expr


def number_of(text: str) -> float:
    """A number as PromQL writes it."""
    return float(int(text, 16)) if text[:2].lower() == "0x" else float(text)


class _Parser:
    """Precedence climbing over the tokens."""

    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self._at = 0
        self._depth = 0

    @property
    def next(self) -> Token:
        return self._words[self._at]

    def unexpected(self) -> Unreadable:
        token = self.next
        if token.kind == "end":
            last = self._words[self._at - 1].start if self._at else 0
            return Unreadable(last, "the query ends where something should follow", "complete it")
        if token.is_(")", "]", "}"):
            return Unreadable(token.start, f'this "{token.text}" closes nothing', "take it out, or open it before")
        return Unreadable(token.start, f"{shown(token.text)} cannot stand here", "correct it")

    def _take(self) -> Token:
        token = self.next
        self._at += token.kind != "end"
        return token

    def _close(self, opening: Token, closing: str) -> Token:
        if self.next.is_(closing):
            return self._take()
        if self.next.kind == "end":
            problem = f'this "{opening.text}" is not closed'
            raise Unreadable(opening.start, problem, f'write "{closing}" where it ends')
        raise self.unexpected()

    def _bounded(self, height: int, start: int) -> int:
        if height > DEEPEST:
            problem = f"the query is nested more than {DEEPEST} deep, and is not looked into"
            raise TooDeep(start, problem, "move a part of it into a recording rule")
        return height

    def expression(self, least: int) -> Expr:
        """An expression of operators that bind at least so tightly."""
        self._depth = self._bounded(self._depth + 1, self.next.start)
        lhs = self._unary()
        while (precedence := self._precedence()) and precedence >= max(least, 1):
            lhs = self._binary(lhs, precedence)
        self._depth -= 1
        return lhs

    def _precedence(self) -> int:
        token = self.next
        named = token.kind == "op" or token.word("and", "or", "unless", "atan2")
        return _PRECEDENCE.get(token.text.lower(), 0) if named else 0

    def _binary(self, lhs: Expr, precedence: int) -> Expr:
        op = self._take()
        bool_, on, grouped = self._modifiers()
        rhs = self.expression(precedence if op.text == "^" else precedence + 1)
        height = self._bounded(max(lhs.height, rhs.height) + 1, lhs.start)
        return Binary(lhs.start, rhs.end, height, op.text.lower(), lhs, rhs, bool_, op.start, on, grouped)

    def _modifiers(self) -> tuple[bool, tuple[str, ...] | None, bool]:
        """`bool on (...) group_left (...)` between an operator and its right side."""
        bool_ = self.next.word("bool")
        if bool_:
            self._take()
        on = None
        if self.next.word("on", "ignoring"):
            word = self._take()
            labels = self._labels()
            on = labels if word.word("on") else None
        grouped = self.next.word("group_left", "group_right")
        if grouped:
            self._take()
            if self.next.is_("("):
                self._labels()
        return bool_, on, grouped

    def _labels(self) -> tuple[str, ...]:
        opening = self.next
        if not opening.is_("("):
            raise self.unexpected()
        self._take()
        labels = []
        while self.next.kind in ("ident", "string"):
            labels.append(self._take().text)
            if not self.next.is_(","):
                break
            self._take()
        self._close(opening, ")")
        return tuple(labels)

    def _unary(self) -> Expr:
        if not self.next.is_("-", "+"):
            return self._postfix(self._primary())
        op = self._take()
        inner = self.expression(_UNARY + 1)
        return Unary(op.start, inner.end, self._bounded(inner.height + 1, op.start), op.text, inner)

    def _primary(self) -> Expr:
        token = self.next
        if token.kind == "number":
            self._take()
            return Number(token.start, token.end, 1, number_of(token.text))
        if token.kind == "string":
            self._take()
            return String(token.start, token.end, 1, token.text)
        if token.is_("("):
            self._take()
            inner = self.expression(0)
            end = self._close(token, ")").end
            return Paren(token.start, end, self._bounded(inner.height + 1, token.start), inner)
        if token.is_("{"):
            return self._selector(token.start, "")
        if token.kind == "ident" and not self._precedence():
            return self._named()
        raise self.unexpected()

    def _named(self) -> Expr:
        token = self._take()
        lower = token.text.lower()
        if lower in AGGREGATIONS and (self.next.is_("(") or self.next.word("by", "without")):
            return self._aggregation(token, lower)
        if not self.next.is_("("):
            return self._selector(token.start, token.text)
        args, end = self._arguments()
        height = self._bounded(max((arg.height for arg in args), default=0) + 1, token.start)
        return Call(token.start, end, height, token.text, args)

    def _arguments(self) -> tuple[tuple[Expr, ...], int]:
        opening = self._take()
        args = []
        while not self.next.is_(")"):
            args.append(self.expression(0))
            if not self.next.is_(","):
                break
            comma = self._take()
            if self.next.is_(")"):
                raise Unreadable(comma.start, "no argument follows this comma", "take it out, or add one")
        return tuple(args), self._close(opening, ")").end

    def _aggregation(self, token: Token, op: str) -> Expr:
        grouping, labels = self._grouping()
        if not self.next.is_("("):
            raise self.unexpected()
        args, end = self._arguments()
        if grouping is None:
            grouping, labels = self._grouping()
            end = self._words[self._at - 1].end
        wanted = 2 if op in WITH_PARAMETER else 1
        if len(args) != wanted:
            problem = f"{op} takes {wanted} argument{'s' if wanted > 1 else ''}, and {len(args)} are given"
            raise Unreadable(token.start, problem, "correct them")
        height = self._bounded(max(arg.height for arg in args) + 1, token.start)
        return Aggregation(token.start, end, height, op, args, grouping, labels)

    def _grouping(self) -> tuple[Literal["by", "without"] | None, tuple[str, ...]]:
        if not self.next.word("by", "without"):
            return None, ()
        by = self._take().word("by")
        return "by" if by else "without", self._labels()

    def _selector(self, start: int, name: str) -> Selector:
        end = self._words[self._at - 1].end if name else start
        matchers: list[Matcher] = []
        if self.next.is_("{"):
            opening = self._take()
            while not self.next.is_("}"):
                found = self._matcher()
                if isinstance(found, str):
                    name = name or found
                else:
                    matchers.append(found)
                if not (self.next.is_(",") or self.next.word("or")):
                    break
                self._take()
            end = self._close(opening, "}").end
        name = name or next((m.text for m in matchers if m.label == "__name__" and m.op == "="), "")
        return Selector(start, end, 1, name, tuple(matchers))

    def _matcher(self) -> Matcher | str:
        """One condition, or the metric's name in quotes."""
        label = self.next
        if label.kind not in ("ident", "string"):
            raise self.unexpected()
        self._take()
        if label.kind == "string" and not self.next.is_(*_MATCHES):
            return label.text
        op = self.next
        if not op.is_(*_MATCHES):
            problem = f"{shown(label.text)} is not compared with anything"
            raise Unreadable(label.start, problem, f'write {label.text}="..."')
        self._take()
        value = self.next
        if value.kind != "string":
            problem = f"{shown(label.text)} is compared with something other than a text"
            raise Unreadable(value.start, problem, "put the value in quotes")
        self._take()
        return Matcher(label.text, op.text, value.text, label.start, value.end)

    def _postfix(self, expr: Expr) -> Expr:
        """Ranges, offsets and `@` behind an expression."""
        while True:
            if self.next.is_("["):
                expr = self._ranged(expr)
            elif self.next.word("offset"):
                expr = self._offset(expr)
            elif self.next.is_("@"):
                expr = self._pinned(expr)
            else:
                return expr

    def _ranged(self, expr: Expr) -> Expr:
        opening = self._take()
        range_ = self.next
        if range_.kind not in ("duration", "number"):
            problem = "a range needs a duration with a unit"
            raise Unreadable(range_.start, problem, 'write one such as "[{{ window }}]" or "[5m]"')
        self._take()
        subquery = self.next.is_(":")
        if subquery:
            self._take()
            if self.next.kind in ("duration", "number"):
                self._take()
        end = self._close(opening, "]").end
        if subquery:
            return Subquery(expr.start, end, self._bounded(expr.height + 1, expr.start), expr, range_)
        if not isinstance(expr, Selector) or expr.range_ is not None:
            problem = "only a metric can have a range"
            raise Unreadable(opening.start, problem, "write a colon for a subquery, as in [5m:]")
        return replace(expr, end=end, range_=range_)

    def _offset(self, expr: Expr) -> Expr:
        word = self._take()
        if self.next.is_("-"):
            self._take()
        duration = self.next
        if duration.kind not in ("duration", "number") or not isinstance(expr, Selector | Subquery):
            problem = "offset stands behind a metric and before a duration"
            raise Unreadable(word.start, problem, 'write it as in "x offset 5m"')
        self._take()
        return replace(expr, end=duration.end, offset=duration)

    def _pinned(self, expr: Expr) -> Expr:
        sign = self._take()
        if self.next.is_("-", "+"):
            self._take()
        what = self._take()
        end = what.end
        if what.word("start", "end") and self.next.is_("("):
            end = self._close(self._take(), ")").end
        elif what.kind != "number":
            raise Unreadable(sign.start, '"@" stands before a time', 'write it as in "x @ start()"')
        if not isinstance(expr, Selector | Subquery):
            raise Unreadable(sign.start, '"@" stands behind a metric', "take it out")
        return replace(expr, end=end)
