"""One turn of a Release: what every phase needs to look at the world and to say what is next.

What always holds: a turn never changes anything; it returns a new Release and the effects it wants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from watcher.core.application import Application, Watch, by_hand
from watcher.core.effects import CancelChecks, Effect, Tell, Wake
from watcher.core.images import called
from watcher.core.observed import ColorView, Observed, PairView, PodView, ServiceView
from watcher.core.release import Colors, Condition, Decision, Flip, Keep, Phase, Pinned, Release, Status
from watcher.core.units import format_duration

Step = tuple[Release, tuple[Effect, ...]]

MIXED = "MixedColors"
"""Why a person is needed when a Release with several pairs had to end on different colours."""

RETRY = timedelta(milliseconds=500)
"""How soon a turn is taken again when something was asked for and is not seen yet."""


@dataclass(frozen=True)
class Turn:
    """A Release, the world, and the time; with the ways to answer.

    A turn looks at one of the Application's pairs, which is the first one unless it came out of `pairs`.
    """

    release: Release
    observed: Observed
    now: datetime
    pair: int = 0
    apps: tuple[Application, ...] = ()
    """The Application for each pair, where that is known already."""

    # -- looking ------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        return self.release.status

    @property
    def pinned(self) -> Pinned:
        """What the Release holds on to. Every phase after Pending has it."""
        assert self.status.pinned is not None
        return self.status.pinned

    @property
    def _application(self) -> Application:
        """The pinned Application; before there is one, that of the files."""
        found = self.status.pinned.application if self.status.pinned else self.observed.application
        assert found is not None
        return found

    @property
    def app(self) -> Application:
        """The Application, as one that has the pair looked at."""
        return self.apps[self.pair] if self.apps else self._application

    @cached_property
    def pairs(self) -> tuple[Turn, ...]:
        """This turn, once for each pair, in the order in which they are flipped."""
        apps = self.apps or self._application.pairs
        if len(apps) == 1:
            return (self,)
        return tuple(replace(self, pair=index, apps=apps) for index in range(len(apps)))

    def of(self, flip: Flip) -> Turn:
        """This turn for the pair that a flip moves."""
        return next((pair for pair in self.pairs if pair.app.spec.service == flip.service), self)

    @property
    def watch(self) -> Watch:
        return self.app.spec.watch

    @property
    def colors(self) -> Colors:
        assert self.status.colors is not None
        return self.status.colors

    @property
    def _view(self) -> PairView:
        return self.observed.pair(self.pair)

    @property
    def service(self) -> ServiceView | None:
        return self._view.service

    @property
    def preview(self) -> ServiceView | None:
        return self._view.preview

    def color(self, color: str) -> ColorView:
        return self._view.colors.get(color) or ColorView(color, None)

    def pods(self, color: str) -> list[PodView]:
        """The colour's pods, of every pair."""
        return [pod for pair in self.pairs for pod in pair.color(color).pods]

    def failures(self, color: str) -> dict[str, int]:
        """How often the colour's containers failed so far, by pod (uid), where not zero."""
        return {pod.uid: pod.failures for pod in self.pods(color) if pod.failures}

    def seen(self, color: str) -> bool:
        """Whether the colour could be looked at, in every pair: what was not seen is neither ready nor dead."""
        return all(color in pair._view.colors for pair in self.pairs)

    def ready(self, color: str) -> bool:
        """Whether the colour has ready endpoints in every pair."""
        return all(pair.color(color).ready for pair in self.pairs)

    @property
    def selected(self) -> str:
        """The colour that the live Service selects; empty when there is no Service or no colour."""
        service = self.service
        return service.selector.get(self.app.spec.selector_key, "") if service else ""

    @property
    def observes(self) -> bool:
        """Whether this only looks on (see Release.observes)."""
        return self.release.observes

    @property
    def expected(self) -> str:
        """The colour that the live Service selects unless somebody else moved it."""
        return self.flips[-1].to if self.flips else self.colors.from_

    @cached_property
    def flips(self) -> tuple[Flip, ...]:
        """The flips of the pair so far."""
        return tuple(flip for flip in self.status.flips if self.of(flip).pair == self.pair)

    @property
    def moved(self) -> tuple[Turn, ...]:
        """The pairs whose live Service somebody else moved."""
        return tuple(pair for pair in self.pairs if pair.service and pair.selected != pair.expected)

    @property
    def gone(self) -> tuple[Turn, ...]:
        """The pairs whose live Service does not exist."""
        return tuple(pair for pair in self.pairs if pair.service is None)

    @property
    def mixed(self) -> str:
        """That the live Services select different colours, as a sentence with its cure; empty when they do not."""
        found = {pair.app.spec.service: pair.selected for pair in self.pairs if pair.service}
        return disagreement(self.app, self.release.namespace, found)

    @property
    def whose(self) -> str:
        """` of Service worker` where there are several pairs, for messages; empty where there is one."""
        return f" of Service {self.app.spec.service}" if len(self.pairs) > 1 else ""

    @property
    def replicas(self) -> int:
        """The live size that the pair had when the Release began, and from the flip on then (see Pinned)."""
        return self.pinned.sizes.get(self.app.spec.service, self.pinned.replicas)

    @property
    def watch_until(self) -> datetime:
        """The end of the watch."""
        begun = self.status.switched_at or self.status.phase_since or self.release.created_at
        return self.status.watch_until or begun + self.watch.duration

    @property
    def in_phase(self) -> timedelta:
        return self.now - (self.status.phase_since or self.release.created_at)

    @property
    def version(self) -> str:
        return called(self.release.spec.version, self.release.spec.images) or "an unnamed version"

    @property
    def version_aside(self) -> str:
        """The same for a place between brackets."""
        return called(self.release.spec.version, self.release.spec.images, aside=True) or "an unnamed version"

    @property
    def previous_version(self) -> str:
        return self.pinned.previous_version or "the previous version"

    def paused(self) -> str:
        """Why the Release is paused, as a sentence; empty when it is not."""
        pause = self.release.spec.paused
        return f"Paused {pause.told()}; resume with: {self.command('resume')}" if pause else ""

    def command(self, verb: str) -> str:
        """The command line that steers this Release, to be copied."""
        return f"watcher release {verb} {self.release.name} -n {self.release.namespace}"

    def having(self, changes: dict[str, Any]) -> Turn:
        """The same turn with other status fields: what a step decides on top of what it has decided already."""
        return replace(self, release=self._with(changes)) if changes else self

    # -- answering ----------------------------------------------------------------------------------------------------

    def stay(self, *effects: Effect, message: str = "", wake: timedelta | None = None, **changes: Any) -> Step:
        """Remain in the phase, with another message or other status fields if they are given."""
        if message:
            changes["message"] = message
        release = self._with(changes) if changes else self.release
        if wake is not None:
            effects = (*effects, Wake(self.now + wake))
        return release, effects

    def go(self, phase: Phase, message: str, *effects: Effect, reason: str = "", **changes: Any) -> Step:
        """Enter a phase, and take its first step at once."""
        changes |= {"phase": phase, "phase_since": self.now, "message": message, "reason": reason, "progress": None}
        return self._with(changes), (*effects, Wake(self.now))

    def end(
        self,
        phase: Phase,
        reason: str,
        message: str,
        *effects: Effect,
        idle: str = "",
        severity: Literal["info", "warning", "critical"] = "info",
        evidence: dict[str, object] | None = None,
        **changes: Any,
    ) -> Step:
        """End the Release, once. `idle` names the colour that is kept for a while and then scaled down."""
        status = self.status.model_copy(update=changes)
        mixed = self.mixed if self.status.pinned else ""
        conditions = self.condition("NeedsAttention", False, message="The Release has ended.", status=status)
        if mixed:
            message = f"{message} {mixed}"
            conditions = self.condition("NeedsAttention", True, MIXED, mixed, status=status)
        changes |= {"ended_at": self.now, "intent": None, "conditions": conditions}
        if idle and self.app.spec.previous.then == "scaleDown":
            until = self.now + self.app.spec.previous.keep
            changes["keep"] = Keep(color=idle, deployment=self.app.deployment(idle), until=until)
        if phase is not Phase.COMPLETED:
            changes["evidence"] = self._proof(evidence)
        tell = Tell("end", reason or phase.value, message, severity, evidence or {})
        return self.go(phase, message, *effects, CancelChecks(), tell, reason=reason, **changes)

    def fail(self, reason: str, message: str, *effects: Effect, **changes: Any) -> Step:
        """End before any traffic moved."""
        idle = self.status.colors.to if self.status.colors and self.status.pinned else ""
        evidence = changes.pop("evidence", None)
        return self.end(
            Phase.FAILED, reason, message, *effects, idle=idle, severity="warning", evidence=evidence, **changes
        )

    def go_back(self, code: str, message: str, by: str = "", evidence: dict[str, object] | None = None) -> Step:
        """Latch the verdict `rollback` (S8) and enter RollingBack."""
        message = message.removesuffix(".")
        decision = Decision(code=code, message=message, at=self.now, by=by)
        told = f"Rolling back: {message}."
        tell = Tell("verdict", "RollbackDecided", told, "critical", evidence or {})
        return self.go(
            Phase.ROLLING_BACK,
            told,
            CancelChecks(),
            tell,
            reason=code,
            rollback=decision,
            verdict="rollback",
            intent=None,
            evidence=self._proof(evidence),
        )

    def _proof(self, evidence: dict[str, object] | None) -> dict[str, str]:
        """What is kept of the evidence: the phase in which it was found, and each of its single facts as text. What a
        decision to go back rested on stays."""
        if self.status.evidence:
            return self.status.evidence
        facts = {
            key: str(value) for key, value in (evidence or {}).items() if value and not isinstance(value, list | dict)
        }
        return {"phase": self.release.phase.value} | facts

    def overdue(self, deadline: timedelta) -> str:
        """A sentence's end when the phase has outlived its deadline; empty before that."""
        return f"within {format_duration(deadline)}" if self.in_phase > deadline else ""

    def condition(
        self, kind: str, truth: bool, reason: str = "", message: str = "", status: Status | None = None
    ) -> tuple[Condition, ...]:
        """The conditions with one of them set; its time changes only when its truth or its reason does."""
        now = status or self.status
        state: Literal["True", "False"] = "True" if truth else "False"
        before = next((c for c in now.conditions if c.type == kind), None)
        if before is None and not truth:
            return now.conditions
        same = before is not None and before.status == state and before.reason == (reason or kind)
        since = before.last_transition_time if before and same else self.now
        new = Condition(type=kind, status=state, reason=reason or kind, message=message, last_transition_time=since)
        if before is None:
            return (*now.conditions, new)
        return tuple(new if c.type == kind else c for c in now.conditions)

    def needs(self, reason: str) -> bool:
        """Whether a person's attention is asked for, for this reason."""
        return any(
            c.type == "NeedsAttention" and c.status == "True" and c.reason == reason for c in self.status.conditions
        )

    def _with(self, changes: dict[str, Any]) -> Release:
        return self.release.model_copy(update={"status": self.status.model_copy(update=changes)})


PhaseStep = Callable[[Turn], Step]


def times(count: int) -> str:
    """`once`, `3 times`."""
    return "once" if count == 1 else f"{count} times"


def one_line(text: str) -> str:
    """Somebody else's text as part of a sentence."""
    return " | ".join(line.strip() for line in text.splitlines() if line.strip())


def disagreement(app: Application, namespace: str, selected: Mapping[str, str]) -> str:
    """That live Services (by name: the colour that each selects) select different colours, as a sentence with its
    cure; empty when they do not."""
    if len(set(selected.values())) < 2:
        return ""
    said = ", ".join(f"{service} {color or '(nothing)'}" for service, color in selected.items())
    cure = by_hand(namespace, "NAME", app.spec.selector_key, "COLOR")
    return f"The Services select different colours: {said}. Let them select the same one: {cure}"
