"""People at work beside the daemon: they patch selectors, scale colours, approve, pause, abort, change their mind."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.acting import GOOD, Selector, ask, condition, events, kubectl, watcher
from watcher.core.release import Phase, Release
from watcher.demo.platform.manifests import APPLICATION, BAD_VERSIONS, NAMESPACE
from watcher.demo.stage import Stage

LONG = {"duration": "10m", "interval": "1s"}
HELD = {"smoke": [{"name": "never", "http": {"path": "/nothing", "within": "5m", "every": "200ms"}}]}
"""A smoke test that keeps a Release in Testing."""
HELD_LIVE = {"health": [{"name": "long", "http": {"path": "/healthz", "every": "200ms", "for": "3s"}}]}
"""A health check that keeps a Release in Verifying for some seconds."""
NEVER_READY = BAD_VERSIONS["never-ready"]


def reach(stage: Stage, release: Release, phase: Phase) -> Release:
    return stage.follow(release, lambda r: r.phase is phase, 40, phase.value)


def switch_by_hand(stage: Stage, color: str, service: str = APPLICATION) -> None:
    """What the guide does: kubectl patch."""
    patch = f'{{"spec":{{"selector":{{"color":"{color}"}}}}}}'
    kubectl(stage, "patch", "service", service, "-p", patch)


def exported(stage: Stage, condition: str) -> float:
    """What the daemon's /metrics says of a condition of the Application."""
    with urllib.request.urlopen(f"{stage.page}metrics", timeout=5) as answer:  # noqa: S310 - http, always
        families = list(text_string_to_metric_families(answer.read().decode()))
    (value,) = (
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "watcher_release_condition"
        and (sample.labels["application"], sample.labels["condition"]) == (APPLICATION, condition)
    )
    return float(value)


# -- S3: a selector that a person moved is respected ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "version", "spec", "colors"),
    [
        (Phase.DEPLOYING, NEVER_READY, {}, ("blue", "green")),
        (Phase.TESTING, GOOD, {"tests": HELD}, ("blue", "green")),
        (Phase.AWAITING_APPROVAL, GOOD, {"approval": "beforeSwitch"}, ("blue", "green")),
        (Phase.VERIFYING, GOOD, {"tests": HELD_LIVE}, ("blue", "green", "blue")),
        (Phase.WATCHING, GOOD, {"watch": LONG}, ("blue", "green", "blue")),
    ],
    ids=["deploying", "testing", "awaiting-approval", "verifying", "watching"],
)
def test_a_selector_that_a_person_moved_stays_and_the_release_says_so(
    phase: Phase, version: str, spec: dict[str, Any], colors: tuple[str, ...], small: Callable[..., Stage]
) -> None:
    stage = small(**spec)
    by_hand = colors[-1]
    with Selector(stage) as selector:
        release = stage.release(version)
        reach(stage, release, phase)
        switch_by_hand(stage, by_hand)
        ended = reach(stage, release, Phase.SUPERSEDED)
        assert ended.status.reason == "SelectorMoved"
        assert f"color is {by_hand}" in ended.status.message
        selector.was(*colors)
        assert stage.active() == by_hand


# -- S1, S4: the way back ---------------------------------------------------------------------------------------------


def test_a_cold_way_back_is_shouted_about_and_a_rollback_warms_it_before_it_flips(
    small: Callable[..., Stage],
) -> None:
    stage = small(watch=LONG)
    with Selector(stage) as selector:
        release = stage.release(GOOD)
        reach(stage, release, Phase.WATCHING)
        kubectl(stage, "scale", "deployment", f"{APPLICATION}-blue", "--replicas=0")
        stage.follow(release, lambda r: condition(r, "WayBackLost"), 20, "the alert that the way back is lost")
        stage.wait_for(
            lambda: any(e["reason"] == "WayBackLost" for e in events(stage, "Release", release.name)), "its Event"
        )
        stage.wait_for(lambda: exported(stage, "WayBackLost") == 1, "its metric, which an alert asks for")
        assert exported(stage, "NeedsAttention") == 0
        assert stage.active() == "green"
        ready: list[int] = []
        stage.hands.command(NAMESPACE, release.name, "rollback", {"by": "ada"})

        def back() -> bool:
            ready[:] = [stage.ready_pods("blue")]
            return stage.active() == "blue"

        stage.wait_for(back, "the flip back", 30)
        assert ready[0] >= 1, "traffic went to a colour without a ready pod"
        ended = reach(stage, release, Phase.ROLLED_BACK)
        assert ended.status.reason == "manual"
        selector.was("blue", "green", "blue")


# -- commands ---------------------------------------------------------------------------------------------------------


def test_a_release_can_be_paused_resumed_approved_and_aborted_from_the_command_line(
    small: Callable[..., Stage],
) -> None:
    stage = small(approval="beforeSwitch", watch=LONG)
    asked = watcher(stage, *ask(GOOD), "--no-wait", "--by", "pipeline/4711")
    assert asked.status == 0, asked.err
    name = asked.out.split()[-1]
    release = stage.hands.read_release(NAMESPACE, name)
    assert release is not None
    assert release.spec.requested_by == "pipeline/4711"
    reach(stage, release, Phase.AWAITING_APPROVAL)
    running = watcher(stage, "status").out
    assert "AwaitingApproval" in running
    assert re.search(r" leads \(Lease \S+/bluegreen-watcher, renewed \d+ s ago\)\.$", running.strip())
    assert watcher(stage, "release", "pause", name, "--reason", "lunch").status == 0
    assert watcher(stage, "release", "approve", name, "--by", "ada").status == 0
    paused = stage.follow(release, lambda r: r.status.message.startswith("Paused"), 20, "the pause")
    assert "lunch" in paused.status.message
    assert stage.active() == "blue"
    assert watcher(stage, "release", "resume", name).status == 0
    reach(stage, release, Phase.WATCHING)
    assert stage.active() == "green"
    assert watcher(stage, "release", "abort", name, "--by", "ada", "--reason", "wrong version").status == 0
    ended = reach(stage, release, Phase.ROLLED_BACK)
    assert "by ada (wrong version)" in ended.status.message
    assert stage.active() == "blue"
    late = watcher(stage, "release", "abort", name)
    assert late.status == 5
    assert "has ended (RolledBack)" in late.err
    shown = watcher(stage, "release", "show", name).out
    assert "flip blue -> green" in shown
    assert "flip green -> blue: manual" in shown


