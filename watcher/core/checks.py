"""The checks that a new version must pass, and the hooks that are told of a release's life, as an Application has them.

Every default of theirs stands here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from watcher.core.jobs import JobCheck
from watcher.core.models import Duration, Model, Name, PositiveDuration, SentUrl, UrlPath
from watcher.core.rules import Reduce, Template, Threshold
from watcher.core.units import Invalid


class Expect(Model):
    """What a good answer looks like. Without a status any 2xx is good."""

    status: int | list[int] | None = None
    text: str | None = None
    json_: dict[str, str | int | float | bool | None] = Field(default={}, alias="json")
    latency: Duration | None = None


class Addressed(Model):
    """What is tried at an address until it succeeds `within`, and then has to go on succeeding `for` a time: at the
    Service's, or with `eachPod` at that of every pod.
    """

    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    each_pod: bool = False
    every: PositiveDuration = timedelta(seconds=1)
    for_: Duration = Field(default=timedelta(0), alias="for")
    within: Duration = timedelta(seconds=10)
    timeout: PositiveDuration = timedelta(seconds=5)


class HttpCheck(Addressed):
    """One HTTP request."""

    path: UrlPath
    method: Literal["GET", "HEAD", "POST", "PUT"] = "GET"
    headers: dict[str, str] = {}
    body: str | None = None
    expect: Expect = Expect()


class TcpCheck(Addressed):
    """A connection, and nothing sent over it."""


class Tls(Model):
    """How a gRPC server proves who it is."""

    ca_file: str | None = None
    server_name: Annotated[str, Field(min_length=1)] | None = None


class GrpcCheck(Addressed):
    """A call of grpc.health.v1.Health/Check. Without a service it asks for the server as a whole."""

    service: str = ""
    tls: Tls | None = None


class PromqlCheck(Model):
    """A query about the colour under test that must stay on the right side of a threshold, in the words of a rule."""

    hints: ClassVar[Mapping[str, str]] = {
        "noData": 'did you mean "onNoData"?',
        "onError": "leave it out: a query that cannot be evaluated is tried again, and then fails the check",
        "expr": 'did you mean "query"?',
        "timeout": "leave it out: it is prometheus.timeout of the settings",
        "interval": 'did you mean "every"?',
        "eachPod": "leave it out: select the pods in the query",
    }

    query: Template
    window: PositiveDuration = timedelta(minutes=1)
    threshold: Threshold
    reduce: Reduce | None = None
    on_no_data: Literal["breach", "pass"] = "breach"
    every: PositiveDuration = timedelta(seconds=5)
    for_: Duration = Field(default=timedelta(0), alias="for")
    within: Duration = timedelta(minutes=1)


class Probe(Model):
    """One thing that is tried on a version, or told to somebody else, in exactly one way."""

    name: Name | None = None
    job: JobCheck | None = None

    def title(self, index: int) -> str:
        return self.name or f"{index}"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [name for name in type(self).model_fields if name not in ("name", "service")]
        given = [way for way in ways if getattr(self, way) is not None]
        if len(given) != 1:
            problem = f"this has {' and '.join(given)}" if given else "this says nothing to do"
            raise Invalid(problem, f"write exactly one of {', '.join(sorted(ways))}", path=tuple(given[1:2]))
        return self


class Check(Probe):
    """One check of a stage."""

    hints: ClassVar[Mapping[str, str]] = {
        "query": 'write it below promql, as in "promql: {query: ..., threshold: {below: 1}}"',
        "path": 'write it below http, as in "http: {path: /healthz}"',
        "port": 'write it below http, tcp or grpc, as in "tcp: {port: 6379}"',
        "image": 'write it below job, as in "job: {image: verify:7}"',
        "exec": "run the command as a job: {image: ..., command: [...]}",
    }

    service: Name | None = None
    """The live Service of the pair that is checked, where there are several; without it the first pair's."""
    http: HttpCheck | None = None
    tcp: TcpCheck | None = None
    grpc: GrpcCheck | None = None
    promql: PromqlCheck | None = None


class Listed(Check):
    """An entry of a list of checks: one check, or several that run at the same time."""

    parallel: Annotated[list[Check], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _named_by_its_checks(self) -> Self:
        if self.parallel is not None and self.name is not None:
            raise Invalid("checks that run in parallel have no name together", "name each of them", path=("name",))
        if self.parallel is not None and self.service is not None:
            raise Invalid("checks that run in parallel each have a service", "write it there", path=("service",))
        return self

    def checks(self, index: int) -> list[tuple[str, tuple[str | int, ...], Check]]:
        """Title, path within this entry, and check, of each of its checks."""
        if self.parallel is None:
            return [(self.title(index), (), self)]
        return [(c.name or f"{index}.{n}", ("parallel", n), c) for n, c in enumerate(self.parallel)]


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

    smoke: list[Listed] = []
    verification: list[Listed] = []
    health: list[Listed] = []

    def checks(self) -> Iterator[tuple[tuple[str | int, ...], str, Check]]:
        """Path, title and check, of every check."""
        for stage in type(self).model_fields:
            for index, listed in enumerate(getattr(self, stage)):
                for title, path, check in listed.checks(index):
                    yield (stage, index, *path), title, check

    @model_validator(mode="after")
    def _fit_their_stages(self) -> Self:
        seen: set[tuple[str | int, str]] = set()
        for path, title, check in self.checks():
            stage = path[0]
            if (stage, title) in seen:
                problem = f'a second check is called "{title}"'
                raise Invalid(problem, "give each check of a stage a name of its own", path=path)
            seen.add((stage, title))
            if stage == "health" and check.job:
                problem = "a Job cannot be a health check: those are repeated before and after the switch"
                raise Invalid(problem, "write http, or make it a check of verification", path=(*path, "job"))
            if stage == "health" and check.promql:
                # After the switch a Prometheus that is away would send traffic back (S7); rules hold then.
                problem = "a query cannot be a health check: after the switch, that is what rules are for"
                raise Invalid(problem, "make it a check of verification, or a rule", path=(*path, "promql"))
        return self


class HookHttp(Model):
    """One HTTP request, sent once. Without a body it carries a JSON document that names the Release, its version,
    both colours and its phase.
    """

    url: SentUrl
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
