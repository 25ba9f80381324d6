"""The matrices of faults themselves: what they strike, and that they say so when something is not as expected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.cells import play_all
from tests.faults.ground import Ground
from tests.faults.kills import KillCell
from tests.faults.places import Place, places
from tests.faults.stage import Trouble, prometheus
from tests.faults.stories import IMAGES, STORIES
from tests.faults.surroundings import FaultCell
from tests.support.proxy import Request
from watcher.demo.platform import manifests

SWAP = Place("PATCH", "/services/shop", "swap to green in Switching")


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    images = tmp_path / "images.yaml"
    text = manifests.IMAGES.read_text("utf-8")
    images.write_text(text + "\n" + "\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in IMAGES.items()), "utf-8")
    with ExitStack() as stack:
        yield stack.enter_context(Ground(tmp_path, images, backoff_scale=0.05))


def request(method: str, path: str, body: object = None) -> Request:
    return Request(method, path, "", {}, json.dumps(body).encode() if body else b"")


def test_a_request_is_named_by_what_it_is_about_its_phase_and_its_number() -> None:
    releases = "/apis/watcher.bluegreen.dev/v1alpha1/namespaces/a/releases/it/status"
    asked = [
        request("GET", "/api/v1/namespaces/a/services/shop"),
        request("PATCH", releases, {"status": {"phase": "Switching"}}),
        request("GET", "/api/v1/namespaces/a/services/shop"),
        request("GET", "/api/v1/namespaces/a/services/shop"),
        request("GET", "/api/v1/namespaces/a/pods/shop-green-1/log"),
    ]
    assert [str(place) for place in places(asked, "a", 2)] == [
        "GET /services/shop in Pending #1",
        "PATCH /releases/it/status phase Switching in Pending #1",
        "GET /services/shop in Switching #1",
        "GET /services/shop in Switching #2",
        "GET /pods/POD/log in Switching #1",
    ]


def test_a_struck_request_comes_to_the_same_end_and_one_that_is_never_made_is_a_finding(ground: Ground) -> None:
    story = next(story for story in STORIES if story.name == "completes")
    plain = KillCell(story)
    play_all([plain], ground, 1, lambda _: None)
    assert plain.wrong == ""
    assert SWAP in plain.asked
    said: list[str] = []
    struck = KillCell(story, SWAP, "killed after", plain.end)
    never = KillCell(story, Place("GET", "/nothing", ""), "500", plain.end, tries=1)
    play_all([struck, never], ground, 2, said.append)
    assert (struck.wrong, struck.struck) == ("", True)
    assert never.wrong == "its request was not made in 1 runs"
    assert [words for words in said if words.startswith("WRONG completes: 500 at GET /nothing #1")]


def test_a_cell_that_ends_otherwise_than_named_is_a_finding_with_the_release_and_the_log(ground: Ground) -> None:
    trouble = Trouble("5xx", manifests.BAD_VERSIONS["errors"], "errors", "rule/another", True)
    with prometheus(ground, ground.directory) as server:
        cell = FaultCell(trouble, "healthy", [server])
        play_all([cell], ground, 1, lambda _: None)
    assert cell.wrong.startswith("it did not end RolledBack for rule/another, but RolledBack: ")
    assert '"reason": "rule/errors/rule"' in cell.told
    assert "the daemon's last lines" in cell.told
