"""The rules of a custom resource (x-kubernetes-validations), as far as Releases have them.

A real API server evaluates CEL. This one knows three forms of it, because a demo that let people change what a cluster
refuses would teach them wrong:

    self == oldSelf
    has(self.a) == has(oldSelf.a)
    has(self.a) || has(self.b)

What always holds: a rule of any other form, or below a list, is accepted in a CRD and never evaluated; one that speaks
of `oldSelf` counts only where a value replaces another; and what does not change is not judged anew, so that a status
can be written of an object that is older than a rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from watcher.demo.cluster.errors import Cause, bad_value, required
from watcher.demo.cluster.patch import same

_HAS = re.compile(r"has\((self|oldSelf)\.(\w+)\)")
ABSENT = object()
"""No old value: this one is new."""


def broken_rules(value: Any, schema: dict[str, Any], old: Any = ABSENT, path: str = "") -> Iterator[Cause]:
    """Every rule of the schema that a valid `value` breaks, be it new or in the place of `old`."""
    if old is not ABSENT and same(value, old):
        return
    for rule in schema.get("x-kubernetes-validations") or []:
        text = rule["rule"].strip()
        if ("oldSelf" not in text or old is not ABSENT) and not _holds(text, value, old):
            yield _cause(rule, value, path + (rule.get("fieldPath") or ""))
    if not isinstance(value, dict):
        return
    for name, inner in (schema.get("properties") or {}).items():
        if name in value:
            before = old.get(name, ABSENT) if isinstance(old, dict) else ABSENT
            yield from broken_rules(value[name], inner, before, f"{path}.{name}" if path else name)


def _holds(rule: str, value: Any, old: Any) -> bool:
    if rule == "self == oldSelf":
        return same(value, old)
    either = "||" in rule
    terms = [_HAS.fullmatch(term.strip()) for term in rule.split("||" if either else "==")]
    there = [term[2] in (value if term[1] == "self" else old) for term in terms if term]
    if len(there) != len(terms) or len(there) < 2:
        return True
    return any(there) if either else len(set(there)) == 1


def _cause(rule: dict[str, Any], value: Any, path: str) -> Cause:
    message = rule.get("message") or f"failed rule: {rule['rule']}"
    if rule.get("reason") == "FieldValueRequired":
        return required(path, message)
    return bad_value(path, value, message)
