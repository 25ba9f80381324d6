"""What several controllers ask of objects: who owns them, whether a selector takes them, whether a pod is ready."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from watcher.demo.cluster.resources import POD, Kind
from watcher.demo.cluster.store import Object, Store


def owner_reference(owner: Object) -> Object:
    """A reference that makes `owner` the controller of an object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(found: Object) -> Object | None:
    for reference in found["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            owner: Object = reference
            return owner
    return None


def owned(store: Store, kind: Kind, owner: Object) -> list[Object]:
    """Objects of a kind that `owner` controls."""
    uid = owner["metadata"]["uid"]
    namespace = owner["metadata"].get("namespace", "")
    return store.objects(kind, namespace, lambda found: (controller_of(found) or {}).get("uid") == uid)


def claimed(store: Store, kind: Kind, owner: Object) -> list[Object]:
    """Objects of a kind that `owner` controls, after it has adopted those that match and belong to nobody.

    One that it controlled and that does not match any more is released: somebody took it aside to look at it.
    """
    selector = owner["spec"]["selector"]
    namespace = owner["metadata"].get("namespace", "")
    for found in store.objects(kind, namespace):
        owning = controller_of(found)
        fits = matches(selector, found["metadata"].get("labels") or {})
        if owning is None and fits and not terminating(found) and not terminating(owner):
            rows = [*(found["metadata"].get("ownerReferences") or ()), owner_reference(owner)]
        elif owning is not None and owning["uid"] == owner["metadata"]["uid"] and not fits:
            rows = [row for row in found["metadata"]["ownerReferences"] if row["uid"] != owning["uid"]]
        else:
            continue
        _set_owners(store, kind, found, rows)
    return owned(store, kind, owner)


def _set_owners(store: Store, kind: Kind, found: Object, rows: list[Object]) -> None:
    meta = found["metadata"]
    store.update(
        kind, meta.get("namespace", ""), meta["name"], lambda now: now["metadata"].update(ownerReferences=rows)
    )


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector (matchLabels, matchExpressions) takes these labels. An empty one takes everything."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(expression, labels) for expression in selector.get("matchExpressions") or ())


def _expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or ()
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return bool((key in labels) == (operator == "Exists"))


def condition(found: Object, type_: str) -> Object | None:
    for row in (found.get("status") or {}).get("conditions") or ():
        if row["type"] == type_:
            answer: Object = row
            return answer
    return None


def is_true(found: Object, type_: str) -> bool:
    return (condition(found, type_) or {}).get("status") == "True"


def finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def terminating(found: Object) -> bool:
    return bool(found["metadata"].get("deletionTimestamp"))


def active(pod: Object) -> bool:
    """Whether a pod counts towards its owner's replicas."""
    return not finished(pod) and not terminating(pod)


def parse_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def seconds_since(text: str, now: str) -> float:
    return (parse_time(now) - parse_time(text)).total_seconds()


def with_condition(conditions: list[Object], new: Object, now: str) -> list[Object]:
    """The list with one condition set; its lastTransitionTime moves only when its status does."""
    rows = []
    placed = False
    for row in conditions:
        if row["type"] != new["type"]:
            rows.append(row)
            continue
        moved = row.get("status") != new["status"]
        rows.append({**new, "lastTransitionTime": now if moved else row.get("lastTransitionTime", now)})
        placed = True
    if not placed:
        rows.append({**new, "lastTransitionTime": now})
    return rows


def template_hash(template: Mapping[str, Any]) -> str:
    """A short name-safe hash of a pod template, in the alphabet that Kubernetes uses (no vowels, no words)."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    alphabet = "bcdfghjklmnpqrstvwxz2456789"
    return "".join(alphabet[byte % len(alphabet)] for byte in digest[:10])


def delete_pod(store: Store, pod: Object, grace: int | None = None) -> None:
    """Ask for a pod's end: the kubelet carries it out and then removes the object. Never lengthens a running grace."""
    if grace is None:
        grace = (pod.get("spec") or {}).get("terminationGracePeriodSeconds", 30)
    meta = pod["metadata"]
    now = store.timestamp()

    def mark(found: Object) -> None:
        before = found["metadata"].get("deletionGracePeriodSeconds")
        found["metadata"].setdefault("deletionTimestamp", now)
        found["metadata"]["deletionGracePeriodSeconds"] = grace if before is None else min(before, grace)

    if store.find(POD, meta.get("namespace", ""), meta["name"]):
        store.update(POD, meta.get("namespace", ""), meta["name"], mark)


def drop_zeros(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts as the real API shows them: a zero is left out."""
    return {name: count for name, count in counts.items() if count}
