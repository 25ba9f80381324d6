"""What must be true of a scene when it is over: the promises that only the whole of it can break."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import generate_latest

from tests.walk.journal import Story
from tests.walk.memory import breached, breaches, enforces, spoke, times
from tests.walk.outside import SECRET
from tests.walk.scene import ANSWERS, Scene
from watcher.adapters.kubernetes import paths
from watcher.api.page import Row, render
from watcher.core.release import FOREIGN, Phase, Release

ERRORS = "rule/walk/errors"
LOOKS = 200
"""How often it is looked whether all was told: telling takes its time, on purpose."""
RIGHT_ENDS = frozenset({Phase.ROLLED_BACK, Phase.SUPERSEDED})


def broken(scene: Scene, log: Path) -> list[str]:
    """The promises that the scene has broken, each with its name."""
    stories = list(scene.journal.stories.values())
    kept = [story for story in stories if not story.deleted]
    found = list(scene.journal.complaints)
    found += [words for story in stories for words in _flips(scene, story)]
    found += [words for story in kept for words in _verdict(scene, story)]
    found += list(_quarantine(stories))
    found += list(_told(scene, kept, log))
    found += list(_secrets(scene, log))
    return found


def _flips(scene: Scene, story: Story) -> Iterator[str]:
    """S5: each move of the selector by a Release is in its status, once, and nothing else is."""
    moves = scene.journal.moves
    made = [(move.index, move.color) for move in moves if move.uid == story.last.uid]
    noted = [(flip.index, flip.to) for flip in story.last.status.flips if flip.reason != FOREIGN]
    if len(set(made)) != len(made):
        yield f"S5: {story.last.name} made a flip twice: {made}"
    lost = story.deleted or any(move.color == "" for move in moves)  # with its Service the mark of a flip may be lost
    if made != noted and not lost:
        yield f"S5: {story.last.name} moved the selector {made}, and its status says {noted}"


def _verdict(scene: Scene, story: Story) -> Iterator[str]:
    release, status = story.last, story.last.status
    if story.latched and release.phase not in RIGHT_ENDS and not release.is_rollback_only:
        yield f"S8: {release.name} had the verdict rollback ({story.latched}), and ended as {release.phase.value}"
    if status.switched_at is None or status.pinned is None or not status.pinned.rules or not status.watch_until:
        return
    history = scene.outside.history
    if release.phase is Phase.COMPLETED and enforces(release):
        due = list(times(status.switched_at, status.watch_until))
        found = breaches(release, history, status.watch_until)
        # What is not answered when the watch ends is not waited for, if enough was seen before (docs/rules.md).
        answers = status.ended_at and history.at(ANSWERS, status.ended_at.timestamp())
        if found and answers:
            at = datetime.fromtimestamp(found[0], UTC)
            yield f"S5: {release.name} completed although Prometheus remembers a breach at {at:%H:%M:%S}"
        seen = [at for at in due if spoke(history, at)]
        if len(seen) < max(3, len(due) / 2):
            yield f"S7: {release.name} completed although only {len(seen)} of {len(due)} evaluations saw anything"
    elif (
        status.rollback
        and status.rollback.code == ERRORS
        # A watch that is held, or waits for a last look that sees, goes on beyond its end.
        and not any(breached(history, at) for at in times(status.switched_at, status.rollback.at))
    ):
        yield f"S7: {release.name} went back for a breach that Prometheus does not know"


def _quarantine(stories: list[Story]) -> Iterator[str]:
    """S9: what was rolled back is not switched to again, unless it has proved itself since, or somebody says force."""
    for story in stories:
        release, status = story.last, story.last.status
        forward = [flip for flip in status.flips if flip.reason == "switch"]
        if not forward or release.spec.force or status.started_at is None:
            continue
        lives = [
            other.last
            for other in stories
            if other is not story
            and not other.deleted
            and _proves(other.last)
            and other.last.status.ended_at is not None
            and other.last.status.ended_at < status.started_at
            and release.spec.images.items() <= (other.last.status.rejected or other.last.spec.images).items()
        ]
        last = max(lives, key=lambda r: r.status.ended_at or r.created_at, default=None)
        if last is not None and last.phase is Phase.ROLLED_BACK:
            yield f"S9: {release.name} switched to {release.spec.images}, which {last.name} had rolled back"


def _proves(release: Release) -> bool:
    """Whether its end says something of its version: to look on while somebody else goes live says nothing."""
    return release.phase is Phase.ROLLED_BACK or (release.phase is Phase.COMPLETED and not release.spec.foreign_flip)


def _told(scene: Scene, stories: list[Story], log: Path) -> Iterator[str]:
    """S11: each piece of news is told once by whoever leads, and every end is told, unless it was given up and that was
    said. Who has lost the lead and wins it again tells what nobody could note as told.
    """
    heard = Counter((d.life, d.key) for d in scene.outside.deliveries if d.status == 200)
    terms = {f"{scene.namespace}.{life.name}": life.terms() for life in scene.every_life()}
    for (life, key), count in heard.items():
        if life in terms and count > max(1, terms[life]):  # one of an earlier scene dies slowly, and still tells
            yield f"S11: {life} told {key} {count} times, and was answered 200 each time; it led {terms[life]} times"
    for _ in range(LOOKS):
        untold = list(_untold(scene, stories))
        if not untold:
            return
        time.sleep(0.05)
        scene.clock.seconds += 0.5
    said = log.read_text("utf-8")
    for story in (story for story in untold if f'the Event on Release {story.last.name}"' not in said):
        status = story.last.status
        yield f"S11: nobody was told of the end of {story.last.name} ({status.phase.value}, {status.reason})"


def _untold(scene: Scene, stories: list[Story]) -> Iterator[Story]:
    """The Releases that ended a little while ago, and of whose end there is no Event."""
    events = scene.cluster.connection.get(paths.events(scene.namespace))["items"]
    told = {(event["involvedObject"]["uid"], event["reason"]) for event in events}
    for story in stories:
        status = story.last.status
        recent = status.ended_at and scene.clock.seconds - status.ended_at.timestamp() < 600
        if recent and (story.last.uid, (status.reason or status.phase.value).replace("/", "")) not in told:
            yield story


def _secrets(scene: Scene, log: Path) -> Iterator[str]:
    """S12: what was planted stands nowhere."""
    connection, space = scene.cluster.connection, scene.namespace
    places = {
        "the log": log.read_text("utf-8"),
        "a Release": json.dumps(connection.get(paths.releases(space))),
        "an Event": json.dumps(connection.get(paths.events(space))),
    }
    for life in scene.lives:
        daemon = life.daemon
        rows = [Row(*key, color) for key, color in daemon.active_colors().items()]
        places["the page"] = render(rows, daemon.releases(), daemon.problems(), scene.clock.now())
        places["the metrics"] = generate_latest(daemon.registry).decode()
    for place, text in places.items():
        if SECRET in text:
            yield f"S12: a secret stands in {place}"
