"""A made-up history of a shop that switched between its colours, served by a real Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from watcher.adapters.prometheus.local import Written

SCRAPE = 15
BEGIN = datetime(2026, 3, 2, 0, 0, tzinfo=UTC).timestamp()
REQUESTS = 20.0
"""A second, all on the active colour."""


@dataclass(frozen=True)
class Phase:
    """Traffic on a colour from `at` (seconds since BEGIN) on, with a share of errors at each second since then."""

    at: float
    color: str
    errors: Callable[[float], float] = lambda _: 0.001


def history(phases: Sequence[Phase], length: float, gaps: Sequence[tuple[float, float]] = ()) -> Iterator[Written]:
    """The series of all phases until `length`; within gaps nothing was scraped."""
    times = [t for t in range(0, int(length), SCRAPE) if not any(begin <= t < end for begin, end in gaps)]
    for color in ("blue", "green"):
        labels = {"application_namespace": "shop", "application": "shop", "active": color}
        samples: list[tuple[float, float | None]] = [
            (BEGIN + t, float(_phase(phases, t).color == color)) for t in times if t >= phases[0].at
        ]
        yield Written({"__name__": "watcher_active_color", **labels, "instance": "w"}, samples)
        for code, share in (("200", False), ("500", True)):
            counted = _counted(phases, color, errors=share, until=int(length))
            yield Written(
                {"__name__": "http_requests_total", "namespace": "shop", "app": "shop", "color": color, "code": code},
                [(BEGIN + t, counted[t]) for t in times],
            )


def _phase(phases: Sequence[Phase], t: float) -> Phase:
    return next((phase for phase in reversed(phases) if phase.at <= t), phases[0])


def _counted(phases: Sequence[Phase], color: str, *, errors: bool, until: int) -> list[float]:
    """The counter at each second."""
    total, found = 0.0, []
    for t in range(until):
        found.append(total)
        phase = _phase(phases, t)
        if phase.color == color and phase.at <= t:
            share = phase.errors(t - phase.at)
            total += REQUESTS * (share if errors else 1 - share)
    return found
