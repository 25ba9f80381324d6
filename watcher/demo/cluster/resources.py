"""The kinds that the embedded cluster serves. Every other module looks a kind up here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of resource, as API discovery describes it. `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    status_subresource: bool = False
    scale_subresource: bool = False
    categories: tuple[str, ...] = field(default=())

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> tuple[str, str]:
        """(group, plural): what identifies the kind in the store, whatever its version."""
        return (self.group, self.plural)


def resource_name(kind: Kind) -> str:
    """plural.group, as messages and CRD names have it; the plural alone in the core group."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


NAMESPACE = Kind("", "v1", "namespaces", "Namespace", namespaced=False, short_names=("ns",), status_subresource=True)
NODE = Kind("", "v1", "nodes", "Node", namespaced=False, short_names=("no",), status_subresource=True)
POD = Kind("", "v1", "pods", "Pod", short_names=("po",), status_subresource=True, categories=("all",))
SERVICE = Kind("", "v1", "services", "Service", short_names=("svc",), status_subresource=True, categories=("all",))
CONFIG_MAP = Kind("", "v1", "configmaps", "ConfigMap", short_names=("cm",))
SECRET = Kind("", "v1", "secrets", "Secret")
EVENT = Kind("", "v1", "events", "Event", short_names=("ev",))
SERVICE_ACCOUNT = Kind("", "v1", "serviceaccounts", "ServiceAccount", short_names=("sa",))
DEPLOYMENT = Kind(
    "apps",
    "v1",
    "deployments",
    "Deployment",
    short_names=("deploy",),
    status_subresource=True,
    scale_subresource=True,
    categories=("all",),
)
REPLICA_SET = Kind(
    "apps",
    "v1",
    "replicasets",
    "ReplicaSet",
    short_names=("rs",),
    status_subresource=True,
    scale_subresource=True,
    categories=("all",),
)
AUTOSCALER = Kind(
    "autoscaling",
    "v2",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    short_names=("hpa",),
    status_subresource=True,
    categories=("all",),
)
JOB = Kind("batch", "v1", "jobs", "Job", status_subresource=True, categories=("all",))
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease")
CRD = Kind(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
    short_names=("crd", "crds"),
    status_subresource=True,
)

BUILT_IN: tuple[Kind, ...] = (
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    CONFIG_MAP,
    SECRET,
    EVENT,
    SERVICE_ACCOUNT,
    DEPLOYMENT,
    REPLICA_SET,
    AUTOSCALER,
    JOB,
    ENDPOINT_SLICE,
    LEASE,
    CRD,
)
