"""How long a colour has had no ready endpoint, by who keeps looking."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from watcher.core.observed import ColorView, PairView
from watcher.engine.silence import Silence

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = ("a", "it")


def pair(blue: int, green: int) -> PairView:
    return PairView(colors={c: ColorView(c, None, (), n) for c, n in (("blue", blue), ("green", green))})


def since(seen: list[PairView]) -> list[datetime | None]:
    return [seen[0].colors[color].silent_since for color in ("blue", "green")]


def test_silence_counts_from_the_first_look_and_ends_with_the_first_endpoint() -> None:
    silence = Silence()
    later = [NOW + timedelta(seconds=n) for n in range(5)]
    assert since(silence.seen(KEY, [pair(2, 0)], later[0])) == [None, later[0]]
    assert since(silence.seen(KEY, [pair(0, 0)], later[1])) == [later[1], later[0]]
    assert since(silence.seen(KEY, [pair(0, 1)], later[2])) == [later[1], None]
    assert since(silence.seen(KEY, [pair(0, 0)], later[3])) == [later[1], later[3]]
    silence.forget(KEY)
    assert since(silence.seen(KEY, [pair(0, 1)], later[4])) == [later[4], None]
