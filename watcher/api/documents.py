"""What goes in and comes out of the API, as models: requests are checked against them, and the OpenAPI document is made
of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, RootModel, TypeAdapter

from watcher.core.application import COLORS, Application
from watcher.core.models import Model, Name
from watcher.core.release import Phase, Release
from watcher.core.rules import BoundRule

ReleaseName = Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]

Image = Annotated[str, Field(min_length=1, max_length=1024)]


def _named(schema: dict[str, Any]) -> None:
    """What a container may be called, which the model's own schema does not say."""
    schema["propertyNames"] = TypeAdapter(Name).json_schema()
    schema["additionalProperties"] = TypeAdapter(Image).json_schema()
    schema.pop("patternProperties", None)


# -- requests ---------------------------------------------------------------------------------------------------------


class OverrideWindow(Model):
    """Ignore deployment windows and freezes."""

    reason: Annotated[str, Field(min_length=1)]


class NewRelease(Model):
    """A release to ask for."""

    namespace: Name
    application: Name
    version: Annotated[str, Field(min_length=1, max_length=128)]
    images: Annotated[dict[Name, Image], Field(min_length=1, json_schema_extra=_named)]
    """Image by container name."""
    force: bool = False
    """Even a version that was rolled back before."""
    override_window: OverrideWindow | None = None


class Steering(Model):
    """Why a Release is steered."""

    reason: str = ""


class RollBack(Model):
    """Why traffic goes back."""

    reason: str = ""
    force: bool = False
    """Even to a version that was rolled back before."""


class NoQuery(Model):
    """No parameters."""


class ReleaseQuery(Model):
    """Which Releases to list."""

    namespace: Name | None = None
    application: Name | None = None
    phase: Phase | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class NamespaceQuery(Model):
    """Which Applications to list."""

    namespace: Name | None = None


class WaitQuery(Model):
    """How long to wait, and for what: the end, or (with `since`) anything newer than that resourceVersion."""

    timeout: Annotated[float, Field(ge=0, le=300)] = 30
    since: Annotated[str, Field(max_length=64)] = ""


class ColorQuery(Model):
    """The colour to bind rules to; without one, the idle one."""

    color: Literal["blue", "green"] | None = None


# -- answers ----------------------------------------------------------------------------------------------------------


class ShownColor(Model):
    """One colour of an Application."""

    deployment: str


class ShownApplication(Model):
    """An Application, and what goes on with it."""

    namespace: str
    name: str
    service: str
    active_color: str
    """Empty while it is not known."""
    colors: dict[str, ShownColor]
    approval: str
    releases: tuple[str, ...]
    """Names of the Releases that have not ended."""


class Applications(Model):
    """Applications, by namespace and name."""

    items: tuple[ShownApplication, ...]


class Releases(Model):
    """Releases, the newest first."""

    items: tuple[Release, ...]


class ShownRule(Model):
    """A rule as one watch has it: its queries are those that Prometheus is asked."""

    id: str
    description: str
    query: str
    traffic_query: str | None = None
    limit: str
    for_: Annotated[str, Field(alias="for")]
    interval: str
    enforcing: bool


class Rules(Model):
    """The rules of a watch on a colour."""

    color: str
    items: tuple[ShownRule, ...]


class Evaluation(Model):
    """One evaluation of a rule."""

    at: datetime
    outcome: str
    value: float | None = None
    """Absent where there is none, or it is infinite."""


class Series(Model):
    """The evaluations of one rule, in order."""

    rule: str
    limit: str
    items: tuple[Evaluation, ...]


class Evaluations(Model):
    """What the rules said from the switch until now, or until the watch ended."""

    release: str
    switched_at: datetime
    until: datetime
    items: tuple[Series, ...]


class AnyObject(RootModel[dict[str, Any]]):
    """Any JSON object: what it means, the settings of its receiver say."""


class AlertsReceived(Model):
    """What came of a notice of alerts."""

    acted: tuple[str, ...]
    """What was done, by Release."""
    ignored: int
    """Alerts that mean nothing here, began before the flip, or were known."""
    incomplete: int
    """Alerts that the sender left out."""


class ProblemDetails(Model):
    """What is wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[dict[str, str], ...] = ()
    """What is wrong with which part of the request."""


def application_json(app: Application, active: str, running: tuple[str, ...]) -> dict[str, Any]:
    """An Application, without its hooks and checks: their headers may hold secrets."""
    shown = ShownApplication(
        namespace=app.namespace,
        name=app.name,
        service=app.spec.service,
        active_color=active,
        colors={color: ShownColor(deployment=app.deployment(color)) for color in COLORS},
        approval=app.spec.approval,
        releases=running,
    )
    return shown.model_dump(mode="json")


def rules_json(color: str, rules: tuple[BoundRule, ...]) -> dict[str, Any]:
    """Rules as they are bound."""
    return Rules(color=color, items=tuple(_rule(rule) for rule in rules)).model_dump(mode="json", exclude_none=True)


def _rule(rule: BoundRule) -> ShownRule:
    plain: Mapping[str, Any] = json.loads(rule.model_dump_json())
    return ShownRule(
        id=rule.id,
        description=rule.description,
        query=rule.query,
        traffic_query=rule.traffic_query,
        limit=rule.limit,
        for_=plain["for"],
        interval=plain["interval"],
        enforcing=rule.enforcing,
    )
