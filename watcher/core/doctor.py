"""What a running blue/green pair needs so that its releases are safe: what fits, what is missing, and how to mend it.

`sketch` recognises the pair in what the cluster has, `examine` compares it with an Application. Both look at a
`Survey`, which an adapter makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from watcher.core.application import COLORS, Application, by_hand, other
from watcher.core.models import API_VERSION
from watcher.core.units import Invalid, near_miss

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """A Service, as far as it matters for a flip."""

    name: str
    selector: Mapping[str, str]
    ports: tuple[int, ...] = ()
    publishes_not_ready: bool = False
    keeper: str = ""
    """Who else keeps writing the selector, as far as the object tells (Helm, Argo CD, Flux ...)."""


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """A container of a pod template. `ready_path` is that of an HTTP readiness probe."""

    name: str
    probed: bool = False
    ready_path: str = ""


@dataclass(frozen=True, slots=True)
class AutoscalerFacts:
    """A HorizontalPodAutoscaler: its bounds, the controller that it belongs to, and who else keeps it."""

    name: str
    minimum: int
    maximum: int
    owner: str = ""
    keeper: str = ""


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """A Deployment: what it selects, what labels its pods get, and how many there are."""

    name: str
    replicas: int
    ready: int
    selector: Mapping[str, str]
    labels: Mapping[str, str]
    containers: tuple[ContainerFacts, ...] = ()
    autoscaler: AutoscalerFacts | None = None
    keeper: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """A namespace. `releases` says whether the cluster knows the kind Release there."""

    namespace: str
    services: Mapping[str, ServiceFacts] = field(default_factory=dict)
    deployments: Mapping[str, DeploymentFacts] = field(default_factory=dict)
    releases: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `cure` is empty where nothing is to be done."""

    level: Level
    said: str
    cure: str = ""


def sketch(survey: Survey, name: str, key: str = "color") -> Application:
    """The Application for the pair behind a Service, from what the cluster has.

    Raises Invalid, with a cure, for what is no blue/green pair.
    """
    service = survey.services.get(name)
    if service is None:
        meant = near_miss(name, survey.services)
        known = ", ".join(sorted(survey.services)) or "none"
        cure = f'did you mean "{meant}"?' if meant else f"the Services there are: {known}"
        raise Invalid(f"there is no Service {name} in namespace {survey.namespace}", cure)
    if service.selector.get(key) not in COLORS:
        raise Invalid(
            f"Service {name} selects no {key}: it has {_pairs(service.selector) or 'no selector'}",
            f"label the pods of both Deployments with {key}, then: {by_hand(survey.namespace, name, key, 'blue')}",
        )
    base = {label: value for label, value in service.selector.items() if label != key}
    colors: dict[str, dict[str, str]] = {}
    for color in COLORS:
        wanted = {**base, key: color}
        fitting = [d.name for d in survey.deployments.values() if wanted.items() <= d.labels.items()]
        if len(fitting) != 1:
            count = "no Deployment has" if not fitting else f"{len(fitting)} Deployments have"
            raise Invalid(f"{count} pods labelled {_pairs(wanted)}", f"make it one: the {color} one of the pair")
        colors[color] = {"deployment": fitting[0]}
    previews = [
        one.name
        for one in survey.services.values()
        if one.name != name and key in one.selector and {**one.selector, key: ""} == {**base, key: ""}
    ]
    path = next((c.ready_path for d in _both(survey, colors) for c in d.containers if c.ready_path), "")
    spec: dict[str, Any] = {"service": name, "selectorKey": key, "colors": colors}
    if len(previews) == 1:
        spec["preview"] = {"service": previews[0]}
    if path:
        spec["tests"] = {"health": [{"name": "ready", "http": {"path": path}}]}
    metadata = {"name": name, "namespace": survey.namespace}
    document = {"apiVersion": API_VERSION, "kind": "Application", "metadata": metadata, "spec": spec}
    return Application.model_validate(document, strict=False)


def _both(survey: Survey, colors: Mapping[str, Mapping[str, str]]) -> list[DeploymentFacts]:
    return [survey.deployments[colors[color]["deployment"]] for color in COLORS]


