"""Writes Events, and on them which channels have been told: one thread, one queue, each tried for some minutes.

What always holds: an Event that comes to be later than its notices were sent says so from the start, so that nobody who
reads it sends them again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from watcher.adapters.errors import AdapterError, Fatal
from watcher.adapters.kubernetes.hands import Event, Hands
from watcher.engine.clock import Clock

log = structlog.get_logger(__name__)

TRIES = 30
"""An Event is tried for some minutes: an API server that is away comes back, and takes all of them then."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 5.0
MOST_WAITING = 10_000


@dataclass(slots=True)
class Note:
    """An Event, and what became of its notices: state by channel, written by the channels' threads. Of one that an
    earlier life wrote only the place is known.
    """

    namespace: str
    name: str
    event: Event | None = None
    states: dict[str, str] = field(default_factory=dict)
    given_up: Callable[[], None] = lambda: None
    """Called when the Event was not written for now, and may be asked for again."""

    def seen(self) -> dict[str, str]:
        return dict(self.states)


class Notes:
    """The queue. `lost` is called for each Event that is given up."""

    def __init__(self, hands: Hands, clock: Clock, lost: Callable[[], None]) -> None:
        self._hands, self._clock, self._lost = hands, clock, lost
        self._queue: queue.Queue[tuple[Note, bool] | None] = queue.Queue(MOST_WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Write what waits, as far as the time goes."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            self._stop.set()
        self._thread.join(seconds)
        self._stop.set()

    def write(self, note: Note) -> None:
        """Write an Event that may not be there yet."""
        self._put(note, True)

    def note(self, note: Note) -> None:
        """Write the states of an Event's channels onto it."""
        self._put(note, False)

    def _put(self, note: Note, new: bool) -> None:
        try:
            self._queue.put_nowait((note, new))
        except queue.Full:
            log.warning("too many Events wait; one is dropped", event_name=note.name)
            note.given_up()
            self._lost()

    def _loop(self) -> None:
        while not self._stop.is_set():
            found = self._queue.get()
            if found is None:
                return
            self._try(*found)

    def _try(self, note: Note, new: bool) -> None:
        wait = FIRST_WAIT
        for attempt in range(1, TRIES + 1):
            try:
                if new and note.event is not None:
                    self._hands.event(note.event, note.seen())
                else:
                    self._hands.note_channels(note.namespace, note.name, note.seen())
            except AdapterError as error:
                if attempt == TRIES or isinstance(error, Fatal):
                    what = "an Event" if new else "who has been told of an Event"
                    log.warning(
                        f"{what} could not be written, given up", event_name=note.name, error=str(error), tries=attempt
                    )
                    self._lost()
                    if not isinstance(error, Fatal):
                        note.given_up()
                    return
                if self._clock.wait(self._stop, wait):
                    return
                wait = min(wait * 2, LONGEST_WAIT)
            else:
                return
