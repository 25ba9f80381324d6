"""Checks and hooks that are Kubernetes Jobs: what an Application says of one, and the file that describes it.

What always holds: a Job that is pinned with an Application is whole: the file that it came from is not needed again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from watcher.core.models import Model, PositiveDuration
from watcher.core.units import Invalid

WAYS = ("image", "template", "manifest")
"""How a Job is given: exactly one of them."""


class JobTemplate(Model):
    """A Kubernetes Job as `kubectl apply` takes it, kept in a file beside the Application. Its name does not matter."""

    of_version: ClassVar[str] = "batch/v1"

    api_version: Literal["batch/v1"]
    kind: Literal["Job"]
    metadata: dict[str, Any] = {}
    spec: dict[str, Any]

    @field_validator("spec")
    @classmethod
    def _runs_something(cls, spec: dict[str, Any]) -> dict[str, Any]:
        template = spec.get("template")
        pod = template.get("spec") if isinstance(template, dict) else None
        containers = pod.get("containers") if isinstance(pod, dict) else None
        if not isinstance(containers, list) or not containers:
            problem = "this Job has no container"
            raise Invalid(problem, "write its pod below template.spec, with at least one of containers")
        if not all(isinstance(one, dict) and one.get("name") and one.get("image") for one in containers):
            raise Invalid("a container of this Job has no name or no image", "write both")
        return spec


class JobCheck(Model):
    """A Kubernetes Job that must succeed. Its containers are told TARGET_URL, VERSION, COLOR and the like."""

    image: Annotated[str, Field(min_length=1)] | None = None
    command: list[str] = []
    args: list[str] = []
    template: Annotated[str, Field(min_length=1)] | None = None
    """The name of a file beside the Application that holds the Job."""
    manifest: JobTemplate | None = None
    """The Job itself, in the place of a file."""
    env: dict[str, str] = {}
    timeout: PositiveDuration = timedelta(minutes=5)
    retries: Annotated[int, Field(ge=0, le=10)] = 0

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [way for way in WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            problem = f"a job has {' and '.join(given) if given else 'nothing to run'}"
            raise Invalid(problem, f"write exactly one of {', '.join(WAYS)}")
        if self.image is None and (self.command or self.args):
            raise Invalid("command and args go with image", "write them in the Job itself")
        return self
