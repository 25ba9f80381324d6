"""Timestamps and ages, as kubectl prints them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.,]\d+)?(Z|[+-]\d\d:\d\d)", re.IGNORECASE | re.ASCII)


def parse_time(value: Any) -> datetime | None:
    """An RFC 3339 timestamp as an aware datetime, None for anything else."""
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value.upper())
    except ValueError:
        return None


def age(value: Any, now: datetime) -> str:
    """How long ago a timestamp was, `<unknown>` when there is none."""
    then = parse_time(value)
    return duration(now - then) if then else "<unknown>"


def duration(span: timedelta) -> str:
    """A span with two digits or so of precision: 59s, 5m3s, 17m, 3h20m, 2d4h, 40d, 2y30d."""
    seconds = int(span.total_seconds())
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"
