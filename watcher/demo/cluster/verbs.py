"""What the API does with objects: get, list, create, update, patch, delete, and the subresources status and scale.

No function here awaits: between reading an object and writing it back nothing else runs, so a patch without a
resourceVersion can never lose a race. Every refusal is an ApiError or a StoreError.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from watcher.demo.cluster.admission import Admitted, Undecodable, admit_change, admit_new
from watcher.demo.cluster.crd import Registry, Resource
from watcher.demo.cluster.deletion import DeleteOptions, delete_object
from watcher.demo.cluster.errors import (
    ApiError,
    bad_request,
    bad_value,
    conflict,
    details_of,
    from_store,
    invalid,
    no_such_path,
    not_found,
    patch_misfit,
    unsupported_media_type,
)
from watcher.demo.cluster.patch import json_patch, merge_patch
from watcher.demo.cluster.resources import CRD, NAMESPACE, SERVICE, Kind, resource_name
from watcher.demo.cluster.scale import apply_scale, scale_of
from watcher.demo.cluster.selectors import Selection, field_selector, label_selector
from watcher.demo.cluster.store import Object, Store, StoreError
from watcher.demo.cluster.strategic import apply_merge, strategic_merge

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about. `namespace` is None for all namespaces, empty for cluster scope."""

    resource: Resource
    namespace: str | None
    name: str = ""
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class WriteOptions:
    dry_run: bool = False
    field_validation: str = "Warn"


@dataclass(frozen=True, slots=True)
class Written:
    """The answer to a write: an HTTP code, an object, and warnings for the person at the other end."""

    code: int
    object: Object
    warnings: list[str] = field(default_factory=list)


class Verbs:
    """The verbs over one store. `cluster_ip` gives the next address for a Service that asks for none."""

    def __init__(self, store: Store, registry: Registry, cluster_ip: Callable[[], str] | None) -> None:
        self.store = store
        self.registry = registry
        self._cluster_ip = cluster_ip

    # -- reading ------------------------------------------------------------------------------------------------

    def get(self, target: Target, version: str = "") -> Object:
        """The object as it is now, which is never older than the version asked for."""
        check_version(version)
        found = self.store.get(target.resource.kind, target.namespace or "", target.name)
        return scale_of(found) if target.subresource == "scale" else found

    def selection(self, target: Target, query: Mapping[str, str]) -> Selection:
        labels = label_selector(query.get("labelSelector", ""))
        fields = field_selector(target.resource.kind, query.get("fieldSelector", ""), target.resource.selectable)
        if target.name:
            fields = (*fields, *field_selector(target.resource.kind, f"metadata.name={target.name}"))
        return Selection(target.namespace, labels, fields)

    def select(self, target: Target, query: Mapping[str, str]) -> tuple[list[Object], dict[str, Any]]:
        """The selected objects and the metadata of the list: its version and, in pages, where to go on."""
        selection = self.selection(target, query)
        try:
            wanted = parse_version(query.get("resourceVersion", ""))
        except ValueError as error:
            raise bad_request(f"invalid resource version: {error}") from None
        if wanted > self.store.version:
            raise _too_large(wanted, self.store.version)
        found = self.store.objects(target.resource.kind, target.namespace, selection.matches)
        version = str(self.store.version)
        if query.get("continue"):
            version, after = _read_token(query["continue"])
            found = [obj for obj in found if _place(obj) > after]
        metadata: dict[str, Any] = {"resourceVersion": version}
        limit = whole(query.get("limit", ""))
        if limit and len(found) > limit:
            if not selection.narrows:
                metadata["remainingItemCount"] = len(found) - limit
            found = found[:limit]
            metadata["continue"] = _write_token(version, _place(found[-1]))
        return found, metadata

    # -- writing ------------------------------------------------------------------------------------------------

    def create(self, target: Target, body: Any, options: WriteOptions) -> Written:
        kind, namespace = target.resource.kind, target.namespace or ""
        if kind.namespaced:
            self._check_namespace(kind, namespace)
        admitted = admit_new(target.resource, body, namespace)
        warnings = _unknown_fields(kind, admitted, options)
        if kind.key == SERVICE.key:
            self._give_address(admitted.body["spec"])
        try:
            created = self.store.create(kind, admitted.body, dry_run=options.dry_run)
        except StoreError as error:
            raise from_store(error, kind, admitted.body["metadata"]["name"]) from error
        if kind.key == CRD.key and not options.dry_run:
            self.registry.refresh()
        return Written(201, created, warnings)

    def update(self, target: Target, body: Any, options: WriteOptions) -> Written:
        current = self.store.get(target.resource.kind, target.namespace or "", target.name)
        return self._replace(target, body, current, options)

    def patch(self, target: Target, media_type: str, patch: Any, options: WriteOptions) -> Written:
        kind = target.resource.kind
        current = self.store.find(kind, target.namespace or "", target.name)
        if current is None:
            if media_type != APPLY_PATCH or target.subresource:
                raise not_found(kind, target.name)
            return self._create_by_apply(target, patch, options)
        base = scale_of(current) if target.subresource == "scale" else current
        base = {**base, "apiVersion": base["apiVersion"] if target.subresource == "scale" else kind.api_version}
        patched = apply_patch(target.resource, media_type, patch, base)
        if isinstance(patched, dict) and isinstance(patched.get("metadata"), dict):
            name = patched["metadata"].get("name")
            if name != target.name:
                raise invalid(kind, target.name, [bad_value("metadata.name", name, "field is immutable")])
            # Only a version that the patch itself brought makes the patch conditional.
            patched["metadata"].setdefault("resourceVersion", current["metadata"]["resourceVersion"])
        try:
            return self._replace(target, patched, current, options)
        except Undecodable as error:
            raise patch_misfit(patch, error.message) from error

    def delete(self, target: Target, options: DeleteOptions) -> Object:
        """The object if it is still going, else a Status that names it."""
        kind = target.resource.kind
        current = self.store.get(kind, target.namespace or "", target.name)
        answer = delete_object(self.store, kind, current, options)
        self.registry.refresh()
        return answer

    def delete_collection(self, target: Target, query: Mapping[str, str], options: DeleteOptions) -> list[Object]:
        """Delete all that is selected; what was selected comes back."""
        found, _ = self.select(target, query)
        for obj in found:
            delete_object(self.store, target.resource.kind, obj, options)
        self.registry.refresh()
        return found

    # -- inside -------------------------------------------------------------------------------------------------

    def _replace(self, target: Target, body: Any, current: Object, options: WriteOptions) -> Written:
        kind = target.resource.kind
        if target.subresource == "scale":
            changed = apply_scale(kind, body, current)
            return Written(200, scale_of(self.store.replace(kind, changed, dry_run=options.dry_run)))
        admitted = admit_change(target.resource, body, current, subresource=target.subresource)
        warnings = _unknown_fields(kind, admitted, options)
        written = self.store.replace(kind, admitted.body, subresource=target.subresource, dry_run=options.dry_run)
        self.registry.refresh()
        return Written(200, written, warnings)

    def _create_by_apply(self, target: Target, body: Any, options: WriteOptions) -> Written:
        if isinstance(body, dict) and isinstance(body.get("metadata"), dict):
            body["metadata"].setdefault("name", target.name)
            if body["metadata"].get("resourceVersion") or body["metadata"].get("uid"):
                raise conflict(target.resource.kind, target.name, "the object to apply to does not exist")
        return self.create(target, body, options)

    def _check_namespace(self, kind: Kind, namespace: str) -> None:
        found = self.store.find(NAMESPACE, "", namespace)
        if found is None:
            raise not_found(NAMESPACE, namespace)
        if found["metadata"].get("deletionTimestamp"):
            message = (
                f"{resource_name(kind)} is forbidden: unable to create new content in namespace {namespace} because it "
                "is being terminated"
            )
            cause = {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated"}
            details = {**details_of(kind), "causes": [{**cause, "field": "metadata.namespace"}]}
            raise ApiError(403, "Forbidden", message, details)

    def _give_address(self, spec: dict[str, Any]) -> None:
        if spec["type"] != "ExternalName" and not spec.get("clusterIP") and self._cluster_ip is not None:
            spec["clusterIP"] = self._cluster_ip()
        if spec.get("clusterIP"):
            spec["clusterIPs"] = [spec["clusterIP"]]


def apply_patch(resource: Resource, media_type: str, patch: Any, current: Object) -> Any:
    """The object that a patch of this media type makes of `current`."""
    if media_type == JSON_PATCH:
        return json_patch(current, patch)
    if media_type not in (MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH) or (
        media_type == STRATEGIC_PATCH and resource.custom
    ):
        accepted = [JSON_PATCH, MERGE_PATCH, *([] if resource.custom else [STRATEGIC_PATCH]), APPLY_PATCH]
        known = ", ".join(accepted)
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {known}"
        )
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: it is not an object")
    if media_type == MERGE_PATCH:
        return merge_patch(current, patch)
    if media_type == STRATEGIC_PATCH:
        return strategic_merge(current, patch)
    return merge_patch(current, patch) if resource.custom else apply_merge(current, patch)


