"""A look at a server before any rule moves traffic: which metrics there are, and what a query costs.

For `watcher rules lint`, and not for the daemon: each request is made once, in one thread. What always holds: all of a
look together ends within its seconds; what the server says of a query is an answer, and only a server that cannot be
asked raises.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import requests

from watcher.adapters.bounded_http import BoundedSession, Reply
from watcher.adapters.errors import AdapterError, Transient
from watcher.adapters.prometheus.client import decoded, one_line, plain_text, transport_problem
from watcher.adapters.prometheus.settings import PrometheusSettings
from watcher.core.lint.live import Measured, Metric
from watcher.core.units import Invalid, parse_duration

MAX_ANSWER_BYTES = 64 * 1024 * 1024
AT_ONCE = 50
"""Names of metrics in one query."""
MOST_NAMES = 20_000
RECENT = 300.0
"""Seconds back to which labels are looked for: as far as a query looks."""
_REFUSALS = frozenset({400, 413, 414, 422})
"""Statuses that speak of the query and not of the server."""


class Looker:
    """Asks one server, all of it within `within` seconds. Raises AdapterError when it cannot be asked."""

    def __init__(self, settings: PrometheusSettings, within: float) -> None:
        self._settings = settings
        self._session = BoundedSession(connect_timeout=settings.connect_timeout)
        self._give_up = time.monotonic() + within
        self._within = within

    def close(self) -> None:
        self._session.close()

    def metrics(self, names: Sequence[str]) -> dict[str, Metric]:
        """What is known of the metrics that have series now; what has none is left out. Names are plain ones, of
        letters, digits, _ and colons."""
        jobs: dict[str, set[str]] = {}
        series: dict[str, int] = {}
        for first in range(0, len(names), AT_ONCE):
            some = "|".join(names[first : first + AT_ONCE])
            for row in self._vector(f'count by (__name__, job) ({{__name__=~"{some}"}})'):
                name = row["metric"].get("__name__", "")
                jobs.setdefault(name, set()).add(row["metric"].get("job", ""))
                series[name] = series.get(name, 0) + int(float(row["value"][1]))
        intervals = self._scrape_intervals() if jobs else {}
        types = self._types() if jobs else {}
        return {
            name: Metric(
                labels=self._labels(name),
                type=types.get(name) or types.get(re.sub(r"_(bucket|count|sum|total)$", "", name), ""),
                scrape=max((intervals[job] for job in found if job in intervals), default=None),
                top=self._top_bucket(name) if name.endswith("_bucket") else None,
                series=series[name],
            )
            for name, found in jobs.items()
        }

    def names(self) -> list[str]:
        """Names of metrics that there are, to suggest: none where there are too many to compare with."""
        with suppress(_Refused):
            found = self._ask("GET", "label/__name__/values", {})
            if isinstance(found, list) and len(found) <= MOST_NAMES:
                return [str(name) for name in found]
        return []

    def measure(self, expr: str) -> Measured | str:
        """What one query gives now and what it costs, or why the server does not take it."""
        began = time.monotonic()
        try:
            data = self._ask("POST", "query", {"query": expr, "stats": "all"})
        except _Refused as error:
            return str(error)
        seconds = time.monotonic() - began
        result = data.get("result") if isinstance(data, dict) else None
        several = len(result) if isinstance(result, list) and data.get("resultType") == "vector" else 1
        samples = None
        with suppress(KeyError, TypeError, ValueError):
            samples = int(data["stats"]["samples"]["totalQueryableSamples"])
        return Measured(several, seconds, samples)

    def _vector(self, expr: str) -> Iterable[Mapping[str, Any]]:
        try:
            data = self._ask("POST", "query", {"query": expr})
        except _Refused as error:
            raise Transient(f"{self._who} refused {expr}: {error}") from error
        found = data.get("result") if isinstance(data, dict) else None
        if not isinstance(found, list) or not all(map(_is_row, found)):
            raise self._strange()
        return found

    def _labels(self, name: str) -> frozenset[str]:
        now = time.time()
        times = {"start": f"{now - RECENT:.3f}", "end": f"{now:.3f}"}
        found = self._ask("POST", "labels", {"match[]": f'{{__name__="{name}"}}', **times})
        return frozenset(map(str, found)) if isinstance(found, list) else frozenset()

    def _top_bucket(self, name: str) -> float | None:
        """The last bound of a classic histogram but +Inf."""
        bounds = []
        for row in self._vector(f'count by (le) ({{__name__="{name}"}})'):
            with suppress(ValueError):
                bounds.append(float(row["metric"].get("le", "")))
        return max((bound for bound in bounds if bound != float("inf")), default=None)

    def _types(self) -> dict[str, str]:
        """The metrics' types by name. Not every server that speaks the API has them."""
        with suppress(_Refused):
            found = self._ask("GET", "metadata", {})
            with suppress(AttributeError, LookupError, TypeError):
                return {name: str(rows[0].get("type", "")) for name, rows in found.items()}
        return {}

    def _scrape_intervals(self) -> dict[str, timedelta]:
        """The longest time between two scrapes, by job. Not every server that speaks the API scrapes."""
        longest: dict[str, timedelta] = {}
        with suppress(_Refused):
            found = self._ask("GET", "targets", {"state": "active"})
            targets = found.get("activeTargets") if isinstance(found, dict) else None
            for target in targets if isinstance(targets, list) else ():
                with suppress(Invalid, AttributeError, TypeError):
                    interval = parse_duration(str(target.get("scrapeInterval", "")))
                    job = str((target.get("labels") or {}).get("job", ""))
                    longest[job] = max(interval, longest.get(job, interval))
        return longest

    def _ask(self, method: str, path: str, parameters: Mapping[str, str]) -> Any:
        """The `data` of an answer; raises _Refused for what the server says of the request, AdapterError of itself."""
        left = self._give_up - time.monotonic()
        if left <= 0:
            raise Transient(
                f"{self._who} did not answer everything within {self._within:g} s: give it a longer --timeout"
            )
        url = f"{self._settings.shown}/api/v1/{path}"
        given = {"data": dict(parameters)} if method == "POST" else {"params": dict(parameters)}
        request = requests.Request(
            method, url, headers=dict(self._settings.headers), auth=self._settings.auth(), **given
        )
        try:
            reply = self._session.exchange(request, within=min(left, self._settings.timeout), limit=MAX_ANSWER_BYTES)
        except AdapterError as error:
            raise Transient(transport_problem(self._settings.shown, error).failed.reason) from error
        return self._understood(path, reply)

    def _understood(self, path: str, reply: Reply) -> Any:
        document = None if reply.cut else decoded(reply.body)
        if isinstance(document, dict) and document.get("status") == "error":
            said = one_line(self._settings, str(document.get("error") or "no reason given"))
            if reply.status in _REFUSALS or reply.status == 200:
                raise _Refused(said)
            raise Transient(f"{self._who} answered {reply.status}: {said}")
        if reply.status in (404, 405) and path != "query":
            raise _Refused(f"{self._who} has no {path}")
        if reply.status != 200:
            said = plain_text(self._settings, reply.body)
            raise Transient(f"{self._who} answered {reply.status} {reply.reason}{': ' if said else ''}{said}")
        if not isinstance(document, dict) or document.get("status") != "success":
            raise self._strange()
        return document.get("data")

    @property
    def _who(self) -> str:
        return f"Prometheus at {self._settings.shown}"

    def _strange(self) -> AdapterError:
        return Transient(
            f"{self._who} answered with something that its HTTP API does not describe: is the address right?"
        )


def _is_row(row: Any) -> bool:
    """Whether this is a series of an instant answer: its labels, and a time with a number."""
    try:
        float(row["value"][1])
    except (LookupError, TypeError, ValueError):
        return False
    return isinstance(row.get("metric"), dict)


class _Refused(Exception):
    """What the server says of one request, in its own words."""
