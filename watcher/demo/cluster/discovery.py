"""API discovery: the documents by which clients learn which groups, versions and resources there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from watcher.demo.cluster.crd import Resource
from watcher.demo.cluster.resources import POD

VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2-embedded",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "python",
    "platform": "linux/amd64",
}
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


def core_versions(address: str) -> dict[str, Any]:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def groups(resources: Iterable[Resource]) -> dict[str, Any]:
    """The APIGroupList: every group but the core one."""
    names = list(dict.fromkeys(resource.kind.group for resource in resources if resource.kind.group))
    found = [group(resources, name) for name in names]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [entry for entry in found if entry is not None]}


def group(resources: Iterable[Resource], name: str) -> dict[str, Any] | None:
    """One APIGroup; its preferred version is the one that objects are stored in."""
    members = [resource for resource in resources if resource.kind.group == name]
    if not members:
        return None
    versions = dict.fromkeys(resource.kind.version for resource in members)
    preferred = next((resource.kind.version for resource in members if resource.storage), members[0].kind.version)
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": [{"groupVersion": f"{name}/{version}", "version": version} for version in versions],
        "preferredVersion": {"groupVersion": f"{name}/{preferred}", "version": preferred},
    }


def resource_list(resources: Iterable[Resource], group_name: str, version: str) -> dict[str, Any] | None:
    """The APIResourceList of one group and version, None when nothing is served there."""
    members = [r for r in resources if (r.kind.group, r.kind.version) == (group_name, version)]
    if not members:
        return None
    entries = [entry for resource in members for entry in _entries(resource)]
    name = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": entries}


def _entries(resource: Resource) -> list[dict[str, Any]]:
    kind = resource.kind
    main: dict[str, Any] = {
        "name": kind.plural,
        "singularName": resource.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": VERBS,
    }
    if kind.short_names:
        main["shortNames"] = list(kind.short_names)
    if kind.categories:
        main["categories"] = list(kind.categories)
    entries = [main]
    if kind.status_subresource:
        entries.append(_sub(resource, "status", kind.kind, ["get", "patch", "update"]))
    if kind.scale_subresource:
        scale = _sub(resource, "scale", "Scale", ["get", "patch", "update"])
        entries.append({**scale, "group": "autoscaling", "version": "v1"})
    if kind.key == POD.key:
        entries.append(_sub(resource, "log", "Pod", ["get"]))
    return entries


def _sub(resource: Resource, name: str, kind: str, verbs: list[str]) -> dict[str, Any]:
    return {
        "name": f"{resource.kind.plural}/{name}",
        "singularName": "",
        "namespaced": resource.kind.namespaced,
        "kind": kind,
        "verbs": verbs,
    }
