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
from watcher.core.lifecycle import sizing
from watcher.core.lifecycle.before import interrupted, superseded
from watcher.core.lifecycle.changed import images_of, tampered
from watcher.core.lifecycle.stages import run_stage
from watcher.core.lifecycle.turn import RETRY, Step, Turn
from watcher.core.release import Flip, Phase, Pinned
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
GROWING = "Growing"


def switching(turn: Turn) -> Step:
    """Flip forward, from the colour that serves to the one that passed its tests: one pair after the other. What leads
    out between the first flip and the last leads back, so that no two pairs are left on different colours.
    """
    if not turn.observed.service_known:
        return turn.stay(wake=RETRY)
    intent = turn.status.intent
    if intent is None:
        return _leave(turn) or _intend_switch(turn)
    pair = turn.of(intent)
    if _happened(pair, intent):
        return _switched(turn, intent)
    if pair.selected != intent.from_:  # what was asked for is refused if it comes late
        if turn.moved and not turn.status.flips:
            return superseded(turn)
        # An intent that starts where traffic never was is none of ours: somebody wrote the status. It is decided anew.
        return _leave(turn) or turn.stay(intent=None, wake=RETRY)
    stop = turn.release.spec.abort or turn.release.spec.rollback
    if stop or turn.status.reason == STOPPING or turn.moved or turn.gone:
        return _stop(turn, stop.told() if stop else "")
    deadline = turn.app.spec.deadlines.switching
    tried = turn.now - intent.at
    if tried > deadline + SETTLE:
        message = f"The flip{pair.whose} to {intent.to} did not happen within {format_duration(deadline)}"
        if turn.status.flips:
            return turn.go_back("SwitchDeadline", message)
        return turn.fail("SwitchDeadline", f"{message}; traffic never moved.")
    if tried > deadline:
        return turn.stay(wake=RETRY)
    if not pair.color(intent.to).ready:
        return turn.stay(message=f"Waits: {intent.to}{pair.whose} has no ready endpoints any more.", wake=RETRY)
    return turn.stay(SwapSelector(pair.app.spec.service, intent), wake=READ_AGAIN)


def _leave(turn: Turn) -> Step | None:
    """What leads out while no flip is under way."""
    if not turn.status.flips:
        return interrupted(turn)
    command = turn.release.spec.rollback or turn.release.spec.abort
    if command:
        return turn.go_back("manual", f"asked for {command.told()}", by=command.by)
    for pair in turn.gone:
        return turn.go_back("NoService", f"Service {pair.app.spec.service} was deleted while traffic moved")
    if not turn.moved:
        return None
    if not turn.mixed:
        return superseded(turn)
    moved = turn.moved[0].app.spec.service
    return turn.go_back("SelectorMoved", f"somebody else moved the selector of Service {moved} meanwhile")


def _stop(turn: Turn, told: str) -> Step:
    """Leave while a flip was asked for and is not seen: ask no more, and wait until it cannot land behind our back."""
    if turn.status.reason != STOPPING:
        other_ = next(iter((*turn.gone, *turn.moved)), turn).app.spec.service
        why = f"Aborted {told}" if told else f"Somebody else changed Service {other_}"
        message = f"{why}; waits {format_duration(SETTLE)}, as the flip was asked for already."
        return turn.stay(message=message, reason=STOPPING, phase_since=turn.now, wake=SETTLE)
    if turn.in_phase < SETTLE:
        return turn.stay(wake=SETTLE - turn.in_phase)
    if turn.status.flips:
        return _leave(turn) or turn.go_back("manual", "it was stopped before all of the traffic had moved")
    if turn.moved or turn.gone:
        return interrupted(turn) or superseded(turn)
    message = f"Aborted{f' {told}' if told else ''}; traffic never moved and stays on {turn.colors.from_}."
    idle = "" if turn.release.is_rollback_only else turn.colors.to
    return turn.end(Phase.ABORTED, "Aborted", message, idle=idle)


