"""The part of Kubernetes JSONPath that printer columns use: fields, positions, `[*]` and `[?(@.a=="b")]`."""

from __future__ import annotations

import re
from typing import Any

_STEP = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\\])+)
      | \[(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\]
      | \[(?P<index>-?\d+)\]
      | \[(?P<all>\*)\]
      | \[\?\(\s*@(?P<path>[^=!\s]+)\s*(?P<op>==|!=)\s*(?P<value>[^)]*?)\s*\)\]""",
    re.VERBOSE,
)


def valid(expression: str) -> bool:
    at = 0
    while at < len(expression):
        found = _STEP.match(expression, at)
        if not found:
            return False
        at = found.end()
    return bool(expression)


def find(document: Any, expression: str) -> list[Any]:
    """Every value at the path, in document order; none when the path leads nowhere or is not understood."""
    values, at = [document], 0
    while at < len(expression):
        found = _STEP.match(expression, at)
        if not found:
            return []
        values = [inner for value in values for inner in _step(value, found)]
        at = found.end()
    return values


def _step(value: Any, found: re.Match[str]) -> list[Any]:
    if found["index"] is not None:
        at = int(found["index"])
        return [value[at]] if isinstance(value, list) and -len(value) <= at < len(value) else []
    if found["all"] or found["field"] == "*":
        if isinstance(value, dict):
            return list(value.values())
        return list(value) if isinstance(value, list) else []
    if found["path"]:
        wanted = found["value"].strip("'\"")
        equal = found["op"] == "=="
        items = value if isinstance(value, list) else []
        return [item for item in items if (wanted in map(str, find(item, found["path"]))) is equal]
    field = found["quoted"] if found["quoted"] is not None else re.sub(r"\\(.)", r"\1", found["field"])
    return [value[field]] if isinstance(value, dict) and field in value else []
