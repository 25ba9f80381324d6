"""As much of JSON Schema as the published schemas use: what an editor would say of a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_KNOWN = {
    *("$schema", "$defs", "$ref", "title", "description", "default", "examples", "format"),
    *("type", "properties", "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems"),
    "minProperties",
    *("enum", "const", "anyOf", "allOf", "if", "then", "pattern", "minLength", "minimum", "maximum"),
}


def complaints(schema: dict[str, Any], value: Any, root: dict[str, Any] | None = None, at: str = "") -> Iterator[str]:
    """What is wrong with a value; nothing when it is valid."""
    root = schema if root is None else root
    assert set(schema) <= _KNOWN, f"this reader does not know {set(schema) - _KNOWN}"
    if "$ref" in schema:
        yield from complaints(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root, at)
    for part in schema.get("allOf", ()):
        yield from complaints(part, value, root, at)
    if "if" in schema and not any(complaints(schema["if"], value, root, at)):
        yield from complaints(schema["then"], value, root, at)
    if "anyOf" in schema and all(any(complaints(one, value, root, at)) for one in schema["anyOf"]):
        yield f"{at}: fits none of the alternatives"
    if "type" in schema and not _is(value, schema["type"]):
        yield f"{at}: is no {schema['type']}"
        return
    yield from _content(schema, value, root, at)


def _content(schema: dict[str, Any], value: Any, root: dict[str, Any], at: str) -> Iterator[str]:
    if "const" in schema and value != schema["const"]:
        yield f"{at}: is not {schema['const']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: is none of {schema['enum']}"
    if isinstance(value, str):
        if not re.search(schema.get("pattern", ""), value):
            yield f"{at}: {value!r} does not match {schema['pattern']}"
        if len(value) < schema.get("minLength", 0):
            yield f"{at}: is too short"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            yield f"{at}: {value} is out of bounds"
    elif isinstance(value, dict):
        yield from _object(schema, value, root, at)
    elif isinstance(value, list):
        yield from _array(schema, value, root, at)


def _is(value: Any, names: str | list[str]) -> bool:
    names = [names] if isinstance(names, str) else names
    return any(isinstance(value, _TYPES[one]) and (one == "boolean" or not isinstance(value, bool)) for one in names)


def _object(schema: dict[str, Any], value: dict[str, Any], root: dict[str, Any], at: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    if len(value) < schema.get("minProperties", 0):
        yield f"{at}: has too few keys"
    yield from (f"{at}: lacks {key}" for key in schema.get("required", ()) if key not in value)
    for key, inner in value.items():
        rest = schema.get("additionalProperties", True)
        if key in properties:
            yield from complaints(properties[key], inner, root, f"{at}.{key}")
        elif rest is False:
            yield f"{at}: does not know {key}"
        elif isinstance(rest, dict):
            yield from complaints(rest, inner, root, f"{at}.{key}")


def _array(schema: dict[str, Any], value: list[Any], root: dict[str, Any], at: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{at}: has {len(value)} items"
    first = schema.get("prefixItems", [])
    for index, inner in enumerate(value):
        one = first[index] if index < len(first) else schema.get("items", {})
        yield from complaints(one, inner, root, f"{at}[{index}]")
