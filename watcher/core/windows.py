"""Deployment windows and freezes: when a release may begin to move traffic. Going back never asks here.

A window is wall-clock time in its zone, so a day with a daylight-saving change has it at the same clock time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo, available_timezones

from watcher.core.units import Invalid

if TYPE_CHECKING:
    from watcher.core.application import Freeze, Window

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HORIZON = timedelta(days=400)
"""How far ahead an opening is looked for."""


def clock_time(text: str) -> str:
    """Validate `HH:MM` (24:00 is the end of the day)."""
    if not re.fullmatch(r"(?:[01]\d|2[0-3]):[0-5]\d|24:00", text):
        raise Invalid(f'"{text}" is no time of day', 'write one from "00:00" to "24:00", such as "09:00"')
    return text


def start_time(text: str) -> str:
    """Validate `HH:MM` as a beginning."""
    if clock_time(text) == "24:00":
        raise Invalid('a window cannot begin at "24:00"', 'write "00:00", and the next day')
    return text


def zone_name(text: str) -> str:
    """Validate the name of a time zone."""
    if text not in available_timezones():
        near = get_close_matches(text, available_timezones(), 1)
        cure = f'did you mean "{near[0]}"?' if near else 'write one such as "Europe/Berlin"'
        raise Invalid(f'"{text}" is no time zone', cure)
    return text


def closed_because(windows: Sequence[Window], freezes: Sequence[Freeze], now: datetime) -> str:
    """Why no release may begin now, as a sentence; empty when one may."""
    for freeze in freezes:
        if freeze.from_ <= now.astimezone(ZoneInfo(freeze.timezone)).date() <= freeze.to:
            return f"a freeze until {freeze.to}" + (f" ({freeze.reason})" if freeze.reason else "")
    if windows and not any(start <= now < end for window in windows for start, end in _spans(window, now)):
        return "outside its deployment windows"
    return ""


def next_opening(windows: Sequence[Window], freezes: Sequence[Freeze], now: datetime) -> datetime | None:
    """The first instant at or after `now` at which a release may begin; None when there is none within `HORIZON`."""
    candidates = {now}
    for freeze in freezes:
        if freeze.to < (now + HORIZON).date():
            day_after = freeze.to + timedelta(days=1)
            candidates.add(datetime.combine(day_after, time(0), ZoneInfo(freeze.timezone)).astimezone(UTC))
    for window in windows:
        candidates.update(start for start, _ in _spans(window, now, HORIZON))
    openings = (at for at in sorted(candidates) if at >= now and not closed_because(windows, freezes, at))
    found = next(openings, None)
    return found.astimezone(now.tzinfo) if found else None


def _spans(window: Window, around: datetime, ahead: timedelta = timedelta(0)) -> Iterator[tuple[datetime, datetime]]:
    """The window's spans, in UTC, that begin on the day before an instant (in its zone), on its day, or until the day
    after `ahead` has passed.
    """
    zone = ZoneInfo(window.timezone)
    today = around.astimezone(zone).date()
    for offset in range(-1, ahead.days + 2):
        day = today + timedelta(days=offset)
        if DAYS[day.weekday()] not in window.days:
            continue
        over_midnight = window.to == "24:00" or window.to <= window.from_
        start = datetime.combine(day, time.fromisoformat(window.from_), zone)
        last = day + timedelta(days=1) if over_midnight else day
        end = time(0) if window.to == "24:00" else time.fromisoformat(window.to)
        yield start.astimezone(UTC), datetime.combine(last, end, zone).astimezone(UTC)
