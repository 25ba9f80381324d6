"""Which alerts an Application means, and which count against a Release."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from watcher.core.alerts import Alert, AlertUse, Notice, action_for
from watcher.core.units import Invalid

FLIP = datetime(2026, 11, 23, 14, 0, 0, tzinfo=UTC)


def alert(starts_at: str = "2026-11-23T14:00:01Z", fingerprint: str = "f", **labels: str) -> Alert:
    return Alert(status="firing", labels=labels, starts_at=starts_at, fingerprint=fingerprint)


@pytest.mark.parametrize(
    ("matcher", "value", "match"),
    [
        ("critical", "critical", True),
        ("critical", "criticality", False),
        ("=critical", "critical", True),
        ('="critical"', "critical", True),
        ("!=critical", "warning", True),
        ("!=critical", "critical", False),
        ("!=critical", None, True),
        ('=~"chat.*"', "chat-platform", True),
        ('=~"chat.*"', "my-chat", False),
        ("=~a|b", "b", True),
        ("=~a|b", "ab", False),
        ("=~.*", None, True),
        ('!~"test-.*"', "test-1", False),
        ('!~"test-.*"', "prod", True),
        ("", None, True),
        ("", "x", False),
        ('"', '"', True),
    ],
)
def test_a_matcher_is_understood_as_alertmanager_understands_it(matcher: str, value: str | None, match: bool) -> None:
    use = AlertUse(match={"app": matcher}, action="notify")
    labels = {} if value is None else {"app": value}
    assert (action_for([use], alert(**labels)) == "notify") is match


def test_every_matcher_has_to_match_and_the_strongest_action_is_taken() -> None:
    uses = [
        AlertUse(match={"app": "chat"}, action="notify"),
        AlertUse(match={"app": "chat", "severity": "critical"}, action="rollback"),
        AlertUse(match={"app": "chat", "severity": "!=info"}, action="hold"),
    ]
    assert action_for(uses, alert(app="chat", severity="critical")) == "rollback"
    assert action_for(uses, alert(app="chat", severity="warning")) == "hold"
    assert action_for(uses, alert(app="chat", severity="info")) == "notify"
    assert action_for(uses, alert(app="shop", severity="critical")) is None
    assert action_for([], alert(app="chat")) is None


def test_a_matcher_that_is_no_regular_expression_is_refused() -> None:
    with pytest.raises((Invalid, ValueError), match="no regular expression"):
        AlertUse(match={"app": "=~("}, action="hold")


@pytest.mark.parametrize(
    ("starts_at", "after"),
    [
        ("2026-11-23T14:00:00.000000001Z", False),
        ("2026-11-23T14:00:00Z", False),
        ("2026-11-23T14:00:00.5Z", True),
        ("2026-11-23T14:00:01+00:00", True),
        ("2026-11-23T15:00:01+02:00", False),
        ("2026-11-23T13:59:59Z", False),
        ("2026-11-23T14:00:01", False),
        ("0001-01-01T00:00:00Z", False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_only_what_began_after_the_flip_counts(starts_at: str, after: bool) -> None:
    began = alert(starts_at).began
    assert (began is not None and began > FLIP) is after


def test_an_alert_is_known_again_by_its_fingerprint_or_its_labels() -> None:
    assert alert(app="chat").known_by == alert(app="other").known_by == "f"
    assert alert(fingerprint="", app="a").known_by != alert(fingerprint="", app="b").known_by
    assert len(alert(fingerprint="x" * 5000).known_by) < 60
    assert alert(fingerprint="a\nb").known_by.isalnum()
    assert (alert().name, alert(alertname="Down").name) == ("unnamed", "Down")


def test_a_notice_may_say_more_than_is_understood() -> None:
    text = (
        '{"version": "4", "groupKey": "x", "truncatedAlerts": 2, "status": "firing", "alerts": [{"status": "firing",'
        '"labels": {"a": "b"}, "annotations": {}, "startsAt": "2026-11-23T14:00:01.123456789Z", "fingerprint": "f"}]}'
    )
    notice = Notice.model_validate_json(text)
    assert notice.truncated_alerts == 2
    began = notice.alerts[0].began
    assert began
    assert began > FLIP
    again = notice.model_copy(update={"alerts": ()}).report()
    assert (again.group, again.left_out) == (notice.report().group, 2)


@pytest.mark.parametrize(
    ("given", "right"), [("2", True), ("2.0", True), ("2.5", False), ('"2"', False), ("true", False)]
)
def test_how_many_were_left_out_is_a_whole_number(given: str, right: bool) -> None:
    text = f'{{"version": "4", "truncatedAlerts": {given}}}'
    if right:
        assert Notice.model_validate_json(text).truncated_alerts == 2
    else:
        with pytest.raises(ValueError, match="valid integer"):
            Notice.model_validate_json(text)
