"""The API asks for releases and steers them, in the caller's name, once per Idempotency-Key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.api.conftest import APPROVER, READER, RELEASER, Site, problem
from watcher.core.release import Phase, Status
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE

APP = f"/api/v1/applications/{NAMESPACE}/{APPLICATION}"


def of(name: str, verb: str = "") -> str:
    return f"/api/v1/releases/{NAMESPACE}/{name}" + (f"/{verb}" if verb else "")


def test_a_release_that_is_asked_for_is_there_at_once_in_the_callers_name(site: Site) -> None:
    created = site.create()
    assert created.status_code == 201, created.text
    name = created.json()["name"]
    assert created.headers["location"] == of(name)

    read = site.ask("GET", of(name), READER).json()
    assert read["spec"]["requestedBy"] == "pipeline"
    assert (read["spec"]["version"], read["spec"]["images"]) == ("2.5.0", {"chat": "chat:2.5.0"})
    assert [one["name"] for one in site.ask("GET", "/api/v1/releases", READER).json()["items"]] == [name]
    stored = site.hands.read_release(NAMESPACE, name)
    assert stored is not None
    assert stored.spec.requested_by == "pipeline"


def test_a_release_asked_for_twice_with_one_key_is_one(site: Site) -> None:
    first, second, other = site.create(key="run-1"), site.create(key="run-1"), site.create(key="run-2")

    assert [first.status_code, second.status_code, other.status_code] == [201, 200, 201]
    assert first.json()["name"] == second.json()["name"] != other.json()["name"]
    assert "another request" in problem(site.create(key="run-1", version="2.6.0"), 409)
    assert len(site.hands.read_releases(NAMESPACE)) == 2


def test_many_requests_with_one_key_at_the_same_time_make_one_release(site: Site) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: site.create(key="at-once"), range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["name"] for answer in answers}) == 1


def test_commands_are_recorded_with_who_and_why(site: Site) -> None:
    name = site.create().json()["name"]
    assert site.ask("POST", of(name, "pause"), RELEASER, {"reason": "a look first"}).status_code == 200
    paused = site.hands.read_release(NAMESPACE, name)
    assert paused is not None
    assert paused.spec.pause is not None
    assert (paused.spec.pause.by, paused.spec.pause.reason) == ("pipeline", "a look first")

    assert site.ask("POST", of(name, "resume"), RELEASER).status_code == 200
    assert site.ask("POST", of(name, "approve"), APPROVER).status_code == 200
    assert site.ask("POST", of(name, "abort"), RELEASER).status_code == 200
    steered = site.hands.read_release(NAMESPACE, name)
    assert steered is not None
    assert steered.spec.paused is None
    assert steered.spec.resume is not None
    assert steered.spec.resume.by == "pipeline"
    assert steered.spec.approve is not None
    assert steered.spec.approve.by == "boss"
    assert steered.spec.abort is not None


def test_a_command_sent_again_with_its_key_is_followed_once(site: Site) -> None:
    name = site.create().json()["name"]
    key = {"Idempotency-Key": "pause-1"}
    site.ask("POST", of(name, "pause"), RELEASER, headers=key)
    site.ask("POST", of(name, "resume"), RELEASER)
    again = site.ask("POST", of(name, "pause"), RELEASER, headers=key)

    assert again.status_code == 200
    assert "resume" in again.json()["spec"], "the pause was given again"
    problem(site.ask("POST", of(name, "abort"), RELEASER, headers=key), 409)


def ended(site: Site, name: str) -> None:
    """The Release ends, as far as the API can tell."""
    release = site.hands.read_release(NAMESPACE, name)
    assert release is not None
    site.hands.write_status(release, Status(phase=Phase.FAILED, reason="NoService", message="There is no Service."))


def test_what_has_ended_is_steered_no_more(site: Site) -> None:
    name = site.create().json()["name"]
    ended(site, name)
    assert "has ended" in problem(site.ask("POST", of(name, "pause"), RELEASER), 409)


def test_a_rollback_with_no_release_running_is_a_release_of_its_own(site: Site) -> None:
    key = {"Idempotency-Key": "back"}
    first = site.ask("POST", APP + "/rollback", RELEASER, {"reason": "users complain"}, key)
    again = site.ask("POST", APP + "/rollback", RELEASER, {"reason": "users complain"}, key)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["name"] == again.json()["name"]
    assert first.json()["spec"]["rollback"]["by"] == "pipeline"


def test_applications_are_shown_with_their_colours_and_rules(site: Site) -> None:
    (one,) = site.ask("GET", "/api/v1/applications", READER).json()["items"]
    assert one["name"] == APPLICATION
    assert one["colors"]["blue"] == {"deployment": f"{APPLICATION}-blue"}
    assert site.ask("GET", APP, READER).json() == one
    assert site.ask("GET", APP + "/rules?color=green", READER).json() == {"color": "green", "items": []}


def test_what_is_wrong_with_a_request_is_said_by_name(site: Site) -> None:
    wrong = site.create(version="", images={})
    problem(wrong, 422)
    assert {one["name"] for one in wrong.json()["errors"]} == {"version", "images"}
    problem(site.create(application="unheard-of"), 404)
    problem(site.create(colour="blue"), 422)
    problem(site.ask("GET", "/api/v1/releases?colour=blue", READER), 400)
    problem(site.ask("GET", "/api/v1/releases?limit=x", READER), 400)
    problem(site.ask("GET", of("unheard-of"), READER), 404)
    problem(site.ask("GET", "/api/v1/nothing", READER), 404)
    refused = site.ask("DELETE", "/api/v1/releases", RELEASER)
    problem(refused, 405)
    assert set(refused.headers["allow"].split(", ")) >= {"GET", "POST"}
