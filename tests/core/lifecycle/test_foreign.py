"""Flips that somebody else made while no Release ran: which they are, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.core.lifecycle.explore import Node, explore
from tests.core.lifecycle.stages import other_release
from tests.core.lifecycle.story import Story, given
from tests.core.lifecycle.world import NEW, START, Side, World, application, release, rule, scaler
from watcher.core.effects import PointPreview, RunCheck, Scale, SetMinimum, SwapSelector
from watcher.core.lifecycle.foreign import Moved, Seen, apart, busy, left_alone, moved_outside
from watcher.core.observed import ServiceView
from watcher.core.release import Colors, Flip, ForeignFlip, Phase, Pinned, Release, Status

APP = application()
MOVED = Moved("blue", "green")


def flip(to: str = "green", by: str = "kubectl-patch") -> ForeignFlip:
    return ForeignFlip(from_="blue" if to == "green" else "green", to=to, at=START, by=by)


def live(color: str = "green", mark: str = "", minutes: float = 0, to: str = "") -> ServiceView:
    """The live Service; `mark` is that of a flip to `to`, made so many minutes after START."""
    at = START + timedelta(minutes=minutes) if mark else None
    return ServiceView("chatbot-platform", "s", "7", {"color": color} if color else {}, mark, at, to)


def was(phase: Phase, *flips: str, uid: str = "u1", minutes: float = 10, **status: Any) -> Release:
    """A Release as it is later; `flips` are the colours that it made live, `minutes` after START it ended."""
    made = tuple(
        Flip(index=i, from_="green" if to == "blue" else "blue", to=to, reason="switch", at=START)
        for i, to in enumerate(flips, 1)
    )
    ended = START + timedelta(minutes=minutes) if phase.terminal else None
    values = {"phase": phase, "flips": made, "ended_at": ended, "colors": Colors(from_="blue", to="green")} | status
    return release().model_copy(update={"name": f"r-{uid}", "uid": uid, "status": Status(**values)})


# -- which flips are foreign ------------------------------------------------------------------------------------------

BEGUN: dict[str, Any] = {"pinned": Pinned(application=APP)}


@pytest.mark.parametrize(
    ("service", "releases", "seen", "moved"),
    [
        (live(), [], None, None),
        (live(), [], Seen("green", ""), None),
        (live(), [], Seen("blue", ""), MOVED),
        (live(mark="u9/1"), [], Seen("blue", ""), None),
        (live(mark="u9/1", to="blue"), [], None, MOVED),
        (live(mark="u9/1", to="green"), [], None, None),
        (live(mark="u1/1", to="green"), [was(Phase.COMPLETED, "green")], None, None),
        (live("blue", mark="u1/1", to="green"), [was(Phase.COMPLETED, "green")], None, Moved("green", "blue")),
        (live(mark="u1/2", to="blue"), [was(Phase.ROLLED_BACK, "green", "blue")], None, MOVED),
        (live("blue", mark="u1/1", to="green"), [was(Phase.SUPERSEDED, "green", left="blue")], None, None),
        (live(mark="u1/1", to="green"), [was(Phase.SUPERSEDED, "green", left="blue")], None, MOVED),
        (live("blue"), [was(Phase.SUPERSEDED, left="purple")], None, None),
        (live(), [was(Phase.FAILED)], None, MOVED),
        (live(), [was(Phase.FAILED, colors=None)], None, None),
        (live(), [was(Phase.WATCHING, "green", **BEGUN)], Seen("blue", ""), None),
        (live(), [was(Phase.PENDING, colors=None)], Seen("blue", ""), MOVED),
        (live(mark="u2/1", minutes=11, to="green"), [was(Phase.ROLLED_BACK, "green", "blue")], None, None),
        (live(mark="u2/1", minutes=9, to="green"), [was(Phase.ROLLED_BACK, "green", "blue")], None, MOVED),
        (live(""), [was(Phase.COMPLETED, "green")], None, Moved("green", "")),
        (live("purple"), [], Seen("blue", ""), Moved("blue", "purple")),
    ],
    ids=[
        "nobody-knows-what-it-was",
        "as-it-was-seen",
        "seen-to-move",
        "marked-by-an-older-watcher",
        "moved-after-a-release-that-was-deleted",
        "moved-by-a-release-that-was-deleted",
        "our-own-flip",
        "back-by-hand-after-a-release",
        "forth-by-hand-after-a-rollback",
        "left-as-it-was-moved",
        "moved-again-after-it-was-left",
        "put-right-by-hand",
        "moved-after-a-release-that-failed",
        "a-release-that-was-refused-knows-nothing",
        "a-release-runs-and-sees-to-it",
        "a-release-that-waits-sees-to-nothing",
        "our-own-flip-whose-end-is-not-seen-yet",
        "an-older-mark-tells-nothing",
        "no-colour",
        "an-unknown-colour",
    ],
)
def test_whose_flip_it_was(
    service: ServiceView, releases: list[Release], seen: Seen | None, moved: Moved | None
) -> None:
    assert moved_outside(APP, service, releases, seen) == moved


def test_a_rollback_by_hand_that_has_just_been_asked_for_is_no_foreign_flip() -> None:
    asked = release(images={}, version="", rollback={"by": "dana"})
    assert busy(APP, [asked])
    assert moved_outside(APP, live("blue", mark="u1/1"), [asked], Seen("green", "")) is None


def test_the_watch_of_a_foreign_flip_that_ended_knows_what_is_live_however_it_ended() -> None:
    ended = was(Phase.FAILED, colors=None)
    asked = ended.model_copy(update={"spec": ended.spec.model_copy(update={"foreign_flip": flip()})})
    assert moved_outside(APP, live(), [asked], Seen("blue", "")) is None


def test_only_a_move_to_the_other_colour_is_a_flip() -> None:
    assert [Moved("blue", to).is_flip for to in ("green", "purple", "")] == [True, False, False]


def test_a_move_that_is_left_alone_is_told_and_one_to_no_colour_with_its_cure() -> None:
    flip_ = left_alone(APP, replace(live(), by="kubectl-patch"), MOVED)
    said = "Somebody (kubectl-patch) moved the selector of Service chatbot-platform from blue to color=green."
    assert (flip_.reason, flip_.message) == ("ForeignFlip", said)
    nowhere = left_alone(APP, live(""), Moved("blue", ""))
    assert nowhere.reason == "NoActiveColor"
    assert "from blue to color=(nothing). Neither colour is selected alone" in nowhere.message
    patch = '{"spec":{"selector":{"color":"blue"}}}'
    assert nowhere.message.endswith(f"kubectl patch service chatbot-platform -n prod -p '{patch}'")


def test_services_that_select_different_colours_are_told_with_the_cure() -> None:
    told = apart(APP, {"web": live("blue"), "worker": replace(live(), uid="w")})
    assert told
    assert (told.reason, told.severity) == ("ServicesDisagree", "warning")
    assert told.message.startswith("The Services select different colours: web blue, worker green. Let them select")
    again = apart(APP, {"web": live("blue"), "worker": replace(live(), uid="w", resource_version="8")})
    assert again
    assert again.key != told.key
    assert apart(APP, {"web": live("blue"), "worker": live("blue")}) is None


def test_flips_of_other_applications_say_nothing() -> None:
    found = was(Phase.COMPLETED, "blue")
    stranger = found.model_copy(update={"spec": found.spec.model_copy(update={"application": "shop"})})
    assert moved_outside(APP, live(), [stranger], None) is None


# -- the Release of its own -------------------------------------------------------------------------------------------


def foreign(mode: str = "observe", spec: dict[str, Any] | None = None, **world: Any) -> Story:
    """Somebody has moved the selector to green, which runs NEW."""
    values = {"selector": "green", "preview": "green", "rules": (rule(),)} | world
    story = given({"foreignFlips": mode} | (spec or {}), {"foreign_flip": flip()}, **values)
    return story.color("green", image=NEW, version="2.4.1")


def test_an_observed_flip_is_recorded_watched_and_left_alone() -> None:
    story = foreign().to_the_end().phase_is(Phase.COMPLETED).traffic_is_on("green")
    assert story.phases == [Phase.PENDING, Phase.WATCHING, Phase.COMPLETED]
    assert [(f.from_, f.to, f.reason) for f in story.status.flips] == [("blue", "green", "foreign")]
    assert story.status.switched_at == START
    assert [r.mode for r in story.status.pinned.rules] == ["observe"] if story.status.pinned else False
    story.telling("flip", "Somebody (kubectl-patch) moved the selector of Service chatbot-platform from blue to green")
    story.says("2.4.1 serves on green", "only observed")
    for kind in (SwapSelector, Scale, PointPreview, RunCheck):
        story.never_did(kind)
    assert story.status.keep is None


def test_an_observed_flip_tells_what_an_enforcing_watch_would_have_done() -> None:
    story = foreign().until(Phase.WATCHING).color_dies("green", crashed=True).to_the_end()
    story.phase_is(Phase.COMPLETED).traffic_is_on("green").says("would have gone back for pods/Crashed")
    story.telling("would/pods/Crashed", "An enforcing watch would go back from green (2.4.1)")
    assert story.status.would
    assert story.status.would.code == "pods/Crashed"


def test_an_observed_flip_whose_rules_get_no_answer_still_ends() -> None:
    story = foreign().until(Phase.WATCHING).rules_say("hold").to_the_end().phase_is(Phase.COMPLETED)
    story.says("its rules got no answer")
    assert story.status.verdict == "inconclusive"


def test_an_enforced_flip_is_sent_back_when_a_rule_is_breached() -> None:
    story = foreign("enforce").until(Phase.WATCHING).rules_say("rollback").to_the_end()
    story.phase_is(Phase.ROLLED_BACK, "rule/http/error-rate").traffic_is_on("blue")
    assert story.world.made == ("blue",)
    assert [(f.index, f.to) for f in story.status.flips] == [(1, "green"), (2, "blue")]
    assert story.status.rejected == {"chat": NEW}
    story.says("Rolled back from green (2.4.1) to blue (2.4.0)")


def test_an_enforced_flip_to_a_dead_colour_is_sent_back() -> None:
    story = foreign("enforce").color_dies("green").to_the_end()
    story.phase_is(Phase.ROLLED_BACK).traffic_is_on("blue")


def test_an_enforced_flip_has_its_health_checks_and_completes() -> None:
    story = foreign("enforce").to_the_end().phase_is(Phase.COMPLETED).traffic_is_on("green").says("passed its watch")
    assert [check.id for check in story.status.checks] == ["live/0/live", "live/0/pods"]
    assert story.status.keep


def minimum(story: Story, color: str) -> int:
    found = story.world.side(color).scaler
    assert found
    return found.minimum


BLUE = Side("blue", version="2.4.0", replicas=3, ready=3, scaler=scaler("blue"))


def test_an_enforced_flip_keeps_the_way_back_at_its_size_until_its_keep_time_has_passed() -> None:
    story = foreign("enforce", blue=BLUE).until(Phase.WATCHING).time_passes(30)
    assert minimum(story, "blue") == 3
    assert story.world.blue.replicas == 3
    story.to_the_end().phase_is(Phase.COMPLETED)
    assert minimum(story, "blue") == 3
    story.time_passes(3600)
    assert minimum(story, "blue") == 1


def test_an_observed_flip_leaves_autoscalers_alone() -> None:
    foreign(blue=BLUE).to_the_end().phase_is(Phase.COMPLETED).never_did(SetMinimum)


def test_a_person_may_send_an_observed_flip_back() -> None:
    story = foreign().until(Phase.WATCHING).person("rollback").to_the_end()
    story.phase_is(Phase.ROLLED_BACK, "manual").traffic_is_on("blue")


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_a_person_may_call_the_watch_off_and_nothing_is_undone(mode: str) -> None:
    story = foreign(mode).until(Phase.WATCHING).person("abort").to_the_end()
    story.phase_is(Phase.ABORTED, "Aborted").traffic_is_on("green").says("traffic stays on green")
    story.time_passes(600).never_did(SwapSelector).never_did(Scale)


def test_an_abort_before_the_watch_began_ends_it_too() -> None:
    foreign().person("abort").settle().phase_is(Phase.ABORTED).traffic_is_on("green")


def test_a_flip_that_was_taken_back_at_once_is_not_watched() -> None:
    story = foreign(selector="blue").settle().phase_is(Phase.SUPERSEDED, "SelectorMoved")
    story.says("and then on to blue")
    assert story.release.knows_live == "blue"


def test_a_flip_that_is_taken_back_during_its_watch_ends_it() -> None:
    story = foreign("enforce").until(Phase.WATCHING).person_moves_selector("blue").to_the_end()
    story.phase_is(Phase.SUPERSEDED, "SelectorMoved").traffic_is_on("blue").never_did(SwapSelector)
    assert story.release.knows_live == "blue"


def test_a_release_that_began_in_between_goes_first() -> None:
    story = foreign(others=(other_release(Phase.DEPLOYING, name="later"),)).settle()
    story.phase_is(Phase.SUPERSEDED, "AnotherReleaseBegan").says("later", "goes on from green")


def test_a_release_that_begins_during_the_watch_goes_on_alone() -> None:
    story = foreign().until(Phase.WATCHING).world_is(others=(other_release(Phase.DEPLOYING, name="later"),)).settle()
    story.phase_is(Phase.SUPERSEDED, "AnotherReleaseBegan").says("later").traffic_is_on("green")


def test_an_enforced_watch_gives_way_to_nobody() -> None:
    story = foreign("enforce").until(Phase.WATCHING)
    story.world_is(others=(other_release(Phase.DEPLOYING, name="later"),)).settle().phase_is(Phase.WATCHING)


def test_without_a_service_there_is_nothing_to_watch() -> None:
    foreign(service=False).settle().phase_is(Phase.FAILED, "NoService")


def test_deployments_that_are_not_there_do_not_keep_the_watch_from_beginning() -> None:
    story = foreign().color("green", exists=False).color("blue", exists=False).settle().phase_is(Phase.WATCHING)
    assert story.status.pinned
    assert (story.status.pinned.replicas, story.status.pinned.previous_version) == (1, "")


def test_an_observed_pass_does_not_let_a_version_in_that_was_rolled_back() -> None:
    bad = other_release(Phase.ROLLED_BACK)
    seen = other_release(name="seen", ended_at=START - timedelta(minutes=1), foreign=True)
    given(others=(bad, seen)).settle().phase_is(Phase.FAILED, "Quarantined")


# -- explored ---------------------------------------------------------------------------------------------------------


def beginning(mode: str, faults: int) -> Node:
    spec: dict[str, Any] = {"tests": {}, "preview": None, "foreignFlips": mode}
    world = World(application(**spec), selector="green", preview=None)
    world = world.with_side(replace(world.green, image=NEW, version="2.4.1"))
    return Node(release(foreign_flip=flip()), world, faults)


def test_whatever_happens_once_an_observed_flip_is_never_undone_unasked() -> None:
    found = explore(beginning("observe", 1))
    assert found.endings == {
        (Phase.COMPLETED, ()),
        (Phase.ABORTED, ()),
        (Phase.SUPERSEDED, ()),
        (Phase.ROLLED_BACK, ("blue",)),  # a person asked
    }


@pytest.mark.exhaustive
def test_whatever_happens_twice_around_an_enforced_flip_it_ends_right() -> None:
    found = explore(beginning("enforce", 2))
    assert found.endings == {
        (Phase.COMPLETED, ()),
        (Phase.ABORTED, ()),
        (Phase.SUPERSEDED, ()),
        (Phase.SUPERSEDED, ("blue",)),
        (Phase.ROLLED_BACK, ("blue",)),
    }
