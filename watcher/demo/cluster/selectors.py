"""Label and field selectors, as list, watch and deletecollection take them.

A selector is parsed once per request into a `Selection`; a watch asks it twice per change, so it answers from plain
closures and never parses again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from watcher.demo.cluster.errors import bad_request
from watcher.demo.cluster.resources import Kind
from watcher.demo.cluster.store import Object

Matcher = Callable[[Mapping[str, str]], bool]

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_KEY = re.compile(rf"(?:{_NAME}/)?{_NAME}\Z")
_VALUE = re.compile(rf"(?:{_NAME})?\Z")
_SET = re.compile(r"(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)\Z")
_EQUAL = re.compile(r"(?P<key>[^\s=!<>]+)\s*(?P<op>==|!=|=|>|<)\s*(?P<value>[^\s=!<>]*)\Z")

COMMON_FIELDS = ("metadata.name", "metadata.namespace")
FIELDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    ("", "events"): (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    ("", "services"): ("spec.clusterIP", "spec.type"),
    ("", "nodes"): ("spec.unschedulable",),
    ("", "namespaces"): ("status.phase",),
    ("", "secrets"): ("type",),
    ("apps", "replicasets"): ("status.replicas",),
    ("batch", "jobs"): ("status.successful",),
}
"""Which fields of which resource can be selected on, besides `COMMON_FIELDS`: the real server has no others either."""
_ABSENT = {"spec.hostNetwork": "false", "spec.unschedulable": "false", "status.replicas": "0", "status.successful": "0"}
"""What an absent field counts as, where that is not the empty string."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a kind a request is about. `namespace` None means all namespaces."""

    namespace: str | None
    labels: tuple[Matcher, ...] = ()
    fields: tuple[Callable[[Object], bool], ...] = ()

    def matches(self, obj: Object) -> bool:
        meta = obj["metadata"]
        if self.namespace is not None and meta.get("namespace", "") != self.namespace:
            return False
        labels = meta.get("labels") or {}
        return all(match(labels) for match in self.labels) and all(match(obj) for match in self.fields)

    @property
    def narrows(self) -> bool:
        """True when a selector was given at all."""
        return bool(self.labels or self.fields)


def label_selector(text: str) -> tuple[Matcher, ...]:
    """Parse `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. Raises a 400 on anything else."""
    # Commas within parentheses separate values, all others separate requirements.
    parts = re.split(r",(?![^(]*\))", text) if text.strip() else []
    return tuple(_requirement(part.strip(), text) for part in parts)


def labels_match(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Does a LabelSelector object (matchLabels, matchExpressions) select these labels? None selects nothing."""
    if selector is None:
        return False
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], expression.get("values") or []
        match = {
            "In": key in labels and labels[key] in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not match[expression["operator"]]:
            return False
    return True


def field_selector(kind: Kind, text: str, extra: tuple[str, ...] = ()) -> tuple[Callable[[Object], bool], ...]:
    """Parse `a.b=c,d!=e` for a kind; `extra` are the selectable fields that a CRD declares. Raises a 400."""
    matchers = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        found = re.match(r"([^=!]+?)(==|!=|=)(.*)\Z", part)
        if not found:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        path, operator, value = found.groups()
        if path not in (*COMMON_FIELDS, *FIELDS.get(kind.key, ()), *extra):
            raise bad_request(f"field label not supported: {path}")
        matchers.append(_field_matcher(path, value, wanted=operator != "!="))
    return tuple(matchers)


def _requirement(part: str, whole: str) -> Matcher:
    if found := _SET.match(part):
        key, operator = found["key"], found["op"]
        values = {value.strip() for value in found["values"].split(",")}
        _check(whole, key, *values)
        if operator == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(part):
        return _comparison(found["key"], found["op"], found["value"], whole)
    key = part.removeprefix("!").strip()
    _check(whole, key)
    if part.startswith("!"):
        return lambda labels: key not in labels
    return lambda labels: key in labels


def _comparison(key: str, operator: str, value: str, whole: str) -> Matcher:
    _check(whole, key, value)
    if operator in "<>":
        if not re.fullmatch(r"-?\d+", value):
            raise bad_request(f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}"')
        sign = 1 if operator == ">" else -1
        return lambda labels: (
            re.fullmatch(r"-?\d+", labels.get(key, "")) is not None and (int(labels[key]) - int(value)) * sign > 0
        )
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value


def _check(whole: str, key: str, *values: str) -> None:
    if not _KEY.match(key):
        raise bad_request(f"unable to parse requirement: <nil>: Invalid value: \"{key}\" in selector '{whole}'")
    for value in values:
        if not _VALUE.match(value) or len(value) > 63:
            raise bad_request(f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}"')


def _field_matcher(path: str, value: str, *, wanted: bool) -> Callable[[Object], bool]:
    steps = path.split(".")

    def match(obj: Object) -> bool:
        found: Any = obj
        for step in steps:
            found = found.get(step) if isinstance(found, dict) else None
        if path == "source":
            found = (obj.get("source") or {}).get("component") or obj.get("reportingComponent")
        return (_text(_ABSENT.get(path) if found is None else found) == value) is wanted

    return match


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
