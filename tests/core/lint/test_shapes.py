"""What numbers a query can give: never narrower than the truth."""

from __future__ import annotations

import math

import pytest

from watcher.core.lint.labels import labels_of
from watcher.core.lint.promql import parse
from watcher.core.lint.shapes import FUNCTIONS, range_of, unit_of

INF = math.inf
PART, WHOLE = 'sum(rate(r_total{code="5"}[1m]))', "sum(rate(r_total[1m]))"


@pytest.mark.parametrize(
    ("query", "low", "high"),
    [
        ("x", -INF, INF),
        ("x_total", 0, INF),
        ("3", 3, 3),
        ("NaN", -INF, INF),
        ("-3", -3, -3),
        ("+(3)", 3, 3),
        ('"text"', -INF, INF),
        ("-rate(x_total[1m])", -INF, 0),
        ("rate(x[1m])", -INF, INF),
        ("rate(x_requests[1m])", 0, INF),
        ("x_total[5m:]", 0, INF),
        ("sum(x)", -INF, INF),
        ("sum(x_total)", 0, INF),
        ("sum(x > 5)", 5, INF),
        ("max(x_total)", 0, INF),
        ("count(x)", 1, INF),
        ("group(x)", 1, 1),
        ("stddev(x)", 0, INF),
        ("absent(x)", 1, 1),
        ("pi()", -INF, INF),
        ("time()", 0, INF),
        ("vector(3)", 3, 3),
        ("max_over_time(x_total[5m])", 0, INF),
        ("sum_over_time(x_total[5m])", 0, INF),
        ("sum_over_time(x[5m])", -INF, INF),
        ("ceil(vector(2.5))", 2, 3),
        ("floor(vector(2.5))", 2, 3),
        ("round(x_total)", 0, INF),
        ("round(x_total, 5)", -INF, INF),
        ("sgn(x)", -1, 1),
        ("clamp(x, 1, 5)", 1, 5),
        ("clamp_min(x, 1)", 1, INF),
        ("clamp_max(x_total, 5)", 0, 5),
        ("clamp_max(x_total, -5)", -5, -5),
        ("clamp_max(x, scalar(y))", -INF, INF),
        ("deriv(x[5m])", -INF, INF),
        ("x_total or vector(-1)", -1, INF),
        ("x_total and y", 0, INF),
        ("x > bool 3", 0, 1),
        ("x > 3", 3, INF),
        ("x <= 3", -INF, 3),
        ("x != 3", -INF, INF),
        ("3 > x", -INF, 3),
        ("3 <= x_total", 3, INF),
        ("1 > bool 3", 0, 1),
        ("x_total + 5", 5, INF),
        ("x_total - 5", -5, INF),
        ("5 - x_total", -INF, 5),
        ("Inf - x_total", -INF, INF),
        ("2 * x_total", 0, INF),
        ("0 * x_total", 0, INF),
        ("0 * x", -INF, INF),
        ("vector(2) * vector(-3)", -6, -6),
        (f"{PART} / {WHOLE}", 0, 1),
        (f"({PART} or vector(0)) / ({WHOLE} > 0)", 0, 1),
        (f"100 * ({PART} or vector(0)) / {WHOLE}", 0, 100),
        (f"({PART} * 100) / {WHOLE}", 0, 100),
        (f"(-1 * {PART}) / {WHOLE}", -INF, INF),
        (f"({PART} * {PART}) / {WHOLE}", 0, INF),
        (f"1 - {PART} / {WHOLE}", 0, 1),
        (f"({PART} or vector(1)) / {WHOLE}", 0, INF),
        ('sum(rate(h_bucket{le="0.5"}[1m])) / sum(rate(h_count[1m]))', 0, 1),
        ("sum(rate(h_bucket[1m])) / sum(rate(h_count[1m]))", 0, INF),
        ('sum(rate(a_total{c="5"}[1m])) / sum(rate(b_total[1m]))', 0, INF),
        ('sum(rate(a_total{c="5"}[1m])) / sum(rate(a_total[2m]))', 0, INF),
        ('sum(rate(a_total{c="5"}[1m] offset 1m)) / sum(rate(a_total[1m]))', 0, INF),
        ('sum by (a) (rate(a_total{c="5"}[1m])) / sum(rate(a_total[1m]))', 0, INF),
        ('max(rate(a_total{c="5"}[1m])) / max(rate(a_total[1m]))', 0, INF),
        ('increase(a_total{c="5"}[1m]) / rate(a_total[1m])', 0, INF),
        ("x_total / 2", 0, INF),
        ("x_total / 0", 0, INF),
        ("x_total / -2", -INF, 0),
        ("x / y", -INF, INF),
        ("x % 5", -INF, INF),
    ],
)
def test_the_range_of_a_query(query: str, low: float, high: float) -> None:
    found = range_of(parse(query))

    assert (found.low, found.high) == (low, high)


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ("x", None),
        ("rate(x[1m])", None),
        ("3", set()),
        ("time()", set()),
        ("-sum(x)", set()),
        ("sum(x)", set()),
        ("sum by (a, b) (x)", {"a", "b"}),
        ('sum by (a, b) (x{a="1"})', {"b"}),
        ('sum by (a) (x{a=~"1|2"})', {"a"}),
        ('sum by (a) (x{a="1"} + y)', {"a"}),
        ("sum by (a) (vector(1))", set()),
        ("max by (a) (sum by (a, b) (x))", {"a"}),
        ("sum without (a) (x)", None),
        ("sum without (a) (sum by (a, b) (x))", {"b"}),
        ("topk(1, x)", set()),
        ("topk(3, x)", None),
        ("topk by (a) (1, x)", None),
        ('count_values("v", x)', None),
        ("histogram_quantile(0.9, sum by (le) (x))", set()),
        ("histogram_quantile(0.9, sum by (le, pod) (x))", {"pod"}),
        ("quantile_over_time(0.9, x[5m])", None),
        ('label_replace(sum(x), "a", "b", "c", "d")', {"a"}),
        ("scalar(x)", set()),
        ("absent(x)", set()),
        ("sum(x) or vector(0)", set()),
        ("sum by (a) (x) or vector(0)", {"a"}),
        ("x or vector(0)", None),
        ('sum by (a) (x{a="1"}) or sum(y)', {"a"}),
        ('sum by (a) (x{a="1"} or vector(1))', {"a"}),
        ('absent(x{a="1"}) or vector(0)', None),
        ("histogram_quantile(0.9, sum by (le) (x)) or vector(0)", set()),
        ('label_replace(vector(1), "a", "b", "c", "d") or vector(0)', {"a"}),
        ("sum(x) and y", set()),
        ("2 * sum by (a) (x)", {"a"}),
        ("sum by (a) (x) * 2", {"a"}),
        ("sum by (a) (x) * -(1 + 1)", {"a"}),
        ("sum by (a) (x) / sum by (a) (y)", {"a"}),
        ("sum(x) / y", set()),
        ("x / y", None),
        ("x / on (a) y", {"a"}),
        ("sum(x) / on () y", set()),
        ("sum by (a, b) (x) / on (a) group_left sum by (a) (y)", {"a", "b"}),
        ("x / on (a) group_left sum(y)", None),
    ],
)
def test_the_labels_by_which_the_answers_series_differ(query: str, labels: set[str] | None) -> None:
    assert labels_of(parse(query)) == (None if labels is None else frozenset(labels))