def test_an_abort_before_the_flip_moves_nothing(small: Callable[..., Stage]) -> None:
    stage = small(tests=HELD)
    with Selector(stage) as selector:
        release = stage.release(GOOD)
        reach(stage, release, Phase.TESTING)
        assert watcher(stage, "release", "abort", release.name, "--by", "ada").status == 0
        ended = reach(stage, release, Phase.ABORTED)
        assert ended.status.flips == ()
        waited = watcher(stage, "release", "wait", release.name)
        assert waited.status == 7
        selector.was("blue")


def test_the_exit_status_tells_a_pipeline_how_its_release_ended(small: Callable[..., Stage]) -> None:
    stage = small(tests={"smoke": [{"name": "healthz", "http": {"path": "/healthz", "within": "1s"}}]})
    done = watcher(stage, *ask("2.4.1-smoke"))
    assert done.status == 3, done.out + done.err
    assert "smoke/healthz" in done.out
    done = watcher(stage, *ask(GOOD), "--json")
    assert done.status == 0, done.err
    assert done.json()["status"]["phase"] == "Completed"
    assert stage.active() == "green"
    unknown = watcher(stage, "release", "create", "shop", "--version", "1", "--image", "web=shop:1")
    assert unknown.status == 5
    assert "There is no Application 'shop'" in unknown.out
    impatient = watcher(stage, *ask("2.5.0"), "--timeout", "0")
    assert impatient.status == 6
    assert watcher(stage, "release", "show", "nobody").status == 1
    assert watcher(stage, "release", "create", APPLICATION, "--version", "1", "--image", "web").status == 2


def test_a_rollback_by_hand_with_no_release_running_is_a_release_of_its_own_and_its_version_stays_out(
    small: Callable[..., Stage],
) -> None:
    stage = small()
    with Selector(stage) as selector:
        done = watcher(stage, *ask(GOOD))
        assert done.status == 0, done.out + done.err
        back = watcher(stage, "rollback", APPLICATION, "--by", "ada", "--reason", "users complain", "--json")
        assert back.status == 0, back.err
        document = back.json()
        assert document["status"]["phase"] == "RolledBack"
        assert "users complain" in document["status"]["message"]
        assert [flip["to"] for flip in document["status"]["flips"]] == ["blue"]
        assert stage.active() == "blue"
        again = watcher(stage, *ask(GOOD))
        assert again.status == 5
        assert "was rolled back" in again.out
        assert stage.active() == "blue"
        forced = watcher(stage, *ask(GOOD), "--force")
        assert forced.status == 0, forced.out + forced.err
        assert stage.active() == "green"
        selector.was("blue", "green", "blue", "green")


def test_a_rollback_is_not_held_up_by_a_pause(small: Callable[..., Stage]) -> None:
    stage = small(watch=LONG)
    release = stage.release(GOOD)
    reach(stage, release, Phase.WATCHING)
    stage.hands.command(NAMESPACE, release.name, "pause", {"by": "ada"})
    stage.follow(release, lambda r: r.status.message.startswith("Paused"), 20, "the pause")
    back = watcher(stage, "rollback", APPLICATION, "--by", "bob")
    assert back.status == 0, back.out + back.err
    assert stage.active() == "blue"


def test_a_second_release_of_an_application_is_refused(small: Callable[..., Stage]) -> None:
    stage = small(tests=HELD)
    first = stage.release(GOOD)
    reach(stage, first, Phase.TESTING)
    second = watcher(stage, *ask("2.5.0"))
    assert second.status == 5
    assert first.name in second.out


# -- what kubectl shows -----------------------------------------------------------------------------------------------


def test_kubectl_shows_what_happened(small: Callable[..., Stage]) -> None:
    stage = small()
    release = stage.release(GOOD)
    reach(stage, release, Phase.COMPLETED)
    head, row = kubectl(stage, "get", "releases").splitlines()
    columns = ["NAME", "APPLICATION", "VERSION", "FROM", "TO", "PHASE", "VERDICT", "AGE"]
    assert head.split() == columns
    assert row.split()[:-1] == [release.name, APPLICATION, GOOD, "blue", "green", "Completed", "pass"]
    wide = kubectl(stage, "get", "rel", release.name, "-o", "wide")
    assert "passed its watch" in wide
    listed = kubectl(stage, "get", "releases,deploy,pods,svc")
    for expected in (f"deployment.apps/{APPLICATION}-green", f"service/{APPLICATION}-preview", "2/2", "Running"):
        assert expected in listed

    def told() -> bool:
        about = {e["reason"] for e in events(stage, "Release", release.name)}
        return about >= {"Switched", "Completed"}

    stage.wait_for(told, "the Events")
    described = kubectl(stage, "describe", "release", release.name)
    assert "Switched" in described.partition("Events:")[2]
    service = {e["reason"] for e in events(stage, "Service", APPLICATION)}
    assert service >= {"Switched", "Completed"}
    kubectl(stage, "wait", "--for=jsonpath={.status.phase}=Completed", f"release/{release.name}", "--timeout=5s")
