"""What happens on the ground, seen by watches: whoever waits for something is woken by what happens, and asks nothing.

What always holds: what a `Space` shows was so in its namespace, in that order; a look at it costs the API server
nothing.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from watcher.adapters.errors import AdapterError
from watcher.adapters.kubernetes.connection import Connection
from watcher.core.release import Release, from_json

Raw = Mapping[str, Any]
T = TypeVar("T")

COMMANDS = ("approve", "abort", "rollback")

KINDS = {
    "services": "/api/v1/services",
    "pods": "/api/v1/pods",
    "events": "/api/v1/events",
    "deployments": "/apis/apps/v1/deployments",
    "autoscalers": "/apis/autoscaling/v2/horizontalpodautoscalers",
    "jobs": "/apis/batch/v1/jobs",
    "releases": "/apis/watcher.bluegreen.dev/v1alpha1/releases",
    "leases": "/apis/coordination.k8s.io/v1/leases",
}


class Space:
    """What is known of one namespace. `news` is notified of each change."""

    def __init__(self) -> None:
        self.news = threading.Condition()
        self._objects: dict[str, dict[str, Raw]] = defaultdict(dict)
        self._been: dict[str, list[str]] = defaultdict(list)
        self._minimums: dict[str, list[int]] = defaultdict(list)
        self._made: dict[str, str] = {}
        self._phases: list[str] = []
        self._parsed: tuple[str, Release] | None = None

    def take(self, kind: str, change: str, raw: Raw) -> None:
        """Note one change of one object."""
        name = raw["metadata"]["name"]
        with self.news:
            if change == "DELETED":
                self._objects[kind].pop(name, None)
            else:
                self._objects[kind][name] = raw
            if kind == "services":
                _note(self._been[name], (raw["spec"].get("selector") or {}).get("color", ""))
            elif kind == "autoscalers":
                _note(self._minimums[name], raw["spec"]["minReplicas"])
            elif kind == "jobs":
                self._made[raw["metadata"]["uid"]] = name.rpartition("-")[0]
            elif kind == "releases":
                _note(self._phases, _phase(raw))
            self.news.notify_all()

    def poke(self) -> None:
        """Wake who waits: something happened that no watch shows."""
        with self.news:
            self.news.notify_all()

    def wait(
        self, reached: Callable[[], object], what: str, seconds: float, last: Callable[[], str] = lambda: ""
    ) -> None:
        """Look again whenever there is news; raises TimeoutError."""
        ends = time.monotonic() + seconds
        with self.news:
            while not reached():
                left = ends - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"waited {seconds:g} s for {what}; {last()}")
                self.news.wait(min(left, 1.0))

    # -- what is so ---------------------------------------------------------------------------------------------------

    def release(self) -> Release | None:
        """The one Release of the namespace."""
        with self.news:
            raw = next(iter(self._objects["releases"].values()), None)
            if raw is None:
                return None
            version = raw["metadata"]["resourceVersion"]
            if self._parsed is None or self._parsed[0] != version:
                self._parsed = (version, from_json(dict(raw)))
            return self._parsed[1]

    def selected(self, service: str) -> str:
        """The colour that a Service selects."""
        return (self.been(service) or ("",))[-1]

    def been(self, service: str) -> tuple[str, ...]:
        """The colours that a Service selected, one after the other."""
        with self.news:
            return tuple(self._been[service])

    def ready(self, color: str) -> int:
        """How many pods of a colour are ready."""
        with self.news:
            pods = list(self._objects["pods"].values())
        return sum(
            condition["type"] == "Ready" and condition["status"] == "True"
            for pod in pods
            if pod["metadata"].get("labels", {}).get("color") == color and not pod["metadata"].get("deletionTimestamp")
            for condition in (pod.get("status") or {}).get("conditions") or ()
        )

    def deployments(self) -> Iterator[tuple[str, str, int]]:
        """Name, image and size of each Deployment."""
        with self.news:
            found = sorted(self._objects["deployments"].items())
        for name, raw in found:
            spec = raw["spec"]
            yield name, spec["template"]["spec"]["containers"][0]["image"], spec.get("replicas", 1)

    def phases(self) -> tuple[str, ...]:
        """The phases of the Release, one after the other, each with what it had been told by then."""
        with self.news:
            return tuple(self._phases)

    def autoscalers(self) -> list[tuple[str, tuple[int, ...], Mapping[str, str]]]:
        """Name, the minimums one after the other, and what is noted on each autoscaler."""
        with self.news:
            found = sorted(self._objects["autoscalers"].items())
            return [
                (name, tuple(self._minimums[name]), raw["metadata"].get("annotations") or {}) for name, raw in found
            ]

    def jobs_made(self) -> list[str]:
        """The name of each Job that ever was, without the end that tells it from others of its name."""
        with self.news:
            return sorted(self._made.values())

    def jobs(self) -> Iterator[tuple[str, bool]]:
        """Name of each Job that is still there, and whether it runs."""
        with self.news:
            found = sorted(self._objects["jobs"].items())
        for name, raw in found:
            yield name.rpartition("-")[0], bool((raw.get("status") or {}).get("ready"))

    def told(self) -> list[tuple[str, str]]:
        """Reason and kind of object of each Event that the daemon wrote, sorted."""
        with self.news:
            found = list(self._objects["events"].values())
        return sorted(
            (raw["reason"], raw["involvedObject"]["kind"])
            for raw in found
            if (raw.get("source") or {}).get("component") == "bluegreen-watcher"
        )

    def leader(self) -> str:
        """Who holds the Lease."""
        with self.news:
            raw = next(iter(self._objects["leases"].values()), None)
        return str((raw or {"spec": {}})["spec"].get("holderIdentity") or "")


class View:
    """Follows every kind that matters, in all namespaces."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._spaces: dict[str, Space] = defaultdict(Space)
        self._stop = threading.Event()

    def start(self) -> None:
        for kind, path in KINDS.items():
            threading.Thread(target=self._follow, args=(kind, path), name=f"views {kind}", daemon=True).start()

    def stop(self) -> None:
        """End at the next news; a watch that waits ends with the cluster."""
        self._stop.set()

    def space(self, namespace: str) -> Space:
        return self._spaces[namespace]

    def _follow(self, kind: str, path: str) -> None:
        version = ""
        while not self._stop.is_set():
            with suppress(AdapterError):
                if not version:
                    found = self._connection.get(path)
                    for raw in found["items"]:
                        self._take(kind, "ADDED", raw)
                    version = found["metadata"]["resourceVersion"]
                query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "600"}
                for event in self._connection.watch(path, query, 900):
                    if self._stop.is_set():
                        return
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._take(kind, event["type"], event["object"])
            self._stop.wait(0.05)

    def _take(self, kind: str, change: str, raw: Raw) -> None:
        self._spaces[raw["metadata"].get("namespace", "")].take(kind, change, raw)


def _phase(raw: Raw) -> str:
    told = [command for command in COMMANDS if raw["spec"].get(command)]
    return " ".join([(raw.get("status") or {}).get("phase") or "Pending", *told])


def _note(known: list[T], found: T) -> None:
    if known[-1:] != [found]:
        known.append(found)
