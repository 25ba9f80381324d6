"""The chat service of the example platform: `python -m watcher.demo.platform.chat`, one process per pod.

It exists so that releases, rules and rollbacks can be tried on a service that really answers, measures itself and
fails. What always holds: it starts in a fraction of a second; health checks, scrapes and self checks are neither
counted as traffic nor able to start a fault; and SIGTERM loses no request (it keeps serving while the endpoints
change, answers with `Connection: close`, finishes what it began, and exits 0).

Environment: POD_IP (address to bind), PORT, CHAT_VERSION or IMAGE_TAG, COLOR, POD_NAME, FAULTS, FAULT_TRIGGER
(`first-request` or `start`), DRAIN (seconds to keep serving after SIGTERM).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from watcher.demo.platform.conversations import ID, Conversations
from watcher.demo.platform.faults import BadFaults, FaultPlan, Faults, crash
from watcher.demo.platform.metrics import CONTENT_TYPE, ChatMetrics

MAX_BODY = 64 * 1024
IDLE_TIMEOUT = 30.0
LAST_CALL = 0.25
"""Seconds between closing the listener and closing idle connections: a request already on its way still arrives."""
FINISH = 3.0
"""Seconds that requests in progress get to finish after that."""
ERRORS_PER_LOG_LINE = 100
ENDINGS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which pod this is. Sent with every answer, so that clients can tell who served them."""

    version: str
    color: str
    pod: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a status code, a JSON body, and the handler's name if a user asked (else it is not counted)."""

    code: int
    body: Mapping[str, object]
    handler: str | None = None