def _intend_switch(turn: Turn) -> Step:
    spec, to, begun = turn.app.spec, turn.colors.to, bool(turn.status.flips)
    left = [pair for pair in turn.pairs if pair.expected != to]
    if not left:  # a status that somebody wrote: no step of ours leaves Switching undone with every pair moved
        message = f"Traffic is on {to} already, by no flip of this Release. The Release ends and leaves it there."
        return turn.end(Phase.SUPERSEDED, "SelectorMoved", message, severity="warning", left=to)
    other = None if begun else tampered(turn)
    if other:
        return other
    waits = "" if begun else turn.paused()
    if not (begun or waits or turn.release.spec.override_window):
        why = closed_because(spec.windows, spec.freezes, turn.now)
        waits = f"Ready to switch, and waits for a deployment window: now is {why}." if why else ""
    if waits:
        return turn.stay(message=waits, wake=timedelta(seconds=30), reason=WAITING)
    if turn.status.reason == WAITING:
        # The phase's time runs from here.
        return turn.stay(reason="", phase_since=turn.now, wake=timedelta(0))
    rules_problem = "" if begun else turn.observed.rules_problem
    if rules_problem:
        return turn.fail("InvalidRules", f"{rules_problem.removesuffix('.')}. Traffic never moved.")
    sized = sizing.Holding() if begun else sizing.before_the_flip(turn)
    for pair in left:
        side = pair.color(to)
        if side.ready and side.deployment is not None and side.deployment.rolled_out and not sized.waits:
            continue
        return _not_yet(pair, sized)
    turn = turn.having(sized.changes)
    service = left[0].app.spec.service
    flip = Flip(index=_next_index(turn), from_=turn.colors.from_, to=to, reason="switch", at=turn.now, service=service)
    return turn.stay(
        SwapSelector(service, flip),
        *sized.effects,
        message=f"Switches traffic{left[0].whose} to {flip.to} ({turn.version_aside}).",
        wake=READ_AGAIN,
        reason="",
        intent=flip,
        pinned=turn.pinned if begun else _pin_watch(turn),
    )


def _not_yet(pair: Turn, sized: sizing.Holding) -> Step:
    """The idle colour is not ready, or not at its size, any more. New pods have the time that a deployment has."""
    to, deadlines, growing = f"{pair.colors.to}{pair.whose}", pair.app.spec.deadlines, pair.status.reason == GROWING
    late = pair.overdue(deadlines.deploying if growing else deadlines.switching)
    if late:
        message = f"{to} was ready, and is not any more; it did not recover {late}"
        if growing:
            message = f"{to} was to grow with {pair.colors.from_}; its new pods did not get ready {late}"
        if pair.status.flips:
            return pair.go_back("NotReady", message)
        return pair.fail("NotReady", f"{message}. Traffic never moved.")
    changes = sized.changes | ({"reason": GROWING} if sized.grows else {})
    lacks = f"still grows with {pair.colors.from_}" if growing else "is not ready any more"
    message = sized.waits or f"Waits: {to} {lacks}."
    return pair.stay(*sized.effects, message=message, wake=RETRY, **changes)


def _pin_watch(turn: Turn) -> Pinned:
    """What the watch is held to from the first flip on."""
    restarts = turn.failures(turn.colors.to)
    pinned = sizing.sized(turn, [sizing.live_size(pair) for pair in turn.pairs])
    return pinned.model_copy(update={"rules": turn.observed.rules, "restarts": restarts, "images": images_of(turn)})


def _next_index(turn: Turn) -> int:
    return len(turn.status.flips) + 1


def _happened(pair: Turn, flip: Flip) -> bool:
    return pair.service is not None and pair.service.mark == flip.mark(pair.release.uid)


def _confirmed(turn: Turn, flip: Flip) -> Flip:
    """The flip with the time at which it was made: the mark carries it, so that a restart finds the same."""
    service = turn.of(flip).service
    at = service.marked_at if service and service.marked_at else turn.now
    return flip.model_copy(update={"at": at})


