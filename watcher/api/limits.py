"""How much one caller may ask for: requests a second, requests at once, and how large and deep a body is.

What always holds: what is kept of callers is bounded, whoever they are and however many.
"""

from __future__ import annotations

import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from watcher.api.problems import Problem

MOST_CALLERS = 10_000
DEEPEST = 32
"""How many objects and lists may lie in one another in a body."""
LARGEST_BODY = 256 * 1024
MOST_BYTES = 16 * 1024 * 1024
"""What alerts may take up at once, as they were sent."""

_JSON = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests a second, on average and in a burst, and at once; and how many in a burst with a wrong token, from one
    address."""

    rate: float = 50.0
    burst: float = 100.0
    at_once: int = 32
    refused: float = 30.0
    """With a wrong token in a burst, from one address."""


class Buckets:
    """A bucket of tokens for each caller, filled at a rate. To be used from one thread."""

    def __init__(self, rate: float, burst: float, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._now = rate, burst, now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def left(self, name: str) -> float:
        """How many tokens are left."""
        now = self._now()
        tokens, at = self._buckets.get(name, (self._burst, now))
        return min(self._burst, tokens + (now - at) * self._rate)

    def take(self, name: str) -> None:
        """Take one. Raises a Problem when there is none."""
        left = self.left(name)
        if left < 1:
            after = max(1, round((1 - left) / self._rate))
            raise Problem(429, "Too many requests; ask again later.", headers={"Retry-After": str(after)})
        self._buckets[name] = (left - 1, self._now())
        self._buckets.move_to_end(name)
        while len(self._buckets) > MOST_CALLERS:
            self._buckets.popitem(last=False)


class Slots:
    """Requests at once, for each caller. To be used from one thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._busy: Counter[str] = Counter()

    @contextmanager
    def one(self, name: str) -> Iterator[None]:
        """Be one of the caller's requests. Raises a Problem when there are too many."""
        if self._busy[name] >= self._most:
            raise Problem(429, "Too many requests at once; end one first.", headers={"Retry-After": "1"})
        self._busy[name] += 1
        try:
            yield
        finally:
            self._busy[name] -= 1
            if not self._busy[name]:
                del self._busy[name]


class Room:
    """Bytes of bodies at once, of all callers together. To be used from one thread."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._left = most

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Have room for so many. Raises a Problem when there is none."""
        if size > self._left:
            raise Problem(429, "Too much is sent at once; send it again later.", headers={"Retry-After": "1"})
        self._left -= size
        try:
            yield
        finally:
            self._left += size


async def read_body(request: Request, limit: int = LARGEST_BODY) -> bytes:
    """The body of a request, unless it is too large, too deep, or no JSON by what it says of itself."""
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and len(said) < 20 and int(said) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    except ClientDisconnect:
        raise Problem(400, "The request did not arrive as a whole.") from None
    if body:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Problem(415, "Send JSON, with Content-Type: application/json.")
        if too_deep(bytes(body)):
            raise Problem(400, f"The JSON is nested more than {DEEPEST} levels deep.")
    return bytes(body)


def too_deep(body: bytes) -> bool:
    """Whether JSON is nested deeper than allowed, before anything is made of it."""
    depth = 0
    for found in _JSON.finditer(body):
        first = found[0][0]
        if first in b"[{":
            depth += 1
            if depth > DEEPEST:
                return True
        elif first in b"]}":
            depth -= 1
    return False


def _too_large(limit: int) -> Problem:
    return Problem(413, f"The body is over {limit // 1024} KiB.", headers={"Connection": "close"})
