"""Which ended Releases nobody needs any more.

What always holds: one that has not ended stays, and so does what a later decision rests on: the newest of each good or
bad end, what keeps a version out that was rolled back (S9), a keep-time that runs, a minimum that is to be given back,
a hook that is still to be called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from watcher.core.images import within
from watcher.core.lifecycle.ended import HEARD, TOO_OLD
from watcher.core.observed import Other
from watcher.core.release import Phase, Release


def surplus(releases: Iterable[Release], limit: int, now: datetime) -> list[Release]:
    """Of one Application's Releases those that are beyond the newest `limit` ended ones and that nobody needs, the
    oldest first."""
    ended = sorted((r for r in releases if r.phase.terminal and r.status.ended_at), key=_age)
    needed = {r.uid for r in _needed(ended)}
    return [r for r in ended[:-limit] if r.uid not in needed and not _unfinished(r, now)]


def _age(release: Release) -> tuple[datetime, str]:
    return release.status.ended_at or release.created_at, release.name


def _needed(ended: Sequence[Release]) -> Iterator[Release]:
    """What decisions rest on."""
    yield from [r for r in ended if r.phase is Phase.COMPLETED][-1:]
    yield from [r for r in ended if r.phase is Phase.ROLLED_BACK][-1:]
    yield from [r for r in ended if r.knows_live][-1:]
    lives = [(release, life) for release in ended if (life := Other.of(release)).proves]
    for _, life in lives:
        if life.phase == Phase.ROLLED_BACK:
            # The last word on its images: this very Release, or a later one that says that they are good after all.
            yield [release for release, other in lives if within(life.images, other.images)][-1]


def _unfinished(release: Release, now: datetime) -> bool:
    """Whether something is still to be done for a Release that has ended."""
    status = release.status
    if status.held or (status.keep and not status.keep.done):
        return True
    hooks = status.pinned.application.spec.hooks.on_failure if status.pinned and release.phase in HEARD else ()
    called = sum(record.id.startswith("onFailure/") for record in status.checks)
    return called < len(hooks) and status.ended_at is not None and now - status.ended_at < TOO_OLD
