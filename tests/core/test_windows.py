"""Deployment windows and freezes: by the clock of their zone, across midnight and the changes of summer time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.application import Freeze, Window
from watcher.core.units import Invalid
from watcher.core.windows import HORIZON, clock_time, closed_because, next_opening, start_time, zone_name

BERLIN = "Europe/Berlin"
EVERY_DAY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def window(from_: str, to: str, days: list[str] | None = None, zone: str = "UTC") -> Window:
    document = {"days": days or EVERY_DAY, "from": from_, "to": to, "timezone": zone}
    return Window.model_validate_json(json.dumps(document))


def freeze(from_: str, to: str, reason: str = "", zone: str = "UTC") -> Freeze:
    return Freeze.model_validate_json(json.dumps({"from": from_, "to": to, "reason": reason, "timezone": zone}))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


OFFICE = window("09:00", "16:00", ["mon", "tue", "wed", "thu"], BERLIN)
NIGHT = window("22:00", "02:00", ["sat"], BERLIN)
DUSK = window("02:30", "03:30", ["sun"], BERLIN)
SMALL_HOURS = window("02:00", "03:00", ["sun"], BERLIN)


@pytest.mark.parametrize(
    ("windows", "now", "is_open"),
    [
        ([], "2026-11-23T03:00", True),
        # winter: Berlin is an hour ahead of UTC
        ([OFFICE], "2026-11-23T07:59:59", False),
        ([OFFICE], "2026-11-23T08:00", True),
        ([OFFICE], "2026-11-23T14:59:59", True),
        ([OFFICE], "2026-11-23T15:00", False),
        ([OFFICE], "2026-11-27T10:00", False),
        # summer: two hours
        ([OFFICE], "2026-07-06T07:00", True),
        ([OFFICE], "2026-07-06T14:00", False),
        # over midnight belongs to the day on which it began
        ([NIGHT], "2026-11-28T21:00", True),
        ([NIGHT], "2026-11-29T00:59:59", True),
        ([NIGHT], "2026-11-29T01:00", False),
        ([NIGHT], "2026-11-27T21:30", False),
        # the night in which the clock goes back (2026-10-25, 01:00 UTC) is an hour longer
        ([NIGHT], "2026-10-24T20:00", True),
        ([NIGHT], "2026-10-24T23:59:59", True),
        ([NIGHT], "2026-10-25T00:30", False),
        ([SMALL_HOURS], "2026-10-25T00:00", True),
        ([SMALL_HOURS], "2026-10-25T01:59:59", True),
        ([SMALL_HOURS], "2026-10-25T02:00", False),
        # the night in which it goes forward (2026-03-29, 01:00 UTC): 02:00 to 03:00 does not exist
        ([SMALL_HOURS], "2026-03-29T00:59:59", False),
        ([SMALL_HOURS], "2026-03-29T01:00", False),
        ([DUSK], "2026-03-29T01:15", False),
        ([NIGHT], "2026-03-28T21:00", True),
        ([NIGHT], "2026-03-29T00:59:59", True),
        # 24:00 is the end of the day, and a window to its own beginning is a whole day
        ([window("20:00", "24:00", ["mon"])], "2026-11-23T23:59:59", True),
        ([window("20:00", "24:00", ["mon"])], "2026-11-24T00:00", False),
        ([window("00:00", "24:00", ["mon"])], "2026-11-23T00:00", True),
        ([window("00:00", "24:00", ["mon"])], "2026-11-22T23:59:59", False),
        ([window("09:00", "09:00", ["mon"])], "2026-11-24T08:59", True),
        ([window("09:00", "09:00", ["mon"])], "2026-11-24T09:00", False),
        # one of several is enough
        ([OFFICE, NIGHT], "2026-11-28T21:30", True),
        # a day of the zone, not of UTC
        ([window("09:00", "10:00", ["tue"], "Pacific/Auckland")], "2026-11-23T20:30", True),
    ],
)
def test_a_window_is_open_by_the_clock_of_its_zone(windows: list[Window], now: str, is_open: bool) -> None:
    why = closed_because(windows, [], at(now))
    assert why == ("" if is_open else "outside its deployment windows")


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("2026-12-19T22:59", ""),
        ("2026-12-19T23:00", "a freeze until 2027-01-04 (holidays)"),
        ("2027-01-04T22:59", "a freeze until 2027-01-04 (holidays)"),
        ("2027-01-04T23:00", ""),
    ],
)
def test_a_freeze_has_both_its_days_in_its_zone(now: str, said: str) -> None:
    assert closed_because([], [freeze("2026-12-20", "2027-01-04", "holidays", BERLIN)], at(now)) == said


def test_a_freeze_without_a_reason_says_none_and_goes_before_windows() -> None:
    found = closed_because([OFFICE], [freeze("2026-11-23", "2026-11-23")], at("2026-11-23T10:00"))
    assert found == "a freeze until 2026-11-23"


@pytest.mark.parametrize(
    ("windows", "freezes", "now", "opens"),
    [
        ([], [], "2026-11-23T03:00", "2026-11-23T03:00"),
        ([OFFICE], [], "2026-11-23T10:00", "2026-11-23T10:00"),
        ([OFFICE], [], "2026-11-23T03:00", "2026-11-23T08:00"),
        ([OFFICE], [], "2026-11-26T15:00", "2026-11-30T08:00"),
        # across the change of the clock: nine in Berlin, at another hour of UTC
        ([OFFICE], [], "2026-03-26T16:00", "2026-03-30T07:00"),
        ([OFFICE], [], "2026-10-22T16:00", "2026-10-26T08:00"),
        # a window that does not exist that night begins a week later
        ([SMALL_HOURS], [], "2026-03-29T00:30", "2026-04-05T00:00"),
        # the end of a freeze, and the first window after it
        ([], [freeze("2026-11-20", "2026-11-30", zone=BERLIN)], "2026-11-23T10:00", "2026-11-30T23:00"),
        ([OFFICE], [freeze("2026-11-20", "2026-11-30")], "2026-11-23T10:00", "2026-12-01T08:00"),
        # a freeze that ends within a window
        ([window("20:00", "04:00")], [freeze("2026-11-20", "2026-11-23")], "2026-11-23T10:00", "2026-11-24T00:00"),
        ([OFFICE, NIGHT], [], "2026-11-27T10:00", "2026-11-28T21:00"),
    ],
)
def test_the_next_opening_is_the_first_instant_that_is_open(
    windows: list[Window], freezes: list[Freeze], now: str, opens: str
) -> None:
    found = next_opening(windows, freezes, at(now))
    assert found == at(opens)
    assert found is not None
    assert found.tzinfo is UTC


@pytest.mark.parametrize("until", ["2029-01-01", "9999-12-31"])
def test_there_is_no_opening_when_a_freeze_lasts_longer_than_anyone_looks_ahead(until: str) -> None:
    assert next_opening([OFFICE], [freeze("2026-01-01", until)], at("2026-11-23T10:00")) is None
    assert next_opening([], [freeze("2026-01-01", until)], at("2026-11-23T10:00")) is None


CLOCK = st.builds(lambda h, m: f"{h:02}:{m:02}", st.integers(0, 23), st.sampled_from([0, 30, 59]))
WINDOWS = st.builds(
    window,
    CLOCK,
    CLOCK | st.just("24:00"),
    st.lists(st.sampled_from(EVERY_DAY), min_size=1, unique=True),
    st.sampled_from(["UTC", BERLIN, "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]),
)
TIMES = st.integers(0, 366 * 24 * 60).map(lambda minutes: at("2026-01-01T00:00") + timedelta(minutes=minutes))


@given(st.lists(WINDOWS, max_size=3), TIMES)
def test_what_opens_next_is_open_and_nothing_before_it_is(windows: list[Window], now: datetime) -> None:
    found = next_opening(windows, [], now)
    assert found is not None
    assert now <= found <= now + HORIZON
    assert closed_because(windows, [], found) == ""
    step = (found - now) / 12
    assert found == now or all(closed_because(windows, [], now + step * k) for k in range(12))


@pytest.mark.parametrize("text", ["00:00", "09:05", "23:59", "24:00"])
def test_a_time_of_day_is_two_digits_and_two_digits(text: str) -> None:
    assert clock_time(text) == text


@pytest.mark.parametrize("text", ["9:00", "24:01", "25:00", "12:60", "noon", "", "09:00:00"])
def test_other_times_of_day_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is no time of day"):
        clock_time(text)


def test_a_window_cannot_begin_at_the_end_of_a_day() -> None:
    with pytest.raises(Invalid, match="cannot begin"):
        start_time("24:00")


@pytest.mark.parametrize(("text", "cure"), [("Europe/Berlni", "Europe/Berlin"), ("???", "such as")])
def test_an_unknown_zone_is_refused_with_a_near_one(text: str, cure: str) -> None:
    with pytest.raises(Invalid) as caught:
        zone_name(text)
    assert cure in caught.value.cure


def test_a_known_zone_is_taken() -> None:
    found: Any = zone_name(BERLIN)
    assert found == BERLIN
