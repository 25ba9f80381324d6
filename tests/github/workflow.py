"""Runs the reusable workflow as GitHub does: jobs by what they need and by their conditions, each on a fresh runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.github import expressions
from tests.github.runner import Done, Job
from tests.packaging.rendered import ROOT, parse

CHECKED_OUT = {"repository": "example/watcher", "ref": "0123abcd", "path": ".bluegreen-watcher"}


@dataclass
class Ran:
    """What came of a workflow."""

    results: dict[str, str]
    outputs: dict[str, str]
    steps: dict[str, Done] = field(default_factory=dict)
    """The action's step of each job that began."""


def run(
    job: Callable[..., Job], inputs: Mapping[str, object], token: str, passes: Callable[[str], bool] = lambda _: True
) -> Ran:
    """Call the workflow. `passes` says whether the reviewers of an environment let a job begin."""
    (workflow,) = parse((ROOT / ".github/workflows/release.yml").read_text("utf-8"))
    called = workflow["on"]["workflow_call"]
    assert inputs.keys() <= called["inputs"].keys()
    given = {name: inputs.get(name, one.get("default")) for name, one in called["inputs"].items()}
    contexts: dict[str, Any] = {
        "inputs": given,
        "secrets": {"token": token},
        "job": {"workflow_repository": CHECKED_OUT["repository"], "workflow_sha": CHECKED_OUT["ref"]},
    }
    finished: dict[str, Any] = {}
    ran = Ran({}, {})
    for id_, definition in workflow["jobs"].items():
        needs = definition.get("needs", [])
        needs = [needs] if isinstance(needs, str) else needs
        seen = contexts | {"needs": {name: finished[name] for name in needs}}
        finished[id_] = _job(id_, definition, seen, job, passes, ran)
        ran.results[id_] = finished[id_]["result"]
    for name, output in called["outputs"].items():
        ran.outputs[name] = expressions.text(output["value"], contexts | {"jobs": finished})
    return ran


def _job(
    id_: str,
    definition: dict[str, Any],
    contexts: dict[str, Any],
    job: Callable[..., Job],
    passes: Callable[[str], bool],
    ran: Ran,
) -> dict[str, Any]:
    condition = str(definition.get("if", "true")).removeprefix("${{").removesuffix("}}")
    fine = all(one["result"] == "success" for one in contexts["needs"].values())
    wanted = condition == "true" or bool(expressions.value(condition, contexts))
    if not wanted or not (fine or "always()" in condition):
        return {"result": "skipped", "outputs": {}}
    environment = expressions.text(definition.get("environment", ""), contexts)
    if environment and not passes(environment):
        return {"result": "failure", "outputs": {}}
    runner, steps, result = job(GITHUB_JOB=id_), {}, "success"
    for step in definition["steps"]:
        inputs = {name: expressions.text(value, contexts) for name, value in step["with"].items()}
        if step["uses"].startswith("actions/checkout@"):
            assert inputs == CHECKED_OUT | {"persist-credentials": "false"}
            continue
        assert step["uses"] == f"./{CHECKED_OUT['path']}"
        done = ran.steps[id_] = runner.run(**{name.replace("-", "_"): value for name, value in inputs.items()})
        steps[step.get("id", "")] = {"outputs": done.outputs}
        result = "failure" if done.status else result
    outputs = definition.get("outputs", {})
    seen = contexts | {"steps": steps}
    return {"result": result, "outputs": {name: expressions.text(value, seen) for name, value in outputs.items()}}
