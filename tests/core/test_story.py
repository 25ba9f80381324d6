"""The story of a Release: everything in its order, once, with who and on what it rests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.core.lifecycle.stages import after_the_flip
from tests.core.lifecycle.world import START
from watcher.core.lifecycle.telling import COMMANDS, news
from watcher.core.release import (
    FOREIGN,
    UNNAMED,
    WATCHER,
    CheckRecord,
    Colors,
    Command,
    Condition,
    Decision,
    Flip,
    ForeignFlip,
    Keep,
    Phase,
    Release,
    RuleRecord,
    Spec,
    Status,
)
from watcher.core.story import LIKELY, Entry, Told, as_json, story


def at(seconds: float) -> datetime:
    return datetime(2026, 11, 23, 14, 0, tzinfo=UTC) + timedelta(seconds=seconds)


STATUS = Status(
    phase=Phase.ROLLED_BACK,
    reason="rule/http/error-rate",
    message="Rolled back from green to blue.",
    phase_since=at(80),
    started_at=at(1),
    switched_at=at(30),
    ended_at=at(80),
    colors=Colors(from_="blue", to="green"),
    flips=(
        Flip(index=1, from_="blue", to="green", reason="switch", at=at(30)),
        Flip(index=2, from_="green", to="blue", reason="rule/http/error-rate", at=at(71)),
    ),
    rollback=Decision(code="rule/http/error-rate", message="error-rate was 4.2% (limit 1%)", at=at(70)),
    checks=(
        CheckRecord(id="smoke/0/preview", ok=True, message="answered 200"),
        CheckRecord(id="live/0/live", ok=True, message="answered 200"),
        CheckRecord(id="postRollback/0/hook", ok=False, message="answered 500", output="no\nnever"),
    ),
    rules=(
        RuleRecord(
            name="http/error-rate",
            outcome="breach",
            message="error-rate was 4.2% (limit 1%)",
            value=0.042,
            threshold="> 1%",
            since=at(60),
            query="sum(errors)",
        ),
    ),
    conditions=(
        Condition(
            type="WayBackLost", status="False", reason="WayBackLost", message="it is", last_transition_time=at(50)
        ),
    ),
    keep=Keep(color="green", deployment="shop-green", until=at(600)),
)
RELEASE = Release(
    name="shop-1",
    namespace="prod",
    uid="u1",
    resource_version="9",
    created_at=at(0),
    spec=Spec(
        application="shop",
        version="2.4.1",
        images={"chat": "chat:2.4.1"},
        requested_by="pipeline/4711",
        force=True,
        pause=Command(by="dana", reason="lunch", at=at(10)),
        resume=Command(by="erin", at=at(20)),
        approve=Command(reason="looks fine"),
    ),
    status=STATUS,
)
EVENTS = [
    Told(
        at(25),
        "Approved",
        "Approved by an unnamed caller (looks fine).",
        "command/approve",
        WATCHER,
        {"why": "looks fine"},
    ),
    Told(at(70), "RollbackDecided", "Rolling back.", "verdict", WATCHER, {"breachedAt": "14:01:10"}),
    Told(
        at(65),
        "RuleBreached",
        "Rule trends/latency is breached.",
        "breach/trends/latency",
        WATCHER,
        {"rule": "latency"},
    ),
    Told(at(40), "Odd", "somebody else's", actor="kubectl"),
]


def said(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(entry.kind, entry.message) for entry in entries]


def test_everything_is_told_once_and_in_its_order() -> None:
    entries = story(RELEASE, EVENTS, marks=["u1/2"])
    assert said(entries) == [
        ("asked", "shop 2.4.1 is asked for."),
        ("begun", "Begun from blue to green."),
        ("command", "Paused."),
        ("command", "Resumed."),
        ("command", "Approved."),
        ("check", "Check smoke/0/preview passed: answered 200"),
        ("flip", "Traffic moved from blue to green (switch)."),
        ("check", "Check live/0/live passed: answered 200"),
        ("event", "Odd: somebody else's"),
        ("condition", "WayBackLost is False: it is"),
        ("rule", "Rule http/error-rate: breach: error-rate was 4.2% (limit 1%)"),
        ("event", "RuleBreached: Rule trends/latency is breached."),
        ("decision", "Rolling back: error-rate was 4.2% (limit 1%)."),
        ("flip", "Traffic moved from green to blue (rule/http/error-rate)."),
        ("check", "Check postRollback/0/hook FAILED: answered 500"),
        ("end", "RolledBack: Rolled back from green to blue."),
    ]


def test_each_entry_says_who_and_on_what_it_rests() -> None:
    by_message = {entry.message: entry for entry in story(RELEASE, EVENTS, marks=["u1/2"])}
    actors = {message: entry.actor for message, entry in by_message.items()}
    assert actors["shop 2.4.1 is asked for."] == "pipeline/4711"
    assert (actors["Paused."], actors["Resumed."]) == ("dana", "erin")
    assert actors["Odd: somebody else's"] == "kubectl"
    assert actors["Rolling back: error-rate was 4.2% (limit 1%)."] == WATCHER
    rule = by_message["Rule http/error-rate: breach: error-rate was 4.2% (limit 1%)"]
    assert rule.evidence == {"value": 0.042, "threshold": "> 1%", "query": "sum(errors)"}
    first, second = (entry for entry in by_message.values() if entry.kind == "flip")
    assert first.evidence == {"mark": "u1/1"}
    assert second.evidence == {"mark": "u1/2", "onService": "carried by the Service"}
    decision = by_message["Rolling back: error-rate was 4.2% (limit 1%)."]
    assert decision.evidence == {"breachedAt": "14:01:10", "code": "rule/http/error-rate"}
    assert by_message["Check postRollback/0/hook FAILED: answered 500"].evidence == {"output": "no\nnever"}
    end = by_message["RolledBack: Rolled back from green to blue."]
    assert end.evidence == {"reason": "rule/http/error-rate", "kept": "green until 2026-11-23T14:10:00+00:00"}


def test_a_command_without_a_time_takes_that_of_its_event_and_without_one_stands_first() -> None:
    (told,) = (entry for entry in story(RELEASE, EVENTS) if entry.message == "Approved.")
    assert told.at == at(25)
    alone = story(RELEASE, ())
    assert [entry.message for entry in alone[:2]] == ["shop 2.4.1 is asked for.", "Approved."]
    assert alone[1].at is None


def test_an_entry_for_programs_has_its_event() -> None:
    entries = [as_json(entry) for entry in story(RELEASE, EVENTS)]
    (decision,) = (entry for entry in entries if entry["kind"] == "decision")
    assert decision["at"] == "2026-11-23T14:01:10Z"
    assert decision["event"] == {"reason": "RollbackDecided", "message": "Rolling back.", "at": "2026-11-23T14:01:10Z"}
    (check, *_) = (entry for entry in entries if entry["kind"] == "check")
    assert check["at"] is None
    assert "event" not in check


def test_a_release_that_nobody_has_taken_up_yet_has_only_its_asking() -> None:
    bare = RELEASE.model_copy(update={"status": Status(), "spec": Spec(application="shop")})
    (entry,) = story(bare, ())
    assert (entry.kind, entry.actor, entry.evidence) == ("asked", UNNAMED, {})


def test_checks_of_a_release_that_never_switched_stand_before_its_end() -> None:
    failed = STATUS.model_copy(
        update={
            "phase": Phase.FAILED,
            "switched_at": None,
            "flips": (),
            "rollback": None,
            "checks": (STATUS.checks[0], CheckRecord(id="onFailure/0/hook", ok=True, message="answered 200")),
            "started_at": at(1),
            "colors": None,
        }
    )
    kinds = [entry.kind for entry in story(RELEASE.model_copy(update={"status": failed}), ())]
    assert kinds[-4:] == ["rule", "check", "end", "check"]
    assert "flip" not in kinds


def test_a_rollback_by_hand_names_who_asked() -> None:
    spec = Spec(application="shop", rollback=Command(by="dana", reason="users complain", at=at(0)))
    asked, command = story(RELEASE.model_copy(update={"status": Status(), "spec": spec}), ())
    assert (asked.message, asked.actor) == ("A rollback of shop is asked for.", "dana")
    assert (command.actor, command.evidence) == ("dana", {"why": "users complain"})


def test_a_flip_that_somebody_else_made_is_theirs() -> None:
    flip = Flip(index=1, from_="blue", to="green", reason=FOREIGN, at=at(30), service="shop")
    status = Status(flips=(flip,))
    for by, actor in (("kubectl-patch", "kubectl-patch"), ("", UNNAMED)):
        spec = Spec(application="shop", foreign_flip=ForeignFlip(from_="blue", to="green", at=at(31), by=by))
        _, told = story(RELEASE.model_copy(update={"status": status, "spec": spec}), (), marks=["u1/1"])
        assert (told.actor, told.evidence) == (actor, {"service": "shop"})
    _, told = story(RELEASE.model_copy(update={"status": status, "spec": Spec(application="shop")}), ())
    assert told.actor == UNNAMED


def test_what_a_whole_life_told_adds_to_what_its_status_says() -> None:
    lived = after_the_flip(Phase.WATCHING).person("rollback", reason="users complain").to_the_end()
    events = [
        Told(START, tell.reason, tell.message, tell.key, str(tell.evidence.get("by") or WATCHER), tell.evidence)
        for tell in news(lived.release, lived.world.now)
    ]
    entries = story(lived.release, events)
    assert not [entry for entry in entries if entry.kind == "event"]
    kinds = [entry.kind for entry in entries if entry.kind in ("flip", "command", "decision", "end")]
    assert kinds == ["flip", "command", "decision", "flip", "end"]
    (decision,) = (entry for entry in entries if entry.kind == "decision")
    assert decision.actor == "dana"


def test_flips_of_several_services_are_told_apart() -> None:
    flips = tuple(
        Flip(index=i, from_="blue", to="green", reason="switch", at=at(30), service=name)
        for i, name in enumerate(("shop", "worker"), 1)
    )
    entries = story(RELEASE.model_copy(update={"status": Status(flips=flips)}), ())
    assert [entry.message for entry in entries if entry.kind == "flip"] == [
        "Traffic of Service shop moved from blue to green (switch).",
        "Traffic of Service worker moved from blue to green (switch).",
    ]


def test_every_command_has_its_place_among_those_of_the_same_second() -> None:
    assert sorted(LIKELY) == sorted(COMMANDS)
    assert LIKELY.index("pause") < LIKELY.index("resume") < LIKELY.index("approve")
