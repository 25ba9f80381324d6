"""The two phases that flip the selector: Switching (forward) and RollingBack (back).

Both go the same way: record the intent, swap, read again. What always holds: a flip is asked for only after its intent
is in the status, and whether it happened is read from the mark that it left on the Service, so that neither a kill nor
a lost answer can lose it or make it twice (S3, S5). Going back asks nothing of the failing colour (S2).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from watcher.core.application import other
from watcher.core.effects import PointPreview, Scale, SwapSelector, Tell
from watcher.core.lifecycle.before import interrupted, superseded
from watcher.core.lifecycle.stages import run_stage
from watcher.core.lifecycle.turn import RETRY, Step, Turn
from watcher.core.release import Flip, Phase
from watcher.core.units import format_duration
from watcher.core.windows import closed_because

READ_AGAIN = timedelta(milliseconds=100)
"""How soon the Service is read again after a flip was asked for."""

PART_READY = timedelta(seconds=30)
"""How long a rollback waits for half of its target's pods before one ready pod is enough."""


SETTLE = timedelta(seconds=10)
"""How long after the last asking a flip may still land: a swap request must have been given up by then."""

STOPPING = "Stopping"
WAITING = "Waiting"


def switching(turn: Turn) -> Step:
    """Flip forward, from the colour that serves to the one that passed its tests."""
    if not turn.observed.service_known:
        return turn.stay(wake=RETRY)
    intent = turn.status.intent
    if intent is None:
        return interrupted(turn) or _intend_switch(turn)
    if _happened(turn, intent):
        return _switched(turn, intent)
    stop = turn.release.spec.abort or turn.release.spec.rollback
    if stop or turn.status.reason == STOPPING:
        if turn.observed.service is not None and turn.selected != turn.colors.from_:
            return superseded(turn)
        return _stop(turn, stop.told() if stop else "")
    stopped = interrupted(turn)
    if stopped:
        return stopped
    deadline = turn.app.spec.deadlines.switching
    tried = turn.now - intent.at
    if tried > deadline + SETTLE:
        message = (
            f"The flip to {turn.colors.to} did not happen within {format_duration(deadline)}; traffic never moved."
        )
        return turn.fail("SwitchDeadline", message)
    if tried > deadline:
        return turn.stay(wake=RETRY)
    if not turn.color(turn.colors.to).ready:
        return turn.stay(message=f"Waits: {turn.colors.to} has no ready endpoints any more.", wake=RETRY)
    return turn.stay(SwapSelector(turn.app.spec.service, intent), wake=READ_AGAIN)


def _stop(turn: Turn, told: str) -> Step:
    """Abort while a flip was asked for and is not seen: ask no more, and wait until it cannot land behind our back."""
    if turn.status.reason != STOPPING:
        message = f"Aborted {told}; waits {format_duration(SETTLE)}, as the flip was asked for already."
        return turn.stay(message=message, reason=STOPPING, phase_since=turn.now, wake=SETTLE)
    if turn.in_phase < SETTLE:
        return turn.stay(wake=SETTLE - turn.in_phase)
    message = f"Aborted{f' {told}' if told else ''}; traffic never moved and stays on {turn.colors.from_}."
    idle = "" if turn.release.is_rollback_only else turn.colors.to
    return turn.end(Phase.ABORTED, "Aborted", message, idle=idle)


