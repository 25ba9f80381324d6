"""What a step wants done: plain data, carried out by the engine after the new status is safely written.

What always holds: each effect may be asked for again, and is harmless then. A step asks for it until it observes that
it is done, so a kill between the asking and the doing loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from watcher.core.checks import Check, Hook
from watcher.core.observed import Held
from watcher.core.release import Flip

Target = Literal["preview", "live", "pods", "metrics", "hook"]
"""Where a check is aimed: the preview Service, the live one, or each pod of the colour; a query at the metrics server;
a hook names its own place."""


@dataclass(frozen=True, slots=True)
class Deploy:
    """Put images (by container) on a colour's Deployment and size it."""

    deployment: str
    images: Mapping[str, str]
    replicas: int
    version: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Give a Deployment a size. `only_if_idle` names the colour that must not be live when it is done."""

    deployment: str
    replicas: int
    only_if_idle: str = ""


@dataclass(frozen=True, slots=True)
class SetMinimum:
    """Give an autoscaler another minimum, and note on it what to give back later (None: nothing any more), if it is
    still as it was seen (`version`). In the background: no other effect ever waits for it (S2).
    """

    scaler: str
    minimum: int
    held: Held | None
    version: str


@dataclass(frozen=True, slots=True)
class PointPreview:
    """Make the preview Service select a colour."""

    service: str
    color: str


@dataclass(frozen=True, slots=True)
class SwapSelector:
    """Flip the live Service, once: compare with `flip.from_`, swap to `flip.to`, leave the mark. `rescue` takes the
    rollback lane.
    """

    service: str
    flip: Flip
    rescue: bool = False


@dataclass(frozen=True, slots=True)
class RunCheck:
    """Run one check, or call one hook, in the background; its result is observed later under `id`."""

    id: str
    check: Check | Hook
    color: str
    target: Target


@dataclass(frozen=True, slots=True)
class CancelChecks:
    """Nobody waits for this Release's checks any more."""


@dataclass(frozen=True, slots=True)
class FetchLogs:
    """Read the last lines of a container that failed."""

    pod: str
    container: str
    previous: bool


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell people, once per `key` within the Release: a Kubernetes Event, a log line, and the channels asked for."""

    key: str
    reason: str
    message: str
    severity: Literal["info", "warning", "critical"] = "info"
    evidence: Mapping[str, object] = field(default_factory=dict)
    """What it rests on; `by` names the person or program that decided, where the watcher did not."""
    repeated: bool = False
    """Read from the status, not from what just happened: an earlier life of the worker may have told it."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Take the next step at this time even if nothing happens before."""

    at: datetime


Effect = Deploy | Scale | SetMinimum | PointPreview | SwapSelector | RunCheck | CancelChecks | FetchLogs | Tell | Wake
