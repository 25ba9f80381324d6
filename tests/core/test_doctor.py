"""A running pair is recognised, and what would go wrong in a release is found before one is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from watcher.core.application import Application
from watcher.core.doctor import (
    AutoscalerFacts,
    ContainerFacts,
    DeploymentFacts,
    Finding,
    ServiceFacts,
    Survey,
    examine,
    sketch,
)
from watcher.core.units import Invalid


def deployment(color: str, **changes: Any) -> DeploymentFacts:
    labels = {"app": "chat", "color": color}
    facts = DeploymentFacts(
        name=f"chat-{color}",
        replicas=2,
        ready=2,
        selector=labels,
        labels=labels | {"tier": "web"},
        containers=(ContainerFacts("proxy", probed=True), ContainerFacts("chat", probed=True, ready_path="/readyz")),
    )
    return replace(facts, **changes)


def service(name: str = "chat", color: str = "blue", **changes: Any) -> ServiceFacts:
    return replace(ServiceFacts(name, {"app": "chat", "color": color}, ports=(80,)), **changes)


def survey(*things: ServiceFacts | DeploymentFacts, releases: bool = True) -> Survey:
    """A pair that is in order, but for what is given instead."""
    whole = [service(), service("chat-preview", "green"), deployment("blue"), deployment("green"), *things]
    return Survey(
        "prod",
        {one.name: one for one in whole if isinstance(one, ServiceFacts)},
        {one.name: one for one in whole if isinstance(one, DeploymentFacts)},
        releases,
    )


def without(seen: Survey, *names: str) -> Survey:
    return replace(
        seen,
        services={name: one for name, one in seen.services.items() if name not in names},
        deployments={name: one for name, one in seen.deployments.items() if name not in names},
    )


def application(**spec: Any) -> Application:
    """What its team would write: tests, rules and a preview."""
    whole = {
        "service": "chat",
        "colors": {"blue": {"deployment": "chat-blue"}, "green": {"deployment": "chat-green"}},
        "preview": {"service": "chat-preview"},
        "tests": {"smoke": [{"http": {"path": "/healthz"}}]},
        "watch": {"rules": ["http"]},
    }
    document = {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "chat", "namespace": "prod"},
        "spec": whole | spec,
    }
    return Application.model_validate(document, strict=False)


GREEN_SCALER = AutoscalerFacts("green", 2, 9)


def scaled(green: AutoscalerFacts | None = GREEN_SCALER) -> Survey:
    """Both colours have an autoscaler, unless it is said otherwise."""
    blue = AutoscalerFacts("blue", 1, 9)
    return survey(deployment("blue", autoscaler=blue), deployment("green", autoscaler=green))


def troubles(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level != "ok"]


# -- recognising a pair -----------------------------------------------------------------------------------------------


def test_a_pair_as_the_guide_describes_it_is_recognised() -> None:
    app = sketch(survey(), "chat")

    assert (app.name, app.namespace, app.spec.service) == ("chat", "prod", "chat")
    assert (app.deployment("blue"), app.deployment("green")) == ("chat-blue", "chat-green")
    assert app.spec.preview is not None
    assert app.spec.preview.service == "chat-preview"
    assert [check.http.path for check in app.spec.tests.health if check.http] == ["/readyz"]


def test_a_pair_without_preview_and_probe_is_recognised_too() -> None:
    bare = {"containers": (ContainerFacts("chat"),)}
    app = sketch(without(survey(deployment("blue", **bare), deployment("green", **bare)), "chat-preview"), "chat")

    assert app.spec.preview is None
    assert app.spec.tests.health == []


def test_a_service_of_another_application_is_no_preview_and_neither_are_two() -> None:
    other = ServiceFacts("shop", {"app": "shop", "color": "blue"}, (80,))
    assert sketch(survey(other), "chat").spec.preview is not None
    assert sketch(survey(service("chat-canary", "green")), "chat").spec.preview is None


@pytest.mark.parametrize(
    ("seen", "name", "problem", "cure"),
    [
        (survey(), "chats", "there is no Service chats in namespace prod", 'did you mean "chat"?'),
        (survey(), "elsewhere", "there is no Service elsewhere", "the Services there are: chat, chat-preview"),
        (Survey("prod"), "chat", "there is no Service chat", "the Services there are: none"),
        (survey(service(color="red")), "chat", "selects no color: it has app: chat, color: red", "kubectl patch"),
        (survey(replace(service(), selector={})), "chat", "it has no selector", "-n prod"),
        (
            without(survey(), "chat-green"),
            "chat",
            "no Deployment has pods labelled app: chat, color: green",
            "the green one of the pair",
        ),
        (survey(deployment("blue", name="chat-third")), "chat", "2 Deployments have pods labelled", "the blue one"),
    ],
)
def test_what_is_no_pair_is_refused_with_a_cure(seen: Survey, name: str, problem: str, cure: str) -> None:
    with pytest.raises(Invalid) as refused:
        sketch(seen, name)

    assert problem in refused.value.problem
    assert cure in refused.value.cure


def test_the_colour_may_stand_under_another_key() -> None:
    seen = Survey(
        "prod",
        {"chat": ServiceFacts("chat", {"slot": "green"}, (80,))},
        {
            f"chat-{color}": deployment(color, labels={"slot": color}, selector={"slot": color})
            for color in ("blue", "green")
        },
    )

    assert sketch(seen, "chat", "slot").spec.selector_key == "slot"


# -- examining one ----------------------------------------------------------------------------------------------------


def test_a_pair_under_autoscalers_that_fit_is_in_order() -> None:
    findings = examine(scaled(), application())

    assert troubles(findings) == []
    assert any("green of green keeps 2 to 9 pods; its minimum is raised" in finding.said for finding in findings)


def test_nothing_is_found_wrong_with_a_pair_that_is_in_order() -> None:
    findings = examine(survey(), application())

    assert troubles(findings) == []
    assert "Service chat selects color: blue, so blue serves" in [finding.said for finding in findings]


@pytest.mark.parametrize(
    ("seen", "level", "said"),
    [
        (survey(releases=False), "problem", "does not know the kind Release"),
        (survey(service(color="")), "problem", "selects color: (nothing), which is neither colour"),
        (survey(service(ports=())), "problem", "Service chat has no port"),
        (survey(service(publishes_not_ready=True)), "problem", "publishes addresses that are not ready"),
        (survey(service(keeper="Argo CD")), "warning", "Argo CD keeps Service chat"),
        (survey(deployment("green", keeper="Flux")), "warning", "Flux keeps Deployment chat-green (green)"),
        (without(survey(), "chat-green"), "problem", "Deployment chat-green (green) does not exist"),
        (survey(deployment("green", labels={"app": "chat"})), "problem", "lack color: green"),
        (survey(deployment("green", selector={"app": "chat"})), "problem", "does not select color: green itself"),
        (survey(deployment("blue", ready=0)), "problem", "serves, and none of its pods is ready"),
        (survey(deployment("blue", replicas=1, ready=1)), "warning", "has one pod"),
        (scaled(green=None), "warning", "Deployment chat-green (green) has no autoscaler, chat-blue has one"),
        (scaled(green=AutoscalerFacts("g", 1, 1)), "warning", "g of green allows 1 pods at most, and chat-blue has"),
        (scaled(green=AutoscalerFacts("g", 1, 9, "ScaledObject c")), "warning", "g of green belongs to ScaledObject c"),
        (scaled(green=AutoscalerFacts("g", 1, 9, keeper="Flux")), "warning", "Flux keeps HorizontalPodAutoscaler g"),
        (without(survey(), "chat-preview"), "problem", "preview Service chat-preview does not exist"),
        (
            survey(service("chat-preview", "green", selector={"app": "chat", "color": "green", "canary": "yes"})),
            "warning",
            "asks for canary: yes, which chat does not",
        ),
    ],
)
def test_each_thing_that_would_go_wrong_is_found_alone_and_with_a_cure(seen: Survey, level: str, said: str) -> None:
    (finding,) = troubles(examine(seen, application()))

    assert finding.level == level
    assert said in finding.said
    assert finding.cure


def test_a_missing_service_is_one_finding_and_the_colours_are_looked_at_all_the_same() -> None:
    (finding,) = troubles(examine(without(survey(), "chat"), application()))

    assert finding.said == "Service chat does not exist"


@pytest.mark.parametrize(("probed", "level"), [((False, False), "problem"), ((True, False), "warning")])
def test_a_container_without_a_readiness_probe_counts_as_ready_too_early(probed: tuple[bool, bool], level: str) -> None:
    containers = tuple(ContainerFacts(name, one) for name, one in zip(("proxy", "chat"), probed, strict=True))
    (finding,) = troubles(examine(survey(deployment("green", containers=containers)), application()))

    assert (finding.level, "no readiness probe in" in finding.said) == (level, True)


def test_different_containers_on_the_two_sides_are_pointed_out() -> None:
    (finding,) = troubles(
        examine(survey(deployment("green", containers=(ContainerFacts("bot", True),))), application())
    )

    assert "chat-blue has chat, proxy and chat-green has bot" in finding.said


def test_an_application_without_tests_rules_and_preview_is_told_what_it_gives_up() -> None:
    findings = troubles(examine(survey(), application(preview=None, tests={}, watch={})))

    assert [finding.level for finding in findings] == ["warning"] * 3
    assert [finding.said.partition(":")[0] for finding in findings] == [
        "there is no preview Service",
        "no smoke or verification check",
        "no rules",
    ]


# -- several pairs ----------------------------------------------------------------------------------------------------

WORKER = {
    "service": "worker",
    "colors": {"blue": {"deployment": "worker-blue"}, "green": {"deployment": "worker-green"}},
    "preview": {"service": "worker-preview"},
}


def of_worker(one: ServiceFacts | DeploymentFacts) -> ServiceFacts | DeploymentFacts:
    return replace(one, name=one.name.replace("chat", "worker"))


def test_every_pair_is_looked_at() -> None:
    sides = [of_worker(deployment(color)) for color in ("blue", "green")]
    seen = survey(service("worker"), service("worker-preview", "green"), *sides)

    assert troubles(examine(seen, application(also=[WORKER]))) == []
    found = troubles(examine(without(seen, "worker-green"), application(also=[WORKER])))
    assert [finding.said for finding in found] == ["Deployment worker-green (green) does not exist"]


def test_services_that_select_different_colours_cannot_move_together() -> None:
    sides = [of_worker(deployment(color)) for color in ("blue", "green")]
    seen = survey(service("worker", "green"), service("worker-preview"), *sides)

    (found,) = troubles(examine(seen, application(also=[WORKER])))
    assert found.said == "the Services select different colours: chat blue, worker green; a release is refused"