def examine(survey: Survey, app: Application) -> list[Finding]:
    """Everything that was looked at, in the order in which a release would meet it."""
    found = [*_cluster(survey)]
    for pair in app.pairs:
        found += [*_service(survey, pair), *_colors(survey, pair), *_preview(survey, pair)]
    return [*found, *_together(survey, app), *_tests(app)]


def _cluster(survey: Survey) -> Iterator[Finding]:
    if survey.releases:
        yield Finding("ok", "the cluster knows the kind Release")
    else:
        yield Finding("problem", "the cluster does not know the kind Release", "kubectl apply -f deploy/crd.yaml")


def _service(survey: Survey, app: Application) -> Iterator[Finding]:
    spec = app.spec
    service = survey.services.get(spec.service)
    if service is None:
        yield Finding("problem", f"Service {spec.service} does not exist", "create it, or name another as service")
        return
    color = service.selector.get(spec.selector_key, "")
    if color in COLORS:
        yield Finding("ok", f"Service {service.name} selects {spec.selector_key}: {color}, so {color} serves")
    else:
        yield Finding(
            "problem",
            f"Service {service.name} selects {spec.selector_key}: {color or '(nothing)'}, which is neither colour",
            f"let it select {spec.selector_key}: blue or {spec.selector_key}: green",
        )
    if not service.ports:
        yield Finding("problem", f"Service {service.name} has no port", "give it one: checks are sent there")
    if service.publishes_not_ready:
        yield Finding(
            "problem",
            f"Service {service.name} publishes addresses that are not ready, so a flip may reach pods that are not",
            "take publishNotReadyAddresses away",
        )
    if service.keeper:
        yield Finding(
            "warning",
            f"{service.keeper} keeps Service {service.name}: its next sync may put the old selector back, and the "
            "release that runs then ends Superseded",
            f"let it ignore /spec/selector/{spec.selector_key} of this Service",
        )


def _colors(survey: Survey, app: Application) -> Iterator[Finding]:
    service = survey.services.get(app.spec.service)
    active = service.selector.get(app.spec.selector_key, "") if service else ""
    sides = {color: survey.deployments.get(app.deployment(color)) for color in COLORS}
    for color, side in sides.items():
        if side is None:
            name = app.deployment(color)
            cure = f"create it: a copy of {app.deployment(other(color))} with {app.spec.selector_key}: {color}"
            yield Finding("problem", f"Deployment {name} ({color}) does not exist", cure)
            continue
        yield from _side(side, color, app, service, serves=color == active)
        yield from _autoscaler(side, color, sides[other(color)])
    blue, green = sides["blue"], sides["green"]
    if blue and green:
        theirs = {side.name: {c.name for c in side.containers} for side in (blue, green)}
        if theirs[blue.name] != theirs[green.name]:
            said = " and ".join(f"{name} has {', '.join(sorted(names))}" for name, names in theirs.items())
            yield Finding(
                "warning", f"the two have different containers: {said}", "a release names images by container"
            )


def _side(
    side: DeploymentFacts, color: str, app: Application, service: ServiceFacts | None, *, serves: bool
) -> Iterator[Finding]:
    key = app.spec.selector_key
    wanted = {**(service.selector if service else {}), key: color}
    missing = {label: value for label, value in wanted.items() if side.labels.get(label) != value}
    where = f"Deployment {side.name} ({color})"
    if missing:
        yield Finding(
            "problem",
            f"the pods of {where} lack {_pairs(missing)}: once the Service selects {color}, nobody is served",
            f"add it to spec.template.metadata.labels of {side.name}",
        )
    else:
        yield Finding("ok", f"the pods of {where} are the ones that the Service selects for {color}")
    if side.selector.get(key) != color:
        yield Finding(
            "problem",
            f"{where} does not select {key}: {color} itself, so both may take each other's pods for their own",
            f"make it anew with {key}: {color} in spec.selector.matchLabels (it cannot be changed)",
        )
    unprobed = [c.name for c in side.containers if not c.probed]
    if unprobed:
        yield Finding(
            "problem" if len(unprobed) == len(side.containers) else "warning",
            f"{where}: no readiness probe in {', '.join(unprobed)}: it counts as ready while it still starts",
            "add a readinessProbe: no flip waits for more than readiness",
        )
    if serves and side.ready == 0:
        yield Finding(
            "problem",
            f"{where} serves, and none of its pods is ready",
            f"see kubectl describe -n {app.namespace} deployment/{side.name}",
        )
    elif serves:
        yield Finding("ok", f"{where} serves with {side.ready} of {side.replicas} pods ready")
    if serves and side.replicas == 1:
        yield Finding("warning", f"{where} has one pod: losing it is an outage, with or without a release", "run two")
    if side.keeper:
        yield Finding(
            "warning",
            f"{side.keeper} keeps {where}: its next sync may put the old image or size back",
            f"let it ignore images and replicas of {side.name}",
        )


