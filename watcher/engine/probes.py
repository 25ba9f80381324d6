"""What one check does at one address, or asks of the metrics server, as something that can be run to its end.

What always holds: running one never raises for what the other side does, ends by the check's own deadline, and ends
soon after it is cancelled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

from watcher.adapters import grpc_checks
from watcher.adapters.http_checks import HttpCheck, run_http_check
from watcher.adapters.repeated import CheckOutcome, Heard, Pace, Try, repeat
from watcher.adapters.secrets import no_secret
from watcher.adapters.tcp_checks import run_tcp_check
from watcher.core import checks as check_models
from watcher.core.application import Application
from watcher.core.check_queries import bound_query, judged
from watcher.core.checks import Addressed, Check, GrpcCheck, Hook, HookHttp, PromqlCheck
from watcher.core.readings import Answer
from watcher.core.secrets import Value
from watcher.core.units import Invalid
from watcher.engine.clock import Clock

QUERY_WITHIN = timedelta(minutes=1)
"""More than any answer needs: the metrics server's own time-out ends a request before."""

Run = Callable[[threading.Event, Heard], CheckOutcome]
"""Runs to the end, or until the event is set, and says how the tries go."""


class Metrics(Protocol):
    """What a metrics server can do for a check: answer one query, never raise for its own trouble."""

    def instant(self, expr: str, at: datetime, *, within: float | None = None) -> Answer: ...


def probes(check: Check | Hook, urls: Sequence[str], server_name: str = "", value: Value = no_secret) -> list[Run]:
    """The check at every address (`http://host:port`). `value` gives the secrets that it refers to, `server_name` is
    whom a gRPC server is taken to be.
    """
    return [_probe(check, url, server_name, value) for url in urls]


def _probe(check: Check | Hook, url: str, server_name: str, value: Value) -> Run:
    if check.http is not None:
        request = _request(check.http, url)
        return lambda cancel, heard: run_http_check(request, cancel, heard=heard, value=value)
    assert isinstance(check, Check)
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    if check.grpc is not None:
        return _grpc(check.grpc, host, port, server_name)
    assert check.tcp is not None
    pace = _pace(check.tcp)
    return lambda cancel, heard: run_tcp_check(host, port, pace, cancel, heard=heard)


def _grpc(spec: GrpcCheck, host: str, port: int, server_name: str) -> Run:
    tls = None
    if spec.tls is not None:
        tls = grpc_checks.Tls(spec.tls.server_name or server_name or host, spec.tls.ca_file)
    asked = grpc_checks.GrpcCheck(host, port, spec.service, tls)
    return lambda cancel, heard: grpc_checks.run_grpc_check(asked, _pace(spec), cancel, heard=heard)


def question(check: PromqlCheck, app: Application, color: str, version: str, metrics: Metrics, clock: Clock) -> Run:
    """The query of a check, asked about the colour under test until the answer is good."""

    def attempt(patience: float) -> Try:
        try:
            query = bound_query(check, app, color, version)
        except Invalid as error:
            return Try(f"cannot be asked about {version}: {error}", final=True)
        at = clock.now()
        told = judged(check, metrics.instant(query, at, within=patience), at.timestamp())
        return Try("", f"gave {told.words}", query) if told.good else Try(told.words, "", query, told.final)

    pace = Pace(*map(timedelta.total_seconds, (check.every, check.for_, check.within, QUERY_WITHIN)))
    return lambda cancel, heard: repeat("PromQL", pace, attempt, cancel, heard=heard)


def _pace(spec: Addressed) -> Pace:
    return Pace(*map(timedelta.total_seconds, (spec.every, spec.for_, spec.within, spec.timeout)))


def _request(spec: check_models.HttpCheck | HookHttp, base: str) -> HttpCheck:
    """The request at an address: a check's is repeated as it says, a hook's is sent once."""
    expect = spec.expect
    status = expect.status
    request = HttpCheck(
        url=base if isinstance(spec, HookHttp) else base + spec.path,
        method=spec.method,
        headers=spec.headers,
        body=spec.body,
        expect_status=(status,) if isinstance(status, int) else tuple(status) if status else None,
        expect_text=expect.text,
        expect_json=expect.json_,
        max_latency=None if expect.latency is None else expect.latency.total_seconds(),
        timeout=spec.timeout.total_seconds(),
    )
    if isinstance(spec, HookHttp):
        return replace(request, within=0.0)
    pace = _pace(spec)
    return replace(request, every=pace.every, for_=pace.for_, within=pace.within)
