"""Where a check is aimed: the addresses of a Service, or of each pod of a colour."""

from __future__ import annotations

from collections.abc import Sequence

from watcher.adapters.kubernetes import views
from watcher.adapters.kubernetes.caches import Caches
from watcher.core.application import Application
from watcher.core.effects import RunCheck


def targets(caches: Caches, app: Application, effect: RunCheck, number: int | None = None) -> Sequence[str]:
    """The base URLs that a check is aimed at, at the Service's port of that number (default: its first)."""
    service = caches.preview(app) if effect.target == "preview" else caches.service(app)
    if service is None:
        return ()
    port = views.port_of(service, number)
    if port is None:
        return ()
    if effect.target != "pods":
        host = service.cluster_ip if service.cluster_ip not in ("", "None") else f"{service.view.name}.{app.namespace}"
        return (_url(host, port.number),)
    pods = [pod for pod in caches.pods(app, effect.color) if pod.view.ip and not pod.view.deleting]
    return tuple(_url(pod.view.ip, views.pod_port(pod, port)) for pod in pods)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
