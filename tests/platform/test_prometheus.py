"""A real Prometheus as the demo and the tests run it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.platform.running import ChatPod, until
from watcher.demo.platform.prometheus import PrometheusServer, PrometheusUnavailable, StaticTargets


def query(server: PrometheusServer, promql: str) -> list[dict[str, Any]]:
    """The series of an instant query."""
    answer = requests.get(f"{server.url}/api/v1/query", params={"query": promql}, timeout=5)
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found


def samples(server: PrometheusServer) -> int:
    """How many scrapes of the chat pod are remembered."""
    series = query(server, 'count_over_time(chat_conversations_total{color="green"}[10m])')
    return int(series[0]["value"][1]) if series else 0


def answers(server: PrometheusServer) -> bool:
    try:
        return query(server, "vector(1)") != []
    except OSError:
        return False


def test_it_comes_back_on_its_port_with_its_history_after_a_kill_and_after_a_stop(tmp_path: Path) -> None:
    labels = {"app": "chatbot-platform", "color": "green"}
    with ChatPod(tmp_path) as pod:
        targets = [StaticTargets([f"127.0.0.1:{pod.port}"], labels)]
        with PrometheusServer(targets, directory=tmp_path / "prometheus", scrape_interval=0.2) as server:
            url = server.url
            until(lambda: samples(server) >= 3, "three scrapes")
            for end in (server.kill, server.stop):
                before = samples(server)
                end()
                assert (server.pid, answers(server)) == (None, False)
                server.start()
                assert server.url == url
                assert samples(server) >= before

    assert not answers(server)


def test_a_directory_of_its_own_is_removed_and_a_given_one_is_kept(tmp_path: Path) -> None:
    with PrometheusServer(directory=tmp_path / "kept"), PrometheusServer() as own:
        assert own.directory.exists()

    assert (tmp_path / "kept" / "prometheus.yml").exists()
    assert not own.directory.exists()


def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import sys, threading\n"
        "from pathlib import Path\n"
        "from watcher.demo.platform.prometheus import PrometheusServer\n"
        "server = PrometheusServer(directory=Path(sys.argv[1]))\n"
        "starter = threading.Thread(target=server.start)\n"  # its thread's end must not end it
        "starter.start(); starter.join()\n"
        "print(server.port, server.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        port, pid = parent.stdout.readline().split()
        assert requests.get(f"http://127.0.0.1:{port}/-/ready", timeout=5).status_code == 200
        parent.send_signal(signal.SIGKILL)
        parent.wait(5)

    until(lambda: not running(int(pid)), "Prometheus has gone as well")


def running(pid: int) -> bool:
    """Whether a process exists and is more than a zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_without_prometheus_it_says_which_package_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrometheusUnavailable, match="install the Debian package `prometheus`"):
        PrometheusServer()


def test_a_prometheus_that_cannot_start_says_why(tmp_path: Path) -> None:
    with PrometheusServer(directory=tmp_path / "first") as first:
        second = PrometheusServer(directory=tmp_path / "second", port=first.port)
        with pytest.raises(PrometheusUnavailable, match="address already in use"):
            second.start()


def test_rules_and_alertmanagers_are_taken_over(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text('groups: [{name: g, rules: [{alert: Always, expr: "vector(1)"}]}]')
    with PrometheusServer(rule_files=[rules], alertmanagers=["http://127.0.0.1:9"], scrape_interval=0.2) as server:
        until(lambda: query(server, 'ALERTS{alertname="Always",alertstate="firing"}'), "the alert fires")

        def told() -> list[str]:
            answer = requests.get(f"{server.url}/api/v1/alertmanagers", timeout=5).json()["data"]
            return [row["url"] for row in answer["activeAlertmanagers"]]

        assert until(told, "it knows whom to tell") == ["http://127.0.0.1:9/api/v2/alerts"]
