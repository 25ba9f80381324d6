"""What happens is counted once: by the one of two replicas that acts, and also where an answer was lost. How things
stand both say alike.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.scenarios.conftest import Led
from tests.support.acting import GOOD, until, watcher
from tests.support.proxy import Exchange, drop_answer, refuse
from watcher.adapters.children import spawn
from watcher.core.release import Phase
from watcher.demo.platform.manifests import APPLICATION
from watcher.demo.stage import Stage


@contextmanager
def second(stage: Stage, config: Path, log: Path) -> Iterator[str]:
    """Another replica, while the block runs; gives where it answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "watcher", "run", "--kubeconfig", str(stage.kubeconfig), "--config", str(config)]
    settings = {"WATCHER_HTTP_PORT": str(port), "WATCHER_LEASE_DURATION": "2s", "WATCHER_LOG_FORMAT": "json"}
    process = spawn(command, log, {k: v for k, v in os.environ.items() if not k.startswith("WATCHER_")} | settings)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(20)


def shown(page: str, name: str, **labels: str) -> float:
    """The sum of a replica's samples with these labels."""
    text = requests.get(f"{page}metrics", timeout=10).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def ready(page: str) -> bool:
    try:
        return requests.get(f"{page}readyz", timeout=5).ok
    except requests.ConnectionError:
        return False


def test_two_replicas_count_each_thing_once_also_when_the_other_one_goes_on(
    small: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = small()
    stage.wait_for(lambda: ready(stage.page) and shown(stage.page, "watcher_leads") == 1, "the first one to lead", 60)
    with second(stage, tmp_path / "config", tmp_path / "second.log") as other:

        def both(name: str, **labels: str) -> list[float]:
            return [shown(page, name, **labels) for page in (stage.page, other)]

        stage.wait_for(lambda: ready(other), "the second one", 60)
        release = stage.follow(stage.release(GOOD), lambda r: r.phase.terminal, 60, "the end")
        assert release.phase is Phase.COMPLETED
        stage.wait_for(lambda: both("watcher_releases", phase="Completed") == [1, 1], "both to know of the end")
        stage.wait_for(lambda: shown(stage.page, "watcher_deployments_total") == 1, "the end to be counted")
        assert both("watcher_active_color", active="green") == [1, 1], "both read the same cluster"
        assert both("watcher_leads") == [1, 0]
        assert both("watcher_deployments_total") == [1, 0]
        assert both("watcher_flips_total", direction="forward") == [1, 0]

        stage.kill_daemon()
        stage.wait_for(lambda: shown(other, "watcher_leads") == 1, "the second one to lead", 60)
        assert shown(other, "watcher_lease_transitions_total", to="leader") == 1
        assert watcher(stage, "rollback", APPLICATION, "--by", "ada").status == 0
        stage.wait_for(lambda: shown(other, "watcher_releases", phase="RolledBack") == 1, "the rollback", 60)
        stage.wait_for(lambda: shown(other, "watcher_deployment_failures_total") == 1, "the rollback to be counted")
        assert shown(other, "watcher_deployments_total") == 0, "what another one counted is not counted again"
        assert shown(other, "watcher_deployment_failures_total") == 1
        assert shown(other, "watcher_flips_total", direction="back", reason="manual") == 1


def test_one_that_is_no_longer_the_leader_counts_nothing_of_what_the_next_one_does(
    led: Callable[..., Led], tmp_path: Path
) -> None:
    found = led(rules=False, approval="beforeSwitch")
    stage, first = found.stage, found.stage.page
    waits = Phase.AWAITING_APPROVAL.value

    def answer_late(exchange: Exchange) -> None:
        answer = exchange.fetch()
        found.proxy.on("GET", r"/leases/[^/]+$", refuse(500), times=0)
        until(lambda: shown(first, "watcher_releases", phase=waits) == 1, "the first one to see how it went on", 60)
        exchange.send(*answer)

    late = found.proxy.on("PATCH", r"/releases/[^/]+/status$", answer_late, body='"Testing"')
    stage.wait_for(lambda: ready(first) and shown(first, "watcher_leads") == 1, "the first one to lead", 60)
    with second(stage, tmp_path / "config", tmp_path / "second.log") as other:
        stage.wait_for(lambda: ready(other), "the second one", 60)
        stage.follow(stage.release(GOOD), lambda r: r.phase.value == waits, 60, "the approval to be asked for")
        assert late.struck.is_set()

        def counted(phase: str) -> list[float]:
            return [shown(page, "watcher_release_phase_transitions_total", phase=phase) for page in (first, other)]

        stage.wait_for(lambda: counted("Testing") == [1, 0], "the late answer to be counted", 30)
        stage.wait_for(lambda: counted(waits)[1] == 1, "what the second one did to be counted", 30)
        assert counted(waits) == [0, 1]


def test_what_was_written_although_no_answer_came_is_counted_once(led: Callable[..., Led]) -> None:
    found = led(rules=False, watch={"duration": "2s", "interval": "1s"})
    path = r"/releases/[^/]+/status$"
    lost = [found.proxy.on("PATCH", path, drop_answer, body=f'"{phase}"') for phase in ("Verifying", "Completed")]
    page = found.stage.page
    found.stage.wait_for(lambda: ready(page), "the daemon", 60)
    release = found.stage.follow(found.stage.release(GOOD), lambda r: r.phase.terminal, 90, "the end")
    assert release.phase is Phase.COMPLETED, release.status.message

    def counted() -> list[float]:
        moved = "watcher_release_phase_transitions_total"
        seen = [shown(page, moved, phase=phase) for phase in ("Verifying", "Watching", "Completed")]
        return [*seen, shown(page, "watcher_flips_total"), shown(page, "watcher_deployments_total")]

    found.stage.wait_for(lambda: counted() == [1] * 5, "everything to be counted once", 30, lambda: str(counted()))
    assert [rule.struck.is_set() for rule in lost] == [True, True]
