"""A Release as the cluster keeps it: read leniently, written as a patch of what changed, and clear for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from tests.core.lifecycle.story import document, merged
from tests.core.lifecycle.world import NEW, START, application, release, rule
from watcher.core.release import (
    TERMINAL,
    TRAFFIC_MOVED,
    Colors,
    Command,
    Flip,
    Phase,
    Pinned,
    Status,
    from_json,
    shown_json,
    status_json,
    status_patch,
)

FLIP = Flip(index=1, from_="blue", to="green", reason="switch", at=START)


def raw(**changes: Any) -> dict[str, Any]:
    """A Release as `kubectl apply` made it."""
    found: dict[str, Any] = {
        "apiVersion": "watcher.bluegreen.dev/v1alpha1",
        "kind": "Release",
        "metadata": {
            "name": "chatbot-platform-x7k2p",
            "namespace": "prod",
            "uid": "u1",
            "resourceVersion": "41",
            "creationTimestamp": "2026-11-23T14:00:00Z",
            "managedFields": [],
        },
        "spec": {"application": "chatbot-platform", "version": "2.4.1", "images": {"chat": NEW}},
    }
    return found | changes


def test_a_new_release_is_pending_and_has_an_aware_time() -> None:
    found = from_json(raw())
    assert (found.phase, found.resource_version, found.created_at) == (Phase.PENDING, "41", START)
    assert found.status == Status()
    assert found.spec.requested_by == ""


@pytest.mark.parametrize("empty", [None, {}])
def test_a_status_that_is_empty_is_a_new_one(empty: dict[str, Any] | None) -> None:
    assert from_json(raw(status=empty)).status == Status()


def test_the_commands_are_fields_of_the_spec_and_their_presence_is_the_command() -> None:
    spec = raw()["spec"] | {"abort": {}, "approve": {"by": "dana", "reason": "fine"}, "requestedBy": "pipeline/4711"}
    found = from_json(raw(spec=spec)).spec
    assert found.abort == Command()
    assert found.approve == Command(by="dana", reason="fine")
    assert (found.pause, found.requested_by) == (None, "pipeline/4711")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (Command(by="dana", reason="bad answers"), "by dana (bad answers)"),
        (Command(by="dana"), "by dana"),
        (Command(), "by an unnamed caller"),
    ],
)
def test_a_command_says_who_and_why(command: Command, told: str) -> None:
    assert command.told() == told


def test_what_a_newer_version_wrote_is_ignored_even_within_what_is_pinned() -> None:
    pinned = Pinned(application=application(), rules=(rule(),), replicas=2)
    kept = document(release().model_copy(update={"status": Status(phase=Phase.WATCHING, pinned=pinned)}))
    kept["status"]["novelty"] = 1
    kept["status"]["pinned"]["application"]["spec"]["novelty"] = {"a": 1}
    kept["status"]["pinned"]["rules"][0]["novelty"] = 1
    kept["spec"]["novelty"] = True
    assert from_json(kept).status.pinned == pinned


def test_what_a_newer_version_wrote_is_not_erased_by_our_patch() -> None:
    kept = {"phase": "Pending", "novelty": 1}
    old = from_json(raw(status=kept)).status
    patch = status_patch(old, old.model_copy(update={"phase": Phase.DEPLOYING}))
    assert patch == {"phase": "Deploying"}
    assert merged(kept, patch) == {"phase": "Deploying", "novelty": 1}


@pytest.mark.parametrize("status", [{"phase": "Dancing"}, {"flips": [{"index": 1}]}, {"switchedAt": "yesterday"}])
def test_a_status_that_cannot_be_understood_is_refused(status: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        from_json(raw(status=status))


def test_the_json_has_the_names_of_the_design() -> None:
    status = Status(colors=Colors(from_="blue", to="green"), flips=(FLIP,), switched_at=START, extended=True)
    found = status_json(status)
    assert found["colors"] == {"from": "blue", "to": "green"}
    assert found["switchedAt"] == "2026-11-23T14:00:00Z"
    assert found["flips"] == [
        {"index": 1, "from": "blue", "to": "green", "reason": "switch", "at": "2026-11-23T14:00:00Z"}
    ]
    assert "intent" not in found


def test_a_patch_has_only_what_changed_and_nulls_for_what_went() -> None:
    pinned = Pinned(application=application(), restarts={"a": 1})
    old = Status(phase=Phase.SWITCHING, intent=FLIP, rejected={"chat": NEW}, pinned=pinned)
    later = pinned.model_copy(update={"restarts": {"b": 2}})
    new = old.model_copy(update={"intent": None, "flips": (FLIP,), "rejected": {}, "pinned": later})
    patch = status_patch(old, new)
    assert set(patch) == {"intent", "flips", "rejected", "pinned"}
    assert patch["intent"] is None
    assert patch["rejected"] == {"chat": None}
    assert patch["pinned"] == {"restarts": {"a": None, "b": 2}}
    assert merged(status_json(old), patch) == status_json(new)


def test_nothing_changed_is_an_empty_patch() -> None:
    status = Status(pinned=Pinned(application=application()), colors=Colors(from_="blue", to="green"))
    assert status_patch(status, status.model_copy()) == {}


def test_a_flip_leaves_a_mark_that_no_other_flip_leaves() -> None:
    assert FLIP.mark("u1") == "u1/1"
    assert FLIP.model_copy(update={"index": 2}).mark("u1") == "u1/2"


def test_a_rollback_by_hand_is_one_that_has_nothing_to_deploy() -> None:
    assert from_json(raw(spec={"application": "a", "rollback": {}})).is_rollback_only
    assert not from_json(raw(spec={"application": "a"})).is_rollback_only
    assert not from_json(raw(spec=raw()["spec"] | {"rollback": {}})).is_rollback_only


def test_the_ends_are_ends_and_no_end_moves_traffic() -> None:
    assert {phase for phase in Phase if phase.terminal} == TERMINAL
    assert not TERMINAL & TRAFFIC_MOVED


def test_times_keep_their_instant_through_the_json() -> None:
    moment = datetime(2026, 11, 23, 14, 2, 11, 123456, tzinfo=UTC)
    kept = document(release().model_copy(update={"status": Status(switched_at=moment)}))
    assert from_json(kept).status.switched_at == moment


def test_programs_are_shown_a_release_without_what_it_keeps_for_itself() -> None:
    status = Status(phase=Phase.WATCHING, flips=(FLIP,), pinned=Pinned(application=application(), rules=(rule(),)))
    found = raw()
    found["metadata"]["annotations"] = {"asked.watcher.bluegreen.dev/4711": "approve"}
    kept = from_json(found).model_copy(update={"status": status})
    assert kept.asked
    shown = shown_json(kept)

    assert shown["spec"]["application"] == "chatbot-platform"
    assert shown["status"]["phase"] == "Watching"
    assert [flip["to"] for flip in shown["status"]["flips"]] == ["green"]
    assert "pinned" not in shown["status"]
    assert "asked" not in shown
