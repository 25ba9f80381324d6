"""What a Release keeps of the alerts that are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.core.lifecycle.stages import after_the_flip, intended
from tests.core.lifecycle.story import document
from watcher.core.alerts import Alert, Mapped, Report
from watcher.core.hearing import MORE, MOST, MOST_GROUPS, counted_from, hear
from watcher.core.release import Phase, Release, Status, from_json

USES = [
    {"match": {"severity": "critical", "app": '=~"chat.*"'}, "action": "rollback"},
    {"match": {"severity": "warning"}, "action": "hold"},
    {"match": {"severity": "info"}, "action": "notify"},
]


def watched() -> Release:
    return after_the_flip(Phase.WATCHING, {"alerts": USES}).release


SWITCHED = watched().status.switched_at or datetime.now(UTC)
NOW = SWITCHED + timedelta(seconds=60)


def alert(
    severity: str = "critical", after: float = 40, status: str = "firing", print_: str = "1", **more: Any
) -> Alert:
    labels = {"alertname": "HighErrorRate", "severity": severity, "app": "chatbot", "pod": "x"} | more.pop("labels", {})
    began = (SWITCHED + timedelta(seconds=after)).isoformat()
    return Alert(status=status, labels=labels, starts_at=began, fingerprint=print_, **more)  # type: ignore[arg-type]


def heard(release: Release, *alerts: Alert, at: datetime = NOW, **report: Any) -> Release:
    """The Release after it, as the cluster keeps it."""
    status, _ = hear(release, Report(alerts, **report), "alerts", at)
    return from_json(document(release.model_copy(update={"status": status})))


def kept(release: Release) -> Sequence[tuple[str, str, str]]:
    return [(one.fingerprint, one.action, one.state) for one in release.status.alerts]


def test_what_is_meant_is_kept_with_what_somebody_needs_who_asks_why() -> None:
    said = alert(annotations={"summary": "Too many\n5xx.", "runbook": "x"})
    (found,) = heard(watched(), said).status.alerts
    assert (found.name, found.summary, found.by, found.heard_at) == ("HighErrorRate", "Too many 5xx", "alerts", NOW)
    assert found.labels == {"severity": "critical", "app": "chatbot"}
    assert found.said(SWITCHED) == "alert HighErrorRate (severity critical) fired 40 s after the flip: Too many 5xx"
    assert found.code == "alert/HighErrorRate"
    assert found.model_copy(update={"name": "[Bad] p99 > 2 s"}).code == "alert/Bad-p99-2-s"
    assert found.model_copy(update={"name": "高"}).code == "alert/unnamed"
    (bare,) = heard(watched(), alert(labels={"severity": "info"}, annotations={"description": "x" * 900})).status.alerts
    assert len(bare.summary) == 200


def test_the_same_alert_again_changes_nothing() -> None:
    once = heard(watched(), alert())
    assert heard(once, alert(), at=NOW + timedelta(hours=1)).status == once.status
    assert heard(once, alert(after=50)).status == once.status, "it fires still"


@pytest.mark.parametrize("said", [alert("none"), alert(after=0), alert(after=-5), alert(status="resolved")])
def test_what_is_not_meant_began_before_the_flip_or_was_never_heard_of_is_not_kept(said: Alert) -> None:
    assert heard(watched(), said).status == watched().status
    assert heard(watched(), said.model_copy(update={"starts_at": "soon"})).status == watched().status


def test_what_is_resolved_stays_so_unless_it_begins_anew() -> None:
    held = heard(watched(), alert("warning"))
    assert kept(heard(held, alert("warning", 30, "resolved"))) == kept(held), "the end of an older one"
    over = heard(held, alert("warning", status="resolved"))
    assert kept(over) == [("1", "hold", "resolved")]
    assert over.status.alerts[0].resolved_at == NOW
    assert heard(over, alert("warning")).status == over.status, "it comes late, or somebody sends it again"
    anew = heard(over, alert("warning", after=90))
    assert kept(anew) == [("1", "hold", "resolved"), ("1", "hold", "firing")]
    assert heard(over, alert("warning", status="resolved")).status == over.status


def test_only_the_application_that_an_alert_names_is_concerned() -> None:
    namespace, name = watched().namespace, watched().spec.application
    for named, meant in ((name, True), (f"{namespace}/{name}", True), (f"other/{name}", False), ("shop", False)):
        one = Mapped(**dict(alert()), application=named)
        assert bool(heard(watched(), one).status.alerts) is meant


def test_while_the_flip_is_under_way_what_began_since_is_kept() -> None:
    flipping = intended({"alerts": USES}).release
    assert flipping.phase is Phase.SWITCHING
    assert flipping.status.intent
    assert counted_from(flipping) == flipping.status.intent.at
    flipped = flipping.status.model_copy(update={"flips": (flipping.status.intent,), "intent": None})
    assert counted_from(flipping.model_copy(update={"status": flipped})) == flipping.status.intent.at
    assert heard(flipping, alert(after=600)).status.alerts
    before = Status(phase=Phase.SWITCHING, pinned=flipping.status.pinned)
    assert counted_from(flipping.model_copy(update={"status": before})) is None
    assert not heard(after_the_flip(Phase.WATCHING).release, alert()).status.alerts, "no alert is meant"
    unbegun = flipping.model_copy(update={"status": Status()})
    assert heard(unbegun, alert()).status == Status()


def test_what_is_kept_is_bounded_and_what_goes_back_always_finds_room() -> None:
    many = [alert("info", print_=f"n{i}") for i in range(3 * MOST)]
    release = heard(watched(), *many, alert())
    assert len(release.status.alerts) == MOST
    assert ("1", "rollback", "firing") in kept(release)
    full = heard(watched(), *(alert("warning", print_=f"h{i}") for i in range(MOST)))
    assert not full.status.incomplete_alerts
    over = heard(full, alert("warning", print_="one-more"))
    assert [one.left_out for one in over.status.incomplete_alerts] == [1], "what finds no room is not forgotten"
    assert over.status.alerts == full.status.alerts
    assert heard(over, *(alert("warning", print_=f"m{i}") for i in range(9))).status == over.status, (
        "a storm writes once"
    )
    later = heard(over, alert("warning", print_="two-more"), at=NOW + timedelta(minutes=5))
    assert [one.at for one in later.status.incomplete_alerts] == [NOW + timedelta(minutes=5)]
    assert ("1", "rollback", "firing") in kept(heard(over, alert()))
    some = heard(full, alert("warning", status="resolved", print_="h7"))
    room = heard(some, alert("warning", print_="one-more"))
    assert ("one-more", "hold", "firing") in kept(room)
    assert ("h7", "hold", "resolved") not in kept(room)
    assert not room.status.incomplete_alerts


def test_a_group_of_which_alerts_were_left_out_is_incomplete_until_all_are_sent() -> None:
    cut = heard(watched(), alert("warning"), group="g", left_out=3)
    (one,) = cut.status.incomplete_alerts
    assert (one.group, one.left_out, one.since, one.at, one.by) == ("g", 3, NOW, NOW, "alerts")
    soon, later = NOW + timedelta(seconds=5), NOW + timedelta(minutes=5)
    assert heard(cut, group="g", left_out=3, at=soon).status == cut.status, "not written for each"
    (more,) = heard(cut, group="g", left_out=4, at=soon).status.incomplete_alerts
    assert (more.left_out, more.since, more.at) == (4, NOW, soon)
    (again,) = heard(cut, group="g", left_out=3, at=later).status.incomplete_alerts
    assert (again.since, again.at) == (NOW, later)
    assert heard(cut, group="other").status == cut.status
    whole = heard(cut, alert("warning"), group="g")
    assert not whole.status.incomplete_alerts
    assert kept(whole) == [("1", "hold", "firing")]


def test_what_a_group_does_not_name_any_more_once_it_is_complete_is_over() -> None:
    cut = heard(watched(), alert("warning"), alert("warning", print_="2"), group="g", left_out=3)
    cut = heard(cut, alert("warning", print_="3"), group="another")
    whole = heard(cut, alert("warning", print_="2"), group="g")
    assert kept(whole) == [("1", "hold", "resolved"), ("2", "hold", "firing"), ("3", "hold", "firing")]
    ended = heard(cut, alert("warning", status="resolved"), group="g", left_out=1)
    assert [one.resolved_at for one in heard(ended, group="g", at=NOW + timedelta(hours=1)).status.alerts][:1] == [NOW]


def test_alerts_left_out_matter_only_where_the_group_may_mean_the_application() -> None:
    release = watched()
    other = {"severity": "none"}
    assert not heard(release, group="g", left_out=3, group_labels=other).status.incomplete_alerts
    assert heard(release, group="g", left_out=3, group_labels={"team": "x"}).status.incomplete_alerts
    for index in range(MOST_GROUPS + 5):
        release = heard(release, group=f"g{index}", left_out=1)
    assert len(release.status.incomplete_alerts) == MOST_GROUPS
    assert release.status.incomplete_alerts[-1].group == MORE


def test_reports_of_one_alert_each_and_one_of_all_come_to_the_same() -> None:
    alerts = [alert(severity, print_=f"{severity}{i}") for i in range(5) for severity in ("info", "warning", "none")]
    one_by_one = watched()
    for each in alerts:
        one_by_one = heard(one_by_one, each)
    assert sorted(kept(one_by_one)) == sorted(kept(heard(watched(), *alerts)))
    assert replace(Report(())).left_out == 0
