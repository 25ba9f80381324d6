"""After the end: hooks hear of a failure; the idle colour keeps its pods for the keep-time, then makes room.

What always holds: nothing is scaled down while the live Service selects it, or while another Release of the
Application runs or waits (S4).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from watcher.core.application import COLORS, other
from watcher.core.effects import CancelChecks, Effect, PointPreview, Scale
from watcher.core.lifecycle.stages import run_stage
from watcher.core.lifecycle.turn import Step, Turn
from watcher.core.lifecycle.way_back import way_back
from watcher.core.release import Phase

LATER = timedelta(seconds=30)

MOVED_ON = frozenset({Phase.COMPLETED, Phase.ROLLED_BACK, Phase.SUPERSEDED})
"""Ends of a newer Release after which that one decides what becomes of the colours."""


HEARD = frozenset({Phase.FAILED, Phase.ABORTED})
"""Ends that `onFailure` hooks hear of: something was deployed, or its hooks ran, and its version never went live."""

TOO_OLD = timedelta(hours=1)
"""How long after the end a hook is still called: later it would only surprise somebody."""


def ended(turn: Turn) -> Step:
    """Call the hooks that want to hear of a failure, then see to the idle colour."""
    return _heard(turn) or _make_room(turn)


def _heard(turn: Turn) -> Step | None:
    """The next `onFailure` hook; None when none is left. The message stays that of the end."""
    status = turn.status
    if turn.release.phase not in HEARD or status.pinned is None or status.colors is None:
        return None
    if turn.in_phase < TOO_OLD:
        hooks = turn.app.spec.hooks.on_failure
        waits = run_stage(turn, "onFailure", hooks, ["hook"], turn.app.spec.deadlines.verifying, tolerant=True)
        if waits:
            release, effects = waits
            said = release.status.model_copy(update={"message": status.message})
            return release.model_copy(update={"status": said}), effects
    return turn.stay(CancelChecks(), wake=timedelta(0)) if turn.observed.checks else None


def _make_room(turn: Turn) -> Step:
    """Scale the idle colour down when its keep-time has passed and nobody needs it."""
    keep = turn.status.keep
    if keep is None or keep.done or turn.status.pinned is None:
        return turn.stay()
    newer = [o for o in turn.observed.others if o.created_at > turn.release.created_at]
    if any(o.phase in MOVED_ON for o in newer):
        return turn.stay(keep=keep.model_copy(update={"done": True}))
    if any(o.ended_at is None for o in newer) or not turn.observed.service_known or turn.observed.service is None:
        return turn.stay(wake=LATER)
    if turn.now < keep.until:
        return _kept(turn, keep.until - turn.now)
    deployment = turn.color(keep.color).deployment
    if turn.selected == keep.color or (turn.seen(keep.color) and (deployment is None or deployment.replicas == 0)):
        return turn.stay(keep=keep.model_copy(update={"done": True}))
    return turn.stay(Scale(keep.deployment, 0, only_if_idle=keep.color), wake=LATER)


def _kept(turn: Turn, left: timedelta) -> Step:
    """The keep-time runs: the preview stays on the idle colour, and the way back stays watched."""
    effects: list[Effect] = []
    key, spec, preview = turn.app.spec.selector_key, turn.app.spec.preview, turn.observed.preview
    if spec and preview and turn.selected in COLORS and preview.selector.get(key) == turn.selected:
        effects.append(PointPreview(spec.service, other(turn.selected)))
    changes: dict[str, Any] = {}
    if turn.release.phase is Phase.COMPLETED and turn.status.colors and turn.selected == turn.colors.to:
        conditions = way_back(turn)
        if conditions != turn.status.conditions:
            changes["conditions"] = conditions
    return turn.stay(*effects, wake=min(left, LATER), **changes)