def _switched(turn: Turn, intent: Flip) -> Step:
    flip = _confirmed(turn, intent)
    flips = (*turn.status.flips, flip)
    told = f"moved from {flip.from_} ({turn.previous_version}) to {flip.to} ({turn.version_aside})."
    said = f"Traffic{turn.of(flip).whose} {told}"
    tell = Tell(flip.news, "Switched", said, evidence=flip.evidence())
    release, effects = turn.stay(tell, message=said, reason="", intent=None, flips=flips, wake=timedelta(0))
    if any(pair.expected != flip.to for pair in Turn(release, turn.observed, turn.now).pairs):
        return release, effects
    changes: dict[str, Any] = {
        "intent": None,
        "flips": flips,
        "switched_at": flip.at,
        "watch_until": flip.at + turn.watch.duration,
    }
    release, effects = turn.go(Phase.VERIFYING, f"Traffic {told}", tell, **changes)
    after = Turn(release, turn.observed, turn.now)
    if after.moved:
        release, more = superseded(after)
        return release, (*effects, *more)
    return release, effects


def rolling_back(turn: Turn) -> Step:
    """Flip back, the pairs in reverse order. The target colour alone decides when. A pair that somebody else moved is
    left where it is; the others go back all the same.
    """
    if not turn.observed.service_known:
        return turn.stay(wake=READ_AGAIN)
    target = turn.colors.to if turn.release.is_rollback_only else turn.colors.from_
    intent = turn.status.intent
    if intent and _happened(turn.of(intent), intent):
        return _flipped_back(turn, intent)
    left = _left(turn, target)
    gone = [pair for pair in turn.gone if pair.flips or pair.expected != target]
    if gone and not left:
        name = gone[0].app.spec.service
        message = f"Rolling back, and Service {name} is gone: create it again, selecting {target}."
        conditions = turn.condition("NeedsAttention", True, "NoService", message)
        return turn.stay(message=message, wake=RETRY, conditions=conditions)
    if not left:
        return superseded(turn) if turn.moved else _read_back(turn, target)
    begun = bool(turn.status.flips)
    if turn.release.is_rollback_only and not begun and (turn.release.spec.abort or turn.status.reason == STOPPING):
        abort = turn.release.spec.abort
        return _stop(turn, abort.told() if abort else "")
    pair = next((pair for pair in left if intent and pair.app.spec.service == intent.service), left[0])
    if intent is None or pair.pair != turn.of(intent).pair:
        code = turn.status.rollback.code if turn.status.rollback else "rollback"
        intent = Flip(
            index=_next_index(turn),
            from_=other(target),
            to=target,
            reason=code,
            at=turn.now,
            service=pair.app.spec.service,
        )
    return _ask_back(turn, left, intent)


def _left(turn: Turn, target: str) -> list[Turn]:
    """The pairs that are still to go back, in the order in which they do."""
    return [pair for pair in reversed(turn.pairs) if pair.expected != target and pair.selected == pair.expected]


def _ask_back(turn: Turn, left: list[Turn], intent: Flip) -> Step:
    """Ask for the next flip back, once all of those that are left can be made: they are made in one go."""
    target = intent.to
    changes: dict[str, Any] = {} if intent == turn.status.intent else {"intent": intent}
    if not turn.seen(target):
        return turn.stay(wake=READ_AGAIN, **changes)
    cold = [pair for pair in left if not _warm(pair, target)]
    held = sizing.hold(turn, target)
    changes |= held.changes
    if not cold:
        service = turn.of(intent).app.spec.service
        return turn.stay(SwapSelector(service, intent, rescue=True), *held.effects, wake=READ_AGAIN, **changes)
    waits = "; ".join(_waits_for(pair, target) for pair in cold)
    message = f"Rolling back, and {waits}; traffic returns the moment it is ready."
    effects = [
        Scale(pair.app.deployment(target), sizing.size(pair, target))
        for pair in cold
        if (found := pair.color(target).deployment) and found.replicas < sizing.size(pair, target)
    ]
    conditions = turn.condition("NeedsAttention", True, "RollbackWaits", message)
    return turn.stay(*effects, *held.effects, message=message, wake=RETRY, conditions=conditions, **changes)


