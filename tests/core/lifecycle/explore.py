"""Every way through the lifecycle: breadth first over status, world and the instant within a worker's round.

A `Node` is a worker somewhere in its round: looking at the world, about to write a status, or in the middle of carrying
out effects. From each node everything leads on that may happen there: the next thing goes well, or fails, or goes well
and nobody hears of it, or happens late; the worker is killed; somebody else wrote the status; a person, a pod, the
rules or the API server does something. Every trouble costs one of a few `faults`, which keeps the number of nodes
finite; times are told apart only by which limits they have passed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from tests.core.lifecycle.world import ALSO, BOTH, Side, World, application, release, scaler, worker
from watcher.core.effects import (
    Deploy,
    Effect,
    FetchLogs,
    PointPreview,
    RunCheck,
    Scale,
    SetMinimum,
    SwapSelector,
    Wake,
)
from watcher.core.lifecycle import step
from watcher.core.lifecycle.flip import PART_READY, SETTLE
from watcher.core.lifecycle.turn import MIXED
from watcher.core.release import FOREIGN, Command, Flip, Phase, Release, Status

ACTS = (Deploy, Scale, SetMinimum, PointPreview, SwapSelector, RunCheck, FetchLogs)
"""Effects that touch the world; the others are the worker's own."""

BACK = frozenset({Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.SUPERSEDED})
FLAT_OUT = 20
"""Steps in a row that change the status while the world stands still; more would never end."""

LONGEST = 400
"""Rounds of a fair continuation; more would never end."""


@dataclass(frozen=True)
class Flight:
    """A swap that was sent and not answered, and may still land."""

    swap: SwapSelector
    seen: tuple[int, ...]
    sent: datetime


@dataclass(frozen=True)
class Node:
    """A Release, its world, and where in its round the worker is."""

    release: Release
    world: World
    faults: int
    new: Release | None = None
    """The decided status, not yet written."""
    effects: tuple[Effect, ...] = ()
    """What is still to be done for the written status."""
    seen: tuple[int, ...] = ()
    """The resourceVersions of the live Services when the round began."""
    flight: Flight | None = None
    stale: bool = False
    """The world has changed since the worker looked: to go on and to look again may rightly lead to different ends."""

    @property
    def resting(self) -> bool:
        return self.new is None and not self.effects

    @cached_property
    def key(self) -> Hashable:
        """The same for nodes that differ in nothing that matters."""
        world, now = self.world, self.world.now
        sides = tuple(
            (s.image, s.replicas, s.ready, s.restarts, s.sick, _passed(now, s.changed_at, (3, 30)), s.scaler)
            for pair in world.pairs
            for s in (pair.blue, pair.green)
        )
        checks = tuple(sorted((i, r.running, r.ok) for i, r in world.checks.items()))
        flight = self.flight and (
            self.flight.swap.service,
            self.flight.swap.flip.index,
            _behind(self.flight.seen, world),
        )
        return (
            self.faults,
            self.stale,
            _status_key(self.release.status, now),
            self.new and _status_key(self.new.status, now),
            tuple(_effect_key(effect) for effect in self.effects),
            _behind(self.seen, world) if self.effects or self.new else (),
            flight,
            (world.selector, world.mark, world.service_known, world.preview, world.verdict, world.asked, world.made),
            world.worker and (world.worker.selector, world.worker.mark, world.worker.preview),
            world.worker and any(pair.touched for pair in world.pairs),
            (world.scalers_obey, tuple(world.edited.items()), self._in_time()),
            sides,
            checks,
            self.release.spec.abort is not None,
            self.release.spec.rollback is not None,
        )

    def _in_time(self) -> tuple[bool, ...]:
        """Of what is to be written to autoscalers: whether it was decided on them as they are."""
        versions = {s.scaler.name: s.scaler.resource_version for s in (self.world.blue, self.world.green) if s.scaler}
        asked = (effect for effect in self.effects if isinstance(effect, SetMinimum))
        return tuple(versions.get(effect.scaler) == effect.version for effect in asked)


def _behind(seen: tuple[int, ...], world: World) -> tuple[int, ...]:
    """How far the Services have come since they were seen."""
    return tuple(was - now for was, now in zip(seen, world.versions, strict=True))


def _passed(now: datetime, since: datetime | None, limits: tuple[float, ...]) -> int:
    """How many of the limits (in seconds) have passed."""
    return -1 if since is None else sum((now - since).total_seconds() > limit for limit in limits)


