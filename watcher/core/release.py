"""A Release as the cluster keeps it: what was asked for (spec), what came of it (status), and the two as JSON.

What always holds: the status is the whole memory of a Release. A worker that starts anew from it, here or on another
replica, goes on where the last one was killed. Fields that a newer version wrote are ignored here, never erased: the
status is written as a merge patch of what changed.
"""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from watcher.core.alerts import Heard, Incomplete
from watcher.core.application import COLORS, Application
from watcher.core.rules import BoundRule

KIND = "Release"
PLURAL = "releases"
GROUP = "watcher.bluegreen.dev"
VERSION = "v1alpha1"
ASKED = "asked.watcher.bluegreen.dev/"
"""What annotations begin with that say which requests were followed, so that one sent twice is followed once."""


FOREIGN = "foreign"
"""The reason of a flip that was not ours."""

WATCHER = "bluegreen-watcher"
"""Who decides where no person and no program does."""
UNNAMED = "unnamed"
"""Whoever asked, or moved a selector, and did not say who that is."""

KEY_ANNOTATION = f"{GROUP}/key"
ACTOR_ANNOTATION = f"{GROUP}/actor"
EVIDENCE_ANNOTATION = f"{GROUP}/evidence"
"""On an Event: which news of the Release it tells, who decided or asked, and on what that rests, as JSON."""
NOTICE_ANNOTATION = f"{GROUP}/notice"
"""On an Event: the whole notice that channels are owed, as JSON."""
CHANNEL_ANNOTATION = f"notify.{GROUP}/"
"""On an Event, with a channel's name: whether it is owed the notice, has got it, or was given up on."""
OWED_LABEL = f"{GROUP}/owed"
"""On an Event while any channel is owed its notice."""


class Phase(StrEnum):
    """Where a Release is in its life (docs/releases.md)."""

    PENDING = "Pending"
    DEPLOYING = "Deploying"
    TESTING = "Testing"
    AWAITING_APPROVAL = "AwaitingApproval"
    SWITCHING = "Switching"
    VERIFYING = "Verifying"
    WATCHING = "Watching"
    ROLLING_BACK = "RollingBack"
    COMPLETED = "Completed"
    ROLLED_BACK = "RolledBack"
    FAILED = "Failed"
    ABORTED = "Aborted"
    SUPERSEDED = "Superseded"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({Phase.COMPLETED, Phase.ROLLED_BACK, Phase.FAILED, Phase.ABORTED, Phase.SUPERSEDED})
MOVED_ON = frozenset({Phase.COMPLETED, Phase.ROLLED_BACK, Phase.SUPERSEDED})
"""Ends of a Release that ran later, after which that one decides what becomes of the colours."""
TRAFFIC_MOVED = frozenset({Phase.VERIFYING, Phase.WATCHING, Phase.ROLLING_BACK})
"""The phases in which the new colour serves, or did until a moment ago."""


