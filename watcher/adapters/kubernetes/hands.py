"""Everything that the daemon changes in the cluster, one request each. There is one set of hands for the ordinary work
and one, on a connection of its own, for flipping.

What always holds: only patches, never a PUT, so that fields which this version does not know survive; and the live
selector changes only by compare-and-swap (S3).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from watcher.adapters.errors import Conflict
from watcher.adapters.kubernetes import paths, views
from watcher.adapters.kubernetes.connection import (
    FIELD_MANAGER,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    AlreadyExists,
    Connection,
    NotFound,
)
from watcher.adapters.kubernetes.leases import Lead, leads
from watcher.adapters.secrets import REDACTOR
from watcher.core import release as releases
from watcher.core.effects import Deploy, SetMinimum
from watcher.core.release import (
    ACTOR_ANNOTATION,
    CHANNEL_ANNOTATION,
    EVIDENCE_ANNOTATION,
    KEY_ANNOTATION,
    NOTICE_ANNOTATION,
    OWED_LABEL,
    TERMINAL,
    WATCHER,
    Flip,
    Release,
    Status,
)
from watcher.core.story import Told

LONGEST_MESSAGE = 1000
"""What an Event's message may have at most (the API server takes 1,024 bytes)."""

OWED = "owed"
"""The state of a channel that has not been told yet."""

LONGEST_EVIDENCE = 4000
"""How many characters of one piece of evidence an Event carries."""

LOG_REMOVED = (
    "unable to retrieve container logs for ",
    'failed to try resolving symlinks in path "',
    'failed to open log file "',
)
"""How a kubelet's answer begins, with 200, in place of the log of a container that it has removed meanwhile."""


@dataclass(frozen=True, slots=True)
class Event:
    """What is told about an object (`about` is its reference: apiVersion, kind, name, namespace, uid)."""

    about: Mapping[str, str]
    key: str
    reason: str
    message: str
    type: Literal["Normal", "Warning"]
    at: datetime
    actor: str = WATCHER
    """Who decided or asked: a person, a program, or the watcher itself."""
    evidence: Mapping[str, object] = field(default_factory=dict)
    notice: str = ""
    """What channels are owed, as JSON; empty where there are none to tell."""

    @property
    def name(self) -> str:
        """The same for the same news, so that it exists once."""
        about = self.about
        digest = hashlib.sha256(f"{about['uid']}/{about['kind']}/{self.key}".encode()).hexdigest()[:16]
        return f"{about['name'][:200]}.{digest}"


@dataclass(frozen=True, slots=True)
class Owed:
    """What an Event says of the channels: the state of each by its name, and the notice itself."""

    namespace: str
    name: str
    notice: str
    states: Mapping[str, str]


