"""Sizes, where an autoscaler has a say: the idle colour gets the live one's size before the flip, and neither of the
two is shrunk for want of traffic while it is tested, while it is the way back, or right after traffic came (S4).

What always holds: a minimum is raised only before a flip, or towards one that leads back; the autoscaler itself
remembers what it was, so that no kill loses it; what somebody else wrote there meanwhile stays; and nothing waits for
an autoscaler for long, a rollback never (S2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from watcher.core.effects import Effect, Scale, SetMinimum, Tell
from watcher.core.lifecycle.turn import Step, Turn
from watcher.core.observed import Held, ScalerView
from watcher.core.release import MOVED_ON, Phase, Pinned
from watcher.core.units import format_duration

PATIENCE = timedelta(seconds=30)
"""How long a phase before the flip waits for an autoscaler to take its minimum, and half of the phase's deadline at
most; then it goes on, and says so."""

SETTLED = timedelta(minutes=10)
"""How long after a flip the colour that serves keeps its minimum: an autoscaler that still looks at the time without
traffic would shrink it under load (its own window is five minutes, and metrics come later still)."""

SURE = timedelta(minutes=2)
"""How long after the end an autoscaler that shows no raised minimum may still be about to get one: a request on its
way, or a watch that is behind."""

LATER = timedelta(seconds=30)
ASK_AGAIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Holding:
    """What it takes to hold colours at a size: what to do and to note, and what is waited for, if anything is."""

    effects: tuple[Effect, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)
    waits: str = ""
    grows: bool = False
    """New pods were just asked for."""


def size_now(pair: Turn, color: str, unknown: int = 1) -> int:
    """How many pods the pair's colour is sized to, one at least; `unknown` where it has no Deployment."""
    deployment = pair.color(color).deployment
    return max(1, deployment.replicas) if deployment else unknown


def size(pair: Turn, color: str) -> int:
    """How many pods the pair's colour is to have: as many as the other one, within what its autoscaler allows."""
    scaler = pair.color(color).scaler
    return min(pair.replicas, scaler.maximum) if scaler else pair.replicas


def insisted(pair: Turn, color: str) -> int:
    """How many of them the colour is brought up to again and again: no more than an autoscaler that is not held keeps,
    as it would be stronger.
    """
    wanted = size(pair, color)
    scaler = pair.color(color).scaler
    if scaler is None or scaler.minimum >= wanted:
        return wanted
    return max(1, scaler.minimum) if _kept(pair, scaler) or _impatient(pair) else wanted


def hold(turn: Turn, color: str, *, live: bool = False) -> Holding:
    """Have the autoscalers of a colour keep its size in every pair, whatever the load; with `live` the size that it has
    right now."""
    effects: list[Effect] = []
    held, waits = list(turn.status.held), ""
    for pair in turn.pairs:
        scaler = pair.color(color).scaler
        if scaler is None:
            continue
        wanted = live_size(pair) if live else pair.replicas
        effects += _short(pair, color, scaler, wanted)
        ask = _raise(pair, scaler, min(wanted, scaler.maximum))
        if (ask or scaler.held) and scaler.name not in held:
            held.append(scaler.name)
        if ask:
            waits = waits or f"Waits for HorizontalPodAutoscaler {scaler.name} to keep {ask.minimum} pods of {color}."
            effects.append(ask)
    changes = {"held": tuple(held)} if tuple(held) != turn.status.held else {}
    if not turn.observed.scalers_known:
        waits = waits or "Waits for the list of HorizontalPodAutoscalers."
    if waits and _impatient(turn):
        effects.append(_not_held(turn, effects))
        waits = ""
    return Holding(tuple(effects), changes, waits)


def _raise(pair: Turn, scaler: ScalerView, wanted: int) -> SetMinimum | None:
    """The minimum raised to what is wanted; None when nothing is to be done, or when it is not ours to do."""
    if scaler.minimum >= wanted or _kept(pair, scaler):
        return None
    return SetMinimum(scaler.name, wanted, Held(scaler.own_minimum, wanted), scaler.resource_version)


