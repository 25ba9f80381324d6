"""The operations of `/api/v1`: what can be asked about Applications and Releases, and asked of them.

What always holds: a Release that the caller may not see is answered as one that does not exist; whatever is written
becomes a change to a Release object, in the caller's name, so any replica can answer.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from watcher.adapters.kubernetes.hands import Hands
from watcher.adapters.kubernetes.reviews import Reviews
from watcher.api import streams
from watcher.api.callers import Caller, text_of
from watcher.api.dispatch import Asked, Gate, Operation, Signer, answer
from watcher.api.documents import (
    AlertsReceived,
    AnyObject,
    Applications,
    ColorQuery,
    Evaluations,
    NamespaceQuery,
    NewRelease,
    ReleaseQuery,
    Releases,
    RollBack,
    Rules,
    ShownApplication,
    Steering,
    WaitQuery,
    application_json,
    rules_json,
)
from watcher.api.problems import Problem
from watcher.core.access import Grant, Role
from watcher.core.alerts import Notice, Report
from watcher.core.application import COLORS, Application, other
from watcher.core.binding import bind_rules
from watcher.core.receivers import Receiver
from watcher.core.release import Release, shown_json
from watcher.engine import asking
from watcher.engine.alerts import Inbox, NotKept
from watcher.engine.changes import Changes
from watcher.engine.config import Config
from watcher.engine.replay import Unanswered

ROLES = {"approve": Role.APPROVER}
LARGEST_NOTICE = 4 * 1024 * 1024
"""Bytes of what an Alertmanager posts: some thousand alerts."""
STEERED = {
    "approve": "Let a Release that waits for approval switch.",
    "pause": "Hold a Release where it is; going back is never held.",
    "resume": "Let a paused Release go on.",
    "abort": "End a Release: before the flip nothing moves, after it traffic goes back.",
    "rollback": "Send traffic back now.",
}
APPLICATIONS = "/api/v1/applications"
RELEASES = "/api/v1/releases"
ONE_APPLICATION = APPLICATIONS + "/{namespace}/{application}"
ONE_RELEASE = RELEASES + "/{namespace}/{release}"


class Served(Protocol):
    """What the operations need of the daemon."""

    config: Config
    changes: Changes
    hands: Hands
    reviews: Reviews
    inbox: Inbox

    def releases(self) -> list[Release]: ...

    def release(self, namespace: str, name: str) -> Release | None: ...

    def remember(self, release: Release) -> None: ...

    def cached(self, namespace: str, name: str) -> Release | None: ...

    def evaluations(self, release: Release) -> dict[str, Any]: ...

    def active_colors(self) -> dict[tuple[str, str], str]: ...


class Operations:
    """What they do, on one daemon."""

    def __init__(self, served: Served, gate: Gate) -> None:
        self.served, self._gate = served, gate

    # -- Applications -------------------------------------------------------------------------------------------------

    async def list_applications(self, asked: Asked) -> Response:
        wanted: NamespaceQuery = asked.query
        found = [
            self._application(app)
            for key, app in sorted(self.served.config.applications.items())
            if wanted.namespace in (None, app.namespace) and await self._sees(asked, *key)
        ]
        return answer({"items": found})

    async def read_application(self, asked: Asked) -> Response:
        return answer(self._application(await self._one_application(asked)))

    async def rules(self, asked: Asked) -> Response:
        app = await self._one_application(asked)
        wanted: ColorQuery = asked.query
        active = self.served.active_colors().get((app.namespace, app.name), "")
        color = wanted.color or (other(active) if active in COLORS else COLORS[0])
        bound = bind_rules(app, self.served.config.rule_sets, color, other(color), "VERSION")
        return answer(rules_json(color, bound))

    async def roll_back(self, asked: Asked) -> Response:
        namespace, application = asked.path["namespace"], asked.path["application"]
        await self._gate.need(asked.caller, Role.RELEASER, namespace, application)
        self._known(namespace, application)
        body: RollBack = asked.body

        def ask() -> tuple[Release, bool]:
            caller = asking.Caller(asked.caller.name, asked.key)
            return asking.roll_back(self.served.hands, namespace, application, body.reason, caller, force=body.force)

        return await self._asked_for(asked, ask)

    # -- Releases -----------------------------------------------------------------------------------------------------

    async def list_releases(self, asked: Asked) -> Response:
        wanted: ReleaseQuery = asked.query
        allowed: dict[tuple[str, str], bool] = {}
        found: list[dict[str, Any]] = []
        for release in self.served.releases():
            key = (release.namespace, release.spec.application)
            if not (
                wanted.namespace in (None, key[0])
                and wanted.application in (None, key[1])
                and wanted.phase in (None, release.phase)
            ):
                continue
            if key not in allowed:
                allowed[key] = await self._sees(asked, *key)
            if allowed[key]:
                found.append(shown_json(release))
            if len(found) == wanted.limit:
                break
        return answer({"items": found})

    async def create_release(self, asked: Asked) -> Response:
        new: NewRelease = asked.body
        await self._gate.need(asked.caller, Role.RELEASER, new.namespace, new.application)
        self._known(new.namespace, new.application)
        override = new.override_window.reason if new.override_window else None
        wanted = asking.Wanted(new.namespace, new.application, new.version, new.images, new.force, override)

        def ask() -> tuple[Release, bool]:
            return asking.create(self.served.hands, wanted, asking.Caller(asked.caller.name, asked.key))

        return await self._asked_for(asked, ask)

    async def read_release(self, asked: Asked) -> Response:
        return answer(shown_json(await self.one_release(asked)))

    async def wait(self, asked: Asked) -> Response:
        release = await self.one_release(asked)
        wanted: WaitQuery = asked.query

        def look() -> tuple[bool, Release | None]:
            now = self.served.cached(release.namespace, release.name)
            return now is None or now.phase.terminal or wanted.since not in ("", now.resource_version), now

        # What was read may be newer than the cache: where the cache does not have it yet, it will ring.
        self.served.remember(release)
        found = await streams.wait(asked.request, self.served.changes, release.namespace, wanted.timeout, look)
        if found is None:
            raise Problem(404, f"The Release {release.name} is no longer there.")
        return answer(shown_json(found))

    async def stream_release(self, asked: Asked) -> Response:
        release = await self.one_release(asked)
        self.served.remember(release)

        def look() -> tuple[str, str, Any, bool]:
            now = self.served.cached(release.namespace, release.name)
            if now is None:
                return "deleted", "deleted", {}, True
            return "release", now.resource_version, shown_json(now), now.phase.terminal

        return streams.events(self.served.changes, release.namespace, look)

    async def stream_application(self, asked: Asked) -> Response:
        app = await self._one_application(asked)

        def look() -> tuple[str, str, Any, bool]:
            now = self._application(app)
            return "application", hashlib.sha256(repr(now).encode()).hexdigest()[:16], now, False

        return streams.events(self.served.changes, app.namespace, look)

    async def evaluations(self, asked: Asked) -> Response:
        release = await self.one_release(asked)
        if release.status.switched_at is None or release.status.pinned is None:
            raise Problem(409, f"{release.name} has not been watched: traffic has not moved.")
        with self._gate.slots.one("evaluations"):
            try:
                return answer(await asked.run(self.served.evaluations, release))
            except Unanswered as error:
                raise Problem(
                    503, f"Prometheus does not answer: {error.reason}", headers={"Retry-After": "10"}
                ) from None

    async def steer(self, asked: Asked, verb: str) -> Response:
        release = await self.one_release(asked)
        await self._gate.need(asked.caller, ROLES.get(verb, Role.RELEASER), release.namespace, release.spec.application)
        body: Steering = asked.body

        def ask() -> tuple[Release, bool]:
            caller = asking.Caller(asked.caller.name, asked.key)
            hands = self.served.hands
            return asking.steer(hands, release.namespace, release.name, verb, body.reason, caller), False

        return await self._asked_for(asked, ask)

    # -- alerts -------------------------------------------------------------------------------------------------------

    async def alertmanager(self, asked: Asked) -> Response:
        notice: Notice = asked.body
        return await self._heard(asked, notice.report())

    def signer(self, request: Request) -> Signer | None:
        """Who signs what is posted to a receiver; None where nobody does."""
        receiver = self._receiver(request.path_params["receiver"])
        signature = receiver.signature if receiver else None
        if receiver is None or signature is None:
            return None
        grant = Grant(frozenset({Role.RECEIVER}), signature.applications)

        def signed(headers: Mapping[str, str], body: bytes) -> bool:
            return signature.holds(headers, body, [text_of(signature.secret_file)], datetime.now(UTC))

        return Signer(Caller(receiver.name, grant.allows), signed)

    async def receiver(self, asked: Asked) -> Response:
        receiver = self._receiver(asked.path["receiver"])
        if receiver is None:
            raise Problem(404, "No receiver has this name.")
        found = receiver.read(asked.body.root)
        if not isinstance(found, Report):
            errors = [{"in": "body", "problem": lack} for lack in found[:20]]
            raise Problem(422, f"This is not what receiver {receiver.name} is told to expect.", errors=errors)
        return await self._heard(asked, found)

    def _receiver(self, name: str) -> Receiver | None:
        return next((one for one in self.served.config.settings.receivers if one.name == name), None)

    async def _heard(self, asked: Asked, *reports: Report) -> Response:
        caller = asked.caller
        names = list(self.served.config.applications)
        if not await asked.run(lambda: any(caller.may(Role.RECEIVER, *name) for name in names)):
            raise Problem(403, f"{caller.name} does not have the role receiver for any Application.")
        answered = self.served.inbox.take(reports, caller.name, partial(caller.may, Role.RECEIVER))
        try:
            found = await asyncio.wrap_future(answered)
        except NotKept:
            # Senders of alerts ask again after a 5xx, and after nothing else.
            raise Problem(503, "It could not be written; send it again.", headers={"Retry-After": "1"}) from None
        return answer({"acted": found.acted, "ignored": found.ignored, "incomplete": found.incomplete})

    # -- parts --------------------------------------------------------------------------------------------------------

    async def one_release(self, asked: Asked) -> Release:
        """The Release that the path names, if the caller may see it."""
        namespace, name = asked.path["namespace"], asked.path["release"]
        release: Release | None = await asked.run(self.served.release, namespace, name)
        if release is None or not await self._sees(asked, namespace, release.spec.application):
            raise Problem(404, f"There is no Release {name} in namespace {namespace} that you may see.")
        return release

    async def _one_application(self, asked: Asked) -> Application:
        key = (asked.path["namespace"], asked.path["application"])
        app = self.served.config.applications.get(key)
        if app is None or not await self._sees(asked, *key):
            raise Problem(404, f"There is no Application {key[1]} in namespace {key[0]} that you may see.")
        return app

    def _known(self, namespace: str, application: str) -> None:
        if (namespace, application) not in self.served.config.applications:
            raise Problem(404, f"No file defines an Application {application} in namespace {namespace}.")

    async def _sees(self, asked: Asked, namespace: str, application: str) -> bool:
        found: bool = await asked.run(asked.caller.may, Role.READER, namespace, application)
        return found

    def _application(self, app: Application) -> Mapping[str, Any]:
        running = tuple(
            one.name
            for one in self.served.releases()
            if (one.namespace, one.spec.application) == (app.namespace, app.name) and not one.phase.terminal
        )
        active = self.served.active_colors().get((app.namespace, app.name), "")
        return application_json(app, active, running)

    async def _asked_for(self, asked: Asked, ask: Any) -> Response:
        try:
            release, new = await asked.run(ask)
        except asking.NoRelease as error:
            raise Problem(404, str(error)) from None
        except (asking.Ended, asking.KeyReused) as error:
            raise Problem(409, str(error)) from None
        self.served.remember(release)
        where = {"Location": f"{RELEASES}/{release.namespace}/{release.name}"}
        return answer(shown_json(release), 201 if new else 200, where if new else None)


def _steering(verb: str, told: str) -> Operation:
    async def steer(operations: Operations, asked: Asked) -> Response:
        return await operations.steer(asked, verb)

    good = {200: ("The Release, with the command.", Release)}
    path = f"{ONE_RELEASE}/{verb}"
    role = ROLES.get(verb, Role.RELEASER)
    return Operation(f"{verb}Release", "POST", path, told, role, steer, good, body=Steering, refusals=(404, 409))


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "listApplications",
        "GET",
        APPLICATIONS,
        "List Applications.",
        Role.READER,
        Operations.list_applications,
        {200: ("Applications.", Applications)},
        query=NamespaceQuery,
    ),
    Operation(
        "readApplication",
        "GET",
        ONE_APPLICATION,
        "Read an Application.",
        Role.READER,
        Operations.read_application,
        {200: ("The Application.", ShownApplication)},
        refusals=(404,),
    ),
    Operation(
        "readRules",
        "GET",
        ONE_APPLICATION + "/rules",
        "The rules in force, as a watch that began now would have them.",
        Role.READER,
        Operations.rules,
        {200: ("The rules.", Rules)},
        query=ColorQuery,
        refusals=(404,),
    ),
    Operation(
        "streamApplication",
        "GET",
        ONE_APPLICATION + "/events",
        "An Application now and at each change.",
        Role.READER,
        Operations.stream_application,
        {200: ("Events named application, each with an Application.", None)},
        refusals=(404,),
        media_type=streams.MEDIA_TYPE,
    ),
    Operation(
        "rollBackApplication",
        "POST",
        ONE_APPLICATION + "/rollback",
        "Send traffic back to the other colour, by the Release that runs, or by one of its own.",
        Role.RELEASER,
        Operations.roll_back,
        {200: ("The Release that goes back.", Release), 201: ("A Release of its own goes back.", Release)},
        body=RollBack,
        refusals=(404, 409),
    ),
    Operation(
        "listReleases",
        "GET",
        RELEASES,
        "List Releases, the newest first.",
        Role.READER,
        Operations.list_releases,
        {200: ("Releases.", Releases)},
        query=ReleaseQuery,
    ),
    Operation(
        "createRelease",
        "POST",
        RELEASES,
        "Ask for a release.",
        Role.RELEASER,
        Operations.create_release,
        {200: ("Asked for before, with this key.", Release), 201: ("Asked for.", Release)},
        body=NewRelease,
        refusals=(404, 409),
    ),
    Operation(
        "readRelease",
        "GET",
        ONE_RELEASE,
        "Read a Release.",
        Role.READER,
        Operations.read_release,
        {200: ("The Release.", Release)},
        refusals=(404,),
    ),
    Operation(
        "waitForRelease",
        "GET",
        ONE_RELEASE + "/wait",
        "Read a Release once it has ended, or (with since) has changed; or as it is when the time is over.",
        Role.READER,
        Operations.wait,
        {200: ("The Release.", Release)},
        query=WaitQuery,
        refusals=(404,),
    ),
    Operation(
        "readEvaluations",
        "GET",
        ONE_RELEASE + "/evaluations",
        "What each rule said since the switch.",
        Role.READER,
        Operations.evaluations,
        {200: ("The evaluations.", Evaluations)},
        refusals=(404, 409),
    ),
    Operation(
        "streamRelease",
        "GET",
        ONE_RELEASE + "/events",
        "A Release now and at each change, until it ends.",
        Role.READER,
        Operations.stream_release,
        {200: ("Events named release, each with a Release.", None)},
        refusals=(404,),
        media_type=streams.MEDIA_TYPE,
    ),
    Operation(
        "receiveAlerts",
        "POST",
        "/webhooks/alertmanager",
        "What an Alertmanager posts (version 4).",
        Role.RECEIVER,
        Operations.alertmanager,
        {200: ("What came of it is written.", AlertsReceived)},
        body=Notice,
        largest=LARGEST_NOTICE,
        alerts=True,
    ),
    Operation(
        "receiveFrom",
        "POST",
        "/webhooks/{receiver}",
        "What another program posts, read as the settings of its receiver say. A signature may stand for the token.",
        Role.RECEIVER,
        Operations.receiver,
        {200: ("What came of it is written.", AlertsReceived)},
        body=AnyObject,
        refusals=(404,),
        largest=LARGEST_NOTICE,
        alerts=True,
        signer=Operations.signer,
    ),
    *(_steering(verb, told) for verb, told in STEERED.items()),
)
