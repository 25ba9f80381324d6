"""GitHub's expressions, as far as the workflows here use them: paths, words, `==`, `!=`, `&&`, `||`, `always()`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

TOKEN = re.compile(r"\s*('[^']*'|==|!=|&&|\|\||[()]|[\w.-]+)")
WHOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


def value(expression: str, contexts: Mapping[str, Any]) -> Any:
    """What an expression comes to. Raises ValueError for one that says more than is known here."""
    tokens = TOKEN.findall(expression)
    if "".join(tokens) != re.sub(r"\s+(?=(?:[^']*'[^']*')*[^']*$)", "", expression):
        raise ValueError(f"cannot be read: {expression}")
    found = _or(tokens, contexts)
    if tokens:
        raise ValueError(f"more than an expression: {expression}")
    return found


def text(template: object, contexts: Mapping[str, Any]) -> str:
    """A value of a workflow with its expressions filled in, as an input gets it."""
    return WHOLE.sub(lambda found: _shown(value(found[1], contexts)), _shown(template))


def _shown(found: Any) -> str:
    return "" if found is None else str(found).lower() if isinstance(found, bool) else str(found)


def _or(tokens: list[str], contexts: Mapping[str, Any]) -> Any:
    left = _and(tokens, contexts)
    while tokens[:1] == ["||"]:
        tokens.pop(0)
        right = _and(tokens, contexts)
        left = left or right
    return left


def _and(tokens: list[str], contexts: Mapping[str, Any]) -> Any:
    left = _compared(tokens, contexts)
    while tokens[:1] == ["&&"]:
        tokens.pop(0)
        right = _compared(tokens, contexts)
        left = left and right
    return left


def _compared(tokens: list[str], contexts: Mapping[str, Any]) -> Any:
    left = _one(tokens, contexts)
    if tokens[:1] in (["=="], ["!="]):
        sign = tokens.pop(0)
        # What is not there is equal to the empty word.
        same = _shown(left) == _shown(_one(tokens, contexts))
        return same if sign == "==" else not same
    return left


def _one(tokens: list[str], contexts: Mapping[str, Any]) -> Any:
    word = tokens.pop(0)
    if word.startswith("'"):
        return word[1:-1]
    if tokens[:2] == ["(", ")"]:
        del tokens[:2]
        if word == "always":
            return True
        raise ValueError(f"the function {word} is not known here")
    found: Any = contexts
    for part in word.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
