"""A Prometheus of our own for an answer or two: started empty on loopback, filled over remote write, and gone again.

It exists so that made-up series are evaluated by the server that evaluates real ones. Series arrive by remote write and
not as blocks, because only so can a staleness marker be stored: OpenMetrics, of which promtool makes blocks, has none.
What always holds: it listens on loopback only, on a port that the kernel chose; its data is removed when it ends; and
it does not outlive this process.
"""

from __future__ import annotations

import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from watcher.adapters.bounded_http import BoundedSession
from watcher.adapters.children import spawn
from watcher.adapters.errors import AdapterError
from watcher.adapters.protobuf import field, varint

READY_WITHIN = 30.0
STOP_WITHIN = 10.0
WRITE_WITHIN = 60.0
MOST_SAMPLES = 200_000
"""Samples in one request; Prometheus takes 32 MiB."""

_LISTENING = re.compile(r'msg="?Listening on"? .*address=\S*:(\d+)')
_STALE = struct.pack("<Q", 0x7FF0000000000002)
"""The one NaN that Prometheus takes for the end of a series."""

INSTALL = "install Prometheus (on Debian: apt-get install --no-install-recommends prometheus) or put it on the PATH"


class NoPrometheus(Exception):
    """Prometheus is not installed, did not come up, or did not take the series; a sentence that says which."""


@dataclass(frozen=True, slots=True)
class Written:
    """One series. `samples` are times (Unix seconds, ascending) and values; None ends the series."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float | None]]


class LocalPrometheus:
    """A context manager; `url` is where it answers inside of it. Raises NoPrometheus."""

    def __init__(self) -> None:
        self.url = ""
        self._home: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        binary = shutil.which("prometheus")
        if binary is None:
            raise NoPrometheus(f"there is no `prometheus` command here: {INSTALL}")
        try:
            self._home = Path(tempfile.mkdtemp(prefix="watcher-prometheus-"))
        except OSError as error:
            raise NoPrometheus(f"there is no room for temporary files ({error}): set TMPDIR") from error
        try:
            self._start(binary, self._home)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def write(self, series: Iterable[Written]) -> None:
        """Store the series. Every series and time once."""
        body: list[bytes] = []
        samples = 0
        for one in series:
            for first in range(0, len(one.samples), MOST_SAMPLES):
                part = one.samples[first : first + MOST_SAMPLES]
                if samples + len(part) > MOST_SAMPLES:
                    self._send(b"".join(body))
                    body, samples = [], 0
                body.append(field(1, _series(one.labels, part)))
                samples += len(part)
        if body:
            self._send(b"".join(body))

    def _send(self, body: bytes) -> None:
        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        request = requests.Request("POST", f"{self.url}/api/v1/write", data=_snappy(body), headers=headers)
        session = BoundedSession()
        try:
            reply = session.exchange(request, within=WRITE_WITHIN, limit=4096)
        except AdapterError as error:
            raise NoPrometheus(f"the temporary Prometheus did not take the series: {error}") from error
        finally:
            session.close()
        if reply.status >= 300:
            said = reply.body.decode("utf-8", "replace").strip()[:300]
            raise NoPrometheus(f"the temporary Prometheus refused the series with {reply.status}: {said}")

    def _start(self, binary: str, home: Path) -> None:
        (home / "prometheus.yml").write_text("{}\n", "utf-8")
        log = home / "log"
        try:
            self._process = spawn(_command(binary, home), log)
        except OSError as error:
            raise NoPrometheus(f"{binary} cannot be started ({error.strerror}): {INSTALL}") from error
        give_up = time.monotonic() + READY_WITHIN
        while time.monotonic() < give_up:
            said = log.read_text("utf-8", "replace") if log.exists() else ""
            if self._process.poll() is not None:
                raise NoPrometheus(f"{binary} ended at once; its last words: {_last(said)}")
            if found := _LISTENING.search(said):
                self.url = f"http://127.0.0.1:{found[1]}"
                if _ready(self.url):
                    return
            time.sleep(0.02)
        raise NoPrometheus(f"{binary} was not ready within {READY_WITHIN:.0f} s; its last words: {_last(said)}")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)  # nothing of it is to be kept
            process.wait(STOP_WITHIN)
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)


def _command(binary: str, home: Path) -> list[str]:
    return [
        binary,
        f"--config.file={home}/prometheus.yml",
        f"--storage.tsdb.path={home}/data",
        # The head holds everything, however far apart; nothing is compacted.
        "--storage.tsdb.min-block-duration=280y",
        "--storage.tsdb.max-block-duration=280y",
        "--storage.tsdb.retention.time=290y",
        "--web.enable-remote-write-receiver",
        "--web.listen-address=127.0.0.1:0",
        "--log.format=logfmt",
    ]


def _ready(url: str) -> bool:
    session = BoundedSession()
    try:
        return session.exchange(requests.Request("GET", f"{url}/-/ready"), within=2.0, limit=4096).status == 200
    except AdapterError:
        return False
    finally:
        session.close()


def _last(said: str) -> str:
    return " / ".join(said.splitlines()[-3:])[-500:] or "none"


# -- remote write 1.0: a protobuf message WriteRequest, in snappy's block format ---------------------------------------
# https://prometheus.io/docs/specs/remote_write_spec/ and https://github.com/google/snappy/blob/main/format_description.txt


def _series(labels: Mapping[str, str], samples: Sequence[tuple[float, float | None]]) -> bytes:
    """TimeSeries: labels in the order of their names, and samples."""
    parts = [field(1, field(1, name) + field(2, value)) for name, value in sorted(labels.items())]
    for at, value in samples:
        number = _STALE if value is None else struct.pack("<d", value)
        parts.append(field(2, b"\x09" + number + b"\x10" + varint(round(at * 1000))))
    return b"".join(parts)


def _snappy(data: bytes) -> bytes:
    """The data as literals: valid snappy, and not any smaller."""
    out = bytearray(varint(len(data)))
    for first in range(0, len(data), 1 << 16):
        literal = data[first : first + (1 << 16)]
        out += bytes([61 << 2]) + struct.pack("<H", len(literal) - 1) + literal
    return bytes(out)