@pytest.mark.parametrize(
    ("query", "unit"),
    [
        ("x", ""),
        ("x_seconds", "s"),
        ("x_milliseconds", "ms"),
        ("x_bytes", "B"),
        ("x_bytes_total", "B"),
        ("x_seconds_count", ""),
        ("-(x_seconds)", "s"),
        ("max(x_seconds)", "s"),
        ("count(x_seconds)", ""),
        ("rate(x_seconds_total[1m])", "s/s"),
        ("deriv(x_bytes[1m])", "B/s"),
        ("rate(x_total[1m])", ""),
        ("increase(x_bytes_total[1m])", "B"),
        ("quantile_over_time(0.9, x_seconds[5m])", "s"),
        ("time()", ""),
        ("sqrt(x_seconds)", ""),
        ("histogram_quantile(0.9, sum by (le) (rate(x_seconds_bucket[1m])))", "s"),
        ("histogram_quantile(0.9, sum by (le) (x_seconds_bucket + x_bytes_bucket))", ""),
        ("rate(x_milliseconds_sum[1m]) / rate(x_milliseconds_count[1m])", "ms"),
        ("x_seconds / 1000", ""),
        ("x_seconds / y_count", ""),
        ("x_seconds + y_seconds", "s"),
        ("x_seconds - y_bytes", ""),
        ("x_seconds or vector(0)", "s"),
        ("x_seconds and y", "s"),
        ("x_seconds > 5", "s"),
        ("x_seconds > bool 5", ""),
        ("x_seconds * 2", ""),
        ("3", ""),
    ],
)
def test_the_unit_of_a_query_by_the_metrics_names(query: str, unit: str) -> None:
    assert unit_of(parse(query)) == unit


def test_functions_to_suggest_have_the_ones_that_rules_are_made_of() -> None:
    assert {"rate", "increase", "histogram_quantile", "max_over_time", "clamp_min", "absent"} <= FUNCTIONS
