"""Placeholders in queries: `{{ color }}` becomes a value that cannot change what the query is made of.

A value is escaped for where it stands: as a string inside quotes, and as a regular expression's literal as well inside
a `=~` or `!~` matcher. Outside of quotes only the window may stand. Comments are left out of what is rendered, so that
a query can be put into a larger one.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from watcher.core.units import Invalid, near_miss, shown

VARIABLES = ("namespace", "application", "service", "color", "previousColor", "deployment", "version", "window")
"""What a query may name."""

_PLACEHOLDER = re.compile(r"\{\{([^{}\"'`\n]*)\}\}")
_DURATION = re.compile(r"(?:[0-9]+(?:ms|s|m|h|d|w|y))+")
_ESCAPE = re.compile(r"\\(?:[abfnrtv\\]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})")
_COMMENT = re.compile(r"#[^\n]*")
_META = re.compile(r"[\\.+*?()|\[\]{}^$]")
_WORD = re.compile(r"[A-Za-z0-9_.]")


class TemplateError(Invalid):
    """A template that cannot be rendered. `line` and `column` count from 1 within the template."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A placeholder and where it stands: `quote` is empty outside of strings, `regex` says that a matcher reads it."""

    name: str
    offset: int
    quote: str
    regex: bool


def variables_used(template: str) -> frozenset[str]:
    """The names of all placeholders.

    Raises TemplateError for what can never be rendered: an unknown name, a placeholder that is not closed or stands
    where no value is safe, a string that Prometheus would not read.
    """
    return frozenset(piece.name for piece in _pieces(template) if isinstance(piece, _Place))


def render(template: str, variables: Mapping[str, str]) -> str:
    """The query with every placeholder replaced; raises TemplateError also where a value is missing or cannot stand."""
    out = []
    for piece in _pieces(template):
        if isinstance(piece, str):
            out.append(piece)
        elif piece.name not in variables:
            raise _error(template, piece.offset, f'"{piece.name}" has no value here', "use another variable")
        else:
            out.append(_escaped(template, piece, variables[piece.name]))
    return "".join(out)


def _pieces(template: str) -> Iterator[str | _Place]:
    """The template as literal text and placeholders, in order."""
    at = 0
    after_matcher = False
    while at < len(template):
        char = template[at]
        if char in "\"'`":
            end = yield from _string(template, at, after_matcher)
        elif template.startswith("{{", at):
            name, end = _placeholder(template, at)
            _check_bare(template, name, at, end)
            yield _Place(name, at, "", regex=False)
        elif comment := _COMMENT.match(template, at):
            end = comment.end()
        else:
            end = at + (2 if template.startswith(("=~", "!~"), at) else 1)
            yield template[at:end]
        if not (char.isspace() or char == "#"):
            after_matcher = template[at:end] in ("=~", "!~")
        at = end


def _string(template: str, start: int, regex: bool) -> Generator[str | _Place, None, int]:
    """The pieces of one string literal. Returns the offset behind its closing quote."""
    quote = template[start]
    yield quote
    at = start + 1
    backslash = False  # whether the regular expression so far ends in a backslash that awaits its character
    while at < len(template) and template[at] != quote:
        if template.startswith("{{", at):
            name, end = _placeholder(template, at)
            if regex and backslash:
                raise _error(template, at, "a placeholder cannot follow a backslash", "take the backslash away")
            yield _Place(name, at, quote, regex)
            backslash = False
        else:
            end = at + 1 if quote == "`" else _character_end(template, at, quote)
            written = template[at:end]
            backslash = not backslash and written == ("\\" if quote == "`" else "\\\\")
            yield written
        at = end
    if at == len(template):
        raise _error(template, start, "this string is not closed", f"end it with {quote}")
    yield quote
    return at + 1


def _character_end(template: str, at: int, quote: str) -> int:
    """Where the character at `at` of a quoted string ends, escapes read as Prometheus reads them."""
    if template[at] == "\n":
        raise _error(template, at, f"a line ends inside a {quote} string", "close it, or use backticks")
    if template[at] != "\\":
        return at + 1
    if escape := _ESCAPE.match(template, at):
        return escape.end()
    if template.startswith(quote, at + 1):
        return at + 2
    written = template[at : at + 2]
    cure = f"write {shown(chr(92) + written)}, or put the text in backticks"
    raise _error(template, at, f"{shown(written)} is no escape that Prometheus knows", cure)


def _placeholder(template: str, at: int) -> tuple[str, int]:
    """The name in the placeholder at `at`, and the offset behind it."""
    match = _PLACEHOLDER.match(template, at)
    if match is None:
        raise _error(template, at, "this placeholder is not closed", 'write it as "{{ color }}"')
    name = match[1].strip()
    if name not in VARIABLES:
        guess = near_miss(name, VARIABLES)
        cure = f'did you mean "{guess}"?' if guess else f"use one of {', '.join(VARIABLES)}"
        raise _error(template, at, f"{shown(name)} is no variable", cure)
    return name, match.end()


def _check_bare(template: str, name: str, at: int, end: int) -> None:
    """Outside of quotes only a duration keeps the query's structure, and only if nothing glues to it."""
    if name != "window":
        cure = f'put it inside quotes, as in color="{{{{ {name} }}}}"'
        raise _error(template, at, f'"{name}" stands outside of quotes', cure)
    if _WORD.match(template[at - 1 : at]) or _WORD.match(template, end) or template.startswith("{{", end):
        raise _error(template, at, "the window is glued to its neighbour", 'write it apart, as in "[{{ window }}]"')


def _escaped(template: str, place: _Place, value: str) -> str:
    if not place.quote:
        if _DURATION.fullmatch(value) is None:
            problem = f"{shown(value)} stands where only a duration can"
            raise _error(template, place.offset, problem, 'give "window" a duration such as "1m"')
        return value
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _error(template, place.offset, f"{shown(value)} is not valid Unicode", "use another value") from error
    if place.regex:
        value = _META.sub(r"\\\g<0>", value)
    if place.quote != "`":
        return "".join(_string_escaped(char, place.quote) for char in value)
    if "`" in value or "\r" in value:
        problem = f"{shown(value)} cannot stand inside backticks"
        raise _error(template, place.offset, problem, "use double quotes in the query")
    return value


def _string_escaped(char: str, quote: str) -> str:
    if char in ("\\", quote):
        return "\\" + char
    return f"\\x{ord(char):02x}" if char < " " or char == "\x7f" else char


def _error(template: str, offset: int, problem: str, cure: str) -> TemplateError:
    line = template.count("\n", 0, offset) + 1
    column = offset - (template.rfind("\n", 0, offset) + 1) + 1
    return TemplateError(problem, cure, line=line, column=column)
