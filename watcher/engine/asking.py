"""What is asked of Releases from outside, by the command line and over HTTP: each becomes a change to a Release object.

What always holds: nothing is kept here, so any replica can be asked. A request with a key that is sent again, to
whichever replica, is followed once: the key's digest stands on the Release, written together with what was asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from watcher.adapters.errors import Conflict
from watcher.adapters.kubernetes.hands import Hands
from watcher.core.models import API_VERSION
from watcher.core.release import ASKED, KIND, Release

LONGEST_STEM = 50
"""What is left of an Application's name in that of a Release, so that the whole stays a DNS label."""


class NoRelease(Exception):
    """There is no such Release."""


class Ended(Exception):
    """The Release has ended: there is nothing to steer any more."""

    def __init__(self, release: Release) -> None:
        super().__init__(f"{release.name} has ended ({release.phase.value}): {release.status.message}")
        self.release = release


class KeyReused(Exception):
    """The request's key came before, with another request."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and the key under which a repeated request is known; without one each request is a new one."""

    by: str
    key: str = ""

    def digest(self, *about: str) -> str:
        """The key in a form that may stand in an annotation; empty without one."""
        if not self.key:
            return ""
        return hashlib.sha256(json.dumps([self.by, self.key, *about]).encode()).hexdigest()[:40]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A release that is asked for."""

    namespace: str
    application: str
    version: str
    images: Mapping[str, str]
    force: bool = False
    override_window: str | None = None
    """Why deployment windows are to be ignored; None where they are not."""


def create(hands: Hands, wanted: Wanted, caller: Caller) -> tuple[Release, bool]:
    """Ask for a release: the Release, and whether it is a new one."""
    spec: dict[str, Any] = {
        "application": wanted.application,
        "version": wanted.version,
        "images": dict(wanted.images),
        "requestedBy": caller.by,
    }
    if wanted.force:
        spec["force"] = True
    if wanted.override_window is not None:
        spec["overrideWindow"] = command(caller.by, wanted.override_window)
    asked = [wanted.version, sorted(wanted.images.items()), wanted.force, wanted.override_window]
    print_ = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:40]
    return _create(hands, wanted.namespace, wanted.application, "", spec, caller, f"create {print_}")


def steer(hands: Hands, namespace: str, name: str, verb: str, reason: str, caller: Caller) -> Release:
    """Approve, pause, resume, abort or roll back. Raises NoRelease, Ended and KeyReused."""
    release = hands.read_release(namespace, name)
    if release is None:
        raise NoRelease(f"there is no Release {name} in namespace {namespace}")
    digest = caller.digest("steer", namespace, name)
    if _followed(release, digest, verb):
        return release
    if release.phase.terminal:
        raise Ended(release)
    told = command(caller.by, reason)
    return hands.command(namespace, name, verb, told, {ASKED + digest: verb} if digest else None)


def roll_back(
    hands: Hands, namespace: str, application: str, reason: str, caller: Caller, *, force: bool = False
) -> tuple[Release, bool]:
    """Send an Application's traffic back: by the Release that runs, or by one of its own. The Release, and whether it
    is a new one."""
    told = command(caller.by, reason)
    digest = caller.digest("roll back", namespace, application)
    of_application = [one for one in hands.read_releases(namespace) if one.spec.application == application]
    for one in of_application:
        if _followed(one, digest, "rollback"):
            return one, False
    for one in sorted(of_application, key=lambda one: one.observes):  # what only observes may end by itself any moment
        if not one.phase.terminal and one.status.pinned:
            mark = {ASKED + digest: "rollback"} if digest else None
            return hands.command(namespace, one.name, "rollback", told, mark), False
    spec: dict[str, Any] = {"application": application, "rollback": told, "requestedBy": caller.by}
    if force:
        spec["force"] = True
    return _create(hands, namespace, application, "rollback-", spec, caller, "rollback", digest)


def command(by: str, reason: str) -> dict[str, str]:
    """A command as a Release carries it."""
    return {"by": by, "reason": reason, "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _create(
    hands: Hands,
    namespace: str,
    application: str,
    infix: str,
    spec: dict[str, Any],
    caller: Caller,
    done: str,
    digest: str = "",
) -> tuple[Release, bool]:
    """With a key the Release has a name that is made of it: whoever asks again meets the first one."""
    digest = digest or caller.digest("create", namespace, application)
    metadata: dict[str, Any] = {"namespace": namespace}
    if digest:
        name = f"{application[: LONGEST_STEM - len(infix)]}-{infix}{digest[:12]}"
        metadata |= {"name": name, "annotations": {ASKED + digest: done}}
    else:
        metadata["generateName"] = f"{application}-{infix}"
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}
    try:
        return hands.create_release(namespace, body), True
    except Conflict:
        there = hands.read_release(namespace, metadata["name"]) if digest else None
        if there is None or not _followed(there, digest, done):
            raise
        return there, False


def _followed(release: Release, digest: str, done: str) -> bool:
    """Whether this very request was followed before."""
    if not digest or digest not in release.asked:
        return False
    if release.asked[digest] != done:
        raise KeyReused(f"this Idempotency-Key was used for another request, which {release.name} came of")
    return True
