"""Durations and values with units: what is read, what is refused and with which cure, and how both are shown."""

from __future__ import annotations

import contextlib
import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.units import (
    Invalid,
    Quantity,
    format_duration,
    format_value,
    near_miss,
    parse_duration,
    parse_number,
    parse_value,
    say_duration,
    shown,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1m30s", 90),
        ("250ms", 0.25),
        ("2h", 7200),
        ("1d", 86400),
        ("1w", 604800),
        ("0s", 0),
        ("1.5h", 5400),
        (" 5m ", 300),
        ("1h1h", 7200),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


UNITS = "(units: ms s m h d w)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5mn", f'"5mn" is no duration: did you mean "5m"? {UNITS}'),
        ("5M", f'"5M" is no duration: did you mean "5m"? {UNITS}'),
        ("90sec", f'"90sec" is no duration: did you mean "90s"? {UNITS}'),
        ("1m30sec", f'"1m30sec" is no duration: did you mean "1m30s"? {UNITS}'),
        ("30", f'"30" is no duration: did you mean "30s"? {UNITS}'),
        ("5q", f'"5q" is no duration: write a number with a unit, as in "30s" {UNITS}'),
        ("", f'"" is no duration: write a number with a unit, as in "30s" or "1m30s" {UNITS}'),
        ("1m 30s", f'"1m 30s" is no duration: write a number with a unit, as in "30s" or "1m30s" {UNITS}'),
        ("-5m", f'"-5m" is no duration: write a number with a unit, as in "30s" or "1m30s" {UNITS}'),
        ("0.5ms", '"0.5ms" is finer than a millisecond: write whole milliseconds, as in "250ms"'),
        ("99999d", '"99999d" is too long a duration: write at most "3660d"'),
        ("3000d3000d", '"3000d3000d" is too long a duration: write at most "3660d"'),
        (f"{'9' * 400}s", f'"{"9" * 60}..." is too long a duration: write at most "3660d"'),
    ],
)
def test_what_is_no_duration_is_refused_with_a_cure(text: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_duration(text)
    assert str(refused.value) == said


@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert timedelta() <= parse_duration(text) <= timedelta(days=3660)


@given(st.integers(0, 3660 * 86_400_000))
def test_a_duration_is_written_as_it_is_read(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


def test_a_negative_duration_can_be_shown() -> None:
    assert format_duration(timedelta(seconds=-90)) == "-1m30s"
    assert say_duration(timedelta(seconds=-90)) == "-1 min 30 s"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(30, "30 s"), (60, "1 min"), (90, "90 s"), (150, "2 min 30 s"), (0.25, "250 ms"), (0, "0 s"), (3600, "1 h")],
)
def test_a_duration_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert say_duration(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1%", 0.01),
        ("99.9%", 0.999),
        ("250ms", 0.25),
        ("90s", 90),
        ("5min", 300),
        ("2GiB", 2 * 1024**3),
        ("64Mi", 64 * 1024**2),
        ("500MB", 500e6),
        ("1.5kB", 1500),
        ("10/s", 10),
        ("30/min", 0.5),
        ("5 MB/s", 5e6),
        ("1e3", 1000),
        ("-5", -5),
        ("+.5", 0.5),
        ("0", 0),
        ("0%", 0),
        ("1e-999999999999999999999", 0),
    ],
)
def test_a_value_is_read_in_base_units(text: str, number: float) -> None:
    assert parse_number(text) == number


def test_a_value_keeps_its_text_and_unit() -> None:
    value = parse_value(" 250ms ")
    assert value == Quantity(0.25, "250ms", "ms")
    assert str(value) == "250ms"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5m", '"5m" could mean minutes or thousandths: write "5min" for minutes, or the plain number for thousandths'),
        ("3gib", '"3gib" has an unknown unit: did you mean "3GiB"?'),
        ("7sec", '"7sec" has an unknown unit: did you mean "7s"?'),
        ("1 percent", '"1 percent" has an unknown unit: did you mean "1%"?'),
        ("10/sec", '"10/sec" has an unknown unit: did you mean "10/s"?'),
        ("10/S", '"10/S" has an unknown unit: did you mean "10/s"?'),
        ("10/minn", '"10/minn" has an unknown unit: did you mean "10/min"?'),
        ("10kb/sec", '"10kb/sec" has an unknown unit: did you mean "10kB/s"?'),
        ("x", '"x" is no number: write a number with or without a unit, as in "1%", "250ms", "0.5"'),
        ("", '"" is no number: write a number with or without a unit, as in "1%", "250ms", "0.5"'),
        ("nan", '"nan" is no number: write a number with or without a unit, as in "1%", "250ms", "0.5"'),
        ("1e999", '"1e999" is too large a number: write a finite number'),
        ("1e308PB", '"1e308PB" is too large a number: write a finite number'),
    ],
)
def test_what_is_no_value_is_refused_with_a_cure(text: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_value(text)
    assert str(refused.value) == said


@pytest.mark.parametrize("text", ["1quux", "10/foo", "5/"])
def test_an_unknown_unit_without_a_near_miss_lists_the_known_ones(text: str) -> None:
    with pytest.raises(Invalid, match=r"has an unknown unit: write none or one of % us ms s min h d B kB .*\"/s\""):
        parse_value(text)


@given(st.text(alphabet="0123456789.eE+-/%msihdkKMGTPB \n") | st.text())
def test_any_text_is_a_finite_value_or_refused(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert math.isfinite(parse_number(text))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.042, "%", "4.2%"),
        (0.312, "ms", "312 ms"),
        (1.9 * 1024**3, "GiB", "1.9 GiB"),
        (10.0, "/s", "10/s"),
        (1.5e6, "MB/s", "1.5 MB/s"),
        (12345.6, "", "12346"),
        (0.0001234, "", "0.000123"),
        (0.0, "%", "0%"),
        (1e20, "", "1e+20"),
        (math.inf, "%", "+Inf"),
        (-math.inf, "ms", "-Inf"),
        (math.nan, "", "NaN"),
        (2.0, "parsecs", "2 parsecs"),
    ],
)
def test_a_value_is_shown_in_the_unit_of_its_threshold(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


def test_a_near_miss_is_found_or_none() -> None:
    assert near_miss("Threshold", ["query", "threshold"]) == "threshold"
    assert near_miss("treshold", iter(["query", "threshold"])) == "threshold"
    assert near_miss("xyz", ["query", "threshold"]) is None


def test_a_shown_text_is_short_and_on_one_line() -> None:
    assert shown("a\nb") == '"a\\nb"'
    assert shown("x" * 100) == f'"{"x" * 60}..."'
