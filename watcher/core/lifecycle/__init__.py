"""The life of a Release as one total function: `step(release, observed, now) -> (release, effects)`.

What always holds: it reads no clock and does no input or output; the same arguments give the same answer; every phase
is handled; and whatever step a worker is killed at, taking `step` again from the status in the cluster goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from watcher.core.effects import Effect, Tell
from watcher.core.lifecycle.after import verifying, watching
from watcher.core.lifecycle.before import awaiting_approval, deploying, pending, testing
from watcher.core.lifecycle.ended import ended
from watcher.core.lifecycle.flip import rolling_back, switching
from watcher.core.lifecycle.telling import news
from watcher.core.lifecycle.turn import PhaseStep, Turn
from watcher.core.observed import Observed
from watcher.core.release import TERMINAL, Phase, Release

STATUS_LOST = (
    "Somebody took away the part of the status that says what this Release was doing. "
    "It ends here, and leaves selector and pods as they are: look at which colour is live."
)

REMOVED = Tell(
    "application-removed",
    "ApplicationRemoved",
    "No file defines this Application any more. The Release goes on to its end with what it began with.",
    "warning",
)

PHASES: dict[Phase, PhaseStep] = {
    Phase.PENDING: pending,
    Phase.DEPLOYING: deploying,
    Phase.TESTING: testing,
    Phase.AWAITING_APPROVAL: awaiting_approval,
    Phase.SWITCHING: switching,
    Phase.VERIFYING: verifying,
    Phase.WATCHING: watching,
    Phase.ROLLING_BACK: rolling_back,
    Phase.COMPLETED: ended,
    Phase.ROLLED_BACK: ended,
    Phase.FAILED: ended,
    Phase.ABORTED: ended,
    Phase.SUPERSEDED: ended,
}


def step(release: Release, observed: Observed, now: datetime) -> tuple[Release, tuple[Effect, ...]]:
    """The Release after one step, and what is to be done once its new status is safely written.

    Args:
        release: as the cluster has it.
        observed: the world as it was just read.
        now: aware UTC time of the injected clock.
    """
    turn = Turn(release, observed, now)
    status = release.status
    if release.phase not in (TERMINAL | {Phase.PENDING}) and (status.pinned is None or status.colors is None):
        after, effects = turn.end(Phase.FAILED, "StatusLost", STATUS_LOST, severity="critical")
    else:
        after, effects = PHASES[release.phase](turn)
    if observed.removed and not after.phase.terminal:
        effects = (*effects, REMOVED)
    repeated = {tell.key: tell for tell in news(after, now)}
    done = tuple(_with_evidence(effect, repeated) for effect in effects)
    told = {effect.key for effect in effects if isinstance(effect, Tell)}
    return after, (*done, *(replace(tell, repeated=True) for key, tell in repeated.items() if key not in told))


def _with_evidence(effect: Effect, repeated: Mapping[str, Tell]) -> Effect:
    """What is told at once rests on no less than what is told again after a kill."""
    if not isinstance(effect, Tell) or effect.key not in repeated:
        return effect
    return replace(effect, evidence={**repeated[effect.key].evidence, **effect.evidence})
