"""The Lease that says which replica acts (S6).

What always holds: this process believes that it leads only until a deadline on its own monotonic clock, counted from
before the request that renewed the Lease was sent. So it stops by itself before anybody else may start, also when it
was cut off, suspended, or its wall clock was set. Two that still overlap do no harm: every write compares and swaps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from watcher.adapters.errors import AdapterError, Conflict
from watcher.adapters.kubernetes.leases import Leases, LeaseView
from watcher.engine.clock import Clock

log = structlog.get_logger(__name__)

SAFE = 0.7
"""The share of the Lease's duration for which a renewal is believed: the rest is for clocks that run unevenly."""

RENEWALS = 5
"""How often the Lease is renewed within its duration."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was last seen of another holder, and since when it has not changed (monotonic seconds)."""

    lease: LeaseView
    since: float


class Notes:
    """What the Lease says beside who holds it: namespaces. This one takes and leaves nothing."""

    def read(self, namespaces: frozenset[str]) -> None:
        """What the Lease said when it was read last."""

    def write(self) -> frozenset[str]:
        """What it is to say from now on."""
        return frozenset()


class Leader:
    """Holds the Lease, or waits for it. `changed(leads)` is called from its thread when that changes."""

    def __init__(
        self,
        leases: Leases,
        identity: str,
        duration: timedelta,
        clock: Clock,
        changed: Callable[[bool], None],
        notes: Notes | None = None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """`failed` is called for each turn that came to nothing because the API server did not answer."""
        self._failed = failed
        self._notes = notes or Notes()
        self._leases, self._identity, self._clock, self._changed = leases, identity, clock, changed
        self._duration = duration.total_seconds()
        self._until = float("-inf")
        self._told = False
        self._lapsed = False
        """The lead ran out and was won again since it was last told: what was to be done meanwhile was left undone."""
        self._seen: _Seen | None = None
        self._behind = ""
        """Which replica was last seen to lead, and said so."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def leads(self) -> bool:
        """Whether this process may act right now."""
        return self._clock.monotonic() < self._until

    def stop(self) -> None:
        """Stop leading, and hand the Lease over at once. Call it when nothing acts any more."""
        self._stop.set()
        self._thread.join(self._duration)
        held = self.leads()
        self._until = float("-inf")
        if not held:
            return
        try:
            lease = self._leases.read()
            if lease is not None and lease.holder == self._identity:
                self._leases.release(lease)
        except AdapterError as error:
            log.warning("the Lease could not be handed over; it runs out by itself", error=str(error))

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self.turn()
            except AdapterError as error:
                log.warning("the Lease could not be renewed", leads=self.leads(), error=str(error))
                self._failed()
            except Exception:
                log.exception("the Lease could not be renewed")
                self._failed()
            self.tell()
            self._clock.wait(self._stop, self._duration / RENEWALS)

    def tell(self) -> None:
        """Say what has changed. A lead that was lost and won again between two looks is told as both."""
        leads, lapsed = self.leads(), self._lapsed
        self._lapsed = False
        for now in (False, True) if lapsed and leads and self._told else (leads,):
            if now != self._told:
                self._told = now
                log.info("leads: it acts from now on" if now else "does not lead: it only looks on")
                self._changed(now)

    def turn(self) -> None:
        """Renew, take or wait, by one read and at most one write."""
        asked = self._clock.monotonic()
        lease = self._leases.read()
        if lease is not None:
            self._notes.read(lease.namespaces)
        if lease is not None and lease.holder not in ("", self._identity) and not self._expired(lease):
            if lease.holder != self._behind:
                self._behind = lease.holder
                log.info("another replica leads; this one looks on", leader=lease.holder)
            return
        try:
            if lease is None:
                self._leases.create(self._identity, self._duration, self._clock.now(), self._notes.write())
            else:
                self._leases.take(lease, self._identity, self._duration, self._clock.now(), self._notes.write())
        except Conflict:
            return  # somebody was faster: look again at the next turn
        self._behind = ""
        self._lapsed = self._lapsed or not self.leads()
        self._until = asked + self._duration * SAFE

    def _expired(self, lease: LeaseView) -> bool:
        """Whether the holder has not renewed for as long as it promised to, by this process's own clock."""
        now = self._clock.monotonic()
        if self._seen is None or self._seen.lease != lease:
            self._seen = _Seen(lease, now)
        return now - self._seen.since >= max(lease.duration, self._duration)
