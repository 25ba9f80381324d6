"""Where the metrics server is and how to talk to it.

Secrets may arrive in the address, in headers and in a token file, the first two as references that are filled in for
each request. None of them is ever in `shown` or in a repr.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth

from watcher.adapters.errors import AdapterError, Fatal, Transient
from watcher.adapters.secrets import REDACTOR, no_secret
from watcher.core.secrets import Value, in_header, refers
from watcher.core.settings import Prometheus


@dataclass(frozen=True, slots=True, repr=False)
class PrometheusSettings:
    """`timeout`: seconds for one whole request; `connect_timeout`: seconds of those for the connection.

    The address may have a path prefix, and a user and password, which then are sent as basic authentication. The token
    file is read on every request, so a token that is rotated under us is used at once; it wins over the other two.
    Raises ValueError for an address that cannot be used.
    """

    url: str = "http://127.0.0.1:9090"
    headers: Mapping[str, str] = field(default_factory=dict)
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout: float = 8.0
    connect_timeout: float = 2.0
    value: Value = no_secret
    """Gives the secrets that the address and the headers refer to."""

    @classmethod
    def of(cls, found: Prometheus, value: Value) -> PrometheusSettings:
        """As the daemon's settings have them."""
        return cls(
            url=found.url,
            headers=found.headers,
            token_file=Path(found.token_file) if found.token_file else None,
            ca_file=Path(found.ca_file) if found.ca_file else None,
            timeout=found.timeout.total_seconds(),
            value=value,
        )

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
            parts = urlsplit("")
        if not usable:
            raise ValueError("the address of Prometheus must look like http://host:port or https://host/prefix")
        if parts.query or parts.fragment:
            raise ValueError("the address of Prometheus must not have a query (?) or fragment (#)")
        if not (self.timeout > 0 and self.connect_timeout > 0):
            raise ValueError("time-outs must be above zero")

    def __repr__(self) -> str:
        named = ", ".join(sorted(self.headers))
        return f"PrometheusSettings({self.shown!r}, headers named [{named}], timeout={self.timeout:g})"

    @property
    def shown(self) -> str:
        """The address without user and password: to send requests to, and to show to people."""
        parts = urlsplit(self.url)
        place = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))

    def auth(self) -> AuthBase:
        """What puts credentials on each request."""
        return _Credentials(self)

    def secrets(self) -> tuple[str, ...]:
        """Texts that a server may echo and that no message may repeat, and that are in no file of secrets. Very short
        ones would garble every message."""
        texts = [word for value in self.headers.values() if not refers(value) for word in (value, *value.split())]
        if self.token_file is not None:
            with suppress(AdapterError):
                texts.append(TokenFile(self.token_file).read())
        return tuple(text for text in texts if len(text) >= 6)


class _Credentials(AuthBase):
    """Fills in what a request refers to, and proves who asks: by the token, else by user and password."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        settings = self._settings
        for name, text in settings.headers.items():
            if refers(text):
                request.headers[name] = in_header(text, settings.value)
        if settings.token_file is not None:
            return TokenFile(settings.token_file)(request)
        parts = urlsplit(settings.url)
        if parts.username is None:
            return request
        user, password = (_part(text or "", settings.value) for text in (parts.username, parts.password))
        REDACTOR.learn((password,))
        basic: PreparedRequest = HTTPBasicAuth(user.encode(), password.encode())(request)
        return basic


def _part(text: str, value: Value) -> str:
    """User or password of an address: a secret as it is, a literal with its %-escapes undone."""
    return in_header(text, value) if refers(text) else unquote(text)


class TokenFile(AuthBase):
    """A bearer token that is read again for every request. Raises Transient or Fatal, never with the token in it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.read()}"
        return request

    def read(self) -> str:
        try:
            token = self._path.read_bytes()[:65536].strip()
        except OSError as error:
            raise Transient(f"the token file {self._path} cannot be read ({error.strerror})") from error
        if not token:
            raise Transient(f"the token file {self._path} is empty")
        REDACTOR.learn((token.decode("ascii", "replace"),))
        if not all(0x21 <= byte <= 0x7E for byte in token):
            raise Fatal(f"the token file {self._path} holds something other than one token")
        return token.decode("ascii")
