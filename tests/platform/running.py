"""Chat pods and Services as real processes and sockets, for the tests of the example platform."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

DEADLINE = 15.0
T = TypeVar("T")


def until(look: Callable[[], T], what: str, within: float = DEADLINE) -> T:
    """Looks again and again until the answer is true."""
    deadline = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.02)
    return seen


class Answer(NamedTuple):
    """What a chat pod answered."""

    code: int
    headers: Mapping[str, str]
    body: Any


class ChatPod:
    """One process of the chat service on a port of its own."""

    def __init__(self, directory: Path, *, faults: str = "", version: str = "2.4.1", **env: str) -> None:
        self._out = directory / f"{os.urandom(4).hex()}.log"
        self._err = self._out.with_suffix(".err")
        given = {"POD_IP": "127.0.0.1", "PORT": "0", "CHAT_VERSION": version, "FAULTS": faults, "COLOR": "green"}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "watcher.demo.platform.chat"],
                env={**os.environ, **given, "POD_NAME": "pod-1", "DRAIN": "0.3", **env},
                stdout=out,
                stderr=err,
            )
        self.port = 0

    def __enter__(self) -> Self:
        until(lambda: self.log("started") or self._process.poll() is not None, "the chat service starts")
        started = self.log("started")
        assert started, self.last_words
        self.port = int(started[0]["address"].rpartition(":")[2])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def last_words(self) -> list[str]:
        """What went to stderr."""
        return self._err.read_text().splitlines()

    def log(self, event: str) -> list[dict[str, Any]]:
        """The complete log lines of one kind."""
        lines = self._out.read_text().splitlines(keepends=True)
        return [row for line in lines if line.endswith("\n") and (row := json.loads(line))["event"] == event]

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, content, {name.replace("_", "-"): headers[name] for name in headers})
            response = connection.getresponse()
            read = response.read()
        finally:
            connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        return Answer(response.status, dict(response.headers), json.loads(read) if is_json else read.decode())

    def accepts(self) -> bool:
        """Whether a new connection gets in."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE).close()
        except (ConnectionRefusedError, ConnectionResetError):  # the latter when the door closes just then
            return False
        return True

    def get(self, path: str) -> int:
        """The status code of a GET."""
        return self.ask("GET", path).code

    def chat(self, text: str = "hello") -> Answer:
        """One real request."""
        return self.ask("POST", "/chat", {"text": text})

    def metric(self, series: str) -> float:
        """The value of one series as it stands in the exposition."""
        page: str = self.ask("GET", "/metrics").body
        found = [line.rpartition(" ")[2] for line in page.splitlines() if line.rpartition(" ")[0] == series]
        assert len(found) == 1, f"{series} is not in the exposition once: {page}"
        return float(found[0])

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        """Waits for its end."""
        return self._process.wait(DEADLINE)


class Service:
    """A Service: new connections go to the pod that is selected now, open ones stay where they are."""

    def __init__(self, pod: ChatPod) -> None:
        self.selected = pod
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for end in (self._listener, *self._sockets):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE)
        for end in (self._listener, *self._sockets):
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                try:
                    pod = socket.create_connection(("127.0.0.1", self.selected.port), timeout=DEADLINE)
                except OSError:
                    client.close()
                    continue
                self._sockets.append(pod)
                self._thread(_copy, client, pod)
                self._thread(_copy, pod, client)

    def _thread(self, work: Callable[..., None], *given: socket.socket) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