def _kept(pair: Turn, scaler: ScalerView) -> bool:
    """Whether the minimum is somebody else's: another controller's, or a person's who changed it after we raised it."""
    changed = scaler.held is not None and not scaler.ours and scaler.name in pair.status.held
    return bool(scaler.owner) or changed


def _patience(turn: Turn) -> timedelta:
    """How long this phase waits for autoscalers; for ever where it does not wait at all."""
    deadlines = turn.app.spec.deadlines
    limits = {Phase.DEPLOYING: deadlines.deploying, Phase.SWITCHING: deadlines.switching}
    limit = limits.get(turn.release.phase)
    return timedelta.max if limit is None else min(PATIENCE, limit / 2)


def _impatient(turn: Turn) -> bool:
    return turn.in_phase > _patience(turn)


def _not_held(turn: Turn, effects: list[Effect]) -> Tell:
    names = " and ".join(effect.scaler for effect in effects if isinstance(effect, SetMinimum))
    what = f"{names} could not be held" if names else "Autoscalers could not be looked at"
    message = (
        f"{what} within {format_duration(_patience(turn))}, and the Release goes on: a colour may be shrunk while it "
        f"has no traffic. See the daemon's log, and its rights."
    )
    return Tell("autoscaler/not-held", "AutoscalerNotHeld", message, "warning")


def _short(pair: Turn, color: str, scaler: ScalerView, wanted: int) -> Iterator[Tell]:
    """What keeps the colour from being held at the size, and stays so."""
    name = f"HorizontalPodAutoscaler {scaler.name}"
    low = min(wanted, scaler.maximum)
    if scaler.maximum < wanted:
        message = (
            f"{name} allows {color} at most {scaler.maximum} pods where {wanted} are wanted: raise its maxReplicas."
        )
        yield Tell(f"autoscaler/limit/{scaler.name}", "AutoscalerLimit", message, "warning")
    if scaler.minimum >= low or not _kept(pair, scaler):
        return
    if scaler.owner:
        message = (
            f"{name} belongs to {scaler.owner}, and is left alone: it may shrink {color} to {scaler.minimum} pods."
        )
        yield Tell(f"autoscaler/owned/{scaler.name}", "AutoscalerNotHeld", message, "warning")
    else:
        yield _changed(color, scaler)


def _changed(color: str, scaler: ScalerView) -> Tell:
    message = (
        f"Somebody set the minReplicas of HorizontalPodAutoscaler {scaler.name} to {scaler.minimum} while it was to "
        f"keep {color} at its size. It is left so, and may shrink {color} while it has no traffic."
    )
    return Tell(f"autoscaler/changed/{scaler.name}", "AutoscalerChanged", message, "warning")


def keep_back(turn: Turn) -> Holding:
    """The way back stays at its size from the flip on. Where somebody else made that, nobody saw to it before."""
    if not turn.release.spec.foreign_flip:
        return Holding(tuple(_doubts(turn)))
    return Holding() if turn.observes else hold(turn, turn.colors.from_, live=True)


def _doubts(turn: Turn) -> list[Effect]:
    """An autoscaler that may shrink the way back after all, because somebody changed it."""
    color = turn.colors.from_
    found = [(scaler, size(pair, color)) for pair in turn.pairs if (scaler := pair.color(color).scaler)]
    return [_changed(color, one) for one, kept in found if one.name in turn.status.held and one.minimum < kept]


# -- keeping up with the colour that serves ---------------------------------------------------------------------------


def live_size(pair: Turn) -> int:
    """The size of the pair's colour that serves, right now."""
    return size_now(pair, pair.colors.from_, pair.replicas)


def sized(turn: Turn, sizes: list[int]) -> Pinned:
    """What is pinned, with another size for each pair."""
    further = {pair.app.spec.service: size for pair, size in zip(turn.pairs[1:], sizes[1:], strict=True)}
    return turn.pinned.model_copy(update={"replicas": sizes[0], "sizes": further})


