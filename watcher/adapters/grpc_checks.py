"""One gRPC health check of a version: a call of grpc.health.v1.Health/Check, as health probes make it.

Why there is no gRPC library: it would be 20 MB of the image for one call with two fields. The call is one stream of
HTTP/2, spoken by h2. Its messages: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
How they travel: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

What always holds: a try never raises for what a server does, ends in its time whatever comes, opens a connection of its
own (so that a Service spreads the tries over its pods), and reads at most MOST_BYTES.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from watcher.adapters import protobuf
from watcher.adapters.bounded_http import Broken, Cancelled, Deadline, Unreachable, connect
from watcher.adapters.errors import AdapterError
from watcher.adapters.repeated import CheckOutcome, Clock, Heard, Pace, Try, repeat, unheard
from watcher.adapters.tcp_checks import shown
from watcher.core.units import flat

if TYPE_CHECKING:
    from h2.connection import H2Connection
    from h2.events import Event

PATH = "/grpc.health.v1.Health/Check"

MOST_BYTES = 64 * 1024
LONGEST_ANSWER = 1024
"""With all its frames a health answer has some hundred bytes, and a dozen without."""

NO_HTTP2 = "what it says is no HTTP/2: is this its gRPC port?"

SERVING = 1
STATES = {0: "UNKNOWN", SERVING: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
"""ServingStatus of grpc.health.v1."""

CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""The gRPC status codes, by number."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server proves who it is: by a certificate for `server_name`, signed by one in `ca_file` (without one, by
    one that the system trusts)."""

    server_name: str
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class GrpcCheck:
    """Whom to ask, and for which of its services: the empty name asks for the server as a whole."""

    host: str
    port: int
    service: str = ""
    tls: Tls | None = None

    @property
    def authority(self) -> str:
        return shown(self.tls.server_name if self.tls else self.host, self.port)


def run_grpc_check(
    check: GrpcCheck, pace: Pace, cancel: threading.Event, clock: Clock | None = None, heard: Heard = unheard
) -> CheckOutcome:
    """Run a check to its end, or until `cancel` is set."""
    of = f" of {check.service}" if check.service else ""
    what = f"gRPC health{of} at {shown(check.host, check.port)}"
    return repeat(what, pace, lambda patience: _try(check, Deadline(patience, cancel)), cancel, clock, heard)


def _try(check: GrpcCheck, deadline: Deadline) -> Try:
    try:
        with connect(check.host, check.port, deadline) as sock, _secured(sock, check.tls, deadline) as secured:
            return _judge(check, _call(secured, check, deadline))
    except Cancelled:
        raise
    except Unreachable as error:
        return Try(f"could not be reached: {error}")
    except AdapterError as error:
        return Try(f"did not answer: {error}")


def _secured(sock: socket.socket, tls: Tls | None, deadline: Deadline) -> socket.socket:
    if tls is None:
        return sock
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except OSError as error:
        raise Broken(
            f"the caFile {tls.ca_file} cannot be used ({error.strerror or 'it holds no certificate'})"
        ) from error
    context.set_alpn_protocols(["h2"])
    sock.settimeout(max(deadline.remaining(), 0.001))
    try:
        secured = context.wrap_socket(sock, server_hostname=tls.server_name)
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"the certificate is not valid for {tls.server_name}: {error.verify_message}") from error
    except OSError as error:
        raise Unreachable("TLS failed: does it speak TLS at this port?") from error
    if secured.selected_alpn_protocol() != "h2":
        secured.close()
        raise Broken("it speaks TLS, and no HTTP/2: is this its gRPC port?")
    return secured


@dataclass(slots=True)
class _Answer:
    """What came back: header fields and trailers together, and the body."""

    fields: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False


