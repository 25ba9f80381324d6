"""What a server's answers add: metrics, labels, types, buckets, and what the queries gave."""

from __future__ import annotations

import pytest

from tests.core.lint.document import APPLICATION, linted
from watcher.core.lint.files import Linted
from watcher.core.lint.live import Measured, Metric, judge_answers, judge_metrics, metric_names, questions

SEL = 'namespace="{{ namespace }}",color="{{ color }}"'
LABELS = frozenset({"__name__", "namespace", "color", "le"})
KNOWN = {
    "x": Metric(LABELS, "gauge"),
    "plain_total": Metric(LABELS, "counter"),
    "odd": Metric(LABELS, "counter"),
    "unsaid": Metric(LABELS),
    "tcp_usage_total": Metric(LABELS, "gauge"),
    "h_bucket": Metric(LABELS, "histogram", top=2.5),
}


def codes(found: Linted) -> list[str]:
    return [one.code for one in found.all(["application", "prometheus"])]


def judged(query: str, threshold: str = "{above: 5}", names: tuple[str, ...] = ()) -> list[str]:
    """The codes and sentences for a rule whose metrics a server knows."""
    found = linted(f"query: {query}\nthreshold: {threshold}\n")
    judge_metrics(found, KNOWN, names)
    return [f"{one.code} {one.sentence}" for one in found.all(["prometheus"])]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"max(x{{{SEL}}})", []),
        (f"max(xx{{{SEL}}})", ['BW701 example/example: Prometheus has no xx: did you mean "x"?']),
        (f"max(zzz{{{SEL}}})", ["BW701 example/example: Prometheus has no zzz: is it scraped, and is this its name?"]),
        (f'max(x{{{SEL},colour="a"}})', ['BW702 example/example: x has no label colour: did you mean "color"?']),
        (f'max(x{{{SEL},q="a"}})', ["BW702 example/example: x has no label q: its labels are color, le, namespace"]),
        (f'max({{__name__="x",{SEL}}})', []),
        (f"max({{{SEL}}})", []),
        (f"sum(rate(x{{{SEL}}}[1m]))", ["BW706 example/example: x is a gauge, and a rate is made of it: use delta() "]),
        (f"sum(rate(odd{{{SEL}}}[1m]))", []),
        (f"sum(rate(unsaid{{{SEL}}}[1m]))", ["BW302 example/example: unsaid does not look like a counter"]),
        (f"max(odd{{{SEL}}})", ["BW706 example/example: odd is a counter, and is taken as it is: read it through"]),
        (f"sum(rate(plain_total{{{SEL}}}[1m]))", []),
        (f"sum(tcp_usage_total{{{SEL}}})", []),
        (f"sum(h_bucket{{{SEL}}})", ["BW301 "]),
        ("sum(", ["BW101 "]),
    ],
)
def test_metrics_labels_and_types(query: str, found: list[str]) -> None:
    seen = judged(query)

    assert len(seen) == len(found)
    assert all(one.startswith(wanted) for one, wanted in zip(seen, found, strict=True))


def test_the_traffic_is_looked_at_too() -> None:
    found = linted(RULE + TRAFFIC.replace("sum(x", "sum(y"))
    judge_metrics(found, KNOWN)

    assert codes(found) == ["BW701"]


def test_a_name_is_suggested_from_all_that_there_are() -> None:
    assert 'did you mean "requests_total"?' in judged(f"max(request_totl{{{SEL}}})", names=("requests_total", "x"))[0]


QUANTILE = f"histogram_quantile(0.9, sum by (le) (rate(h_bucket{{{SEL}}}[1m])))"


@pytest.mark.parametrize(
    ("query", "threshold", "found"),
    [
        (QUANTILE, "{above: 2.5}", True),
        (QUANTILE, "{above: 2.4}", False),
        (QUANTILE, "{below: 5}", False),
        (f"{QUANTILE} / 1000", "{above: 2.5ms}", True),
        (f"{QUANTILE} / 1000", "{above: 2.4ms}", False),
        (f"{QUANTILE} / -1000", "{above: 5}", False),
        (f"{QUANTILE} * 2", "{above: 5}", False),
        (f"histogram_quantile(0.9, sum(rate(unsaid{{{SEL}}}[1m])))", "{above: 5}", False),
        (f"max(x{{{SEL}}})", "{above: 5}", False),
    ],
)
def test_a_limit_above_the_last_bucket(query: str, threshold: str, found: bool) -> None:
    seen = judged(query, threshold)

    assert any("BW707" in one for one in seen) is found


def test_a_comparison_has_no_limit_to_be_above_of() -> None:
    found = linted(f"query: {QUANTILE}\ncompare: {{tolerance: {{relative: 20%, absolute: 50ms}}}}\n")
    judge_metrics(found, KNOWN)

    assert codes(found) == []


