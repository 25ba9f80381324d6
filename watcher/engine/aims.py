"""Begins a check: aims it at the addresses of a Service, or of each pod of a colour, or at the metrics server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from watcher.adapters.kubernetes import views
from watcher.adapters.kubernetes.caches import Caches
from watcher.adapters.kubernetes.jobs import JobOrder
from watcher.core.application import Application
from watcher.core.checks import Check, Hook
from watcher.core.effects import RunCheck
from watcher.core.lifecycle.ended import jobs_left
from watcher.core.release import Release
from watcher.engine.checks import Checks
from watcher.engine.hooks import introduced, job_environment
from watcher.engine.probes import probes


def begin(checks: Checks, caches: Caches, release: Release, app: Application, effect: RunCheck) -> None:
    """Run a check or hook in the background. Asked again while it is known: nothing."""
    key, check = (release.namespace, release.name), effect.check
    app = app.aimed_at(check.service if isinstance(check, Check) else None)
    if check.job:
        target = next(iter(targets(caches, app, effect)), "")
        order = JobOrder(release, effect.id, check.job, job_environment(release, app, effect.color, target))
        checks.start_job(key, effect.id, order)
    elif isinstance(check, Hook):
        urls = [check.http.url] if check.http else []
        checks.start(key, effect.id, probes(introduced(check, effect.id, release), urls, value=checks.secret))
    elif check.promql:
        checks.ask(key, effect.id, check.promql, app, effect.color, release.spec.version)
    else:
        spec = check.http or check.tcp or check.grpc
        number = spec.port if spec else None
        addresses, name = targets(caches, app, effect, number), f"{app.spec.service}.{app.namespace}.svc"
        runs = probes(check, addresses, name, checks.secret)
        checks.start(key, effect.id, runs, _nowhere(caches, app, effect, number))


def sweep(checks: Checks, release: Release, now: datetime) -> None:
    """End what an earlier process left running when the Release ended: it may have been killed before it did so."""
    orders = (JobOrder(release, run.id, run.check.job, {}) for run in jobs_left(release, now) if run.check.job)
    checks.drop((release.namespace, release.name), orders)


def _nowhere(caches: Caches, app: Application, effect: RunCheck, number: int | None) -> str:
    """Why a check has no address, where it has none."""
    service = caches.preview(app) if effect.target == "preview" else caches.service(app)
    if service is None:
        return "its Service does not exist"
    if views.port_of(service, number) is None:
        known = ", ".join(str(port.number) for port in service.ports)
        wanted = f"port {number}; it has {known}" if known else "port"
        return f"Service {service.view.name} has no {wanted}"
    return f"{effect.color} has no pod with an address"


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
