"""Alerts from outside send traffic back, hold the watch, or are told, each as the Application says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.core.lifecycle.stages import AFTER, after_the_flip
from tests.core.lifecycle.story import Story
from tests.core.lifecycle.world import START
from watcher.core.alerts import Alert, Report
from watcher.core.hearing import hear
from watcher.core.lifecycle import step
from watcher.core.lifecycle.alerted import PATIENCE
from watcher.core.release import ForeignFlip, Phase
from watcher.core.story import story as told

ALERTS = {
    "alerts": [
        {"match": {"severity": "critical"}, "action": "rollback"},
        {"match": {"severity": "warning"}, "action": "hold"},
        {"match": {"severity": "info"}, "action": "notify"},
    ]
}


def hears(
    story: Story,
    severity: str = "critical",
    status: str = "firing",
    print_: str = "1",
    ago: float = 0,
    left_out: int = 0,
) -> Story:
    """An alert that begins now is reported; of severity `none` none is."""
    began = story.world.now.isoformat()
    labels = {"alertname": "HighErrorRate", "severity": severity}
    notes = {"summary": "One answer in five is a 5xx."}
    sent = Alert(status=status, labels=labels, annotations=notes, starts_at=began, fingerprint=print_)  # type: ignore[arg-type]
    alerts = () if severity == "none" else (sent,)
    after, _ = hear(story.release, Report(alerts, "g", left_out=left_out), "alertmanager", story.world.now)
    story.release = story.release.model_copy(update={"status": after})
    return story


@pytest.mark.parametrize("phase", AFTER)
def test_an_alert_that_asks_for_it_sends_traffic_back_in_every_phase_after_the_flip(phase: Phase) -> None:
    story = after_the_flip(phase, ALERTS, verdict="hold").time_passes(20)
    fired = (story.world.now - (story.status.switched_at or story.world.now)).total_seconds()
    hears(story).settle().phase_is(Phase.ROLLED_BACK, "alert/HighErrorRate").flips_are("green", "blue")
    story.says(
        f"Rolled back from green (2.4.1) to blue (2.4.0): alert HighErrorRate (severity critical) fired {fired:.0f} s "
        "after the flip: One answer in five is a 5xx; traffic returned "
    )
    assert story.status.flips[-1].reason == "alert/HighErrorRate"
    assert story.status.evidence["alert"] == "HighErrorRate"
    assert story.status.evidence["by"] == "alertmanager"
    assert story.status.evidence["labels"] == "severity=critical"
    assert story.told["verdict"].evidence["fingerprint"] == "1"
    story.silent_about("alert")


def test_a_rollback_stays_one_when_the_alert_ends_before_anybody_acts() -> None:
    story = hears(after_the_flip(Phase.WATCHING, ALERTS).time_passes(5))
    hears(story, status="resolved")
    story.settle().phase_is(Phase.ROLLED_BACK, "alert/HighErrorRate")


def test_neither_a_pause_nor_a_blind_prometheus_keeps_an_alert_from_acting() -> None:
    story = after_the_flip(Phase.WATCHING, ALERTS, verdict="hold").person("pause").settle().time_passes(5)
    hears(story).settle().phase_is(Phase.ROLLED_BACK, "alert/HighErrorRate")


def test_what_began_before_the_flip_was_seen_counts_for_nothing() -> None:
    story = after_the_flip(Phase.WATCHING, ALERTS).time_passes(10)
    hears(story)
    early = story.status.alerts[0].model_copy(update={"starts_at": story.status.switched_at})
    story.release = story.release.model_copy(update={"status": story.status.model_copy(update={"alerts": (early,)})})
    story.to_the_end().phase_is(Phase.COMPLETED)


def test_a_hold_lasts_until_the_alert_ends_and_then_the_watch_goes_on_to_its_end() -> None:
    story = after_the_flip(Phase.WATCHING, ALERTS).time_passes(5)
    hears(story, "warning").settle()
    story.says("; held: alert HighErrorRate (severity warning) fired")
    story.telling("alert", "The watch does not end as a pass while it fires.").time_passes(3000)
    story.phase_is(Phase.WATCHING).says(
        "Holds: alert HighErrorRate", "let it pass all the same: watcher release resume"
    )
    story.telling("attention/AlertFiring", "Both colours stay up")
    assert story.condition("NeedsAttention")
    writes = story.writes
    story.time_passes(600).telling("attention/AlertFiring")
    assert story.writes - writes <= 40, "it is not written all the time"
    hears(story, "warning", "resolved").settle().telling("alert-over", "is over and holds no more")
    assert not story.condition("NeedsAttention")
    story.to_the_end().phase_is(Phase.COMPLETED)


def test_a_hold_that_ends_within_the_watch_delays_nothing() -> None:
    story = after_the_flip(Phase.WATCHING, ALERTS).time_passes(5)
    until = story.status.watch_until
    hears(story, "warning").settle()
    hears(story, "warning", "resolved").settle()
    assert "held" not in story.status.message
    story.to_the_end().phase_is(Phase.COMPLETED)
    assert story.status.watch_until == until


def test_what_one_alert_holds_the_end_of_another_does_not_let_go() -> None:
    story = after_the_flip(Phase.WATCHING, ALERTS).time_passes(5)
    hears(story, "warning")
    hears(story, "warning", print_="2")
    hears(story, "warning", "resolved", print_="2").time_passes(3000).phase_is(Phase.WATCHING)


def test_a_breach_while_an_alert_holds_sends_traffic_back() -> None:
    story = after_the_flip(Phase.WATCHING, ALERTS).time_passes(5)
    hears(story, "warning").time_passes(3000).phase_is(Phase.WATCHING)
    story.rules_say("rollback").to_the_end().phase_is(Phase.ROLLED_BACK)
    assert story.status.reason.startswith("rule/")


def test_a_person_lets_go_what_an_alert_holds_and_a_later_one_holds_again() -> None:
    story = after_the_flip(Phase.WATCHING, ALERTS).time_passes(5)
    hears(story, "warning").time_passes(3000).phase_is(Phase.WATCHING)
    story.person("resume").settle()
    assert not story.condition("NeedsAttention")
    story.time_passes(5)
    hears(story, "warning", print_="2").time_passes(3000).phase_is(Phase.WATCHING)
    story.person("resume").to_the_end().phase_is(Phase.COMPLETED)


def test_alerts_that_were_left_out_hold_until_all_are_sent() -> None:
    story = hears(after_the_flip(Phase.WATCHING, ALERTS).time_passes(5), "none", left_out=3)
    story.settle().telling("alerts-incomplete", "alertmanager left out 3 alerts: one of them may matter", "max_alerts")
    story.says("held: alertmanager left out 3 alerts").time_passes(PATIENCE.total_seconds() - 10)
    story.phase_is(Phase.WATCHING)
    hears(story, "none").to_the_end().phase_is(Phase.COMPLETED)


def test_alerts_that_were_left_out_and_that_nobody_speaks_of_any_more_hold_for_a_time() -> None:
    story = hears(after_the_flip(Phase.WATCHING, ALERTS).time_passes(5), "none", left_out=1)
    begun = story.world.now
    story.to_the_end().phase_is(Phase.COMPLETED).telling("alerts-incomplete", "left out 1 alert:")
    assert story.world.now - begun >= PATIENCE
    story = hears(after_the_flip(Phase.WATCHING, ALERTS).time_passes(5), "none", left_out=1).time_passes(1)
    story.person("resume").to_the_end().phase_is(Phase.COMPLETED)
    assert story.world.now - begun < PATIENCE


def test_an_alert_that_only_notifies_is_told_once_and_moves_nothing() -> None:
    story = hears(after_the_flip(Phase.WATCHING, ALERTS).time_passes(5), "info").settle()
    story.telling("alert", "Alert HighErrorRate (severity info) fired 7 s after", "5xx. It only notifies.")
    hears(story, "info", "resolved").to_the_end().phase_is(Phase.COMPLETED).telling("alert-over", "is over.")
    assert len([key for key in story.told if key.startswith("alert/")]) == 1


def test_news_of_an_alert_that_is_old_is_not_told_again() -> None:
    story = hears(after_the_flip(Phase.WATCHING, ALERTS).time_passes(5), "warning").time_passes(5)
    hears(story, "warning", "resolved")
    hears(story, "none", left_out=1)
    _, effects = step(story.release, story.world.observe(story.release), story.world.now + timedelta(hours=2))
    assert not [effect for effect in effects if "alert" in getattr(effect, "key", "").lower()]


def test_a_watch_that_only_observes_says_what_an_alert_would_have_done() -> None:
    story = after_the_flip(Phase.WATCHING, ALERTS).time_passes(5)
    spec = story.release.spec.model_copy(update={"foreign_flip": ForeignFlip(from_="blue", to="green", at=START)})
    story.release = story.release.model_copy(update={"spec": spec})
    assert story.release.observes
    hears(story, "warning", print_="2")
    hears(story).to_the_end().phase_is(Phase.COMPLETED).flips_are("green")
    story.telling("would/alert/HighErrorRate", "would go back from green (2.4.1): alert HighErrorRate")


def test_the_story_tells_of_alerts_in_their_place() -> None:
    story = hears(after_the_flip(Phase.WATCHING, ALERTS).time_passes(5), "warning").time_passes(5)
    hears(story, "warning", "resolved").time_passes(1)
    hears(story, print_="2").settle().phase_is(Phase.ROLLED_BACK)
    entries = told(story.release, ())
    kinds = [entry.kind for entry in entries]
    assert kinds.index("alert") < kinds.index("decision")
    said = [entry.message for entry in entries if entry.kind == "alert"]
    assert said[1] == "Alert HighErrorRate was resolved."
    assert said[2].startswith("Alert HighErrorRate (severity critical) fired 13 s after the flip: One answer in five")
    assert all(entry.actor == "alertmanager" for entry in entries if entry.kind == "alert")
