"""The words in which a model's errors are said to the person who wrote the file: what is wrong, and the cure.

The models' library speaks of types and validators; nobody who edits a rule file has to know them.
"""

from __future__ import annotations

import re

from pydantic_core import ErrorDetails

from watcher.core.units import near_miss, shown
from watcher.core.yamltree import Listing, Node, Scalar, Table

WANTED = {
    "string": ("a text", "write a text"),
    "model": ("a mapping", 'write keys and values, as in "key: value"'),
    "dict": ("a mapping", 'write keys and values, as in "key: value"'),
    "list": ("a list", 'write items that begin with "- ", or put them in [ ]'),
    "tuple": ("a list", 'write items that begin with "- ", or put them in [ ]'),
    "int": ("a whole number", 'write one such as "3", without quotes'),
    "float": ("a number", 'write one such as "0.5", without quotes'),
    "bool": ("true or false", "write one of them, without quotes"),
    "date": ("a date", 'write one such as "2026-12-20"'),
    "time": ("a time of day", 'write one such as "09:00"'),
    "datetime": ("a time", 'write one such as "2026-12-20T09:00:00Z"'),
}
_BOUNDS = {
    "greater_than": ("gt", "too small", "write more than {}"),
    "greater_than_equal": ("ge", "too small", "write at least {}"),
    "less_than": ("lt", "too large", "write less than {}"),
    "less_than_equal": ("le", "too large", "write at most {}"),
    "too_short": ("min_length", "too short", "write at least {}"),
    "too_long": ("max_length", "too long", "write at most {}"),
    "string_too_short": ("min_length", "too short", "write at least {} characters"),
    "string_too_long": ("max_length", "too long", "write at most {} characters"),
}


def say(error: ErrorDetails, node: Node) -> tuple[str, str]:
    """What a model says about a value, in words for the person who wrote it."""
    kind, context, thing = error["type"], error.get("ctx", {}), in_words(node)
    if kind in ("literal_error", "enum"):
        known = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        meant = near_miss(node.text, known) if isinstance(node, Scalar) else None
        message = f"{thing} is not one of {', '.join(known)}"
        return message, f'did you mean "{meant}"?' if meant else "write one of them"
    if kind == "string_pattern_mismatch":
        return f"{thing} does not look like {context['pattern']}", "correct it"
    if kind in _BOUNDS:
        key, problem, cure = _BOUNDS[kind]
        return f"{thing} is {problem}", cure.format(context[key])
    message = str(context["error"]) if "error" in context else f"{thing} cannot stand here ({error['msg']})"
    problem, _, cure = message.partition(": ")
    return problem, cure or "correct it"


def in_words(node: Node) -> str:
    """A value in words."""
    if isinstance(node, Table):
        return "a mapping"
    if isinstance(node, Listing):
        return "a list"
    assert isinstance(node, Scalar)
    if node.value is None:
        return "nothing"
    return shown(node.text) if isinstance(node.value, str) else node.text[:60]


def shape_of(error: ErrorDetails) -> str:
    """What the value should have been made of, if that is what is wrong with it."""
    kind = error["type"]
    found = kind.split("_")[0]
    return found if found in WANTED and kind not in _BOUNDS and kind != "string_pattern_mismatch" else ""


def reshaped(node: Node, shape: str) -> str:
    """What to write instead of a value of the wrong shape."""
    if isinstance(node, Scalar) and node.value is not None:
        if shape == "string":
            return f'put it in quotes: "{node.text}"'
        if shape == "int" and re.fullmatch(r"-?[0-9]{1,18}", node.text):
            return f"write {node.text}, without quotes"
    return WANTED[shape][1]
