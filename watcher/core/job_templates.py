"""Puts the Jobs that lie in files of their own into the Application that names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from watcher.core.application import Application
from watcher.core.checks import Hooks, Listed, Probe, Tests
from watcher.core.documents import Document
from watcher.core.jobs import JobTemplate
from watcher.core.units import Invalid, near_miss

P = TypeVar("P", bound=Probe)


def with_templates(app: Application, file: str, documents: Iterable[Document]) -> Application:
    """The Application (of that file) with each `template` replaced by the Job in the file that it names.

    Raises Invalid, with the path to the key, for a name that no file or more than one has.
    """
    jobs: dict[str, list[Document]] = {}
    for document in documents:
        if isinstance(document.model, JobTemplate):
            jobs.setdefault(document.file, []).append(document)
    spec = app.spec
    tests = {stage: _filled(getattr(spec.tests, stage), ("tests", stage), file, jobs) for stage in Tests.model_fields}
    hooks = {
        point: _filled(getattr(spec.hooks, point), ("hooks", str(field.alias)), file, jobs)
        for point, field in Hooks.model_fields.items()
    }
    changed = spec.model_copy(
        update={"tests": spec.tests.model_copy(update=tests), "hooks": spec.hooks.model_copy(update=hooks)}
    )
    return app.model_copy(update={"spec": changed})


def _filled(
    probes: Sequence[P], path: tuple[str | int, ...], file: str, jobs: Mapping[str, Sequence[Document]]
) -> Sequence[P]:
    found: list[P] = []
    for index, probe in enumerate(probes):
        if isinstance(probe, Listed) and probe.parallel is not None:
            members = _filled(probe.parallel, (*path, index, "parallel"), file, jobs)
            found.append(probe.model_copy(update={"parallel": members}))
            continue
        if probe.job is not None and probe.job.template is not None:
            where = ("spec", *path, index, "job", "template")
            manifest = _of_file(probe.job.template, file, jobs, where)
            job = probe.job.model_copy(update={"template": None, "manifest": manifest})
            found.append(probe.model_copy(update={"job": job}))
        else:
            found.append(probe)
    return found


def _of_file(
    name: str, beside: str, jobs: Mapping[str, Sequence[Document]], where: tuple[str | int, ...]
) -> JobTemplate:
    """The one Job of the file of that name: the one beside the Application, or the only one anywhere."""
    near = f"{beside.rpartition('/')[0]}/{name}"
    fitting = [near] if near in jobs else [path for path in jobs if path.endswith(f"/{name}")]
    if not fitting:
        names = sorted(path.rpartition("/")[2] for path in jobs)
        meant = near_miss(name, names)
        cure = f'did you mean "{meant}"?' if meant else "add a file of that name with kind: Job"
        raise Invalid(f'there is no file "{name}" with a Job', cure, path=where)
    if len(fitting) > 1:
        raise Invalid(f'"{name}" is the name of {len(fitting)} files', "give one of them another name", path=where)
    (path,) = fitting
    if len(jobs[path]) > 1:
        raise Invalid(f'"{name}" holds {len(jobs[path])} Jobs', "give each a file of its own", path=where)
    model = jobs[path][0].model
    assert isinstance(model, JobTemplate)
    return model
