"""Probes and lifecycle hooks: asks a container how it is, the way the kubelet does.

What always holds: every question has a deadline, and an answer is either a success or a sentence that says what was
wrong (the kubelet's own sentence, since people search for it).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from watcher.demo.cluster.store import Object

Exec = Callable[[list[str], float], Awaitable[tuple[int, str]]]
"""Runs a command in a container's environment with a deadline: exit code and output. Raises TimeoutError."""

EAGER = 0.15
"""Seconds between checks of a container that nobody can connect to yet, inside its first period."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a container's handlers are asked."""

    address: str
    ports: Mapping[str, int]
    run: Exec


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a probe failed. `unreachable`: nothing listened yet."""

    message: str
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class Timing:
    """A probe's numbers, in seconds and counts, with Kubernetes' defaults."""

    delay: float
    period: float
    timeout: float
    successes: int
    failures: int

    @classmethod
    def of(cls, probe: Object) -> Timing:
        return cls(
            delay=probe.get("initialDelaySeconds") or 0,
            period=probe.get("periodSeconds") or 10,
            timeout=probe.get("timeoutSeconds") or 1,
            successes=probe.get("successThreshold") or 1,
            failures=probe.get("failureThreshold") or 3,
        )


@dataclass(slots=True)
class Threshold:
    """Counts results in a row. `feed` says when enough of them have come to change one's mind."""

    successes: int
    failures: int
    _run: int = 0
    _last: bool | None = None

    def feed(self, passed: bool) -> Literal["passed", "failed"] | None:
        self._run = self._run + 1 if passed == self._last else 1
        self._last = passed
        if passed:
            return "passed" if self._run >= self.successes else None
        return "failed" if self._run >= self.failures else None


async def watch(
    probe: Object,
    target: Target,
    *,
    on_result: Callable[[Literal["passed", "failed"]], None],
    on_failure: Callable[[str], None],
) -> None:
    """Probe until cancelled. `on_result` hears each result that reached its threshold, `on_failure` each failure.

    Refusals within the first period neither count nor wait for the next one: a program that has just been started is
    then found ready when it is, not at the next full second, and never killed for not listening yet.
    """
    timing = Timing.of(probe)
    threshold = Threshold(timing.successes, timing.failures)
    loop = asyncio.get_running_loop()
    await asyncio.sleep(timing.delay)
    due = loop.time()
    patience = due + timing.period
    while True:
        failure = await check(probe, target, timing.timeout)
        if failure and failure.unreachable and loop.time() < patience:
            await asyncio.sleep(EAGER)
            due = loop.time()
            continue
        patience = 0.0
        if failure:
            on_failure(failure.message)
        result = threshold.feed(failure is None)
        if result:
            on_result(result)
        due = max(due + timing.period, loop.time())
        await asyncio.sleep(due - loop.time())


async def check(handler: Object, target: Target, timeout: float) -> Failure | None:
    """Ask once. None means success."""
    try:
        async with asyncio.timeout(timeout):
            if "exec" in handler:
                code, output = await target.run(list(handler["exec"]["command"]), timeout)
                return Failure(f"{output.strip()}"[:500] or f"command exited with {code}") if code else None
            if "tcpSocket" in handler:
                return await _tcp(handler["tcpSocket"], target)
            if "httpGet" in handler:
                return await _http(handler["httpGet"], target)
            return None
    except TimeoutError:
        if "exec" in handler:
            return Failure(f"command timed out after {timeout:g}s")
        what = f'Get "{url(handler["httpGet"], target)}": ' if "httpGet" in handler else ""
        return Failure(f"{what}context deadline exceeded (Client.Timeout exceeded while awaiting headers)")


def port_of(spec: Object, target: Target) -> int:
    """The port that a handler names by number or by the container port's name. Raises LookupError."""
    port: Any = spec["port"]
    if isinstance(port, int):
        return port
    if str(port).isdigit():
        return int(port)
    if port not in target.ports:
        raise LookupError(f'strconv.Atoi: parsing "{port}": invalid syntax')
    return target.ports[port]


def url(spec: Object, target: Target) -> str:
    path = spec.get("path") or "/"
    scheme = (spec.get("scheme") or "HTTP").lower()
    slash = "" if path.startswith("/") else "/"
    return (
        f"{scheme}://{spec.get('host') or target.address}:{target.ports.get(spec['port'], spec['port'])}{slash}{path}"
    )


async def _tcp(spec: Object, target: Target) -> Failure | None:
    host = spec.get("host") or target.address
    try:
        port = port_of(spec, target)
        _, writer = await asyncio.open_connection(host, port)
    except LookupError as error:
        return Failure(str(error))
    except OSError as error:
        return Failure(f"dial tcp {host}:{port}: connect: {_text(error)}", unreachable=True)
    writer.close()
    return None


async def _http(spec: Object, target: Target) -> Failure | None:
    host = spec.get("host") or target.address
    where = url(spec, target)
    try:
        port = port_of(spec, target)
        context = _unverified() if (spec.get("scheme") or "HTTP").upper() == "HTTPS" else None
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except LookupError as error:
        return Failure(str(error))
    except OSError as error:
        refused = f'Get "{where}": dial tcp {host}:{port}: connect: {_text(error)}'
        return Failure(refused, unreachable=True)
    try:
        headers = {
            "Host": f"{host}:{port}",
            "User-Agent": "kube-probe/embedded",
            "Accept": "*/*",
            "Connection": "close",
        }
        headers.update({row["name"]: row["value"] for row in spec.get("httpHeaders") or ()})
        path = spec.get("path") or "/"
        lines = [f"GET {path if path.startswith('/') else '/' + path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await writer.drain()
        answer = (await reader.readline()).split()
        if len(answer) < 2 or not answer[1].isdigit():
            return Failure(f'Get "{where}": EOF')
        code = int(answer[1])
        return None if 200 <= code < 400 else Failure(f"HTTP probe failed with statuscode: {code}")
    except (OSError, ValueError) as error:
        return Failure(f'Get "{where}": {error}')
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _unverified() -> ssl.SSLContext:
    """The kubelet does not verify the certificate of a pod that it probes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _text(error: OSError) -> str:
    return "connection refused" if isinstance(error, ConnectionRefusedError) else (error.strerror or str(error)).lower()
