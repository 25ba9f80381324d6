"""Tells people what happened: a log line, a Kubernetes Event on the Release and its Service, and the channels.

What always holds: telling is not doing (S11). It runs in threads of its own behind bounded queues; nothing that it
waits for delays a decision, and nothing that goes wrong in it changes one.

The Event is the outbox. It carries the notice and, for each channel, whether that is still owed it, and is written
before anything is sent. So whoever leads next, after a kill or a change of replicas, delivers what is owed from the
Events alone. A channel gets a notice at least once: twice where it took one and the note of that was not written yet.
"""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import structlog
from pydantic import ValidationError

from watcher.adapters.errors import AdapterError, Fatal
from watcher.adapters.kubernetes.hands import OWED, Event, Hands, Owed
from watcher.adapters.secrets import REDACTOR
from watcher.core.channels import wants
from watcher.core.effects import Tell
from watcher.core.lifecycle.telling import NEWS
from watcher.core.notices import Notice, about, actor, notice
from watcher.core.release import Release
from watcher.engine.clock import Clock
from watcher.engine.config import Config
from watcher.engine.notes import Note, Notes
from watcher.engine.outbox import Letter, Outbox, Outcome

log = structlog.get_logger(__name__)

MOST_WAITING = 10_000
MOST_REMEMBERED = 50_000
MOST_NOTED = 1_000  # kilobytes each; of older ones the Events tell
AGAIN = 5.0
"""Seconds between two tries to read what is owed in a namespace."""

_NAMED = frozenset({"event", "release", "namespace", "application", "phase", "reason", "actor", "by"})
"""What a log line says of its own, whatever the evidence has under that name."""

Told = tuple[str, str]
"""A uid, and the key of what is told about it."""


@dataclass(frozen=True, slots=True)
class _Message:
    about: tuple[Mapping[str, str], ...]
    tell: Tell
    at: datetime
    release: Release | None
    notice: Notice

    @property
    def key(self) -> Told:
        return self.about[0]["uid"], self.tell.key


_AWAKE = object()


