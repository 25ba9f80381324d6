"""As much OpenAPI as kubectl asks for: which resources can be patched, and with which query parameters.

kubectl reads these documents before `apply`: a new one looks in version 3 for the `fieldValidation` and `dryRun`
parameters and then leaves validation to the server; an old one downloads version 2 as protobuf, looks for `dryRun` in
it and validates by it, skipping kinds whose fields it does not describe. So the documents describe the parameters of
requests, and no fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from watcher.adapters.protobuf import field
from watcher.demo.cluster.crd import Resource
from watcher.demo.cluster.discovery import VERSION

PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
PROTOBUF_V2_ANSWER = PROTOBUF_V2.replace("@", ".")
"""The type of the answer: a media type with an @ in it is one that clients ask for and cannot parse."""
_INFO = {"title": "Kubernetes", "version": VERSION["gitVersion"]}
_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "force", "pretty")


def index_v3(resources: Iterable[Resource]) -> dict[str, Any]:
    """The list of version 3 documents, one for each group and version."""
    paths = dict.fromkeys(_prefix(resource) for resource in resources)
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash=1"} for path in paths}}


def document_v3(resources: Iterable[Resource], path: str) -> dict[str, Any] | None:
    members = [resource for resource in resources if _prefix(resource) == path]
    if not members:
        return None
    paths: dict[str, Any] = {}
    for resource in members:
        paths[_object_path(resource)] = {"patch": _operation(resource), "put": _operation(resource)}
    schemas = {
        f"{resource.kind.group or 'core'}.{resource.kind.version}.{resource.kind.kind}": {
            "type": "object",
            "x-kubernetes-group-version-kind": [_gvk(resource)],
        }
        for resource in members
    }
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": schemas}}


def document_v2(resources: Iterable[Resource]) -> dict[str, Any]:
    members = tuple(resources)
    parameters = [{"name": name, "in": "query", "type": "string", "uniqueItems": True} for name in _PARAMETERS]
    paths = {
        _object_path(resource): {"patch": {**_operation(resource), "parameters": parameters}} for resource in members
    }
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": {}}


def protobuf_v2(resources: Iterable[Resource]) -> bytes:
    """The same as the protobuf message openapi.v2.Document, whose field numbers these are."""
    info = field(1, _INFO["title"]) + field(2, _INFO["version"])
    # A query parameter is a parameter that is not a body and not in a header, each of which is a message around it.
    query = [field(3, field(2, "query") + field(4, name) + field(6, "string")) for name in _PARAMETERS]
    parameters = b"".join(field(8, field(1, field(2, parameter))) for parameter in query)
    paths = b""
    for resource in resources:
        gvk = json.dumps(_gvk(resource))
        extension = field(13, field(1, "x-kubernetes-group-version-kind") + field(2, field(2, gvk)))
        item = field(8, parameters + extension)
        paths += field(2, field(1, _object_path(resource)) + field(2, item))
    return field(1, "2.0") + field(2, info) + field(8, paths)


def _prefix(resource: Resource) -> str:
    kind = resource.kind
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


def _object_path(resource: Resource) -> str:
    middle = "/namespaces/{namespace}" if resource.kind.namespaced else ""
    return f"/{_prefix(resource)}{middle}/{resource.kind.plural}/{{name}}"


def _operation(resource: Resource) -> dict[str, Any]:
    return {
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in _PARAMETERS
        ],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-group-version-kind": _gvk(resource),
    }


def _gvk(resource: Resource) -> dict[str, str]:
    kind = resource.kind
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}
