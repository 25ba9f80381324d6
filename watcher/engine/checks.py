"""Runs the checks of all Releases in the background: a worker asks for one, and observes its result later.

What always holds: a check never runs in a worker's thread; it ends by its own deadline; results of a Release whose
checks were cancelled are dropped; and Jobs, which take minutes, never keep a quick check waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog

from watcher.adapters.http_checks import CheckOutcome, HttpCheck, run_http_check
from watcher.adapters.kubernetes.jobs import JobOrder
from watcher.core.checks import Check, Hook, HookHttp
from watcher.core.observed import CheckResult
from watcher.engine.clock import Clock

Key = tuple[str, str]

RunJob = Callable[[JobOrder, threading.Event, threading.Event], CheckOutcome]
"""Runs a Job to its end, or until the first event is set; the second says that somebody else goes on with it."""

log = structlog.get_logger(__name__)


@dataclass
class _Run:
    """The checks of one Release."""

    cancel: threading.Event = field(default_factory=threading.Event)
    keep: threading.Event = field(default_factory=threading.Event)
    """Set before `cancel` where somebody else will go on waiting for its Jobs."""
    results: dict[str, CheckResult] = field(default_factory=dict)


class Checks:
    """`told(key)` is called when a result is there."""

    def __init__(
        self, told: Callable[[Key], None], clock: Clock, run_job: RunJob, threads: int = 16, job_threads: int = 64
    ) -> None:
        self._told, self._clock, self._run_job = told, clock, run_job
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="check")
        self._job_pool = ThreadPoolExecutor(job_threads, thread_name_prefix="job")
        self._runs: dict[Key, _Run] = {}
        self._lock = threading.Lock()

    def results(self, key: Key) -> Mapping[str, CheckResult]:
        with self._lock:
            run = self._runs.get(key)
            return dict(run.results) if run else {}

    def start(self, key: Key, id_: str, check: Check | Hook, urls: Sequence[str]) -> None:
        """Run one check against every URL; it passes when it passes on all. Asked again for the same id: nothing."""
        addresses = tuple(urls)
        self._start(self._pool, key, id_, lambda run: _all(check, addresses, run.cancel))

    def start_job(self, key: Key, id_: str, order: JobOrder) -> None:
        """Run one check that is a Job. Asked again for the same id: nothing."""
        self._start(self._job_pool, key, id_, lambda run: _told_of(self._run_job(order, run.cancel, run.keep)))

    def cancel(self, key: Key) -> None:
        """Nobody needs their results any more: what runs is stopped, Jobs included."""
        with self._lock:
            run = self._runs.pop(key, None)
        if run:
            run.cancel.set()

    def let_go(self, key: Key) -> None:
        """Somebody else goes on with them: what runs here is stopped, and Jobs run on."""
        with self._lock:
            run = self._runs.pop(key, None)
        if run:
            run.keep.set()
            run.cancel.set()

    def stop(self) -> None:
        with self._lock:
            keys = list(self._runs)
        for key in keys:
            self.let_go(key)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._job_pool.shutdown(wait=True, cancel_futures=True)

    def _start(self, pool: ThreadPoolExecutor, key: Key, id_: str, work: Callable[[_Run], CheckResult]) -> None:
        with self._lock:
            run = self._runs.setdefault(key, _Run())
            if id_ in run.results:
                return
            run.results[id_] = CheckResult(running=True, since=self._clock.now())
        pool.submit(self._run, key, run, id_, work)

    def _run(self, key: Key, run: _Run, id_: str, work: Callable[[_Run], CheckResult]) -> None:
        try:
            result = work(run)
        except Exception as error:
            log.exception("a check could not be run", check=id_, release=key[1])
            result = CheckResult(ok=False, message=f"the check could not be run: {type(error).__name__}")
        with self._lock:
            run.results[id_] = result
        if not run.cancel.is_set():
            self._told(key)


def _all(check: Check | Hook, urls: tuple[str, ...], cancel: threading.Event) -> CheckResult:
    if not urls:
        return CheckResult(ok=False, message="there is nothing to send it to: no address is known")
    with ThreadPoolExecutor(min(8, len(urls)), thread_name_prefix="check-target") as pool:
        outcomes = list(pool.map(lambda url: run_http_check(_request(check, url), cancel), urls))
    bad = [outcome for outcome in outcomes if not outcome.ok]
    told = bad[0] if bad else outcomes[0]
    return CheckResult(ok=not bad, message=told.message, output=told.last_output if bad else "")


def _told_of(job: CheckOutcome) -> CheckResult:
    return CheckResult(ok=job.ok, message=job.message, output=job.last_output)


def _request(check: Check | Hook, base: str) -> HttpCheck:
    """The request at an address: a check's is repeated as it says, a hook's is sent once."""
    spec = check.http
    assert spec is not None
    expect = spec.expect
    status = expect.status
    request = HttpCheck(
        url=base if isinstance(spec, HookHttp) else base + spec.path,
        method=spec.method,
        headers=spec.headers,
        body=spec.body,
        expect_status=(status,) if isinstance(status, int) else tuple(status) if status else None,
        expect_text=expect.text,
        expect_json=expect.json_,
        max_latency=_seconds(expect.latency),
        timeout=spec.timeout.total_seconds(),
    )
    if isinstance(spec, HookHttp):
        return replace(request, within=0.0)
    return replace(
        request,
        every=spec.every.total_seconds(),
        for_=spec.for_.total_seconds(),
        within=spec.within.total_seconds(),
    )


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()
