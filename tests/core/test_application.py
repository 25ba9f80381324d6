"""The Application model: its defaults, and what it refuses (where in the file, and the cure, is tested with files)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from watcher.core.application import Application, other


def load(**spec: Any) -> Application:
    whole = {"service": "shop", "colors": {"blue": {"deployment": "shop-blue"}, "green": {"deployment": "shop-green"}}}
    document = {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop", "namespace": "prod"},
        "spec": whole | spec,
    }
    return Application.model_validate_json(json.dumps(document))


def test_the_shortest_application_has_every_default() -> None:
    app = load()
    spec = app.spec
    assert (app.name, app.namespace) == ("shop", "prod")
    assert (spec.selector_key, spec.preview, spec.approval) == ("color", None, "none")
    assert (spec.watch.duration, spec.watch.interval) == (timedelta(minutes=15), timedelta(seconds=10))
    assert (spec.watch.mode, spec.watch.on_inconclusive) == ("enforce", "hold")
    assert (spec.watch.pods.restarts, spec.watch.pods.no_endpoints) == (0, timedelta(seconds=3))
    assert (spec.previous.keep, spec.previous.then) == (timedelta(minutes=30), "scaleDown")
    assert spec.deadlines.approval == timedelta(hours=24)


def test_each_colour_has_its_deployment_and_its_opposite() -> None:
    assert [load().deployment(color) for color in ("blue", "green")] == ["shop-blue", "shop-green"]
    assert (other("blue"), other("green")) == ("green", "blue")


CHECK = {"http": {"path": "/healthz"}}
HOOK = {"http": {"url": "http://flags.example"}}
JOB = {"job": {"image": "verify:1"}}
QUERY = {"promql": {"query": "up", "threshold": {"below": 1}}}


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"colors": {"blue": {"deployment": "x"}, "green": {"deployment": "x"}}}, "name the same deployment"),
        ({"freezes": [{"from": "2027-01-04", "to": "2026-12-20"}]}, "a freeze ends before it begins"),
        ({"freezes": [{"from": "2026-12-20", "to": "2026-12-20", "timezone": "Mars"}]}, "is no time zone"),
        ({"windows": [{"days": [], "from": "09:00", "to": "10:00"}]}, "at least 1 item"),
        ({"windows": [{"days": ["someday"], "from": "09:00", "to": "10:00"}]}, "Input should be"),
        ({"windows": [{"days": ["mon"], "from": "24:00", "to": "10:00"}]}, "cannot begin"),
        ({"windows": [{"days": ["mon"], "from": "9", "to": "10:00"}]}, "is no time of day"),
        ({"watch": {"interval": "500ms"}}, "an interval under 1s is too short"),
        ({"previous": {"then": "keep", "to": 1}}, "a colour that is kept is not scaled to a number"),
        ({"watch": {"duration": "5s", "interval": "10s"}}, "the watch is shorter than its interval"),
        ({"watch": {"pods": {"restarts": -1}}}, "greater than or equal to 0"),
        ({"tests": {"smoke": [{"http": {"path": "healthz"}}]}}, 'did you mean "/healthz"'),
        ({"tests": {"smoke": [{"http": {"path": "http://a/b"}}]}}, "only what follows the host"),
        ({"tests": {"smoke": [{"http": {"path": "/", "port": 70000}}]}}, "less than or equal to 65535"),
        (
            {"hooks": {"preSwitch": [{"http": {"url": "flags.example/off"}}]}},
            'did you mean "https://flags.example/off"',
        ),
        ({"hooks": {"preSwitch": [{"http": {"url": "ftp://flags.example"}}]}}, 'write one such as "https://'),
        ({"hooks": {"preSwitch": [{"http": {"url": "/off"}}]}}, 'write one such as "https://'),
        ({"tests": {"smoke": [{"name": "a", **CHECK}, {"name": "a", **CHECK}]}}, 'a second check is called "a"'),
        ({"tests": {"health": [{"name": "1", **CHECK}, CHECK]}}, 'a second check is called "1"'),
        ({"hooks": {"preSwitch": [{"name": "a", **HOOK}, {"name": "a", **HOOK}]}}, 'a second hook is called "a"'),
        ({"tests": {"smoke": [{"name": "a"}]}}, "this says nothing to do: write exactly one of grpc, http, job"),
        ({"hooks": {"preSwitch": [{"name": "a"}]}}, "this says nothing to do: write exactly one of http, job"),
        ({"tests": {"smoke": [{**CHECK, **JOB}]}}, "this has job and http"),
        ({"tests": {"smoke": [{"tcp": {}, "parallel": [CHECK]}]}}, "this has tcp and parallel"),
        ({"tests": {"smoke": [{"parallel": []}]}}, "at least 1 item"),
        ({"tests": {"smoke": [{"parallel": [{"parallel": [CHECK]}]}]}}, "Extra inputs are not permitted"),
        ({"tests": {"smoke": [{"name": "both", "parallel": [CHECK, CHECK]}]}}, "have no name together"),
        (
            {"tests": {"smoke": [{"name": "a", **CHECK}, {"parallel": [{"name": "a", **JOB}]}]}},
            'a second check is called "a"',
        ),
        ({"tests": {"health": [{"parallel": [CHECK, JOB]}]}}, "a Job cannot be a health check"),
        ({"tests": {"health": [QUERY]}}, "a query cannot be a health check: after the switch, that is what rules are"),
        ({"tests": {"smoke": [{"promql": {"query": "up"}}]}}, "Field required"),
        ({"tests": {"smoke": [{"promql": {"query": "{{ colour }}", "threshold": {"above": 1}}}]}}, "is no variable"),
        ({"tests": {"smoke": [{"grpc": {"tls": {"serverName": ""}}}]}}, "at least 1 character"),
        ({"tests": {"health": [CHECK, JOB]}}, "a Job cannot be a health check"),
        ({"tests": {"smoke": [{"job": {}}]}}, "a job has nothing to run"),
        ({"tests": {"smoke": [{"job": {"image": "a", "template": "b.yaml"}}]}}, "a job has image and template"),
        ({"hooks": {"preDeploy": [{"job": {"template": "b.yaml", "args": ["x"]}}]}}, "command and args go with image"),
        ({"selectorKey": ""}, "at least 1 character"),
        ({"colour": "blue"}, "Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused(spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        load(**spec)


def test_checks_of_different_stages_may_share_a_name() -> None:
    named = {"name": "ready", **CHECK}
    tests = load(tests={"smoke": [named, CHECK], "health": [named]}).spec.tests
    assert [check.title(index) for index, check in enumerate(tests.smoke)] == ["ready", "1"]


def test_a_check_has_the_defaults_of_a_patient_caller() -> None:
    check = load(tests={"smoke": [CHECK]}).spec.tests.smoke[0].http
    assert check
    assert (check.method, check.every, check.within) == ("GET", timedelta(seconds=1), timedelta(seconds=10))
    assert check.expect.status is None


def test_checks_in_parallel_are_known_by_their_place_or_by_their_names() -> None:
    tests = load(tests={"smoke": [CHECK, {"parallel": [CHECK, {"name": "verify", **JOB}]}], "health": [CHECK]})
    assert [(path, title) for path, title, _ in tests.spec.tests.checks()] == [
        (("smoke", 0), "0"),
        (("smoke", 1, "parallel", 0), "1.0"),
        (("smoke", 1, "parallel", 1), "verify"),
        (("health", 0), "0"),
    ]


def test_an_application_is_read_back_as_it_is_written() -> None:
    app = load(
        windows=[{"days": ["mon"], "from": "22:00", "to": "24:00", "timezone": "Europe/Berlin"}],
        freezes=[{"from": "2026-12-20", "to": "2027-01-04", "reason": "holidays"}],
        tests={
            "smoke": [
                {"http": {"path": "/", "expect": {"status": [200, 204], "json": {"ok": True, "err": None}}}},
                {
                    "parallel": [
                        {"tcp": {"port": 6379, "eachPod": True}},
                        {"grpc": {"tls": {"caFile": "/ca.crt"}}},
                        QUERY,
                    ]
                },
            ]
        },
        watch={"rules": ["http", {"ruleSet": "slo", "rule": "burn", "override": {"onBreach": "notify"}}]},
    )
    assert Application.model_validate_json(app.model_dump_json()) == app


WORKER = {"service": "worker", "colors": {"blue": {"deployment": "w-blue"}, "green": {"deployment": "w-green"}}}


def test_an_application_of_several_pairs_is_one_of_each_in_order() -> None:
    app = load(preview={"service": "shop-preview"}, also=[WORKER])
    first, second = app.pairs
    assert first is app
    assert (second.name, second.spec.service, second.spec.preview) == ("shop", "worker", None)
    assert [second.deployment(color) for color in ("blue", "green")] == ["w-blue", "w-green"]
    assert (second.pairs, load().pairs) == ((second,), (load(),))


@pytest.mark.parametrize(
    ("also", "problem"),
    [
        ([WORKER | {"service": "shop"}], "two pairs have the same Service shop"),
        ([WORKER | {"preview": {"service": "shop"}}], "two pairs have the same Service shop"),
        ([WORKER, WORKER], "two pairs have the same Service worker"),
        (
            [WORKER | {"colors": {"blue": {"deployment": "w"}, "green": {"deployment": "shop-blue"}}}],
            "two pairs have the same Deployment shop-blue",
        ),
    ],
    ids=["service", "preview", "pair", "deployment"],
)
def test_nothing_belongs_to_two_pairs(also: list[Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        load(also=also)


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        (CHECK | {"service": "wroker"}, 'did you mean "worker"'),
        (CHECK | {"service": "elsewhere"}, "write one of shop, worker"),
        ({"parallel": [CHECK], "service": "worker"}, "each have a service"),
    ],
)
def test_a_check_names_the_service_of_a_pair(check: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        load(also=[WORKER], tests={"smoke": [check]})


def test_a_check_is_aimed_at_the_pair_that_it_names() -> None:
    app = load(also=[WORKER], tests={"smoke": [CHECK | {"service": "worker"}]})
    assert app.aimed_at("worker") == app.pairs[1]
    assert app.aimed_at(None) is app