class Hands:
    """Writes, and the direct reads that decisions about flips rest on."""

    def __init__(self, connection: Connection) -> None:
        self._api = connection

    # -- reads that no cache may answer -------------------------------------------------------------------------------

    def read_service(self, namespace: str, name: str) -> views.Service | None:
        """The Service as it is now; None when there is none."""
        try:
            return views.service(self._api.get(paths.services(namespace, name)))
        except NotFound:
            return None

    def read_slices(self, namespace: str, service: str) -> tuple[views.Slice, ...]:
        """The Service's EndpointSlices as they are now."""
        found = self._api.get(paths.endpoint_slices(namespace), labelSelector=f"kubernetes.io/service-name={service}")
        return tuple(views.endpoint_slice(raw) for raw in found.get("items") or ())

    def read_release(self, namespace: str, name: str) -> Release | None:
        try:
            return releases.from_json(self._api.get(paths.releases(namespace, name)))
        except NotFound:
            return None

    def read_releases(self, namespace: str) -> tuple[Release, ...]:
        found = self._api.get(paths.releases(namespace) if namespace else paths.all_releases())
        return tuple(releases.from_json(raw) for raw in found.get("items") or ())

    def read_running(self, namespace: str) -> tuple[Release, ...]:
        """The Releases that have not ended. The others are not looked into, and one that nobody understands is left
        out: nothing can be written to it either."""
        found = []
        for raw in self._api.get(paths.releases(namespace)).get("items") or ():
            if (raw.get("status") or {}).get("phase") not in TERMINAL:
                with suppress(ValidationError):
                    found.append(releases.from_json(raw))
        return tuple(found)

    def read_logs(self, namespace: str, pod: str, container: str, *, previous: bool, lines: int = 8) -> str:
        """The container's last lines; empty when there are none to be had."""
        query = {"container": container, "tailLines": str(lines)}
        try:
            text = self._api.text(f"{paths.pods(namespace, pod)}/log", **query, previous=str(previous).lower()).strip()
        except (NotFound, Conflict):
            return ""
        return "" if text.startswith(LOG_REMOVED) else REDACTOR.cut(text)

    def read_told(self, release: Release) -> tuple[Told, ...]:
        """The Events about a Release, in the order of their times."""
        found = self._api.get(paths.events(release.namespace), fieldSelector=f"involvedObject.uid={release.uid}")
        told = [views.told(raw) for raw in found.get("items") or ()]
        return tuple(sorted(told, key=lambda event: event.at))

    def read_leads(self, namespace: str = "") -> tuple[Lead, ...]:
        """Who leads, or led last; in every namespace unless one is named."""
        return leads(self._api, namespace)

    # -- the switch ---------------------------------------------------------------------------------------------------

    def swap_selector(
        self, service: views.Service, namespace: str, key: str, flip: Flip, mark: str, at: datetime
    ) -> None:
        """Compare the selector's one key with `flip.from_`, swap it to `flip.to`, and leave the mark: one request.

        Raises Conflict when the Service is not what was read, OutcomeUnknown when no answer came: read again then.
        """
        value = f"{mark} {at.isoformat()} {flip.to}"
        selector = f"/spec/selector/{_pointer(key)}"
        ops: list[dict[str, Any]] = [
            {"op": "test", "path": selector, "value": flip.from_},
            # Only the object that was read: a request that comes late, after somebody else moved the selector there
            # and back, must not land; and an annotation that somebody adds meanwhile must not be erased below.
            {"op": "test", "path": "/metadata/resourceVersion", "value": service.view.resource_version},
            {"op": "replace", "path": selector, "value": flip.to},
        ]
        if service.annotated:
            annotation = f"/metadata/annotations/{_pointer(views.FLIP_ANNOTATION)}"
            ops.append({"op": "add", "path": annotation, "value": value})
        else:
            ops.append({"op": "add", "path": "/metadata/annotations", "value": {views.FLIP_ANNOTATION: value}})
        self._api.patch(paths.services(namespace, service.view.name), ops, JSON_PATCH)

    def point_preview(self, namespace: str, name: str, key: str, color: str) -> None:
        """Make the preview Service select a colour."""
        self._api.patch(paths.services(namespace, name), {"spec": {"selector": {key: color}}}, MERGE_PATCH)

    # -- the colours --------------------------------------------------------------------------------------------------

    def deploy(self, namespace: str, deploy: Deploy) -> None:
        """Set images and size of a colour's Deployment, and note the version on it."""
        containers = [{"name": name, "image": image} for name, image in sorted(deploy.images.items())]
        body = {
            "metadata": {"annotations": {views.VERSION_ANNOTATION: deploy.version}},
            "spec": {"replicas": deploy.replicas, "template": {"spec": {"containers": containers}}},
        }
        self._api.patch(paths.deployments(namespace, deploy.deployment), body, STRATEGIC_PATCH)

    def scale(self, namespace: str, deployment: str, replicas: int) -> None:
        self._api.patch(paths.deployments(namespace, deployment), {"spec": {"replicas": replicas}}, MERGE_PATCH)

    def set_minimum(self, namespace: str, change: SetMinimum) -> views.Scaler:
        """Set an autoscaler's minReplicas and what is noted beside it, if nobody changed it since (else Conflict)."""
        body = {
            "metadata": {
                "resourceVersion": change.version,
                "annotations": {views.MINIMUM_ANNOTATION: views.held(change.held)},
            },
            "spec": {"minReplicas": change.minimum},
        }
        return views.scaler(self._api.patch(paths.autoscalers(namespace, change.scaler), body, MERGE_PATCH))

    # -- the Release --------------------------------------------------------------------------------------------------

    def create_release(self, namespace: str, body: Mapping[str, Any]) -> Release:
        spec = dict(body["spec"])
        spec |= {name: REDACTOR.cut_all(spec[name]) for name in _ASKED if name in spec}
        return releases.from_json(self._api.create(paths.releases(namespace), {**body, "spec": spec}))

    def delete_release(self, release: Release) -> None:
        """Take an ended Release away, unless another one has its name by now."""
        found = self.read_release(release.namespace, release.name)
        if found is None or found.uid != release.uid or not found.phase.terminal:
            return
        with suppress(NotFound):
            self._api.delete(paths.releases(release.namespace, release.name))

    def write_status(self, release: Release, status: Status) -> Release:
        """Write what changed, if nobody else changed the Release since it was read (else Conflict)."""
        body = {
            "metadata": {"resourceVersion": release.resource_version},
            "status": _cut(releases.status_patch(release.status, status)),
        }
        path = f"{paths.releases(release.namespace, release.name)}/status"
        return releases.from_json(self._api.patch(path, body, MERGE_PATCH))

    def command(
        self,
        namespace: str,
        name: str,
        field: str,
        value: Mapping[str, Any] | None,
        annotations: Mapping[str, str] | None = None,
    ) -> Release:
        """Set (or with None, take away) one of the Release's commands: approve, pause, resume, abort, rollback."""
        # A new pause is not resumed yet, whatever the clocks of those who asked say.
        spec = {field: REDACTOR.cut_all(value)} | ({"resume": None} if field == "pause" else {})
        body = {"spec": spec} | ({"metadata": {"annotations": dict(annotations)}} if annotations else {})
        return releases.from_json(self._api.patch(paths.releases(namespace, name), body, MERGE_PATCH))

    def annotate(self, namespace: str, name: str, annotations: Mapping[str, str]) -> Release:
        """Add annotations to a Release; the others stay."""
        body = {"metadata": {"annotations": dict(annotations)}}
        return releases.from_json(self._api.patch(paths.releases(namespace, name), body, MERGE_PATCH))

    def event(self, event: Event, states: Mapping[str, str] | None = None) -> bool:
        """A Kubernetes Event about an object, once per key however often it is told (S11), with the states of the
        channels that are told, too. Says whether it is new.
        """
        try:
            self._api.create(paths.events(event.about["namespace"]), _event(event, states or {}))
        except AlreadyExists:
            return False  # told before
        return True

    def note_channels(self, namespace: str, name: str, states: Mapping[str, str]) -> None:
        """Note on an Event which channels have been told. One that is there no more needs no note."""
        meta = {"annotations": _channels(states), "labels": {OWED_LABEL: None} if _settled(states) else {}}
        with suppress(NotFound):
            self._api.patch(f"{paths.events(namespace)}/{name}", {"metadata": meta}, MERGE_PATCH)

    def read_owed(self, namespace: str) -> tuple[Owed, ...]:
        """The Events of a namespace whose channels have not all been told, in the order of their times."""
        found = self._api.get(paths.events(namespace), labelSelector=f"{OWED_LABEL}=true")
        return _owed(found)

    def read_channels(self, namespace: str, uid: str) -> tuple[Owed, ...]:
        """All Events about one object that tell what channels got, in the order of their times."""
        return _owed(self._api.get(paths.events(namespace), fieldSelector=f"involvedObject.uid={uid}"))