def log(event: str, **values: object) -> None:
    """One JSON line on stdout."""
    line = json.dumps({"time": round(time.time(), 3), "event": event, **values})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Chat:
    """The service behind the HTTP handler: routes, faults, metrics and the state of the drain."""

    def __init__(self, identity: Identity, plan: FaultPlan, trigger: str = "first-request") -> None:
        self.identity = identity
        self.conversations = Conversations()
        self.metrics = ChatMetrics(identity.version, self.conversations.active)
        self.faults = Faults(
            plan,
            "start" if trigger == "start" else "first-request",
            lambda words: log("fault", pod=identity.pod, version=identity.version, faults=words),
        )
        self.draining = False
        self._logged_errors = 0
        self._checks: dict[str, Callable[[], Answer]] = {
            "/livez": self.live,
            "/readyz": self.ready,
            "/healthz": self.healthy,
            "/verify": self.verify,
            "/version": self.who,
        }

    def route(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answers one request."""
        if check := self._checks.get(path):
            return check() if method == "GET" else Answer(405, {"error": "only GET is possible here"})
        if method == "POST" and path in ("/chat", "/convert"):
            return self._user_post(path, headers, body)
        if path.startswith("/chat/conversations/") and method == "GET":
            return self._history(path.removeprefix("/chat/conversations/"))
        return Answer(404, {"error": f"there is no {method} {path}"}, "other")

    def who(self) -> Answer:
        who = self.identity
        return Answer(200, {"version": who.version, "color": who.color, "pod": who.pod})

    def live(self) -> Answer:
        return Answer(200, {"alive": True})

    def ready(self) -> Answer:
        reason = "draining" if self.draining else self.faults.unready
        return Answer(503, {"ready": False, "reason": reason}) if reason else Answer(200, {"ready": True})

    def healthy(self) -> Answer:
        """The smoke test: can this pod do its basic job."""
        reason = self.faults.unready
        if self.faults.plan.fail_smoke:
            reason = "the language model did not answer the smoke prompt"
        return Answer(500, {"healthy": False, "reason": reason}) if reason else Answer(200, {"healthy": True})

    def verify(self) -> Answer:
        """The verification test: every critical path once, on a conversation of its own, without being counted."""
        scratch = Conversations()
        name, answer, _ = scratch.say(None, "self check")
        broken = self.faults.plan.fail_verification
        checks = {
            "answers": bool(answer),
            "history": len(scratch.history(name)) == 2 and not broken,
            "metrics": b"http_requests_total" in self.metrics.page(),
        }
        report: dict[str, object] = {
            "version": self.identity.version,
            "checks": [{"name": check, "ok": ok} for check, ok in checks.items()],
        }
        if all(checks.values()):
            return Answer(200, {"ok": True, **report})
        failed = ", ".join(check for check, ok in checks.items() if not ok)
        reason = f"{failed}: a conversation read back has 1 message, expected 2"
        return Answer(500, {"ok": False, "reason": reason, **report})

    def _user_post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            asked = json.loads(body)
        except ValueError:
            return Answer(400, {"error": "the body is not JSON"}, path)
        conversation = asked.get("conversation") if isinstance(asked, dict) else None
        text = asked.get("text", "") if isinstance(asked, dict) else None
        named = conversation is None or (isinstance(conversation, str) and ID.fullmatch(conversation))
        if not named or not isinstance(text, str) or (path == "/convert" and conversation is None):
            return Answer(400, {"error": 'send {"conversation": ID, "text": TEXT}'}, path)
        key = headers.get("Idempotency-Key")
        if (known := self.conversations.replayed(key)) is not None:
            return Answer(200, known, path)
        faulty = self.faults.real_request() if path == "/chat" else self.faults.on
        if faulty and self._misbehave():
            return Answer(500, {"error": "the conversation store did not answer"}, path)
        answer = self._convert(conversation) if path == "/convert" else self._say(conversation, text)
        self.conversations.remember(key, answer)
        return Answer(200, {**answer, **self._padding(faulty)}, path)

    def _say(self, conversation: str | None, text: str) -> dict[str, object]:
        time.sleep(0.003 + len(text) % 8 * 0.001)  # the time to think of an answer: 3 to 10 ms
        name, answer, began = self.conversations.say(conversation, text)
        if began:
            self.metrics.conversations.inc()
        return {"conversation": name, "answer": answer}

    def _convert(self, conversation: object) -> dict[str, object]:
        converted = self.faults.converts()
        if converted:
            self.metrics.conversions.inc()
        return {"conversation": conversation, "converted": converted}

    def _history(self, conversation: str) -> Answer:
        handler = "/chat/conversations/{id}"
        if not ID.fullmatch(conversation):
            return Answer(404, {"error": "there is no such conversation"}, handler)
        faulty = self.faults.on
        if faulty and self._misbehave():
            return Answer(500, {"error": "the conversation store did not answer"}, handler)
        messages = self.conversations.history(conversation)
        return Answer(200, {"conversation": conversation, "messages": messages, **self._padding(faulty)}, handler)

    def _padding(self, faulty: bool) -> dict[str, object]:
        size = self.faults.plan.payload if faulty else 0
        return {"debug": "x" * size} if size else {}

    def _misbehave(self) -> bool:
        """Slows the request down as the faults want it. True when it is to fail."""
        if self.faults.plan.latency:
            time.sleep(self.faults.plan.latency)
        if not self.faults.fails():
            return False
        if self._logged_errors % ERRORS_PER_LOG_LINE == 0:
            log("error", message="the conversation store did not answer", errors=self._logged_errors + 1)
        self._logged_errors += 1
        return True


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive. Headers and body leave in one write, so no packet waits for another."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_TIMEOUT
    server: Server

    def setup(self) -> None:
        super().setup()
        self.busy = False
        self.server.handlers.add(self)

    def finish(self) -> None:
        self.server.handlers.discard(self)
        super().finish()

    def parse_request(self) -> bool:
        self.busy = True
        self._started = time.monotonic()
        return super().parse_request()

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        finally:
            self.busy = False

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.close_connection = True
            self._send(Answer(413 if length.isdecimal() else 411, {"error": f"send at most {MAX_BODY} bytes"}), 0)
            return
        self._serve(self.rfile.read(int(length)))

    def _serve(self, body: bytes) -> None:
        path = self.path.partition("?")[0]
        chat = self.server.chat
        if path == "/metrics" and self.command == "GET":
            self.wfile.write(self._message(200, CONTENT_TYPE, chat.metrics.page()))
            return
        self._send(chat.route(self.command, path, dict(self.headers.items()), body), len(body))

    def _send(self, answer: Answer, body_size: int) -> None:
        body = json.dumps(answer.body).encode() + b"\n"
        data = self._message(answer.code, "application/json", body)
        if answer.handler:
            # Counted before it is written, so that whoever has the answer finds it counted.
            head = sum(len(name) + len(value) + 4 for name, value in self.headers.items())
            self.server.chat.metrics.observe(
                method=self.command,
                handler=answer.handler,
                code=answer.code,
                seconds=time.monotonic() - self._started,
                received=len(self.requestline) + 2 + head + body_size,
                sent=len(data),
            )
        self.wfile.write(data)

    def _message(self, code: int, content_type: str, body: bytes) -> bytes:
        """The whole answer as it goes over the wire."""
        who = self.server.chat.identity
        if self.server.chat.draining:
            self.close_connection = True
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (("X-Version", who.version), ("X-Color", who.color), ("X-Pod", who.pod)):
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        head: list[bytes] = self._headers_buffer  # type: ignore[attr-defined]
        data = b"".join((*head, b"\r\n", body))
        head.clear()
        return data

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class names it so
        """Says nothing: a line per request would drown what matters."""


class Server(socketserver.ThreadingTCPServer):
    """Accepts connections, one thread each, and can stop without losing a request."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], chat: Chat) -> None:
        self.chat = chat
        self.handlers: set[Handler] = set()
        self.timeout: float | None = 0
        super().__init__(address, Handler)

    def handle_timeout(self) -> None:
        self.backlog_empty = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            log("handler failed", error=repr(error))

    def drain(self, seconds: float) -> None:
        """Keeps serving for `seconds`, then takes what still waits, closes the door and lets everyone finish."""
        self.chat.draining = True
        time.sleep(seconds)
        self.shutdown()
        self.backlog_empty = False
        while not self.backlog_empty:
            self.handle_request()
        self.server_close()
        time.sleep(LAST_CALL)
        deadline = time.monotonic() + FINISH
        while (open_handlers := list(self.handlers)) and time.monotonic() < deadline:
            for handler in open_handlers:
                if not handler.busy:
                    _stop_reading(handler.connection)
            time.sleep(0.02)


def _stop_reading(connection: socket.socket) -> None:
    """Wakes a handler that waits for the next request; one that has already arrived is still read and answered."""
    try:
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        return


def main() -> int:
    """Runs the service until SIGTERM or SIGINT. Exit codes: 0 stopped, 1 crashed, 2 wrong environment."""
    # Blocked in every thread and waited for in this one: a handler could interrupt the very lock that it needs.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    env = os.environ
    identity = Identity(
        version=env.get("CHAT_VERSION") or env.get("IMAGE_TAG") or "dev",
        color=env.get("COLOR", ""),
        pod=env.get("POD_NAME") or socket.gethostname(),
    )
    try:
        plan = FaultPlan.parse(env.get("FAULTS", ""))
        address = (env.get("POD_IP") or "0.0.0.0", int(env.get("PORT") or 8080))  # noqa: S104 -- a pod's own address
        drain = float(env.get("DRAIN") or 0.7)
        if plan.crash_at_start:
            crash()
        chat = Chat(identity, plan, env.get("FAULT_TRIGGER", "first-request"))
        server = Server(address, chat)
    except (BadFaults, ValueError, OSError) as error:
        sys.stderr.write(f"chat: cannot start: {error}\n")
        return 2
    serving = threading.Thread(target=server.serve_forever, args=(0.1,), name="accept", daemon=True)
    serving.start()
    log("started", address=f"{address[0]}:{server.server_address[1]}", version=identity.version, pod=identity.pod)
    signal.sigwait(ENDINGS)
    log("stopping", version=identity.version, pod=identity.pod)
    server.drain(drain)
    log("stopped", version=identity.version, pod=identity.pod)
    return 0


if __name__ == "__main__":
    sys.exit(main())
