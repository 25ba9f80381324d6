"""PromQL checks: about the colour under test, with a rule's words, and never good by accident."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.test_application import load
from watcher.core.check_queries import bound_query, judged, query_problems
from watcher.core.checks import PromqlCheck
from watcher.core.readings import Answer, Failed, NoData, Row, Series

AT = 1000.0


def check(**changes: Any) -> PromqlCheck:
    given: dict[str, Any] = {"query": 'x{color="{{ color }}"}', "threshold": {"above": "1%"}} | changes
    return PromqlCheck.model_validate_json(json.dumps(given))


def answered(*values: float) -> Series:
    return Series(tuple(Row({"pod": str(index)}, {AT: value}) for index, value in enumerate(values)))


def test_a_query_is_about_the_colour_under_test_and_names_all_that_a_rule_names() -> None:
    names = ["namespace", "application", "service", "color", "previousColor", "deployment", "version"]
    query = "x{" + ",".join(f'{name}="{{{{ {name} }}}}"' for name in names) + "}[{{ window }}]"
    assert bound_query(check(query=query, window="90s"), load(), "green", "2.4.1") == (
        'x{namespace="prod",application="shop",service="shop",color="green",previousColor="blue",'
        'deployment="shop-green",version="2.4.1"}[1m30s]'
    )


@pytest.mark.parametrize(
    ("changes", "answer", "good", "words"),
    [
        ({}, answered(0.005), True, "0.5% (limit 1%)"),
        ({}, answered(0.042), False, "4.2% (limit 1%)"),
        ({"threshold": {"below": 2}}, answered(1.0), False, "1 (at least 2)"),
        ({"threshold": {"outside": ["10ms", "1s"]}}, answered(0.2), True, "200 ms (limits 10ms to 1s)"),
        ({}, answered(float("inf")), False, "+Inf (limit 1%)"),
        ({}, NoData(), False, "no data"),
        ({}, answered(float("nan")), False, "no data"),
        ({"onNoData": "pass"}, NoData(), True, "no data, which counts as a pass"),
        ({"reduce": "max"}, answered(0.001, 0.2), False, "20% (limit 1%)"),
        ({}, answered(0.001, 0.2), False, "could not be evaluated: several series where one number is needed "),
        ({"onNoData": "pass"}, Failed("nobody answered."), False, "could not be evaluated: nobody answered"),
    ],
)
def test_an_answer_is_judged_as_a_rule_would(changes: dict[str, Any], answer: Answer, good: bool, words: str) -> None:
    told = judged(check(**changes), answer, AT)
    assert told.good is good
    assert told.words.startswith(words)
    assert not told.final


def test_a_query_that_no_server_will_ever_take_is_not_tried_again() -> None:
    assert judged(check(), Failed("parse error", transient=False), AT).final


def test_a_query_that_cannot_be_bound_is_said_with_its_place() -> None:
    bad = {"promql": {"query": "x{v=`{{ namespace }}`}", "threshold": {"above": 1}}}
    assert list(query_problems(load(tests={"smoke": [bad]}))) == []
    app = load(tests={"smoke": [{"http": {"path": "/"}}, {"parallel": [bad, {"tcp": {}}]}]}, service="shop")
    odd = app.model_copy(update={"metadata": app.metadata.model_copy(update={"namespace": "a`b"})})
    (problem,) = query_problems(odd)
    assert problem.path == ("spec", "tests", "smoke", 1, "parallel", 0, "promql", "query")
    assert "check smoke/1.0: " in problem.problem
    assert "cannot stand inside backticks" in problem.problem
