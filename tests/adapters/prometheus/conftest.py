"""A real Prometheus with four hours of known history."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from watcher.adapters.prometheus import PrometheusMetrics, PrometheusSettings

START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
LENGTH = timedelta(hours=4)
SCRAPE = 15


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running Prometheus that has scraped what `_history` says."""
    home = tmp_path_factory.mktemp("prometheus")
    (home / "history.txt").write_text(_history())
    (home / "prometheus.yml").write_text("global: {}\n")
    blocks = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(home / "history.txt"), str(home / "data")]
    subprocess.run(blocks, check=True, capture_output=True, timeout=60)
    with (home / "log").open("w") as log:
        process = subprocess.Popen(_command(home), stdout=log, stderr=log)
        try:
            yield _address(home / "log", process)
        finally:
            process.terminate()
            process.wait(20)


def _command(home: Path) -> list[str]:
    return [
        "prometheus",
        f"--config.file={home}/prometheus.yml",
        f"--storage.tsdb.path={home}/data",
        "--storage.tsdb.retention.time=100y",
        "--web.listen-address=127.0.0.1:0",
        "--query.max-samples=200000",
    ]


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Wait until it says on which port it listens, and answers there."""
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up and process.poll() is None:
        for line in log.read_text().splitlines():
            if "Listening on" in line and "address=" in line:
                place = line.rpartition("address=")[2].split()[0]
                with suppress(OSError):
                    if _passed_on(place, "GET", "/-/ready", b"")[0] == 200:
                        return f"http://{place}"
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def _passed_on(place: str, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(place, timeout=10)
    with closing(connection):
        connection.request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        return response.status, response.read()


def _history() -> str:
    """Requests by colour and code, a NaN, an infinity, a series that ends, and two metrics with equal labels."""
    steady = [("blue", "200", 10), ("blue", "500", 1), ("green", "200", 7), ("green", "500", 3)]
    series: list[tuple[str, list[tuple[str, Callable[[int], str | None]]]]] = [
        ("requests", [(f'{{color="{color}",code="{code}"}}', _growing(pace)) for color, code, pace in steady]),
        ("broken", [("", lambda _: "NaN")]),
        ("endless", [("", lambda _: "+Inf")]),
        ("early", [("", lambda tick: str(tick) if tick < 240 else None)]),
        ("twin_a", [('{pod="p"}', _growing(1))]),
        ("twin_b", [('{pod="p"}', _growing(-1))]),
    ]
    lines = []
    for name, members in series:
        lines.append(f"# TYPE {name} gauge")
        for labels, value in members:
            numbers = [(tick, value(tick)) for tick in range(int(LENGTH.total_seconds()) // SCRAPE)]
            lines += [
                f"{name}{labels} {number} {START.timestamp() + tick * SCRAPE:.0f}"
                for tick, number in numbers
                if number is not None
            ]
    return "\n".join([*lines, "# EOF", ""])


def _growing(pace: int) -> Callable[[int], str]:
    return lambda tick: str(tick * pace)


@pytest.fixture
def metrics() -> Iterator[Callable[..., PrometheusMetrics]]:
    """Make ports to a metrics server; short time-outs unless told otherwise."""
    made: list[PrometheusMetrics] = []

    def make(url: str, **settings: Any) -> PrometheusMetrics:
        made.append(PrometheusMetrics(PrometheusSettings(url, **{"timeout": 5.0, **settings})))
        return made[-1]

    yield make
    for port in made:
        port.close()


@pytest.fixture
def through(serve: Callable[..., Any], prometheus: str, reply: Callable[..., bytes]) -> Callable[..., Any]:
    """Start a server that counts requests and passes them on to the real Prometheus; `spoil` may answer first."""

    def start(spoil: Callable[[Any], bytes | None] = lambda _: None) -> Any:
        def script(asked: Any, send: Callable[[bytes], None], _: Any) -> None:
            spoilt = spoil(asked)
            if spoilt is not None:
                return send(spoilt)
            send(reply(*_passed_on(prometheus.removeprefix("http://"), asked.method, asked.path, asked.body)))
            return None

        return serve(script)

    return start
