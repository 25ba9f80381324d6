"""What the daemon knows of its namespaces without asking: caches by list and watch, put together to views."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog
from pydantic import ValidationError

from watcher.adapters.kubernetes import paths, views
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.informer import Informer
from watcher.core import release as releases
from watcher.core.application import COLORS, Application
from watcher.core.observed import ColorView, DeploymentView, PairView, ScalerView
from watcher.core.release import Release

SCALERS_RETRY = 60.0
"""Seconds after which autoscalers that may not be listed are asked for again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class World:
    """One pair's part of the cluster. `None` for a Service that does not exist."""

    service: views.Service | None
    preview: views.Service | None
    colors: Mapping[str, ColorView]
    scalers_known: bool = True
    """Whether the autoscalers were listed, or never will be: no such kind, or no right to see it."""

    @property
    def view(self) -> PairView:
        """What the lifecycle sees of it."""
        service, preview = self.service, self.preview
        return PairView(service.view if service else None, preview.view if preview else None, self.colors)


OnWorld = Callable[[str, str], None]
"""Called with the namespace and the name of the Service or Deployment that changed or whose pods or endpoints did."""


class _Namespace:
    """The caches of one namespace."""

    def __init__(self, connection: Connection, name: str, on_world: OnWorld) -> None:
        def of_itself(changed: str, *_: object) -> None:
            on_world(name, changed)

        def of_pod(_: str, *states: views.Pod | None) -> None:
            for pod in states:
                if pod is not None:
                    on_world(name, pod.deployment)

        def of_slice(_: str, *states: views.Slice | None) -> None:
            for found in states:
                if found is not None:
                    on_world(name, found.service)

        def of_scaler(_: str, *states: views.Scaler | None) -> None:
            for scaler in states:
                if scaler is not None and scaler.deployment:
                    on_world(name, scaler.deployment)

        self.services = Informer(connection, paths.services(name), views.service, of_itself)
        self.deployments = Informer(connection, paths.deployments(name), views.deployment, of_itself)
        self.pods = Informer(connection, paths.pods(name), views.pod, of_pod)
        self.slices = Informer(connection, paths.endpoint_slices(name), views.endpoint_slice, of_slice)
        self.informers: tuple[Informer[Any], ...] = (self.services, self.deployments, self.pods, self.slices)
        # Not one of them: neither a start nor a rollback waits for autoscalers, and a cluster may have no such kind.
        self.scalers = Informer(connection, paths.autoscalers(name), views.scaler, of_scaler, last_retry=SCALERS_RETRY)


class Caches:
    """All namespaces with Applications. `on_world` and `on_release(namespace, name)` are wake-ups."""

    def __init__(
        self,
        connection: Connection,
        on_world: OnWorld,
        on_release: Callable[[str, str], None],
    ) -> None:
        self._connection, self._on_world, self._on_release = connection, on_world, on_release
        self._namespaces: dict[str, _Namespace] = {}
        self._releases: dict[str, Informer[Release | None]] = {}
        self._lock = threading.Lock()

    def follow(self, namespaces: Iterable[str]) -> None:
        """Begin to follow namespaces that are not followed yet."""
        with self._lock:
            for name in sorted(set(namespaces) - self._namespaces.keys()):
                space = _Namespace(self._connection, name, self._on_world)
                self._namespaces[name] = space
                found = Informer(
                    self._connection,
                    paths.releases(name),
                    _release,
                    lambda release, *_, name=name: self._on_release(name, release),
                )
                self._releases[name] = found
                for informer in (*space.informers, space.scalers, found):
                    informer.start()

    def wait(self, seconds: float) -> bool:
        """Whether every cache has its first list within so many seconds."""
        informers = [i for space in self._namespaces.values() for i in space.informers] + list(self._releases.values())
        return all(informer.synced.wait(seconds) for informer in informers)

    def listed(self, namespace: str) -> bool:
        """Whether everything of a namespace was listed once, its Releases too."""
        found = self._releases.get(namespace)
        return self.synced(namespace) and found is not None and found.synced.is_set()

    def synced(self, namespace: str) -> bool:
        space = self._namespaces.get(namespace)
        return bool(space and all(informer.synced.is_set() for informer in space.informers))

    def stop(self) -> None:
        for space in self._namespaces.values():
            for informer in (*space.informers, space.scalers):
                informer.stop()
        for informer in self._releases.values():
            informer.stop()

    # -- Releases -----------------------------------------------------------------------------------------------------

    def releases(self, namespace: str) -> list[Release]:
        found = self._releases.get(namespace)
        return [r for r in found.all().values() if r is not None] if found else []

    def release(self, namespace: str, name: str) -> Release | None:
        found = self._releases.get(namespace)
        return found.get(name) if found else None

    def remember(self, release: Release) -> None:
        """What was just read or written, so that the next look does not see an older one."""
        found = self._releases.get(release.namespace)
        if found is not None:
            found.put(release.name, release, release.resource_version)

    # -- the world ----------------------------------------------------------------------------------------------------

    def world(self, app: Application) -> World:
        """The Services and colours of the Application's first pair, from the caches alone."""
        space = self._namespaces[app.namespace]
        service = space.services.get(app.spec.service)
        preview = space.services.get(app.spec.preview.service) if app.spec.preview else None
        slices = tuple(space.slices.all().values())
        world = compose(app, service, preview, space.deployments.all(), space.pods.all(), slices)
        return self._with_scalers(app, world)

    def world_with(self, app: Application, service: views.Service | None, slices: Iterable[views.Slice]) -> World:
        """The same with the live Service and EndpointSlices as they were just read."""
        space = self._namespaces[app.namespace]
        preview = space.services.get(app.spec.preview.service) if app.spec.preview else None
        world = compose(app, service, preview, space.deployments.all(), space.pods.all(), tuple(slices))
        return self._with_scalers(app, world)

    def _with_scalers(self, app: Application, world: World) -> World:
        """With each colour's autoscaler; of two the first by name, as the cluster itself then obeys neither."""
        informer = self._namespaces[app.namespace].scalers
        found: dict[str, ScalerView] = {}
        for _, scaler in sorted(informer.all().items()):
            found.setdefault(scaler.deployment, scaler.view)
        colors = {c: replace(view, scaler=found.get(app.deployment(c))) for c, view in world.colors.items()}
        return replace(world, colors=colors, scalers_known=informer.synced.is_set() or informer.refused.is_set())

    def remember_scaler(self, namespace: str, scaler: views.Scaler) -> None:
        """What was just written, so that the next look does not see an older one."""
        self._namespaces[namespace].scalers.put(scaler.view.name, scaler, scaler.view.resource_version)

    def service(self, app: Application) -> views.Service | None:
        """The live Service."""
        return self._namespaces[app.namespace].services.get(app.spec.service)

    def preview(self, app: Application) -> views.Service | None:
        """The preview Service."""
        name = app.spec.preview.service if app.spec.preview else ""
        return self._namespaces[app.namespace].services.get(name)

    def remember_service(self, namespace: str, service: views.Service) -> None:
        """What was just read, so that the next look does not see an older one."""
        self._namespaces[namespace].services.put(service.view.name, service, service.view.resource_version)

    def pods(self, app: Application, color: str) -> list[views.Pod]:
        """The pods of a colour."""
        name = app.deployment(color)
        return [pod for pod in self._namespaces[app.namespace].pods.all().values() if pod.deployment == name]