def _intend_switch(turn: Turn) -> Step:
    spec = turn.app.spec
    waits = turn.paused()
    if not waits and not turn.release.spec.override_window:
        why = closed_because(spec.windows, spec.freezes, turn.now)
        waits = f"Ready to switch, and waits for a deployment window: now is {why}." if why else ""
    if waits:
        return turn.stay(message=waits, wake=timedelta(seconds=30), reason=WAITING)
    if turn.status.reason == WAITING:
        # The phase's time runs from here.
        return turn.stay(reason="", phase_since=turn.now, wake=timedelta(0))
    side = turn.color(turn.colors.to)
    rules_problem = turn.observed.rules_problem
    if rules_problem:
        return turn.fail("InvalidRules", f"{rules_problem.removesuffix('.')}. Traffic never moved.")
    if not side.ready or side.deployment is None or not side.deployment.rolled_out:
        late = turn.overdue(spec.deadlines.switching)
        if late:
            message = (
                f"{turn.colors.to} was ready, and is not any more; it did not recover {late}. Traffic never moved."
            )
            return turn.fail("NotReady", message)
        return turn.stay(message=f"Waits: {turn.colors.to} is not ready any more.", wake=RETRY)
    flip = Flip(index=_next_index(turn), from_=turn.colors.from_, to=turn.colors.to, reason="switch", at=turn.now)
    pinned = turn.pinned.model_copy(
        update={
            "rules": turn.observed.rules,
            "restarts": {pod.uid: pod.failures for pod in side.pods if pod.failures},
        }
    )
    return turn.stay(
        SwapSelector(spec.service, flip),
        message=f"Switches traffic to {flip.to} ({turn.version}).",
        wake=READ_AGAIN,
        intent=flip,
        pinned=pinned,
    )


def _next_index(turn: Turn) -> int:
    return len(turn.status.flips) + 1


def _happened(turn: Turn, flip: Flip) -> bool:
    service = turn.observed.service
    return service is not None and service.mark == flip.mark(turn.release.uid)


def _confirmed(turn: Turn, flip: Flip) -> Flip:
    """The flip with the time at which it was made: the mark carries it, so that a restart finds the same."""
    service = turn.observed.service
    at = service.marked_at if service and service.marked_at else turn.now
    return flip.model_copy(update={"at": at})


def _switched(turn: Turn, intent: Flip) -> Step:
    flip = _confirmed(turn, intent)
    changes: dict[str, Any] = {
        "intent": None,
        "flips": (*turn.status.flips, flip),
        "switched_at": flip.at,
        "watch_until": flip.at + turn.watch.duration,
    }
    told = f"Traffic moved from {flip.from_} ({turn.previous_version}) to {flip.to} ({turn.version})."
    evidence = {"from": flip.from_, "to": flip.to, "at": flip.at.isoformat()}
    tell = Tell(f"flip/{flip.index}", "Switched", told, evidence=evidence)
    release, effects = turn.go(Phase.VERIFYING, told, tell, **changes)
    if turn.selected != flip.to:
        release, more = superseded(Turn(release, turn.observed, turn.now))
        return release, (*effects, *more)
    return release, effects


def rolling_back(turn: Turn) -> Step:
    """Flip back. The target colour alone decides when."""
    if not turn.observed.service_known:
        return turn.stay(wake=READ_AGAIN)
    target = turn.colors.to if turn.release.is_rollback_only else turn.colors.from_
    if turn.observed.service is None:
        message = f"Rolling back, and Service {turn.app.spec.service} is gone: create it again, selecting {target}."
        conditions = turn.condition("NeedsAttention", True, "NoService", message)
        return turn.stay(message=message, wake=RETRY, conditions=conditions)
    intent = turn.status.intent
    flipped_back = bool(turn.status.flips) and turn.status.flips[-1].to == target
    if flipped_back:
        return _read_back(turn, target)
    if intent and intent.to == target and _happened(turn, intent):
        return _flipped_back(turn, intent)
    if turn.selected != other(target):
        return superseded(turn)
    if turn.release.is_rollback_only and (turn.release.spec.abort or turn.status.reason == STOPPING):
        abort = turn.release.spec.abort
        return _stop(turn, abort.told() if abort else "")
    if intent is None:
        code = turn.status.rollback.code if turn.status.rollback else "rollback"
        intent = Flip(index=_next_index(turn), from_=other(target), to=target, reason=code, at=turn.now)
    return _ask_back(turn, target, intent)


