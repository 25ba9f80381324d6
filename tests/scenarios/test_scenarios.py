"""The guide's stories, each played on a stage of its own: what `watcher demo` shows is what is tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.demo.play import LONGEST, play
from watcher.demo.scenarios import SCENARIOS, Scenario
from watcher.demo.stage import Stage


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_a_scenario_ends_as_the_guide_says(scenario: Scenario) -> None:
    with Stage(alerts=scenario.alerts) as stage:
        outcome = play(scenario, stage, baseline=1, settle=2)
    assert outcome.complaints == ()
    assert outcome.phase == scenario.phase.value
    assert outcome.active == scenario.active
    if not scenario.refusals:
        lost = {cause for cause, count in outcome.client_failures.items() if count}
        assert lost <= {"http_5xx"}
    if scenario.name == "errors":
        assert outcome.client_failures["http_5xx"] > 0


def test_a_scenario_whose_daemon_cannot_run_says_so_at_once_with_its_last_words(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "settings.yaml").write_text("kind: Settings\nnonsense: true\n", "utf-8")
    with Stage(config=(config,), prometheus=False) as stage:
        outcome = play(SCENARIOS["success"], stage, baseline=1, settle=0)
    assert not outcome.as_expected
    assert "the daemon ended by itself, with status" in outcome.complaints[0]
    assert "nonsense" in outcome.complaints[0]
    assert outcome.seconds < LONGEST / 2
