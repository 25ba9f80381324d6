"""Structural schemas of custom resources: prune, fill in defaults, validate, in this order, as the real server does.

The schema of a CRD is JSON Schema cut down to what is decidable field by field. Of its CEL rules
(x-kubernetes-validations) rules.py knows some.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from watcher.demo.cluster.errors import Cause, bad_type, bad_value, required, unsupported
from watcher.demo.cluster.patch import same
from watcher.demo.cluster.store import clone
from watcher.demo.cluster.times import parse_time

Schema = dict[str, Any]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_EMBEDDED = ("apiVersion", "kind", "metadata")


def prune(value: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """Take unknown fields out of `value` in place; yields the path of each."""
    if isinstance(value, list):
        for at, item in enumerate(value):
            yield from prune(item, schema.get("items") or {}, f"{path}[{at}]")
    if not isinstance(value, dict):
        return
    known: dict[str, Schema] = schema.get("properties") or {}
    rest = schema.get("additionalProperties")
    keep = schema.get("x-kubernetes-preserve-unknown-fields") or rest is True
    for name in list(value):
        inner = f"{path}.{name}" if path else name
        if name in known:
            yield from prune(value[name], known[name], inner)
        elif isinstance(rest, dict):
            yield from prune(value[name], rest, inner)
        elif not keep and not (schema.get("x-kubernetes-embedded-resource") and name in _EMBEDDED):
            del value[name]
            yield inner


def fill(value: Any, schema: Schema) -> None:
    """Fill in defaults in place; a null where null is not allowed counts as absent."""
    if isinstance(value, list):
        for item in value:
            fill(item, schema.get("items") or {})
    if not isinstance(value, dict):
        return
    for name, inner in (schema.get("properties") or {}).items():
        if name in value and value[name] is None and not inner.get("nullable"):
            del value[name]
        if name not in value and "default" in inner:
            value[name] = clone(inner["default"])
        if name in value:
            fill(value[name], inner)
    rest = schema.get("additionalProperties")
    if isinstance(rest, dict):
        for name in set(value) - set(schema.get("properties") or {}):
            fill(value[name], rest)


_DAY_AND_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
_GO_TIMES = {
    "go-time": _DAY_AND_TIME + r"(\.\d+)?(Z|[+-]\d\d:\d\d)",
    "go-micro-time": _DAY_AND_TIME + r"\.\d{6}(Z|[+-]\d\d:\d\d)",
}
"""Times of built-in kinds, which the real server reads with Go's parser: one kind of them always has microseconds."""


def validate(value: Any, schema: Schema, path: str = "") -> Iterator[Cause]:
    """Everything that is wrong with `value`, with the words of the real server."""
    if value is None and schema.get("nullable"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, (int, str)) or isinstance(value, bool):
            yield bad_type(path, _type_name(value), f"{path} in body must be of type integer,string")
            return
    elif not _is(value, schema.get("type")):
        yield bad_type(
            path, _type_name(value), f'{path} in body must be of type {schema["type"]}: "{_type_name(value)}"'
        )
        return
    if "enum" in schema and not any(same(value, allowed) for allowed in schema["enum"]):
        yield unsupported(path, value, schema["enum"])
    if isinstance(value, str):
        yield from _string(value, schema, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _number(value, schema, path)
    elif isinstance(value, list):
        yield from _list(value, schema, path)
    elif isinstance(value, dict):
        yield from _map(value, schema, path)
    yield from _combined(value, schema, path)


def _is(value: Any, type_: str | None) -> bool:
    if not type_:
        return True
    if isinstance(value, bool):
        return type_ == "boolean"
    if type_ == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[type_])


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    for name in ("boolean", "integer", "number", "string", "array", "object"):
        if isinstance(value, _TYPES[name]):
            return name
    return type(value).__name__


def _string(value: str, schema: Schema, path: str) -> Iterator[Cause]:
    if len(value) > schema.get("maxLength", len(value)):
        limit = schema["maxLength"]
        yield Cause(path, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")
    if len(value) < schema.get("minLength", 0):
        yield bad_value(path, value, f"{path} in body should be at least {schema['minLength']} chars long")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield bad_value(path, value, f"{path} in body should match '{schema['pattern']}'")
    if schema.get("format") in _GO_TIMES and not re.fullmatch(_GO_TIMES[schema["format"]], value):
        yield bad_type(path, value, f'parsing time "{value}": cannot parse it')
    if schema.get("format") in ("date-time", "datetime") and parse_time(value) is None:
        yield bad_value(path, value, f'{path} in body must be of type date-time: "{value}"')


def _number(value: float, schema: Schema, path: str) -> Iterator[Cause]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (value == low and schema.get("exclusiveMinimum"))):
        word = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield bad_value(path, value, f"{path} in body should be {word} {low}")
    if high is not None and (value > high or (value == high and schema.get("exclusiveMaximum"))):
        word = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield bad_value(path, value, f"{path} in body should be {word} {high}")
    multiple = schema.get("multipleOf")
    if multiple and value % multiple:
        yield bad_value(path, value, f"{path} in body should be a multiple of {multiple}")


def _list(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    if len(value) < schema.get("minItems", 0):
        yield bad_value(path, len(value), f"{path} in body should have at least {schema['minItems']} items")
    if len(value) > schema.get("maxItems", len(value)):
        yield Cause(path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {schema['maxItems']} items")
    for at, item in enumerate(value):
        yield from validate(item, schema.get("items") or {}, f"{path}[{at}]")
        if at != _first(value, item, schema):
            yield Cause(f"{path}[{at}]", "FieldValueDuplicate", f"Duplicate value: {item!r}")


def _first(items: list[Any], wanted: Any, schema: Schema) -> int:
    """The first position of an item that counts as the same one; its own position when duplicates are allowed."""
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or []
    for at, item in enumerate(items):
        if item is wanted:
            return at
        if kind == "set" and same(item, wanted):
            return at
        if kind == "map" and isinstance(item, dict) and all(same(item.get(key), wanted.get(key)) for key in keys):
            return at
    return 0


def _map(value: dict[str, Any], schema: Schema, path: str) -> Iterator[Cause]:
    for name in schema.get("required") or []:
        if name not in value:
            yield required(f"{path}.{name}" if path else name)
    if len(value) < schema.get("minProperties", 0):
        yield bad_value(path, len(value), f"{path} in body should have at least {schema['minProperties']} properties")
    if len(value) > schema.get("maxProperties", len(value)):
        most = schema["maxProperties"]
        yield Cause(path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {most} items")
    known, rest = schema.get("properties") or {}, schema.get("additionalProperties")
    for name, item in value.items():
        inner = known.get(name, rest)
        if isinstance(inner, dict):
            yield from validate(item, inner, f"{path}.{name}" if path else name)


def _combined(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    for part in schema.get("allOf") or []:
        yield from validate(value, part, path)
    for word, wanted in (("anyOf", "at least"), ("oneOf", "exactly")):
        parts = schema.get(word)
        # Numbers or strings: the form that generators write beside x-kubernetes-int-or-string.
        if not parts or schema.get("x-kubernetes-int-or-string"):
            continue
        fitting = sum(1 for part in parts if not any(validate(value, part, path)))
        if fitting == 0 or (word == "oneOf" and fitting > 1):
            yield bad_value(path, value, f"{path} in body must validate {wanted} one schema ({word})")
    if "not" in schema and not any(validate(value, schema["not"], path)):
        yield bad_value(path, value, f"{path} in body must not validate the schema (not)")
