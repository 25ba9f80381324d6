"""Everything between a decoded body and the store: identity, shape, pruning, defaults and validation, in that order.

`admit_new` and `admit_change` work on a copy and return it ready for the store, or raise. Built-in and custom resources
take the same path; only where the schema comes from differs.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from watcher.demo.cluster.crd import Resource
from watcher.demo.cluster.defaults import fill_defaults
from watcher.demo.cluster.errors import ApiError, Cause, bad_request, bad_value, conflict, invalid
from watcher.demo.cluster.resources import CRD, DEPLOYMENT, JOB, LEASE, NAMESPACE, NODE, POD, SERVICE, Kind
from watcher.demo.cluster.rules import ABSENT, broken_rules
from watcher.demo.cluster.schema import fill, prune, validate
from watcher.demo.cluster.shapes import METADATA, METADATA_FIELDS, shape_of
from watcher.demo.cluster.store import Object, clone
from watcher.demo.cluster.times import parse_time
from watcher.demo.cluster.validation import check_change, check_metadata, check_object

_NEEDS_VERSION = {LEASE.key, CRD.key}
"""Built-in kinds that refuse a PUT without a resourceVersion; custom resources all do."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A body ready for the store, and the unknown fields that were taken out of it."""

    body: Object
    unknown: list[str] = field(default_factory=list)


def admit_new(resource: Resource, body: Any, namespace: str) -> Admitted:
    """Check and complete a body to be created. `namespace` is the one of the request, empty for cluster scope."""
    kind = resource.kind
    new = _identify(resource, body)
    meta = new["metadata"]
    _settle_namespace(kind, meta, namespace)
    if meta.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    for fixed in ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
        meta.pop(fixed, None)
    if kind.status_subresource and kind.key != NODE.key:
        new.pop("status", None)
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
    claimed = list(_claim_pods(new)) if kind.key == JOB.key and not resource_shape_errors(kind, new) else []
    admitted = _complete(resource, new, claimed)
    first = _first_status(kind, new)
    if first is not None:
        new["status"] = first
    return admitted


def admit_change(resource: Resource, body: Any, current: Object, *, subresource: str = "") -> Admitted:
    """Check and complete a whole object that replaces `current`; with "status" only its status counts."""
    kind = resource.kind
    new = _identify(resource, body)
    meta, old = new["metadata"], current["metadata"]
    _settle_namespace(kind, meta, old.get("namespace", ""))
    if not meta.get("name"):
        meta["name"] = old["name"]
    if meta["name"] != old["name"]:
        raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({old['name']})")
    if not meta.get("resourceVersion") and (resource.custom or kind.key in _NEEDS_VERSION):
        cause = bad_value("metadata.resourceVersion", 0, "must be specified for an update")
        raise invalid(kind, old["name"], [cause])
    if meta.get("uid") and meta["uid"] != old["uid"]:
        message = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {old['uid']}"
        raise conflict(kind, old["name"], message)
    meta["creationTimestamp"] = old["creationTimestamp"]  # whatever the body says
    fixed = ("deletionTimestamp", "deletionGracePeriodSeconds")
    rewritten = [name for name in fixed if name in meta and not _same_moment(meta[name], old.get(name))]
    if rewritten:
        causes = [bad_value(f"metadata.{name}", meta[name], "field is immutable") for name in rewritten]
        raise invalid(kind, old["name"], causes)
    if subresource == "status":
        status = new.get("status")
        new = {**clone(current), "metadata": {**clone(old), "resourceVersion": meta.get("resourceVersion")}}
        new.pop("status", None)
        if status is not None:
            new["status"] = status
    elif kind.key == SERVICE.key and isinstance(new.get("spec"), dict):
        _keep_addresses(new["spec"], current["spec"])
    elif kind.key == NAMESPACE.key:
        new["spec"] = clone(current.get("spec") or {})
    return _complete(resource, new, list(_changes(kind, new, current)) if not subresource else [], current)


def _same_moment(given: Any, kept: Any) -> bool:
    """Clients write +00:00 where the server writes Z."""
    return bool(given == kept or (parse_time(given) is not None and parse_time(given) == parse_time(kept)))


def _changes(kind: Kind, new: Object, current: Object) -> list[Cause]:
    """What may not change and did; nothing while the body is not even well formed, which is told elsewhere."""
    if resource_shape_errors(kind, new) or (kind.key == CRD.key and any(check_object(kind, new))):
        return []
    filled = clone(new)
    fill_defaults(kind, filled)
    return list(check_change(kind, filled, current))


def resource_shape_errors(kind: Kind, body: Object) -> list[Cause]:
    shape = shape_of(kind.key)
    return list(validate(body, shape)) if shape else []


def _identify(resource: Resource, body: Any) -> Object:
    """A copy of the body with its apiVersion, kind and metadata as they must be."""
    kind = resource.kind
    if not isinstance(body, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {kind.kind}): it is not an object")
    new: Object = clone(body)
    if not resource.custom:
        _drop_nulls(new)
    given = new.get("kind") or kind.kind, new.get("apiVersion") or kind.api_version
    if given[1] != kind.api_version:
        raise bad_request(
            f"the API version in the data ({given[1]}) does not match the expected API version ({kind.api_version})"
        )
    if given[0] != kind.kind:
        raise bad_request(f'{given[0]} in version "{kind.version}" cannot be handled as a {kind.kind}')
    new["kind"], new["apiVersion"] = kind.kind, kind.api_version
    meta = new.get("metadata")
    if meta is None:
        meta = new["metadata"] = {}
    wrong = list(validate(meta, METADATA, "metadata"))
    if wrong:
        raise _undecodable(kind, wrong)
    for name in [name for name, value in meta.items() if value is None]:
        del meta[name]
    meta.pop("managedFields", None)
    meta.pop("selfLink", None)
    return new


