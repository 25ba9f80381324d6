"""Strategic merge patch, and the merge behind a simple server-side apply.

Kubernetes merges some lists by a key of their items (containers by name) and replaces all others. Which lists those
are is written in the Go types of the real server; here it is the table below, by the path that leads to the list.
"""

from __future__ import annotations

from typing import Any

from watcher.demo.cluster.errors import ApiError, bad_request
from watcher.demo.cluster.patch import same
from watcher.demo.cluster.store import clone

PRIMITIVE = ""
"""The "key" of a list whose items are plain values and are merged as a set."""

_BY_NAME: dict[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "conditions": "type",
    "addresses": "type",
    "podIPs": "ip",
    "hostIPs": "ip",
    "ownerReferences": "uid",
    "finalizers": PRIMITIVE,
    "podCIDRs": PRIMITIVE,
    "secrets": "name",
}
_PORTS: dict[str, str] = {"containers": "containerPort", "initContainers": "containerPort", "spec": "port"}
"""The merge key of a list `ports`, by the field that holds it: EndpointSlice.ports has none and is replaced."""


def merge_key(path: tuple[str, ...]) -> str | None:
    """The merge key of the list at a path of field names (list positions left out), None if it is replaced whole."""
    if path[-1] == "ports":
        return _PORTS.get(path[-2]) if len(path) > 1 else None
    return _BY_NAME.get(path[-1])


def strategic_merge(target: Any, patch: Any) -> Any:
    """Apply a strategic merge patch with its directives ($patch, $retainKeys, $setElementOrder, ...)."""
    if not isinstance(patch, dict):
        raise bad_request("a strategic merge patch is an object")
    return _merge_maps(clone(target), patch, ())


def apply_merge(target: Any, applied: Any) -> Any:
    """Lay an applied configuration over an object: as a strategic merge, in which nothing is a directive."""
    return _lay(clone(target), applied, ())


def _lay(current: Any, applied: Any, path: tuple[str, ...]) -> Any:
    if isinstance(current, dict) and isinstance(applied, dict):
        for name, value in applied.items():
            current[name] = _lay(current.get(name), value, (*path, name))
        return current
    key = merge_key(path) if path else None
    if key is None or not isinstance(current, list) or not isinstance(applied, list):
        return clone(applied)
    if key == PRIMITIVE:
        return current + [item for item in applied if item not in current]
    for item in applied:
        at = _position(current, key, item)
        if at is None:
            current.append(clone(item))
        else:
            current[at] = _lay(current[at], item, path)
    return current


def _merge_maps(current: dict[str, Any], patch: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    directive = patch.get("$patch")
    if directive == "replace":
        return {name: clone(value) for name, value in patch.items() if name != "$patch"}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise _failed(f"unknown patch type: {directive} in map: {patch}")
    if "$retainKeys" in patch:
        if any(name not in patch["$retainKeys"] for name in patch if not name.startswith("$")):
            raise bad_request("invalid patch format of retainKeys")
        current = {name: value for name, value in current.items() if name in patch["$retainKeys"]}
    for name, value in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            current[field] = [item for item in current.get(field) or [] if item not in value]
        elif not name.startswith("$"):
            _merge_field(current, name, value, path, patch.get(f"$setElementOrder/{name}"))
    for name, order in patch.items():
        field = name.partition("/")[2]
        if name.startswith("$setElementOrder/") and field not in patch and isinstance(current.get(field), list):
            current[field] = _ordered(current[field], order, merge_key((*path, field)))
    return current


def _merge_field(current: dict[str, Any], name: str, value: Any, path: tuple[str, ...], order: Any) -> None:
    if value is None or (isinstance(value, dict) and value.get("$patch") == "delete"):
        current.pop(name, None)
    elif isinstance(value, dict) and "$patch" in value and name not in current:
        return  # A directive for what is not there does nothing, and takes the rest of its map along.
    elif isinstance(value, dict):
        current[name] = _merge_maps(_mapping(current.get(name)), value, (*path, name))
    elif isinstance(value, list):
        current[name] = _merge_lists(current.get(name), value, (*path, name), order)
    else:
        current[name] = value


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _merge_lists(current: Any, patch: list[Any], path: tuple[str, ...], order: list[Any] | None) -> list[Any]:
    key = merge_key(path)
    if key is None or any(_directive(item) == "replace" for item in patch):
        return [clone(item) for item in patch if _directive(item) is None]
    result: list[Any] = current if isinstance(current, list) else []
    if key == PRIMITIVE:
        return _ordered(result + [item for item in patch if item not in result], order, key)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise _failed(f"map: {item} does not contain declared merge key: {key}")
        at = _position(result, key, item)
        if _directive(item) == "delete":
            result = [old for old in result if not same(old.get(key), item[key])]
        elif at is None:
            result.append(_merge_maps({}, item, path))
        else:
            result[at] = _merge_maps(result[at], item, path)
    return _ordered(result, order, key)


def _failed(message: str) -> ApiError:
    """What a strategic patch gets that cannot be carried out: the real server answers 500, without a reason."""
    return ApiError(500, "", message)


def _directive(item: Any) -> str | None:
    return item.get("$patch") if isinstance(item, dict) else None


def _position(items: list[Any], key: str, wanted: Any) -> int | None:
    for at, item in enumerate(items):
        if isinstance(item, dict) and isinstance(wanted, dict) and same(item.get(key), wanted.get(key)):
            return at
    return None


def _ordered(items: list[Any], order: list[Any] | None, key: str | None) -> list[Any]:
    """Items named in `order` in that order; the others keep their place after the item that they followed."""
    if not order or key is None:
        return items

    def rank(item: Any) -> int | None:
        for at, wanted in enumerate(order):
            if same(item, wanted) if key == PRIMITIVE else same(item.get(key), wanted.get(key)):
                return at
        return None

    ranked: list[tuple[int, int]] = []
    last = -1
    for item in items:
        known = rank(item)
        last = last if known is None else known
        ranked.append((last, 0 if known is not None else 1))
    return [items[at] for at in sorted(range(len(items)), key=lambda at: ranked[at])]
