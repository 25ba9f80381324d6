"""Given, when, then: the vocabulary in which the scenarios of the guide are told, over a `World` and one Release.

A `Story` does what the daemon does: look, step, write the status as the API server keeps it, carry out the effects; and
lets time pass from one wake to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.core.lifecycle.world import Command as CommandName
from tests.core.lifecycle.world import World, application, release
from watcher.core.effects import Effect, Tell, Wake
from watcher.core.lifecycle import step
from watcher.core.release import Command, Phase, Release, Status, from_json, status_json, status_patch

BUSY = 15
"""More steps than this that change the status while the world stands still are an endless loop."""


def merged(target: Any, patch: Any) -> Any:
    """A JSON merge patch, applied (RFC 7386, section 2)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def document(found: Release) -> dict[str, Any]:
    """A Release as the API server gives it."""
    return {
        "metadata": {
            "name": found.name,
            "namespace": found.namespace,
            "uid": found.uid,
            "resourceVersion": found.resource_version,
            "creationTimestamp": found.created_at.isoformat(),
        },
        "spec": found.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        "status": status_json(found.status),
    }


class Story:
    """One Release and its world."""

    def __init__(self, world: World, asked: Release) -> None:
        self.world, self.release = world, asked
        self.effects: list[Effect] = []
        self.told: dict[str, Tell] = {}
        self.phases = [asked.phase]
        self.writes = 0
        self.wakes: list[Wake] = []

    # -- the daemon ---------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        return self.release.status

    def take_step(self, *, carry_out: bool = True) -> bool:
        """Look, step, write, do. Whether the status changed."""
        new, effects = step(self.release, self.world.observe(self.release), self.world.now)
        changed = new.status != self.status
        if changed:
            self._write(new)
        self.wakes = [effect for effect in effects if isinstance(effect, Wake)]
        assert self.wakes or new.phase.terminal, f"{new.phase} would sleep for ever: {new.status.message}"
        for effect in effects if carry_out else ():
            self.effects.append(effect)
            self.world = self.world.done(effect, self.release.uid)
            if isinstance(effect, Tell):
                self.told.setdefault(effect.key, effect)
        return changed

    def _write(self, new: Release) -> None:
        kept = document(self.release)
        kept["status"] = merged(kept["status"], status_patch(self.status, new.status))
        assert status_json(from_json(kept).status) == status_json(new.status)
        self.release = from_json(kept)
        self.writes += 1
        if new.phase != self.phases[-1]:
            self.phases.append(new.phase)

    def settle(self) -> Story:
        """Step until nothing changes while the world stands still."""
        for _ in range(BUSY):
            before = self.world
            if not self.take_step() and before == self.world:
                return self
        raise AssertionError(f"endless: {self.status.phase}, {self.status.message}")

    def run(self, done: Callable[[], bool], seconds: float = 7200) -> Story:
        """Let the daemon work, and time pass from wake to wake, until something is so."""
        end = self.world.now + timedelta(seconds=seconds)
        while True:
            self.settle()
            if done():
                return self
            assert self.world.now < end, f"still {self.status.phase} after {seconds} s: {self.status.message}"
            at = min((wake.at for wake in self.wakes), default=end)
            gap = (min(at, end) - self.world.now).total_seconds()
            self.world = self.world.later(max(gap, 0.01))

    # -- when ---------------------------------------------------------------------------------------------------------

    def until(self, phase: Phase) -> Story:
        return self.run(lambda: self.release.phase is phase)

    def to_the_end(self) -> Story:
        return self.run(lambda: self.release.phase.terminal)

    def time_passes(self, seconds: float) -> Story:
        end = self.world.now + timedelta(seconds=seconds)
        return self.run(lambda: self.world.now >= end, seconds)

    def person(self, does: CommandName, by: str = "dana", reason: str = "bad answers") -> Story:
        """Somebody sets one of the commands."""
        command = Command(by=by, reason=reason, at=self.world.now)
        self.release = self.release.model_copy(
            update={"spec": self.release.spec.model_copy(update={does: command}), "resource_version": "2"}
        )
        return self

    def person_withdraws(self, does: CommandName) -> Story:
        self.release = self.release.model_copy(update={"spec": self.release.spec.model_copy(update={does: None})})
        return self

    def person_moves_selector(self, color: str) -> Story:
        self.world = self.world.moved(color)
        return self

    def color(self, color: str, **changes: Any) -> Story:
        self.world = self.world.with_side(replace(self.world.side(color), **changes))
        return self

    def color_dies(self, color: str, *, crashed: bool = False) -> Story:
        self.world = self.world.sick(color, crashed=crashed)
        return self

    def color_recovers(self, color: str) -> Story:
        self.world = self.world.with_side(self.world.side(color).recovers(self.world.now))
        return self

    def world_is(self, **changes: Any) -> Story:
        self.world = replace(self.world, **changes)
        return self

    def rules_say(self, verdict: str) -> Story:
        return self.world_is(verdict=verdict)

    def killed(self) -> Story:
        """The worker is killed; another takes over from the status alone."""
        self.world = self.world.forget()
        return self

    # -- then ---------------------------------------------------------------------------------------------------------

    def phase_is(self, phase: Phase, reason: str | None = None) -> Story:
        assert self.release.phase is phase, self.status.message
        assert reason is None or self.status.reason == reason
        return self

    def traffic_is_on(self, color: str) -> Story:
        assert self.world.selector == color
        return self

    def flips_are(self, *colors: str) -> Story:
        """Our flips: those that took effect, and those that the status remembers."""
        assert self.world.made == colors
        assert tuple(flip.to for flip in self.status.flips) == colors
        return self

    def says(self, *words: str) -> Story:
        for word in words:
            assert word in self.status.message, self.status.message
        return self

    def telling(self, key: str, *words: str) -> Story:
        found = [tell for told, tell in self.told.items() if told == key or told.startswith(f"{key}/")]
        assert found, f"{key} was not told: {list(self.told)}"
        for word in words:
            assert word in found[-1].message, found[-1].message
        return self

    def silent_about(self, key: str) -> Story:
        assert not any(told == key or told.startswith(f"{key}/") for told in self.told)
        return self

    def did(self, kind: type[Effect], **fields: Any) -> Story:
        assert self.times(kind, **fields), f"no {kind.__name__} {fields}"
        return self

    def never_did(self, kind: type[Effect], **fields: Any) -> Story:
        assert not self.times(kind, **fields)
        return self

    def times(self, kind: type[Effect], **fields: Any) -> int:
        return sum(isinstance(e, kind) and all(getattr(e, k) == v for k, v in fields.items()) for e in self.effects)

    def condition(self, kind: str) -> bool:
        return any(c.type == kind and c.status == "True" for c in self.status.conditions)


def given(spec: dict[str, Any] | None = None, /, asked: dict[str, Any] | None = None, **world: Any) -> Story:
    """Blue serves 2.4.0, and a Release of 2.4.1 is asked for; `spec` changes the Application, `asked` the Release, and
    the rest the world.
    """
    return Story(World(application(**(spec or {})), **world), release(**(asked or {})))