def _autoscaler(side: DeploymentFacts, color: str, opposite: DeploymentFacts | None) -> Iterator[Finding]:
    found = side.autoscaler
    if found is None:
        if opposite and opposite.autoscaler:
            yield Finding(
                "warning",
                f"Deployment {side.name} ({color}) has no autoscaler, {opposite.name} has one: once {color} serves, "
                "nobody sizes it by its load",
                f"give it one like {opposite.autoscaler.name}",
            )
        return
    name = f"HorizontalPodAutoscaler {found.name} of {color}"
    yield Finding(
        "ok", f"{name} keeps {found.minimum} to {found.maximum} pods; its minimum is raised for a flip, and given back"
    )
    if opposite and opposite.replicas > found.maximum:
        yield Finding(
            "warning",
            f"{name} allows {found.maximum} pods at most, and {opposite.name} has {opposite.replicas}: after a flip "
            "fewer pods carry the same load",
            f"raise its maxReplicas to {opposite.replicas} or more",
        )
    if found.owner:
        yield Finding(
            "warning",
            f"{name} belongs to {found.owner}, so its minimum is left alone: it may shrink {color} while it has no "
            "traffic",
            "let its owner keep as many pods as can carry the load of a flip (KEDA: minReplicaCount)",
        )
    elif found.keeper:
        yield Finding(
            "warning",
            f"{found.keeper} keeps {name}: its next sync may take a raised minimum back",
            f"let it ignore minReplicas of {found.name}",
        )


def _preview(survey: Survey, app: Application) -> Iterator[Finding]:
    if app.spec.preview is None:
        yield Finding(
            "warning",
            "there is no preview Service: tests go to the pods of the idle colour, one by one",
            f"make one, as a copy of {app.spec.service} that selects the idle colour, and name it as preview",
        )
        return
    name = app.spec.preview.service
    preview, service = survey.services.get(name), survey.services.get(app.spec.service)
    if preview is None:
        yield Finding("problem", f"preview Service {name} does not exist", "create it, or leave preview out")
        return
    key = app.spec.selector_key
    more = {k: v for k, v in preview.selector.items() if k != key and service and service.selector.get(k) != v}
    if more:
        yield Finding(
            "warning",
            f"preview Service {name} asks for {_pairs(more)}, which {app.spec.service} does not: what it shows ready "
            "may not be what a flip reaches",
            "let both have the same selector but for the colour",
        )
    else:
        yield Finding("ok", f"preview Service {name} follows the idle colour")


def _together(survey: Survey, app: Application) -> Iterator[Finding]:
    """Whether several pairs can move together."""
    found = [survey.services[pair.spec.service] for pair in app.pairs if pair.spec.service in survey.services]
    live = {service.name: service.selector.get(app.spec.selector_key, "") for service in found}
    if len(set(live.values())) > 1:
        said = ", ".join(f"{name} {color or '(nothing)'}" for name, color in live.items())
        yield Finding(
            "problem",
            f"the Services select different colours: {said}; a release is refused",
            "let them select the same one",
        )


def _tests(app: Application) -> Iterator[Finding]:
    tests = app.spec.tests
    if not (tests.smoke or tests.verification):
        yield Finding(
            "warning",
            "no smoke or verification check: a version that starts is a version that gets traffic",
            "add one under tests (docs/applications.md)",
        )
    if not app.spec.watch.rules:
        yield Finding(
            "warning",
            "no rules: after the switch only crashes and readiness are watched",
            "add rules under watch, such as http and resources (docs/rules.md)",
        )


def _pairs(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in sorted(labels.items()))
