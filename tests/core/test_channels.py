"""Channels as they are written: one place each, no secret in the file; and who hears what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from watcher.core.channels import Notification, NotifyUse, channel_problems, wants
from watcher.core.documents import read_documents
from watcher.core.notices import sample
from watcher.core.settings import Settings

HEAD = "apiVersion: watcher.bluegreen.dev/v1alpha1\nkind: Settings\nnotifications:\n"
NOTICE = sample("chat", datetime(2026, 11, 23, tzinfo=UTC)).model_copy(update={"severity": "warning", "topic": "end"})


def problems(text: str) -> list[str]:
    return [str(one) for one in read_documents(HEAD + text, "w.yaml", {"Settings": Settings}).problems]


@pytest.mark.parametrize(
    "text",
    [
        "- {name: a, url: 'http://receiver:8080/'}",
        "- {name: a, urlFile: /run/url, signingKeyFile: /run/key, severity: warning, events: [end, flip]}",
        "- {name: a, urlEnv: CHAT_URL, signingKeyEnv: CHAT_KEY}",
        "- {name: a, slack: {tokenFile: /run/token, channel: C1}}",
        "- {name: a, teams: {urlFile: /run/url}}",
        "- {name: a, pagerDuty: {routingKeyEnv: KEY}}",
        "- {name: a, email: {host: h, from: a@b, to: [c@d]}}",
        "- {name: a, email: {host: h, from: a@b, to: [c@d], username: u, passwordFile: /p, security: tls, port: 465}}",
        "- {name: a, apprise: {urlFile: /run/url}}",
        "- {name: a, slack: {urlEnv: CHAT_URL}, template: '{{ message }}'}",
    ],
)
def test_a_channel_is_one_place_whose_secrets_come_from_elsewhere(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {name: a}", "this channel leads nowhere"),
        ("- {name: a, url: 'http://x', urlFile: /run/url}", "given twice"),
        ("- {name: a, url: 'http://x', slack: {urlFile: /run/url}}", "a channel is one place"),
        ("- {name: a, slack: {channel: C1}}", "tokenFile or tokenEnv or urlFile or urlEnv is missing"),
        ("- {name: a, slack: {tokenFile: /t}}", 'say to which: "channel'),
        ("- {name: a, slack: {urlFile: /t, channel: C1}}", "take channel away"),
        ("- {name: a, slack: {urlFile: /t, urlEnv: URL}}", "given twice"),
        ("- {name: a, slack: {urlFile: /t}, signingKeyFile: /k}", "only a webhook is signed"),
        ("- {name: a, url: 'http://x', signingKeyFile: /k, signingKeyEnv: K}", "given twice"),
        ("- {name: a, url: 'https://hooks.slack.com/services/T/B/x'}", "this address is a secret"),
        ("- {name: a, url: 'https://prod-1.westeurope.logic.azure.com:443/x'}", "this address is a secret"),
        ("- {name: a, url: 'https://me:s3cr3t@receiver/'}", "this address is a secret"),
        ("- {name: a, teams: {}}", "urlFile or urlEnv is missing"),
        ("- {name: a, pagerDuty: {}}", "routingKeyFile or routingKeyEnv is missing"),
        ("- {name: a, apprise: {urlFile: /a, urlEnv: B}}", "given twice"),
        ("- {name: a, teams: {urlEnv: B}, apprise: {urlFile: /a}}", "a channel is one place"),
        ("- {name: a, email: {host: h, from: a@b, to: [c@d], username: u}}", "passwordFile or passwordEnv is missing"),
        ("- {name: a, email: {host: h, from: a@b, to: [c@d], passwordFile: /p}}", "a password without a username"),
        (
            "- {name: a, email: {host: h, from: a@b, to: [c@d], username: u, passwordFile: /p, security: none}}",
            "in the clear",
        ),
        ("- {name: a, email: {host: h, from: 'a b', to: [c@d]}}", "w.yaml:4"),
        ("- {name: a, url: 'http://x', events: []}", "w.yaml:4"),
        ("- {name: a, url: 'http://x', events: [ends]}", "w.yaml:4"),
        ("- {name: a, url: 'http://x', severity: high}", "w.yaml:4"),
        ("- {name: a, url: 'http://x'}\n- {name: a, url: 'http://y'}", "w.yaml:5:10: two channels are named a"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line_and_without_secrets(text: str, said: str) -> None:
    (problem,) = problems(text)
    assert said in problem
    assert problem.startswith("w.yaml:")
    assert "services/T" not in problem
    assert "s3cr3t" not in problem


def test_a_template_that_cannot_work_is_refused_at_its_line() -> None:
    text = "- name: a\n  url: http://x\n  template: |\n    {{ title }}\n    Then {{ massage }}\n"
    assert problems(text) == ['w.yaml:8:13: the template names massage, which no message has: did you mean "message"?']


@pytest.mark.parametrize(
    ("channel", "uses", "heard"),
    [
        ({}, None, True),
        ({}, [], False),
        ({}, ["other"], False),
        ({}, ["other", "chat"], True),
        ({"severity": "warning"}, None, True),
        ({"severity": "critical"}, None, False),
        ({"severity": "critical"}, [{"channel": "chat", "severity": "info"}], True),
        ({}, [{"channel": "chat", "severity": "critical"}], False),
        ({"events": ["flip"]}, None, False),
        ({"events": ["flip", "end"]}, None, True),
        ({"events": ["flip"]}, [{"channel": "chat", "events": ["end"]}], True),
        ({}, [{"channel": "chat", "events": ["flip"]}], False),
    ],
)
def test_severity_and_events_decide_and_what_an_application_says_of_them_comes_first(
    channel: dict[str, Any], uses: list[Any] | None, heard: bool
) -> None:
    found = Notification.model_validate({"name": "chat", "url": "http://x", **channel}, strict=False)
    meant = (
        None
        if uses is None
        else [NotifyUse.model_validate(u, strict=False) if isinstance(u, dict) else u for u in uses]
    )
    assert wants(found, meant, NOTICE) is heard


def test_a_pager_hears_what_is_critical_and_what_closes_it() -> None:
    pager = Notification.model_validate({"name": "pager", "pagerDuty": {"routingKeyEnv": "KEY"}}, strict=False)
    heard = [
        wants(pager, uses, NOTICE.model_copy(update={"severity": severity, "resolves": resolves}))
        for uses in (None, ["pager"], [])
        for severity, resolves in (("info", False), ("warning", False), ("critical", False), ("info", True))
    ]
    assert (pager.kind, pager.least) == ("pagerDuty", "critical")
    assert heard == [False, False, True, True] * 2 + [False] * 4


def test_an_application_that_names_no_channel_of_the_settings_is_told_where() -> None:
    uses: list[str | NotifyUse] = ["chat", "caht", NotifyUse(channel="chat"), NotifyUse(channel="pager")]
    found = [(error.problem, error.cure, error.path) for error in channel_problems(uses, {"chat": 1})]
    assert found == [
        ("the settings have no channel caht", 'did you mean "chat"?', ("spec", "notify", 1)),
        ("the channel chat is named twice", "name it once", ("spec", "notify", 2, "channel")),
        ("the settings have no channel pager", "write one of chat", ("spec", "notify", 3, "channel")),
    ]
    (none,) = channel_problems(["chat"], {})
    assert none.cure == "add it to notifications in the settings"
    assert not list(channel_problems(None, {}))
