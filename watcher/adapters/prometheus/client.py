"""One expression asked once: prometheus-api-client's connection on a session that keeps what the library throws away.

The library puts POST parameters into the address, rounds times to seconds, retries in hiding, follows redirects, drops
warnings and raises KeyError for `status: error`. The session below is handed to it and puts all of that right.
What always holds: `ask` ends within its seconds, and returns rows or a `Problem`; it raises nothing for server trouble.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import requests
from prometheus_api_client.prometheus_connect import PrometheusConnect
from urllib3.util.retry import Retry

from watcher.adapters.bounded_http import BoundedSession, Late, Reply, Unreachable
from watcher.adapters.errors import AdapterError, Fatal
from watcher.adapters.prometheus.merging import Span
from watcher.adapters.prometheus.settings import PrometheusSettings
from watcher.adapters.secrets import CUT, REDACTOR
from watcher.core.readings import Failed, Row
from watcher.core.units import flat

MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_TEXT = 300  # characters of a server's text that a sentence repeats

_TRANSIENT_STATUSES = {408, 425, 429}
_TRANSIENT_TYPES = {"timeout", "canceled", "internal", "unavailable", "too_many_requests"}
_OF_THE_SERVER = {401, 407, 429}  # another query would be answered the same
_OF_THE_QUERY = {400, 413, 414, 422}


class Blame(Enum):
    """Whose fault a failure is, and so whether asking the same in smaller parts could help."""

    QUERY = "query"
    SERVER = "server"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Problem:
    failed: Failed
    blame: Blame


@dataclass(frozen=True, slots=True)
class Rows:
    """What one request gave. `warnings` is empty for a full answer."""

    rows: tuple[Row, ...]
    histograms: tuple[Mapping[str, str], ...]
    warnings: tuple[str, ...]


class _Trouble(Exception):
    """Carries a Problem through the library, which lets pass what a session raises."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.failed.reason)
        self.problem = problem


class _Parsed(requests.Response):
    """A response that has been read and understood already."""

    def __init__(self, document: Any) -> None:
        super().__init__()
        self.status_code = 200
        self._document = document

    def json(self, **_: Any) -> Any:
        return self._document


class _Session(BoundedSession):
    def __init__(self, settings: PrometheusSettings) -> None:
        verify = str(settings.ca_file) if settings.ca_file else True
        super().__init__(connect_timeout=settings.connect_timeout, verify=verify)
        self._settings = settings
        self.document: Any = None

    def request(  # type: ignore[override]  # the library calls it by keywords only
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        auth: Any,
        timeout: float,
        **_: Any,
    ) -> requests.Response:
        """Send the parameters in the body (an address has a length limit, and is logged on the way)."""
        self.document = None
        request = requests.Request(method, url, data=dict(params), headers=dict(headers), auth=auth)
        try:
            reply = self.exchange(request, within=timeout, limit=MAX_ANSWER_BYTES, again=True)
        except AdapterError as error:
            raise _Trouble(transport_problem(self._settings.shown, error)) from error
        self.document = _understand(self._settings, reply)
        return _Parsed(self.document)