def _channels(states: Mapping[str, str]) -> dict[str, str]:
    return {f"{CHANNEL_ANNOTATION}{channel}": state for channel, state in states.items()}


def _settled(states: Mapping[str, str]) -> bool:
    return OWED not in states.values()


def _owed(listed: Mapping[str, Any]) -> tuple[Owed, ...]:
    found = []
    for item in sorted(listed.get("items") or (), key=lambda item: str(item.get("firstTimestamp") or "")):
        meta = item["metadata"]
        notes: dict[str, str] = meta.get("annotations") or {}
        states = {
            name.removeprefix(CHANNEL_ANNOTATION): state
            for name, state in notes.items()
            if name.startswith(CHANNEL_ANNOTATION)
        }
        found.append(Owed(meta["namespace"], meta["name"], notes.get(NOTICE_ANNOTATION, ""), states))
    return tuple(found)


def _event(event: Event, states: Mapping[str, str]) -> dict[str, Any]:
    about = event.about
    notice = {NOTICE_ANNOTATION: event.notice} if states else {}
    stamp = event.at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": event.name,
            "namespace": about["namespace"],
            "labels": {} if _settled(states) else {OWED_LABEL: "true"},
            "annotations": {
                KEY_ANNOTATION: event.key.partition("/")[2],
                ACTOR_ANNOTATION: event.actor,
                EVIDENCE_ANNOTATION: _evidence(REDACTOR.cut_all(event.evidence)),
                **notice,
                **_channels(states),
            },
        },
        "involvedObject": dict(about),
        "reason": event.reason.replace("/", "")[:120],
        "message": REDACTOR.cut(event.message)[:LONGEST_MESSAGE],
        "type": event.type,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": FIELD_MANAGER,
    }


_ASKED = ("requestedBy", "approve", "pause", "abort", "rollback", "overrideWindow")
"""The parts of a spec in which people say who they are, and why."""

_SENTENCES = ("message", "output", "last", "evidence", "query")
"""The parts of a status that tell what others said. The next step goes by all else, which stays as it is."""


def _cut(status: Any) -> Any:
    """A status without secrets in what it tells."""
    if isinstance(status, dict):
        return {
            k: REDACTOR.cut_all(v) if k in _SENTENCES else v if k == "pinned" else _cut(v) for k, v in status.items()
        }
    return [_cut(one) for one in status] if isinstance(status, list) else status


def _evidence(evidence: Mapping[str, object]) -> str:
    """As JSON; a long text keeps its end, where a container says why it failed."""
    shown = {name: value[-LONGEST_EVIDENCE:] if isinstance(value, str) else value for name, value in evidence.items()}
    return json.dumps(shown, default=str, ensure_ascii=False)


def _pointer(key: str) -> str:
    """A key as one step of a JSON Pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
