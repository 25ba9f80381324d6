"""Places: which request of a daemon a fault strikes, named so that the same place is found again in another run.

A place is a method, a path without names, what a body is about, and how many of its like came before.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.proxy import Exchange, Fault, Request, Rule


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """`nth` counts from 1 among the requests that look alike."""

    method: str
    path: str
    about: str
    nth: int = 1

    def __str__(self) -> str:
        return " ".join(part for part in (self.method, self.path, self.about, f"#{self.nth}") if part)


def places(asked: Iterable[Request], namespace: str, most: int) -> list[Place]:
    """The places of a run, in order, at most so many of each kind."""
    counts: Counter[Place] = Counter()
    found = []
    for request in asked:
        kind = kind_of(request, namespace)
        counts[kind] += 1
        if counts[kind] <= most:
            found.append(Place(kind.method, kind.path, kind.about, counts[kind]))
    return found


def kind_of(request: Request, namespace: str) -> Place:
    """The place without its number."""
    path = request.path.replace(f"/namespaces/{namespace}/", "/").partition("/v1")[2]
    path = re.sub(r"/pods/[^/]+", "/pods/POD", path).removeprefix("alpha1")
    marks = [word for word in ("watch=true", "dryRun=All") if word in request.query]
    about = [*marks, *([_about(request.body)] if request.body else [])]
    return Place(request.method, path, " ".join(about))


def _about(body: bytes) -> str:
    """What a body changes, without values that differ between two runs."""
    try:
        found = json.loads(body)
    except ValueError:
        return "?"
    if isinstance(found, list):
        return "swap to " + "".join(str(op["value"]) for op in found if op["path"].startswith("/spec/selector"))
    status = found.get("status")
    if isinstance(status, Mapping):
        return _of_status(status)
    if found.get("kind") == "Event":
        return f"{found['reason']} on {found['involvedObject']['kind']}"
    return ",".join(sorted(_leaves(found.get("spec", {}))))


def _of_status(status: Mapping[str, Any]) -> str:
    if "phase" in status:
        return f"phase {status['phase']}"
    told = [key for key in ("intent", "flips", "keep") if key in status]
    return ",".join(told) or "more"


def _leaves(spec: Mapping[str, Any]) -> Iterable[str]:
    return [key for key in spec if key not in ("renewTime", "acquireTime", "holderIdentity", "leaseTransitions")]


class Strike(Rule):
    """Strikes one place with one fault."""

    def __init__(self, place: Place, namespace: str, fault: Fault) -> None:
        super().__init__(place.method, re.compile(""), "", fault, place.nth, 1)
        self._place, self._namespace = place, namespace
        self._kind = Place(place.method, place.path, place.about)
        self._gate = threading.Lock()

    def wants(self, request: Request) -> bool:
        if kind_of(request, self._namespace) != self._kind:
            return False
        with self._gate:
            self.seen.append(request)
            return len(self.seen) == self._place.nth


def late(exchange: Exchange) -> None:
    """Never answer, and forward nothing: a time-out."""
    exchange.closing.wait(30)
