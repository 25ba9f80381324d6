"""What `kubectl get` prints: the Table form of lists, with the columns of the real API server.

A kind is a list of columns and a function from an object to its cells; `table` puts the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from watcher.demo.cluster import jsonpath
from watcher.demo.cluster.pod_table import POD_COLUMNS, Column, containers_and_images, name_column, pod_cells
from watcher.demo.cluster.resources import Kind
from watcher.demo.cluster.store import Object
from watcher.demo.cluster.times import age, duration, parse_time


@dataclass(frozen=True, slots=True)
class Layout:
    """How one kind is printed."""

    columns: tuple[Column, ...]
    cells: Callable[[Object, datetime], list[Any]]


def table(
    layout: Layout,
    objects: Sequence[Object],
    metadata: dict[str, Any],
    *,
    include: str = "Metadata",
    header: bool = True,
) -> Object:
    """A meta.k8s.io/v1 Table of the objects; `include` is the request's includeObject."""
    now = datetime.now(UTC)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [column.definition() for column in layout.columns] if header else [],
        "rows": [{"cells": layout.cells(obj, now), "object": _row_object(obj, include)} for obj in objects],
    }


def partial(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _row_object(obj: Object, include: str) -> Object | None:
    if include == "None":
        return None
    return obj if include == "Object" else partial(obj)


def layout_for(kind: Kind, printer_columns: Sequence[dict[str, Any]] | None = None) -> Layout:
    """The layout of a kind; `printer_columns` are the additionalPrinterColumns of a custom resource."""
    if printer_columns is not None:
        return _custom(printer_columns)
    return _LAYOUTS.get(kind.key, _DEFAULT)


def _custom(printer_columns: Sequence[dict[str, Any]]) -> Layout:
    given = list(printer_columns) or [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]

    def cell(obj: Object, column: dict[str, Any], now: datetime) -> Any:
        found = jsonpath.find(obj, column["jsonPath"])
        if not found:
            return None
        value = found[0] if len(found) == 1 else " ".join(map(str, found))
        if column["type"] == "date":
            return age(value, now) if parse_time(value) else "<invalid>"
        if column["type"] == "string":
            return value if isinstance(value, str) else _plain(value)
        return value

    return Layout(
        (
            name_column(),
            *(
                Column(c["name"], c["type"], c.get("description", ""), c.get("priority", 0), c.get("format", ""))
                for c in given
            ),
        ),
        lambda obj, now: [obj["metadata"]["name"], *(cell(obj, column, now) for column in given)],
    )


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _age(obj: Object, now: datetime) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _spec(obj: Object) -> dict[str, Any]:
    return obj.get("spec") or {}


def _status(obj: Object) -> dict[str, Any]:
    return obj.get("status") or {}


def format_selector(selector: dict[str, Any] | None) -> str:
    """A LabelSelector as kubectl prints it."""
    if not selector:
        return "<none>"
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], ",".join(expression.get("values") or [])
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[expression["operator"]]
        )
    return ",".join(parts) or "<none>"


def _deployment(obj: Object, now: datetime) -> list[Any]:
    spec, status = _spec(obj), _status(obj)
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}"
    return [
        _name(obj),
        ready,
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age(obj, now),
        *containers_and_images(spec["template"]["spec"]),
        format_selector(spec.get("selector")),
    ]


def _replica_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = _spec(obj), _status(obj)
    return [
        _name(obj),
        spec.get("replicas", 1),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        _age(obj, now),
        *containers_and_images(spec["template"]["spec"]),
        format_selector(spec.get("selector")),
    ]


def _service(obj: Object, now: datetime) -> list[Any]:
    spec = _spec(obj)
    ports = ",".join(
        f"{port['port']}:{port['nodePort']}/{port.get('protocol', 'TCP')}"
        if port.get("nodePort")
        else f"{port['port']}/{port.get('protocol', 'TCP')}"
        for port in spec.get("ports") or []
    )
    selector = ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items()))
    external = (
        spec.get("externalName") if spec.get("type") == "ExternalName" else ",".join(spec.get("externalIPs") or [])
    )
    cluster_ip = spec.get("clusterIP") or "<none>"
    return [
        _name(obj),
        spec.get("type", "ClusterIP"),
        cluster_ip,
        external or "<none>",
        ports or "<none>",
        _age(obj, now),
        selector or "<none>",
    ]


def _job(obj: Object, now: datetime) -> list[Any]:
    spec, status = _spec(obj), _status(obj)
    conditions = {c["type"] for c in status.get("conditions") or [] if c.get("status") == "True"}
    state = next((word for word in ("Complete", "Failed", "Suspended") if word in conditions), "Running")
    if state == "Running" and obj["metadata"].get("deletionTimestamp"):
        state = "Terminating"
    wanted = spec.get("completions")
    done = f"{status.get('succeeded', 0)}/{wanted}" if wanted else f"{status.get('succeeded', 0)}/1"
    started, ended = parse_time(status.get("startTime")), parse_time(status.get("completionTime"))
    took = duration((ended or now) - started) if started else ""
    return [
        _name(obj),
        state,
        done,
        took,
        _age(obj, now),
        *containers_and_images(spec["template"]["spec"]),
        format_selector(spec.get("selector")),
    ]


def _autoscaler(obj: Object, now: datetime) -> list[Any]:
    spec, target = _spec(obj), _spec(obj)["scaleTargetRef"]
    return [
        _name(obj),
        f"{target['kind']}/{target['name']}",
        ", ".join(_metric(metric) for metric in spec.get("metrics") or []) or "<none>",
        str(spec.get("minReplicas", "<unset>")),
        spec["maxReplicas"],
        _status(obj).get("currentReplicas", 0),
        _age(obj, now),
    ]


