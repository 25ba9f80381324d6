"""Runs the checks of all Releases in the background: a worker asks for one, and observes its result later.

What always holds: a check never runs in a worker's thread; it ends by its own deadline, and as soon as one of its
addresses has failed; results of a Release whose checks were cancelled are dropped; and Jobs, which take minutes, never
keep a quick check waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from watcher.adapters.kubernetes.jobs import JobOrder
from watcher.adapters.repeated import CheckOutcome, Heard
from watcher.adapters.secrets import REDACTOR, no_secret
from watcher.core.application import Application
from watcher.core.checks import PromqlCheck
from watcher.core.observed import CheckResult
from watcher.core.secrets import Value
from watcher.engine.clock import Clock
from watcher.engine.probes import Metrics, Run, question

Key = tuple[str, str]


class Jobs(Protocol):
    """What runs Jobs."""

    def run(self, order: JobOrder, cancel: threading.Event, heard: Heard = ...) -> CheckOutcome: ...

    def drop(self, order: JobOrder) -> bool: ...


MOST_ADDRESSES = 32
"""At how many addresses one check is tried at the same time."""

Listen = Callable[[int], Heard]
"""Gives what is told of the tries at each of a check's addresses, by its number."""

log = structlog.get_logger(__name__)


@dataclass
class _Run:
    """The checks of one Release."""

    cancel: threading.Event = field(default_factory=threading.Event)
    keep: threading.Event = field(default_factory=threading.Event)
    """Set before `cancel` where somebody else will go on waiting for its Jobs."""
    results: dict[str, CheckResult] = field(default_factory=dict)
    stops: set[threading.Event] = field(default_factory=set)
    """One for each check that runs at addresses: it stops that check alone, and is set together with `cancel`."""

    def stop(self) -> None:
        self.cancel.set()
        for one in tuple(self.stops):
            one.set()


