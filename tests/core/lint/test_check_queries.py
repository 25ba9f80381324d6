"""The checks of Applications: what is wrong with one is said at its place, with the key that was meant."""

from __future__ import annotations

import pytest

from tests.core.lint.document import KINDS, SCRAPES
from watcher.core.lint.files import lint

HEAD = """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: Application
metadata: {name: shop, namespace: prod}
spec:
  service: shop
  colors: {blue: {deployment: shop-blue}, green: {deployment: shop-green}}
  tests:
    smoke:
"""


def said(*lines: str) -> list[str]:
    text = HEAD + "".join(f"      {line}\n" for line in lines)
    return [str(one).removeprefix("app.yaml:") for one in lint({"app.yaml": text}, KINDS, SCRAPES).all()]


@pytest.mark.parametrize(
    ("check", "finding"),
    [
        ("- {htpp: {path: /}}", '9:10: BW001 error: unknown key "htpp": did you mean "http"?'),
        ("- {http: {path: /, evry: 2s}}", '9:26: BW001 error: unknown key "evry": did you mean "every"?'),
        ("- {tcp: {prot: 80}}", '9:16: BW001 error: unknown key "prot": did you mean "port"?'),
        ("- {tcp: 80}", '9:15: BW001 error: 80 is not a mapping: write keys and values, as in "key: value"'),
        ("- {grpc: {servcie: chat}}", '9:17: BW001 error: unknown key "servcie": did you mean "service"?'),
        (
            "- {tcp: {}, query: up}",
            '9:19: BW001 error: unknown key "query": write it below promql, as in "promql: {query: ..., ',
        ),
        ("- {promql: {query: up}}", '9:18: BW001 error: "threshold" is missing: add "threshold: ..."'),
        (
            "- {promql: {query: up, threshold: {below: 1}, noData: pass}}",
            '9:53: BW001 error: unknown key "noData": did you mean "onNoData"?',
        ),
        (
            "- {promql: {query: 'up{c=\"{{ colour }}\"}', threshold: {below: 1}}}",
            '9:33: BW002 error: "colour" is no variable: did you mean "color"?',
        ),
        ("- {tcp: {}, http: {path: /}}", "9:15: BW001 error: this has http and tcp: write exactly one of grpc, http, "),
        ("- {name: a}", "9:9: BW001 error: this says nothing to do: write exactly one of grpc, http, job, parallel"),
        ("- parallel: [{tcp: {}}, {tpc: {}}]", '9:32: BW001 error: unknown key "tpc": did you mean "tcp"?'),
        ("- {name: a, parallel: [{tcp: {}}]}", "9:16: BW001 error: checks that run in parallel have no name together"),
    ],
)
def test_a_wrong_check_is_said_with_its_place_and_the_cure(check: str, finding: str) -> None:
    (found,) = said(check)
    assert found.startswith(finding)


def test_a_query_that_is_no_promql_is_said_within_it() -> None:
    (found,) = said("- tcp: {}", "- parallel:", "  - promql:", "      query: sum(up", "      threshold: {below: 1}")
    assert found.startswith("12:23: BW101 error: smoke/1.0: ")


def test_what_a_query_can_never_be_is_said_and_doubts_are_not() -> None:
    (sure,) = said("- name: errors", "  promql:", "    query: http_requests_total", "    threshold: {above: 1}")
    assert sure.startswith("11:18: BW301 error: smoke/errors: ")
    assert said("- promql: {query: sum(lag_seconds), threshold: {above: 5s}}") == []
