"""In which form an answer goes out: the plain object, a Table for kubectl, or metadata alone.

The request's Accept header decides. Objects leave the store in the version they were written in; here they get the
version that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from watcher.demo.cluster.crd import Resource
from watcher.demo.cluster.errors import ApiError
from watcher.demo.cluster.store import Object
from watcher.demo.cluster.tables import layout_for, partial, table

_JSON = ("application/json", "application/*", "*/*")


@dataclass(frozen=True, slots=True)
class Form:
    """How to answer. `include` says what a Table row carries of its object: Metadata, Object or None."""

    shape: Literal["plain", "table", "partial"] = "plain"
    include: str = "Metadata"


def negotiate(accept: str, include: str = "") -> Form:
    """The first form in the Accept header that this server speaks; protobuf it does not. Raises a 406."""
    for media in (accept or "*/*").split(","):
        name, *parameters = (part.strip() for part in media.split(";"))
        if name not in _JSON:
            continue
        wanted = dict(part.split("=", 1) for part in parameters if "=" in part)
        shape = wanted.get("as", "")
        if wanted.get("g") == "meta.k8s.io" and shape == "Table":
            return Form("table", include or "Metadata")
        if wanted.get("g") == "meta.k8s.io" and shape.startswith("PartialObjectMetadata"):
            return Form("partial")
        if not shape:
            return Form()
    message = "only the following media types are accepted: application/json"
    raise ApiError(406, "NotAcceptable", message, {})


def render_object(resource: Resource, obj: Object, form: Form) -> Object:
    if form.shape == "table":
        metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        return _table(resource, [obj], metadata, form)
    if form.shape == "partial":
        return partial(obj)
    return {**obj, "apiVersion": resource.kind.api_version, "kind": resource.kind.kind}


def render_list(resource: Resource, objects: Sequence[Object], metadata: dict[str, Any], form: Form) -> Object:
    if form.shape == "table":
        return _table(resource, objects, metadata, form)
    if form.shape == "partial":
        items: Iterable[Object] = map(partial, objects)
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": list(items),
        }
    kind = resource.kind
    if resource.custom:
        items = ({**obj, "apiVersion": kind.api_version, "kind": kind.kind} for obj in objects)
    else:
        # Items of a typed list do not repeat the type that the list's own kind says.
        items = ({name: part for name, part in obj.items() if name not in ("apiVersion", "kind")} for obj in objects)
    return {"kind": resource.list_kind, "apiVersion": kind.api_version, "metadata": metadata, "items": list(items)}


def render_event(resource: Resource, type_: str, obj: Object, form: Form, *, first: bool) -> dict[str, Any]:
    """One event of a watch; only the first Table of a watch names its columns."""
    if form.shape != "table":
        return {"type": type_, "object": render_object(resource, obj, form)}
    metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]}
    return {"type": type_, "object": _table(resource, [obj], metadata, form, header=first)}


def render_bookmark(resource: Resource, version: int, form: Form, *, initial: bool) -> dict[str, Any]:
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    obj = {"kind": resource.kind.kind, "apiVersion": resource.kind.api_version, "metadata": metadata}
    if form.shape == "partial":
        obj = partial(obj)
    return {"type": "BOOKMARK", "object": obj}


def _table(
    resource: Resource, objects: Sequence[Object], metadata: dict[str, Any], form: Form, *, header: bool = True
) -> Object:
    layout = layout_for(resource.kind, resource.printer_columns)
    return table(layout, objects, metadata, include=form.include, header=header)
