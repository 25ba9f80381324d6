"""Who calls: loopback, which may look, or whoever has a token that the settings let in.

What always holds: a token that is given and not let in is refused, on loopback too; what a proxy says of the client
counts for nothing, except that a request which says it came through one is not loopback's; tokens are read from their
files for each request, so a changed file counts at once, and stand in no message.
"""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from starlette.requests import Request

from watcher.adapters.kubernetes.reviews import Reviews, User
from watcher.adapters.oidc import Issuer, issuer_of
from watcher.adapters.secrets import REDACTOR
from watcher.api.problems import Problem
from watcher.core.access import LOOKER, Api, Oidc, Role, claims_match, grant, same_token

log = structlog.get_logger(__name__)

LARGEST_TOKEN_FILE = 16 * 1024
LONGEST_NAME = 200
VERBS = {
    Role.READER: ("get",),
    Role.RELEASER: ("create", "patch"),
    Role.APPROVER: ("patch",),
    Role.RECEIVER: ("patch",),
}
"""What somebody whom the cluster knows must be allowed to do with Releases to have a role."""
FORWARDED = (
    "forwarded",
    "x-forwarded-",
    "x-original-",
    "x-envoy-",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-",
    "via",
)
"""How the names of headers begin by which proxies say that they are there."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who was let in. `may(role, namespace, application)` can take a while: it may ask the cluster."""

    name: str
    may: Callable[[Role, str, str], bool]


class Callers:
    """Knows callers by what the settings say now."""

    def __init__(self, settings: Callable[[], Api], reviews: Reviews) -> None:
        self._settings, self._reviews = settings, reviews
        self._issuers: dict[tuple[str, str | None], Issuer] = {}
        self._lock = threading.Lock()

    def identify(self, token: str) -> Caller | None:
        """Whoever has this token; None when nobody does. Blocks. Raises AdapterError when it cannot be found out."""
        settings = self._settings()
        for entry in settings.tokens:
            if same_token(token, [text_of(entry.file)]):
                return Caller(entry.name, grant(entry).allows)
        issuer = issuer_of(token)
        if not issuer:
            return None
        theirs = [entry for entry in settings.oidc if entry.issuer == issuer]
        if theirs:
            return self._of_issuer(token, theirs)
        if settings.kubernetes is not None:
            user = self._reviews.user(token, settings.kubernetes.audience)
            return _kubernetes(self._reviews, user) if user else None
        return None

    def _of_issuer(self, token: str, entries: Sequence[Oidc]) -> Caller | None:
        for entry in entries:
            said = self._issuer(entry).claims(token, entry.audience)
            if said is not None and claims_match(entry.claims, said):
                name = "".join(one for one in f"{entry.name}:{said['sub']}" if one.isprintable())
                return Caller(name[:LONGEST_NAME], grant(entry).allows)
        return None

    def _issuer(self, entry: Oidc) -> Issuer:
        with self._lock:
            key = (entry.issuer, entry.ca_file)
            if key not in self._issuers:
                self._issuers[key] = Issuer(*key)
            return self._issuers[key]


def _kubernetes(reviews: Reviews, user: User) -> Caller:
    """Somebody whom the cluster knows: it says what they may, in a namespace as a whole."""

    def may(role: Role, namespace: str, _: str) -> bool:
        return all(reviews.may(user, verb, namespace) for verb in VERBS[role])

    return Caller(user.name[:LONGEST_NAME], may)


LOOPBACK = Caller("loopback", LOOKER.allows)


def token_of(request: Request) -> str | None:
    """The bearer token of a request; None without an Authorization. Raises a Problem for one that cannot be meant."""
    given = request.headers.getlist("authorization")
    if not given:
        return None
    scheme, _, token = given[0].partition(" ")
    token = token.strip()
    if len(given) > 1 or scheme.lower() != "bearer" or not token or not token.isascii() or len(token) > 8192:
        raise unauthorised("Send one header Authorization: Bearer TOKEN.")
    return token


def unauthorised(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="bluegreen-watcher"'})


def is_loopback(request: Request) -> bool:
    """Whether the request comes from this machine, itself and on its own behalf: not through a proxy that says so, not
    from a page of another site, and not from one whose name leads here.
    """
    if any(name.startswith(FORWARDED) for name in request.headers) or _of_another_site(request):
        return False
    hosts = request.headers.getlist("host")
    return _local(request.client.host if request.client else "") and all(_local(_name(host)) for host in hosts)


def _of_another_site(request: Request) -> bool:
    """Whether a browser asks for a page of another site. That somebody followed a link from there is another thing."""
    origins = request.headers.getlist("origin")
    if any(not _local(_name(origin.partition("://")[2])) for origin in origins):
        return True
    site = request.headers.get("sec-fetch-site", "none")
    return site not in ("none", "same-origin") and request.headers.get("sec-fetch-mode") != "navigate"


_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@/]+))(?::[0-9]{0,5})?")


def _name(authority: str) -> str:
    """The host of `host:port`; empty for what is none."""
    found = _AUTHORITY.fullmatch(authority)
    return (found[1] or found[2]) if found else ""


def _local(name: str) -> bool:
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def text_of(file: str) -> str:
    """What a file with tokens or secrets holds now; nothing where it cannot be read, which the log says."""
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(LARGEST_TOKEN_FILE).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no ASCII text"
        log.warning("a token file cannot be read; its caller is refused", file=file, error=why)
        return ""
    REDACTOR.learn(text.split())
    return text
