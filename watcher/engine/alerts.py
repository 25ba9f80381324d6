"""The inbox for alerts from outside: what it acknowledges is kept on the Releases that it concerns.

What always holds: nothing is acknowledged before it is written, whichever replica was told; what waits together is
heard together, so a thousand reports at once cost a few reads and one write for each Release; and the Releases are read
from the API server, never from a cache. What follows from an alert the step decides.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog

from watcher.adapters.errors import AdapterError, Conflict
from watcher.adapters.kubernetes.hands import Hands
from watcher.core.alerts import Action, Alert, AlertUse, Report, action_for, may_hide
from watcher.core.application import Application
from watcher.core.hearing import hear, meant_by
from watcher.core.release import Release

log = structlog.get_logger(__name__)

TRIES = 10
"""How often a Release is read again because somebody else wrote it meanwhile."""

May = Callable[[str, str], bool]
"""Whether whoever sends may tell of an Application, by namespace and name."""


class NotKept(Exception):
    """It could not be written: send it again."""


class Known(Protocol):
    """What the daemon knows of Releases without asking."""

    def releases(self) -> list[Release]: ...

    def remember(self, release: Release) -> None: ...


@dataclass
class Received:
    """What came of what was sent at once."""

    acted: list[str] = field(default_factory=list)
    ignored: int = 0
    incomplete: int = 0


@dataclass
class _Post:
    """What was sent at once, and who waits for the answer."""

    reports: Sequence[Report]
    by: str
    may: May
    answer: Future[Received] = field(default_factory=Future)
    received: Received = field(default_factory=Received)
    heard: set[int] = field(default_factory=set)


class Inbox:
    """Takes reports from any thread, and hears them in one of its own."""

    def __init__(
        self,
        hands: Hands,
        known: Known,
        applications: Callable[[], Iterable[Application]],
        now: Callable[[], datetime],
    ) -> None:
        self._hands, self._known, self._applications, self._now = hands, known, applications, now
        self._waiting: list[_Post] = []
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="alerts")

    def take(self, reports: Sequence[Report], by: str, may: May) -> Future[Received]:
        """Its result comes once everything that matters is written; NotKept when that cannot be done."""
        post = _Post(reports, by, may)
        post.answer.set_running_or_notify_cancel()  # whoever sends may go away meanwhile: it is heard all the same
        with self._lock:
            self._waiting.append(post)
            self._pool.submit(self._hear_all)
        return post.answer

    def stop(self) -> None:
        """What was not heard yet is not acknowledged."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for post in self._all_waiting():
            post.answer.set_exception(NotKept("the daemon stops"))

    def _all_waiting(self) -> list[_Post]:
        with self._lock:
            posts, self._waiting = self._waiting, []
        return posts

    def _hear_all(self) -> None:
        posts = self._all_waiting()
        try:
            for namespace in self._concerned(posts):
                for release in self._hands.read_running(namespace):
                    self._tell(release, posts)
        except (AdapterError, NotKept) as error:
            # All of it: what was written of it is known when it comes again.
            log.warning("alerts were not kept; whoever sent them has to send them again", error=str(error))
            for post in posts:
                post.answer.set_exception(NotKept(str(error)))
            return
        except BaseException as error:
            for post in posts:
                post.answer.set_exception(error)
            raise
        for post in posts:
            alerts = [alert for report in post.reports for alert in report.alerts]
            post.received.ignored = sum(id(alert) not in post.heard for alert in alerts)
            post.received.incomplete = sum(report.left_out for report in post.reports)
            post.answer.set_result(post.received)

    def _concerned(self, posts: Sequence[_Post]) -> list[str]:
        """The namespaces in which something that was sent may be meant."""
        uses: dict[str, list[AlertUse]] = defaultdict(list)
        groups: dict[str, set[str]] = defaultdict(set)
        for app in self._applications():
            uses[app.namespace] += app.spec.alerts
        for release in self._known.releases():
            if not release.phase.terminal:
                uses[release.namespace] += (use for use in meant_by(release) if use not in uses[release.namespace])
                groups[release.namespace] |= {one.group for one in release.status.incomplete_alerts}
        reports = [report for post in posts for report in post.reports]
        return sorted(
            space for space, found in uses.items() if any(r.group in groups[space] or _meant(found, r) for r in reports)
        )

    def _tell(self, release: Release, posts: Sequence[_Post]) -> None:
        """Keep on a Release what concerns it, in one write."""
        for _ in range(TRIES):
            status = release.status
            done: list[tuple[_Post, Alert, Action]] = []
            for post in posts:
                for report in post.reports:
                    after, new = hear(release.model_copy(update={"status": status}), report, post.by, self._now())
                    if after != status and post.may(release.namespace, release.spec.application):
                        status = after
                        done += [(post, alert, action) for alert, action in new]
            if status == release.status:
                return
            try:
                written = self._hands.write_status(release, status)
            except Conflict:
                fresh = self._hands.read_release(release.namespace, release.name)
                if fresh is None or fresh.uid != release.uid:
                    return
                release = fresh
                continue
            self._known.remember(written)
            for post, alert, action in done:
                post.heard.add(id(alert))
                post.received.acted.append(f"{release.name}: {alert.status} {alert.name}: {action}")
                log.info(
                    "an alert is heard",
                    release=release.name,
                    application=release.spec.application,
                    alert=alert.name,
                    state=alert.status,
                    action=action,
                    by=post.by,
                )
            return
        raise NotKept(f"{release.name} is written by others all the time")


def _meant(uses: Sequence[AlertUse], report: Report) -> bool:
    return may_hide(uses, report) or any(action_for(uses, alert) for alert in report.alerts)