def _warm(pair: Turn, target: str) -> bool:
    """Whether enough of the target is ready: half of it, or after some patience anything."""
    ready = pair.color(target).ready
    return ready >= (sizing.size(pair, target) + 1) // 2 or (ready > 0 and pair.in_phase > PART_READY)


def _waits_for(pair: Turn, target: str) -> str:
    """What a colour that is to serve again lacks, and what is done about it."""
    side, wanted, name = pair.color(target), sizing.size(pair, target), pair.app.deployment(target)
    if side.deployment is None:
        cure = f"create Deployment {name}"
    elif side.deployment.replicas < wanted:
        cure = f"scales up Deployment {name}"
    else:
        cure = f"waits for the pods of Deployment {name}"
    return f"{target}{pair.whose} is not ready ({side.ready} of {wanted} endpoints): {cure}"


def _flipped_back(turn: Turn, intent: Flip) -> Step:
    flip = _confirmed(turn, intent)
    decided = turn.status.rollback.at if turn.status.rollback else turn.now
    seconds = max(0.0, (flip.at - decided).total_seconds())
    told = f"Traffic{turn.of(flip).whose} is back on {flip.to}, {seconds:.1f} s after the verdict."
    tell = Tell(flip.news, "SwitchedBack", told, "warning", flip.evidence())
    release, effects = turn.stay(tell, message=told, intent=None, flips=(*turn.status.flips, flip), wake=timedelta(0))
    after = Turn(release, turn.observed, turn.now)
    if after.moved and not _left(after, flip.to):
        release, more = superseded(after)
        return release, (*effects, *more)
    return release, effects


def _read_back(turn: Turn, target: str) -> Step:
    """The selector is back: end once an endpoint answers for it, or when waiting longer would tell nobody anything."""
    # Without a flip there was nothing to take back: only a status that somebody edited says so.
    flipped_at = turn.status.flips[-1].at if turn.status.flips else turn.now - turn.in_phase
    left = other(target)
    late = turn.now - flipped_at > turn.app.spec.deadlines.verifying
    if not turn.ready(target) and not late:
        message = f"Traffic is back on {target}, and waits for its endpoints to be ready."
        return turn.stay(message=message, wake=RETRY)
    hooks = turn.app.spec.hooks.post_rollback
    waits = run_stage(turn, "postRollback", hooks, ["hook"], turn.app.spec.deadlines.verifying, tolerant=True)
    if waits:
        return waits
    why = turn.status.rollback.message if turn.status.rollback else "a rollback was asked for"
    seconds = max(0.0, (flipped_at - turn.status.rollback.at).total_seconds()) if turn.status.rollback else 0.0
    whole = f" ({turn.previous_version})" if not turn.release.is_rollback_only else _running(turn, target)
    gone = turn.version_aside if not turn.release.is_rollback_only else turn.previous_version
    message = (
        f"Rolled back from {left} ({gone}) to {target}{whole}: {why}; "
        f"traffic returned {seconds:.1f} s after the verdict."
    )
    previews = [pair.app.spec.preview for pair in turn.pairs]
    effects = [PointPreview(preview.service, left) for preview in previews if preview]
    return turn.end(
        Phase.ROLLED_BACK,
        turn.status.reason,
        message,
        *effects,
        idle=left,
        severity="critical",
        evidence={
            "reason": turn.status.rollback.code if turn.status.rollback else turn.status.reason,
            "flips": [f.model_dump(mode="json", by_alias=True) for f in turn.status.flips],
        },
        rejected=_rejected(turn, left),
    )


def _rejected(turn: Turn, left: str) -> dict[str, str]:
    """The images that traffic was taken from: those asked for, or by hand those that the colour ran."""
    if not turn.release.is_rollback_only:
        return turn.release.spec.images
    found = [pair.color(left).deployment for pair in turn.pairs]
    ran = {container: image for deployment in found if deployment for container, image in deployment.images.items()}
    return ran or turn.release.spec.images


def _running(turn: Turn, color: str) -> str:
    deployment = turn.color(color).deployment
    return f" ({deployment.version})" if deployment and deployment.version else ""
