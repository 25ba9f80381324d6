"""Settings that only a restart brings into force are said to be waiting for it."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from tests.support.acting import API, application, until, write
from tests.support.api import kubeconfig
from watcher.engine.daemon import Daemon


def test_changed_settings_that_are_read_at_the_start_are_said_to_wait_for_a_restart(tmp_path: Path) -> None:
    def settings(level: str, *namespaces: str) -> list[Path]:
        kind = {"apiVersion": API, "kind": "Settings", "log": {"level": level}, "namespaces": namespaces}
        return [*write(tmp_path / "config", application(), kind)]

    daemon = Daemon(settings("info"), {}, kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1"))
    with capture_logs() as said:
        daemon.start()
        try:
            settings("debug", "more")
            until(lambda: "more" in daemon.config.settings.namespaces, "the files to be read again", 30)
        finally:
            daemon.stop()
    assert [entry["settings"] for entry in said if "restart" in entry["event"]] == [["log"]]
