"""Since when which colour has been seen without a ready endpoint: what only who keeps looking can know.

What always holds: it is only a memory. After a restart it begins anew, and what the pods themselves say needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from watcher.core.observed import PairView


class Silence:
    """By the key of a Release; nobody looks at the same one in two threads at once."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], dict[tuple[int, str], datetime]] = {}

    def seen(self, key: tuple[str, str], pairs: Sequence[PairView], now: datetime) -> list[PairView]:
        """The pairs of a Release as they were just seen, with since when each silent colour has been silent."""
        before = self._since.get(key, {})
        since = {
            (index, color): before.get((index, color), now)
            for index, pair in enumerate(pairs)
            for color, side in pair.colors.items()
            if side.ready == 0
        }
        self._since[key] = since
        return [
            replace(pair, colors={c: replace(s, silent_since=since.get((i, c))) for c, s in pair.colors.items()})
            for i, pair in enumerate(pairs)
        ]

    def forget(self, key: tuple[str, str]) -> None:
        self._since.pop(key, None)
