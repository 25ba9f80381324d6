"""The dashboard is what its script makes, and everything on it is explained and can be told apart."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from tests.packaging.rendered import ROOT

FILE = ROOT / "deploy/components/monitoring/dashboard.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text("utf-8"))


def panels(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in found:
        yield panel
        yield from panels(panel.get("panels", []))


PANELS = list(panels(DASHBOARD["panels"]))
SHOWING = [panel for panel in PANELS if panel["type"] != "row"]


def test_the_file_is_what_the_script_makes() -> None:
    script = ROOT / "scripts/dashboard"
    made = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=30, check=True).stdout

    assert FILE.read_text("utf-8") == made, "scripts/dashboard > deploy/components/monitoring/dashboard.json"


def test_every_panel_has_a_number_of_its_own_a_title_and_a_meaning() -> None:
    ids = [panel["id"] for panel in PANELS]

    assert len(SHOWING) > 20
    assert len(set(ids)) == len(ids)
    assert [panel["title"] for panel in SHOWING if not panel["title"] or not panel["description"].endswith(".")] == []
    assert len({panel["title"] for panel in SHOWING}) == len(SHOWING)


def test_no_panel_lies_on_another_one_or_beyond_the_edge() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        for one in [panel, *panel.get("panels", [])]:
            at = one["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert at["x"] + at["w"] <= 24, one["title"]
            assert not cells & taken, one["title"]
            taken |= cells


def test_every_query_goes_to_the_prometheus_that_was_chosen() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    asking = [*SHOWING, *DASHBOARD["annotations"]["list"]]
    asking += [one for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    asking += [target for panel in SHOWING for target in panel["targets"]]

    assert [one for one in asking if one["datasource"] != chosen] == []