def compose(
    app: Application,
    service: views.Service | None,
    preview: views.Service | None,
    deployments: Mapping[str, DeploymentView],
    pods: Mapping[str, views.Pod],
    slices: tuple[views.Slice, ...],
) -> World:
    """Put the pieces together. A colour's endpoints are counted in the slices of a Service that selects it, and only
    pods count that the live Service would find: another label in its selector may leave a colour dead, however ready.
    """
    key = app.spec.selector_key
    asked = _without(key, service)
    colors: dict[str, ColorView] = {}
    for color in COLORS:
        deployment = deployments.get(app.deployment(color))
        own = [pod for pod in pods.values() if pod.deployment == app.deployment(color)]
        there = [pod for pod in own if not pod.view.deleting]
        names = {pod.view.name for pod in there}
        found = {pod.view.name for pod in there if asked.items() <= pod.labels.items()}
        endpoints: int | None = None
        for candidate in (service, preview):
            if candidate is None or candidate.view.selector.get(key) != color:
                continue
            # A preview that asks for more than the live Service says nothing of what that one would find (S2).
            if _without(key, candidate).items() <= asked.items() or service is None:
                endpoints = _endpoints(candidate.view.name, slices, names, found)
            break
        if endpoints is None and found != names:
            endpoints = sum(1 for pod in there if pod.view.name in found and pod.view.ready)
        wanted = deployment.images if deployment else {}
        views_ = sorted((replace(p.view, latest=_latest(p, wanted)) for p in own), key=lambda v: v.name)
        colors[color] = ColorView(color, deployment, tuple(views_), endpoints)
    return World(service, preview, colors)


def _without(key: str, service: views.Service | None) -> Mapping[str, str]:
    """What a Service asks of a pod besides its colour."""
    return {k: v for k, v in service.view.selector.items() if k != key} if service else {}


def _endpoints(service: str, slices: tuple[views.Slice, ...], pods: set[str], found: set[str]) -> int | None:
    """How many ready endpoints a Service has of the pods that are `found`; None when its slices still name pods that
    are not of this colour. So it is for a moment after its selector moved, and then the pods must speak."""
    ready = {name for found_ in slices if found_.service == service for name in found_.ready_pods}
    return len(ready & found) if ready <= pods else None


def _latest(pod: views.Pod, images: Mapping[str, str]) -> bool:
    """Whether the pod runs what its Deployment asks for now."""
    return all(pod.images.get(container) == image for container, image in images.items())


def _release(raw: Mapping[str, Any]) -> Release | None:
    """A Release, or None for one that cannot be understood: it must not stop the others."""
    try:
        return releases.from_json(dict(raw))
    except ValidationError as error:
        log.warning("a Release cannot be understood", release=raw["metadata"]["name"], error=str(error))
        return None
