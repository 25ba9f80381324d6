"""What an Application sends elsewhere holds no secret in the clear: each refused at its place, with a cure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from watcher.core.application import Application
from watcher.core.jobs import JobTemplate
from watcher.core.plain_secrets import secret_problems
from watcher.core.rules import RuleSet
from watcher.core.settings import Settings

API = "watcher.bluegreen.dev/v1alpha1"


def app(**spec: Any) -> Application:
    document = {
        "apiVersion": API,
        "kind": "Application",
        "metadata": {"name": "shop", "namespace": "prod"},
        "spec": {
            "service": "shop",
            "colors": {"blue": {"deployment": "shop-blue"}, "green": {"deployment": "shop-green"}},
            **spec,
        },
    }
    return Application.model_validate_json(json.dumps(document))


def check(**http: Any) -> Application:
    return app(tests={"smoke": [{"http": {"path": "/", **http}}]})


def hook(**http: Any) -> Application:
    return app(hooks={"postRollback": [{"http": {"url": "https://flags.example/off", **http}}]})


def said(found: Application) -> list[str]:
    return [str(problem) for problem in secret_problems(found)]


def places(found: Application) -> list[str]:
    return [".".join(map(str, problem.path)) for problem in secret_problems(found)]


@pytest.mark.parametrize(
    "header",
    [
        "Authorization",
        "proxy-authorization",
        "Cookie",
        "X-Api-Key",
        "apikey",
        "X-Auth-Token",
        "Ocp-Apim-Subscription-Key",
    ],
)
def test_a_header_of_secrets_is_refused_at_its_place(header: str) -> None:
    assert places(check(headers={header: "x"})) == [f"spec.tests.smoke.0.http.headers.{header}"]
    assert places(hook(headers={header: "x"})) == [f"spec.hooks.postRollback.0.http.headers.{header}"]
    assert "{{ secrets.NAME }}" in said(check(headers={header: "x"}))[0]


@pytest.mark.parametrize("value", ["Bearer 0123456789", "Basic dXNlcjpwYXNz"])
def test_a_scheme_gives_a_secret_away_in_any_header(value: str) -> None:
    assert places(check(headers={"X-Forward": value}))


@pytest.mark.parametrize(
    "url",
    [
        "https://user:pass@flags.example/off",
        "https://flags.example/off?token=x",
        "https://flags.example/off?a=1&api_key=x",
        "https://flags.example/off?clientSecret=x",
        "https://hooks.slack.com/services/T0/B0/x",
    ],
)
def test_an_address_with_a_secret_in_it_is_refused(url: str) -> None:
    assert places(hook(url=url)) == ["spec.hooks.postRollback.0.http.url"]


@pytest.mark.parametrize(
    "body",
    [
        '{"a": [{"password": "x"}]}',
        '{"accessKey": "x"}',
        "user=a&password=b",
        '{"text": "ghp_0123456789012345678901234567"}',
        "-----BEGIN RSA PRIVATE KEY-----\nx",
        '{"text": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x"}',
    ],
)
def test_a_body_with_a_secret_in_it_is_refused(body: str) -> None:
    assert places(check(body=body)) == ["spec.tests.smoke.0.http.body"]


@pytest.mark.parametrize(
    "http",
    [
        {
            "headers": {
                "Content-Type": "application/json",
                "Idempotency-Key": "abc",
                "X-Scope-OrgID": "prod",
                "Key": "1",
            }
        },
        {"headers": {"Authorization": ""}},
        {"body": '{"text": "hello", "max_tokens": 100, "password": "", "token": 7, "token_type": "x"}'},
        {"body": "basic authentication = what is it?\npassword=forgotten"},
        {"body": "[" * 5000},
        {"path": "/search?q=token&page=2"},
        {"path": "/search?token="},
        {"headers": {"Authorization": "Bearer {{ secrets.one }}", "Cookie": "a={{ secrets.two }}"}},
        {"path": "/?token={{ secrets.one }}", "body": '{"password": "{{ secrets.two }}", "text": "{{ color }}"}'},
    ],
)
def test_what_is_no_secret_or_refers_to_one_is_taken(http: dict[str, Any]) -> None:
    assert said(check(**http)) == []


def test_an_address_may_be_a_secret_or_have_one_for_its_password() -> None:
    assert said(hook(url="{{ secrets.one }}")) == []
    assert said(hook(url="https://u:{{ secrets.one }}@flags.example")) == []
    assert said(hook(url="https://[::1/{{ secrets.one }}")) == [], "that it is malformed is said when it is sent"


def test_a_job_takes_its_secrets_from_the_cluster() -> None:
    found = [{"job": {"image": "verify:1", "env": {"DB_PASSWORD": "x", "X": "{{ secrets.one }}", "TOKEN_FILE": "/x"}}}]
    assert places(app(tests={"smoke": found})) == [
        f"spec.tests.smoke.0.job.env.{name}" for name in ("DB_PASSWORD", "X")
    ]
    assert all("secretKeyRef" in one for one in said(app(tests={"smoke": found})))


JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "spec": {
        "template": {
            "spec": {
                "initContainers": "none",
                "containers": [
                    {
                        "name": "verify",
                        "image": "verify:1",
                        "env": [
                            {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}},
                            {"name": "API_TOKEN", "value": "x"},
                        ],
                    }
                ],
            }
        }
    },
}


def test_a_jobs_own_variables_are_looked_at_in_an_application_and_in_a_file() -> None:
    inside = app(hooks={"preDeploy": [{"job": {"manifest": JOB}}]})
    where = "spec.template.spec.containers.0.env.1.value"
    assert places(inside) == [f"spec.hooks.preDeploy.0.job.manifest.{where}"]
    (alone,) = secret_problems(JobTemplate.model_validate_json(json.dumps(JOB)))
    assert ".".join(map(str, alone.path)) == where


def test_what_there_is_not_is_said_with_the_nearest_that_there_is() -> None:
    found = check(
        headers={
            "A": "{{ secrets.tokn }}",
            "B": "{{ secrets.bad }}",
            "C": "{{ secrets.token }}",
            "D": "{{ secrets.x }}",
        }
    )
    assert said(found) == []
    problems = [str(one) for one in secret_problems(found, {"token": "", "bad": "is empty"})]
    assert problems == [
        'there is no secret tokn: did you mean "{{ secrets.token }}"?',
        "the secret bad is empty: put one line of text into its file",
        "there is no secret x: add the file x to secrets.directory (settings)",
    ]


def test_a_reference_that_is_none_is_said_and_nothing_else_about_it() -> None:
    (problem,) = said(check(headers={"Authorization": "Bearer {{ secret.one }}"}))
    assert "no reference" in problem


def test_settings_refer_to_secrets_in_headers_and_in_the_password_only() -> None:
    def of(**prometheus: Any) -> list[str]:
        return [
            ".".join(map(str, one.path)) for one in secret_problems(Settings.model_validate({"prometheus": prometheus}))
        ]

    assert of(url="http://p.example", headers={"X-Scope-OrgID": "a", "Authorization": "Basic {{ secrets.one }}"}) == []
    assert of(url="http://u:{{ secrets.one }}@p.example") == []
    assert of(url="http://u:pw@p.example") == ["prometheus.url"]
    assert of(url="http://p.example/{{ secrets.one }}") == ["prometheus.url"]
    assert of(url="http://p.example", headers={"Authorization": "Basic abcdefghi"}) == [
        "prometheus.headers.Authorization"
    ]


def test_other_documents_send_nothing() -> None:
    rule = {"name": "a", "query": "up", "threshold": {"above": 1}}
    rules = {"apiVersion": API, "kind": "RuleSet", "metadata": {"name": "a"}, "spec": {"rules": [rule]}}
    assert list(secret_problems(RuleSet.model_validate_json(json.dumps(rules)))) == []
