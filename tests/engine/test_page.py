"""The HTTP side: probes and metrics for all, the page for loopback alone, and nothing on it that was not escaped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from prometheus_client import Gauge

from tests.support.acting import until
from watcher.api.app import create_app
from watcher.api.page import NEWEST
from watcher.api.server import Server
from watcher.core.release import Colors, Phase, Release, RuleRecord, Spec, Status
from watcher.engine.measures import Measures

EVIL = "<script>alert(1)</script>\"'&"


class Shown:
    """What the daemon shows, put together by hand."""

    def __init__(self) -> None:
        self.why = ""
        self.found: list[Release] = []
        self.measures = Measures()
        Gauge("watcher_test", "A number.", registry=self.measures.registry).set(7)

    def ready(self) -> str:
        return self.why

    def releases(self) -> list[Release]:
        return self.found

    def active_colors(self) -> dict[tuple[str, str], str]:
        return {("prod", EVIL): EVIL, ("prod", "unseen"): ""}

    def problems(self) -> list[str]:
        return [f"rules.yaml:3:5 {EVIL}"]


def release(name: str = "r1", phase: Phase = Phase.WATCHING, message: str = "") -> Release:
    rule = RuleRecord(name=EVIL, outcome=EVIL, message=EVIL, threshold=EVIL, query=EVIL)
    return Release(
        name=name,
        namespace="prod",
        uid="u",
        resource_version="1",
        created_at=datetime(2026, 11, 23, tzinfo=UTC),
        spec=Spec(application="shop", version=EVIL),
        status=Status(phase=phase, message=message, colors=Colors(from_=EVIL, to="green"), rules=(rule,)),
    )


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def url(shown: Shown) -> Iterator[str]:
    server = Server(create_app(shown), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


def get(url: str) -> requests.Response:
    return requests.get(url, timeout=5, allow_redirects=False)


def test_what_comes_from_outside_is_escaped(shown: Shown, url: str) -> None:
    shown.found = [release(EVIL, message=EVIL)]
    answer = get(url)
    assert answer.status_code == 200
    assert "<script" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text
    assert "\"'&" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_page_says_who_serves_what_happens_and_what_is_wrong(shown: Shown, url: str) -> None:
    shown.found = [release("shop-7", Phase.ROLLED_BACK, "Rolled back: error-rate was 4.2% (limit 1%).")]
    text = get(url).text
    for expected in ("shop-7", "RolledBack", "error-rate was 4.2% (limit 1%)", "unseen", "unknown", "rules.yaml:3:5"):
        assert expected in text


def test_the_numbers_of_what_just_went_back_stay_on_the_page(shown: Shown, url: str) -> None:
    back = release("shop-8", Phase.ROLLED_BACK)
    refused = back.model_copy(update={"name": "shop-9", "status": Status(phase=Phase.FAILED)})
    shown.found = [refused, back, release("shop-7", Phase.COMPLETED)]
    text = get(url).text
    assert "Rules of shop-8" in text
    assert "Rules of shop-7" not in text


def test_the_page_stays_short_however_many_releases_there_are(shown: Shown, url: str) -> None:
    shown.found = [release(f"shop-{n}", Phase.COMPLETED) for n in range(500)]
    assert get(url).text.count("<td>shop-") == NEWEST


@pytest.mark.parametrize(
    ("path", "client", "forwarded", "status"),
    [
        ("/", "127.0.0.1", False, 200),
        ("/", "::1", False, 200),
        ("/", "127.0.0.1", True, 403),
        ("/", "10.1.2.3", True, 403),
        ("/", "2001:db8::1", True, 403),
        ("/", "somewhere", True, 403),
        ("/livez", "10.1.2.3", True, 200),
        ("/readyz", "10.1.2.3", True, 200),
        ("/metrics", "10.1.2.3", True, 200),
    ],
)
def test_the_page_is_for_loopback_alone(path: str, client: str, forwarded: bool, status: int, shown: Shown) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"x-forwarded-for", b"127.0.0.1")] if forwarded else [],
        "client": (client, 4711),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
        "http_version": "1.1",
        "root_path": "",
    }
    shown.found = [release()]
    asyncio.run(create_app(shown)(scope, receive, send))
    assert sent[0]["status"] == status
    if status == 403:
        assert b"shop" not in b"".join(m.get("body", b"") for m in sent)


def test_probes_and_metrics(shown: Shown, url: str) -> None:
    assert get(f"{url}/livez").status_code == 200
    assert get(f"{url}/readyz").status_code == 200
    assert "watcher_test 7.0" in get(f"{url}/metrics").text
    shown.why = "the API server has not answered every list yet"
    answer = get(f"{url}/readyz")
    assert answer.status_code == 503
    assert shown.why in answer.text
    assert get(f"{url}/livez").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(method: str, url: str) -> None:
    for path in ("/", "/metrics", "/readyz"):
        assert requests.request(method, url + path, timeout=5).status_code == 405


def test_a_server_that_is_stopped_frees_its_port(shown: Shown) -> None:
    first = Server(create_app(shown), "127.0.0.1", 0)
    first.start()
    assert get(f"http://127.0.0.1:{first.port}/livez").ok
    first.stop()
    second = Server(create_app(shown), "127.0.0.1", first.port)
    second.start()
    assert get(f"http://127.0.0.1:{first.port}/livez").ok
    second.stop()


def test_requests_are_counted_by_route_and_never_by_what_somebody_sent(shown: Shown, url: str) -> None:
    get(f"{url}/livez")
    shown.why = "it has just started"
    get(f"{url}/readyz")
    get(f"{url}/no/{'such' * 50}?token=secret")
    requests.request("PROPFIND", f"{url}/livez", timeout=5)

    def counted(method: str, route: str, code: int) -> float | None:
        labels = {"method": method, "route": route, "code": str(code)}
        return shown.measures.registry.get_sample_value("watcher_http_requests_total", labels)

    asked = (("GET", "/livez", 200), ("GET", "/readyz", 503), ("GET", "other", 404), ("other", "/livez", 405))
    # A request is counted once its answer is out.
    until(lambda: all(counted(*one) for one in asked), "the requests to be counted")
    assert [counted(*one) for one in asked] == [1, 1, 1, 1]
    text = get(f"{url}/metrics").text
    assert 'watcher_http_request_seconds_count{method="GET",route="/livez"} 1.0' in text
    assert "suchsuch" not in text
    assert "token=secret" not in text
    assert "PROPFIND" not in text
