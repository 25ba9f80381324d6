"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386), as the API server applies them.

Every function is pure: it takes JSON and returns new JSON, and never changes what it was given.
"""

from __future__ import annotations

from typing import Any

from watcher.demo.cluster.errors import bad_request, unprocessable_patch
from watcher.demo.cluster.store import clone

OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")
MAX_OPERATIONS = 10_000


class _Misfit(Exception):
    """The patch is well formed but does not apply to this object."""


def json_patch(target: Any, operations: Any) -> Any:
    """Apply a JSON Patch. A malformed one is a 400; one that does not apply, a failing `test` too, is a 422."""
    _check(operations)
    result = clone(target)
    try:
        for operation in operations:
            result = _apply(result, operation)
    except _Misfit:
        raise unprocessable_patch() from None
    return result


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON Merge Patch: null takes away, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return clone(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def same(left: Any, right: Any) -> bool:
    """JSON equality: numbers by value, and true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def _check(operations: Any) -> None:
    if not isinstance(operations, list) or not all(isinstance(operation, dict) for operation in operations):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise bad_request(f"the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}")


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    verb = operation.get("op")
    path = _pointer(operation.get("path"))
    if verb == "test":
        if not same(_get(document, path, missing=None), operation.get("value")):
            raise _Misfit
        return document
    if verb == "remove":
        _get(document, path)
        return _remove(document, path)
    if verb in ("add", "replace"):
        if "value" not in operation:
            raise _Misfit
        if verb == "replace":
            _get(document, path)
        return _put(document, path, clone(operation["value"]), insert=verb == "add")
    if verb in ("move", "copy"):
        source = _pointer(operation.get("from"))
        value = clone(_get(document, source))
        if verb == "move":
            if path[: len(source)] == source and len(path) > len(source):
                raise _Misfit
            document = _remove(document, source)
        return _put(document, path, value, insert=True)
    raise _Misfit


def _pointer(text: Any) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise _Misfit
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]


_RAISE = object()


def _get(document: Any, path: list[str], missing: Any = _RAISE) -> Any:
    for step in path:
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list) and (index := _index(document, step)) < len(document):
            document = document[index]
        elif missing is not _RAISE:
            return missing
        else:
            raise _Misfit
    return document


def _put(document: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        index = len(parent) if last == "-" and insert else _index(parent, last)
        if insert:
            parent.insert(index, value)
        else:
            parent[index] = value
    else:
        raise _Misfit
    return document


def _remove(document: Any, path: list[str]) -> Any:
    if not path:
        raise _Misfit
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        del parent[_index(parent, last)]
    else:
        del parent[last]
    return document


def _index(items: list[Any], step: str) -> int:
    """A position in a list, at most one past its end."""
    if not step.isdigit() or (len(step) > 1 and step[0] == "0") or int(step) > len(items):
        raise _Misfit
    return int(step)
