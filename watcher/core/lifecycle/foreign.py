"""Flips that somebody else made while no Release ran (`kubectl patch`): noticed, and given a Release of their own.

What always holds: whether a flip was ours is told by what the Releases know and by the mark on the Service, not by
memory alone, so one that was made while no daemon ran is noticed too; and a Release that only observes moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from watcher.core.application import COLORS, Application, by_hand, other
from watcher.core.effects import Tell
from watcher.core.images import called
from watcher.core.lifecycle.changed import images_of
from watcher.core.lifecycle.sizing import size_now
from watcher.core.lifecycle.turn import RETRY, Step, Turn, disagreement
from watcher.core.observed import ServiceView
from watcher.core.release import FOREIGN, Colors, Command, Flip, ForeignFlip, Phase, Pinned, Release
from watcher.core.units import format_duration

BOTH_HANDS = timedelta(seconds=30)
"""How long somebody has who moves several Services one after the other, until the watch begins as it is."""

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Seen:
    """What this process last saw of a live Service while all was as it should be."""

    color: str
    mark: str


@dataclass(frozen=True, slots=True)
class Moved:
    """Somebody else moved the selector: from a colour to the other one, or to what is no colour."""

    from_: str
    to: str

    @property
    def is_flip(self) -> bool:
        return self.to in COLORS


def busy(app: Application, releases: Iterable[Release]) -> bool:
    """Whether a Release of the Application sees to the selector itself: no other one is needed."""
    return any(
        r.status.pinned is not None or r.is_rollback_only or r.spec.foreign_flip is not None
        for r in releases
        if r.spec.application == app.name and not r.phase.terminal
    )


def moved_outside(
    app: Application, service: ServiceView, releases: Iterable[Release], seen: Seen | None
) -> Moved | None:
    """What somebody else did to the selector since a Release, or else this process, last knew. None while a Release
    runs."""
    found = [r for r in releases if r.spec.application == app.name]
    selected = service.selector.get(app.spec.selector_key, "")
    if busy(app, found) or seen == Seen(selected, service.mark):
        return None
    expected = _expected(service, found, seen)
    return Moved(expected, selected) if expected and expected != selected else None


def _expected(service: ServiceView, releases: Iterable[Release], seen: Seen | None) -> str:
    """The colour that should be live; empty when nobody knows."""
    ended = [r for r in releases if r.status.ended_at and r.knows_live]
    newest = max(ended, key=lambda r: (r.status.ended_at or NEVER, r.name), default=None)
    recorded = any(flip.mark(r.uid) == service.mark for r in ended for flip in r.status.flips)
    until = newest.status.ended_at if newest else None
    if service.marked_at and not recorded and (until is None or service.marked_at > until):
        # A flip of ours whose Release was deleted, or whose end is not seen yet.
        return service.marked_to
    if newest:
        return newest.knows_live
    return seen.color if seen and seen.mark == service.mark else ""


def left_alone(app: Application, service: ServiceView, moved: Moved) -> Tell:
    """What is told of a move that gets no Release of its own."""
    key, name = app.spec.selector_key, app.spec.service
    message = f"{_moved_by(service.by, name, moved.from_)} {key}={moved.to or '(nothing)'}."
    reason = "ForeignFlip"
    if not moved.is_flip:
        reason = "NoActiveColor"
        cure = by_hand(app.namespace, name, key, moved.from_)
        message += f" Neither colour is selected alone; put it right with: {cure}"
    return Tell(f"moved/{service.mark}/{moved.to}", reason, message, "warning")


def apart(app: Application, services: Mapping[str, ServiceView]) -> Tell | None:
    """What is told when the live Services of an Application (by name) select different colours, and no Release runs
    that would bring them together."""
    message = disagreement(
        app, app.namespace, {n: s.selector.get(app.spec.selector_key, "") for n, s in services.items()}
    )
    if not message:
        return None
    state = "/".join(f"{s.uid}.{s.resource_version}" for s in services.values())
    return Tell(f"apart/{state}", "ServicesDisagree", message, "warning")


def take_up(turn: Turn, app: Application, found: ForeignFlip) -> Step:
    """Begin the watch of a foreign flip: it counts as made, and what it left is the way back."""
    observed = turn.observed
    service = observed.service
    if service is None:
        return turn.fail("NoService", f"Service {app.spec.service} was deleted after its selector was moved.")
    selected = turn.selected
    gone = give_way(turn)
    if gone:
        return gone
    if selected != found.to:
        message = (
            f"Somebody moved the selector of Service {app.spec.service} to {found.to}, and then on to "
            f"{selected or '(nothing)'} before the watch began; nothing is watched."
        )
        return turn.end(Phase.SUPERSEDED, "SelectorMoved", message, severity="warning", left=selected)
    if turn.mixed and turn.in_phase < BOTH_HANDS:
        return turn.stay(message=turn.mixed, wake=RETRY)
    left = turn.color(other(found.to)).deployment
    observes = app.spec.foreign_flips != "enforce"
    rules = tuple(r.model_copy(update={"mode": "observe"}) if observes else r for r in observed.rules)
    sizes = {pair.app.spec.service: size_now(pair, found.to) for pair in turn.pairs}
    pinned = Pinned(
        application=app,
        watcher=observed.watcher,
        rules=rules,
        replicas=sizes.pop(app.spec.service),
        sizes=sizes,
        previous_version=called(left.version, left.images, aside=True) if left else "",
        restarts=turn.failures(found.to),
        images=images_of(turn),
    )
    moved = [pair.app.spec.service for pair in turn.pairs if pair.selected == found.to]
    flips = tuple(
        Flip(index=i, from_=other(found.to), to=found.to, reason=FOREIGN, at=found.at, service=service)
        for i, service in enumerate(moved, 1)
    )
    does = "observed" if observes else "watched, and sent back if it goes wrong,"
    return turn.go(
        Phase.WATCHING if observes else Phase.VERIFYING,
        f"{told(app, found)}; {does} for {format_duration(app.spec.watch.duration)}.",
        pinned=pinned,
        colors=Colors(from_=other(found.to), to=found.to),
        flips=flips,
        started_at=turn.now,
        switched_at=found.at,
        watch_until=found.at + app.spec.watch.duration,
    )


def told(app: Application, found: ForeignFlip) -> str:
    """What happened, as the beginning of a sentence."""
    return f"{_moved_by(found.by, app.spec.service, found.from_)} {found.to}"


def _moved_by(by: str, service: str, from_: str) -> str:
    who = f"Somebody ({by})" if by else "Somebody"
    return f"{who} moved the selector of Service {service} from {from_} to"


def news(release: Release, flip: Flip) -> Tell:
    """A flip that was not ours, told as what it is."""
    found, pinned = release.spec.foreign_flip, release.status.pinned
    by = found.by if found else ""
    message = told(pinned.application, found) if found and pinned else f"Somebody moved traffic to {flip.to}"
    return Tell(flip.news, "ForeignFlip", f"{message}.", "warning", {**flip.evidence(), "by": by})


def give_way(turn: Turn) -> Step | None:
    """Another Release has begun: it sees to the selector from now on."""
    running = next((o.name for o in turn.observed.others if o.running), "")
    if not running:
        return None
    message = (
        f"Release {running} began, and goes on from {turn.selected}; the flip that somebody made is watched no more."
    )
    return turn.end(Phase.SUPERSEDED, "AnotherReleaseBegan", message, left=turn.selected)


def let_be(turn: Turn, command: Command) -> Step:
    """A person calls off the watch of a foreign flip: what they did themselves is not undone."""
    live = turn.colors.to
    message = f"Aborted {command.told()}: the watch ends, and traffic stays on {live}, where somebody else moved it."
    return turn.end(Phase.ABORTED, "Aborted", message, evidence=command.evidence())