def _ask_back(turn: Turn, target: str, intent: Flip) -> Step:
    changes: dict[str, Any] = {} if turn.status.intent else {"intent": intent}
    if not turn.seen(target):
        return turn.stay(wake=READ_AGAIN, **changes)
    side = turn.color(target)
    wanted = turn.pinned.replicas
    half = (wanted + 1) // 2
    patience_over = turn.in_phase > PART_READY
    if side.ready >= half or (side.ready and patience_over):
        return turn.stay(SwapSelector(turn.app.spec.service, intent, rescue=True), wake=READ_AGAIN, **changes)
    name = turn.app.deployment(target)
    cold = side.deployment is not None and side.deployment.replicas < wanted
    cure = f"create Deployment {name}" if side.deployment is None else f"waits for the pods of Deployment {name}"
    cure = f"scales up Deployment {name}" if cold else cure
    message = (
        f"Rolling back, and {target} is not ready ({side.ready} of {wanted} endpoints): {cure}; "
        f"traffic returns the moment it is ready."
    )
    effects = [Scale(name, wanted)] if cold else []
    conditions = turn.condition("NeedsAttention", True, "RollbackWaits", message)
    return turn.stay(*effects, message=message, wake=RETRY, conditions=conditions, **changes)


def _flipped_back(turn: Turn, intent: Flip) -> Step:
    flip = _confirmed(turn, intent)
    decided = turn.status.rollback.at if turn.status.rollback else turn.now
    seconds = max(0.0, (flip.at - decided).total_seconds())
    told = f"Traffic is back on {flip.to}, {seconds:.1f} s after the verdict."
    evidence = {"from": flip.from_, "to": flip.to, "at": flip.at.isoformat(), "reason": flip.reason}
    tell = Tell(f"flip/{flip.index}", "SwitchedBack", told, "warning", evidence)
    release, effects = turn.stay(tell, message=told, intent=None, flips=(*turn.status.flips, flip), wake=timedelta(0))
    if turn.selected != flip.to:
        release, more = superseded(Turn(release, turn.observed, turn.now))
        return release, (*effects, *more)
    return release, effects


def _read_back(turn: Turn, target: str) -> Step:
    """The selector is back: end once an endpoint answers for it, or when waiting longer would tell nobody anything."""
    if turn.selected != target:
        return superseded(turn)
    flip = turn.status.flips[-1]
    left = other(target)
    late = turn.now - flip.at > turn.app.spec.deadlines.verifying
    if not turn.color(target).ready and not late:
        message = f"Traffic is back on {target}, and waits for its endpoints to be ready."
        return turn.stay(message=message, wake=RETRY)
    hooks = turn.app.spec.hooks.post_rollback
    waits = run_stage(turn, "postRollback", hooks, ["hook"], turn.app.spec.deadlines.verifying, tolerant=True)
    if waits:
        return waits
    why = turn.status.rollback.message if turn.status.rollback else "a rollback was asked for"
    seconds = max(0.0, (flip.at - turn.status.rollback.at).total_seconds()) if turn.status.rollback else 0.0
    whole = turn.previous_version if not turn.release.is_rollback_only else _running(turn, target)
    gone = turn.version if not turn.release.is_rollback_only else turn.previous_version
    message = (
        f"Rolled back from {left} ({gone}) to {target} ({whole}): {why}; "
        f"traffic returned {seconds:.1f} s after the verdict."
    )
    deployment = turn.color(left).deployment
    rejected = dict(deployment.images) if turn.release.is_rollback_only and deployment else turn.release.spec.images
    preview = turn.app.spec.preview
    effects = [PointPreview(preview.service, left)] if preview else []
    return turn.end(
        Phase.ROLLED_BACK,
        turn.status.reason,
        message,
        *effects,
        idle=left,
        severity="critical",
        evidence={
            "reason": flip.reason,
            "flips": [f.model_dump(mode="json", by_alias=True) for f in turn.status.flips],
        },
        rejected=rejected,
    )


def _running(turn: Turn, color: str) -> str:
    deployment = turn.color(color).deployment
    return (deployment.version if deployment else "") or "its version"