def limits(status: Status) -> tuple[float, ...]:
    """The seconds after its beginning at which a phase's answer may change."""
    if status.pinned is None:
        return ()
    deadlines, settle = status.pinned.application.spec.deadlines, SETTLE.total_seconds()
    switching = deadlines.switching.total_seconds()
    if status.held and status.phase in (Phase.DEPLOYING, Phase.SWITCHING):
        return (15, 30, 120, 150) if status.phase is Phase.DEPLOYING else (settle, 15, switching)
    return {
        Phase.DEPLOYING: (deadlines.deploying.total_seconds(), deadlines.deploying.total_seconds() + 30),
        Phase.TESTING: (deadlines.testing.total_seconds(),),
        Phase.SWITCHING: (settle, switching),
        Phase.VERIFYING: (deadlines.verifying.total_seconds(),),
        Phase.ROLLING_BACK: (PART_READY.total_seconds(),),
    }.get(status.phase, ())


def _status_key(status: Status, now: datetime) -> Hashable:
    return (
        status.phase,
        status.reason,
        status.verdict,
        status.intent and (status.intent.index, status.intent.to, status.intent.service),
        tuple((flip.to, flip.reason, flip.service) for flip in status.flips),
        status.rollback and status.rollback.code,
        tuple((check.id, check.ok) for check in status.checks),
        tuple((found.name, found.outcome) for found in status.rules),
        status.extended,
        status.held,
        status.pinned and (status.pinned.replicas, *status.pinned.restarts.items()),
        tuple((c.type, c.status, c.reason) for c in status.conditions),
        status.keep and (status.keep.color, status.keep.done, now >= status.keep.until),
        _passed(now, status.phase_since, limits(status)),
        status.watch_until and _passed(now, status.watch_until, (-0.001, 60)),
        status.flips and _passed(now, status.flips[-1].at, (30,)),
        status.intent and _passed(now, status.intent.at, (30, 30 + SETTLE.total_seconds())),
    )


def _effect_key(effect: Effect) -> Hashable:
    match effect:
        case SwapSelector():
            return "swap", effect.flip.index, effect.flip.to
        case Scale():
            return "scale", effect.deployment, effect.replicas
        case SetMinimum():
            return "minimum", effect.scaler, effect.minimum, effect.held
        case RunCheck():
            return "check", effect.id
        case PointPreview():
            return "preview", effect.service, effect.color
        case _:
            return type(effect).__name__


class Broken(AssertionError):
    """An invariant does not hold; the message tells the way there."""


def check_decision(old: Release, new: Release, effects: tuple[Effect, ...], world: World) -> None:
    """What must hold of every single decision, whatever it was decided on."""
    before, after = old.status, new.status
    for effect in effects:
        if isinstance(effect, SwapSelector):
            assert world.pair(effect.service).side(effect.flip.to).ready > 0, "flips to a dead colour (S1)"
            assert effect.service == effect.flip.service, "flips another Service than it says"
            assert not old.phase.terminal, "a Release that has ended flips"
            assert after.intent == effect.flip, "flips what is not written"
        if isinstance(effect, Scale) and effect.replicas == 0:
            assert before.keep is not None, "scales down before the end"
            assert world.now >= before.keep.until, "scales down before the keep-time has passed (S4)"
            live = {pair.selector for pair in world.pairs}
            assert before.keep.color not in live, "scales down the live colour"
        if isinstance(effect, SetMinimum):
            _check_minimum(old, effect, world)
    if after.intent and not before.intent and not after.rollback and before.phase_since and after.pinned:
        for side in (world.blue, world.green):
            waited = world.now - before.phase_since > timedelta(seconds=15)
            short = side.scaler and side.scaler.minimum < after.pinned.replicas and side.color not in world.edited
            assert waited or not short, f"flips though {side.color} may be shrunk (S4)"
    if before.rollback:
        # Only a person's own rollback, with no bad version behind it, may be called off by a person.
        called_off = old.is_rollback_only and after.phase is Phase.ABORTED
        assert after.phase in BACK or called_off, "a latched rollback is forgotten (S8)"
        assert after.rollback == before.rollback, "a latched verdict changes"
    if old.phase.terminal:
        assert after.phase is before.phase, "an end is no end"
        assert after.flips == before.flips
    else:
        wakes = [effect.at for effect in effects if isinstance(effect, Wake)]
        assert wakes, "would sleep for ever"
        assert min(wakes) >= world.now
    assert after.flips[: len(before.flips)] == before.flips, "a flip is forgotten"
    if new.phase.terminal and not old.phase.terminal and world.service_known and after.pinned:
        touched = any(pair.touched for pair in world.pairs)
        assert touched or not world.mixed, "the pairs are left on different colours"
        told = any(c.reason == MIXED and c.status == "True" for c in after.conditions)
        assert told == world.mixed, "nobody is told that the pairs are on different colours"


