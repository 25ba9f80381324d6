"""What was tried to get in without the right, and is refused."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.api.conftest import APPROVER, ELSEWHERE, ONE_RELEASE, READER, RELEASER, Site, opened, problem
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE

LIST = "/api/v1/releases"
APP = f"/api/v1/applications/{NAMESPACE}/{APPLICATION}"


def of(name: str, verb: str = "") -> str:
    return f"{LIST}/{NAMESPACE}/{name}" + (f"/{verb}" if verb else "")


def test_without_configuration_loopback_reads_and_nobody_writes(tmp_path: Path) -> None:
    with opened(tmp_path, {}) as site:
        assert site.ask("GET", LIST).status_code == 200
        assert site.ask("GET", APP).status_code == 200
        problem(site.create(token=""), 401)
        problem(site.create(token=RELEASER), 401)
        problem(site.ask("POST", APP + "/rollback"), 401)
        assert site.hands.read_releases(NAMESPACE) == ()


def test_a_token_that_is_not_let_in_is_refused_even_where_none_would_do(site: Site) -> None:
    for token in ("unknown-0123456789", RELEASER + "x", RELEASER[:-1], RELEASER.upper(), "pipeline"):
        refused = site.ask("GET", LIST, token)
        problem(refused, 401)
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert token not in refused.text


@pytest.mark.parametrize(
    "header",
    ["Basic cGlwZWxpbmU6eA==", "Bearer", "Bearer ", f"{RELEASER}", f"Token {RELEASER}", "Bearer " + "x" * 9000],
)
def test_what_is_no_bearer_token_is_refused(site: Site, header: str) -> None:
    problem(site.ask("GET", LIST, headers={"Authorization": header}), 401)


def test_a_token_in_the_query_is_refused(site: Site) -> None:
    problem(site.ask("GET", f"{LIST}?access_token={RELEASER}"), 400)


def test_a_role_that_is_not_had_is_refused(site: Site) -> None:
    name = site.create().json()["name"]
    problem(site.create(token=READER), 403)
    problem(site.create(token=APPROVER), 403)
    problem(site.ask("POST", of(name, "approve"), RELEASER), 403)
    problem(site.ask("POST", of(name, "rollback"), APPROVER), 403)
    problem(site.ask("POST", APP + "/rollback", READER), 403)
    assert len(site.hands.read_releases(NAMESPACE)) == 1


def test_another_scope_sees_nothing_and_changes_nothing(site: Site) -> None:
    name = site.create().json()["name"]
    assert site.ask("GET", LIST, ELSEWHERE).json() == {"items": []}
    assert site.ask("GET", "/api/v1/applications", ELSEWHERE).json() == {"items": []}
    for path in (of(name), APP, APP + "/rules"):
        problem(site.ask("GET", path, ELSEWHERE), 404)
    problem(site.create(token=ELSEWHERE), 403)
    problem(site.ask("POST", APP + "/rollback", ELSEWHERE), 403)
    for verb in ("approve", "pause", "resume", "abort", "rollback"):
        problem(site.ask("POST", of(name, verb), ELSEWHERE), 404)
    left = site.hands.read_release(NAMESPACE, name)
    assert left is not None
    assert (left.spec.abort, left.spec.rollback, left.spec.pause) == (None, None, None)


def test_a_changed_token_file_counts_at_once(site: Site) -> None:
    file = site.directory / "screen.token"
    file.write_text("screen-the-new-token\n", "utf-8")
    problem(site.ask("GET", LIST, READER), 401)
    assert site.ask("GET", LIST, "screen-the-new-token").status_code == 200
    file.write_text(f"screen-the-new-token\n{READER}\n", "utf-8")
    assert site.ask("GET", LIST, READER).status_code == 200, "during a rotation both count"
    file.unlink()
    problem(site.ask("GET", LIST, READER), 401)


@pytest.mark.parametrize(
    "header",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Forwarded-Proto": "https"},
        {"X-Client-IP": "203.0.113.9"},
        {"CF-Connecting-IP": "203.0.113.9"},
        {"Forwarded": "for=127.0.0.1"},
        {"X-Real-IP": "127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1.evil.example:8080"},
        {"Host": "127.0.0.1:80@evil.example"},
        {"Host": "localhost:evil.example"},
        {"Host": "[::1].evil.example"},
        {"Host": "0.0.0.0"},  # noqa: S104 - asked for, not listened on
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
)
def test_what_came_through_a_proxy_or_by_another_name_is_not_loopback(site: Site, header: dict[str, str]) -> None:
    problem(site.ask("GET", LIST, headers=header), 401)
    assert site.ask("GET", "/", headers=header).status_code == 403


@pytest.mark.parametrize(
    "header",
    [
        {"Host": "localhost:8080"},
        {"Host": "[::1]:8080"},
        {"Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_a_browser_on_this_machine_may_look_also_by_a_link_from_elsewhere(site: Site, header: dict[str, str]) -> None:
    assert site.ask("GET", LIST, headers=header).status_code == 200
    page = site.ask("GET", "/", headers=header)
    assert page.status_code == 200
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


def test_no_other_site_is_allowed_to_read_or_ask(site: Site) -> None:
    asks = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (site.ask("OPTIONS", LIST, headers=asks), site.ask("GET", LIST, READER, headers=asks)):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    problem(site.ask("POST", LIST, body=ONE_RELEASE, headers={"Origin": "https://evil.example"}), 401)
    cookie = {"Host": "evil.example", "Cookie": f"token={RELEASER}"}
    problem(site.ask("POST", LIST, body=ONE_RELEASE, headers=cookie), 401)
    assert site.hands.read_releases(NAMESPACE) == ()


@pytest.mark.parametrize(
    "path",
    [
        f"{LIST}/../releases/{NAMESPACE}/x",
        f"{LIST}/{NAMESPACE}/..%2f..%2f..%2fpods",
        f"{LIST}/{NAMESPACE}%2F..%2F..%2Fkube-system/x",
        f"{LIST}/..%2f..%2fapi/x",
        f"{LIST}//x",
        f"{LIST}/{NAMESPACE}/x%00",
        f"{LIST}/{NAMESPACE}/x%0d%0aX-Evil:%20y",
        f"{LIST}/{NAMESPACE.upper()}/x",
        f"{LIST}/{NAMESPACE}/x/",
        f"{LIST}/{NAMESPACE}/x/unheard-of",
        f"{LIST}/",
        f"{LIST}/{NAMESPACE}/x.",
        f"{LIST}/{NAMESPACE}/%252e%252e",
        "/api%2fv1/releases",
        "/api/v1/%72eleases",
        "/api/v1/%c0%ae%c0%ae/releases",
        "/livez/../api/v1/releases",
        "/livez\\..\\api\\v1\\releases",
        "http://evil.example/api/v1/releases",
        "//api/v1/releases",
        "/API/v1/releases",
        "/api/v1/releases;x",
    ],
)
def test_a_path_that_is_not_exactly_one_of_ours_leads_nowhere(site: Site, path: str) -> None:
    assert raw(site, f"GET {path} HTTP/1.1").startswith(b"HTTP/1.1 404 ")


def test_a_body_that_is_too_large_is_refused_however_it_is_sent(site: Site) -> None:
    problem(site.create(version="x" * 300_000), 413)
    said = raw(site, f"POST {LIST} HTTP/1.1", *json_by(RELEASER), "Content-Length: 99999999999999")
    assert said.startswith(b"HTTP/1.1 413 ")
    chunks = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    said = raw(site, f"POST {LIST} HTTP/1.1", *json_by(RELEASER), "Transfer-Encoding: chunked", body=chunks * 5)
    assert said.startswith(b"HTTP/1.1 413 ")


def test_a_body_that_is_nested_too_deeply_is_refused(site: Site) -> None:
    for open_, close in (("[", "]"), ('{"a":', "}")):
        body = open_ * 40 + "1" + close * 40
        said = raw(
            site, f"POST {LIST} HTTP/1.1", *json_by(RELEASER), f"Content-Length: {len(body)}", body=body.encode()
        )
        assert said.startswith(b"HTTP/1.1 400 ")
        assert b"nested" in said
    assert site.create(version="[" * 100).status_code == 201, "brackets in a text nest nothing"


def test_a_body_that_is_no_json_object_is_refused(site: Site) -> None:
    for body, status in ((b"{", 400), (b"[]", 422), (b"null", 422), (b"\xff", 400), (b'{"version": "\\ud800"}', 400)):
        said = raw(site, f"POST {LIST} HTTP/1.1", *json_by(RELEASER), f"Content-Length: {len(body)}", body=body)
        assert said.startswith(b"HTTP/1.1 %d " % status), (body, said)
    form = [f"Authorization: Bearer {RELEASER}", "Content-Type: text/plain", "Content-Length: 2"]
    assert raw(site, f"POST {LIST} HTTP/1.1", *form, body=b"{}").startswith(b"HTTP/1.1 415 ")


def test_a_key_that_is_there_twice_is_refused(site: Site) -> None:
    whole = json.dumps(ONE_RELEASE)
    for body in (
        f'{{"namespace": "elsewhere", {whole[1:]}',
        whole.replace('"images": {', '"images": {"chat": "evil:1", '),
    ):
        said = raw(
            site, f"POST {LIST} HTTP/1.1", *json_by(RELEASER), f"Content-Length: {len(body)}", body=body.encode()
        )
        assert said.startswith(b"HTTP/1.1 400 ")
        assert b"more than once" in said
    assert site.hands.read_releases(NAMESPACE) == ()


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: +2"],
        ["Content-Length: 0x2"],
        ["Content-Length: -1"],
        ["Content-Length : 2"],
        ["Content-Length: 2", "Content-Length: 3"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: \x0bchunked"],
        ["X: a\rAuthorization: Bearer y"],
        ["X: a\x00b"],
        ["Host: evil.example"],
    ],
)
def test_a_head_that_could_be_read_in_two_ways_is_refused(site: Site, headers: list[str]) -> None:
    said = raw(site, f"POST {LIST} HTTP/1.1", *json_by(RELEASER), *headers, body=b"{}")
    assert said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), said


def test_what_comes_after_the_head_proves_nothing(site: Site) -> None:
    """Neither a trailer, nor the request before on the same connection."""
    body = json.dumps(ONE_RELEASE).encode()
    chunked = b"%x\r\n" % len(body) + body + b"\r\n0\r\nAuthorization: Bearer " + RELEASER.encode() + b"\r\n\r\n"
    head = ["Content-Type: application/json", "Transfer-Encoding: chunked", "Trailer: Authorization"]
    assert raw(site, f"POST {LIST} HTTP/1.1", *head, body=chunked).startswith(b"HTTP/1.1 401 ")
    first = f"GET {LIST} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {RELEASER}\r\n\r\n"
    said = raw(
        site,
        f"{first}POST {LIST} HTTP/1.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        body=body,
    )
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 401 " in said
    assert site.hands.read_releases(NAMESPACE) == ()


def test_a_request_within_a_request_is_no_request(site: Site) -> None:
    """What a proxy might take for a body may not become a request of its own here."""
    inner = f"POST {APP}/rollback HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {RELEASER}\r\nContent-Length: 0\r\n\r\n"
    smuggled = f"0\r\n\r\n{inner}".encode()
    for headers in (
        ["Transfer-Encoding: chunked", f"Content-Length: {len(smuggled)}"],
        ["Content-Length: 5", f"Content-Length: {len(smuggled)}"],
        ["Transfer-Encoding: xchunked", f"Content-Length: {len(smuggled)}"],
        ["Transfer-Encoding : chunked", f"Content-Length: {len(smuggled)}"],
    ):
        said = raw(site, f"POST {LIST} HTTP/1.1", *json_by(READER), *headers, body=smuggled)
        assert said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), (headers, said)
        assert said.count(b"HTTP/1.1") == 1
    assert site.hands.read_releases(NAMESPACE) == ()


def test_two_authorizations_are_none(site: Site) -> None:
    said = raw(site, f"GET {LIST} HTTP/1.1", f"Authorization: Bearer {READER}", f"Authorization: Bearer {RELEASER}")
    assert said.startswith(b"HTTP/1.1 401 ")


def test_guessing_tokens_is_slowed_down(site: Site) -> None:
    answers = [site.ask("GET", LIST, f"guess-{n:020}") for n in range(60)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    problem(refused[0], 429)
    assert int(refused[0].headers["retry-after"]) >= 1


def json_by(token: str) -> list[str]:
    return [f"Authorization: Bearer {token}", "Content-Type: application/json"]


def raw(site: Site, first: str, *headers: str, body: bytes = b"") -> bytes:
    """What comes to a request that is sent byte for byte, until the connection ends."""
    lines = [first, "Host: localhost", *headers, "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", site.server.port), 10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        found = b""
        try:
            connection.sendall(body)
            while chunk := connection.recv(65536):
                found += chunk
        except ConnectionError:
            pass  # it may close on a body that it does not want to the end
        return found


def test_the_request_that_the_others_are_held_against_is_let_in(site: Site) -> None:
    assert site.create().status_code == 201
    assert set(ONE_RELEASE) == {"namespace", "application", "version", "images"}