class Client:
    """A connection that is used by one thread at a time."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._session = _Session(settings)
        self._connect = PrometheusConnect(
            url=settings.shown,
            headers=dict(settings.headers),
            session=self._session,
            retry=Retry(total=0),
            auth=settings.auth(),  # type: ignore[arg-type]  # handed to requests as it is
            method="POST",
        )

    def close(self) -> None:
        self._connect.close()

    def ask(self, expr: str, span: Span, within: float) -> Rows | Problem:
        """Evaluate one expression over a span, in `within` seconds."""
        parameters = span.parameters()
        # The server gives up a little earlier than we do: so a slow query comes back with the server's own words.
        parameters["timeout"] = f"{within - min(0.5, within / 10):.3f}"
        parameters["nocache"] = "1"  # VictoriaMetrics would move the times to multiples of the step
        try:
            result = self._connect.custom_query_range(
                expr,
                span.start,
                span.start,
                parameters["step"],
                params=parameters,
                timeout=within,  # type: ignore[arg-type]
            )
            warnings = self._session.document.get("warnings") or ()
            return _rows(result, tuple(one_line(self._settings, str(warning)) for warning in warnings), span)
        except _Trouble as trouble:
            return trouble.problem
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            what = f"Prometheus at {self._settings.shown} answered with something that its HTTP API does not describe."
            return Problem(Failed(what, transient=False), Blame.UNCLEAR)


def _rows(result: Any, warnings: tuple[str, ...], span: Span) -> Rows:
    keys = span.keys()
    rows, histograms = [], []
    for item in result:
        labels = {str(name): str(value) for name, value in item["metric"].items()}
        if item.get("histograms"):
            histograms.append(labels)
        points = {}
        for at, value in item.get("values", ()):
            if not math.isfinite(at):
                raise ValueError("a time that is none")
            points[keys.get(round(at * 1000), float(at))] = float(value)
        if points:
            rows.append(Row(labels, points))
    return Rows(tuple(rows), tuple(histograms), warnings)


def transport_problem(shown: str, error: AdapterError) -> Problem:
    who = f"Prometheus at {shown}"
    if isinstance(error, Unreachable):
        return Problem(Failed(f"{who} could not be reached: {error}."), Blame.SERVER)
    if isinstance(error, Late):
        return Problem(Failed(f"{who} did not answer in time: {error}."), Blame.UNCLEAR)
    if isinstance(error, Fatal):
        return Problem(Failed(f"{who} cannot be asked: {error}.", transient=False), Blame.SERVER)
    return Problem(Failed(f"{who} did not answer: {error}."), Blame.UNCLEAR)


def _understand(settings: PrometheusSettings, reply: Reply) -> Any:
    """Give the document of a good answer; raise _Trouble with a sentence for every other."""
    who = f"Prometheus at {settings.shown}"
    status = f"{reply.status} {reply.reason}".strip()
    if 300 <= reply.status < 400:
        target = _place(settings, reply.headers.get("Location", ""))
        what = f"{who} answered {status}, a redirect to {target or 'nowhere'}; redirects are not followed."
        raise _Trouble(Problem(Failed(what, transient=False), Blame.SERVER))
    document = None if reply.cut else decoded(reply.body)
    if isinstance(document, dict) and document.get("status") == "error":
        raise _Trouble(_refusal(settings, reply, document))
    if reply.status == 200 and reply.cut:
        what = f"{who} answered with more than {MAX_ANSWER_BYTES // 2**20} MiB: the query gives too many series."
        raise _Trouble(Problem(Failed(what, transient=False), Blame.QUERY))
    if reply.status != 200:
        text = plain_text(settings, reply.body)
        transient = reply.status >= 500 or reply.status in _TRANSIENT_STATUSES
        failed = Failed(f"{who} answered {status}{': ' + text if text else ''}.", transient)
        raise _Trouble(Problem(failed, _blame(reply.status)))
    data = document.get("data") if isinstance(document, dict) and document.get("status") == "success" else None
    if not isinstance(data, dict) or data.get("resultType") != "matrix" or not isinstance(data.get("result"), list):
        kind = reply.headers.get("Content-Type", "no content type").partition(";")[0]
        text = plain_text(settings, reply.body)
        what = f"{who} answered {status} with something other than its HTTP API gives ({kind}): {text or 'nothing'}."
        raise _Trouble(Problem(Failed(what, transient=False), Blame.UNCLEAR))
    return document


def _refusal(settings: PrometheusSettings, reply: Reply, document: Mapping[str, Any]) -> Problem:
    """A `status: error` document. The type counts where there is one: some servers send them with 200."""
    kind = str(document.get("errorType") or "")
    transient = kind in _TRANSIENT_TYPES or reply.status >= 500 or reply.status in _TRANSIENT_STATUSES
    text = one_line(settings, str(document.get("error") or "no reason given"))
    what = f"Prometheus at {settings.shown} answered {reply.status} ({one_line(settings, kind) or 'error'}): {text}."
    of_the_server = reply.status in _OF_THE_SERVER or kind in {"unavailable", "too_many_requests"}
    return Problem(Failed(what, transient), Blame.SERVER if of_the_server else Blame.QUERY)


def _blame(status: int) -> Blame:
    if status in _OF_THE_SERVER:
        return Blame.SERVER
    return Blame.QUERY if status in _OF_THE_QUERY else Blame.UNCLEAR


def decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def plain_text(settings: PrometheusSettings, body: bytes) -> str:
    """The beginning of a page or text as one line, without markup."""
    text = body[:20_000].decode("utf-8", "replace")
    return one_line(settings, re.sub(r"(?is)<(script|style)\b.*?</\1\s*>|<[^>]*>", " ", text))


def one_line(settings: PrometheusSettings, text: str) -> str:
    """One line without secrets and control characters, of bounded length: a server's words inside our sentence."""
    text = REDACTOR.cut(text[:20_000])
    for secret in settings.secrets():  # before anything is cut off: half a secret would not be recognised
        text = text.replace(secret, CUT)
    text = flat(text).rstrip(".")
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _place(settings: PrometheusSettings, location: str) -> str:
    """An address without user, password and query."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "an address that is none"
    place = parts.netloc.rpartition("@")[2]
    return one_line(settings, (f"{parts.scheme}://{place}" if place else "") + parts.path)
