"""The daemon's lives: each is a whole daemon in this process, behind a proxy of its own that can spoil its requests.

What always holds: to kill a life is to cut its proxy, so that nothing it does reaches the cluster any more; nothing of
it is kept for the next one; and everything that waits in it waits by the clock that is moved by hand.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.clock import HandClock
from tests.support.proxy import Exchange, Fault, Proxy, Request, Rule, drop_answer, refuse
from tests.walk.journal import Journal, is_swap
from tests.walk.outside import SECRET, Outside
from tests.walk.pretend import Pretend
from watcher.adapters.kubernetes.informer import Informer
from watcher.demo.cluster.resources import DEPLOYMENT, ENDPOINT_SLICE, POD, SERVICE, Kind
from watcher.engine.daemon import Daemon
from watcher.engine.lease import RENEWALS

API = "watcher.bluegreen.dev/v1alpha1"
SLOW = 0.05
LEASE_PATIENCE = 0.5
"""Real seconds in which a renewal of the Lease that is due must have begun."""
LEASE = 60

WHERE: dict[str, Callable[[Request], bool]] = {
    "swap": is_swap,
    "status": lambda r: r.method == "PATCH" and r.path.endswith("/status"),
    "write": lambda r: r.method != "GET" and "/leases" not in r.path,
    "read": lambda r: r.method == "GET" and "watch=true" not in r.query and "/leases" not in r.path,
    "lease": lambda r: "/leases" in r.path,
    "all": lambda _: True,
}


class Spoiler(Rule):
    """Tells the journal of each request, and spoils those that it was told to spoil."""

    def __init__(self, life: str, journal: Journal, person: Callable[[], None]) -> None:
        super().__init__("", re.compile(""), "", self._strike, 1, 0)
        self._life, self._journal, self._person = life, journal, person
        self._orders: list[tuple[str, str, int]] = []
        self._picked: dict[int, Fault] = {}
        self._lock = threading.Lock()
        self.late: list[Exchange] = []
        """What never got an answer, and has yet to arrive."""

    def order(self, how: str, where: str, count: int) -> None:
        """Spoil the next so many requests of a kind."""
        with self._lock:
            self._orders.append((how, where, count))

    def heal(self) -> None:
        with self._lock:
            self._orders.clear()

    @property
    def spoils(self) -> bool:
        with self._lock:
            return bool(self._orders)

    def wants(self, request: Request) -> bool:
        self._journal.asked(self._life, request)
        with self._lock:
            for place, (how, where, count) in enumerate(self._orders):
                # Only a JSON Patch is answered 422 without being wrong by itself.
                if WHERE[where](request) and (how != "422" or is_swap(request)):
                    self._orders[place] = (how, where, count - 1)
                    self._orders = [order for order in self._orders if order[2] > 0]
                    self._picked[id(request)] = self._fault(how)
                    return True
        return False

    def _strike(self, exchange: Exchange) -> None:
        with self._lock:
            fault = self._picked.pop(id(exchange.request))
        fault(exchange)

    def _fault(self, how: str) -> Fault:
        faults: dict[str, Fault] = {
            "refused": lambda _: None,
            "lost": drop_answer,
            "late": self.late.append,
            "slow": _slowly,
            "overtaken": self._overtaken,
            "409": refuse(409, "the object has been modified"),
            "422": refuse(422, "not now"),
            "429": refuse(429, "too many requests", Retry_After="1"),
            "500": refuse(500, "internal error"),
        }
        return faults[how]

    def _overtaken(self, exchange: Exchange) -> None:
        """A person is quicker."""
        self._person()
        exchange.pass_on()


def _slowly(exchange: Exchange) -> None:
    time.sleep(SLOW)
    exchange.pass_on()


class Life:
    """One daemon, from its start to its end."""

    def __init__(
        self, name: str, files: Path, cluster: Pretend, outside: Outside, journal: Journal, person: Callable[[], None]
    ) -> None:
        self.name = name
        own = cluster.directory / f"{journal.namespace}-{name}"
        secrets = own / "secrets"
        secrets.mkdir(parents=True)
        (secrets / "key").write_text(SECRET, "utf-8")
        settings = {
            "apiVersion": API,
            "kind": "Settings",
            "prometheus": {
                "url": f"{outside.url}/prometheus",
                "headers": {"Authorization": "Bearer {{ secrets.key }}"},
                "timeout": "2s",
            },
            "secrets": {"directory": str(secrets)},
            "lease": {"namespace": journal.namespace, "duration": f"{LEASE}s"},
            "notifications": [{"name": "team", "url": f"{outside.url}/told/{journal.namespace}.{name}/{SECRET}"}],
        }
        (own / "watcher.yaml").write_text(json.dumps(settings), "utf-8")
        self.proxy = Proxy(cluster.kubeconfig)
        self.proxy.__enter__()
        self.spoiler = Spoiler(name, journal, person)
        self.proxy.put(self.spoiler)
        self._cluster, self._namespace = cluster, journal.namespace
        kubeconfig = self.proxy.kubeconfig(own / "kubeconfig.json")
        self.daemon = Daemon([files, own], {}, kubeconfig, cluster.clock)
        self.daemon.start()

    def kill(self) -> threading.Thread:
        """Nothing of it reaches anything from now on; its threads end when they notice."""
        self.proxy.cut()
        return self._end()

    def stop(self) -> threading.Thread:
        """As SIGTERM does."""
        self.daemon.stop()
        return self._end()

    def _end(self) -> threading.Thread:
        def end() -> None:
            with suppress(Exception):
                self.daemon.stop()
            self.proxy.__exit__(None, None, None)

        thread = threading.Thread(target=end, name=f"end of {self.name}", daemon=True)
        thread.start()
        return thread

    # What follows looks into the daemon: nothing but a test needs to know that nothing in it is under way.

    def busy(self) -> bool:
        """Whether anything is under way that needs no time to pass."""
        daemon = self.daemon
        runs = list(daemon._checks._runs.values())
        return bool(
            daemon._lanes.busy()
            or daemon._alarms.due()
            or daemon._watches.asking()
            or any(result.running for run in runs for result in list(run.results.values()))
        )

    def terms(self) -> int:
        """How often it came to lead."""
        return int(self.daemon.measures.lease_transitions.labels("leader")._value.get())

    def behind(self) -> bool:
        """Whether one of its caches has not seen yet what the cluster has."""
        space = self.daemon._caches._namespaces.get(self._namespace)
        if space is None:
            return True
        store = self._cluster.store
        kinds = ((space.services, SERVICE), (space.deployments, DEPLOYMENT), (space.pods, POD))
        pairs: list[tuple[Informer[Any], Kind]] = [*kinds, (space.slices, ENDPOINT_SLICE)]
        released = next((kind for kind in store.kinds if kind.plural == "releases"), None)
        if released:
            pairs.append((self.daemon._caches._releases[self._namespace], released))
        return any(
            not informer.synced.is_set() or max(informer._versions.values(), default=0) < self._latest(kind)
            for informer, kind in pairs
        )

    def _latest(self, kind: Kind) -> int:
        own = list(self._cluster.store._objects.get(kind.key, {}).get(self._namespace, {}).values())
        return max((int(body["metadata"]["resourceVersion"]) for body in own), default=0)


def deliver(lives: list[Life]) -> int:
    """Let everything arrive that is late, whoever sent it; says how much that was."""
    late = [(life, exchange) for life in lives for exchange in life.spoiler.late]
    for life, exchange in late:
        life.spoiler.late.remove(exchange)
        with suppress(OSError):
            exchange.forward()
    return len(late)


def settle(clock: HandClock, lives: list[Life], cluster: Pretend, journal: Journal, seconds: float = 10.0) -> bool:
    """Wait until nothing moves any more without time passing. False when that did not come."""
    ends, still = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        spoiled = any(life.spoiler.spoils for life in lives)
        # A watch that is refused comes back in its own time.
        behind = any(life.behind() for life in lives) and not spoiled
        # Whoever should have asked for the Lease by now does so at once.
        waited = time.monotonic() > ends - seconds + LEASE_PATIENCE
        unled = not (spoiled or waited) and any(journal.lease_is_due(life.name, LEASE / RENEWALS) for life in lives)
        if behind or unled or cluster.witness.version < cluster.store.version or any(life.busy() for life in lives):
            still = 0
        else:
            still += 1
        if still > 2:
            with journal.lock:
                journal.quiet += 1
            return True
        time.sleep(0.002)
    return False
