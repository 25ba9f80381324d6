"""promtool's notation of series: what it stands for, and how a text that is none is refused."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.series_notation import MOST_VALUES, Gap, parse_series, parse_values
from watcher.core.units import Invalid

MISSING, STALE = Gap.MISSING, Gap.STALE

VALUES = {
    "0+10x3": (0, 10, 20, 30),
    "10-5x2": (10, 5, 0),
    "-2+4x3": (-2, 2, 6, 10),
    "5x3": (5, 5, 5, 5),
    "5x0": (5,),
    "1 _ 3": (1, MISSING, 3),
    "1 _x3 stale": (1, MISSING, MISSING, MISSING, STALE),
    "_x0 1": (1,),
    "0x10": (0,) * 11,
    "1e3 .5 1. -1.5e-2 +7": (1000, 0.5, 1, -0.015, 7),
    "1e2x1": (100, 100),
    "Inf -inf +INF": (math.inf, -math.inf, math.inf),
    "Inf+1x1": (math.inf, math.inf),
    "1\t2\n3": (1, 2, 3),
}


@pytest.mark.parametrize(("text", "values"), VALUES.items(), ids=VALUES)
def test_values_stand_for_what_promtool_takes_them_for(text: str, values: tuple[float | Gap, ...]) -> None:
    assert parse_values(text) == values


def test_nan_is_a_value() -> None:
    (value,) = parse_values("NaN")

    assert isinstance(value, float)
    assert math.isnan(value)


def test_steps_are_added_up_as_prometheus_adds_them() -> None:
    assert parse_values("0+0.1x3") == (0, 0.1, 0.1 + 0.1, 0.1 + 0.1 + 0.1)


REFUSED = {
    "": "there is no value",
    " ": "there is no value",
    "_x0": "there is no value",
    "STALE": 'did you mean "stale" or "_"?',
    "null": 'did you mean "stale" or "_"?',
    "stalex2": "the series ends there",
    "NaNx2": 'it takes no "x"',
    "0+Infx2": "is no value",
    "1, 2": "write spaces between the values",
    "1*3": 'did you mean "1x3"?',
    "1+1X2": 'did you mean "1+1x2"?',
    "1+2": "is no value",
    "1x1e1": "is no value",
    "1x-1": "is no value",
    "0x2x3": "is no value",
    "1_000": "is no value",
    "1e400": "too large a number",
    "-1e400": "too large a number",
    "Infinity": "is no value",
    "{{schema:1 sum:2}}": "a native histogram",
    "{{schema:1": "a native histogram",
    f"0x{MOST_VALUES}": "more than",
    "0x99999999999999999999": "more than",
    "_x99999999999999999999": "more than",
    "ten": "write values such as",
}


@pytest.mark.parametrize(("text", "said"), REFUSED.items(), ids=map(repr, REFUSED))
def test_other_values_are_refused_with_a_cure(text: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_values(text)

    assert said in str(refused.value)


def test_a_refusal_names_the_place_of_the_value() -> None:
    with pytest.raises(Invalid) as refused:
        parse_values("1 2\n3 four")

    assert (refused.value.line, refused.value.column) == (2, 3)


SERIES = {
    "up": {"__name__": "up"},
    "job:up:sum": {"__name__": "job:up:sum"},
    "up{}": {"__name__": "up"},
    'up{a="1"}': {"__name__": "up", "a": "1"},
    " up { a = '1' , b = `2` , } ": {"__name__": "up", "a": "1", "b": "2"},
    '{__name__="up",a="1"}': {"__name__": "up", "a": "1"},
    'up{a=""}': {"__name__": "up"},
    """up{a="\\"\\\\\\n\\x41\\u00e9\\U0001F600\\101",b='"'}""": {
        "__name__": "up",
        "a": '"\\\nA\u00e9\U0001f600A',
        "b": '"',
    },
    'up{a="}"}': {"__name__": "up", "a": "}"},
}


@pytest.mark.parametrize(("text", "labels"), SERIES.items(), ids=map(repr, SERIES))
def test_a_series_is_its_labels(text: str, labels: dict[str, str]) -> None:
    assert parse_series(text) == labels


NO_SERIES = {
    "": "is no series",
    "1up": "is no series",
    "up down": "is no series",
    "up[5m]": "is no series",
    "sum(up)": "is no series",
    'up{a="1"} 5': "is no series",
    '{a="1"}': "has no metric name",
    "up{": "a label has to stand here",
    'up{a="1"': "the labels are not closed",
    'up{a="1" b="2"}': "the labels are not closed",
    "up{a}": "a label has to stand here",
    "up{a=1}": "is not in quotes",
    'up{a="1}': "is not in quotes",
    'up{a=~"1"}': "is a matcher",
    'up{a="1",a="2"}': "a second a",
    'up{__name__="x"}': "a second __name__",
    r'up{a="\q"}': "no escape",
    r'up{a="\ud800"}': "no escape",
    r'up{a="\U00110000"}': "no escape",
}


@pytest.mark.parametrize(("text", "said"), NO_SERIES.items(), ids=map(repr, NO_SERIES))
def test_what_is_no_series_is_refused_with_a_cure(text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said.replace("{", "{")) as refused:
        parse_series(text)

    assert refused.value.line == 1
    assert refused.value.column is not None
    assert 1 <= refused.value.column <= len(text) + 1


def test_a_matcher_is_pointed_at() -> None:
    with pytest.raises(Invalid) as refused:
        parse_series('  up{a="1",code=~"5.."}')

    assert refused.value.column == '  up{a="1",code=~"5.."}'.index("=~") + 1


@given(st.text(alphabet='up{}="\\,_ x1+-.eInfNaNstale\n', max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_series, parse_values):
        with suppress(Invalid):
            assert parse(text)
