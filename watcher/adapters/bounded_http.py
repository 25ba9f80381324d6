"""One HTTP exchange that ends when it must: the session below is what this project speaks HTTP through.

Why not plain requests: its time-outs are per address and per socket read, so a server that sends one byte a second is
read for ever; name look-ups have no time-out at all; bodies are read whole whatever their size; `.netrc` and proxies
of the environment apply unasked. What always holds here:

- `exchange` returns or raises within its number of seconds, counted over name look-up, connect, TLS, headers and body;
- it never reads more than `limit` bytes of a body, follows no redirect, keeps no cookie;
- it never asks twice, unless told that it may: then once more if a kept connection ended before a byte of the answer;
- a proxy from the environment is used as `NO_PROXY` says, and never for this very machine;
- what it raises says in words what happened and holds neither URL nor header.
"""

from __future__ import annotations

import errno
import io
import ipaddress
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from watcher.adapters.errors import AdapterError, Fatal, Transient

CANCEL_SLICE = 0.05  # seconds between two looks at the cancel event while waiting for bytes


class Unreachable(Transient):
    """No connection came about: nobody listens, no such name, TLS failed, or all too slowly."""


class Late(Transient):
    """Connected, but the answer was not complete in time."""


class Broken(Transient):
    """The connection ended, or what came over it was not HTTP."""


class Unusable(Fatal):
    """The request could not even be made from what was configured."""


class Cancelled(AdapterError):
    """The caller's cancel event was set."""


class Deadline:
    """The instant (monotonic) at which an exchange must have ended, and an event that ends it sooner."""

    __slots__ = ("_at", "_cancel", "seconds", "untouched")

    def __init__(self, seconds: float, cancel: threading.Event | None = None) -> None:
        self.seconds = seconds
        self.untouched = True
        """Whether neither a connection was opened nor a byte read."""
        self._at = time.monotonic() + seconds
        self._cancel = cancel

    def patience(self) -> float:
        """How long to block now before asking again; raises Late or Cancelled when the time is over."""
        left = self._at - time.monotonic()
        if self._cancel is not None:
            if self._cancel.is_set():
                raise Cancelled("cancelled")
            left = min(left, CANCEL_SLICE)
        if self._at <= time.monotonic():
            raise Late(f"no complete answer within {self.seconds:.3g} s")
        return max(left, 0.001)

    def remaining(self) -> float:
        return self._at - time.monotonic()


# An exchange runs in the thread that asked for it: so its deadline reaches the socket without help from the libraries.
_DEADLINE: ContextVar[Deadline] = ContextVar("deadline")


@contextmanager
def until(deadline: Deadline) -> Iterator[None]:
    """Every read, write and connect of the bounded pools in this thread ends at the deadline."""
    token = _DEADLINE.set(deadline)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


class _DeadlineReader(io.RawIOBase):
    """Reads a socket under the current deadline. Holds the library's own reader only so that the socket stays open."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._sock = sock
        self._keeper = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            self._sock.settimeout(_DEADLINE.get().patience())
            try:
                count = self._sock.recv_into(buffer)
            except TimeoutError:
                continue
            if count:
                _DEADLINE.get().untouched = False
            return count

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._keeper.close()


class _DeadlineSocket:
    """A connected socket (plain or TLS) whose reads and writes end at the current deadline."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._sock))

    def sendall(self, data: bytes) -> None:
        left = memoryview(data).cast("B")
        while left:
            self._sock.settimeout(_DEADLINE.get().patience())
            try:
                left = left[self._sock.send(left) :]
            except TimeoutError:
                continue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _addresses(host: str, port: int, deadline: Deadline) -> list[tuple[Any, ...]]:
    """Look a name up without waiting past the deadline: the system's resolver knows none, so it gets a thread."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    else:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    found: list[tuple[Any, ...]] = []
    trouble: list[Exception] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            trouble.append(error)
        done.set()

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    try:
        while not done.wait(deadline.patience()):
            pass
    except Late:
        raise Unreachable("looking up its name took too long") from None
    if trouble:
        raise Unreachable(f"its name could not be looked up ({_words(trouble[0])})") from trouble[0]
    return found


def connect(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A plain connection to an address or name. Raises Unreachable, Late or Cancelled, in words for people."""
    with until(deadline):
        return _connect(host, port, deadline.remaining(), None)


def _connect(host: str, port: int, within: float, options: Any) -> socket.socket:
    """Try each address of a name in turn, all of them together within the connect time-out and the deadline."""
    whole = _DEADLINE.get()
    whole.untouched = False
    give_up = time.monotonic() + within
    problem = "its name has no address"
    for family, kind, protocol, _, address in _addresses(host, port, whole):
        sock = socket.socket(family, kind, protocol)
        try:
            for option in options or ():
                sock.setsockopt(*option)
            problem = _connect_one(sock, address, whole, give_up)
        except BaseException:
            sock.close()
            raise
        if not problem:
            sock.settimeout(max(whole.remaining(), 0.001))  # for the TLS handshake, which counts it as a whole
            return sock
        sock.close()
        if time.monotonic() >= give_up:
            break
    raise Unreachable(problem)


