"""A notice says what happened, why, what comes next and what its reader can do, for every end and everything told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.core.lifecycle.stages import after_the_flip
from watcher.core.effects import Tell
from watcher.core.lifecycle.telling import deleted, news
from watcher.core.notices import Notice, about, notice, refused_files, sample
from watcher.core.release import (
    CheckRecord,
    Colors,
    Command,
    Condition,
    Decision,
    Flip,
    Keep,
    Phase,
    Release,
    RuleRecord,
    Spec,
    Status,
)

NOW = datetime(2026, 11, 23, 14, 3, 11, tzinfo=UTC)
RATE = RuleRecord(
    name="http/error-rate",
    outcome="breach",
    message="error-rate was 4.2% (limit 1%)",
    value=0.042,
    threshold="> 1%",
    since=NOW - timedelta(seconds=30),
    query="sum(rate(errors[1m])) / sum(rate(all[1m]))",
)
LATENCY = RuleRecord(name="http/p99", outcome="noData", message="it gave no data", query="p99")
QUIET = RuleRecord(name="http/quiet", outcome="pass", value="+Inf")
GRAPHS = "https://prometheus.example/"


def release(phase: Phase, **status: object) -> Release:
    found = {
        "phase": phase,
        "message": "It is so.",
        "colors": Colors(from_="blue", to="green"),
        "rules": (RATE, LATENCY, QUIET),
    } | status
    return Release(
        name="shop-x7k2p",
        namespace="prod",
        uid="5a1f",
        resource_version="1",
        created_at=NOW,
        spec=Spec(application="shop", version="2.4.1"),
        status=Status.model_validate(found),
    )


ENDED = {"ended_at": NOW, "switched_at": NOW - timedelta(minutes=1)}
KEEP = Keep(color="green", deployment="shop-green", until=NOW + timedelta(minutes=30))
BACK = Decision(code="rule/http/error-rate", message="error-rate was 4.2% (limit 1%)", at=NOW)
END = Tell("end", "Completed", "It is so.")


def told(found: Release, key: str) -> Notice:
    """The notice of one piece of news of a Release."""
    (tell,) = [tell for tell in news(found, NOW) if tell.key.startswith(key)]
    return notice(found, tell, NOW, GRAPHS)


def test_a_rollback_says_the_value_against_its_threshold_since_when_and_links_to_the_graph() -> None:
    found = told(release(Phase.ROLLING_BACK, rollback=BACK, switched_at=NOW), "verdict")
    assert found.title == "shop 2.4.1: going back"
    assert found.why == ("http/error-rate (breach): 0.042 against > 1%, since 14:02:41 UTC",)
    assert "Traffic goes back to blue" in found.next
    assert (found.topic, found.severity, found.resolves) == ("decision", "critical", False)
    asked = parse_qs(urlsplit(found.links["Graph of http/error-rate"]).query)
    assert asked["g0.expr"] == [RATE.query]
    assert asked["g0.end_input"] == ["2026-11-23 14:03:11"]
    assert found.commands == ("watcher release show shop-x7k2p -n prod --evidence",), "it goes back already"


@pytest.mark.parametrize(
    ("phase", "status", "title", "then", "command"),
    [
        (
            Phase.COMPLETED,
            {"keep": KEEP},
            "completed",
            "stays warm until 14:33:11 UTC",
            "watcher rollback shop -n prod",
        ),
        (Phase.COMPLETED, {}, "completed", "the Release has ended", "watcher rollback shop -n prod"),
        (Phase.ROLLED_BACK, {"keep": KEEP, "rollback": BACK}, "rolled back", "stay for a look until 14:33:11", ""),
        (Phase.ROLLED_BACK, {"rollback": BACK}, "rolled back", "2.4.1 stays out until somebody says --force.", ""),
        (Phase.FAILED, {"keep": KEEP}, "failed before traffic moved", "never left blue. The pods", ""),
        (Phase.FAILED, {}, "failed before traffic moved", "traffic never left blue.", ""),
        (Phase.ABORTED, {}, "aborted", "the Release has ended", ""),
        (Phase.SUPERSEDED, {}, "ended: somebody else moved traffic", "the Release has ended", ""),
    ],
)
def test_every_end_says_what_comes_next_and_that_traffic_is_safe(
    phase: Phase, status: dict[str, object], title: str, then: str, command: str
) -> None:
    found = told(release(phase, **ENDED, **status), "end")
    assert found.title == f"shop 2.4.1: {title}"
    assert then in found.next
    assert found.commands[0].startswith("watcher release show")
    assert found.commands[1:] == ((command,) if command else ())
    assert found.resolves


def test_an_end_that_left_services_on_different_colours_is_not_safe() -> None:
    mixed = Condition(type="NeedsAttention", status="True", reason="MixedColors", last_transition_time=NOW)
    assert not told(release(Phase.ROLLED_BACK, **ENDED, conditions=(mixed,)), "end").resolves


def test_a_check_that_failed_is_a_reason() -> None:
    check = CheckRecord(id="smoke/healthz", ok=False, message="it answered 500")
    good = CheckRecord(id="smoke/other", ok=True, message="it answered 200")
    assert told(release(Phase.FAILED, **ENDED, checks=(check, good)), "end").why == (
        "check smoke/healthz: it answered 500",
    )


@pytest.mark.parametrize(
    ("kind", "reason", "title", "then", "command"),
    [
        ("NeedsAttention", "Inconclusive", "held: the rules gave no answer", "somebody decides", "watcher doctor shop"),
        ("NeedsAttention", "NoService", "needs somebody: no service", "waits for somebody", "watcher rollback"),
        (
            "NeedsAttention",
            "RollbackWaits",
            "needs somebody: rollback waits",
            "waits for somebody",
            "kubectl -n prod get",
        ),
        ("WayBackLost", "WayBackLost", "the way back is lost", "pods of blue", "kubectl -n prod get pods,deployment/"),
        ("Blind", "Blind", "the rules cannot judge", "nothing goes back", "watcher doctor shop -n prod"),
    ],
)
def test_what_needs_somebody_says_what_is_held_and_what_to_do(
    kind: str, reason: str, title: str, then: str, command: str
) -> None:
    standing = Condition(type=kind, status="True", reason=reason, message="Look.", last_transition_time=NOW)
    watched = after_the_flip(Phase.WATCHING).release
    status = watched.status.model_copy(update={"conditions": (standing,), "switched_at": NOW})
    found = told(
        watched.model_copy(update={"status": status, "namespace": "prod"}),
        {"NeedsAttention": "attention/", "WayBackLost": "way-back-lost/", "Blind": "blind/"}[kind],
    )
    assert title in found.title
    assert then in found.next
    assert any(line.startswith(command.replace("shop", found.application)) for line in found.commands)
    assert found.topic == "attention"


def test_a_hold_names_every_rule_that_did_not_pass() -> None:
    standing = Condition(type="NeedsAttention", status="True", reason="Inconclusive", last_transition_time=NOW)
    found = told(release(Phase.WATCHING, conditions=(standing,)), "attention")
    assert found.why == (
        "http/error-rate (breach): 0.042 against > 1%, since 14:02:41 UTC",
        "http/p99 (noData): it gave no data",
    )


def test_flips_say_where_traffic_is_and_what_happens_then() -> None:
    there = Flip(index=1, from_="blue", to="green", reason="switch", at=NOW)
    back = Flip(index=2, from_="green", to="blue", reason=BACK.code, at=NOW)
    found = release(Phase.WATCHING, flips=(there,), switched_at=NOW)
    assert told(found, "flip/1").title == "shop 2.4.1: traffic is on green"
    assert "it goes back" not in told(found, "flip/1").next
    assert "watched; traffic goes back to blue by itself" in told(found, "flip/1").next
    assert "watcher rollback shop -n prod" in told(found, "flip/1").commands
    pinned = after_the_flip(Phase.WATCHING).release
    flipped = pinned.model_copy(update={"status": pinned.status.model_copy(update={"flips": (there,)})})
    assert "then watched for " in told(flipped, "flip/1").next
    returned = told(release(Phase.ROLLING_BACK, flips=(there, back), rollback=BACK), "flip/2")
    assert returned.title == "shop 2.4.1: traffic is back on blue"
    assert returned.why
    assert "blue serves" in returned.next


@pytest.mark.parametrize(
    ("tell", "topic", "title", "then"),
    [
        (Tell("breach/http/error-rate", "RuleBreached", "x", "warning"), "remark", "a rule is breached", "goes on"),
        (Tell("would/rule/http/error-rate", "WouldRollBack", "x"), "decision", "would roll back", "only observes"),
        (Tell("hook/0", "HookFailed", "x", "warning"), "remark", "hook failed", "goes on"),
        (Tell("flip/1", "ForeignFlip", "x"), "flip", "somebody else moved traffic", "goes on"),
    ],
)
def test_remarks_have_a_title_and_say_what_comes_next(tell: Tell, topic: str, title: str, then: str) -> None:
    found = notice(release(Phase.WATCHING, would=BACK), tell, NOW)
    assert found.topic == topic
    assert title in found.title
    assert then in found.next
    assert found.links == {}, "nobody said where the graphs are"
    assert bool(found.why) == ("error-rate" in tell.key)


def test_who_asked_for_what_and_why_is_told() -> None:
    asked = Spec(application="shop", abort=Command(by="ann", reason="bad answers", at=NOW))
    found = told(release(Phase.WATCHING).model_copy(update={"spec": asked}), "command/abort")
    assert (found.topic, found.actor, found.why) == ("asked", "ann", ("ann says: bad answers",))
    assert found.title == "shop: abort asked"


def test_a_release_that_waits_for_approval_shows_how_to_approve_it() -> None:
    asked = Spec(application="shop", resume=Command(at=NOW))
    found = told(release(Phase.AWAITING_APPROVAL).model_copy(update={"spec": asked}), "command/resume")
    assert found.commands[-1] == "watcher release approve shop-x7k2p -n prod --reason TEXT"


def test_a_deleted_release_cannot_be_shown_any_more() -> None:
    gone = release(Phase.WATCHING)
    assert notice(gone, deleted(gone), NOW).commands == ("watcher status -n prod",)


def test_before_anything_began_colours_are_told_in_words() -> None:
    asked = Spec(application="shop")
    early = release(Phase.FAILED, **ENDED, colors=None).model_copy(update={"spec": asked})
    assert told(early, "end").next == "Nothing: traffic never left the previous colour."


def test_a_link_that_no_chat_would_take_is_left_out() -> None:
    long = RATE.model_copy(update={"query": "x" * 3000})
    assert told(release(Phase.ROLLING_BACK, rollback=BACK, rules=(long,)), "verdict").links == {}


def test_refused_files_are_told_with_their_places_and_so_is_that_they_are_right_again() -> None:
    one = refused_files(["app.yaml:3:1: unknown key"], NOW, "lease/files/1", "lease", "watcher")
    assert (one.reason, one.severity, one.topic, one.look) == ("FilesRefused", "warning", "files", "")
    assert "a file is wrong. app.yaml:3:1: unknown key" in one.message
    several = refused_files(["a", "b"], NOW, "lease/files/2", "lease", "watcher")
    assert "2 things in files are wrong" in several.message
    assert several.why == ("a", "b")
    assert refused_files([], NOW, "lease/files/3", "lease", "watcher").reason == "FilesAccepted"


def test_events_name_the_release() -> None:
    assert about(release(Phase.WATCHING))["uid"] == "5a1f"


def test_a_notice_survives_being_written_down() -> None:
    found = told(release(Phase.ROLLED_BACK, **ENDED, rollback=BACK), "end")
    assert Notice.model_validate_json(found.model_dump_json()) == found
    assert found.look == "kubectl -n prod describe release shop-x7k2p"
    assert "only a test" in sample("team-chat", NOW).title
