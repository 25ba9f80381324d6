"""One HTTP check of a version: ask an address until it answers as expected, and see that it goes on doing so.

What always holds: `run_http_check` never raises for what a server does, ends within `within + for_ + timeout` seconds,
opens a new connection for each try (so that a Service spreads the tries over its pods), fills in secrets only for that
try, and puts none of them into words.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
from requests.auth import HTTPBasicAuth

from watcher.adapters.bounded_http import BoundedSession, Cancelled, Reply, Unreachable
from watcher.adapters.errors import AdapterError
from watcher.adapters.repeated import CheckOutcome, Clock, Heard, Pace, SystemClock, Try, repeat, unheard
from watcher.adapters.secrets import CUT, REDACTOR, no_secret
from watcher.core.secrets import Value, in_body, in_header, in_url
from watcher.core.units import flat

MAX_BODY_BYTES = 1024 * 1024  # read and searched; what comes after is not looked at
MAX_SEARCHED = 64 * 1024  # characters in which secrets are looked for, before all but the beginning is cut off
MAX_OUTPUT = 500  # characters of the last body that an outcome keeps


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """What to ask and what to expect. All lengths in seconds.

    The first success must come within `within`; from then on every try, one each `every` for the length `for_`, must
    succeed. `timeout` is for one try. `expect_status` None means 200 to 299; `expect_json` maps
    dotted paths (`checks.0.state`) to values that must be equal, in type too.
    """

    url: str = field(repr=False)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: str | bytes | None = field(default=None, repr=False)
    expect_status: tuple[int, ...] | None = None
    expect_text: str | None = None
    expect_json: Mapping[str, Any] = field(default_factory=dict)
    max_latency: float | None = None
    timeout: float = 5.0
    every: float = 2.0
    for_: float = 0.0
    within: float = 10.0

    @property
    def shown(self) -> str:
        """The address for people: without user, password, query and fragment."""
        return _shown(self.url)


def run_http_check(
    check: HttpCheck,
    cancel: threading.Event,
    clock: Clock | None = None,
    heard: Heard = unheard,
    value: Value = no_secret,
) -> CheckOutcome:
    """Run a check to its end, or until `cancel` is set. `value` gives the secrets that it refers to."""
    chosen = clock or SystemClock()
    pace = Pace(check.every, check.for_, check.within, check.timeout)

    def attempt(patience: float) -> Try:
        try:
            whole = _filled(check, value)
        except AdapterError as error:
            return Try(f"could not be sent: {error}")
        return _try(whole, patience, cancel, chosen)

    return repeat(f"{check.method} {check.shown}", pace, attempt, cancel, chosen, heard)


def _filled(check: HttpCheck, value: Value) -> HttpCheck:
    """The check with each secret that it refers to, as it is now."""
    body = check.body
    return replace(
        check,
        url=in_url(check.url, value),
        headers={name: in_header(text, value) for name, text in check.headers.items()},
        body=in_body(body, check.headers, value) if isinstance(body, str) else body,
    )


def _try(check: HttpCheck, patience: float, cancel: threading.Event, clock: Clock) -> Try:
    began = clock.monotonic()
    session = BoundedSession()
    try:
        reply = _ask(session, check, patience, cancel)
    except Cancelled:
        raise
    except ValueError:
        return Try("the address is malformed")
    except AdapterError as error:
        could = "could not be reached" if isinstance(error, Unreachable) else "did not answer"
        return Try(f"{could}: {error}")
    finally:
        session.close()
    return _judge(check, reply, clock.monotonic() - began)


def _ask(session: BoundedSession, check: HttpCheck, patience: float, cancel: threading.Event) -> Reply:
    """One request. A redirect is an answer like any other: who checks an address wants to know what it says."""
    request = requests.Request(
        check.method, _bare(check.url), headers=dict(check.headers), data=_bytes(check.body), auth=_auth(check.url)
    )
    return session.exchange(request, within=max(0.001, patience), limit=MAX_BODY_BYTES, cancel=cancel)


def _judge(check: HttpCheck, reply: Reply, took: float) -> Try:
    text = reply.body.decode("utf-8", "replace")
    output = _without_secrets(check, text)[:MAX_OUTPUT]
    got = _without_secrets(check, f"{reply.status} {reply.reason}".strip())
    problem = _status(check, reply, got) or _latency(check, took) or _body(check, text, reply)
    return Try(problem, f"answered {got} as expected", output)


def _status(check: HttpCheck, reply: Reply, got: str) -> str:
    if check.expect_status is None:
        expected, good = "200-299", 200 <= reply.status < 300
    else:
        expected, good = " or ".join(map(str, check.expect_status)), reply.status in check.expect_status
    return "" if good else f"expected status {expected}, got {got}"


def _latency(check: HttpCheck, took: float) -> str:
    if check.max_latency is None or took <= check.max_latency:
        return ""
    return f"expected an answer within {check.max_latency * 1000:.0f} ms, it took {took * 1000:.0f} ms"


def _body(check: HttpCheck, text: str, reply: Reply) -> str:
    where = f" in the first {MAX_BODY_BYTES // 1024} KiB" if reply.cut else ""
    if check.expect_text is not None and check.expect_text not in text:
        return f"expected the text {check.expect_text!r}{where}, got {_brief(_without_secrets(check, text))}"
    if not check.expect_json:
        return ""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return f"expected JSON{where}, got {_brief(_without_secrets(check, text))}"
    for path, expected in check.expect_json.items():
        got = _at(document, path)
        if not _equal(got, expected):
            shown = "nothing" if got is _MISSING else _brief(_without_secrets(check, json.dumps(got)))
            return f"expected {path} to be {json.dumps(expected)}, got {shown}"
    return ""


_MISSING = object()


def _at(document: Any, path: str) -> Any:
    """Follow a dotted path through objects and, by number, lists."""
    for step in path.split("."):
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return _MISSING
    return document


def _equal(got: Any, expected: Any) -> bool:
    """Equal as JSON: Python alone would take true for 1."""
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if isinstance(got, list) and isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(map(_equal, got, expected))
    if isinstance(got, dict) and isinstance(expected, Mapping):
        return got.keys() == expected.keys() and all(_equal(got[key], expected[key]) for key in got)
    return bool(got == expected)


def _brief(text: str) -> str:
    line = flat(text[:1000])
    if not line:
        return "nothing"
    return repr(line if len(line) <= 120 else line[:119] + "…")


def _bytes(body: str | bytes | None) -> bytes | None:
    return body.encode() if isinstance(body, str) else body


def _bare(url: str) -> str:
    """The address without user and password: those go into a header."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _shown(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is none"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _auth(url: str) -> HTTPBasicAuth | None:
    parts = urlsplit(url)
    if parts.username is None:
        return None
    return HTTPBasicAuth(unquote(parts.username).encode(), unquote(parts.password or "").encode())


def _without_secrets(check: HttpCheck, text: str) -> str:
    """The beginning of a text: a server may echo what it was sent."""
    text = REDACTOR.cut(text[:MAX_SEARCHED])
    secrets = [word for value in check.headers.values() for word in (value, *value.split())]
    password = urlsplit(check.url).password
    secrets += [password, unquote(password)] if password else []
    for secret in secrets:
        if len(secret) >= 6:
            text = text.replace(secret, CUT)
    return text