class Part(BaseModel):
    """A piece of a Release's JSON. Lenient on read: the API server has validated it, and newer fields may be there."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Command(Part):
    """Something a person or a program asked of a running Release, and why. Its presence is the command."""

    by: str = ""
    reason: str = ""
    at: datetime | None = None

    def evidence(self) -> dict[str, object]:
        return {"by": self.by, "why": self.reason}

    def news(self, name: str) -> str:
        """The key under which the command of this name is told."""
        return f"command/{name}/{int(self.at.timestamp())}" if self.at else f"command/{name}"

    def told(self) -> str:
        """`by pipeline/4711 (bad answers)`, for messages."""
        return f"by {self.by or 'an unnamed caller'}" + (f" ({self.reason})" if self.reason else "")


class ForeignFlip(Part):
    """A flip that somebody else made while no Release ran. A Release of its own records and watches it."""

    from_: str
    to: str
    at: datetime
    """When it was noticed."""
    by: str = ""
    """Who wrote the selector, as the API server names it: `kubectl-patch`, say."""

    model_config = ConfigDict(alias_generator=lambda name: to_camel(name.rstrip("_")))


class Spec(Part):
    """What was asked for. The commands are further fields of it."""

    application: str
    version: str = ""
    images: dict[str, str] = {}
    """Image by container name."""
    requested_by: str = ""
    force: bool = False
    """Release even a version that was rolled back before."""
    approve: Command | None = None
    pause: Command | None = None
    resume: Command | None = None
    abort: Command | None = None
    rollback: Command | None = None
    override_window: Command | None = None
    foreign_flip: ForeignFlip | None = None
    """Set by the daemon: this Release is there for a flip that somebody else made."""

    @property
    def paused(self) -> Command | None:
        """The pause that is in force: the one that nobody has resumed since."""
        pause, resume = self.pause, self.resume
        if pause is None or resume is None:
            return pause
        return pause if pause.at and resume.at and resume.at < pause.at else None


class Colors(Part):
    """Where traffic comes from and where it goes to."""

    from_: str
    to: str

    model_config = ConfigDict(alias_generator=lambda name: to_camel(name.rstrip("_")))


class Flip(Part):
    """One compare-and-swap of the live Service's selector: intended (`at` is the intent's time), later confirmed."""

    index: int
    from_: str
    to: str
    reason: str
    at: datetime
    service: str | None = None
    """The Service that is flipped; None, the Application's first one, in what older versions wrote."""

    model_config = ConfigDict(alias_generator=lambda name: to_camel(name.rstrip("_")))

    def mark(self, uid: str) -> str:
        """What the flip writes beside the selector, in the same request: after an unclear answer, and after a kill,
        it tells whether this very flip happened, whoever moved the selector since.
        """
        return f"{uid}/{self.index}"

    @property
    def news(self) -> str:
        """The key under which the flip is told."""
        return f"flip/{self.index}"

    def evidence(self) -> dict[str, object]:
        return {
            "service": self.service,
            "from": self.from_,
            "to": self.to,
            "at": self.at.isoformat(),
            "reason": self.reason,
        }


class CheckRecord(Part):
    """What one check of one stage gave."""

    id: str
    ok: bool
    message: str
    output: str = ""


class RunningCheck(Part):
    """A check or hook that has not ended yet."""

    id: str
    since: datetime
    tries: int = 0
    last: str = ""
    """What the last try gave."""


class Progress(Part):
    """How far a list of checks or hooks is: `done` of `of` have ended. It is written now and then, not for each try."""

    stage: str
    done: int
    of: int
    running: tuple[RunningCheck, ...] = ()
    at: datetime


class RuleRecord(Part):
    """What one rule last said, for people."""

    name: str
    outcome: str
    message: str = ""
    value: float | str | None = None
    threshold: str = ""
    since: datetime | None = None
    query: str = ""
    before: float | None = None
    """Of a comparison the level before the switch, and the range in which the value is expected."""
    low: float | None = None
    high: float | None = None


class Decision(Part):
    """Why a Release goes back or ended: a code for programs, a sentence for people. A latched one never changes."""

    code: str
    message: str
    at: datetime
    by: str = ""


class Condition(Part):
    """A standing remark in the form that `kubectl wait --for=condition=...` knows."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    last_transition_time: datetime


class Keep(Part):
    """The idle colour after the end: kept until `until`, then scaled down, unless the selector chose it meanwhile."""

    color: str
    deployment: str
    until: datetime
    done: bool = False


class Pinned(Part):
    """What the Release holds on to, whatever becomes of the files: its Application, and the rules of its watch."""

    application: Application
    watcher: str = ""
    """The watcher that began it, by its Lease: it sees it to its end wherever the files go."""
    rules: tuple[BoundRule, ...] = ()
    replicas: int = 1
    """The active colour's live size: when the Release began, and from the flip on as it was then. What the idle
    colour is brought up to before the flip, and what the way back is sized to after it."""
    sizes: dict[str, int] = {}
    """The same for the Application's further pairs, by Service."""
    previous_version: str = ""
    restarts: dict[str, int] = {}
    """Container restarts per pod (uid) of the new colour at the moment of the flip, where not zero."""
    images: dict[str, dict[str, str]] = {}
    """What both colours ran at the moment of the flip: image by container, by Deployment."""


