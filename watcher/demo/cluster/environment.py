"""The environment of a container: what its image, its spec, the ConfigMaps and Secrets named there, and its pod give.

What always holds: nothing of the cluster process's own environment gets in but what a program needs to start, and a
reference that leads nowhere is an error, never an empty value (unless it is marked optional).
"""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from watcher.demo.cluster.quantities import quantity
from watcher.demo.cluster.resources import CONFIG_MAP, SECRET, SERVICE
from watcher.demo.cluster.store import Object, Store

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")
_LABEL = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
_VARIABLE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


class ConfigError(Exception):
    """The environment cannot be put together; the text is what the kubelet shows."""


def environment(store: Store, pod: Object, container: Object, image_env: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of one container. The pod has its address already. Raises ConfigError."""
    namespace = pod["metadata"]["namespace"]
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    # Programs find the interpreter that runs the cluster first, as in an image built around it.
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env["PYTHONUNBUFFERED"] = "1"
    env["HOSTNAME"] = pod["metadata"]["name"]
    env.update(_services(store, namespace))
    env.update(image_env)
    for source in container.get("envFrom") or ():
        env.update(_env_from(store, namespace, source))
    for row in container.get("env") or ():
        value = _value(store, pod, container, row, env)
        if value is not None:
            env[row["name"]] = value
    env["POD_IP"] = pod["status"]["podIP"]
    return env


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` as Kubernetes replaces it in env values, command and args; `$$` is a dollar, unknown names stay."""

    def replace(found: re.Match[str]) -> str:
        if found.group(0) == "$$":
            return "$"
        return env.get(found.group(1), found.group(0))

    return _VARIABLE.sub(replace, text)


def _value(store: Store, pod: Object, container: Object, row: Object, env: Mapping[str, str]) -> str | None:
    source = row.get("valueFrom")
    if not source:
        return expand(str(row.get("value") or ""), env)
    namespace = pod["metadata"]["namespace"]
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return _resource(container, source["resourceFieldRef"])
    for key, kind in (("configMapKeyRef", CONFIG_MAP), ("secretKeyRef", SECRET)):
        if key in source:
            reference = source[key]
            found = store.find(kind, namespace, reference["name"])
            optional = bool(reference.get("optional"))
            what = "configmap" if kind == CONFIG_MAP else "secret"
            if found is None:
                if optional:
                    return None
                raise ConfigError(f'{what} "{reference["name"]}" not found')
            data = _data(found)
            if reference["key"] not in data:
                if optional:
                    return None
                where = f"{what.replace('configmap', 'ConfigMap').replace('secret', 'Secret')}"
                raise ConfigError(f"couldn't find key {reference['key']} in {where} {namespace}/{reference['name']}")
            return data[reference["key"]]
    return None


def field(pod: Object, path: str) -> str:
    """A field of the pod by the downward API's path. Raises ConfigError for one that it does not offer."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    labelled = _LABEL.fullmatch(path)
    if labelled:
        return str((meta.get(labelled.group(1)) or {}).get(labelled.group(2), ""))
    plain = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": status.get("podIP", ""),
        "status.hostIP": status.get("hostIP", ""),
    }
    if path not in plain:
        raise ConfigError(f'unsupported fieldPath "{path}"')
    return str(plain[path])


def _resource(container: Object, reference: Object) -> str:
    group, _, name = str(reference["resource"]).partition(".")
    resources: Mapping[str, Any] = container.get("resources") or {}
    amount = quantity((resources.get(group) or {}).get(name, "0"))
    divisor = quantity(reference.get("divisor") or "1") or quantity("1")
    return str(-int(-amount // divisor))


def _env_from(store: Store, namespace: str, source: Object) -> Iterator[tuple[str, str]]:
    prefix = source.get("prefix") or ""
    for key, kind in (("configMapRef", CONFIG_MAP), ("secretRef", SECRET)):
        if key not in source:
            continue
        found = store.find(kind, namespace, source[key]["name"])
        if found is None:
            if source[key].get("optional"):
                continue
            what = "configmap" if kind == CONFIG_MAP else "secret"
            raise ConfigError(f'{what} "{source[key]["name"]}" not found')
        for name, value in _data(found).items():
            yield prefix + name, value


def _data(found: Object) -> dict[str, str]:
    if found["kind"] == SECRET.kind:
        plain = {name: str(value) for name, value in (found.get("stringData") or {}).items()}
        encoded = found.get("data") or {}
        return {**{name: base64.b64decode(value).decode() for name, value in encoded.items()}, **plain}
    return {name: str(value) for name, value in (found.get("data") or {}).items()}


def _services(store: Store, namespace: str) -> Iterator[tuple[str, str]]:
    """NAME_SERVICE_HOST and NAME_SERVICE_PORT of each Service of the namespace, in place of a name server."""
    for service in store.objects(SERVICE, namespace):
        address = service["spec"].get("clusterIP")
        ports = service["spec"].get("ports") or ()
        if not address or address == "None" or not ports:
            continue
        name = service["metadata"]["name"].upper().replace("-", "_")
        yield f"{name}_SERVICE_HOST", address
        yield f"{name}_SERVICE_PORT", str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                yield f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}", str(port["port"])
