"""How a bad version of the chat service misbehaves: what FAULTS names, and the moment at which it begins.

It exists so that every failure a release can run into is one word in an environment variable. What always holds: a
fault that only real traffic can show (errors, latency, memory, cpu, conversions, payload, crash, unreadiness) begins
after the first real chat request, so that every test before the switch passes; shares are evenly spread and the same in
every run, not random; and what uses up the machine (memory, cpu) pauses as soon as traffic has gone elsewhere.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

Trigger = Literal["first-request", "start"]

QUIET_AFTER = 2.0
"""Seconds without a real request after which memory and cpu faults pause."""

MEMORY_CEILING = 640 * 1024 * 1024
"""Bytes at which a memory leak stops, so that a forgotten demo does not eat the machine."""

BURNERS = 4
"""Threads that a cpu fault works with, so that it gets its share among other busy processes."""

GOLDEN = (5**0.5 - 1) / 2

_TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0}
_SIZES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]+)")


class BadFaults(ValueError):
    """FAULTS names something that does not exist, or a value that cannot be read."""


class ConversationIndexCorrupt(RuntimeError):
    """What a crashing version dies of."""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What FAULTS asks for. Times are seconds, sizes bytes, shares between 0 and 1; the defaults are a good version."""

    errors: float = 0.0
    latency: float = 0.0
    memory: float = 0.0
    cpu: float = 0.0
    conversions: float = 1.0
    payload: int = 0
    crash_after: float | None = None
    unready_after: float | None = None
    crash_at_start: bool = False
    never_ready: bool = False
    fail_smoke: bool = False
    fail_verification: bool = False

    @classmethod
    def parse(cls, text: str) -> FaultPlan:
        """Reads e.g. `errors=0.2,latency=300ms,memory=20MiB/s,crash-after=5s,never-ready`; raises BadFaults."""
        plan = cls()
        for word in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = word.partition("=")
            read = _READERS.get(name)
            if read is None:
                raise BadFaults(f"unknown fault {name!r}; there are {', '.join(sorted(_READERS))}")
            if read is _flag and equals:
                raise BadFaults(f"{name} takes no value")
            try:
                changed: dict[str, Any] = {name.replace("-", "_"): read(value)}
                plan = replace(plan, **changed)
            except ValueError as error:
                raise BadFaults(f"{name}={value}: {error}") from error
        return plan

    def words(self) -> Iterator[str]:
        """The faults that are switched on, for a log line."""
        for entry in fields(self):
            if getattr(self, entry.name) != entry.default:
                yield f"{entry.name.replace('_', '-')}={getattr(self, entry.name)}"


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError("a share lies between 0 and 1")
    return share


def _quantity(text: str, units: dict[str, float] | dict[str, int], example: str) -> float:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        raise ValueError(f"not a quantity; write it as {example}")
    return float(match[1]) * units[match[2]]


def _time(text: str) -> float:
    return _quantity(text, _TIMES, "300ms")


def _size(text: str) -> int:
    return int(_quantity(text, _SIZES, "64KiB"))


def _growth(text: str) -> float:
    if not text.endswith("/s"):
        raise ValueError("not a rate; write it as 20MiB/s")
    return _quantity(text.removesuffix("/s"), _SIZES, "20MiB/s")


def _flag(_text: str) -> bool:
    return True


_READERS: dict[str, Callable[[str], float | int | bool]] = {
    "errors": _share,
    "latency": _time,
    "memory": _growth,
    "cpu": _share,
    "conversions": _share,
    "payload": _size,
    "crash-after": _time,
    "unready-after": _time,
    "crash-at-start": _flag,
    "never-ready": _flag,
    "fail-smoke": _flag,
    "fail-verification": _flag,
}


class Share:
    """Says yes to a share of the times it is asked, evenly spread and the same in every run. Thread-safe.

    Multiples of the golden ratio, modulo 1, fill the unit interval evenly: after any number of calls the count is
    within two or so of the exact share, and no rhythm in what clients send can keep one handler out of it.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._asked = itertools.count(1)
        self._lock = threading.Lock()

    def __call__(self) -> bool:
        with self._lock:
            return next(self._asked) * GOLDEN % 1 < self._share


class Faults:
    """A fault plan with its clock. `real_request` starts and feeds the clock; the rest says what is wrong now."""

    def __init__(self, plan: FaultPlan, trigger: Trigger, announce: Callable[[str], None]) -> None:
        self.plan = plan
        self._announce = announce
        self._lock = threading.Lock()
        self._began: float | None = None
        self._last_request = time.monotonic()
        self._error_share = Share(plan.errors)
        self._conversion_share = Share(plan.conversions)
        self._ballast: list[bytearray] = []
        if trigger == "start":
            self._begin()

    def real_request(self) -> bool:
        """Notes a request of a real user. True when the faults were already on before it came."""
        self._last_request = time.monotonic()
        if self._began is not None:
            return True
        self._begin()
        return False

    @property
    def on(self) -> bool:
        """Whether the faults have begun."""
        return self._began is not None

    def fails(self) -> bool:
        """Whether this real request is one of those that fail."""
        return self._error_share()

    def converts(self) -> bool:
        """Whether this conversion gets through."""
        return self._began is None or self._conversion_share()

    @property
    def unready(self) -> str | None:
        """Why the service is not ready, or None."""
        if self.plan.never_ready:
            return "the language model is still loading"
        if self.plan.unready_after is not None and self._began is not None:
            since = time.monotonic() - self._began
            if since >= self.plan.unready_after:
                return "the connection pool of the conversation store is exhausted"
        return None

    def _begin(self) -> None:
        with self._lock:
            if self._began is not None:
                return
            self._began = time.monotonic()
        words = list(self.plan.words())
        if words:
            self._announce(", ".join(words))
        for wanted, work, threads in ((self.plan.memory, self._leak, 1), (self.plan.cpu, self._burn, BURNERS)):
            if wanted:
                for _ in range(threads):
                    threading.Thread(target=work, name=work.__name__, daemon=True).start()
        if self.plan.crash_after is not None:
            timer = threading.Timer(self.plan.crash_after, crash)
            timer.daemon = True
            timer.start()

    def _busy(self) -> bool:
        return time.monotonic() - self._last_request < QUIET_AFTER

    def _leak(self) -> None:
        step = 0.1
        held = 0
        while held < MEMORY_CEILING:
            time.sleep(step)
            if self._busy():
                size = int(self.plan.memory * step)
                self._ballast.append(bytearray(b"\x5a") * size)  # every page is written, so it is resident
                held += size

    def _burn(self) -> None:
        # Hashing a large block releases the interpreter lock: the core is used up, but requests are still answered.
        # Processor time is measured, not time on the clock, so that the share holds on a busy machine too.
        block = bytes(512 * 1024)
        period = 0.1
        while True:
            began, used = time.monotonic(), time.thread_time()
            while self._busy() and time.thread_time() - used < period * self.plan.cpu / BURNERS:
                hashlib.sha256(block).digest()
            time.sleep(max(0.001, period - (time.monotonic() - began)))


def crash() -> None:
    """Dies as a broken service does: a traceback as the last thing on stderr, exit code 1, connections cut."""
    try:
        _load_shard(7)
    except ConversationIndexCorrupt:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _load_shard(number: int) -> None:
    raise ConversationIndexCorrupt(f"shard {number} of the conversation index: checksum 0x1f3a, expected 0x9c41")
