"""The small parts that decide: images, back-off, quantities, selectors, addresses, logs."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from watcher.demo.cluster.addresses import AddressBlock
from watcher.demo.cluster.backoff import BackOff
from watcher.demo.cluster.controllers.common import matches, with_condition
from watcher.demo.cluster.controllers.replicasets import usefulness
from watcher.demo.cluster.environment import expand
from watcher.demo.cluster.images import Images, UnknownImage, split
from watcher.demo.cluster.logs import LIMIT, ContainerLog
from watcher.demo.cluster.podstatus import ContainerState, phase, quality, waiting
from watcher.demo.cluster.probes import Threshold
from watcher.demo.cluster.quantities import quantity


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("chat", ("chat", "latest")),
        ("chat:1.0", ("chat", "1.0")),
        ("registry.example:5000/team/chat", ("registry.example:5000/team/chat", "latest")),
        ("registry.example:5000/chat:2", ("registry.example:5000/chat", "2")),
        ("chat@sha256:9f2c", ("chat", "sha256:9f2c")),
    ],
)
def test_a_reference_has_a_name_and_a_tag_or_digest(reference: str, expected: tuple[str, str]) -> None:
    """A registry's port is no tag."""
    assert split(reference) == expected


def test_an_exact_image_wins_over_a_wildcard_and_a_digest_needs_its_own(tmp_path: Path) -> None:
    """`chat:*` is every tag but no digest."""
    path = tmp_path / "images.json"
    path.write_text(json.dumps({"chat:*": {"command": ["any"]}, "chat:2": {"command": ["two"], "env": {"N": 2}}}))
    known = Images(path)
    assert known.pull("chat:1").command == ("any",)
    assert known.pull("chat:2").command == ("two",)
    assert known.pull("chat:2").env == {"N": "2", "IMAGE": "chat:2", "IMAGE_TAG": "2"}
    for reference in ("chat@sha256:1", "other:1"):
        with pytest.raises(UnknownImage, match=f'failed to resolve reference "{reference}"'):
            known.pull(reference)


def test_a_changed_images_file_counts_at_the_next_pull(tmp_path: Path) -> None:
    """As a registry to which somebody pushes."""
    path = tmp_path / "images.json"
    path.write_text("{}")
    known = Images(path)
    path.write_text(json.dumps({"chat:1": {"command": ["new"]}}))
    assert known.pull("chat:1").command == ("new",)


def test_back_off_doubles_up_to_its_limit_and_starts_afresh_after_health() -> None:
    """10 s, 20 s ... 300 s, and the first restart is free."""
    back_off = BackOff(1.0, free_first=True)
    assert [back_off.next(1.0) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert back_off.next(600.0) == 0
    assert back_off.next(1.0) == 10
    scaled = BackOff(0.1)
    assert [scaled.next() for _ in range(3)] == [1, 2, 4]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("250m", "0.25"), ("2", "2"), ("64Mi", "67108864"), ("1k", "1000"), ("1.5Gi", "1610612736"), (3, "3")],
)
def test_quantities_are_exact(text: Any, expected: str) -> None:
    """Binary, decimal and milli suffixes."""
    assert quantity(text) == Decimal(expected)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "other"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "gone", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
    ],
)
def test_label_selectors(selector: dict[str, Any], expected: bool) -> None:
    """Labels and expressions, all of which have to hold."""
    assert matches(selector, {"app": "web"}) is expected


def test_variables_in_values_are_replaced_and_dollars_escaped() -> None:
    """As Kubernetes does; an unknown name stays as it is."""
    assert expand("$(A)/$(B)/$$(A)/$A", {"A": "1"}) == "1/$(B)/$(A)/$A"


def test_two_blocks_never_overlap() -> None:
    """While one is claimed another gets a different one."""
    blocks = [AddressBlock.claim() for _ in range(8)]
    try:
        assert len({block.prefix for block in blocks}) == 8
        assert all(not block.prefix.endswith(".0") for block in blocks)
        first = blocks[0]
        assert len({first.pod_ip() for _ in range(300)} | {first.service_ip() for _ in range(300)}) == 600
        assert not first.take("10.0.0.1")
    finally:
        for block in blocks:
            block.close()


