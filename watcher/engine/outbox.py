"""Brings notices to the channels: each has a thread and a queue of its own, and tries until it is done or too old.

What always holds: no channel waits for another, and nobody waits for a channel (S11). Of one Release each channel hears
in the order in which it happened. What this replica may not send any more, because another one leads, it forgets: the
Events say what is owed.
"""

from __future__ import annotations

import random
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog

from watcher.adapters.errors import AdapterError, Fatal, Transient
from watcher.adapters.notifications import channel
from watcher.core.channels import Notification
from watcher.core.message_templates import Unrendered, render
from watcher.core.notices import Notice
from watcher.engine.clock import Clock

log = structlog.get_logger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
"""Seconds that a channel which failed is left alone: doubled each time, and varied by half."""
MOST_WAITING = 1000
"""Notices that may wait for one channel."""
MOST_THREADS = 10_000

Outcome = Literal["delivered", "failed", "given_up"]


@dataclass(slots=True)
class Letter:
    """A notice on its way to one channel. `done` is called once, with what there is to remember of it."""

    notice: Notice
    until: datetime
    """When it is no news any more, and is given up."""
    done: Callable[[str], None]
    failures: int = 0
    number: int = 0


class Outbox:
    """All channels. `recall` finds out in which thread of a channel an earlier life of the daemon told a Release."""

    def __init__(
        self,
        channels: Callable[[], Sequence[Notification]],
        clock: Clock,
        *,
        leads: Callable[[], bool],
        counted: Callable[[str, Outcome], None],
        recall: Callable[[str, Notice], str],
    ) -> None:
        self._channels, self._clock, self._leads = channels, clock, leads
        self._counted, self._recall = counted, recall
        self._boxes: dict[str, _Mailbox] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def put(self, name: str, letter: Letter) -> None:
        """Put a notice on its way to the channel of this name."""
        with self._lock:
            if name not in self._boxes:
                self._boxes[name] = _Mailbox(name, self)
            box = self._boxes[name]
        box.put(letter)

    def waiting(self) -> Mapping[str, int]:
        """How many notices wait, by channel."""
        with self._lock:
            boxes = dict(self._boxes)
        found = {one.name: 0 for one in self._channels()}
        return found | {name: box.waiting() for name, box in boxes.items() if name in found or box.waiting()}

    def clear(self) -> None:
        """Forget what waits: another replica sends it."""
        with self._lock:
            boxes = list(self._boxes.values())
        for box in boxes:
            box.clear()

    def stop(self, seconds: float) -> None:
        """Send what can be sent at once, as far as the time goes."""
        self._stop.set()
        ends = self._clock.monotonic() + seconds
        with self._lock:
            boxes = list(self._boxes.values())
        for box in boxes:
            box.stop(max(0.0, ends - self._clock.monotonic()))

    # -- for the mailboxes --------------------------------------------------------------------------------------------

    def send(self, name: str, notice: Notice, thread: str) -> str:
        """Deliver once; returns the thread. Raises AdapterError."""
        settings = next((one for one in self._channels() if one.name == name), None)
        if settings is None:
            raise Fatal("the settings have this channel no more")
        there = channel(settings)
        text = ""
        if settings.template is not None:
            try:
                text = render(settings.template, notice, there.quoted)
            except Unrendered as error:
                log.warning("a template failed; the default words are sent", channel=name, error=str(error))
                apology = f"(The template of the channel {name} failed, so these are the default words: {error})"
                notice = notice.model_copy(update={"why": (*notice.why, apology)})
        if there.threads and not thread:
            thread = self._recall(name, notice)
        return there.send(notice, text, thread)

    def count(self, name: str, outcome: Outcome) -> None:
        self._counted(name, outcome)

    def leads(self) -> bool:
        return self._leads()

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def stopped(self) -> threading.Event:
        return self._stop