class Teller:
    """One queue, one thread; what comes of it goes to the threads of the channels, and to the one that writes Events.
    An Event for which there is hope is tried again when its news is told again, and the channels hear nothing of that.
    """

    def __init__(
        self,
        hands: Hands,
        config: Callable[[], Config],
        clock: Clock,
        *,
        leads: Callable[[], bool] = lambda: True,
        lost: Callable[[], None] = lambda: None,
        counted: Callable[[str, Outcome], None] = lambda _, __: None,
    ) -> None:
        """`lost` is called for each message that is given up, `counted` for each try to deliver one."""
        self._hands, self._config, self._clock, self._leads, self._lost = hands, config, clock, leads, lost
        self._counted = counted
        self._queue: queue.Queue[object | None] = queue.Queue(MOST_WAITING)
        self._told: set[Told] = set()
        self._announced: OrderedDict[Told, Note] = OrderedDict()
        """What the channels were sent, or will be, by this process."""
        self._read: set[str] = set()
        """Namespaces of which it is known what an earlier life left to do, and those of which it is asked."""
        self._unread: set[str] = set()
        self._asked_at = float("-inf")
        self._resumed: Collection[str] | None = None
        self.notes = Notes(hands, clock, lost)
        self.outbox = Outbox(
            lambda: config().settings.notifications, clock, leads=leads, counted=self._count, recall=self._recall
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="teller", daemon=True)

    def start(self) -> None:
        self.notes.start()
        self._thread.start()

    def tell(self, release: Release, tell: Tell, at: datetime, service: Mapping[str, str] | None) -> None:
        """Put a message on its way, once per key of the Release."""
        if (release.uid, tell.key) in self._told:
            return
        tell = replace(tell, message=REDACTOR.cut(tell.message), evidence=REDACTOR.cut_all(tell.evidence))
        if not tell.repeated:
            _log(release, tell)
        graph = self._config().settings.prometheus.graph_url or ""
        where = (about(release), *([service] if service else []))
        self._enqueue(_Message(where, tell, at, release, notice(release, tell, at, graph)))

    def announce(self, found: Notice, reference: Mapping[str, str]) -> None:
        """Tell something that is about no Release, once per key, with an Event on what `reference` names."""
        tell = Tell(found.key.partition("/")[2], found.reason, found.message, found.severity, {"why": list(found.why)})
        if (reference["uid"], tell.key) not in self._told:
            self._enqueue(_Message((reference,), tell, found.at, None, found))

    def resume(self, namespaces: Collection[str]) -> None:
        """This replica leads from now on: it forgets what it knew, and does what others left to do."""
        self._told.clear()
        self._resumed = namespaces
        with suppress(queue.Full):  # then it is awake anyway
            self._queue.put_nowait(_AWAKE)

    def let_go(self) -> None:
        """Another replica leads, and sends what waits here."""
        self.outbox.clear()

    def waiting(self) -> int:
        """How many messages have yet to be told, on all channels."""
        return self._queue.qsize() + sum(self.outbox.waiting().values())

    def stop(self, seconds: float = 2.0) -> None:
        """Deliver what waits, as far as the time goes."""
        ends = self._clock.monotonic() + seconds
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            self._stop.set()
        self._thread.join(seconds)
        self._stop.set()
        self.outbox.stop(max(0.0, ends - self._clock.monotonic()))
        self.notes.stop(max(0.1, ends - self._clock.monotonic()))

    def _enqueue(self, message: _Message) -> None:
        if len(self._told) >= MOST_REMEMBERED:
            self._told.clear()  # the Events still tell what was told
        self._told.add(message.key)
        try:
            self._queue.put_nowait(replace(message, notice=_without_secrets(message.notice)))
        except queue.Full:
            log.warning("too many messages wait; one is dropped", reason=message.tell.reason)
            self._told.discard(message.key)
            self._lost()

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                message = self._queue.get(timeout=AGAIN if self._unread else None)
            except queue.Empty:
                message = _AWAKE
            if message is None:
                return
            self._turn_over()
            if isinstance(message, _Message):
                self._unread |= {message.about[0]["namespace"]} - self._read
                self._look_back()
                self._handle(message)
            else:
                self._look_back()

    def _turn_over(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            self._announced.clear()
            self._read.clear()
            self._unread = set(resumed)
            self._asked_at = float("-inf")

    def _handle(self, message: _Message) -> None:
        first, *others = (self._event(reference, message) for reference in message.about)
        key = message.key

        def given_up() -> None:
            # It is remembered with the note: it must not keep the message, which has a whole Release.
            self._told.discard(key)

        again = self._announced.get(key)
        if again is not None:
            self.notes.write(again)
        else:
            owed = dict.fromkeys(self._wanted(message.notice), OWED)
            note = Note(first.about["namespace"], first.name, first, owed, given_up)
            new = self._written(first, owed)
            if new is None:
                self.notes.write(note)
            if new is not False:  # else an earlier life told it, and what it left to do was read before
                if message.tell.repeated and message.release:
                    _log(message.release, message.tell)
                self._send(key, note, message.notice, self._clock.now() + NEWS)
        for event in others:
            self.notes.write(Note(event.about["namespace"], event.name, event, {}, given_up))

    def _event(self, reference: Mapping[str, str], message: _Message) -> Event:
        tell = message.tell
        kind: Literal["Normal", "Warning"] = "Normal" if tell.severity == "info" else "Warning"
        key, evidence = "/".join(message.key), tell.evidence
        told = message.notice.model_dump_json()
        return Event(reference, key, tell.reason, tell.message, kind, message.at, actor(tell), evidence, told)

    def _written(self, event: Event, states: Mapping[str, str]) -> bool | None:
        """Whether the Event is new; None when that is not known. Nothing waits for an API server that is away: twice is
        better than never, and the notice's key tells."""
        try:
            return self._hands.event(event, states)
        except AdapterError:
            return None

    def _wanted(self, found: Notice) -> Sequence[str]:
        config = self._config()
        app = config.applications.get((found.namespace, found.application))
        uses = app.spec.notify if app else None
        return [one.name for one in config.settings.notifications if wants(one, uses, found)]

    def _send(self, key: Told, note: Note, found: Notice, until: datetime) -> None:
        self._announced[key] = note
        while len(self._announced) > MOST_NOTED:
            self._announced.popitem(last=False)
        for name in [name for name, state in note.states.items() if state == OWED]:

            def done(state: str, name: str = name) -> None:
                note.states[name] = state
                self.notes.note(note)

            self.outbox.put(name, Letter(found, until, done))

    # -- what earlier lives left --------------------------------------------------------------------------------------

    def _look_back(self) -> None:
        """Read, once for each namespace, which notices are still owed to whom, and send those."""
        now = self._clock.monotonic()
        if not self._unread or not self._leads() or now - self._asked_at < AGAIN:
            return
        for namespace in sorted(self._unread):
            try:
                found = self._hands.read_owed(namespace)
            except Fatal as error:
                log.warning("what earlier notifications are owed cannot be read", namespace=namespace, error=str(error))
                found = ()
            except AdapterError:
                self._asked_at = now
                return
            self._unread.discard(namespace)
            self._read.add(namespace)
            for one in found:
                self._finish(one)

    def _finish(self, owed: Owed) -> None:
        try:
            found = Notice.model_validate_json(owed.notice)
        except ValidationError:
            log.warning("what an Event says of a notification cannot be read", event_name=owed.name)
            return
        uid, _, key = found.key.partition("/")
        if (uid, key) not in self._announced:
            note = Note(owed.namespace, owed.name, None, dict(owed.states))
            self._send((uid, key), note, found, found.at + NEWS)

    def _recall(self, name: str, found: Notice) -> str:
        """In which thread of a channel the Release was told by an earlier life."""
        if not found.release:
            return ""
        try:
            earlier = self._hands.read_channels(found.namespace, found.thread)
        except AdapterError:
            return ""  # a message outside of its thread is better than none
        return next((thread for one in earlier if (thread := _thread(one.states.get(name, "")))), "")

    def _count(self, name: str, outcome: Outcome) -> None:
        self._counted(name, outcome)
        if outcome == "given_up":
            self._lost()


def _thread(state: str) -> str:
    """The thread that a channel's state remembers: `sent TIME THREAD`."""
    words = state.split(" ")
    return words[2] if words[0] == "sent" and len(words) == 3 else ""


_KEPT = ("key", "thread", "namespace", "application", "release")
"""What a notice is known and sorted by: names, which nobody gave back."""


def _without_secrets(found: Notice) -> Notice:
    whole = found.model_dump()
    return Notice.model_validate(REDACTOR.cut_all(whole) | {name: whole[name] for name in _KEPT})


def _log(release: Release, tell: Tell) -> None:
    write = log.info if tell.severity == "info" else log.warning
    write(
        tell.message,
        release=release.name,
        namespace=release.namespace,
        application=release.spec.application,
        phase=release.phase.value,
        reason=tell.reason,
        actor=actor(tell),
        **{name: value for name, value in tell.evidence.items() if name not in _NAMED},
    )
