"""Durations and values with units, so that a rule file says `30s`, `1%` and `2GiB` instead of bare numbers.

Nothing is guessed: a text that could mean two things is refused with a cure. Durations are whole milliseconds, times
are seconds, sizes are bytes, shares are fractions of one, rates are per second.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

_DURATION_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_DURATION_WORDS = {
    **dict.fromkeys(("millis", "msec", "msecs", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("week", "weeks"), "w"),
}
_LONGEST = timedelta(days=3660)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)([^\d\s.]+)", re.ASCII)

_PLAIN_UNITS = {
    "%": Decimal("0.01"),
    "us": Decimal("0.000001"),
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
    "B": Decimal(1),
    **{f"{prefix}B": Decimal(1000) ** power for power, prefix in enumerate("kMGTP", start=1)},
    **{f"{prefix}iB": Decimal(1024) ** power for power, prefix in enumerate("KMGTP", start=1)},
    **{f"{prefix}i": Decimal(1024) ** power for power, prefix in enumerate("KMGTP", start=1)},
}
_PER = {"s": Decimal(1), "min": Decimal(60), "h": Decimal(3600)}
_VALUE_WORDS = {
    **{word: {"m": "min", "w": "d"}.get(unit, unit) for word, unit in _DURATION_WORDS.items()},
    **dict.fromkeys(("percent", "pct"), "%"),
    **dict.fromkeys(("byte", "bytes", "b"), "B"),
    "KB": "kB",
    "k": "kB",
    "M": "MB",
    "G": "GB",
}
VALUE_PATTERN = (
    r"^\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"
    rf"({'|'.join(_PLAIN_UNITS)})?(/({'|'.join(_PER)}))?\s*$"
)
"""What `parse_value` takes, as a regular expression for editors."""
_VALUE = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S.*)?", re.ASCII)


class Invalid(ValueError):
    """What somebody wrote cannot be used. `problem` says why, `cure` what to write instead.

    `path` leads from the value that was checked to the part that is wrong; `line` and `column` (from 1) do the same
    within a text of several lines. `more` is what else is wrong with the same value.
    """

    more: tuple[Invalid, ...] = ()

    def __init__(
        self,
        problem: str,
        cure: str,
        *,
        path: tuple[str | int, ...] = (),
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(f"{problem}: {cure}")
        self.problem = problem
        self.cure = cure
        self.path = path
        self.line = line
        self.column = column


def refuse(problems: Iterable[Invalid]) -> None:
    """Raise the first of the problems, with the others as its `more`; do nothing when there is none."""
    found = tuple(problems)
    if found:
        found[0].more = found[1:]
        raise found[0]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as somebody wrote it: `number` in base units (1% is 0.01), `text` as written, `unit` as in `text`."""

    number: float
    text: str
    unit: str

    def __str__(self) -> str:
        return self.text


def near_miss(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant, or None."""
    known = list(known)
    for candidate in known:
        if candidate.lower() == word.lower():
            return candidate
    close = difflib.get_close_matches(word, known, n=1)
    return close[0] if close else None


def shown(text: str) -> str:
    """A text in quotes for a message: on one line, and not longer than a person reads."""
    printable = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[:61])
    return f'"{printable[:60]}..."' if len(text) > 60 else f'"{printable}"'


def flat(text: str) -> str:
    """Somebody else's text on one line, without what does not print."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def parse_duration(text: str) -> timedelta:
    """`30s`, `1m30s`, `250ms`, `2h`, `1d`, `1w` as a timedelta; raises Invalid with a cure."""
    units = " ".join(_DURATION_UNITS)
    body = text.strip()
    total = timedelta()
    position = 0
    corrected = ""
    while part := _DURATION_PART.match(body, position):
        amount, unit = part.groups()
        meant = _duration_unit(unit)
        if meant is None:
            raise Invalid(f"{shown(text)} is no duration", f'write a number with a unit, as in "30s" (units: {units})')
        if float(amount) > _LONGEST / _DURATION_UNITS[meant]:
            raise Invalid(f"{shown(text)} is too long a duration", f'write at most "{_LONGEST.days}d"')
        corrected += amount + meant
        total += float(amount) * _DURATION_UNITS[meant]
        position = part.end()
    if not corrected or position != len(body):
        cure = f'did you mean "{body}s"?' if _is_number(body) else 'write a number with a unit, as in "30s" or "1m30s"'
        raise Invalid(f"{shown(text)} is no duration", f"{cure} (units: {units})")
    if corrected != body:
        raise Invalid(f"{shown(text)} is no duration", f'did you mean "{corrected}"? (units: {units})')
    if total % timedelta(milliseconds=1):
        raise Invalid(f"{shown(text)} is finer than a millisecond", 'write whole milliseconds, as in "250ms"')
    if total > _LONGEST:
        raise Invalid(f"{shown(text)} is too long a duration", f'write at most "{_LONGEST.days}d"')
    return total


def _duration_unit(unit: str) -> str | None:
    if unit in _DURATION_UNITS:
        return unit
    word = unit.lower()
    return word if word in _DURATION_UNITS else _DURATION_WORDS.get(word) or near_miss(word, _DURATION_UNITS)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) is not None


