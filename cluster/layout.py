"""Where everything of the test cluster lies, and which addresses it uses. One place, so that the parts agree.

What always holds: every file is below `home`, and every address belongs to the cluster's own network namespace.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

NODE_NAME = "node"
NODE_IP = "10.244.255.1"
PODS = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
API_PORT = 6443
API_SERVER = f"https://{NODE_IP}:{API_PORT}"
ETCD = "http://127.0.0.1:2379"
SANDBOX_IMAGE = "docker.io/library/pause:local"

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders and files of one cluster."""

    home: Path

    @classmethod
    def default(cls) -> Layout:
        """The one cluster that a machine has, unless the environment names another folder for another one.

        Not in the cache folder: what lies here is gone after `down`.
        """
        home = os.environ.get("CLUSTER_HOME") or "/var/tmp/bluegreen-watcher-cluster"  # noqa: S108 - mode 0700
        return cls(Path(home).absolute())

    @property
    def holder(self) -> Path:
        """Says which process holds the namespaces."""
        return self.home / "holder.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.home / "credentials" / "admin.json"

    @property
    def credentials(self) -> Path:
        return self.home / "credentials"

    @property
    def config(self) -> Path:
        return self.home / "config"

    @property
    def logs(self) -> Path:
        return self.home / "log"

    @property
    def audit_log(self) -> Path:
        """What daemons asked of the API server, a JSON document a line."""
        return self.logs / "audit.log"

    @property
    def run(self) -> Path:
        """What the cluster's processes see as /run."""
        return self.home / "run"

    @property
    def var_lib(self) -> Path:
        """What the cluster's processes see as /var/lib."""
        return self.home / "var-lib"


def cache() -> Path:
    """What is kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bluegreen-watcher"


def kubernetes_version() -> str:
    """The version that cluster/kubernetes/go.mod names."""
    text = (ROOT / "cluster/kubernetes/go.mod").read_text("utf-8")
    found = re.search(r"^(?:require|\t)\s*k8s\.io/kubernetes (v\S+)", text, re.MULTILINE)
    if not found:
        raise ValueError("cluster/kubernetes/go.mod names no version of k8s.io/kubernetes")
    return found[1]


def binaries() -> Path:
    """Where cluster/build leaves what it builds."""
    return cache() / f"kubernetes-{kubernetes_version()}"
