"""Tells Prometheus which pods to scrape, by keeping a file of targets in step with an API server.

It exists because Debian's Prometheus is built without `kubernetes_sd_configs`: this does the same for the one case
that the example platform needs. What always holds: a pod is a target while it runs, has an address, and is annotated
`prometheus.io/scrape: "true"`; its series get the labels namespace, pod, app and color; and while the API server does
not answer, the last targets stay.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from ruamel.yaml import YAML

ANSWER_WITHIN = 10.0
"""Seconds for a list, and for a connection."""
WATCH_FOR = 60
"""Seconds after which a watch is begun anew."""
RETRY_AFTER = 0.5

Pod = Mapping[str, Any]
Target = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KubernetesTargets:
    """Where pods are found: an API server, as whom to ask it, and the namespaces (none: all of them)."""

    api_server: str
    namespaces: Sequence[str] = ()
    token: str | None = None
    ca_file: Path | None = None

    @classmethod
    def from_kubeconfig(cls, path: Path, namespaces: Sequence[str] = ()) -> Self:
        """Reads the server, its certificate authority's file and the token of the current context."""
        config = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        context = _named(config, "context", config["current-context"])
        cluster, user = _named(config, "cluster", context["cluster"]), _named(config, "user", context["user"])
        ca_file = cluster.get("certificate-authority")
        return cls(cluster["server"], namespaces, user.get("token"), path.parent / ca_file if ca_file else None)


def _named(config: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    entry: Mapping[str, Any] = next(row[kind] for row in config[f"{kind}s"] if row["name"] == name)
    return entry


def target(pod: Pod) -> Target | None:
    """The target that a pod is, with its labels, as `file_sd_configs` reads it; None when it is not to be scraped."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    address = status.get("podIP")
    if annotations.get("prometheus.io/scrape") != "true" or not address or status.get("phase") != "Running":
        return None
    known = {name: labels[name] for name in ("app", "color") if name in labels}
    known |= {"namespace": metadata["namespace"], "pod": metadata["name"]}
    known["__metrics_path__"] = annotations.get("prometheus.io/path", "/metrics")
    return {"targets": [f"{address}:{annotations.get('prometheus.io/port', '80')}"], "labels": known}


class PodDiscovery:
    """Watches pods from threads of its own and rewrites the file whenever the targets differ."""

    def __init__(self, where: KubernetesTargets, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._targets: dict[str, dict[str, Target]] = {}
        self._written: str | None = None
        paths = [f"/api/v1/namespaces/{name}/pods" for name in where.namespaces] or ["/api/v1/pods"]
        self._watches = [_Watch(where, path) for path in paths]
        self._threads = [
            threading.Thread(target=self._follow, args=(watch,), name=f"discovers {watch.path}", daemon=True)
            for watch in self._watches
        ]

    def start(self) -> None:
        """Begins to watch; may be called once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends the watches. The file stays as it is."""
        self._stopped.set()
        for watch in self._watches:
            watch.cut()
        for thread in self._threads:
            thread.join(2 * ANSWER_WITHIN)

    def _follow(self, watch: _Watch) -> None:
        while not self._stopped.is_set():
            # Whatever goes wrong on the way (refused, cut, no JSON, an expired version): list again a little later.
            with suppress(OSError, http.client.HTTPException, ValueError, KeyError):
                found: dict[str, Target] = {}
                for pod in watch.list():
                    _put(found, "ADDED", pod)
                self._write(watch.path, found)
                for kind, pod in watch.changes():
                    _put(found, kind, pod)
                    self._write(watch.path, found)
            watch.close()
            self._stopped.wait(RETRY_AFTER)

    def _write(self, path: str, found: dict[str, Target]) -> None:
        with self._lock:
            self._targets[path] = found
            every = [entry for targets in self._targets.values() for _, entry in sorted(targets.items())]
            text = json.dumps(every, indent=1)
            if text == self._written:
                return
            fresh = self._file.with_suffix(".new")
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(self._file)
            self._written = text


def _put(found: dict[str, Target], kind: str, pod: Pod) -> None:
    if kind == "ERROR":
        raise ValueError(f"the watch ended: {pod.get('message')}")
    if kind == "BOOKMARK":
        return
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    entry = None if kind == "DELETED" else target(pod)
    if entry is None:
        found.pop(name, None)
    else:
        found[name] = entry


class _Watch:
    """List and watch of one path, by one thread; another may cut it off."""

    def __init__(self, where: KubernetesTargets, path: str) -> None:
        self.path = path
        self._where = where
        self._version = ""
        self._lock = threading.Lock()
        self._cut = False
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None

    def list(self) -> list[Pod]:
        """All pods now."""
        listed = json.loads(self._get(self.path, ANSWER_WITHIN).read())
        self._version = listed["metadata"]["resourceVersion"]
        return list(listed["items"])

    def changes(self) -> Iterator[tuple[str, Pod]]:
        """What changes after the list, until the server ends the watch."""
        asked = {"watch": "1", "resourceVersion": self._version, "timeoutSeconds": WATCH_FOR}
        answer = self._get(f"{self.path}?{urlencode(asked)}", WATCH_FOR + ANSWER_WITHIN)
        while line := answer.readline():
            event = json.loads(line)
            yield event["type"], event["object"]

    def close(self) -> None:
        """Gives the connection up. Only for the thread that reads from it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def cut(self) -> None:
        """Ends what is being read, and lets nothing begin after it."""
        with self._lock:
            self._cut = True
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _get(self, path: str, within: float) -> http.client.HTTPResponse:
        self.close()
        parts = urlsplit(self._where.api_server)
        host = parts.hostname or "127.0.0.1"
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=self._where.ca_file)
            self._connection = http.client.HTTPSConnection(host, parts.port, timeout=within, context=context)
        else:
            self._connection = http.client.HTTPConnection(host, parts.port, timeout=within)
        self._connection.connect()
        with self._lock:
            self._socket = self._connection.sock
            if self._cut:
                raise ConnectionAbortedError("discovery was stopped")
        headers = {"Accept": "application/json", "User-Agent": "pod-discovery"}
        if self._where.token:
            headers["Authorization"] = f"Bearer {self._where.token}"
        self._connection.request("GET", parts.path.rstrip("/") + path, headers=headers)
        answer = self._connection.getresponse()
        if answer.status != 200:
            answer.close()
            raise ValueError(f"{path}: {answer.status} {answer.reason}")
        return answer
