"""Which resources are served right now: the built-in ones, and those that CustomResourceDefinitions declare.

The `Registry` is the only place that turns a CRD into something served. What always holds: after `refresh`, the served
custom resources are exactly the established CRDs of the store, and a CRD that went takes its objects with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from watcher.demo.cluster import jsonpath
from watcher.demo.cluster.errors import Cause, bad_value, required, unsupported
from watcher.demo.cluster.resources import BUILT_IN, CRD, Kind
from watcher.demo.cluster.schema import Schema
from watcher.demo.cluster.store import Object, Store

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that keeps a CRD until the last of its objects is gone."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource at one version. The last four fields are for custom resources only."""

    kind: Kind
    singular: str
    list_kind: str
    schema: Schema | None = None
    printer_columns: tuple[dict[str, Any], ...] | None = None
    selectable: tuple[str, ...] = ()
    storage: bool = True

    @property
    def custom(self) -> bool:
        return self.schema is not None


class Registry:
    """All served resources by (group, version, plural)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._built_in: dict[tuple[str, str, str], Resource] = {}
        for kind in BUILT_IN:
            store.register(kind)
            resource = Resource(kind, kind.kind.lower(), f"{kind.kind}List")
            self._built_in[kind.group, kind.version, kind.plural] = resource
        self._custom: dict[tuple[str, str, str], Resource] = {}
        self._ending: set[str] = set()
        self._seen = -1
        self.refresh()

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        self.refresh()
        where = (group, version, plural)
        return self._built_in.get(where) or self._custom.get(where)

    def all(self) -> Iterable[Resource]:
        self.refresh()
        return (*self._built_in.values(), *self._custom.values())

    def refresh(self) -> None:
        """Catch up with the CRDs of the store. Cheap when none changed."""
        for crd_name in tuple(self._ending):
            self._clean_up(crd_name)
        while self._seen != self._store.latest(CRD):
            self._seen = self._store.latest(CRD)
            self._custom = {}
            self._ending = set()
            served: set[tuple[str, str]] = set()
            for crd in self._store.objects(CRD):
                served.add((crd["spec"]["group"], crd["spec"]["names"]["plural"]))
                self._serve(crd)
                if crd["metadata"].get("deletionTimestamp"):
                    self._ending.add(crd["metadata"]["name"])
                    self._clean_up(crd["metadata"]["name"])
            built_in = {kind.key for kind in BUILT_IN}
            for kind in self._store.kinds:
                if kind.key not in built_in | served:
                    self._drop(kind)

    def _serve(self, crd: Object) -> None:
        kinds = list(resources_of(crd))
        for resource in kinds:
            self._custom[resource.kind.group, resource.kind.version, resource.kind.plural] = resource
        stored = next(resource.kind for resource in kinds if resource.storage)
        self._store.register(stored)
        self._store.update(CRD, "", crd["metadata"]["name"], self._establish)

    def _establish(self, crd: Object) -> None:
        names, status = crd["spec"]["names"], crd.setdefault("status", {})
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
        crd["spec"].setdefault("conversion", {"strategy": "None"})
        finalizers = crd["metadata"].setdefault("finalizers", [])
        if CLEANUP not in finalizers and not crd["metadata"].get("deletionTimestamp"):
            finalizers.append(CLEANUP)
        known = {condition["type"] for condition in status.get("conditions") or []}
        for type_, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ):
            if type_ not in known:
                status.setdefault("conditions", []).append(
                    {
                        "type": type_,
                        "status": "True",
                        "reason": reason,
                        "message": message,
                        "lastTransitionTime": self._store.timestamp(),
                    }
                )
        status["acceptedNames"] = dict(names)
        stored = status.setdefault("storedVersions", [])
        stored.extend(v["name"] for v in crd["spec"]["versions"] if v["storage"] and v["name"] not in stored)

    def _clean_up(self, name: str) -> None:
        """Delete the objects of a CRD that is going, and the CRD once none is left."""
        crd = self._store.find(CRD, "", name)
        if crd is None:
            return
        kind = next(iter(resources_of(crd))).kind
        for obj in self._store.objects(kind):
            self._store.delete(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        if self._store.objects(kind):
            return

        def release(body: Object) -> None:
            body["metadata"]["finalizers"] = [f for f in body["metadata"].get("finalizers") or [] if f != CLEANUP]

        self._store.update(CRD, "", name, release)

    def _drop(self, kind: Kind) -> None:
        for obj in self._store.objects(kind):
            self._store.delete(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        self._store.unregister(kind)


def resources_of(crd: Object) -> Iterator[Resource]:
    """The served resources of a valid CRD, one for each version."""
    spec = crd["spec"]
    names = spec["names"]
    for version in spec["versions"]:
        if not version["served"] and not version["storage"]:
            continue
        kind = Kind(
            spec["group"],
            version["name"],
            names["plural"],
            names["kind"],
            namespaced=spec["scope"] == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            status_subresource="status" in (version.get("subresources") or {}),
            categories=tuple(names.get("categories") or ()),
        )
        yield Resource(
            kind,
            names.get("singular") or names["kind"].lower(),
            names.get("listKind") or names["kind"] + "List",
            version["schema"]["openAPIV3Schema"],
            tuple(version.get("additionalPrinterColumns") or ()),
            tuple(field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or ()),
            bool(version["storage"]),
        )


def check_crd(crd: Object) -> Iterator[Cause]:
    """What is wrong with a CustomResourceDefinition: everything that `resources_of` relies on is checked here."""
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    missing = [f"spec.{name}" for name in ("group", "scope", "versions") if not spec.get(name)]
    missing += [f"spec.names.{name}" for name in ("plural", "kind") if not names.get(name)]
    if missing:
        yield from map(required, missing)
        return
    if spec["scope"] not in ("Namespaced", "Cluster"):
        yield unsupported("spec.scope", spec["scope"], ["Cluster", "Namespaced"])
    wanted = f"{names['plural']}.{spec['group']}"
    if crd["metadata"].get("name") != wanted:
        message = 'must be spec.names.plural+"."+spec.group'
        yield bad_value("metadata.name", crd["metadata"].get("name"), message)
    if "." not in spec["group"]:
        yield bad_value("spec.group", spec["group"], "should be a domain with at least one dot")
    if sum(1 for version in spec["versions"] if version.get("storage")) != 1:
        yield bad_value("spec.versions", "", "must have exactly one version marked as storage version")
    for at, version in enumerate(spec["versions"]):
        yield from _check_version(version, f"spec.versions[{at}]")


def _check_version(version: dict[str, Any], path: str) -> Iterator[Cause]:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", str(version.get("name", ""))):
        yield bad_value(f"{path}.name", version.get("name", ""), "must be a DNS-1035 label")
    for flag in ("served", "storage"):
        if not isinstance(version.get(flag), bool):
            yield required(f"{path}.{flag}")
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if not isinstance(schema, dict):
        yield required(f"{path}.schema.openAPIV3Schema", "schemas are required")
        return
    if schema.get("type") != "object":
        yield bad_value(f"{path}.schema.openAPIV3Schema.type", schema.get("type", ""), "must be object at the root")
    yield from _check_schema(schema, f"{path}.schema.openAPIV3Schema")
    for at, column in enumerate(version.get("additionalPrinterColumns") or []):
        where = f"{path}.additionalPrinterColumns[{at}]"
        yield from (required(f"{where}.{name}") for name in ("name", "type", "jsonPath") if not column.get(name))
        if column.get("jsonPath") and not jsonpath.valid(column["jsonPath"]):
            yield bad_value(f"{where}.jsonPath", column["jsonPath"], "is not a simple JSONPath")


_KEYWORDS: dict[str, tuple[type, ...]] = {
    "type": (str,),
    "properties": (dict,),
    "items": (dict,),
    "additionalProperties": (dict, bool),
    "required": (list,),
    "enum": (list,),
    "pattern": (str,),
    "format": (str,),
    "allOf": (list,),
    "anyOf": (list,),
    "oneOf": (list,),
    "not": (dict,),
    "x-kubernetes-list-type": (str,),
    "x-kubernetes-list-map-keys": (list,),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), (int,)),
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), (int, float)),
}
"""The type of each schema keyword that validation reads."""


def _check_schema(schema: Any, path: str) -> Iterator[Cause]:
    if not isinstance(schema, dict):
        yield bad_value(path, str(schema), "must be an object")
        return
    for word in [word for word, value in schema.items() if not isinstance(value, _KEYWORDS.get(word, (object,)))]:
        yield bad_value(f"{path}.{word}", str(schema[word]), "is of the wrong type")
        return
    yield from _check_own(schema, path)
    for name, inner in (schema.get("properties") or {}).items():
        yield from _check_schema(inner, f"{path}.properties[{name}]")
    for word in ("items", "additionalProperties"):
        if word in schema and not isinstance(schema[word], bool):
            yield from _check_schema(schema[word], f"{path}.{word}")
    for word in ("allOf", "anyOf", "oneOf"):
        if not all(isinstance(part, dict) for part in schema.get(word) or []):
            yield bad_value(f"{path}.{word}", "", "must be a list of schemas")


def _check_own(schema: Schema, path: str) -> Iterator[Cause]:
    """What is wrong with a schema apart from the schemas in it."""
    types = ("object", "array", "string", "boolean", "integer", "number")
    open_ended = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if "type" not in schema and not open_ended:
        yield required(f"{path}.type", "must not be empty for specified object fields")
    elif "type" in schema and schema["type"] not in types:
        yield unsupported(f"{path}.type", schema["type"], list(types))
    if "pattern" in schema:
        try:
            re.compile(schema["pattern"])
        except re.error as error:
            yield bad_value(f"{path}.pattern", schema["pattern"], f"must be a valid regular expression: {error}")
    if schema.get("type") == "array" and "items" not in schema:
        yield required(f"{path}.items", "must be specified")
