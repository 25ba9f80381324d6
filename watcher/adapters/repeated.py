"""Something is tried on a version until it succeeds, and then it has to go on succeeding: the frame of every check.

What always holds: `repeat` ends within `within + for_ + timeout` seconds, or soon after it is cancelled, if each
attempt keeps to the time that it is given; and it never raises for what an attempt finds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from watcher.adapters.bounded_http import Cancelled

_LATENESS = 0.001  # seconds by which a wait may end early


class Clock(Protocol):
    """Time as a check needs it: aware UTC, a monotonic count of seconds, and a wait that an event ends."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait; True when the event was set."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long, in seconds. The first success must come within `within`; from then on every try, one each
    `every` for the length `for_`, must succeed. `timeout` is for one try."""

    every: float = 2.0
    for_: float = 0.0
    within: float = 10.0
    timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class Try:
    """What one attempt gave: `problem` is empty for a success, and then `got` ends the sentence about it."""

    problem: str
    got: str = ""
    output: str = ""
    final: bool = False
    """Trying again would give the same."""


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """How a check went. A cancelled check is neither good nor bad: `ok` is False and `cancelled` True."""

    ok: bool
    message: str
    last_output: str
    tries: int
    started: datetime
    finished: datetime
    cancelled: bool = False


Attempt = Callable[[float], Try]
"""One try, in so many seconds at most. Raises Cancelled when it was cancelled."""

Heard = Callable[[int, str], None]
"""Told after each try: how many there were, and what the last one gave."""


def unheard(_: int, __: str) -> None:
    """Nobody listens."""


def repeat(
    what: str,
    pace: Pace,
    attempt: Attempt,
    cancel: threading.Event,
    clock: Clock | None = None,
    heard: Heard = unheard,
) -> CheckOutcome:
    """Try to the end that the pace sets, or until `cancel` is set. `what` begins the sentences about it."""
    return _Run(what, pace, attempt, cancel, clock or SystemClock(), heard).outcome()


class _Run:
    def __init__(
        self, what: str, pace: Pace, attempt: Attempt, cancel: threading.Event, clock: Clock, heard: Heard
    ) -> None:
        self._what, self._pace, self._attempt = what, pace, attempt
        self._cancel, self._clock, self._heard = cancel, clock, heard
        self._started = clock.now()
        self._begun = clock.monotonic()
        self._tries = 0
        self._last = Try("")

    def outcome(self) -> CheckOutcome:
        try:
            good_since = self._first_success()
            if good_since is None:
                return self._told(ok=False, message=f"{self._what}: {self._last.problem} ({self._effort()}).")
            broke_after = self._hold(good_since)
        except Cancelled:
            return self._told(ok=False, message=f"{self._what} was cancelled ({self._effort()}).", cancelled=True)
        if broke_after is None:
            return self._told(ok=True, message=f"{self._what} {self._last.got} ({self._effort()}).")
        held = f"held for {broke_after:.3g} s of {self._pace.for_:g} s, then: {self._last.problem}"
        return self._told(ok=False, message=f"{self._what} {held} ({self._effort()}).")

    def _first_success(self) -> float | None:
        """When the first success came (monotonic), or None when it did not come in time."""
        give_up = self._begun + self._pace.within
        while True:
            began = self._clock.monotonic()
            # Without any grace there is still one try, and it has the time of one.
            grace = give_up - began if self._pace.within > 0 else self._pace.timeout
            if self._try(min(self._pace.timeout, grace)):
                return began
            next_one = max(began + self._pace.every, self._clock.monotonic())
            if self._last.final or next_one >= give_up - _LATENESS:
                return None
            self._wait_until(next_one)

    def _hold(self, good_since: float) -> float | None:
        """Try on for the length asked for; None when all went well, else for how long it did."""
        end = good_since + self._pace.for_
        last = good_since
        while last < end - _LATENESS:
            self._wait_until(min(last + self._pace.every, end))
            last = self._clock.monotonic()
            if not self._try(self._pace.timeout):
                return last - good_since
        return None

    def _wait_until(self, moment: float) -> None:
        if self._clock.wait(self._cancel, max(0.0, moment - self._clock.monotonic())):
            raise Cancelled("cancelled")

    def _try(self, patience: float) -> bool:
        if self._cancel.is_set():
            raise Cancelled("cancelled")
        self._tries += 1
        self._last = self._attempt(patience)
        self._heard(self._tries, self._last.problem or f"{self._what} {self._last.got}")
        return not self._last.problem

    def _told(self, *, ok: bool, message: str, cancelled: bool = False) -> CheckOutcome:
        now = self._clock.now()
        return CheckOutcome(ok, message, self._last.output, self._tries, self._started, now, cancelled)

    def _effort(self) -> str:
        seconds = self._clock.monotonic() - self._begun
        return f"{self._tries} {'try' if self._tries == 1 else 'tries'} in {seconds:.3g} s"
