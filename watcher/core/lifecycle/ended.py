"""After the end: hooks hear of a failure; the idle colour keeps its pods for the keep-time, then makes room.

What always holds: nothing is scaled down while the live Service selects it, or while another Release of the
Application runs or waits (S4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from watcher.core.checks import Hook, Listed
from watcher.core.effects import CancelChecks, RunCheck, Scale, Target
from watcher.core.lifecycle.before import STAGES
from watcher.core.lifecycle.sizing import give_back, least
from watcher.core.lifecycle.stages import planned, run_stage
from watcher.core.lifecycle.turn import MIXED, Step, Turn
from watcher.core.lifecycle.way_back import preview_aside, way_back
from watcher.core.observed import Observed
from watcher.core.release import MOVED_ON, Phase, Release

STILL = timedelta(minutes=1)
"""How much longer than the check's own time a Job may run when nobody ended it."""

LATER = timedelta(seconds=30)

HEARD = frozenset({Phase.FAILED, Phase.ABORTED})
"""Ends that `onFailure` hooks hear of: something was deployed, or its hooks ran, and its version never went live."""

TOO_OLD = timedelta(hours=1)
"""How long after the end a hook is still called: later it would only surprise somebody."""


def ended(turn: Turn) -> Step:
    """Call the hooks that want to hear of a failure, then see to the idle colour."""
    return _heard(turn) or _one_again(turn) or give_back(turn, _make_room(turn))


def jobs_left(release: Release, now: datetime) -> Iterator[RunCheck]:
    """The Jobs of checks, and of hooks before the end, that gave no result before the Release ended, and may run still
    where whoever ended it was killed."""
    status = release.status
    if status.pinned is None or status.colors is None or status.ended_at is None:
        return
    turn = Turn(release, Observed(), now)
    tests, hooks = turn.app.spec.tests, turn.app.spec.hooks
    known = {record.id for record in status.checks}
    stages: list[tuple[str, Sequence[Listed | Hook], Target]] = [
        ("preDeploy", hooks.pre_deploy, "hook"),
        *((stage, getattr(tests, stage), "preview") for stage in STAGES),
        ("preSwitch", hooks.pre_switch, "hook"),
        ("postSwitch", hooks.post_switch, "hook"),
    ]
    for stage, listed, target in stages:
        for run in (run for group in planned(turn, stage, listed, [target]) for run in group):
            if run.check.job and run.id not in known and now - status.ended_at < run.check.job.timeout + STILL:
                yield run


def _heard(turn: Turn) -> Step | None:
    """The next `onFailure` hook; None when none is left. The message stays that of the end."""
    status = turn.status
    if (
        turn.release.spec.foreign_flip
        or turn.release.phase not in HEARD
        or status.pinned is None
        or status.colors is None
    ):
        return None
    if turn.in_phase < TOO_OLD:
        hooks = turn.app.spec.hooks.on_failure
        waits = run_stage(turn, "onFailure", hooks, ["hook"], turn.app.spec.deadlines.verifying, tolerant=True)
        if waits:
            release, effects = waits
            said = release.status.model_copy(update={"message": status.message})
            return release.model_copy(update={"status": said}), effects
    return turn.stay(CancelChecks(), wake=timedelta(0)) if turn.observed.checks else None


def _one_again(turn: Turn) -> Step | None:
    """Look after Services that were left on different colours, until they select the same one again."""
    if not turn.needs(MIXED):
        return None
    if not turn.observed.service_known or turn.gone or turn.mixed:
        return turn.stay(wake=LATER)
    message = "The Services select the same colour again."
    return turn.stay(conditions=turn.condition("NeedsAttention", False, message=message), wake=timedelta(0))


def _make_room(turn: Turn) -> Step:
    """Scale the idle colour down when its keep-time has passed and nobody needs it."""
    keep = turn.status.keep
    if keep is None or keep.done or turn.status.pinned is None:
        return turn.stay()
    others, ended_at = turn.observed.others, turn.status.ended_at or turn.now
    # By their ends: only one runs at a time, while several may be asked for within the second that a cluster counts in.
    if any(o.phase in MOVED_ON and o.ended_at and o.ended_at > ended_at for o in others):
        return turn.stay(keep=keep.model_copy(update={"done": True}))
    if any(o.ended_at is None for o in others) or not turn.observed.service_known or turn.gone:
        return turn.stay(wake=LATER)
    if turn.now < keep.until:
        return _kept(turn, keep.until - turn.now)
    sizes = [(pair, least(pair, keep.color)) for pair in turn.pairs]
    idle = [(pair, size) for pair, size in sizes if not turn.seen(keep.color) or _has_more(pair, keep.color, size)]
    if not idle or any(pair.selected == keep.color for pair in turn.pairs):
        return turn.stay(keep=keep.model_copy(update={"done": True}))
    scales = [
        Scale(pair.app.deployment(keep.color), size, only_if_idle=keep.color) for pair, size in idle if size is not None
    ]
    return turn.stay(*preview_aside(turn), *scales, wake=LATER)


def _has_more(pair: Turn, color: str, size: int | None) -> bool:
    deployment = pair.color(color).deployment
    return deployment is not None and deployment.replicas > (size or 0)


def _kept(turn: Turn, left: timedelta) -> Step:
    """The keep-time runs: the preview stays on the idle colour, and the way back stays watched."""
    changes: dict[str, Any] = {}
    serves = turn.status.colors and all(pair.selected == turn.colors.to for pair in turn.pairs)
    if turn.release.phase is Phase.COMPLETED and serves:
        conditions = way_back(turn)
        if conditions != turn.status.conditions:
            changes["conditions"] = conditions
    return turn.stay(*preview_aside(turn), wake=min(left, LATER), **changes)
