"""The checks that a new version must pass, and the hooks that are told of a release's life, as an Application has them.

Every default of theirs stands here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from watcher.core.jobs import JobCheck
from watcher.core.models import Duration, Model, Name, PositiveDuration, Url, UrlPath
from watcher.core.units import Invalid


class Expect(Model):
    """What a good answer looks like. Without a status any 2xx is good."""

    status: int | list[int] | None = None
    text: str | None = None
    json_: dict[str, str | int | float | bool | None] = Field(default={}, alias="json")
    latency: Duration | None = None


class HttpCheck(Model):
    """One HTTP request, tried until it succeeds `within`, and then required to keep succeeding `for` a time."""

    path: UrlPath
    method: Literal["GET", "HEAD", "POST", "PUT"] = "GET"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    headers: dict[str, str] = {}
    body: str | None = None
    expect: Expect = Expect()
    every: PositiveDuration = timedelta(seconds=1)
    for_: Duration = Field(default=timedelta(0), alias="for")
    within: Duration = timedelta(seconds=10)
    timeout: PositiveDuration = timedelta(seconds=5)


class Probe(Model):
    """One thing that is tried on a version, or told to somebody else, in exactly one way."""

    name: Name | None = None
    job: JobCheck | None = None

    def title(self, index: int) -> str:
        return self.name or f"{index}"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [way for way in ("http", "job") if getattr(self, way) is not None]
        if len(given) != 1:
            problem = f"this has {' and '.join(given) if given else 'neither http nor job'}"
            raise Invalid(problem, "write exactly one of http, job")
        return self


class Check(Probe):
    """One check of a stage."""

    http: HttpCheck | None = None


def _names_differ(kind: str, stage: str, probes: Sequence[Probe]) -> None:
    """A result is kept by the name of what gave it."""
    seen: set[str] = set()
    for index, probe in enumerate(probes):
        title = probe.title(index)
        if title in seen:
            problem = f'a second {kind} is called "{title}"'
            raise Invalid(problem, f"give each {kind} of a list a name of its own", path=(stage, index))
        seen.add(title)


class Tests(Model):
    """What the new version must pass: smoke and verification before the switch, health before and after it."""

    smoke: list[Check] = []
    verification: list[Check] = []
    health: list[Check] = []

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for stage in ("smoke", "verification", "health"):
            seen: set[str] = set()
            for index, check in enumerate(getattr(self, stage)):
                title = check.title(index)
                if title in seen:
                    problem = f'a second check is called "{title}"'
                    raise Invalid(problem, "give each check of a stage a name of its own", path=(stage, index))
                if stage == "health" and check.job:
                    problem = "a Job cannot be a health check: those are repeated before and after the switch"
                    raise Invalid(problem, "write http, or make it a check of verification", path=(stage, index, "job"))
                seen.add(title)
        return self


class HookHttp(Model):
    """One HTTP request, sent once. Without a body it carries a JSON document that names the Release, its version,
    both colours and its phase.
    """

    url: Url
    method: Literal["GET", "POST", "PUT", "DELETE"] = "POST"
    headers: dict[str, str] = {}
    body: str | None = None
    expect: Expect = Expect()
    timeout: PositiveDuration = timedelta(seconds=10)


class Hook(Probe):
    """Something else that is told to act at a point of a release's life."""

    http: HookHttp | None = None


class Hooks(Model):
    """One after the other. A failing `pre` hook fails the Release; any other that fails is told and undoes nothing."""

    pre_deploy: list[Hook] = []
    pre_switch: list[Hook] = []
    post_switch: list[Hook] = []
    post_rollback: list[Hook] = []
    on_failure: list[Hook] = []

    @model_validator(mode="after")
    def _fit_their_points(self) -> Self:
        for point, field in type(self).model_fields.items():
            _names_differ("hook", str(field.alias), getattr(self, point))
        return self
