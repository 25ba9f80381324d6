"""Places: which request of a daemon a fault strikes, named so that the same place is found again in another run.

A place is a method, a path without names, what a body is about, in which phase the Release is (where one worker asks,
one request after the other), and how many of its like came before.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.support.proxy import Exchange, Fault, Request, Rule

BY_THE_WORKER = re.compile(r"^/(services/|endpointslices$|deployments/|releases/|jobs|pods/)")
MORE = "more"
STATUS = re.compile(r"^/releases/[^/]+/status$")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """`nth` counts from 1 among the requests that look alike."""

    method: str
    path: str
    about: str
    nth: int = 1

    def __str__(self) -> str:
        return " ".join(part for part in (self.method, self.path, self.about, f"#{self.nth}") if part)


class Reader:
    """Names the requests of one daemon, in the order in which they come."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._phase = "Pending"

    def kind_of(self, request: Request) -> Place:
        """The place without its number."""
        path = request.path.replace(f"/namespaces/{self._namespace}/", "/")
        path = re.sub(r"^.*?/v[12](alpha1)?(?=/|$)", "", path, count=1)
        path = re.sub(r"^/pods/[^/]+", "/pods/POD", path)
        path = re.sub(r"^/jobs/[^/]+", "/jobs/JOB", path)
        about = [word for word in ("watch=true", "dryRun=All") if word in request.query]
        if request.body:
            about.append(_about(request.body))
        if BY_THE_WORKER.match(path) and "watch=true" not in about:
            about.append(f"in {self._phase}")
        if STATUS.match(path):
            self._phase = _phase(request.body) or self._phase
        return Place(request.method, path, " ".join(about))


def places(asked: Iterable[Request], namespace: str, most: int) -> list[Place]:
    """The places of a run, in order, at most so many of each kind."""
    counts: Counter[Place] = Counter()
    found = []
    reader = Reader(namespace)
    for request in asked:
        kind = reader.kind_of(request)
        counts[kind] += 1
        # Words about progress are written as often as there is progress to be seen.
        if counts[kind] <= (1 if kind.about.startswith(MORE) else most):
            found.append(replace(kind, nth=counts[kind]))
    return found


def _about(body: bytes) -> str:
    """What a body changes, without values that differ between two runs."""
    try:
        found = json.loads(body)
    except ValueError:
        return "?"
    if isinstance(found, list):
        return "swap to " + "".join(
            str(op["value"]) for op in found if op["op"] == "replace" and op["path"].startswith("/spec/selector")
        )
    status = found.get("status")
    if isinstance(status, Mapping):
        return _of_status(status)
    if found.get("kind") == "Event":
        return f"{found['reason']} on {found['involvedObject']['kind']}"
    return ",".join(sorted(_leaves(found.get("spec", {}))))


def _phase(body: bytes) -> str:
    return str(json.loads(body).get("status", {}).get("phase", ""))


def _of_status(status: Mapping[str, Any]) -> str:
    if "phase" in status:
        return f"phase {status['phase']}"
    told = [key for key in ("intent", "flips", "keep") if key in status]
    return ",".join(told) or MORE


def _leaves(spec: Mapping[str, Any]) -> Iterable[str]:
    return [key for key in spec if key not in ("renewTime", "acquireTime", "holderIdentity", "leaseTransitions")]


class Strike(Rule):
    """Strikes one place with one fault, once."""

    def __init__(self, place: Place, namespace: str, fault: Fault) -> None:
        super().__init__(place.method, re.compile(""), "", fault, place.nth, 1)
        self._kind = replace(place, nth=1)
        self._reader = Reader(namespace)
        self._gate = threading.Lock()

    def wants(self, request: Request) -> bool:
        if self.off:
            return False
        with self._gate:
            if self._reader.kind_of(request) != self._kind:
                return False
            self.seen.append(request)
            self.off = len(self.seen) == self.first
            return self.off


def late(exchange: Exchange) -> None:
    """Never answer, and forward nothing: a time-out."""
    exchange.closing.wait(60)