def _check_minimum(old: Release, effect: SetMinimum, world: World) -> None:
    side = next(s for s in (world.blue, world.green) if s.scaler and s.scaler.name == effect.scaler)
    assert side.scaler
    if effect.held is None:
        assert old.phase.terminal, "gives a minimum back before the end"
        assert old.status.ended_at
        kept = old.status.pinned and old.status.ended_at + old.status.pinned.application.spec.previous.keep
        assert side.color == world.selector or (kept and world.now >= kept), "lets the way back be shrunk (S4)"
        return
    assert not old.phase.terminal, "raises a minimum after the end"
    assert effect.minimum > side.scaler.minimum, "lowers a minimum that is not its own"


def check_given_back(node: Node) -> None:
    """What must hold long after the end: each autoscaler has the minimum that people gave it, and no note of ours."""
    for side in (node.world.blue, node.world.green):
        if side.scaler:
            assert side.scaler.held is None, f"{side.scaler} was never given back"
            assert side.scaler.minimum == node.world.edited.get(side.color, 1), f"{side.scaler} got the wrong minimum"


def check_truth(node: Node) -> None:
    """What must hold of every node: the status knows of each of our flips, but for the one that it intends."""
    status, made = node.release.status, node.world.made
    known = tuple(_made(flip) for flip in status.flips if flip.reason != FOREIGN)
    intended = (*known, _made(status.intent)) if status.intent else known
    assert made in (known, intended), f"made {made}, known {known}, intended {status.intent}"
    if node.release.phase.terminal:
        assert made == known, "a flip is lost, or doubled (S5)"


def _made(flip: Flip) -> str:
    """A flip as the world tells of it."""
    return f"worker/{flip.to}" if flip.service == "worker" else flip.to


# -- a worker's round -------------------------------------------------------------------------------------------------


def decide(node: Node) -> Node:
    """Look and step: the node before the writing, or before the effects if there is nothing to write."""
    new, effects = step(node.release, node.world.observe(node.release), node.world.now)
    check_decision(node.release, new, effects, node.world)
    acts = tuple(effect for effect in effects if isinstance(effect, ACTS))
    changed = new.status != node.release.status
    return replace(node, new=new if changed else None, effects=acts, seen=node.world.versions, stale=False)


def written(node: Node) -> Node:
    assert node.new is not None
    return replace(node, release=node.new, new=None)


def done(node: Node) -> Node:
    """The first effect is carried out."""
    first, *rest = node.effects
    if isinstance(first, SwapSelector):
        assert node.release.status.intent == first.flip, "flips what is not written"
    world = node.world.done(first, node.release.uid, node.seen)
    if node.release.phase.terminal:
        assert world.made == node.world.made, "a Release that has ended flips"
    return replace(node, world=world, effects=tuple(rest))


def refused(node: Node) -> Node:
    """The worker heard an error, leaves the rest, and begins anew."""
    return replace(node, new=None, effects=(), stale=False)


def killed(node: Node) -> Node:
    return replace(refused(node), world=node.world.forget())


def next_wake(node: Node) -> float:
    """Seconds until the daemon looks again if nothing happens before."""
    _, effects = step(node.release, node.world.observe(node.release), node.world.now)
    wakes = [(effect.at - node.world.now).total_seconds() for effect in effects if isinstance(effect, Wake)]
    return max(0.05, min(wakes, default=60.0))


def pass_time(node: Node, seconds: float) -> Node:
    """Time passes; a swap in flight is given up when its time is over."""
    world = node.world.later(seconds)
    flight = node.flight
    if flight and world.now - flight.sent >= SETTLE:
        flight = None
    return replace(node, world=world, flight=flight)


def boundary(node: Node) -> float:
    """Seconds until the next limit is passed."""
    status, now = node.release.status, node.world.now
    ends = [status.phase_since + timedelta(seconds=limit) for limit in limits(status) if status.phase_since]
    ends += [at for at in (status.watch_until, status.keep and status.keep.until) if at]
    ends += [status.watch_until + timedelta(seconds=60)] if status.watch_until else []
    ends += [status.intent.at + timedelta(seconds=s) for s in (30, 40)] if status.intent else []
    ends += [status.flips[-1].at + timedelta(seconds=30)] if status.flips else []
    ends += [node.flight.sent + SETTLE] if node.flight else []
    left = [(end - now).total_seconds() for end in ends if end >= now]
    return min(left, default=60.0) + 0.02