def _claim_pods(job: Object) -> Iterator[Cause]:
    """Its pods are told from others by its uid, as its name may come again: selector and labels say so."""
    meta, spec, template = job["metadata"], job["spec"], job["spec"]["template"]
    if template.get("metadata") is None:
        template["metadata"] = {}
    labels = template["metadata"].get("labels") or {}
    if not spec.get("manualSelector"):
        meta["uid"] = str(uuid.uuid4())
        name = meta.get("name") or ""
        if len(name) > 63:
            yield bad_value("spec.template.labels", name, "must be no more than 63 bytes")
        own = {f"{prefix}controller-uid": meta["uid"] for prefix in ("batch.kubernetes.io/", "")}
        own |= {f"{prefix}job-name": name for prefix in ("batch.kubernetes.io/", "")}
        for key in own.keys() & labels.keys():
            yield bad_value(f"spec.template.metadata.labels[{key}]", labels, f"must be '{own[key]}'")
        if spec.get("selector"):
            yield bad_value("spec.selector", spec["selector"], "`selector` not auto-generated")
        labels = {**labels, **own}
        key = "batch.kubernetes.io/controller-uid"
        spec["selector"], spec["manualSelector"] = {"matchLabels": {key: meta["uid"]}}, False
        template["metadata"]["labels"] = labels
    if not meta.get("labels") and labels:
        meta["labels"] = dict(labels)


def _settle_namespace(kind: Kind, meta: dict[str, Any], namespace: str) -> None:
    if not kind.namespaced:
        meta.pop("namespace", None)
        return
    if meta.get("namespace") and meta["namespace"] != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    meta["namespace"] = namespace


def _complete(resource: Resource, new: Object, causes: list[Cause], current: Object | None = None) -> Admitted:
    """Prune, fill in defaults and validate `new` in place."""
    kind, meta = resource.kind, new["metadata"]
    unknown = [f"metadata.{name}" for name in meta if name not in METADATA_FIELDS]
    for path in unknown:
        del meta[path.removeprefix("metadata.")]
    causes = [*check_metadata(kind, meta), *causes]
    if resource.schema is not None:
        unknown += _complete_custom(new, resource.schema, causes, current)
    else:
        wrong = resource_shape_errors(kind, new)
        mistyped = [cause for cause in wrong if cause.reason == "FieldValueTypeInvalid"]
        if mistyped:
            raise _undecodable(kind, mistyped)
        if wrong:
            raise invalid(kind, meta.get("name", ""), [*causes, *wrong])
        if kind.key == CRD.key:
            # Its defaults rest on names that the check demands.
            causes += check_object(kind, new)
        if not causes:
            fill_defaults(kind, new)
            causes += check_object(kind, new)
    if causes:
        raise invalid(kind, meta.get("name", ""), causes)
    return Admitted(new, unknown)


def _drop_nulls(value: Any) -> None:
    """A null in a built-in kind counts as absent. Done once here, so that nobody else has to think of it."""
    if isinstance(value, dict):
        for name in [name for name, part in value.items() if part is None]:
            del value[name]
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _drop_nulls(part)


def _complete_custom(new: Object, schema: dict[str, Any], causes: list[Cause], current: Object | None) -> list[str]:
    """The same for a custom resource, whose metadata is not the schema's business. Returns the unknown fields."""
    content = {name: value for name, value in new.items() if name not in ("apiVersion", "kind", "metadata")}
    inner = {
        **schema,
        "properties": {
            name: part
            for name, part in (schema.get("properties") or {}).items()
            if name not in ("apiVersion", "kind", "metadata")
        },
        "required": [name for name in schema.get("required") or [] if name not in ("apiVersion", "kind", "metadata")],
    }
    unknown = list(prune(content, inner))
    fill(content, inner)
    causes += validate(content, inner)
    if not causes:
        causes += broken_rules(content, inner, ABSENT if current is None else current)
    for name in [name for name in new if name not in ("apiVersion", "kind", "metadata")]:
        del new[name]
    new.update(content)
    return unknown


def _keep_addresses(spec: dict[str, Any], old: dict[str, Any]) -> None:
    """A Service keeps the addresses that it was given, also when an update does not repeat them."""
    if (spec.get("type") or "ClusterIP") != "ExternalName":
        for name in ("clusterIP", "clusterIPs"):
            if not spec.get(name) and old.get(name):
                spec[name] = clone(old[name])


class Undecodable(ApiError):
    """A value has the wrong type: a bad request, unless it came by a patch, which is then unprocessable."""


def _undecodable(kind: Kind, causes: list[Cause]) -> ApiError:
    what = "; ".join(f"{cause.field}: {cause.message}" for cause in causes)
    message = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {what}'
    return Undecodable(400, "BadRequest", message)


def _first_status(kind: Kind, body: Object) -> dict[str, Any] | None:
    if kind.key == NAMESPACE.key:
        return {"phase": "Active"}
    if kind.key == POD.key:
        return {"phase": "Pending", "qosClass": _qos(body["spec"])}
    if kind.key == SERVICE.key:
        return {"loadBalancer": {}}
    return {} if kind.key in (DEPLOYMENT.key, JOB.key) else None


def _qos(spec: dict[str, Any]) -> str:
    resources = [container.get("resources") or {} for container in spec["containers"]]
    if not any(part.get("requests") or part.get("limits") for part in resources):
        return "BestEffort"
    guaranteed = all(
        set(part.get("limits") or {}) >= {"cpu", "memory"} and part.get("requests") == part["limits"]
        for part in resources
    )
    return "Guaranteed" if guaranteed else "Burstable"
