"""Whoever waits for a Release hears of its changes at once, by a long poll or by events, and holds nothing after."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from tests.api.conftest import READER, Site, problem
from tests.support.acting import until
from watcher.core.release import Phase, Status
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE


def of(name: str, verb: str) -> str:
    return f"/api/v1/releases/{NAMESPACE}/{name}/{verb}"


def becomes(site: Site, name: str, phase: Phase) -> None:
    release = site.hands.read_release(NAMESPACE, name)
    assert release is not None
    site.hands.write_status(release, Status(phase=phase, message=f"It is {phase.value}."))


def test_a_long_poll_answers_when_the_release_ends(site: Site) -> None:
    name = site.create().json()["name"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(site.ask, "GET", of(name, "wait") + "?timeout=60", READER)
        becomes(site, name, Phase.DEPLOYING)
        becomes(site, name, Phase.COMPLETED)
        answer = waiting.result(15)
    assert answer.json()["status"]["phase"] == "Completed"
    assert site.ask("GET", of(name, "wait") + "?timeout=60", READER).json()["status"]["phase"] == "Completed"


def test_a_long_poll_answers_when_there_is_something_newer_and_when_its_time_is_over(site: Site) -> None:
    created = site.create().json()
    name, since = created["name"], created["resourceVersion"]
    still = site.ask("GET", of(name, "wait") + f"?timeout=0.1&since={since}", READER).json()
    assert still["resourceVersion"] == since
    becomes(site, name, Phase.DEPLOYING)
    newer = site.ask("GET", of(name, "wait") + f"?timeout=60&since={since}", READER).json()
    assert newer["status"]["phase"] == "Deploying"


def stream(site: Site, path: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {READER}"}
    return requests.get(site.url + path, headers=headers, stream=True, timeout=20)


def told(answer: requests.Response) -> Iterator[tuple[str, Any]]:
    event = ""
    for line in answer.iter_lines(1, decode_unicode=True):
        word, _, rest = line.partition(": ")
        if word == "event":
            event = rest
        elif word == "data":
            yield event, json.loads(rest)


def test_events_tell_of_a_release_as_it_is_and_at_each_change_until_its_end(site: Site) -> None:
    name = site.create().json()["name"]
    with stream(site, of(name, "events")) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = told(answer)
        assert next(events)[1]["status"]["phase"] == "Pending"
        becomes(site, name, Phase.DEPLOYING)
        assert next(events)[1]["status"]["phase"] == "Deploying"
        becomes(site, name, Phase.ABORTED)
        event, last = next(events)
        assert (event, last["status"]["phase"]) == ("release", "Aborted")
        assert list(events) == []


def test_events_tell_of_an_applications_releases(site: Site) -> None:
    with stream(site, f"/api/v1/applications/{NAMESPACE}/{APPLICATION}/events") as answer:
        events = told(answer)
        assert next(events)[1]["releases"] == []
        name = site.create().json()["name"]
        assert next(events)[1]["releases"] == [name]


def test_whoever_leaves_frees_its_place(site: Site) -> None:
    name = site.create().json()["name"]
    for _ in range(3):
        with stream(site, of(name, "events")) as answer:
            next(told(answer))
    changes = site.daemon.changes
    until(lambda: not changes.waited_for(), "nobody to wait any more", 10)


def test_those_who_wait_take_no_threads(site: Site) -> None:
    name = site.create().json()["name"]
    before = threading.active_count()
    streams = [stream(site, of(name, "events")) for _ in range(40)]
    try:
        for one in streams:
            next(told(one))
        assert site.ask("GET", of(name, "wait") + "?timeout=0", READER).status_code == 200
        assert threading.active_count() - before < 20
    finally:
        for one in streams:
            one.close()


def test_evaluations_of_a_release_that_was_never_switched_are_refused(site: Site) -> None:
    name = site.create().json()["name"]
    problem(site.ask("GET", of(name, "evaluations"), READER), 409)
