"""What clients saw, second by second.

It exists so that a scenario can say "no client saw an error" and mean it. What always holds: every request is counted
once, in the second in which the client learned how it ended, by the colour that answered if one did; a snapshot is
frozen, cheap, and may be taken from any thread.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

Outcome = Literal["ok", "http_4xx", "http_5xx", "refused", "reset", "timeout", "other"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True, slots=True)
class Served:
    """Who answered: the version, colour and pod that the response's headers named (empty when they did not)."""

    version: str = ""
    color: str = ""
    pod: str = ""


@dataclass(frozen=True, slots=True)
class Second:
    """One second of traffic. `at` is in Unix seconds; latencies are seconds, of answered requests, None without any."""

    at: int
    requests: int
    results: Mapping[Outcome, int]
    colors: Mapping[str, int]
    versions: Mapping[str, int]
    pods: Mapping[str, int]
    p50: float | None
    p99: float | None

    @property
    def failed(self) -> int:
        """Requests that ended in anything but a 2xx or 3xx answer."""
        return self.requests - self.results.get("ok", 0)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Everything since the start. `results` names every outcome; `colors` and `versions` only who answered."""

    started: float
    requests: int
    results: Mapping[Outcome, int]
    colors: Mapping[str, int]
    versions: Mapping[str, int]
    pods: Mapping[str, int]
    connections: int
    reconnects: int
    dropped: int
    seconds: Sequence[Second]

    @property
    def failed(self) -> int:
        """Requests that ended in anything but a 2xx or 3xx answer."""
        return self.requests - self.results["ok"]


@dataclass(slots=True)
class _Open:
    at: int
    results: Counter[Outcome] = field(default_factory=Counter)
    served: Counter[Served] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    def close(self) -> Second:
        ordered = sorted(self.latencies)
        return Second(
            at=self.at,
            requests=self.results.total(),
            results=MappingProxyType(dict(self.results)),
            p50=_quantile(ordered, 0.5),
            p99=_quantile(ordered, 0.99),
            **_by_part(self.served),
        )


class Ledger:
    """Counts requests as they end. One thread or several may write, any may read."""

    def __init__(self, started: float) -> None:
        self._lock = threading.Lock()
        self._started = started
        self._results: Counter[Outcome] = Counter(dict.fromkeys(OUTCOMES, 0))
        self._served: Counter[Served] = Counter()
        self._closed: list[Second] = []
        self._open: _Open | None = None
        self._connections = self._reconnects = self._dropped = 0

    def record(self, at: float, outcome: Outcome, served: Served | None = None, latency: float | None = None) -> None:
        """Counts a request that ended at `at` (Unix seconds); `served` and `latency` when something answered."""
        with self._lock:
            # A clock that steps back adds to the newest second rather than opening an old one again.
            if self._open is None or int(at) > self._open.at:
                if self._open is not None:
                    self._closed.append(self._open.close())
                self._open = _Open(int(at))
            self._results[outcome] += 1
            self._open.results[outcome] += 1
            if served is not None:
                self._served[served] += 1
                self._open.served[served] += 1
            if latency is not None:
                self._open.latencies.append(latency)

    def connected(self) -> None:
        """Counts an opened connection."""
        with self._lock:
            self._connections += 1

    def reconnected(self) -> None:
        """Counts an idle connection that the server had closed, and that a new one replaced unseen."""
        with self._lock:
            self._reconnects += 1

    def drop(self, requests: int) -> None:
        """Counts requests that were due but never sent, because every connection was waiting."""
        with self._lock:
            self._dropped += requests

    def snapshot(self) -> Traffic:
        """All of it, as of now. The second in progress comes last."""
        with self._lock:
            newest = [self._open.close()] if self._open else []
            return Traffic(
                started=self._started,
                requests=self._results.total(),
                results=MappingProxyType(dict(self._results)),
                connections=self._connections,
                reconnects=self._reconnects,
                dropped=self._dropped,
                seconds=(*self._closed, *newest),
                **_by_part(self._served),
            )


def _by_part(served: Counter[Served]) -> dict[str, Mapping[str, int]]:
    parts: dict[str, Counter[str]] = {"colors": Counter(), "versions": Counter(), "pods": Counter()}
    for who, count in served.items():
        for part, name in (("colors", who.color), ("versions", who.version), ("pods", who.pod)):
            if name:
                parts[part][name] += count
    return {part: MappingProxyType(dict(counts)) for part, counts in parts.items()}


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest-rank quantile, or None of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