def _metric(metric: dict[str, Any]) -> str:
    """What an autoscaler aims at; nobody here measures what it is now."""
    resource = metric.get("resource") or {}
    aim = (resource.get("target") or {}).get("averageUtilization")
    return f"{resource['name']}: <unknown>/{f'{aim}%' if aim else '<auto>'}" if resource else "<unknown>"


def _endpoint_slice(obj: Object, now: datetime) -> list[Any]:
    ports = _few([str(port["port"]) for port in obj.get("ports") or [] if port.get("port")])
    addresses = _few([address for endpoint in obj.get("endpoints") or [] for address in endpoint["addresses"]])
    return [_name(obj), obj["addressType"], ports, addresses, _age(obj, now)]


def _few(items: list[str]) -> str:
    if not items:
        return "<unset>"
    return ",".join(items[:3]) + (f" + {len(items) - 3} more..." if len(items) > 3 else "")


def _event(obj: Object, now: datetime) -> list[Any]:
    involved = obj.get("involvedObject") or {}
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    series = obj.get("series") or {}
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    return [
        age(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{involved.get('kind', '').lower()}/{involved.get('name', '')}",
        involved.get("fieldPath", ""),
        f"{component}, {source['host']}" if source.get("host") else component,
        (obj.get("message") or "").strip(),
        age(first, now),
        series.get("count") or obj.get("count") or 1,
        _name(obj),
    ]


def _node(obj: Object, now: datetime) -> list[Any]:
    status = _status(obj)
    ready = next((c.get("status", "") for c in status.get("conditions") or [] if c["type"] == "Ready"), "Unknown")
    state = {"True": "Ready", "False": "NotReady"}.get(ready, "Unknown")
    if _spec(obj).get("unschedulable"):
        state += ",SchedulingDisabled"
    role = "node-role.kubernetes.io/"
    roles = ",".join(sorted(k.removeprefix(role) for k in obj["metadata"].get("labels") or {} if k.startswith(role)))
    addresses = {a["type"]: a["address"] for a in status.get("addresses") or []}
    info = status.get("nodeInfo") or {}
    return [
        _name(obj),
        state,
        roles or "<none>",
        _age(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage", "<unknown>"),
        info.get("kernelVersion", "<unknown>"),
        info.get("containerRuntimeVersion", "<unknown>"),
    ]


def _named(*names: str, wide: tuple[str, ...] = (), integers: tuple[str, ...] = ()) -> tuple[Column, ...]:
    shown = [Column(name, "integer" if name in integers else "string") for name in names]
    more = [Column(name, "integer" if name in integers else "string", priority=1) for name in wide]
    return (name_column(), *shown, *more)


_TEMPLATE = ("Containers", "Images", "Selector")
_DEFAULT = Layout(_named("Age"), lambda obj, now: [_name(obj), _age(obj, now)])
_LAYOUTS: dict[tuple[str, str], Layout] = {
    ("", "pods"): Layout(POD_COLUMNS, pod_cells),
    ("apps", "deployments"): Layout(
        _named("Ready", "Up-to-date", "Available", "Age", wide=_TEMPLATE, integers=("Up-to-date", "Available")),
        _deployment,
    ),
    ("apps", "replicasets"): Layout(
        _named("Desired", "Current", "Ready", "Age", wide=_TEMPLATE, integers=("Desired", "Current", "Ready")),
        _replica_set,
    ),
    ("", "services"): Layout(
        _named("Type", "Cluster-IP", "External-IP", "Port(s)", "Age", wide=("Selector",)),
        _service,
    ),
    ("autoscaling", "horizontalpodautoscalers"): Layout(
        _named("Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"), _autoscaler
    ),
    ("batch", "jobs"): Layout(_named("Status", "Completions", "Duration", "Age", wide=_TEMPLATE), _job),
    ("discovery.k8s.io", "endpointslices"): Layout(_named("AddressType", "Ports", "Endpoints", "Age"), _endpoint_slice),
    ("", "events"): Layout(
        (
            Column("Last Seen"),
            Column("Type"),
            Column("Reason"),
            Column("Object"),
            Column("Subobject", priority=1),
            Column("Source", priority=1),
            Column("Message"),
            Column("First Seen", priority=1),
            Column("Count", "integer", priority=1),
            Column("Name", format="name", priority=1),
        ),
        _event,
    ),
    ("", "configmaps"): Layout(
        _named("Data", "Age", integers=("Data",)),
        lambda obj, now: [
            _name(obj),
            len(obj.get("data") or {}) + len(obj.get("binaryData") or {}),
            _age(obj, now),
        ],
    ),
    ("", "secrets"): Layout(
        _named("Type", "Data", "Age", integers=("Data",)),
        lambda obj, now: [_name(obj), obj.get("type", "Opaque"), len(obj.get("data") or {}), _age(obj, now)],
    ),
    ("", "serviceaccounts"): Layout(
        _named("Secrets", "Age", integers=("Secrets",)),
        lambda obj, now: [_name(obj), len(obj.get("secrets") or []), _age(obj, now)],
    ),
    ("coordination.k8s.io", "leases"): Layout(
        _named("Holder", "Age"),
        lambda obj, now: [_name(obj), _spec(obj).get("holderIdentity", ""), _age(obj, now)],
    ),
    ("", "namespaces"): Layout(
        _named("Status", "Age"),
        lambda obj, now: [_name(obj), _status(obj).get("phase", "Active"), _age(obj, now)],
    ),
    ("", "nodes"): Layout(
        _named(
            "Status",
            "Roles",
            "Age",
            "Version",
            wide=("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"),
        ),
        _node,
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions"): Layout(
        (name_column(), Column("Created At", "date")),
        lambda obj, _: [_name(obj), obj["metadata"]["creationTimestamp"]],
    ),
}
