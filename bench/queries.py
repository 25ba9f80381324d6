"""What a tick's queries cost this process: the same queries merged and apart, against a real Prometheus on loopback.

Run: `python bench/queries.py`. Needs the `prometheus` binary. Prints, it asserts nothing.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from watcher.adapters.prometheus import PrometheusMetrics, PrometheusSettings
from watcher.core.readings import Query, Series

ROUNDS = 30


@contextmanager
def prometheus() -> Iterator[str]:
    """A Prometheus that scrapes itself, once it has done so for the first time."""
    with tempfile.TemporaryDirectory() as home:
        config = Path(home, "prometheus.yml")
        jobs = 'scrape_configs: [{job_name: self, static_configs: [{targets: ["127.0.0.1:%s"]}]}]'
        port = _free_port()
        config.write_text("global: {scrape_interval: 1s}\n" + jobs % port)
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={home}/data"]
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for_samples(url)
            yield url
        finally:
            process.terminate()
            process.wait(20)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_for_samples(url: str) -> None:
    port = PrometheusMetrics(PrometheusSettings(url))
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        answer = port.instant("rate(prometheus_http_requests_total[10s])", datetime.now(UTC))
        if isinstance(answer, Series):
            return
        time.sleep(0.2)
    sys.exit("Prometheus gave no samples within 30 s")


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """CPU of this process and time that passed, in milliseconds: the median of several rounds."""
    work()
    cpu, wall = [], []
    for _ in range(ROUNDS):
        begun, began = time.process_time(), time.perf_counter()
        work()
        cpu.append((time.process_time() - begun) * 1000)
        wall.append((time.perf_counter() - began) * 1000)
    return statistics.median(cpu), statistics.median(wall)


def main() -> None:
    step = timedelta(seconds=10)
    with prometheus() as url:
        port = PrometheusMetrics(PrometheusSettings(url))
        print(f"{'queries':>8} {'how':>8} {'CPU ms':>8} {'wall ms':>8}")
        for count in (8, 128):
            batch = [
                Query(str(n), f'sum(rate(prometheus_http_requests_total{{handler!="/{n}"}}[10s])) / {n + 1}')
                for n in range(count)
            ]
            now = datetime.now(UTC)

            def merged(batch: list[Query] = batch, now: datetime = now) -> None:
                port.query(batch, now, now, step)

            def apart(batch: list[Query] = batch, now: datetime = now) -> None:
                for query in batch:
                    port.query([query], now, now, step)

            for name, work in (("merged", merged), ("apart", apart)):
                cpu, wall = measure(work)
                print(f"{count:>8} {name:>8} {cpu:>8.1f} {wall:>8.1f}")
        port.close()


if __name__ == "__main__":
    main()
