"""The defaults that the real API server fills in and that clients rely on when they read an object back."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from watcher.demo.cluster.resources import (
    AUTOSCALER,
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
from watcher.demo.cluster.store import Object


def fill_defaults(kind: Kind, body: Object) -> None:
    """Fill in the defaults of a built-in kind, in place. The body has passed its shape check."""
    filler = _FILLERS.get(kind.key)
    if filler:
        filler(body)


def _defaults(target: dict[str, Any], **values: Any) -> None:
    """Set what is absent or null: the real server reads a null as absent."""
    for name, value in values.items():
        if target.get(name) is None:
            target[name] = value


def fill_pod_spec(spec: dict[str, Any]) -> None:
    _defaults(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        _fill_container(container)
    for volume in spec.get("volumes") or []:
        for source in ("configMap", "secret", "projected", "downwardAPI"):
            if isinstance(volume.get(source), dict):
                _defaults(volume[source], defaultMode=420)


def _fill_container(container: dict[str, Any]) -> None:
    image = str(container.get("image") or "")
    tag = image.rpartition("/")[2].partition(":")[2]
    pull = "Always" if "@" not in image and tag in ("", "latest") else "IfNotPresent"
    _defaults(
        container,
        imagePullPolicy=pull,
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
    )
    for port in container.get("ports") or []:
        _defaults(port, protocol="TCP")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if not probe:
            continue
        _defaults(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
        if probe.get("httpGet"):
            _defaults(probe["httpGet"], path="/", scheme="HTTP")
    limits, requests = (container["resources"].get(part) for part in ("limits", "requests"))
    if limits:
        # A limit without a request is also the request.
        container["resources"]["requests"] = {**limits, **(requests or {})}
    for variable in container.get("env") or []:
        source = (variable.get("valueFrom") or {}).get("fieldRef")
        if source:
            _defaults(source, apiVersion="v1")


def _fill_template(spec: dict[str, Any]) -> None:
    template = spec.get("template") or {}
    _defaults(template, metadata={})
    fill_pod_spec(template.get("spec") or {})


def _deployment(body: Object) -> None:
    spec = body["spec"]
    _defaults(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    _defaults(spec["strategy"], type="RollingUpdate")
    if spec["strategy"]["type"] == "RollingUpdate":
        _defaults(spec["strategy"], rollingUpdate={})
        _defaults(spec["strategy"]["rollingUpdate"], maxSurge="25%", maxUnavailable="25%")
    _fill_template(spec)


def _replica_set(body: Object) -> None:
    _defaults(body["spec"], replicas=1)
    _fill_template(body["spec"])


def _autoscaler(body: Object) -> None:
    _defaults(body["spec"], minReplicas=1)
    if not body["spec"].get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        body["spec"]["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _job(body: Object) -> None:
    spec = body["spec"]
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _defaults(
        spec,
        parallelism=1,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        podReplacementPolicy="TerminatingOrFailed",
    )
    _fill_template(spec)


def _pod(body: Object) -> None:
    fill_pod_spec(body["spec"])
    _defaults(body["spec"], enableServiceLinks=True, serviceAccountName="default")
    body["spec"]["serviceAccount"] = body["spec"]["serviceAccountName"]


def _service(body: Object) -> None:
    spec = body["spec"]
    _defaults(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName":
        _defaults(spec, internalTrafficPolicy="Cluster", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    for port in spec.get("ports") or []:
        _defaults(port, protocol="TCP")
        # 0 is "not given" in the Go type.
        port["targetPort"] = port.get("targetPort") or port["port"]


def _secret(body: Object) -> None:
    _defaults(body, type="Opaque")
    plain = body.pop("stringData", None)
    for name, value in (plain or {}).items():
        body.setdefault("data", {})[name] = base64.b64encode(str(value).encode()).decode()


def _namespace(body: Object) -> None:
    body["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = body["metadata"].get("name", "")
    body["spec"] = {"finalizers": ["kubernetes"]}


def _crd(body: Object) -> None:
    names = body["spec"]["names"]
    _defaults(names, singular=names["kind"].lower(), listKind=names["kind"] + "List")
    _defaults(body["spec"], conversion={"strategy": "None"})


_FILLERS: dict[tuple[str, str], Callable[[Object], None]] = {
    POD.key: _pod,
    DEPLOYMENT.key: _deployment,
    REPLICA_SET.key: _replica_set,
    AUTOSCALER.key: _autoscaler,
    JOB.key: _job,
    SERVICE.key: _service,
    SECRET.key: _secret,
    NAMESPACE.key: _namespace,
    CRD.key: _crd,
}
