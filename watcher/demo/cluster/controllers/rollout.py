"""How far a Deployment may move its ReplicaSets at this moment: plain numbers in, plain numbers out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sizes:
    """One ReplicaSet as a rollout sees it."""

    name: str
    desired: int
    """spec.replicas"""
    running: int
    """status.replicas"""
    available: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of a rolling update in pods."""

    surge: int
    unavailable: int


def bounds(strategy: Mapping[str, Any], replicas: int) -> Bounds:
    """maxSurge and maxUnavailable (25% each by default) in pods; surge rounds up, unavailability down, never both 0."""
    rolling = strategy.get("rollingUpdate") or {}
    surge = _pods(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = _pods(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Bounds(surge, min(unavailable, replicas))


def _pods(value: int | str, replicas: int, *, up: bool) -> int:
    if isinstance(value, str):
        share = int(value.removesuffix("%")) * replicas / 100 if value.endswith("%") else float(value)
        return math.ceil(share) if up else math.floor(share)
    return value


def rolling_step(replicas: int, limits: Bounds, new: Sizes, old: Sequence[Sizes]) -> dict[str, int]:
    """The sizes that a rolling update sets next, by ReplicaSet name; empty when it has to wait (or is done).

    `old` is ordered oldest first. The new ReplicaSet moves before the old ones do.
    """
    everything = new.desired + sum(row.desired for row in old)
    if new.desired > replicas:
        return {new.name: replicas}
    if new.desired < replicas:
        room = replicas + limits.surge - everything
        if room > 0:
            return {new.name: new.desired + min(room, replicas - new.desired)}
    return _shrink(replicas - limits.unavailable, new, old)


def _shrink(minimum: int, new: Sizes, old: Sequence[Sizes]) -> dict[str, int]:
    """Take away old pods: first those that serve nobody, then available ones as far as `minimum` allows."""
    everything = new.desired + sum(row.desired for row in old)
    budget = everything - minimum - max(new.desired - new.available, 0)
    if budget <= 0:
        return {}
    sizes = {row.name: row.desired for row in old}
    for row in old:
        unhealthy = min(max(row.desired - row.available, 0), budget)
        sizes[row.name] -= unhealthy
        budget -= unhealthy
    spare = new.available + sum(min(row.available, row.desired) for row in old) - minimum
    for row in old:
        taken = min(sizes[row.name], max(spare, 0), max(budget, 0))
        sizes[row.name] -= taken
        spare -= taken
        budget -= taken
    return {row.name: sizes[row.name] for row in old if sizes[row.name] != row.desired}


def recreate_step(replicas: int, new: Sizes | None, old: Sequence[Sizes], old_pods: int) -> dict[str, int]:
    """The sizes that a Recreate sets next: the old ones go first, and wholly (`old_pods` counts terminating pods)."""
    running = {row.name: 0 for row in old if row.desired}
    if running or old_pods or new is None:
        return running
    return {new.name: replicas} if new.desired != replicas else {}