def test_a_log_keeps_its_end_when_it_grows_too_long(tmp_path: Path) -> None:
    """Writers go on at the new end."""
    log = ContainerLog(tmp_path)
    line = b"x" * 99 + b"\n"
    with log.begin() as output:
        output.write(line * (LIMIT // 100 + 1000))
        output.flush()
        log.bound()
        output.write(b"last\n")
    text = log.read() or ""
    assert len(text) <= LIMIT // 2 + 5
    assert text.endswith("x\nlast\n")
    assert text.startswith("x" * 99 + "\n")
    assert log.read(previous=True) is None


def test_a_condition_moves_its_time_only_with_its_status() -> None:
    """A new message alone is no transition."""
    rows = with_condition([], {"type": "Ready", "status": "False", "reason": "A"}, "t1")
    rows = with_condition(rows, {"type": "Ready", "status": "False", "reason": "B"}, "t2")
    assert rows == [{"type": "Ready", "status": "False", "reason": "B", "lastTransitionTime": "t1"}]
    assert with_condition(rows, {"type": "Ready", "status": "True"}, "t3")[0]["lastTransitionTime"] == "t3"


def test_thresholds_count_results_in_a_row() -> None:
    """One success between failures starts the count again."""
    threshold = Threshold(successes=2, failures=3)
    results = [threshold.feed(passed) for passed in (False, False, True, True, False, False, False)]
    assert results == [None, None, None, "passed", None, None, "failed"]


@pytest.mark.parametrize(
    ("init", "main", "expected"),
    [
        ([], ["waiting"], "Pending"),
        ([], ["running", "waiting"], "Running"),
        ([], ["crashed"], "Running"),
        ([], ["ended"], "Succeeded"),
        ([], ["ended", "failed"], "Failed"),
        (["running"], ["waiting"], "Pending"),
        (["ended"], ["running"], "Running"),
        (["failed"], ["waiting"], "Failed"),
    ],
)
def test_a_pods_phase_follows_from_its_containers(init: list[str], main: list[str], expected: str) -> None:
    """Init containers first; one that restarts is still running."""
    assert phase([state(word) for word in init], [state(word) for word in main]) == expected


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "1Gi"}}, "Burstable"),
    ],
)
def test_quality_of_service_follows_from_resources(resources: dict[str, Any], expected: str) -> None:
    """Requests default to limits."""
    assert quality({"containers": [{"resources": resources}]}) == expected


def test_a_scale_down_takes_first_what_is_worth_least() -> None:
    """Unscheduled, then pending, then unready, then restarted, then new."""
    ready = {"type": "Ready", "status": "True"}

    def pod(name: str, node: str, phase: str, *, is_ready: bool, restarts: int, created: str) -> dict[str, Any]:
        status = {"phase": phase, "conditions": [ready] * is_ready, "containerStatuses": [{"restartCount": restarts}]}
        meta = {"name": name, "creationTimestamp": f"2026-01-01T00:00:{created}Z"}
        return {"metadata": meta, "spec": {"nodeName": node}, "status": status}

    pods = [
        pod("best", "n", "Running", is_ready=True, restarts=0, created="01"),
        pod("newer", "n", "Running", is_ready=True, restarts=0, created="02"),
        pod("restarted", "n", "Running", is_ready=True, restarts=3, created="01"),
        pod("unready", "n", "Running", is_ready=False, restarts=0, created="01"),
        pod("pending", "n", "Pending", is_ready=False, restarts=0, created="01"),
        pod("unscheduled", "", "Pending", is_ready=False, restarts=0, created="01"),
    ]
    order = [row["metadata"]["name"] for row in sorted(pods, key=usefulness)]
    assert order == ["unscheduled", "pending", "unready", "restarted", "newer", "best"]


def state(word: str) -> ContainerState:
    """A container in one of its typical states."""
    found = ContainerState("main", "web:1")
    ended = {"terminated": {"exitCode": 1 if word == "failed" else 0}}
    if word == "running":
        found.state = {"running": {}}
    elif word == "crashed":
        found.state, found.last = waiting("CrashLoopBackOff"), {"terminated": {"exitCode": 1}}
    elif word in ("ended", "failed"):
        found.state, found.final = ended, True
    return found
