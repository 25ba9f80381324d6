"""Jobs that an earlier process left behind: deleted once, when they may run still and nobody waits for them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.core.test_application import load
from tests.support.acting import until
from tests.support.clock import HandClock
from watcher.adapters.kubernetes.jobs import JobOrder
from watcher.adapters.repeated import CheckOutcome, Heard, unheard
from watcher.core.release import CheckRecord, Colors, Phase, Pinned, Release, Spec, Status
from watcher.engine.aims import sweep
from watcher.engine.blind import NoMetrics
from watcher.engine.checks import Checks

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


class Dropped:
    """Remembers what is deleted, and runs what it is asked to until that is cancelled. The first `refusals` times
    nothing is deleted."""

    def __init__(self, refusals: int = 0) -> None:
        self.ids: list[str] = []
        self.refusals = refusals

    def drop(self, order: JobOrder) -> bool:
        self.ids.append(order.id)
        self.refusals -= 1
        return self.refusals < 0

    def run(self, order: JobOrder, cancel: threading.Event, heard: Heard = unheard) -> CheckOutcome:
        cancel.wait(20)
        return CheckOutcome(False, "cancelled", "", 1, NOW, NOW, cancelled=True)


def job(name: str, timeout: str = "5m") -> dict[str, Any]:
    return {"name": name, "job": {"image": "verify:1", "timeout": timeout}}


def ended(minutes: float = 1.0) -> Release:
    """A Release that failed some minutes ago; one of its Jobs had given its result."""
    app = load(
        tests={"smoke": [job("done"), {"tcp": {}}], "verification": [{"parallel": [job("runs"), job("short", "1s")]}]},
        hooks={"preSwitch": [job("warm")], "onFailure": [job("page")]},
    )
    status = Status(
        phase=Phase.FAILED,
        ended_at=NOW - timedelta(minutes=minutes),
        pinned=Pinned(application=app),
        colors=Colors(from_="blue", to="green"),
        checks=(CheckRecord(id="smoke/done/pods", ok=True, message="succeeded"),),
    )
    return Release(
        name="shop-1",
        namespace="prod",
        uid="u1",
        resource_version="1",
        created_at=NOW - timedelta(hours=1),
        spec=Spec(application="shop"),
        status=status,
    )


RUNS = "verification/runs/pods"


class Swept:
    """A Release that has ended, looked at again and again."""

    def __init__(self, release: Release, *, refusals: int = 0) -> None:
        self.jobs, self.release = Dropped(refusals), release
        self.key = (release.namespace, release.name)
        self.checks = Checks(lambda _: None, HandClock(), self.jobs, NoMetrics())

    def cancelled(self) -> Swept:
        """This process ran one of its Jobs itself when it ended."""
        spec = load(tests={"smoke": [job("runs")]}).spec.tests.smoke[0].job
        assert spec
        self.checks.start_job(self.key, RUNS, JobOrder(self.release, RUNS, spec, {}))
        self.checks.cancel(self.key)
        until(lambda: self.jobs.ids == [RUNS], "the Job to be deleted")
        return self

    def until(self, *ids: str) -> None:
        """Look again until these were deleted, and then some more: nothing else is."""
        until(lambda: self._look() >= len(ids), "the Jobs to be deleted")
        for _ in range(3):
            self._look()
        self.checks.stop()
        assert sorted(self.jobs.ids) == sorted(ids)

    def _look(self) -> int:
        sweep(self.checks, self.release, NOW)
        return len(self.jobs.ids)


def test_what_gave_no_result_and_may_run_still_is_deleted_once() -> None:
    Swept(ended()).until("preSwitch/warm/hook", RUNS, "verification/short/pods")


def test_what_has_ended_by_its_own_limit_is_left_alone() -> None:
    Swept(ended(minutes=2.5)).until("preSwitch/warm/hook", RUNS)
    Swept(ended(minutes=10)).until()


def test_a_process_that_ran_the_checks_itself_deletes_them_once() -> None:
    Swept(ended()).cancelled().until(RUNS)


def test_a_job_that_could_not_be_deleted_is_deleted_by_whoever_looks_next() -> None:
    Swept(ended(minutes=2.5), refusals=1).cancelled().until(RUNS, RUNS, "preSwitch/warm/hook")