class Checks:
    """`told(key)` is called when a result is there."""

    def __init__(
        self,
        told: Callable[[Key], None],
        clock: Clock,
        jobs: Jobs,
        metrics: Metrics,
        threads: int = 64,
        job_threads: int = 64,
        secret: Value = no_secret,
    ) -> None:
        self.secret = secret
        """Gives the secrets that checks and hooks refer to."""
        self._told, self._clock, self._jobs, self._metrics = told, clock, jobs, metrics
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="check")
        self._job_pool = ThreadPoolExecutor(job_threads, thread_name_prefix="job")
        self._runs: dict[Key, _Run] = {}
        self._known: set[Key] = set()
        """Releases whose Jobs are this process's own to end, or were ended by it."""
        self._lock = threading.Lock()

    def results(self, key: Key) -> Mapping[str, CheckResult]:
        with self._lock:
            run = self._runs.get(key)
            return dict(run.results) if run else {}

    def running(self) -> int:
        """How many checks and hooks run, or wait for a thread."""
        with self._lock:
            return sum(result.running for run in self._runs.values() for result in run.results.values())

    def start(self, key: Key, id_: str, runs: Sequence[Run], nowhere: str = "no address is known") -> None:
        """Run one check at all its addresses; it passes when it passes at all. `nowhere` says why there is none. Asked
        again for the same id: nothing."""

        def work(run: _Run, listen: Listen) -> CheckResult:
            if not runs:
                return CheckResult(ok=False, message=f"there is nothing to send it to: {nowhere}")
            stop = threading.Event()
            with self._lock:
                run.stops.add(stop)
                if run.cancel.is_set():
                    stop.set()
            try:
                return _all(runs, stop, listen)
            finally:
                with self._lock:
                    run.stops.discard(stop)

        self._start(self._pool, key, id_, work)

    def ask(self, key: Key, id_: str, check: PromqlCheck, app: Application, color: str, version: str) -> None:
        """Run one check that is a query about a colour. Asked again for the same id: nothing."""
        self.start(key, id_, (question(check, app, color, version, self._metrics, self._clock),))

    def start_job(self, key: Key, id_: str, order: JobOrder) -> None:
        """Run one check that is a Job. Asked again for the same id: nothing."""

        def work(run: _Run, listen: Listen) -> CheckResult:
            done = self._jobs.run(order, run.cancel, listen(0))
            if done.cancelled and not run.keep.is_set():
                self._drop(key, order)
            return CheckResult(ok=done.ok, message=done.message, output=done.last_output)

        self._start(self._job_pool, key, id_, work)

    def drop(self, key: Key, orders: Iterable[JobOrder]) -> None:
        """Delete the Jobs of a Release that has ended, unless they were this process's own: those it has cancelled."""
        with self._lock:
            if key in self._known:
                return
            self._known.add(key)
        for order in orders:
            self._job_pool.submit(self._drop, key, order)

    def _drop(self, key: Key, order: JobOrder) -> None:
        """Delete one. Where the API server did not take it, whoever looks at the ended Release next asks again."""
        if not self._jobs.drop(order):
            with self._lock:
                self._known.discard(key)

    def cancel(self, key: Key) -> None:
        """Nobody needs their results any more: what runs is stopped, Jobs included."""
        with self._lock:
            run = self._runs.pop(key, None)
            if run:
                run.stop()

    def let_go(self, key: Key) -> None:
        """Somebody else goes on with them: what runs here is stopped, and Jobs run on."""
        with self._lock:
            self._known.discard(key)
            run = self._runs.pop(key, None)
            if run:
                run.keep.set()
                run.stop()

    def stop(self) -> None:
        with self._lock:
            keys = list(self._runs)
        for key in keys:
            self.let_go(key)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._job_pool.shutdown(wait=True, cancel_futures=True)

    def _start(self, pool: ThreadPoolExecutor, key: Key, id_: str, work: Callable[[_Run, Listen], CheckResult]) -> None:
        with self._lock:
            self._known.add(key)
            run = self._runs.setdefault(key, _Run())
            if id_ in run.results:
                return
            run.results[id_] = CheckResult(running=True, since=self._clock.now())
        pool.submit(self._run, key, run, id_, work)

    def _run(self, key: Key, run: _Run, id_: str, work: Callable[[_Run, Listen], CheckResult]) -> None:
        tries: dict[int, int] = {}

        def listen(address: int) -> Heard:
            def heard(count: int, last: str) -> None:
                with self._lock:
                    tries[address] = count
                    run.results[id_] = replace(run.results[id_], tries=sum(tries.values()), last=REDACTOR.cut(last))

            return heard

        try:
            result = work(run, listen)
            # What was asked may have said again what it was told.
            result = replace(result, message=REDACTOR.cut(result.message), output=REDACTOR.cut(result.output))
        except Exception as error:
            log.exception("a check could not be run", check=id_, release=key[1])
            result = CheckResult(ok=False, message=f"the check could not be run: {type(error).__name__}")
        with self._lock:
            run.results[id_] = result
        if not run.cancel.is_set():
            self._told(key)


def _all(runs: Sequence[Run], stop: threading.Event, listen: Listen) -> CheckResult:
    """Everything at the same time; good when all of it is, and stopped by the first that is not."""

    def one(run: Run, heard: Heard) -> CheckOutcome:
        outcome = run(stop, heard)
        if not outcome.ok:
            stop.set()
        return outcome

    with ThreadPoolExecutor(min(MOST_ADDRESSES, len(runs)), thread_name_prefix="check-target") as pool:
        outcomes = list(pool.map(one, runs, map(listen, range(len(runs)))))
    bad = [outcome for outcome in outcomes if not outcome.ok]
    told = min(bad, key=lambda outcome: outcome.cancelled) if bad else outcomes[0]
    return CheckResult(ok=not bad, message=told.message, output=told.last_output if bad else "")