def grow(turn: Turn) -> Holding:
    """While a flip is waited for, the idle colour grows with the one that serves; it never shrinks with it."""
    pinned = sized(turn, [max(pair.replicas, live_size(pair)) for pair in turn.pairs])
    changes: dict[str, Any] = {"pinned": pinned} if pinned != turn.pinned else {}
    after, to = turn.having(changes), turn.colors.to
    found = hold(after, to)
    effects, waits = list(found.effects), found.waits
    for pair in after.pairs:
        side = pair.color(to).deployment
        wanted = insisted(pair, to)
        if side is not None and side.replicas < wanted:
            effects.append(Scale(side.name, wanted, only_if_idle=to))
            waits = f"Waits: {to}{pair.whose} grows with {turn.colors.from_} to {wanted} pods."
    grows = any(isinstance(effect, Scale) for effect in effects)
    return Holding(tuple(effects), changes | found.changes, waits, grows)


def before_the_flip(turn: Turn) -> Holding:
    """Both colours at the size of the one that serves, and held there: one is about to lose its traffic, and the other
    to get it.
    """
    grown = grow(turn)
    held = hold(turn.having(grown.changes), turn.colors.from_, live=True)
    changes, waits = grown.changes | held.changes, grown.waits or held.waits
    return Holding((*grown.effects, *held.effects), changes, waits, grown.grows)


# -- giving back ------------------------------------------------------------------------------------------------------


def give_back(turn: Turn, made: Step) -> Step:
    """After the end: give each raised minimum back once nobody depends on it any more. `made` is the step so far."""
    release, effects = made
    if not turn.status.held or turn.status.pinned is None or turn.status.colors is None:
        return made
    after = Turn(release, turn.observed, turn.now)
    known = turn.observed.service_known and not turn.gone and turn.observed.scalers_known
    if not known or any(o.running for o in turn.observed.others):
        return after.stay(*effects, wake=LATER)
    sides = [(p, c, s) for p in turn.pairs for c in (turn.colors.from_, turn.colors.to) if (s := p.color(c).scaler)]
    noted = [(p, c, s) for p, c, s in sides if s.name in turn.status.held and s.held]
    due = [s for p, c, s in noted if turn.now >= _due(p, c)]
    asks = [SetMinimum(s.name, s.own_minimum, None, s.resource_version) for s in due]
    there = {s.name for _, _, s in noted}
    left = tuple(name for name in turn.status.held if name in there or turn.in_phase < SURE)
    changes: dict[str, Any] = {"held": left} if left != turn.status.held else {}
    if not left:
        return after.stay(*effects, **changes)
    return after.stay(*effects, *asks, wake=ASK_AGAIN if asks else LATER, **changes)


def _due(pair: Turn, color: str) -> datetime:
    """When the colour's minimum may be given back. The colour that serves has load of its own to be sized by; any other
    may be the way back of the last Release until that one's keep-time has passed.
    """
    ended = pair.status.ended_at or pair.now
    if color == pair.selected == pair.expected and pair.release.phase is not Phase.SUPERSEDED:
        return pair.flips[-1].at + SETTLED if pair.flips else ended
    ends = [o.ended_at for o in pair.observed.others if o.ended_at and o.phase in MOVED_ON]
    return max([ended, *ends]) + pair.app.spec.previous.keep


def least(pair: Turn, color: str) -> int | None:
    """The size that the idle colour is scaled down to; None while a raised minimum would undo it. With an autoscaler
    nothing is an end, and more than nothing is at least its own minimum: it would undo less.
    """
    wanted = pair.app.spec.previous.to
    scaler = pair.color(color).scaler
    if not wanted or scaler is None:
        return wanted
    return None if scaler.ours else max(wanted, min(scaler.minimum, scaler.maximum))