def test_every_metric_that_the_rules_name_is_asked_for_once() -> None:
    found = linted(
        f"query: max(b{{{SEL}}}) + max(a{{{SEL}}}) + max(b{{{SEL}}}) + max({{{SEL}}})\nthreshold: {{above: 5}}\n"
    )

    assert metric_names(found) == ["a", "b"]


def test_a_name_in_quotes_is_not_asked_for() -> None:
    found = linted(f"query: 'max({{\"a.b\",{SEL}}})'\nthreshold: {{above: 5}}\n")
    judge_metrics(found, KNOWN)

    assert metric_names(found) == []
    assert codes(found) == []


RULE = f"query: max(x{{{SEL}}})\nthreshold: {{above: 5}}\n"
TRAFFIC = f"traffic: {{query: 'sum(x{{{SEL}}})', atLeast: 5}}\n"


def test_the_queries_are_asked_for_both_colours_as_they_would_be_sent() -> None:
    asked = questions(linted(RULE + TRAFFIC, application=APPLICATION))

    assert [(one.name, one.color) for one in asked] == [
        ("shop-prod/shop example/example query", "blue"),
        ("shop-prod/shop example/example traffic", "blue"),
        ("shop-prod/shop example/example query", "green"),
        ("shop-prod/shop example/example traffic", "green"),
    ]
    assert asked[2].expr == 'max(x{namespace="shop-prod",color="green"})'


def test_a_burn_rate_is_asked_for_each_pair_of_its_windows() -> None:
    text = f"burnRate:\n  objective: 99%\n  bad: sum(rate(a_total{{{SEL}}}[{{{{ window }}}}]))\n"
    text += f"  total: sum(rate(b_total{{{SEL}}}[{{{{ window }}}}]))\n"

    asked = questions(linted(text, application=APPLICATION))

    assert [(one.path, one.color) for one in asked] == [
        (("burnRate",), color) for color in ("blue", "green") for _ in "12"
    ]


def test_an_application_whose_rules_cannot_be_bound_is_not_asked_about() -> None:
    assert questions(linted(RULE, application=APPLICATION.replace("[example]", "[other]"))) == []


@pytest.mark.parametrize(
    ("keys", "blue", "green", "found"),
    [
        ("", Measured(1, 0.01, 10), Measured(1, 0.01, None), []),
        ("", Measured(0, 0.01, 0), Measured(1, 0.01, 10), []),
        ("", Measured(0, 0.01, 0), Measured(0, 0.01, 0), ["BW708"]),
        ("", Measured(3, 0.01, 10), Measured(3, 0.01, 10), ["BW704"]),
        ("reduce: max\n", Measured(3, 0.01, 10), Measured(3, 0.01, 10), []),
        ("", Measured(1, 1.5, None), Measured(1, 0.01, None), ["BW705"]),
        ("", Measured(1, 0.1, 2_000_000), Measured(1, 0.01, 1), ["BW705"]),
        ("", "unknown function", "unknown function", ["BW703"]),
        ("", "unknown function", Measured(1, 0.01, 1), ["BW703"]),
    ],
)
def test_what_the_answers_say(keys: str, blue: Measured | str, green: Measured | str, found: list[str]) -> None:
    given = {"blue": blue, "green": green}
    seen = linted(RULE + keys, application=APPLICATION)
    judge_answers([(one, given[one.color]) for one in questions(seen)])

    assert codes(seen) == found


def test_traffic_is_one_number_whatever_the_rule_does_with_its_own() -> None:
    seen = linted(RULE + "reduce: max\n" + TRAFFIC, application=APPLICATION)
    judge_answers([(one, Measured(2, 0.01, 1)) for one in questions(seen)])

    assert codes(seen) == ["BW704"]


def test_nothing_for_either_colour_is_not_said_again_where_the_metric_is_missing() -> None:
    seen = linted(RULE.replace("max(x", "max(y"), application=APPLICATION)
    judge_metrics(seen, KNOWN)
    judge_answers([(one, Measured(0, 0.01, 0)) for one in questions(seen)])

    assert codes(seen) == ["BW701"]


def test_what_it_cost_is_said_with_what_the_server_counts() -> None:
    seen = linted(RULE, application=APPLICATION)
    judge_answers([(one, Measured(1, 2.25, None)) for one in questions(seen)][:1])
    judge_answers([(one, Measured(1, 2.25, 7)) for one in questions(seen)][:1])

    assert [one.problem for one in seen.all(["prometheus"])] == [
        "this took 2.2 s",
        "this took 2.2 s, and read 7 samples",
    ]