def _connect_one(sock: socket.socket, address: Any, whole: Deadline, give_up: float) -> str:
    """Connect, and say what went wrong ("" for nothing)."""
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code in (errno.EINPROGRESS, errno.EWOULDBLOCK):
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        while True:
            left = give_up - time.monotonic()
            try:
                patience = min(left, whole.patience())
            except Late:
                left = patience = 0
            if left <= 0:
                return "nobody answered the connection in time"
            if poll.poll(patience * 1000):
                break
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        return _words(OSError(code, errno.errorcode.get(code, str(code))))
    return ""


def _words(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError) or getattr(error, "errno", None) == errno.ECONNREFUSED:
        return "connection refused"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.rstrip(".").lower() if error.strerror.isupper() else error.strerror.rstrip(".")
    return type(error).__name__


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _open(self)

    def connect(self) -> None:
        super().connect()
        self.sock = cast("socket.socket", _DeadlineSocket(self.sock))


class _TlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _open(self)

    def connect(self) -> None:
        super().connect()
        self.sock = cast("ssl.SSLSocket", _DeadlineSocket(self.sock))


def _open(connection: HTTPConnection) -> socket.socket:
    within = connection.timeout if isinstance(connection.timeout, int | float) else _DEADLINE.get().remaining()
    host = connection.host.strip("[]")
    try:
        return _connect(host, connection.port, within, connection.socket_options)
    except Unreachable as error:
        if connection.proxy is None:
            raise
        raise Unreachable(f"the proxy {host}:{connection.port} did not let us through ({error})") from error


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection

    def _validate_conn(self, conn: Any) -> None:
        # Connects, without the library's warning on every request: who skips verification has asked for it by name.
        if conn.is_closed:
            conn.connect()


class _Transport(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        use_bounded_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            use_bounded_pools(manager)
        return manager


def use_bounded_pools(manager: Any) -> None:
    """Give a urllib3 pool manager pools that end at the current deadline (see `until`)."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `cut` says that the body was longer than the limit and is not complete."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    cut: bool


class BoundedSession(requests.Session):
    """A requests session with one more verb, `exchange`. To be used by one thread at a time."""

    def __init__(self, *, connect_timeout: float = 2.0, verify: bool | str = True) -> None:
        super().__init__()
        self._connect_timeout = connect_timeout
        self._transport = _Transport()
        self.trust_env = False  # no .netrc, no certificates from the environment; proxies are looked up in `exchange`
        self.verify = verify
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def get_adapter(self, url: str | bytes) -> HTTPAdapter:
        """Give this session's own transport, whatever a client library has mounted over it."""
        if not str(url).lower().startswith(("http://", "https://")):
            raise Unusable("the address is neither http nor https")
        return self._transport

    def close(self) -> None:
        super().close()
        self._transport.close()

    def exchange(
        self,
        request: requests.Request,
        *,
        within: float,
        limit: int,
        cancel: threading.Event | None = None,
        again: bool = False,
    ) -> Reply:
        """Send one request and read its answer, all `within` seconds; raises only the errors of this module. `again`:
        it changes nothing, and may be sent a second time if a kept connection proves to have ended meanwhile.
        """
        deadline = Deadline(within, cancel)
        try:
            return self._exchange(request, deadline, limit)
        except Broken:
            if not (again and deadline.untouched):
                raise
        return self._exchange(request, deadline, limit)

    def _exchange(self, request: requests.Request, deadline: Deadline, limit: int) -> Reply:
        with until(deadline), _in_words():
            prepared = self.prepare_request(request)
            response = self.send(
                prepared,
                stream=True,
                allow_redirects=False,
                proxies=proxies_for(prepared.url or ""),
                timeout=(self._connect_timeout, max(deadline.remaining(), 0.001)),
                verify=self.verify,
            )
            try:
                body, cut = _read(response, limit)
            finally:
                response.close()
            return Reply(response.status_code, response.reason or "", response.headers, body, cut)


def _read(response: requests.Response, limit: int) -> tuple[bytes, bool]:
    body = bytearray()
    for chunk in response.raw.stream(65536, decode_content=True):
        body += chunk
        if len(body) > limit:
            return bytes(body[:limit]), True
    return bytes(body), False


def proxies_for(url: str) -> dict[str, str]:
    """The environment's proxies for an address; none for this machine, where no proxy could reach what is meant."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return {}
    try:
        if ipaddress.ip_address(host).is_loopback:
            return {}
    except ValueError:
        pass
    return get_environ_proxies(url, no_proxy=None)


@contextmanager
def _in_words() -> Iterator[None]:
    """Turn everything the libraries raise into this module's errors. Their texts may quote headers: never repeated."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise Unreachable(f"TLS failed ({_words(_root(error))})") from error
    except requests.exceptions.ProxyError as error:
        raise Unreachable(f"the proxy did not let us through ({_words(_root(error))})") from error
    except requests.exceptions.Timeout as error:
        raise Late("no complete answer in time") from error
    except (
        requests.exceptions.ConnectionError,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        urllib3.exceptions.HTTPError,
    ) as error:
        raise Broken(f"the connection broke ({_words(_root(error))})") from error
    except (requests.exceptions.RequestException, ValueError):
        raise Unusable("the request cannot be sent: a header, the address or a proxy's address is malformed") from None
    except OSError as error:
        raise Unusable(f"a TLS file cannot be used ({_words(error)})") from error


def _root(error: BaseException) -> BaseException:
    """The innermost cause: what the operating system or TLS said, under the libraries' wrappings."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = error.__cause__ or error.__context__ or getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        if inner is None or isinstance(inner, AdapterError):
            return error
        error = inner
    return error
