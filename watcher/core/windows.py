"""Deployment windows and freezes: when a release may begin to move traffic. Going back never asks here.

A window is wall-clock time in its zone, so a day with a daylight-saving change has it at the same clock time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta
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
    """The first instant at or after `now` at which a release may begin; None when there is none within a year."""
    candidates = [now]
    for freeze in freezes:
        day_after = freeze.to + timedelta(days=1)
        candidates.append(datetime.combine(day_after, time(0), ZoneInfo(freeze.timezone)))
    day = now
    while day < now + HORIZON:
        for window in windows:
            candidates += [start for start, _ in _spans(window, day)]
        found = sorted(at for at in candidates if at >= now and not closed_because(windows, freezes, at))
        if found:
            return found[0].astimezone(now.tzinfo)
        day += timedelta(days=1)
    return None


def _spans(window: Window, around: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The window's spans that begin on the day before, the day of, or the day after an instant, in its zone."""
    zone = ZoneInfo(window.timezone)
    for offset in (-1, 0, 1):
        day = around.astimezone(zone).date() + timedelta(days=offset)
        if DAYS[day.weekday()] not in window.days:
            continue
        start = datetime.combine(day, _clock(window.from_), zone)
        last = day if window.to > window.from_ else day + timedelta(days=1)
        if window.to == "24:00":
            last = day + timedelta(days=1)
        yield start, datetime.combine(last, _clock(window.to), zone)


def _clock(text: str) -> time:
    return time(0) if text == "24:00" else time.fromisoformat(text)