class _Mailbox:
    """One channel's queue and thread. Letters of one Release stand in line; of all lines the one goes first whose head
    failed least often, then the oldest: what one Release's cannot get through holds up no other's for long.
    """

    def __init__(self, name: str, outbox: Outbox) -> None:
        self._name, self._outbox = name, outbox
        self._lines: dict[str, deque[Letter]] = {}
        self._threads: OrderedDict[str, str] = OrderedDict()
        self._changed = threading.Condition()
        self._number = 0
        self._failures = 0
        """How often in a row it failed."""
        self._quiet_until = 0.0
        self._thread = threading.Thread(target=self._loop, name=f"notify {name}", daemon=True)
        self._thread.start()

    def put(self, letter: Letter) -> None:
        with self._changed:
            full = self._count() >= MOST_WAITING
            if not full:
                self._number += 1
                letter.number = self._number
                self._lines.setdefault(letter.notice.thread, deque()).append(letter)
                self._changed.notify_all()
        if full:
            self._give_up(letter, "too many wait for it")

    def waiting(self) -> int:
        with self._changed:
            return self._count()

    def clear(self) -> None:
        with self._changed:
            self._lines.clear()

    def stop(self, seconds: float) -> None:
        with self._changed:
            self._changed.notify_all()
        self._thread.join(seconds)

    def _count(self) -> int:
        return sum(map(len, self._lines.values()))

    def _loop(self) -> None:
        stopped = self._outbox.stopped
        while True:
            with self._changed:
                while not self._lines and not stopped.is_set():
                    self._changed.wait()
                if not self._lines:
                    return
            pause = self._quiet_until - self._outbox.clock.monotonic()
            if pause > 0 and self._outbox.clock.wait(stopped, pause):
                return  # the Events say what is owed
            letter = self._next()
            if letter is None:
                continue
            if not self._outbox.leads():
                self.clear()
                continue
            self._deliver(letter)

    def _next(self) -> Letter | None:
        with self._changed:
            heads = [line[0] for line in self._lines.values()]
        return min(heads, key=lambda letter: (letter.failures, letter.number), default=None)

    def _deliver(self, letter: Letter) -> None:
        notice = letter.notice
        if self._outbox.clock.now() > letter.until:
            self._give_up(letter, "it is no news any more")
            return
        try:
            thread = self._outbox.send(self._name, notice, self._threads.get(notice.thread, ""))
        except Fatal as error:
            self._give_up(letter, str(error))
        except AdapterError as error:
            self._failed(letter, error)
        # A fault of a channel's own ends nothing but this letter; its words might hold what it was given.
        except Exception as error:  # noqa: BLE001
            self._give_up(letter, f"a fault in the channel ({type(error).__name__})")
        else:
            if self._failures:
                log.info("a channel works again", channel=self._name, failures=self._failures)
            self._failures = 0
            self._outbox.count(self._name, "delivered")
            if thread:
                self._threads[notice.thread] = thread
                self._threads.move_to_end(notice.thread)
                while len(self._threads) > MOST_THREADS:
                    self._threads.popitem(last=False)
            self._remove(letter)
            letter.done(f"sent {self._outbox.clock.now():%Y-%m-%dT%H:%M:%SZ} {thread}".strip())

    def _failed(self, letter: Letter, error: AdapterError) -> None:
        letter.failures += 1
        self._failures += 1
        self._outbox.count(self._name, "failed")
        wait = min(FIRST_WAIT * 2 ** min(self._failures - 1, 16), LONGEST_WAIT)
        wait *= random.uniform(0.5, 1.0)  # noqa: S311 - so that replicas and channels do not ask in step
        wait = max(wait, error.retry_after if isinstance(error, Transient) else 0.0)
        self._quiet_until = self._outbox.clock.monotonic() + wait
        if self._failures == 1:
            log.warning("a channel cannot be reached; tries go on", channel=self._name, error=str(error))

    def _give_up(self, letter: Letter, why: str) -> None:
        notice = letter.notice
        log.warning(
            "a notification could not be delivered, given up",
            channel=self._name,
            reason=notice.reason,
            release=notice.release,
            error=why,
            tries=letter.failures + 1,
        )
        self._outbox.count(self._name, "given_up")
        self._remove(letter)
        letter.done(f"given up {self._outbox.clock.now():%Y-%m-%dT%H:%M:%SZ} {why}"[:300])

    def _remove(self, letter: Letter) -> None:
        with self._changed:
            line = self._lines.get(letter.notice.thread)
            if line and letter in line:
                line.remove(letter)
                if not line:
                    del self._lines[letter.notice.thread]
