"""What the API accepts: names, metadata, the rules of single kinds, and what may not change later.

Every check yields `Cause`s, so that an answer names everything that is wrong and not only the first thing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from watcher.demo.cluster.crd import check_crd
from watcher.demo.cluster.errors import Cause, bad_value, forbidden_field, required
from watcher.demo.cluster.patch import same
from watcher.demo.cluster.resources import (
    AUTOSCALER,
    CONFIG_MAP,
    CRD,
    DEPLOYMENT,
    JOB,
    NAMESPACE,
    POD,
    REPLICA_SET,
    SECRET,
    SERVICE,
    Kind,
)
from watcher.demo.cluster.selectors import labels_match
from watcher.demo.cluster.store import Object, clone

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_SERVICE_NAME = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

_SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_SERVICE_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    f"and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    f"'{_SERVICE_NAME}')"
)


def check_metadata(kind: Kind, meta: dict[str, Any]) -> Iterator[Cause]:
    name = meta.get("name") or ""
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        pattern, message, longest = _name_rule(kind)
        if not re.fullmatch(pattern, name):
            yield bad_value("metadata.name", name, message)
        if len(name) > longest:
            yield bad_value("metadata.name", name, f"must be no more than {longest} characters")
    for part in ("labels", "annotations"):
        for key, value in (meta.get(part) or {}).items():
            prefix, slash, last = key.rpartition("/")
            fits = re.fullmatch(_QUALIFIED, last) and len(last) <= 63
            if not fits or (slash and not re.fullmatch(_SUBDOMAIN, prefix)):
                yield bad_value(
                    f"metadata.{part}", key, "name part must consist of alphanumeric characters, '-', '_' or '.'"
                )
            if part == "labels" and (len(value) > 63 or not re.fullmatch(rf"({_QUALIFIED})?", value)):
                message = (
                    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
                    "must start and end with an alphanumeric character"
                )
                yield bad_value("metadata.labels", value, message)


def _name_rule(kind: Kind) -> tuple[str, str, int]:
    if kind.key == SERVICE.key:
        return _SERVICE_NAME, _SERVICE_MESSAGE, 63
    if kind.key == NAMESPACE.key:
        return _LABEL, _LABEL_MESSAGE, 63
    return _SUBDOMAIN, _SUBDOMAIN_MESSAGE, 253


def check_object(kind: Kind, body: Object) -> Iterator[Cause]:
    """The rules of single kinds that a schema cannot say. The body has passed its shape check and has its defaults."""
    check = _CHECKS.get(kind.key)
    if check:
        yield from check(body)


def _selects_its_template(body: Object) -> Iterator[Cause]:
    spec = body["spec"]
    selector = spec["selector"]
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield bad_value("spec.selector", "{}", "empty selector is invalid for deployment")
        return
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    if not labels_match(selector, labels):
        yield bad_value("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from _check_pod_spec(spec["template"]["spec"], "spec.template.spec")


def _check_pod(body: Object) -> Iterator[Cause]:
    yield from _check_pod_spec(body["spec"], "spec")


def _check_job(body: Object) -> Iterator[Cause]:
    pod_spec = body["spec"]["template"]["spec"]
    if pod_spec["restartPolicy"] not in ("OnFailure", "Never"):
        yield required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    yield from _check_pod_spec(pod_spec, "spec.template.spec")


def _check_autoscaler(body: Object) -> Iterator[Cause]:
    spec = body["spec"]
    least, most = spec["minReplicas"], spec.get("maxReplicas") or 0
    if least < 1:
        yield bad_value("spec.minReplicas", least, "must be greater than or equal to 1")
    if most == 0:
        yield required("spec.maxReplicas", "must be set and greater than 0")
    elif most < 0:
        yield bad_value("spec.maxReplicas", most, "must be greater than or equal to 1")
    if most < least:
        yield bad_value("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    for name in ("kind", "name"):
        if not spec["scaleTargetRef"].get(name):
            yield required(f"spec.scaleTargetRef.{name}")


def _check_pod_spec(spec: dict[str, Any], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    volumes = {volume["name"] for volume in spec.get("volumes") or []}
    for part in ("containers", "initContainers"):
        for at, container in enumerate(spec.get(part) or []):
            where = f"{path}.{part}[{at}]"
            if not container.get("image"):
                yield required(f"{where}.image")
            if container["name"] in seen:
                yield Cause(f"{where}.name", "FieldValueDuplicate", f'Duplicate value: "{container["name"]}"')
            seen.add(container["name"])
            for index, mount in enumerate(container.get("volumeMounts") or []):
                if mount["name"] not in volumes:
                    message = f'Not found: "{mount["name"]}"'
                    yield Cause(f"{where}.volumeMounts[{index}].name", "FieldValueNotFound", message)


def _check_service(body: Object) -> Iterator[Cause]:
    spec = body["spec"]
    ports = spec.get("ports") or []
    if not ports and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    names: set[str] = set()
    for at, port in enumerate(ports):
        name = port.get("name") or ""
        if len(ports) > 1 and not name:
            yield required(f"spec.ports[{at}].name")
        if name and name in names:
            yield Cause(f"spec.ports[{at}].name", "FieldValueDuplicate", f'Duplicate value: "{name}"')
        names.add(name)


_CHECKS: dict[tuple[str, str], Callable[[Object], Iterable[Cause]]] = {
    DEPLOYMENT.key: _selects_its_template,
    REPLICA_SET.key: _selects_its_template,
    POD.key: _check_pod,
    AUTOSCALER.key: _check_autoscaler,
    JOB.key: _check_job,
    SERVICE.key: _check_service,
    CRD.key: check_crd,
}

_IMMUTABLE: dict[tuple[str, str], tuple[str, ...]] = {
    DEPLOYMENT.key: ("spec.selector",),
    REPLICA_SET.key: ("spec.selector",),
    JOB.key: ("spec.selector", "spec.template", "spec.completions"),
    SECRET.key: ("type",),
    CRD.key: ("spec.group", "spec.scope", "spec.names.plural", "spec.names.kind"),
}


def check_change(kind: Kind, new: Object, old: Object) -> Iterator[Cause]:
    """What may not change in an update."""
    for path in _IMMUTABLE.get(kind.key, ()):
        value = _at(new, path)
        if not same(value, _at(old, path)):
            yield bad_value(path, value, "field is immutable")
    if kind.key == POD.key:
        yield from _check_pod_change(new["spec"], old["spec"])
    addressed = kind.key == SERVICE.key and _at(old, "spec.clusterIP") and new["spec"]["type"] != "ExternalName"
    if addressed and new["spec"].get("clusterIP") != old["spec"]["clusterIP"]:
        yield bad_value("spec.clusterIPs[0]", [new["spec"].get("clusterIP")], "field is immutable")
    if kind.key in (CONFIG_MAP.key, SECRET.key) and old.get("immutable"):
        for part in ("data", "binaryData"):
            if not same(new.get(part), old.get(part)):
                yield forbidden_field(part, "field is immutable when `immutable` is set")


def _at(body: Object, path: str) -> Any:
    found: Any = body
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _check_pod_change(new: dict[str, Any], old: dict[str, Any]) -> Iterator[Cause]:
    """Of a pod's spec only images, tolerations and two deadlines may change."""
    if same(_fixed_part(new), _fixed_part(old)):
        return
    yield forbidden_field(
        "spec",
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
        "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
    )


def _fixed_part(spec: dict[str, Any]) -> dict[str, Any]:
    fixed: dict[str, Any] = clone(spec)
    for name in ("activeDeadlineSeconds", "tolerations"):
        fixed.pop(name, None)
    for container in [*(fixed.get("containers") or []), *(fixed.get("initContainers") or [])]:
        container.pop("image", None)
    return fixed
