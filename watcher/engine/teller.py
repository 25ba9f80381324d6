"""Tells people what happened: a log line, a Kubernetes Event on the Release and its Service, and the channels.

What always holds: telling is not doing (S11). It runs in a thread of its own behind a bounded queue; nothing that it
waits for delays a decision, and nothing that goes wrong in it changes one.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import structlog

from watcher.adapters.errors import AdapterError, Fatal
from watcher.adapters.kubernetes.hands import Event, Hands
from watcher.adapters.notifications import Channel
from watcher.core.effects import Tell
from watcher.core.release import GROUP, KIND, UNNAMED, VERSION, WATCHER, Release
from watcher.engine.clock import Clock

log = structlog.get_logger(__name__)

TRIES = 6
EVENT_TRIES = 30
"""An Event is tried for some minutes: an API server that is away comes back, and takes all of them then."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 5.0
MOST_WAITING = 10_000
MOST_REMEMBERED = 50_000

_NAMED = frozenset({"event", "release", "namespace", "application", "phase", "reason", "actor", "by"})
"""What a log line says of its own, whatever the evidence has under that name."""


@dataclass(frozen=True, slots=True)
class _Message:
    about: tuple[Mapping[str, str], ...]
    tell: Tell
    at: datetime
    release: Release


class Teller:
    """One queue, one thread. What cannot be delivered after some tries is logged and dropped. An Event for which there
    is hope is tried again when its news is told again, and the channels hear nothing of that.
    """

    def __init__(
        self,
        hands: Hands,
        channels: Callable[[], Sequence[Channel]],
        clock: Clock,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        """`lost` is called for each message that is given up."""
        self._hands, self._channels, self._clock, self._lost = hands, channels, clock, lost
        self._queue: queue.Queue[_Message | None] = queue.Queue(MOST_WAITING)
        self._told: set[tuple[str, str]] = set()
        self._announced: set[tuple[str, str]] = set()
        """What the channels were sent, by this process."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="teller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, release: Release, tell: Tell, at: datetime, service: Mapping[str, str] | None) -> None:
        """Put a message on its way, once per key of the Release."""
        key = (release.uid, tell.key)
        if key in self._told:
            return
        if len(self._told) >= MOST_REMEMBERED:
            self._told.clear()  # the Events still tell what was told
            self._announced.clear()
        self._told.add(key)
        if not tell.repeated:
            _log(release, tell)
        about = (_about_release(release), *([service] if service else []))
        try:
            self._queue.put_nowait(_Message(about, tell, at, release))
        except queue.Full:
            log.warning("too many messages wait; one is dropped", reason=tell.reason, release=release.name)
            self._told.discard(key)
            self._lost()

    def waiting(self) -> int:
        """How many messages have yet to be told."""
        return self._queue.qsize()

    def stop(self, seconds: float = 2.0) -> None:
        """Deliver what waits, as far as the time goes."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            self._stop.set()
        self._thread.join(seconds)
        self._stop.set()

    def _loop(self) -> None:
        while not self._stop.is_set():
            message = self._queue.get()
            if message is None:
                return
            events, key = _events(message), (message.release.uid, message.tell.key)
            if key not in self._announced and not self._told_before(events[0]):
                if message.tell.repeated:
                    _log(message.release, message.tell)
                self._notify(message)
            self._announced.add(key)
            for event in events:
                what = f"the Event on {event.about['kind']} {event.about['name']}"
                if not self._try(what, lambda event=event: self._hands.event(event), EVENT_TRIES):  # type: ignore[misc]
                    self._told.discard(key)

    def _told_before(self, event: Event) -> bool:
        """Whether an earlier life of this daemon told it: steps repeat what is told, so that a kill loses nothing."""
        try:
            return self._hands.told(event)
        except AdapterError:
            return False  # twice is better than never; the document's key tells

    def _notify(self, message: _Message) -> None:
        document = _document(message)
        for channel in self._channels():
            # A thread each: a channel that hangs holds up neither the others nor the Events, nor they it.
            threading.Thread(
                target=self._try,
                args=(f"the notification to {channel.name}", lambda c=channel, d=document: c.send(d)),
                name="notify",
                daemon=True,
            ).start()

    def _try(self, what: str, send: Callable[[], None], tries: int = TRIES) -> bool:
        """Whether it is done with: delivered, or refused in a way that no later try will change."""
        wait = FIRST_WAIT
        for attempt in range(1, tries + 1):
            try:
                send()
            except AdapterError as error:
                if attempt == tries or isinstance(error, Fatal):
                    log.warning("could not be delivered, given up", what=what, error=str(error), tries=attempt)
                    self._lost()
                    return isinstance(error, Fatal)
                if self._clock.wait(self._stop, wait):
                    return False
                wait = min(wait * 2, LONGEST_WAIT)
            else:
                return True
        return False


def _log(release: Release, tell: Tell) -> None:
    write = log.info if tell.severity == "info" else log.warning
    write(
        tell.message,
        release=release.name,
        namespace=release.namespace,
        application=release.spec.application,
        phase=release.phase.value,
        reason=tell.reason,
        actor=_actor(tell),
        **{name: value for name, value in tell.evidence.items() if name not in _NAMED},
    )


def _events(message: _Message) -> list[Event]:
    """The Events of a message: on the Release first, then on the Service."""
    tell = message.tell
    kind: Literal["Normal", "Warning"] = "Normal" if tell.severity == "info" else "Warning"
    key = f"{message.release.uid}/{tell.key}"
    actor, evidence = _actor(tell), tell.evidence
    return [Event(about, key, tell.reason, tell.message, kind, message.at, actor, evidence) for about in message.about]


def _actor(tell: Tell) -> str:
    """Who decided or asked: whom the evidence names, else the watcher itself."""
    return str(tell.evidence["by"] or UNNAMED) if "by" in tell.evidence else WATCHER


def _about_release(release: Release) -> Mapping[str, str]:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": release.name,
        "namespace": release.namespace,
        "uid": release.uid,
    }


def _document(message: _Message) -> dict[str, Any]:
    """What a channel is sent: enough to say what happened, why, and where to look."""
    release, tell = message.release, message.tell
    return {
        "key": f"{release.uid}/{tell.key}",
        "reason": tell.reason,
        "severity": tell.severity,
        "message": tell.message,
        "at": message.at.isoformat(),
        "application": release.spec.application,
        "namespace": release.namespace,
        "release": release.name,
        "version": release.spec.version,
        "phase": release.phase.value,
        "actor": _actor(tell),
        "evidence": {key: str(value) for key, value in tell.evidence.items()},
        "look": f"kubectl -n {release.namespace} describe release {release.name}",
    }