def parse_value(text: str) -> Quantity:
    """A number with an optional unit, as in `1%`, `250ms`, `2GiB`, `10/s`, `1e3`; raises Invalid with a cure."""
    body = text.strip()
    match = _VALUE.fullmatch(body)
    if match is None:
        raise Invalid(
            f"{shown(text)} is no number", 'write a number with or without a unit, as in "1%", "250ms", "0.5"'
        )
    amount, unit = match[1], match[2] or ""
    factor = _factor(text, amount, unit)
    number = float(amount)
    if number and math.isfinite(number):  # in decimal, so that 99.9% is 0.999 to the last bit
        number = float(Decimal(amount) * factor)
    if not math.isfinite(number):
        raise Invalid(f"{shown(text)} is too large a number", "write a finite number")
    return Quantity(number, body, unit)


def parse_number(text: str) -> float:
    """The number of `parse_value` in base units: fractions of one, seconds, bytes, per second."""
    return parse_value(text).number


def _factor(text: str, amount: str, unit: str) -> Decimal:
    if (factor := _known_factor(unit)) is not None:
        return factor
    if unit == "m":
        cure = f'write "{amount}min" for minutes, or the plain number for thousandths'
        raise Invalid(f"{shown(text)} could mean minutes or thousandths", cure)
    base, slash, per = unit.partition("/")
    base = base if base in ("", *_PLAIN_UNITS) else _VALUE_WORDS.get(base) or near_miss(base, _PLAIN_UNITS) or base
    per = per if per in _PER else _VALUE_WORDS.get(per) or near_miss(per, _PER) or per
    problem = f"{shown(text)} has an unknown unit"
    if _known_factor(base + slash + per) is not None:
        raise Invalid(problem, f'did you mean "{amount}{base}{slash}{per}"?')
    raise Invalid(problem, f'write none or one of {" ".join(_PLAIN_UNITS)}, with "/s", "/min" or "/h" for a rate')


def _known_factor(unit: str) -> Decimal | None:
    """What a number with this unit is multiplied by; None when there is no such unit."""
    base, slash, per = unit.partition("/")
    if base not in ("", *_PLAIN_UNITS) or (slash and per not in _PER):
        return None
    return _PLAIN_UNITS.get(base, Decimal(1)) / _PER.get(per, Decimal(1))


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` and PromQL read as this duration, rounded to milliseconds: `1m30s`."""
    rest = round(duration / timedelta(milliseconds=1))
    sign, rest = ("-", -rest) if rest < 0 else ("", rest)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return sign + "".join(parts) if parts else "0s"


def say_duration(duration: timedelta) -> str:
    """A duration for a sentence: `30 s`, `90 s`, `2 min 30 s`, `250 ms`."""
    whole_seconds, rest = divmod(duration, timedelta(seconds=1))
    if 60 < whole_seconds < 120 and not rest:
        return f"{whole_seconds} s"
    parts = re.findall(r"(-?\d+)([a-z]+)", format_duration(duration))
    return " ".join(f"{count} {'min' if unit == 'm' else unit}" for count, unit in parts)


def format_value(value: float, unit: str, digits: int = 3) -> str:
    """A number in base units, shown in the unit of a `Quantity`, to so many significant digits: `4.2%`, `312 ms`."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'+' if value > 0 else '-'}Inf"
    number = _significant(value / float(_known_factor(unit) or 1), digits)
    return f"{number}{'' if unit[:1] in ('', '%', '/') else ' '}{unit}"


def _significant(number: float, digits: int) -> str:
    if 10**digits <= abs(number) < 1e15:
        return f"{number:.0f}"
    return f"{number:.{digits}g}"
