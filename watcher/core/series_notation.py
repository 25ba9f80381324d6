"""The notation of `promtool test rules` for made-up series: `http_requests_total{code="500"}` and `0+10x20 _x5 stale`.

It exists so that what people know of Prometheus's own rule tests holds here to the letter: what promtool reads is read
as the same samples, what it refuses is refused, with the place and a cure. Always holds: a text either gives at most
MOST_VALUES values, or raises Invalid.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from enum import Enum

from watcher.core.units import Invalid, shown

MOST_VALUES = 100_000
"""Values in one series: more than two weeks at one every 15 s."""

METRIC = "__name__"


class Gap(Enum):
    """What may stand in the place of a number."""

    MISSING = "_"
    """No sample: the one before counts until Prometheus's lookback (5 minutes) is over."""
    STALE = "stale"
    """A staleness marker: the series ends here."""


Value = float | Gap

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*")
_QUOTED = re.compile(
    r"\"((?:[^\"\\\n]|\\.)*)\"|'((?:[^'\\\n]|\\.)*)'|`([^`]*)`", re.DOTALL
)  # Go's three kinds of string
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\\"'])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|.)")
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

_DIGITS = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBER = rf"(?:{_DIGITS}|(?i:inf|nan))"
_ITEM = re.compile(
    rf"(?P<missing>_)(?:x(?P<gaps>[0-9]+))?|(?P<stale>stale)|(?P<one>[+-]?{_NUMBER})|"
    rf"(?P<same>[+-]?{_DIGITS})x(?P<repeats>[0-9]+)|"
    rf"(?P<first>[+-]?{_NUMBER})(?P<step>[+-]{_DIGITS})x(?P<times>[0-9]+)"
)
"""`x` follows digits only: promtool reads `NaNx3` as one word, and refuses it."""


def parse_series(text: str) -> Mapping[str, str]:
    """The labels of a series, its name among them as `__name__`. Labels without a value are no labels."""
    body = text.strip()
    labels: dict[str, str] = {}
    at = 0
    if name := _METRIC.match(body):
        labels[METRIC], at = name[0], name.end()
    if body[at:].lstrip().startswith("{"):
        at = body.index("{", at) + 1
        at = _labels(text, body, at, labels)
    if at != len(body) or not labels:
        offset = len(text) - len(text.lstrip()) + at
        cure = """write one such as 'http_requests_total{code="500"}'"""
        raise _error(text, offset, f"{shown(body)} is no series", cure)
    if METRIC not in labels:
        raise _error(text, 0, f"{shown(body)} has no metric name", "write it before the {")
    return {key: value for key, value in labels.items() if value}


def _labels(text: str, body: str, at: int, labels: dict[str, str]) -> int:
    """Read `a="b", ... }` into the labels; the offset behind it."""
    shift = len(text) - len(text.lstrip())
    while True:
        rest = body[at:]
        if closing := re.match(r"\s*}", rest):
            return at + closing.end()
        label = _LABEL.match(body, at)
        if label is None:
            raise _error(text, shift + at, "a label has to stand here", 'write it as in code="500", and end with }')
        key, sign = label[1], label[2]
        if sign != "=":
            problem = f"{shown(key + sign)} is a matcher, and a series has labels"
            raise _error(text, shift + label.start(2), problem, "write = and the one value that the series has")
        quoted = _QUOTED.match(body, label.end())
        if quoted is None:
            raise _error(text, shift + label.end(), f"the value of {key} is not in quotes", f'write {key}="..."')
        if key in labels:
            raise _error(text, shift + label.start(1), f"a second {key} in one series", "keep one of them")
        labels[key] = quoted[3] if quoted[3] is not None else _unescaped(text, quoted[1] or quoted[2] or "")
        after = re.match(r"\s*(,|(?=}))", body[quoted.end() :])
        if after is None:
            raise _error(text, shift + quoted.end(), "the labels are not closed", "write , and another one, or }")
        at = quoted.end() + after.end()


def _unescaped(text: str, written: str) -> str:
    def one(found: re.Match[str]) -> str:
        simple, *codes, octal = found.groups()
        if simple is not None:
            return _SIMPLE.get(simple, simple)
        code = int(octal, 8) if octal else next((int(code, 16) for code in codes if code), -1)
        if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise _error(text, 0, f"{shown(found[0])} is no escape that Prometheus knows", "double the backslash")
        return chr(code)

    return _ESCAPE.sub(one, written)


def parse_values(text: str) -> tuple[Value, ...]:
    """The values of a series, one for each interval from its start.

    `a+bxn` is a and n more, each by b more than the one before; `a-bxn` falls; `axn` repeats, so it is n + 1 values.
    `_` is a missing sample, `_xn` n of them; `stale` ends the series. Numbers may be `1e3`, `NaN`, `Inf`, `-Inf`.
    """
    values: list[Value] = []
    for offset, word in _words(text):
        if word.startswith("{{"):
            problem = "a native histogram stands where a number should"
            raise _error(text, offset, problem, 'write the series of a classic one, as in x_bucket{le="0.5"}')
        item = _ITEM.fullmatch(word)
        if item is None:
            raise _error(text, offset, f"{shown(word)} is no value", _meant(word))
        number = float(item["one"] or item["same"] or item["first"] or 0)
        if math.isinf(number) and "n" not in word.lower():
            raise _error(text, offset, f"{shown(word)} is too large a number", 'write "Inf", or a smaller one')
        count = _count(item)
        if len(values) + count > MOST_VALUES:
            raise _error(text, offset, f"these are more than {MOST_VALUES} values", "write a shorter series")
        if item["missing"]:
            values += [Gap.MISSING] * count
        elif item["stale"]:
            values.append(Gap.STALE)
        for _ in range(0 if item["missing"] or item["stale"] else count):
            values.append(number)
            number += float(item["step"] or 0)  # added up as Prometheus does, so that the last bit is the same
    if not values:
        raise Invalid("there is no value", 'write some, as in "0+10x20"')
    return tuple(values)


def _words(text: str) -> Iterator[tuple[int, str]]:
    for found in re.finditer(r"\{\{.*?(?:\}\}\S*|$)|\S+", text, re.DOTALL):
        yield found.start(), found[0]


def _count(item: re.Match[str]) -> int:
    """How many values an item stands for."""
    if item["missing"]:
        return int(item["gaps"][:9]) if item["gaps"] else 1
    repeats = item["repeats"] or item["times"] or "0"
    return int(repeats[:9]) + 1  # longer numbers are too many anyway


def _meant(word: str) -> str:
    known = '"0+10x20", "5x3", "_", "_x5", "stale", "NaN", "Inf"'
    if word.lower() in ("stale", "nil", "null", "none", "~"):
        return 'did you mean "stale" or "_"?'
    if word.startswith("stale"):
        return 'write "stale" once: the series ends there'
    if re.match(r"[+-]?(nan|inf)", word, re.IGNORECASE):
        return 'write "NaN" or "Inf" as often as it is meant: it takes no "x"'
    if "," in word:
        return "write spaces between the values"
    if "*" in word or "X" in word:
        return f'did you mean "{word.replace("*", "x").replace("X", "x")}"?'
    return f"write values such as {known}"


def _error(text: str, offset: int, problem: str, cure: str) -> Invalid:
    line = text.count("\n", 0, offset) + 1
    return Invalid(problem, cure, line=line, column=offset - text.rfind("\n", 0, offset))
