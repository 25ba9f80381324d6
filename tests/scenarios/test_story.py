"""What happened to a Release can be told afterwards, by whoever may look: from the cluster, from Events, from logs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.support.acting import BAD, ERRORS, application, events, watcher, write
from watcher.adapters.kubernetes import paths
from watcher.core.release import ACTOR_ANNOTATION, EVIDENCE_ANNOTATION, WATCHER, Phase, Release
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE
from watcher.demo.stage import Stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Any:
    watch = {"duration": "60s", "interval": "1s", "rules": ["errors"]}
    spec = application(approval="beforeSwitch", watch=watch)
    with Stage(config=write(tmp_path_factory.mktemp("story") / "config", spec, ERRORS), rate=40.0) as running:
        yield running


@pytest.fixture(scope="module")
def ended(stage: Stage) -> Release:
    """A release of a bad version that was paused, resumed, approved, and went back by itself."""
    release = stage.release(BAD, requestedBy="pipeline/4711")
    stage.follow(release, lambda r: r.phase is Phase.AWAITING_APPROVAL, 60, "the approval")
    for verb, by, why in (
        ("pause", "dana", "lunch"),
        ("resume", "erin", "back again"),
        ("approve", "dana", "looks fine"),
    ):
        assert watcher(stage, "release", verb, release.name, "--by", by, "--reason", why).status == 0
    ended = stage.follow(release, lambda r: r.phase.terminal, 90, "the end")
    assert ended.phase is Phase.ROLLED_BACK
    stage.wait_for(lambda: any(e["involvedObject"]["kind"] == "Release" for e in _ends(stage, ended)), "its last Event")
    return ended


def _ends(stage: Stage, release: Release) -> list[dict[str, Any]]:
    return [e for e in events(stage, "Release", release.name) if e["message"] == release.status.message]


def test_the_story_of_a_rollback_has_commands_decision_and_evidence_in_order(stage: Stage, ended: Release) -> None:
    told = watcher(stage, "release", "show", ended.name, "--evidence", "--json")
    assert told.status == 0, told.err
    found = json.loads(told.out)
    assert (found["phase"], found["missing"]) == ("RolledBack", [])
    # A scrape that comes late blinds the watch for a moment, which is told as well.
    known = [one for one in found["story"] if not one["message"].startswith("Blind: ")]
    entries = [one for one in known if one["kind"] != "condition"]
    assert [(one["kind"], one["actor"]) for one in entries] == [
        ("asked", "pipeline/4711"),
        ("begun", WATCHER),
        ("command", "dana"),
        ("command", "erin"),
        ("command", "dana"),
        ("check", WATCHER),
        ("flip", WATCHER),
        ("rule", WATCHER),
        ("decision", WATCHER),
        ("flip", WATCHER),
        ("end", WATCHER),
    ]
    assert [one["evidence"]["why"] for one in entries if one["kind"] == "command"] == [
        "lunch",
        "back again",
        "looks fine",
    ]
    there, back = (one for one in entries if one["kind"] == "flip")
    assert (there["evidence"]["mark"], back["evidence"]["mark"]) == (f"{ended.uid}/1", f"{ended.uid}/2")
    assert "onService" not in there["evidence"]
    assert back["evidence"]["onService"] == "carried by the Service"
    (rule,) = (one for one in entries if one["kind"] == "rule")
    assert 'color="green"' in rule["evidence"]["query"]
    assert rule["evidence"]["value"] > 0.05
    assert rule["evidence"]["threshold"] == "> 5%"
    (decision,) = (one for one in entries if one["kind"] == "decision")
    assert decision["evidence"]["query"] == rule["evidence"]["query"]
    assert decision["event"]["reason"] == "RollbackDecided"


def test_the_story_is_plain_lines_in_a_pipe_and_coloured_on_a_terminal(stage: Stage, ended: Release) -> None:
    words = ("release", "show", ended.name, "--evidence")
    lines = watcher(stage, *words).out.splitlines()
    assert lines[0] == f"{ended.name}: {APPLICATION} {BAD}, RolledBack"
    assert any(" command " in line and line.endswith(" dana               Approved.") for line in lines)
    assert "    why: looks fine" in lines
    assert any(line.startswith("    query: ") and 'color="green"' in line for line in lines)
    assert any(line.startswith("    mark: ") for line in lines)
    assert lines[-1].startswith("    kept: green until ")

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "watcher", *words, "-n", NAMESPACE, "--kubeconfig", str(stage.kubeconfig)]
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm", "COLUMNS": "400"}
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environment) as running:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):  # while it runs: a terminal holds few bytes
            shown += chunk
        os.close(ours)
        assert running.wait(60) == 0
    assert b"\x1b[1;36mflip" in shown
    assert b"Approved." in shown


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # how a terminal says that the other side is closed
        return b""


def test_each_command_and_decision_is_one_event_with_actor_and_evidence(stage: Stage, ended: Release) -> None:
    for kind, name in (("Release", ended.name), ("Service", APPLICATION)):
        found = events(stage, kind, name)
        by_reason = {event["reason"]: event["metadata"]["annotations"] for event in found}
        reasons = Counter(event["reason"] for event in found)
        for reason, actor, evidence in (
            ("Paused", "dana", {"by": "dana", "why": "lunch"}),
            ("Resumed", "erin", {"by": "erin", "why": "back again"}),
            ("Approved", "dana", {"by": "dana", "why": "looks fine"}),
        ):
            assert reasons[reason] == 1
            assert by_reason[reason][ACTOR_ANNOTATION] == actor
            assert json.loads(by_reason[reason][EVIDENCE_ANNOTATION]) == evidence
        assert by_reason["RollbackDecided"][ACTOR_ANNOTATION] == WATCHER
        decided = json.loads(by_reason["RollbackDecided"][EVIDENCE_ANNOTATION])
        assert decided["rule"] == "errors/rate"
        assert 'color="green"' in decided["query"]
        assert {reasons[one] for one in ("Switched", "SwitchedBack", "RollbackDecided")} == {1}


def test_each_command_and_decision_is_one_line_of_the_log(stage: Stage, ended: Release) -> None:
    lines = [json.loads(line) for line in stage.daemon_log.read_text("utf-8").splitlines()]
    own = [line for line in lines if line.get("release") == ended.name]
    said = Counter(line["event"] for line in own)
    assert [message for message, count in said.items() if count > 1] == []
    actors = {line["reason"]: line["actor"] for line in own if "reason" in line}
    assert (actors["Paused"], actors["Resumed"], actors["Approved"]) == ("dana", "erin", "dana")
    (decided,) = (line for line in own if line.get("reason") == "RollbackDecided")
    assert (decided["actor"], decided["rule"]) == (WATCHER, "errors/rate")
    assert 'color="green"' in decided["query"]


def test_without_events_the_story_says_what_is_missing(stage: Stage, ended: Release) -> None:
    again = stage.release(BAD)
    refused = stage.follow(again, lambda r: r.phase is Phase.FAILED, 30, "the refusal")
    stage.wait_for(lambda: bool(_ends(stage, refused)), "its Event")
    for event in events(stage, "Release", refused.name):  # as the API server does after an hour
        stage.connection.delete(f"{paths.events(NAMESPACE)}/{event['metadata']['name']}")
    told = watcher(stage, "release", "show", refused.name, "--evidence")
    assert told.status == 0
    assert "no Events of it any more" in told.err
    assert "Failed: " in told.out