# -- what may happen --------------------------------------------------------------------------------------------------


def successors(node: Node) -> Iterator[tuple[str, Node]]:
    """Everything that may happen next, with a name."""
    if node.flight:
        landed = node.world.done(node.flight.swap, node.release.uid, node.flight.seen)
        yield "the late swap lands", replace(node, world=landed, flight=None)
    if node.new is not None:
        yield "writes", written(node)
    elif node.effects:
        yield "does", done(node)
    else:
        yield "decides", decide(node)
        yield "waits", pass_time(node, next_wake(node))
        yield "waits long", pass_time(node, boundary(node))
    if node.faults:
        worse = replace(node, faults=node.faults - 1)
        yield from _trouble_of_worker(worse)
        yield from _trouble_of_world(worse)


def _trouble_of_worker(node: Node) -> Iterator[tuple[str, Node]]:
    yield "killed", killed(node)
    if node.new is not None:
        yield "conflict", refused(node)
        yield "written, unheard", refused(written(node))
    elif node.effects:
        first = node.effects[0]
        yield "refused", refused(node)
        yield "done, unheard", refused(done(node))
        if isinstance(first, SwapSelector) and node.flight is None:
            yield "swap in flight", replace(refused(node), flight=Flight(first, node.seen, node.world.now))


def _trouble_of_world(node: Node) -> Iterator[tuple[str, Node]]:
    world, spec = node.world, node.release.spec
    swapping = any(isinstance(effect, SwapSelector) for effect in node.effects)
    if not (node.resting or swapping):
        return  # in between it makes no difference that it would not make before or after
    node = replace(node, stale=not node.resting)
    for pair in world.pairs:
        for name, after in _trouble_of_pair(pair):
            yield f"{pair.names[0]}: {name}", replace(node, world=world.with_pair(after))
    if node.resting:
        yield "API unknown", replace(node, world=replace(world, service_known=not world.service_known))
        yield "check fails", replace(node, world=replace(world, fails=dict.fromkeys(world.checks, "500")))
        if world.blue.scaler:
            yield "autoscalers disobey", replace(node, world=replace(world, scalers_obey=not world.scalers_obey))
            for color in ("blue", "green"):
                yield f"person edits the minimum of {color}", replace(node, world=world.edits(color, 2))
        if world.verdict != "rollback":
            yield "rules breach", replace(node, world=replace(world, verdict="rollback"))
            yield "rules blind", replace(node, world=replace(world, verdict="hold"))
        for command in ("abort", "rollback"):
            if getattr(spec, command) is None:
                asked = spec.model_copy(update={command: Command(by="dana", at=world.now)})
                yield command, replace(node, release=node.release.model_copy(update={"spec": asked}))


def _trouble_of_pair(pair: World) -> Iterator[tuple[str, World]]:
    for color in ("blue", "green"):
        if pair.selector != color:
            yield f"person moves to {color}", pair.moved(color)
        if pair.side(color).ready:
            yield f"{color} unready", pair.sick(color)
            yield f"{color} crashes", pair.sick(color, crashed=True)
        if pair.side(color).sick:
            yield f"{color} recovers", pair.with_side(pair.side(color).recovers(pair.now))


# -- fair continuations -----------------------------------------------------------------------------------------------

Ending = tuple[Phase, tuple[str, ...]]
"""The terminal phase, or the one in which a Release stays for ever, and our flips."""


