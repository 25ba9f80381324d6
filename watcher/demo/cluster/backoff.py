"""How long the kubelet waits before it tries again: numbers only."""

from __future__ import annotations

from dataclasses import dataclass

FIRST = 10.0
LIMIT = 300.0
HEALTHY = 600.0
"""The kubelet's own seconds; every use multiplies them by the cluster's scale."""


@dataclass(slots=True)
class BackOff:
    """Delays that double. With `free_first` the first try again is at once, as for a container that crashed once."""

    scale: float
    free_first: bool = False
    _tries: int = 0

    def next(self, ran: float = 0.0) -> float:
        """Seconds to wait now. A container that `ran` for long enough starts afresh."""
        if ran >= HEALTHY * self.scale:
            self._tries = 0
        self._tries += 1
        step = self._tries - (2 if self.free_first else 1)
        if step < 0:
            return 0.0
        return float(min(FIRST * 2 ** min(step, 10), LIMIT)) * self.scale
