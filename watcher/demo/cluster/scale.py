"""The scale subresource: the size of a Deployment or ReplicaSet as an object of its own."""

from __future__ import annotations

from typing import Any

from watcher.demo.cluster.errors import bad_request, bad_value, invalid
from watcher.demo.cluster.resources import Kind
from watcher.demo.cluster.store import Object, clone
from watcher.demo.cluster.tables import format_selector


def scale_of(obj: Object) -> Object:
    meta = obj["metadata"]
    selector = format_selector(obj["spec"].get("selector"))
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in kept if name in meta},
        "spec": {"replicas": obj["spec"].get("replicas", 0)},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": "" if selector == "<none>" else selector,
        },
    }


def apply_scale(kind: Kind, scale: Any, current: Object) -> Object:
    """The object at the size that a Scale asks for; conditional when the Scale carries a resourceVersion."""
    if not isinstance(scale, dict) or scale.get("kind", "Scale") != "Scale":
        raise bad_request("the object provided is unrecognized (must be of type Scale)")
    meta, spec = scale.get("metadata") or {}, scale.get("spec") or {}
    if not isinstance(meta, dict) or not isinstance(spec, dict):
        raise bad_request('Scale in version "v1" cannot be handled as a Scale')
    name = current["metadata"]["name"]
    if meta.get("name", name) != name:
        raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({name})")
    replicas = spec.get("replicas") or 0
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request('Scale in version "v1" cannot be handled as a Scale: spec.replicas is not a number')
    if replicas < 0:
        raise invalid(kind, name, [bad_value("spec.replicas", replicas, "must be greater than or equal to 0")])
    new = clone(current)
    new["spec"]["replicas"] = replicas
    new["metadata"]["resourceVersion"] = meta.get("resourceVersion")
    return new