class Fair:
    """Where a node ends when no more trouble comes; with `heals`, after the trouble that is there has gone."""

    def __init__(self, *, heals: bool) -> None:
        self._heals = heals
        self._known: dict[Hashable, Ending] = {}

    def ending(self, node: Node) -> Ending:
        """How it ends; Broken if it never does."""
        node = replace(node, faults=0, world=node.world.calm() if self._heals else node.world)
        way: dict[Hashable, None] = {}
        for _ in range(LONGEST):
            key = node.key
            found = self._known.get(key)
            if found is None and node.resting and node.release.phase.terminal:
                found = node.release.phase, node.world.made
                if self._heals:
                    check_given_back(self._long_after(node))
            if found is None and key in way:
                node = pass_time(node, boundary(node))
                if node.key in way and self._heals:
                    raise Broken(f"is stuck: {node.release.phase}, {node.release.status.message}")
                if node.key in way:
                    found = node.release.phase, node.world.made
            if found is not None:
                self._known.update(dict.fromkeys(way, found))
                return found
            way[key] = None
            node = self._next(node)
        raise Broken(f"never ends: {node.release.phase}, {node.release.status.message}")

    def _long_after(self, node: Node) -> Node:
        """When nothing is left to be given back."""
        for _ in range(LONGEST):
            if not node.release.status.held:
                return node
            node = pass_time(self._next(node), 200)
        raise Broken(f"still holds {node.release.status.held}")

    def _next(self, node: Node) -> Node:
        """A whole round of the worker, until the world stands still; then time passes."""
        for _ in range(FLAT_OUT):
            before = node
            if node.resting:
                node = decide(node)
            if node.new is not None:
                node = written(node)
            while node.effects:
                node = done(node)
            if node.release.phase.terminal:
                return node
            if before.resting and node.release.status == before.release.status and node.world == before.world:
                return self._quiet(node)
        raise Broken(f"writes without end: {node.release.phase}, {node.release.status.message}")

    def _quiet(self, node: Node) -> Node:
        """While nothing happens nothing is written: a moment later the same status comes out."""
        soon = replace(node.world, now=node.world.now + timedelta(microseconds=1))
        again, _ = step(node.release, soon.observe(node.release), soon.now)
        if again.status != node.release.status and next_wake(node) > 0.1 and boundary(node) > 0.1:
            raise Broken(f"writes though nothing happens: {node.release.phase}, {again.status.message}")
        return pass_time(node, next_wake(node))


@dataclass
class Found:
    """What an exploration saw."""

    nodes: int
    endings: set[Ending]


def explore(start: Node) -> Found:
    """Visit every node that can be reached, and check everything at each. Raises Broken with the way there."""
    healed, same = Fair(heals=True), Fair(heals=False)
    came: dict[Hashable, tuple[Hashable | None, str]] = {start.key: (None, "starts")}
    queue = deque([start])
    endings: set[Ending] = set()
    while queue:
        node = queue.popleft()
        try:
            check_truth(node)
            endings.add(healed.ending(node))
            survivor = killed(node)
            if not node.stale and survivor.key != node.key:
                ending, after = same.ending(node), same.ending(survivor)
                assert after == ending, f"ends as {ending}, and after a kill as {after} (S5)"
            found = list(successors(node))
        except AssertionError as error:
            raise Broken(f"{error}\n  {' / '.join(_way(came, node.key))}") from error
        for name, following in found:
            key = following.key
            if key not in came:
                came[key] = (node.key, name)
                queue.append(following)
    return Found(len(came), endings)


def _way(came: dict[Hashable, tuple[Hashable | None, str]], key: Hashable | None) -> list[str]:
    names: list[str] = []
    while key is not None:
        key, name = came[key]
        names.append(name)
    return names[::-1]


def beginning(faults: int, *, by_hand: bool = False, two: bool = False) -> Node:
    """A Release that was just asked for: of a new version, or of a rollback by hand; of one pair or of two."""
    spec: dict[str, Any] = {
        "tests": {"smoke": [{"http": {"path": "/healthz"}}], "health": [{"http": {"path": "/readyz"}}]},
        "watch": {"duration": "60s", "interval": "10s", "rules": ["http"]},
    }
    asked = release(images={}, version="", rollback=Command(by="dana")) if by_hand else release()
    if not two:
        return Node(asked, World(application(**spec)), faults)
    asked = asked if by_hand else release(images=BOTH)
    also = {key: value for key, value in ALSO.items() if key != "preview"}
    spec |= {"tests": {}, "preview": None, "also": [also]}
    return Node(asked, World(application(**spec), preview=None, worker=worker(preview=None)), faults)


def autoscaled(faults: int) -> Node:
    """A Release of a pair that autoscalers size: blue has grown to three pods, and green has shrunk to one."""
    app = application(tests={}, preview=None)
    blue = Side("blue", version="2.4.0", replicas=3, ready=3, scaler=scaler("blue"))
    green = Side("green", image="registry.example/chat:2.3.9", replicas=1, ready=1, scaler=scaler("green"))
    return Node(release(), World(app, preview=None, blue=blue, green=green), faults)


def at_the_switch(faults: int, *, two: bool = False) -> Node:
    """A Release whose version has passed its tests, right before the intent to flip."""
    node = Node(release(), World(application(tests={}, preview=None), preview=None), 0)
    node = beginning(0, two=True) if two else node
    while node.release.phase is not Phase.SWITCHING:
        following = dict(successors(node))
        node = following.get("writes") or following.get("does") or following["decides"]
        if node.resting and node.release.phase is Phase.DEPLOYING:
            node = pass_time(node, 1)
    return replace(node, faults=faults)
