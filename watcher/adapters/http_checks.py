"""One HTTP check of a version: ask an address until it answers as expected, and see that it goes on doing so.

What always holds: `run_http_check` never raises for what a server does, ends within `within + for_ + timeout` seconds,
opens a new connection for each try (so that a Service spreads the tries over its pods), and puts no secret into words.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import requests
from requests.auth import HTTPBasicAuth

from watcher.adapters.bounded_http import BoundedSession, Cancelled, Reply, Unreachable
from watcher.adapters.errors import AdapterError

MAX_BODY_BYTES = 1024 * 1024  # read and searched; what comes after is not looked at
MAX_OUTPUT = 500  # characters of the last body that an outcome keeps
MAX_REDIRECTS = 5
_LATENESS = 0.001  # seconds by which a wait may end early


class Clock(Protocol):
    """Time as a check needs it: aware UTC, a monotonic count of seconds, and a wait that an event ends."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait; True when the event was set."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """What to ask and what to expect. All lengths in seconds.

    The first success must come within `within`; from then on every try, one each `every` for the length `for_`, must
    succeed. `timeout` is for one try, redirects included. `expect_status` None means 200 to 299; `expect_json` maps
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
    follow_redirects: bool = False
    connect_timeout: float = 2.0
    ca_file: Path | None = None
    insecure_skip_verify: bool = False

    @property
    def shown(self) -> str:
        """The address for people: without user, password, query and fragment."""
        return _shown(self.url)


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """How a check went. A cancelled check is neither good nor bad: `ok` is False and `cancelled` True."""

    ok: bool
    message: str
    last_output: str
    tries: int
    started: datetime
    finished: datetime
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class _Try:
    problem: str  # "" for a success
    got: str
    output: str


def run_http_check(check: HttpCheck, cancel: threading.Event, clock: Clock | None = None) -> CheckOutcome:
    """Run a check to its end, or until `cancel` is set."""
    return _Run(check, cancel, clock or SystemClock()).outcome()


class _Run:
    def __init__(self, check: HttpCheck, cancel: threading.Event, clock: Clock) -> None:
        self._check = check
        self._cancel = cancel
        self._clock = clock
        self._started = clock.now()
        self._begun = clock.monotonic()
        self._tries = 0
        self._last = _Try("", "", "")

    def outcome(self) -> CheckOutcome:
        try:
            good_since = self._first_success()
            if good_since is None:
                return self._told(ok=False, message=f"{self._what()}: {self._last.problem} ({self._effort()}).")
            broke_after = self._hold(good_since)
        except Cancelled:
            return self._told(ok=False, message=f"{self._what()} was cancelled ({self._effort()}).", cancelled=True)
        if broke_after is None:
            return self._told(
                ok=True, message=f"{self._what()} answered {self._last.got} as expected ({self._effort()})."
            )
        held = f"held for {broke_after:.3g} s of {self._check.for_:g} s, then: {self._last.problem}"
        return self._told(ok=False, message=f"{self._what()} {held} ({self._effort()}).")

    def _first_success(self) -> float | None:
        """When the first success came (monotonic), or None when it did not come in time."""
        give_up = self._begun + self._check.within
        while True:
            began = self._clock.monotonic()
            # Without any grace there is still one try, and it has the time of one.
            grace = give_up - began if self._check.within > 0 else self._check.timeout
            if self._try(min(self._check.timeout, grace)):
                return began
            next_one = max(began + self._check.every, self._clock.monotonic())
            if next_one >= give_up - _LATENESS:
                return None
            self._wait_until(next_one)

    def _hold(self, good_since: float) -> float | None:
        """Try on for the length asked for; None when all went well, else for how long it did."""
        end = good_since + self._check.for_
        last = good_since
        while last < end - _LATENESS:
            self._wait_until(min(last + self._check.every, end))
            last = self._clock.monotonic()
            if not self._try(self._check.timeout):
                return last - good_since
        return None

    def _wait_until(self, moment: float) -> None:
        if self._clock.wait(self._cancel, max(0.0, moment - self._clock.monotonic())):
            raise Cancelled("cancelled")

    def _try(self, patience: float) -> bool:
        if self._cancel.is_set():
            raise Cancelled("cancelled")
        self._tries += 1
        began = self._clock.monotonic()
        verify: bool | str = not self._check.insecure_skip_verify
        if verify and self._check.ca_file is not None:
            verify = str(self._check.ca_file)
        session = BoundedSession(connect_timeout=self._check.connect_timeout, verify=verify)
        try:
            reply = _ask(session, self._check, patience, self._cancel)
        except Cancelled:
            raise
        except ValueError:
            self._last = _Try("the address, or one that it leads to, is malformed", "", "")
            return False
        except AdapterError as error:
            could = "could not be reached" if isinstance(error, Unreachable) else "did not answer"
            self._last = _Try(f"{could}: {error}", "", "")
            return False
        finally:
            session.close()
        took = self._clock.monotonic() - began
        self._last = _judge(self._check, reply, took)
        return not self._last.problem

    def _told(self, *, ok: bool, message: str, cancelled: bool = False) -> CheckOutcome:
        now = self._clock.now()
        return CheckOutcome(ok, message, self._last.output, self._tries, self._started, now, cancelled)

    def _what(self) -> str:
        return f"{self._check.method} {self._check.shown}"

    def _effort(self) -> str:
        seconds = self._clock.monotonic() - self._begun
        return f"{self._tries} {'try' if self._tries == 1 else 'tries'} in {seconds:.3g} s"


def _ask(session: BoundedSession, check: HttpCheck, patience: float, cancel: threading.Event) -> Reply:
    """One try: one request, and those that redirects lead to when they are to be followed."""
    give_up = time.monotonic() + patience
    method, url, body = check.method, _bare(check.url), check.body
    headers, auth = dict(check.headers), _auth(check.url)
    for _ in range(MAX_REDIRECTS + 1):
        request = requests.Request(method, url, headers=headers, data=_bytes(body), auth=auth)
        left = max(0.001, give_up - time.monotonic())
        reply = session.exchange(request, within=left, limit=MAX_BODY_BYTES, cancel=cancel)
        target = reply.headers.get("Location")
        if not check.follow_redirects or reply.status not in {301, 302, 303, 307, 308} or not target:
            return reply
        there = urljoin(url, target)
        if urlsplit(there)[:2] != urlsplit(url)[:2]:
            headers, auth = {}, None  # what was meant for one server is not told to another
        if reply.status == 303 or (reply.status in {301, 302} and method == "POST"):
            method, body = "GET", None
        url = _bare(there)
    return reply


def _judge(check: HttpCheck, reply: Reply, took: float) -> _Try:
    text = reply.body.decode("utf-8", "replace")
    output = _without_secrets(check, text)[:MAX_OUTPUT]
    got = f"{reply.status} {reply.reason}".strip()
    return _Try(_status(check, reply, got) or _latency(check, took) or _body(check, text, reply), got, output)


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
    line = " ".join("".join(char if char.isprintable() else " " for char in text[:1000]).split())
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
    """A server may echo what it was sent."""
    secrets = [word for value in check.headers.values() for word in (value, *value.split())]
    password = urlsplit(check.url).password
    secrets += [password, unquote(password)] if password else []
    for secret in secrets:
        if len(secret) >= 6:
            text = text.replace(secret, "[redacted]")
    return text
