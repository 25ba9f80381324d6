"""Services as listening ports: TCP, forwarded to ready endpoints in turn.

What always holds: a new connection goes only to an endpoint that is ready at that moment, and to the next one if it
cannot be reached; an established connection is never touched by a change of endpoints; a Service without a ready
endpoint does not listen, so that connections are refused.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Iterable, Iterator, Sequence

from watcher.demo.cluster.addresses import AddressBlock
from watcher.demo.cluster.controllers.common import terminating
from watcher.demo.cluster.controllers.endpointslices import SERVICE_NAME
from watcher.demo.cluster.controllers.loop import Key
from watcher.demo.cluster.events import Recorder
from watcher.demo.cluster.relay import Downstream
from watcher.demo.cluster.resources import ENDPOINT_SLICE, SERVICE
from watcher.demo.cluster.store import Change, Object, Store

log = logging.getLogger(__name__)

Endpoint = tuple[str, int]
BACKLOG = 512


class Listener:
    """One port of one Service: a listening socket as long as there are endpoints."""

    def __init__(self, address: str, port: int, connections: set[Downstream]) -> None:
        self.where = (address, port)
        self._connections = connections
        self._endpoints: list[Endpoint] = []
        self._turn = itertools.count()
        self._socket: socket.socket | None = None

    def set(self, endpoints: Sequence[Endpoint]) -> None:
        """Use these endpoints for connections from now on. Raises OSError when the port cannot be listened on."""
        self._endpoints = sorted(endpoints)
        if self._endpoints and self._socket is None:
            self._open()
        elif not self._endpoints:
            self._shut()

    def close(self) -> None:
        """Stop listening; established connections go on."""
        self._endpoints = []
        self._shut()

    def _open(self) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            # Connections of an earlier life of this port may still be in TIME_WAIT.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(self.where)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        self._socket = listener
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept)

    def _shut(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            if self._socket is None:
                return
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("cannot accept on %s:%d: %s", *self.where, error)
                return
            connection.setblocking(False)
            downstream = Downstream(connection, self._candidates, self._connections.discard)
            self._connections.add(downstream)
            downstream.begin()

    def _candidates(self) -> Iterator[Endpoint]:
        """Endpoints to try for one connection, beginning with the one whose turn it is; each as it is ready then."""
        first = next(self._turn)
        tried: set[Endpoint] = set()
        while left := [endpoint for endpoint in self._endpoints if endpoint not in tried]:
            endpoint = left[first % len(left)]
            tried.add(endpoint)
            yield endpoint


class Proxy:
    """A controller for Services: gives each its address and keeps its listeners."""

    def __init__(self, store: Store, block: AddressBlock) -> None:
        self._store = store
        self._block = block
        self._events = Recorder(store, "service-proxy")
        self._listeners: dict[Key, dict[tuple[str, int], Listener]] = {}
        self._connections: set[Downstream] = set()

    def keys(self, change: Change) -> Iterable[Key]:
        meta = change.object["metadata"]
        if change.kind == SERVICE:
            yield (meta["namespace"], meta["name"])
        elif change.kind == ENDPOINT_SLICE:
            name = (meta.get("labels") or {}).get(SERVICE_NAME)
            if name:
                yield (meta["namespace"], name)

    def reconcile(self, key: Key) -> float | None:
        service = self._store.find(SERVICE, *key)
        if service is not None and not terminating(service):
            service = self._with_address(service)
        wanted: dict[tuple[str, int], list[Endpoint]] = {}
        if service is not None and service["spec"].get("clusterIP") not in (None, "", "None"):
            slices = self._store.objects(
                ENDPOINT_SLICE, key[0], lambda row: (row["metadata"].get("labels") or {}).get(SERVICE_NAME) == key[1]
            )
            for port in service["spec"].get("ports") or ():
                if port.get("protocol", "TCP") == "TCP":
                    where = (service["spec"]["clusterIP"], int(port["port"]))
                    wanted[where] = ready_endpoints(slices, port.get("name", ""))
        return self._apply(key, service, wanted)

    def close(self) -> None:
        """Stop listening and drop every connection."""
        for listeners in self._listeners.values():
            for listener in listeners.values():
                listener.close()
        self._listeners.clear()
        for connection in list(self._connections):
            connection.abort()

    def _apply(self, key: Key, service: Object | None, wanted: dict[tuple[str, int], list[Endpoint]]) -> float | None:
        listeners = self._listeners.setdefault(key, {})
        for where in set(listeners) - set(wanted):
            listeners.pop(where).close()
            if not any(address == where[0] for address, _ in wanted):
                self._block.release(where[0])
        again = None
        for where, endpoints in wanted.items():
            listener = listeners.get(where) or listeners.setdefault(where, Listener(*where, self._connections))
            try:
                listener.set(endpoints)
            except OSError as error:
                again = 1.0
                if service is not None:
                    text = f"Cannot listen on {where[0]}:{where[1]}: {error.strerror or error}"
                    self._events.record(service, "Warning", "FailedToListen", text)
        if not listeners:
            del self._listeners[key]
        return again

    def _with_address(self, service: Object) -> Object:
        """Give a Service its cluster address, unless it has one or wants none."""
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            return service
        address = spec.get("clusterIP")
        if address and (address == "None" or self._block.take(address)):
            return service
        if address:
            text = f"Cluster IP {address} is not within the service range {self._block.prefix}.0.0/16; replaced"
            self._events.record(service, "Warning", "ClusterIPOutOfRange", text)
        address = self._block.service_ip()

        def give(found: Object) -> None:
            found["spec"].update(clusterIP=address, clusterIPs=[address])
            if found["spec"].get("type") == "LoadBalancer":
                found.setdefault("status", {})["loadBalancer"] = {"ingress": [{"ip": address}]}

        return self._store.update(SERVICE, service["metadata"]["namespace"], service["metadata"]["name"], give)


def ready_endpoints(slices: Sequence[Object], port_name: str) -> list[Endpoint]:
    """The addresses that new connections to a Service's port may go to."""
    found: set[Endpoint] = set()
    for row in slices:
        ports = [port["port"] for port in row.get("ports") or () if port.get("name", "") == port_name]
        for endpoint in row.get("endpoints") or ():
            if ports and (endpoint.get("conditions") or {}).get("ready", True):
                found.update((address, int(ports[0])) for address in endpoint["addresses"])
    return sorted(found)
