"""Certificates, tokens and kubeconfigs: who is who in the cluster. Made anew for each one, readable by root only.

Components prove who they are by a token; what each may do is RBAC's own bootstrap policy, as in a real cluster.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path

from cluster.layout import API_SERVER, API_SERVICE_IP, NODE_IP, NODE_NAME, Layout

USERS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
}
_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
_DAYS = "30"


def write(layout: Layout) -> None:
    """Write everything into the folder of credentials."""
    folder = layout.credentials
    folder.mkdir(mode=0o700)
    _openssl(
        folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", _DAYS,
        "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=bluegreen-watcher-cluster",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    names = ",".join([f"DNS:{name}" for name in _NAMES] + [f"IP:{ip}" for ip in (API_SERVICE_IP, NODE_IP, "127.0.0.1")])
    _openssl(
        folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", _DAYS,
        "-CA", "ca.crt", "-CAkey", "ca.key", "-keyout", "api-server.key", "-out", "api-server.crt",
        "-subj", "/CN=kube-apiserver", "-addext", f"subjectAltName={names}",
        "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth",
    )  # fmt: skip
    _openssl(folder, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "accounts.key")
    _openssl(folder, "pkey", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")
    rows = []
    for name, (user, group) in USERS.items():
        token = secrets.token_urlsafe(24)
        rows.append(f"{token},{user},{name}" + (f',"{group}"' if group else ""))
        _kubeconfig(folder / f"{name}.json", folder / "ca.crt", token)
    _private(folder / "tokens.csv", "\n".join(rows) + "\n")


def _kubeconfig(path: Path, authority: Path, token: str) -> None:
    """JSON is YAML, and needs no library to be written."""
    entry = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": API_SERVER, "certificate-authority": str(authority)}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    _private(path, json.dumps(entry, indent=2) + "\n")


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, "utf-8")


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")
