"""The chat service as its clients, its kubelet and Prometheus meet it."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

import pytest

from tests.platform.running import ChatPod, Service, until
from watcher.demo.platform.load import LoadGenerator

CHATS = 'http_requests_total{code="200",handler="/chat",method="POST"}'


def test_a_good_version_answers_checks_and_users_and_says_who_it_is(tmp_path: Path) -> None:
    with ChatPod(tmp_path, version="2.4.0") as pod:
        assert [pod.get(path) for path in ("/healthz", "/readyz", "/livez", "/version", "/verify")] == [200] * 5
        first = pod.chat()
        name = first.body["conversation"]
        pod.ask("POST", "/chat", {"conversation": name, "text": "and then?"})
        history = pod.ask("GET", f"/chat/conversations/{name}").body["messages"]
        converted = pod.ask("POST", "/convert", {"conversation": name, "text": "subscribe"})

    assert (first.headers["X-Version"], first.headers["X-Color"], first.headers["X-Pod"]) == (
        "2.4.0",
        "green",
        "pod-1",
    )
    assert [row["text"] for row in history if row["from"] == "user"] == ["hello", "and then?"]
    assert converted.body["converted"] is True


def test_a_conversation_of_another_pod_is_continued_and_not_counted_again(tmp_path: Path) -> None:
    with ChatPod(tmp_path) as pod:
        assert pod.get("/chat/conversations/c-elsewhere") == 200
        assert pod.ask("POST", "/chat", {"conversation": "c-elsewhere", "text": "hi"}).code == 200
        assert pod.metric("chat_conversations_total") == 0
        assert pod.metric("chat_active_users") == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/nowhere", None, 404),
        ("GET", "/chat/conversations/no%20such%20id", None, 404),
        ("POST", "/healthz", {}, 405),
        ("POST", "/chat", b"{", 400),
        ("POST", "/chat", [], 400),
        ("POST", "/chat", {"conversation": "a/b", "text": ""}, 400),
        ("POST", "/chat", {"text": 7}, 400),
        ("POST", "/convert", {"text": "subscribe"}, 400),
        ("POST", "/chat", b" " * 70_000, 413),
    ],
)
def test_a_bad_request_is_the_clients_error(tmp_path: Path, method: str, path: str, body: object, code: int) -> None:
    with ChatPod(tmp_path) as pod:
        assert pod.ask(method, path, body).code == code
        assert pod.chat().code == 200


def test_what_prometheus_reads_follows_the_client_libraries_names(tmp_path: Path) -> None:
    with ChatPod(tmp_path, version="2.4.0") as pod:
        name = pod.chat().body["conversation"]
        pod.ask("POST", "/convert", {"conversation": name})

        assert pod.metric(CHATS) == 1
        assert pod.metric('http_request_duration_seconds_bucket{handler="/chat",le="+Inf",method="POST"}') == 1
        assert pod.metric('http_request_duration_seconds_bucket{handler="/chat",le="0.005",method="POST"}') in (0, 1)
        assert pod.metric('app_info{version="2.4.0"}') == 1
        assert (pod.metric("chat_conversations_total"), pod.metric("chat_conversions_total")) == (1, 1)
        assert pod.metric("chat_network_receive_bytes_total") > 100
        assert pod.metric("chat_network_transmit_bytes_total") > 200
        assert pod.metric("process_cpu_seconds_total") > 0
        assert pod.metric("process_resident_memory_bytes") > 10_000_000


def test_errors_that_have_not_happened_yet_are_zero_and_not_absent(tmp_path: Path) -> None:
    with ChatPod(tmp_path) as pod:
        assert pod.metric('http_requests_total{code="500",handler="/chat",method="POST"}') == 0


def test_probes_scrapes_and_self_checks_are_not_traffic(tmp_path: Path) -> None:
    with ChatPod(tmp_path) as pod:
        for path in ("/healthz", "/readyz", "/livez", "/version", "/verify", "/metrics"):
            pod.get(path)
        page: str = pod.ask("GET", "/metrics").body

    counted = [line for line in page.splitlines() if line.startswith("http_requests_total{")]
    assert counted
    assert all(line.endswith(" 0.0") for line in counted)


def test_a_request_repeated_under_its_key_is_answered_again_and_counted_as_business_once(tmp_path: Path) -> None:
    with ChatPod(tmp_path) as pod:
        first, again = (pod.ask("POST", "/chat", {"text": "hi"}, Idempotency_Key="k-1").body for _ in range(2))

        assert again == first
        assert pod.metric("chat_conversations_total") == 1


def test_one_connection_carries_many_requests(tmp_path: Path) -> None:
    with ChatPod(tmp_path) as pod:
        connection = http.client.HTTPConnection("127.0.0.1", pod.port, timeout=5)
        connection.connect()
        first: socket.socket = connection.sock
        for _ in range(5):
            connection.request("GET", "/version")
            connection.getresponse().read()
            assert connection.sock is first
        connection.close()


def test_a_pod_that_is_told_to_stop_loses_no_request(tmp_path: Path) -> None:
    with (
        ChatPod(tmp_path, version="2.3.0", DRAIN="2") as old,
        ChatPod(tmp_path, version="2.4.0") as new,
        Service(old) as service,
        LoadGenerator(service.url, rate=150) as load,
    ):
        until(lambda: load.snapshot().versions.get("2.3.0", 0) > 50, "the old version serves")
        old.terminate()
        until(lambda: old.log("stopping"), "the old pod drains")
        opened = load.snapshot().connections
        until(lambda: load.snapshot().connections > opened + 10, "users still arrive at the old pod")
        service.selected = new  # the endpoints change only a while after the pod was told, as in a cluster
        assert old.exit_code() == 0
        before = load.snapshot().requests
        until(lambda: load.snapshot().requests > before + 50, "the new version serves")
        seen = load.stop()

        assert (seen.failed, set(seen.versions)) == (0, {"2.3.0", "2.4.0"}), seen.results


def test_a_request_in_progress_is_finished_after_the_door_has_closed(tmp_path: Path) -> None:
    with ChatPod(tmp_path, DRAIN="0.1") as pod:
        connection = http.client.HTTPConnection("127.0.0.1", pod.port, timeout=5)
        connection.putrequest("POST", "/chat")
        connection.putheader("Content-Length", "14")
        connection.endheaders()
        pod.terminate()
        until(lambda: not pod.accepts(), "no new connection is accepted")
        connection.send(b'{"text": "hi"}')
        answer = connection.getresponse()

        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        connection.close()
        assert pod.exit_code() == 0


def test_while_it_drains_it_is_not_ready_and_closes_its_connections(tmp_path: Path) -> None:
    with ChatPod(tmp_path, DRAIN="1") as pod:
        connection = http.client.HTTPConnection("127.0.0.1", pod.port, timeout=5)
        connection.connect()
        pod.terminate()
        until(lambda: pod.log("stopping"), "the pod drains")
        connection.request("GET", "/readyz")
        answer = connection.getresponse()

        assert (answer.status, answer.headers["Connection"]) == (503, "close")
        connection.close()
        assert pod.exit_code() == 0
