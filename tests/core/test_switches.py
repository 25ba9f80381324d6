"""Past switches: found in a metric's history, or remembered by Releases; and what is known of the versions."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.application import Color
from watcher.core.past_releases import switches_of
from watcher.core.readings import Row
from watcher.core.switches import (
    Change,
    Switch,
    changes,
    color_at,
    color_of,
    marked,
    releases_in,
    say_time,
    timeline,
)
from watcher.core.units import Invalid

WATCH, STEP = timedelta(minutes=15), timedelta(seconds=15)


def rows(**courses: list[float]) -> list[Row]:
    """One series for each colour, a value each 15 s; NaN stays NaN, -1 is no sample."""
    return [
        Row({"active": color}, {15.0 * k: value for k, value in enumerate(values) if value != -1})
        for color, values in courses.items()
    ]


@pytest.mark.parametrize(
    ("labels", "color"),
    [
        ({"color": "blue"}, "blue"),
        ({"active": "green", "application": "shop"}, "green"),
        ({"slot": "green", "version": "green"}, "green"),
        ({"color": "blue", "previous": "green"}, None),
        ({"color": "red"}, None),
        ({}, None),
    ],
)
def test_a_series_is_about_the_one_colour_that_its_labels_name(labels: dict[str, str], color: str | None) -> None:
    assert color_of(Row(labels, {})) == color


def test_the_colour_with_the_greatest_value_above_zero_is_the_active_one() -> None:
    known = timeline([*rows(blue=[1, 5, 0, math.nan, 2, -1], green=[0, 9, 0, 1, 2, 3]), Row({}, {0.0: 99.0})])

    assert list(known) == [(0.0, "blue"), (15.0, "green"), (45.0, "green"), (75.0, "green")]


def test_of_several_series_of_one_colour_the_greatest_counts() -> None:
    known = timeline(
        [Row({"c": "blue", "i": "1"}, {0.0: 1.0}), Row({"c": "blue", "i": "2"}, {0.0: 3.0}), *rows(green=[2])]
    )

    assert list(known) == [(0.0, "blue")]


def test_a_change_is_where_the_new_colour_is_first_seen() -> None:
    known = timeline(rows(blue=[1, 1, 0, 0, -1, -1, 1], green=[0, 0, 1, 1, -1, -1, 0]))

    assert changes(known) == [Change(30.0, "green", 15.0), Change(90.0, "blue", 45.0)]


@pytest.mark.parametrize(("at", "color"), [(-1, None), (0, "blue"), (29, "blue"), (30, "green"), (999, "green")])
def test_the_colour_at_a_time_is_the_last_that_was_seen(at: float, color: str | None) -> None:
    assert color_at([(0.0, "blue"), (30.0, "green")], at) == color


@given(st.lists(st.sampled_from(["blue", "green"]), max_size=30))
def test_changes_alternate_and_lie_where_the_colour_changes(colors: list[Color]) -> None:
    found = changes([(float(at), color) for at, color in enumerate(colors)])

    assert [one.at for one in found] == [at for at in range(1, len(colors)) if colors[at] != colors[at - 1]]
    assert all(one.color == colors[int(one.at)] for one in found)


def test_traffic_that_goes_back_within_a_watch_says_that_the_release_was_bad() -> None:
    found = [Change(100.0, "green", 85.0), Change(340.0, "blue", 325.0), Change(9000.0, "green", 8985.0)]

    first, second = releases_in(found, WATCH, STEP)

    assert (first.at, first.color, first.mark, first.why) == (100.0, "green", "bad", "traffic went back after 4 min")
    assert (second.at, second.color, second.mark) == (9000.0, "green", "")


def test_traffic_that_goes_back_after_the_watch_is_a_release_of_its_own() -> None:
    found = [Change(0.0, "green", -15.0), Change(901.0, "blue", 886.0)]

    assert [(one.color, one.mark) for one in releases_in(found, WATCH, STEP)] == [("green", ""), ("blue", "")]


def test_a_switch_behind_a_gap_says_how_unsure_its_time_is() -> None:
    sure, unsure = releases_in([Change(100.0, "green", 85.0), Change(9000.0, "blue", 8000.0)], WATCH, STEP)

    assert (sure.unsure, unsure.unsure) == (0.0, 1000.0)
    assert unsure.previous == "green"


SWITCHES = [Switch(1000.0, "green"), Switch(2000.0, "blue"), Switch(2400.0, "green")]


def test_the_nearest_switch_is_marked() -> None:
    found = marked(SWITCHES, [1250.0, 2290.0], "good", "said")

    assert [(one.mark, one.why) for one in found] == [("good", "said"), ("", ""), ("good", "said")]


@pytest.mark.parametrize(
    ("switches", "said"), [(SWITCHES, "the nearest is at 1970-01-01 00:16:40"), ([], "there is none at all")]
)
def test_a_time_without_a_switch_near_it_is_refused(switches: list[Switch], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        marked(switches, [500.0], "bad", "said")


def test_times_are_said_in_utc() -> None:
    assert say_time(1_772_409_600.4) == "2026-03-02 00:00:00"


# -- Releases --------------------------------------------------------------------------------------------------------


def release(name: str = "shop-1", **status: Any) -> dict[str, Any]:
    body = {"phase": "Completed", "switchedAt": "2026-03-02T06:00:00Z", "colors": {"from": "blue", "to": "green"}}
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"application": "shop", "version": "2.0"},
        "status": body | status,
    }


def of(*found: dict[str, Any]) -> tuple[list[Switch], list[Change]]:
    return switches_of(json.dumps({"items": found}), "shop", "shop")


SIX = 1_772_431_200.0


def test_a_completed_release_is_a_good_switch_to_the_second_with_its_version() -> None:
    (switch,), flips = of(release())

    assert switch == Switch(SIX, "green", "2.0", "good", "Release shop-1: Completed")
    assert flips == [Change(SIX, "green", SIX)]


def test_a_release_that_was_rolled_back_is_bad_and_its_way_back_a_change() -> None:
    flips = [{"to": "green", "at": "2026-03-02T06:00:00Z"}, {"to": "blue", "at": "2026-03-02T06:05:00+00:00"}]
    (switch,), found = of(release(phase="RolledBack", flips=flips))

    assert switch.mark == "bad"
    assert found[1] == Change(SIX + 300, "blue", SIX + 300)


def test_a_release_that_ended_otherwise_is_neither() -> None:
    (switch,), _ = of(release(phase="Superseded"))

    assert switch.mark == ""


def test_releases_come_in_the_order_of_their_switches() -> None:
    switches, flips = of(release("b", switchedAt="2026-03-03T06:00:00Z"), release("a"))

    assert [one.at for one in switches] == [one.at for one in flips] == [SIX, SIX + 86400]


PASSED_OVER = [
    release(switchedAt=None),
    release(colors={"from": "a", "to": "b"}),
    release(colors=None),
    {**release(), "status": None},
    {**release(), "spec": {"application": "other"}},
    {**release(), "metadata": {"name": "x", "namespace": "elsewhere"}},
]


@pytest.mark.parametrize("other", PASSED_OVER, ids=str)
def test_releases_that_moved_no_traffic_of_this_application_are_passed_over(other: dict[str, Any]) -> None:
    assert of(other) == ([], [])


def test_the_own_lists_form_is_read_too_and_a_single_release() -> None:
    flat = {"name": "shop-1", "namespace": "shop", **{key: release()[key] for key in ("spec", "status")}}

    assert switches_of(json.dumps([flat]), "shop", "shop") == of(release())
    assert switches_of(json.dumps(release()), "shop", "shop") == of(release())


NO_RELEASES = [
    "",
    "kind: List",
    "5",
    "[5]",
    "[{}]",
    '[{"spec": {"application": "shop"}, "status": {"switchedAt": "2026", "colors": {"to": "green"}}}]',
    json.dumps([release(switchedAt="2026-03-02T06:00:00")]),
    json.dumps([release(switchedAt=7)]),
    json.dumps([release(flips=[{}, {}])]),
]


@pytest.mark.parametrize("text", NO_RELEASES)
def test_what_is_no_list_of_releases_is_refused_with_a_cure(text: str) -> None:
    with pytest.raises(Invalid, match="these are no Releases") as refused:
        switches_of(text, "shop", "shop")

    assert "kubectl get releases -o json" in refused.value.cure
