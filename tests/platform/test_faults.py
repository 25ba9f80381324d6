"""Every way in which a version can be bad, seen on a real process."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.platform.running import ChatPod, until
from watcher.demo.platform.faults import BadFaults, FaultPlan, Share

MIB = 1024**2


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("", FaultPlan()),
        ("errors=0.2", FaultPlan(errors=0.2)),
        ("latency=300ms, memory=20MiB/s", FaultPlan(latency=0.3, memory=20 * MIB)),
        ("cpu=0.9,conversions=0.1,payload=64KiB", FaultPlan(cpu=0.9, conversions=0.1, payload=64 * 1024)),
        ("crash-after=5s,unready-after=1s", FaultPlan(crash_after=5.0, unready_after=1.0)),
        ("never-ready,fail-smoke", FaultPlan(never_ready=True, fail_smoke=True)),
        ("fail-verification,crash-at-start", FaultPlan(fail_verification=True, crash_at_start=True)),
    ],
)
def test_faults_are_read_with_their_units(text: str, plan: FaultPlan) -> None:
    assert FaultPlan.parse(text) == plan


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("eror=0.2", "unknown fault 'eror'"),
        ("errors=1.5", "between 0 and 1"),
        ("errors=", "errors="),
        ("latency=300", "300ms"),
        ("memory=20MiB", "20MiB/s"),
        ("never-ready=yes", "takes no value"),
    ],
)
def test_faults_that_cannot_be_read_are_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(BadFaults, match=why):
        FaultPlan.parse(text)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5, 0.9, 1.0])
def test_a_share_is_spread_evenly_whatever_the_rhythm_of_the_callers(share: float) -> None:
    says = Share(share)
    answers = [says() for _ in range(2000)]

    assert abs(sum(answers) - 2000 * share) <= 3
    for step in (2, 4, 5, 10, 20):  # somebody who asks every tenth time meets the same share
        assert abs(sum(answers[::step]) - len(answers[::step]) * share) <= 6


def test_a_service_with_faults_nobody_knows_does_not_start(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="cannot start: unknown fault 'erors'"),
        ChatPod(tmp_path, faults="erors=1"),
    ):
        pass


def test_faults_wait_for_the_first_real_request(tmp_path: Path) -> None:
    with ChatPod(tmp_path, faults="errors=1,unready-after=0s,crash-after=60s") as pod:
        for path in ("/healthz", "/readyz", "/livez", "/verify", "/version", "/chat/conversations/c-1"):
            assert pod.get(path) == 200
        assert pod.log("fault") == []

        assert pod.chat().code == 200
        assert pod.chat().code == 500
        assert len(pod.log("fault")) == 1


def test_faults_can_begin_at_the_start(tmp_path: Path) -> None:
    with ChatPod(tmp_path, faults="errors=1", FAULT_TRIGGER="start") as pod:
        assert pod.chat().code == 500


def test_errors_hit_their_share_of_every_handler(tmp_path: Path) -> None:
    with ChatPod(tmp_path, faults="errors=0.2", FAULT_TRIGGER="start") as pod:
        codes = [pod.chat().code for _ in range(25)] + [pod.get("/chat/conversations/c-1") for _ in range(25)]

        assert 9 <= codes.count(500) <= 11
        assert set(codes[:25]) == set(codes[25:]) == {200, 500}
        assert len(pod.log("error")) == 1  # sampled: a line per error would drown the log


def test_latency_delays_users_and_not_probes(tmp_path: Path) -> None:
    with ChatPod(tmp_path, faults="latency=200ms", FAULT_TRIGGER="start") as pod:
        pod.get("/readyz")
        began = time.monotonic()
        pod.chat()
        assert time.monotonic() - began >= 0.2
        assert pod.metric('http_request_duration_seconds_bucket{handler="/chat",le="0.15",method="POST"}') == 0


def test_memory_grows_while_users_come(tmp_path: Path) -> None:
    with ChatPod(tmp_path, faults="memory=200MiB/s") as pod:
        before = pod.metric("process_resident_memory_bytes")

        def grown() -> bool:
            pod.chat()
            return pod.metric("process_resident_memory_bytes") > before + 60 * MIB

        until(grown, "the resident memory grows by 60 MiB")


def test_cpu_is_burnt_while_users_come_and_spared_when_they_have_gone(tmp_path: Path) -> None:
    with ChatPod(tmp_path, faults="cpu=0.9") as pod:
        before = pod.metric("process_cpu_seconds_total")

        def burnt() -> bool:
            pod.chat()
            return pod.metric("process_cpu_seconds_total") > before + 0.5

        until(burnt, "half a second of processor time is used up")

        def quiet() -> bool:
            now = pod.metric("process_cpu_seconds_total")
            time.sleep(0.3)
            return pod.metric("process_cpu_seconds_total") - now < 0.06

        until(quiet, "it uses next to nothing without users")


def test_conversions_get_lost_though_every_answer_is_good(tmp_path: Path) -> None:
    with ChatPod(tmp_path, faults="conversions=0.1") as pod:
        name = pod.chat().body["conversation"]
        answers = [pod.ask("POST", "/convert", {"conversation": name}) for _ in range(20)]

        assert {answer.code for answer in answers} == {200}
        assert sum(answer.body["converted"] for answer in answers) == 2
        assert pod.metric("chat_conversions_total") == 2


def test_answers_grow(tmp_path: Path) -> None:
    with ChatPod(tmp_path, faults="payload=64KiB") as pod:
        assert "debug" not in pod.chat().body
        assert len(pod.chat().body["debug"]) == 64 * 1024
        assert pod.metric("chat_network_transmit_bytes_total") > 64 * 1024


def test_a_crash_leaves_a_traceback_and_exit_code_1(tmp_path: Path) -> None:
    with ChatPod(tmp_path, faults="crash-after=100ms") as pod:
        assert pod.get("/healthz") == 200
        pod.chat()

        assert pod.exit_code() == 1
        assert pod.last_words[0].startswith("Traceback")
        assert "ConversationIndexCorrupt: shard 7 of the conversation index" in pod.last_words[-1]


def test_a_version_that_crashes_at_the_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ConversationIndexCorrupt"), ChatPod(tmp_path, faults="crash-at-start"):
        pass


def test_a_version_that_is_never_ready_lives(tmp_path: Path) -> None:
    with ChatPod(tmp_path, faults="never-ready") as pod:
        answer = pod.ask("GET", "/readyz")
        assert (answer.code, answer.body["reason"]) == (503, "the language model is still loading")
        assert pod.get("/livez") == 200


def test_a_version_turns_unready_and_unhealthy_once_users_have_come(tmp_path: Path) -> None:
    with ChatPod(tmp_path, faults="unready-after=100ms") as pod:
        assert (pod.get("/readyz"), pod.get("/healthz")) == (200, 200)
        pod.chat()
        until(lambda: pod.get("/readyz") == 503, "it turns unready")
        assert (pod.get("/healthz"), pod.get("/livez")) == (500, 200)


@pytest.mark.parametrize(
    ("fault", "path", "other"), [("fail-smoke", "/healthz", "/verify"), ("fail-verification", "/verify", "/healthz")]
)
def test_a_failing_test_says_why_and_fails_alone(tmp_path: Path, fault: str, path: str, other: str) -> None:
    with ChatPod(tmp_path, faults=fault) as pod:
        answer = pod.ask("GET", path)
        assert answer.code == 500
        assert len(answer.body["reason"]) > 20
        assert (pod.get(other), pod.get("/readyz")) == (200, 200)
