"""Deleting: at once, or marked and left to whoever has to finish it.

A pod on a node is left to the kubelet, a namespace to the controller that empties it, an object with finalizers to
whoever set them, and foreground and orphan deletion to the garbage collector, through finalizers of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from watcher.demo.cluster.errors import Cause, bad_request, conflict, details_of, invalid, unsupported
from watcher.demo.cluster.resources import JOB, NAMESPACE, POD, SERVICE, SERVICE_ACCOUNT, Kind
from watcher.demo.cluster.store import Object, Store

FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
_BY_DEFAULT = {JOB.key: "Orphan"}
"""What happens to the dependents when nobody says; of other kinds they are deleted in the background."""
_RETURNS_OBJECT = {POD.key, SERVICE.key, SERVICE_ACCOUNT.key}
"""Kinds whose deletion is answered with the object also when it is gone at once."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete. `grace` is in seconds; None leaves it to the object."""

    grace: int | None = None
    propagation: str = ""
    uid: str = ""
    version: str = ""
    dry_run: bool = False


def parse_delete_options(body: Any, query: dict[str, str]) -> DeleteOptions:
    """From the body, where there is one, else from the query: the real server looks in this order too."""
    given: dict[str, Any] = body if isinstance(body, dict) else {}
    if body is not None and not isinstance(body, dict):
        raise bad_request("the object provided is unrecognized (must be of type DeleteOptions)")
    if not given:
        given = dict(query)
        if "gracePeriodSeconds" in given:
            if not given["gracePeriodSeconds"].lstrip("-").isdigit():
                raise bad_request("gracePeriodSeconds: must be a number")
            given["gracePeriodSeconds"] = int(given["gracePeriodSeconds"])
    grace = given.get("gracePeriodSeconds")
    preconditions = given.get("preconditions")
    if preconditions is not None and not isinstance(preconditions, dict):
        raise bad_request("preconditions: must be an object")
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)):
        raise bad_request("gracePeriodSeconds: must be a number")
    propagation = given.get("propagationPolicy") or ""
    if not propagation and given.get("orphanDependents") in (True, "true"):
        propagation = "Orphan"
    if propagation not in ("", "Background", *FINALIZERS):
        causes: list[Cause] = [
            unsupported("propagationPolicy", propagation, ["Foreground", "Background", "Orphan", "nil"])
        ]
        raise invalid(Kind("meta.k8s.io", "v1", "deleteoptions", "DeleteOptions"), "", causes)
    checks = preconditions or {}
    dry_run = bool(given.get("dryRun") or query.get("dryRun"))
    return DeleteOptions(
        grace, propagation, str(checks.get("uid") or ""), str(checks.get("resourceVersion") or ""), dry_run
    )


def delete_object(store: Store, kind: Kind, current: Object, options: DeleteOptions) -> Object:
    """Delete `current`. Answers the object as it is now if it is still going, else a Status (or the last object)."""
    meta = current["metadata"]
    name, namespace = meta["name"], meta.get("namespace", "")
    _check(kind, meta, options)
    if options.dry_run:
        return current if kind.key in _RETURNS_OBJECT else _gone(kind, current)
    finalizer = FINALIZERS.get(options.propagation or _BY_DEFAULT.get(kind.key, ""))
    if finalizer and finalizer not in (meta.get("finalizers") or []):
        current = store.update(
            kind, namespace, name, lambda obj: obj["metadata"].setdefault("finalizers", []).append(finalizer)
        )
    if kind.key == POD.key:
        grace = _grace(current, options)
        if grace > 0:
            return _begin(store, kind, current, grace)
    if kind.key == NAMESPACE.key:
        return store.update(kind, "", name, lambda obj: _terminate(store, obj))
    last = store.delete(kind, namespace, name)
    if store.find(kind, namespace, name) is not None:
        return store.get(kind, namespace, name)
    return last if kind.key in _RETURNS_OBJECT else _gone(kind, last)


def _check(kind: Kind, meta: dict[str, Any], options: DeleteOptions) -> None:
    if options.uid and options.uid != meta["uid"]:
        message = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {meta['uid']}"
        raise conflict(kind, meta["name"], message)
    if options.version and options.version != meta["resourceVersion"]:
        message = (
            f"Precondition failed: ResourceVersion in precondition: {options.version}, ResourceVersion in object meta: "
            f"{meta['resourceVersion']}"
        )
        raise conflict(kind, meta["name"], message)


def _grace(pod: Object, options: DeleteOptions) -> int:
    """Seconds that the pod gets to end; none for one that no kubelet has, or whose containers have ended."""
    if not pod["spec"].get("nodeName") or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    if options.grace is not None:
        return max(options.grace, 0)
    return int(pod["spec"].get("terminationGracePeriodSeconds", 30))


def _begin(store: Store, kind: Kind, pod: Object, grace: int) -> Object:
    """Mark a pod as going; a second deletion can only shorten what the first one granted."""
    meta = pod["metadata"]

    def mark(obj: Object) -> None:
        already = obj["metadata"].get("deletionGracePeriodSeconds")
        if already is not None and already <= grace:
            return
        ends = store.now + timedelta(seconds=grace)
        obj["metadata"]["deletionTimestamp"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
        obj["metadata"]["deletionGracePeriodSeconds"] = grace

    return store.update(kind, meta.get("namespace", ""), meta["name"], mark)


def _terminate(store: Store, namespace: Object) -> None:
    namespace["metadata"].setdefault("deletionTimestamp", store.timestamp())
    namespace.setdefault("status", {})["phase"] = "Terminating"


def _gone(kind: Kind, obj: Object) -> Object:
    details = {**details_of(kind, obj["metadata"]["name"]), "uid": obj["metadata"]["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