def parse_version(text: str) -> int:
    """A resourceVersion of a request; 0 when none is given. Raises a ValueError in the words of the real server."""
    if text and not text.isdigit():
        raise ValueError(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text or 0)


def check_version(text: str) -> int:
    """The same for reading or watching one: what is no number gets a 500 there, as from the real server."""
    try:
        return parse_version(text)
    except ValueError as error:
        raise ApiError(500, "", str(error)) from None


def whole(text: str) -> int:
    """A whole number of a request; 0 when none is given."""
    if text and not text.isdigit():
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text or 0)


def check_subresource(target: Target) -> None:
    """404 for a subresource that the kind does not have."""
    kind, sub = target.resource.kind, target.subresource
    has = {"": True, "status": kind.status_subresource, "scale": kind.scale_subresource}
    if not has.get(sub, False):
        raise no_such_path()


def _unknown_fields(kind: Kind, admitted: Admitted, options: WriteOptions) -> list[str]:
    found = [f'unknown field "{path}"' for path in admitted.unknown]
    if found and options.field_validation == "Strict":
        raise bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: strict decoding error: '
            + ", ".join(found)
        )
    return [] if options.field_validation == "Ignore" else found


def _too_large(wanted: int, current: int) -> ApiError:
    message = f"Too large resource version: {wanted}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return ApiError(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})


def _place(obj: Object) -> tuple[str, str]:
    return (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def _write_token(version: str, place: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([version, *place]).encode()).decode()


def _read_token(token: str) -> tuple[str, tuple[str, str]]:
    try:
        version, namespace, name = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, binascii.Error) as error:
        raise bad_request("continue key is not valid") from error
    return str(version), (str(namespace), str(name))