def _call(sock: socket.socket, check: GrpcCheck, deadline: Deadline) -> _Answer:
    """One call: the request is sent, and what comes is read until the stream ends."""
    # Here, and not above: it takes a while, and most daemons check nothing by gRPC.
    from h2.config import H2Configuration  # noqa: PLC0415
    from h2.connection import H2Connection  # noqa: PLC0415
    from h2.exceptions import H2Error  # noqa: PLC0415

    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    answer = _Answer()
    try:
        connection.initiate_connection()
        connection.send_headers(1, _headers(check, deadline))
        connection.send_data(1, _request(check.service), end_stream=True)
        _send(sock, connection, deadline)
        received = 0
        while not answer.ended:
            data = _receive(sock, deadline)
            if not received and data.startswith(b"HTTP/"):  # h2 would take it for a long frame, and wait for the rest
                raise Broken(NO_HTTP2)
            received += len(data)
            if not data or received > MOST_BYTES:
                raise Broken("it ended the connection" if not data else "it says more than a health service does")
            for event in connection.receive_data(data):
                _take(connection, event, answer)
            _send(sock, connection, deadline)
    except (H2Error, UnicodeError) as error:
        raise Broken(NO_HTTP2) from error
    except OSError as error:
        raise Broken(f"the connection broke ({error.strerror or type(error).__name__})") from error
    return answer


def _headers(check: GrpcCheck, deadline: Deadline) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "https" if check.tls else "http"),
        (":path", PATH),
        (":authority", check.authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", f"{max(1, int(deadline.remaining() * 1000))}m"),
        ("user-agent", "bluegreen-watcher"),
    ]


def _take(connection: H2Connection, event: Event, answer: _Answer) -> None:
    from h2 import events  # noqa: PLC0415

    match event:
        case events.ResponseReceived() | events.TrailersReceived():
            answer.fields |= {str(name): str(value) for name, value in event.headers}
        case events.DataReceived():
            answer.body += event.data
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        case events.StreamEnded():
            answer.ended = True
        case events.StreamReset():
            # A server may end a stream so once it has said everything; else there is nothing to judge.
            if "grpc-status" not in answer.fields:
                raise Broken(f"it broke the call off (HTTP/2 error {int(event.error_code or 0)})")
            answer.ended = True
        case events.ConnectionTerminated():
            raise Broken(f"it ended the connection (HTTP/2 error {int(event.error_code or 0)})")


def _send(sock: socket.socket, connection: H2Connection, deadline: Deadline) -> None:
    left = memoryview(connection.data_to_send())
    while left:
        sock.settimeout(deadline.patience())
        try:
            left = left[sock.send(left) :]
        except TimeoutError:
            continue


def _receive(sock: socket.socket, deadline: Deadline) -> bytes:
    while True:
        sock.settimeout(deadline.patience())
        try:
            return sock.recv(16384)
        except TimeoutError:
            continue


def _judge(check: GrpcCheck, answer: _Answer) -> Try:
    http, code = answer.fields.get(":status", ""), answer.fields.get("grpc-status", "")
    if http != "200" and not code:
        return Try(f"answered HTTP status {http}, which no gRPC server does: is this its gRPC port?")
    if code != "0":
        return Try(_refusal(check, code, unquote(answer.fields.get("grpc-message", ""))))
    state = _state(bytes(answer.body))
    if state is None:
        return Try("answered with something that is no HealthCheckResponse")
    word = STATES.get(state, f"a status of number {state}")
    return Try("", f"is {word}") if state == SERVING else Try(f"expected SERVING, got {word}")


def _refusal(check: GrpcCheck, code: str, message: str) -> str:
    """Why there is no health to be told, in words."""
    name = CODES[int(code)] if code.isdecimal() and int(code) < len(CODES) else f"status {code or '(none)'}"
    if name == "UNIMPLEMENTED":
        return "it has no health service (UNIMPLEMENTED): it must serve grpc.health.v1.Health"
    if name == "NOT_FOUND":
        return f'its health service knows no service "{check.service}" (NOT_FOUND)'
    said = flat(message[:200])
    return f"answered {name}" + (f": {said}" if said else "")


# -- the two messages: protobuf, and before each a byte for compression and four for its length ------------------------


def _request(service: str) -> bytes:
    """A HealthCheckRequest: field 1 is the service's name."""
    message = protobuf.field(1, service) if service else b""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def _state(body: bytes) -> int | None:
    """Field 1 of a HealthCheckResponse, 0 where it is left out; None for what is no such message."""
    if not 5 <= len(body) <= LONGEST_ANSWER or body[0] or int.from_bytes(body[1:5], "big") != len(body) - 5:
        return None
    state = 0
    numbers = _varints(body[5:])
    for key in numbers:
        value = next(numbers, None)
        if key & 7 or value is None:  # nothing but numbers is known in this message
            return None
        state = value if key >> 3 == 1 else state
    return state


def _varints(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
