"""After the end: the idle colour keeps its pods for the keep-time, then makes room.

What always holds: nothing is scaled down while the live Service selects it, or while another Release of the
Application runs (S4).
"""

from __future__ import annotations

from datetime import timedelta

from watcher.core.effects import Scale
from watcher.core.lifecycle.turn import Step, Turn

LATER = timedelta(seconds=30)


def ended(turn: Turn) -> Step:
    """Scale the idle colour down when its keep-time has passed and nobody needs it."""
    keep = turn.status.keep
    if keep is None or keep.done:
        return turn.stay()
    newer = any(o.created_at > turn.release.created_at for o in turn.observed.others)
    if newer:
        # The newer Release decides what becomes of the colours from now on.
        return turn.stay(keep=keep.model_copy(update={"done": True}))
    if turn.now < keep.until:
        return turn.stay(wake=keep.until - turn.now)
    if not turn.observed.service_known:
        return turn.stay(wake=LATER)
    deployment = turn.color(keep.color).deployment
    if turn.selected == keep.color or deployment is None or deployment.replicas == 0:
        return turn.stay(keep=keep.model_copy(update={"done": True}))
    return turn.stay(Scale(keep.deployment, 0, only_if_idle=keep.color), wake=LATER)
