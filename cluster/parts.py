"""The command lines and configuration files of the cluster's parts, and nothing else: no process is started here.

Options that only this environment needs are explained where they stand; all others are what a real cluster has too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cluster.layout import API_PORT, ETCD, NODE_IP, NODE_NAME, PODS, SANDBOX_IMAGE, SERVICES, Layout

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
CNI_PLUGINS = "/usr/lib/cni"


def etcd(layout: Layout, binaries: Path) -> list[str]:
    """Data that nobody needs tomorrow is not synced to disk."""
    return [
        str(binaries / "etcd"),
        f"--data-dir={layout.home / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
    ]


def api_server(layout: Layout, binaries: Path) -> list[str]:
    """Without a default route it cannot find its own address, so that is said."""
    keys = layout.credentials
    return [
        str(binaries / "kube-apiserver"),
        f"--etcd-servers={ETCD}",
        f"--secure-port={API_PORT}",
        f"--advertise-address={NODE_IP}",
        f"--tls-cert-file={keys / 'api-server.crt'}",
        f"--tls-private-key-file={keys / 'api-server.key'}",
        f"--token-auth-file={keys / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={keys / 'accounts.pub'}",
        f"--service-account-signing-key-file={keys / 'accounts.key'}",
        f"--service-cluster-ip-range={SERVICES}",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={layout.config / 'audit.json'}",
        f"--audit-log-path={layout.audit_log}",
    ]


def controller_manager(layout: Layout, binaries: Path) -> list[str]:
    keys = layout.credentials
    credentials = keys / "controller-manager.json"
    return [
        str(binaries / "kube-controller-manager"),
        f"--kubeconfig={credentials}",
        f"--authentication-kubeconfig={credentials}",
        f"--authorization-kubeconfig={credentials}",
        f"--service-account-private-key-file={keys / 'accounts.key'}",
        f"--root-ca-file={keys / 'ca.crt'}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
    ]


def scheduler(layout: Layout, binaries: Path) -> list[str]:
    credentials = layout.credentials / "scheduler.json"
    return [
        str(binaries / "kube-scheduler"),
        f"--kubeconfig={credentials}",
        f"--authentication-kubeconfig={credentials}",
        f"--authorization-kubeconfig={credentials}",
        "--leader-elect=false",
    ]


def containerd(layout: Layout) -> list[str]:
    return ["containerd", f"--config={layout.config / 'containerd.toml'}"]


def kubelet(layout: Layout, binaries: Path) -> list[str]:
    return [
        str(binaries / "kubelet"),
        f"--config={layout.config / 'kubelet.json'}",
        f"--kubeconfig={layout.credentials / 'kubelet.json'}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={NODE_IP}",
    ]


def kube_proxy(layout: Layout, binaries: Path) -> list[str]:
    return [str(binaries / "kube-proxy"), f"--config={layout.config / 'kube-proxy.json'}"]


def write_config(layout: Layout, snapshotter: str) -> None:
    """Write the files that the command lines above name. JSON is YAML, and needs no library to be written."""
    layout.config.mkdir()
    network = layout.config / "cni"
    network.mkdir()
    (layout.config / "containerd.toml").write_text(_containerd_toml(network, snapshotter), "utf-8")
    (layout.config / "resolv.conf").write_text(f"nameserver {NODE_IP}\n", "utf-8")
    _json(network / "10-pods.conflist", _NETWORK)
    _json(layout.config / "audit.json", _AUDIT_POLICY)
    _json(layout.config / "kubelet.json", _kubelet_config(layout))
    _json(layout.config / "kube-proxy.json", _kube_proxy_config(layout))


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def _containerd_toml(network: Path, snapshotter: str) -> str:
    """`restrict_oom_score_adj`: lowering that score may be forbidden, and every sandbox would fail.

    The folders are below /run and /var/lib as the cluster sees them.
    """
    return f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{SANDBOX_IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true
tolerate_missing_hugetlb_controller = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{network}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}
"""What daemons ask for and what they are answered, without bodies; nothing of Kubernetes itself or of people."""

_NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods",
            "isGateway": True,
            "hairpinMode": True,
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dataDir": "/var/lib/cni/networks",
            },
        }
    ],
}


def _kubelet_config(layout: Layout) -> dict[str, Any]:
    """Neither cgroup hierarchy, nor swap, nor memory of the machine is this cluster's to arrange.

    No names are resolved: nothing answers at the address of the DNS, so that asking fails at once.
    Anybody in the cluster's network may ask the kubelet, as there is nobody else there.
    """
    never = dict.fromkeys(("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available"), "0%")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_IP,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDNS": [NODE_IP],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "evictionHard": never,
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": False,
        "oomScoreAdj": 0,
        "resolvConf": str(layout.config / "resolv.conf"),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    }


def _kube_proxy_config(layout: Layout) -> dict[str, Any]:
    """The connection tracker's limits belong to the machine: they are left as they are."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": PODS,
        "hostnameOverride": NODE_NAME,
        "bindAddress": NODE_IP,
        "oomScoreAdj": 0,
        "clientConnection": {"kubeconfig": str(layout.credentials / "kube-proxy.json")},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
    }
