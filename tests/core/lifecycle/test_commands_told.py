"""Who asked for what, and why, is told once each, also where a worker was away when it was asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.core.lifecycle.stages import after_the_flip, before_the_flip
from tests.core.lifecycle.story import Story, given
from tests.core.lifecycle.world import START
from watcher.core.effects import Tell
from watcher.core.lifecycle.telling import COMMANDS, news
from watcher.core.release import Command, Phase, Spec


def told(story: Story, command: str) -> list[Tell]:
    """What a Release makes news of a command, after everything else was done."""
    return [tell for tell in news(story.release, story.world.now) if tell.key.startswith(f"command/{command}")]


def test_a_command_is_told_with_who_gave_it_and_why() -> None:
    story = after_the_flip(Phase.WATCHING).person("rollback", by="dana", reason="users complain").to_the_end()
    (tell,) = told(story, "rollback")
    assert (tell.reason, tell.message) == ("RollbackAsked", "A rollback was asked for by dana (users complain).")
    assert tell.evidence == {"by": "dana", "why": "users complain"}
    assert tell.key in story.told


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_told(command: str) -> None:
    story = given({"approval": "beforeSwitch"}, {command: Command(by="dana", reason="because")})
    assert [tell.reason for tell in told(story, command)] == [COMMANDS[command][0]]


def test_a_second_pause_is_told_like_the_first() -> None:
    story = before_the_flip(Phase.SWITCHING).person("pause").settle().person_withdraws("pause").settle()
    assert told(story, "pause") == []
    story.time_passes(5).person("pause").settle()
    assert len([key for key in story.told if key.startswith("command/pause")]) == 2


def test_who_resumed_a_release_is_told_and_a_new_pause_holds_it_again() -> None:
    story = before_the_flip(Phase.SWITCHING).person("pause", by="dana").settle().time_passes(5)
    story.says("Paused by dana")
    story.person("resume", by="erin", reason="lunch is over").settle()
    (tell,) = told(story, "resume")
    assert (tell.reason, tell.message) == ("Resumed", "Resumed by erin (lunch is over).")
    assert tell.evidence["by"] == "erin"
    assert story.release.spec.paused is None
    story.time_passes(5).person("pause", by="dana")
    assert story.release.spec.paused == story.release.spec.pause


def test_a_resume_without_a_time_resumes_whatever_pause_there_is() -> None:
    for pause in (Command(), Command(at=START)):
        assert Spec(application="chat", pause=pause, resume=Command()).paused is None
        assert Spec(application="chat", pause=pause).paused == pause


def test_a_decision_says_on_what_it_rests_and_who_made_it_when_it_is_told_again() -> None:
    story = after_the_flip(Phase.WATCHING).person("rollback", by="dana", reason="users complain").to_the_end()
    told_again = {tell.key: tell for tell in news(story.release, story.world.now)}
    assert told_again["verdict"].evidence["by"] == "dana"
    assert told_again["verdict"].evidence["code"] == "manual"
    assert told_again["end"].evidence["by"] == "dana"


def test_a_command_without_a_time_is_news_until_the_release_is_old() -> None:
    story = given({}, {"abort": Command(by="kubectl")}).to_the_end()
    assert [tell.key for tell in told(story, "abort")] == ["command/abort"]
    story.world = story.world.later(timedelta(hours=2).total_seconds())
    assert told(story, "abort") == []
