"""The reusable workflow: in one job, or in two with reviewers between them, who may also say no."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.github import expressions, workflow
from tests.github.conftest import BOSS, PIPELINE, Pipeline
from tests.support.acting import GOOD


def inputs(site: Pipeline, version: str, **changes: str) -> dict[str, str]:
    taken = ("server", "namespace", "application", "version", "images")
    return {name: value for name, value in site.release(version).items() if name in taken} | changes


def test_without_an_environment_it_is_one_job(pipeline: Callable[..., Pipeline]) -> None:
    site = pipeline()
    ran = workflow.run(site.job, inputs(site, GOOD), PIPELINE)
    assert ran.results == {"release": "success", "switch": "skipped", "withdraw": "skipped"}, ran.steps
    assert (ran.outputs["phase"], ran.outputs["active-color"]) == ("Completed", "green")
    again = workflow.run(site.job, inputs(site, "2.4.1-smoke"), PIPELINE)
    assert again.results == {"release": "failure", "switch": "skipped", "withdraw": "skipped"}
    assert (again.outputs["phase"], again.outputs["active-color"]) == ("Failed", "green")


def test_reviewers_let_it_switch_or_have_it_withdrawn(pipeline: Callable[..., Pipeline]) -> None:
    site = pipeline(approval="beforeSwitch")
    asked: list[str] = []

    def no(environment: str) -> bool:
        asked.append(environment)
        assert site.stage.active() == "blue"
        return False

    refused = workflow.run(site.job, inputs(site, GOOD, environment="production"), BOSS, no)
    assert asked == ["production"]
    assert refused.results == {"release": "success", "switch": "failure", "withdraw": "success"}, refused.steps
    assert refused.steps["withdraw"].outputs["phase"] == "Aborted"
    assert "not let through environment production" in refused.steps["withdraw"].outputs["message"]
    assert site.stage.active() == "blue"

    passed = workflow.run(site.job, inputs(site, GOOD, environment="production"), BOSS)
    assert passed.results == {"release": "success", "switch": "success", "withdraw": "skipped"}, passed.steps
    assert passed.outputs == {name: passed.steps["switch"].outputs[name] for name in passed.outputs}
    assert (passed.outputs["phase"], passed.outputs["active-color"]) == ("Completed", "green")
    assert site.ended()["spec"]["approve"]["reason"] == "let through environment production"


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("a.b == '' && 'x y' || 'z'", "x y"),
        ("a.c != '' && always()", True),
        ("a.c == 'word' && a.b || 'other'", "other"),
        ("a.nothing.at.all", None),
    ],
)
def test_expressions_come_to_what_they_do_on_github(expression: str, wanted: object) -> None:
    assert expressions.value(expression, {"a": {"c": "word"}}) == wanted


@pytest.mark.parametrize("unknown", ["failure()", "a + b", "'x' 'y'"])
def test_an_expression_that_is_not_known_here_is_not_guessed(unknown: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        expressions.value(unknown, {})