class Status(Part):
    """What came of it so far."""

    phase: Phase = Phase.PENDING
    reason: str = ""
    """A word for programs, such as TestsFailed."""
    message: str = ""
    """One sentence for the person on call."""
    verdict: str = ""
    phase_since: datetime | None = None
    started_at: datetime | None = None
    switched_at: datetime | None = None
    ended_at: datetime | None = None
    colors: Colors | None = None
    intent: Flip | None = None
    flips: tuple[Flip, ...] = ()
    rollback: Decision | None = None
    checks: tuple[CheckRecord, ...] = ()
    progress: Progress | None = None
    rules: tuple[RuleRecord, ...] = ()
    rules_at: datetime | None = None
    alerts: tuple[Heard, ...] = ()
    """The alerts from outside that count. Whoever is told of one writes it here, whichever replica that is."""
    incomplete_alerts: tuple[Incomplete, ...] = ()
    watch_until: datetime | None = None
    extended: bool = False
    conditions: tuple[Condition, ...] = ()
    keep: Keep | None = None
    evidence: dict[str, str] = {}
    """What an end that is not Completed, or the decision to go back, rests on."""
    would: Decision | None = None
    """Why a watch that only observes would have gone back, had it been allowed to."""
    left: str | None = None
    """What the live Service selected when the Release found that somebody else had moved it, and left it there."""
    held: tuple[str, ...] = ()
    """The autoscalers whose minimum this Release has raised, or may have: it is to be given back."""
    rejected: dict[str, str] = {}
    """The images that traffic was taken from: they stay out until somebody says force (S9)."""
    pinned: Pinned | None = None


class Release(Part):
    """One attempt to bring a version live."""

    name: str
    namespace: str
    uid: str
    resource_version: str
    created_at: datetime
    asked: dict[str, str] = {}
    """What was done, by the digest of the request that asked for it."""
    spec: Spec
    status: Status = Status()

    @property
    def phase(self) -> Phase:
        return self.status.phase

    @property
    def traffic_moved(self) -> bool:
        """Whether the new colour serves, or did until a moment ago: for one of the Services at least."""
        return self.phase in TRAFFIC_MOVED or (self.phase is Phase.SWITCHING and bool(self.status.flips))

    @property
    def is_rollback_only(self) -> bool:
        """A rollback by hand with no Release running is a Release of its own: it deploys nothing."""
        return self.spec.rollback is not None and not self.spec.images and self.spec.foreign_flip is None

    @property
    def observes(self) -> bool:
        """The watch of a flip that somebody else made, and that the Application wants only observed: it moves nothing
        and touches nothing unless a person asks.
        """
        pinned = self.status.pinned
        return self.spec.foreign_flip is not None and (
            pinned is None or pinned.application.spec.foreign_flips != "enforce"
        )

    @property
    def knows_live(self) -> str:
        """The colour that was live when this Release last knew; empty when it never did."""
        status = self.status
        if status.left and status.left in COLORS:
            return status.left
        if status.flips:
            return status.flips[-1].to
        if status.colors:
            return status.colors.from_
        return self.spec.foreign_flip.to if self.spec.foreign_flip else ""


def from_json(raw: dict[str, Any]) -> Release:
    """Read a Release from the cluster's JSON. Raises pydantic.ValidationError for one that cannot be understood."""
    meta = raw["metadata"]
    return Release.model_validate_json(
        json.dumps(
            {
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
                "resourceVersion": meta["resourceVersion"],
                "createdAt": meta["creationTimestamp"],
                "asked": {
                    name.removeprefix(ASKED): done
                    for name, done in (meta.get("annotations") or {}).items()
                    if name.startswith(ASKED)
                },
                "spec": raw.get("spec") or {},
                "status": raw.get("status") or {},
            }
        ),
        extra="ignore",  # the pinned Application and rules too may carry fields of a newer version
    )


def shown_json(release: Release) -> dict[str, Any]:
    """The Release for programs: without what it keeps for itself."""
    found: dict[str, Any] = json.loads(
        release.model_dump_json(by_alias=True, exclude_none=True, exclude={"asked": True, "status": {"pinned"}})
    )
    return found


def status_json(status: Status) -> dict[str, Any]:
    """The status as the cluster keeps it."""
    found: dict[str, Any] = json.loads(status.model_dump_json(by_alias=True, exclude_none=True))
    return found


def status_patch(old: Status, new: Status) -> dict[str, Any]:
    """The merge patch (RFC 7386) that turns one status into the other: only what changed, nulls for what went."""
    return _difference(status_json(old), status_json(new))


def _difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            inner = _difference(before, value)
            if inner:
                patch[key] = inner
        elif value != before:
            patch[key] = value
    return patch
