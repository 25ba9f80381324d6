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
    """Remembers what is deleted, and runs what it is asked to until that is cancelled."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def drop(self, order: JobOrder) -> None:
        self.ids.append(order.id)

    def run(
        self, order: JobOrder, cancel: threading.Event, keep: threading.Event, heard: Heard = unheard
    ) -> CheckOutcome:
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


def swept(release: Release, count: int, *, known: bool = False) -> list[str]:
    """What is deleted, sorted; `count` is how much is waited for."""
    jobs = Dropped()
    checks = Checks(lambda _: None, HandClock(), jobs, NoMetrics())
    try:
        if known:
            spec = load(tests={"smoke": [job("runs")]}).spec.tests.smoke[0].job
            assert spec
            checks.start_job((release.namespace, release.name), "smoke/runs/pods", JobOrder(release, "x", spec, {}))
            checks.cancel((release.namespace, release.name))
        for _ in range(3):
            sweep(checks, release, NOW)
        until(lambda: len(jobs.ids) >= count, "the Jobs to be deleted")
    finally:
        checks.stop()
    return sorted(jobs.ids)


def test_what_gave_no_result_and_may_run_still_is_deleted_once() -> None:
    assert swept(ended(), 3) == ["preSwitch/warm/hook", "verification/runs/pods", "verification/short/pods"]


def test_what_has_ended_by_its_own_limit_is_left_alone() -> None:
    assert swept(ended(minutes=2.5), 2) == ["preSwitch/warm/hook", "verification/runs/pods"]
    assert swept(ended(minutes=10), 0) == []


def test_a_process_that_ran_the_checks_itself_has_cancelled_them_already() -> None:
    assert swept(ended(), 0, known=True) == []
