"""Where the metrics server is and how to talk to it.

Secrets may arrive in the address, in headers and in a token file. None of them is ever in `shown` or in a repr.
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
    cert_file: Path | None = None
    key_file: Path | None = None
    insecure_skip_verify: bool = False
    timeout: float = 8.0
    connect_timeout: float = 2.0

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

    def auth(self) -> AuthBase | None:
        """What puts credentials on each request."""
        if self.token_file is not None:
            return TokenFile(self.token_file)
        parts = urlsplit(self.url)
        if parts.username is None:
            return None
        return HTTPBasicAuth(unquote(parts.username).encode(), unquote(parts.password or "").encode())

    def secrets(self) -> tuple[str, ...]:
        """Texts that a server may echo and that no message may repeat. Very short ones would garble every message."""
        texts = [word for value in self.headers.values() for word in (value, *value.split())]
        password = urlsplit(self.url).password
        if password:
            texts += [password, unquote(password)]
        if self.token_file is not None:
            with suppress(AdapterError):
                texts.append(TokenFile(self.token_file).read())
        return tuple(text for text in texts if len(text) >= 6)


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
        if not all(0x21 <= byte <= 0x7E for byte in token):
            raise Fatal(f"the token file {self._path} holds something other than one token")
        return token.decode("ascii")
