"""Alerts in a storm, and alerts at the moment of a kill: the one that matters acts, and none is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.scenarios.conftest import Led
from tests.support.acting import GOOD, write
from tests.support.proxy import after, before
from tests.support.storm import HOOK, USES, Sender, alert, notice, resident, settings
from watcher.core.release import Phase, Release
from watcher.demo.platform.alertmanager import AlertmanagerServer
from watcher.demo.stage import Stage

RECEIVER = "receiver-0123456789abcdef"
LONG = {"duration": "10m", "interval": "1s"}
STATUS = r"/releases/[^/]+/status$"
MEMORY = 100 * 1024 * 1024
"""What a thousand alerts may cost the daemon at most: far more than they do, far less than keeping them would."""


def watched(stage: Stage) -> Release:
    """A good version that is watched for long."""
    return stage.follow(stage.release(GOOD), lambda r: r.phase is Phase.WATCHING, 60, "the watch to begin")


def gone_back(stage: Stage, release: Release) -> Release:
    found = stage.follow(release, lambda r: r.phase.terminal, 60, "the Release to end")
    assert found.phase is Phase.ROLLED_BACK, found.status.message
    assert [(f.index, f.from_, f.to) for f in found.status.flips] == [(1, "blue", "green"), (2, "green", "blue")]
    return found


@pytest.mark.parametrize("notices", [1, 1000])
def test_of_a_thousand_alerts_the_one_that_matters_acts_and_none_is_lost(
    notices: int, small: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = small(settings(tmp_path, RECEIVER), watch=LONG, alerts=USES)
    release = watched(stage)
    sender = Sender(stage.page.rstrip("/"), RECEIVER)
    pid = stage.daemon_pid
    had = resident(pid)
    # Ten are only to be told; one matters.
    alerts = [alert(i, "critical" if i == 567 else "warning" if i % 100 == 0 else "none") for i in range(1000)]
    if notices == 1:
        answers = [sender.send(notice(*alerts))]
    else:
        answers = sender.all([notice(each, group=str(i)) for i, each in enumerate(alerts)], at_once=64)
        assert len(answers) == 1000
    has = resident(pid)
    found = gone_back(stage, release)
    assert found.status.reason == "alert/Broken567"
    heard = {one.name for one in found.status.alerts}
    # Once traffic goes back no further one counts, so of those that came after it none is kept.
    assert "Broken567" in heard
    assert heard <= {"Broken567", *(f"Broken{i}" for i in range(0, 1000, 100))}
    if notices == 1:
        assert len(heard) == 11
    acted = [line for one in answers for line in one["acted"]]
    assert len(acted) == len(heard)
    assert has - had < MEMORY


def test_of_a_thousand_notices_at_once_all_that_are_meant_are_kept(small: Callable[..., Stage], tmp_path: Path) -> None:
    uses = [{"match": {"severity": "warning"}, "action": "notify"}]
    stage = small(settings(tmp_path, RECEIVER), watch=LONG, alerts=uses)
    release = watched(stage)
    alerts = [alert(i, "warning" if i % 20 == 0 else "none") for i in range(1000)]
    sender = Sender(stage.page.rstrip("/"), RECEIVER)
    sender.all([notice(each, group=str(i)) for i, each in enumerate(alerts)], at_once=64)
    found = stage.read(release)
    assert found.phase is Phase.WATCHING
    assert sorted(one.name for one in found.status.alerts) == sorted(f"Broken{i}" for i in range(0, 1000, 20))


Point = Callable[[Callable[[], None]], Any]


@pytest.mark.parametrize("point", [before, after], ids=["before-it-is-stored", "after-it-is-stored"])
def test_a_receiver_that_is_killed_before_it_has_acted_loses_no_alert(
    point: Point, led: Callable[..., Led], tmp_path: Path
) -> None:
    """The sender gets no answer, and sends again."""
    found = began(led, tmp_path)
    release = watched(found.stage)
    rule = found.proxy.on("PATCH", STATUS, point(found.kill), body='"alerts"')
    sender = Sender(found.stage.page.rstrip("/"), RECEIVER)
    sending = threading.Thread(target=sender.send, args=(notice(alert(7, "critical")),))
    sending.start()
    assert rule.struck.wait(40)
    found.start_again()
    assert gone_back(found.stage, release).status.reason == "alert/Broken7"
    sending.join(90)
    assert not sending.is_alive()
    assert sender.refused > 0


def test_an_alert_that_is_stored_acts_after_a_kill_though_nobody_sends_it_again(
    led: Callable[..., Led], tmp_path: Path
) -> None:
    found = began(led, tmp_path)
    release = watched(found.stage)
    rule = found.proxy.on("PATCH", STATUS, after(found.kill), body='"alerts"')
    with pytest.raises(requests.RequestException):
        requests.post(
            found.stage.page.rstrip("/") + HOOK,
            json=notice(alert(7, "critical")),
            headers={"Authorization": f"Bearer {RECEIVER}"},
            timeout=40,
        )
    assert rule.struck.wait(40)
    found.start_again()
    assert gone_back(found.stage, release).status.reason == "alert/Broken7"


def test_a_real_alertmanager_sends_again_what_a_killed_receiver_has_not_stored(
    led: Callable[..., Led], tmp_path: Path
) -> None:
    found = began(led, tmp_path)
    release = watched(found.stage)
    rule = found.proxy.on("PATCH", STATUS, before(found.kill), body='"alerts"')
    hook = {
        "url": found.stage.page.rstrip("/") + HOOK,
        "http_config": {"authorization": {"credentials_file": str(tmp_path / "alerts.token")}},
    }
    with AlertmanagerServer(hook, tmp_path / "alertmanager") as manager:
        fired = {"labels": alert(7, "critical")["labels"], "startsAt": alert(7)["startsAt"]}
        requests.post(f"http://{manager.address}/api/v2/alerts", json=[fired], timeout=10).raise_for_status()
        assert rule.struck.wait(40)
        found.start_again()
        assert gone_back(found.stage, release).status.reason == "alert/Broken7"


def began(led: Callable[..., Led], tmp_path: Path) -> Led:
    write(tmp_path / "config", settings(tmp_path, RECEIVER))
    return led(rules=False, watch=LONG, alerts=USES)
