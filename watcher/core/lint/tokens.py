"""The words of a PromQL template, each with its offset, so that whatever is said of a query can name its place.

The text is the template as it stands in the file: placeholders inside quotes are part of their string, and
`{{ window }}` is a duration. What always holds: offsets are those of the template, and any text ends in tokens or in
one `Unreadable`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from watcher.core.units import shown

Kind = Literal["ident", "number", "duration", "string", "op", "end"]


class Unreadable(Exception):
    """The text is not PromQL at `start`: why, and what to write instead."""

    def __init__(self, start: int, problem: str, cure: str) -> None:
        super().__init__(f"{problem}: {cure}")
        self.start = start
        self.problem = problem
        self.cure = cure


class TooDeep(Unreadable):
    """The text may well be PromQL, and is nested more deeply than anybody reads."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word. A string's text is what stands between its quotes, escapes as written."""

    kind: Kind
    text: str
    start: int
    end: int

    def is_(self, *texts: str) -> bool:
        """Whether this is one of these operators or brackets."""
        return self.kind == "op" and self.text in texts

    def word(self, *words: str) -> bool:
        """Whether this is one of these keywords, in whatever case."""
        return self.kind == "ident" and self.text.lower() in words


_SPACE = re.compile(r"(?:\s+|#[^\n]*)+")
_WINDOW = re.compile(r"\{\{[^{}\"'`\n]*\}\}")
_DURATION = re.compile(r"(?:[0-9]+(?:ms|s|m|h|d|w|y))+(?![A-Za-z0-9_])")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_IDENT = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_STRING = re.compile(r'"((?:\\.|[^"\\\n])*)"' + r"|'((?:\\.|[^'\\\n])*)'" + r"|`([^`]*)`", re.DOTALL)
_OPERATOR = re.compile(r"=~|!~|==|!=|<=|>=|[-+*/%^<>=(){}\[\],:@]")
_NUMBER_WORDS = ("inf", "nan")


def tokens(template: str) -> list[Token]:
    """The words of a template, the last one of kind `end`; raises Unreadable."""
    found: list[Token] = []
    at = 0
    brackets = 0
    while at < len(template):
        if space := _SPACE.match(template, at):
            at = space.end()
            continue
        token = _token(template, at, in_brackets=brackets > 0)
        brackets += {"[": 1, "]": -1}.get(token.text, 0) if token.kind == "op" else 0
        found.append(token)
        at = token.end
    return [*found, Token("end", "", len(template), len(template))]


def _token(template: str, at: int, *, in_brackets: bool) -> Token:
    if match := _STRING.match(template, at):
        return Token("string", next(text for text in match.groups() if text is not None), at, match.end())
    if match := _WINDOW.match(template, at):
        return Token("duration", match[0], at, match.end())
    if match := _DURATION.match(template, at):
        return Token("duration", match[0], at, match.end())
    if match := _NUMBER.match(template, at):
        return Token("number", match[0], at, match.end())
    # Within brackets a colon parts range and step; elsewhere it is a letter of a recording rule's name.
    if not (in_brackets and template[at] == ":") and (match := _IDENT.match(template, at)):
        kind: Kind = "number" if match[0].lower() in _NUMBER_WORDS else "ident"
        return Token(kind, match[0], at, match.end())
    if match := _OPERATOR.match(template, at):
        return Token("op", match[0], at, match.end())
    char = template[at]
    if char in "\"'`":
        raise Unreadable(at, "this string is not closed", f"end it with {char}")
    raise Unreadable(at, f"{shown(char)} means nothing in PromQL", "take it out")
