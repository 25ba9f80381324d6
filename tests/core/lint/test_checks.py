"""What is found in a rule, and what is left alone, beyond the examples of docs/lint.md."""

from __future__ import annotations

import pytest

from tests.core.lint.document import codes, findings

SEL = 'namespace="{{ namespace }}",color="{{ color }}"'
X = f"x{{{SEL}}}"
R = f"r_total{{{SEL}}}"
TRAFFIC = f"traffic: {{query: 'sum(increase({R}[1m]))', atLeast: 5}}"
BAD = f'sum(rate(r_total{{{SEL},code="500"}}[1m]))'
ALL = f"sum(rate({R}[1m]))"


def rule(query: str, *keys: str, threshold: str = "{above: 5}") -> str:
    """A rule's text."""
    return "\n".join(
        [f"query: {query!r}" if "'" not in query else f'query: "{query}"', f"threshold: {threshold}", *keys]
    )


@pytest.mark.parametrize(
    ("query", "keys", "found"),
    [
        # what it selects
        ('max(x{namespace="{{ namespace }}",version="{{ version }}"})', [], []),
        ('max(x{namespace="{{ namespace }}",color!="{{ previousColor }}"})', [], []),
        ('max(x{namespace="{{ namespace }}",pod=~"web-green"})', [], ["BW202"]),
        ('max(x{namespace="{{ namespace }}",color="{{ color }}",color!="green"})', [], []),
        ('max({namespace="{{ namespace }}",color="{{ color }}"})', [], []),
        ('max({a=\\"b\\"})', [], ["BW201", "BW203"]),
        # counters
        (f"count({R})", [], []),
        (f"absent({R})", [], ["BW501"]),
        (f"sum(resets({R}[1m]))", [], []),
        (f"sum(delta({R}[1m]))", [], ["BW301"]),
        (f"max(rate(x_requests{{{SEL}}}[1m]))", [], []),
        (f"histogram_quantile(0.9, sum(rate({X}[1m])))", [], []),
        (f"rate(max_over_time({X}[1m])[1m:])", ["reduce: max", "warmUp: 2m"], []),
        (f'sum(rate({X[:-1]},a=\\"1\\"}}[1m]))', [], ["BW302"]),
        ('sum(rate({namespace="{{ namespace }}",color="{{ color }}"}[1m]))', [], []),
        # histograms
        (f"histogram_quantile(0.9, sum without (pod) (rate(h_bucket{{{SEL}}}[1m])))", ["reduce: max"], []),
        (f"histogram_quantile(0.9, sum without (le) (rate(h_bucket{{{SEL}}}[1m])))", ["reduce: max"], ["BW406"]),
        (f"quantile(1.5, {X})", [], ["BW407"]),
        (f"quantile(-1, {X})", [], ["BW407"]),
        (f"quantile_over_time(101, {X}[1m])", ["reduce: max"], ["BW407"]),
        (f"quantile(scalar({X}), {X})", [], []),
        # several series
        (X, [], ["BW104"]),
        (X, ["reduce: avg"], []),
        # shares
        (f"{BAD} / {ALL}", ["onNoData: pass", TRAFFIC], ["BW501"]),
        (f"({BAD} or vector(0)) / {ALL}", [TRAFFIC], ["BW501"]),
        (f"(({BAD} or vector(0)) + {BAD}) / {ALL}", [TRAFFIC], ["BW401"]),
        (f"({BAD} or ({ALL} * 0)) / {ALL}", [TRAFFIC], []),
        (f'sum(rate(a_total{{{SEL},code=\\"500\\"}}[1m])) / {ALL}', [TRAFFIC], ["BW401"]),
        (f'sum(rate(a_total{{{SEL},kind=\\"500\\"}}[1m])) / {ALL}', [TRAFFIC], []),
        (f'sum(rate(r_total{{{SEL},kind!=\\"\\"}}[1m])) / {ALL}', [TRAFFIC], ["BW501"]),
        (f"absent({BAD}) / {ALL}", [TRAFFIC], []),
        (f"{ALL} / 60", [], []),
        (f"{ALL} % {ALL}", [], ["BW404"]),
        (f"max({X}) / count({X})", [], []),
        (f"max({X}) / (max({X}) != 0)", [], []),
        (f"max({X}) / (max({X}) > 2)", [], []),
        (f"max({X}) / (max({X}) > -1)", [], ["BW405"]),
        (f"max({X}) / (max({X}) < 9)", [], ["BW405"]),
        (f"max({X}) / (max({X}) > bool 0)", [], ["BW405"]),
        (f"max({X}) / (max({X}) > max({X}))", [], ["BW405"]),
        (f"max({X}) / max({X})", [TRAFFIC], []),
        # nothing while nothing fails
        (BAD, ["onNoData: pass"], []),
        (f"1 - {BAD} / {ALL}", ["onNoData: pass", TRAFFIC], ["BW501"]),
        (f"max({X}) or vector(0)", ["onNoData: pass"], ["BW403"]),
        (f"max({X}) or max({X})", [], []),
    ],
)
def test_the_codes_of_a_query(query: str, keys: list[str], found: list[str]) -> None:
    text = rule(query.replace('\\"', '"'), *keys)

    assert codes(text) == found


@pytest.mark.parametrize(
    ("query", "threshold", "found", "said"),
    [
        (ALL, "{below: 0}", "BW501", "below 0"),
        (ALL, "{above: -1}", "BW502", "above -1"),
        (f"clamp({X[:-1]}}}, 0, 1)", "{outside: [0, 1]}", "BW501", "outside of 0 to 1"),
        (f"clamp({X[:-1]}}}, 5, 6)", "{outside: [0, 1]}", "BW502", "between 5 and 6"),
        (f"clamp({X[:-1]}}}, 0, 1)", "{outside: [0.1, 1]}", "", ""),
        (f"clamp({X[:-1]}}}, 0, 1)", "{below: 2}", "BW502", "below 2"),
        (f"-sum(rate({R}[1m]))", "{above: 0}", "BW501", "between -infinity and -0"),
        (f"({BAD} or vector(0)) / {ALL}", "{above: 100%}", "BW501", "above 100%"),
        (f"({BAD} or vector(0)) / {ALL}", "{above: 5}", "BW501", 'did you mean "5%"?'),
        (f"({BAD} or vector(0)) / {ALL}", "{above: 99.9%}", "", ""),
        (f"100 * ({BAD} or vector(0)) / {ALL}", "{above: 5%}", "BW503", 'take "100 *" out of the query'),
        (f"100 * ({BAD} or vector(0)) / {ALL}", "{above: 5}", "", ""),
        (f"max(x_milliseconds{{{SEL}}})", "{above: 250ms}", "BW503", 'write "250"'),
        (f"max(x_milliseconds{{{SEL}}})", "{above: 250}", "", ""),
        (f"max(x_milliseconds{{{SEL}}})", "{above: 5MiB}", "BW503", "gives milliseconds, and 5MiB is none"),
        (f"max(x_seconds{{{SEL}}})", "{above: 5MiB}", "BW503", "gives seconds, and 5MiB is none"),
        (f"max(x_seconds{{{SEL}}})", "{above: 5%}", "BW503", "gives seconds, and 5% is none"),
        (f"max(x_bytes{{{SEL}}})", "{above: 2GiB}", "", ""),
        (f"max(x_bytes{{{SEL}}})", "{outside: [1, 5s]}", "BW503", "gives bytes, and 5s is none"),
        (f"sum(rate(x_bytes_total{{{SEL}}}[1m]))", "{above: 5MiB}", "BW503", "gives bytes per second"),
        (f"sum(rate(x_bytes_total{{{SEL}}}[1m]))", "{above: 5MiB/s}", "", ""),
        (f"sum(rate(x_bytes_total{{{SEL}}}[1m]))", "{above: 5/s}", "", ""),
        (f"sum(rate(x_seconds_total{{{SEL}}}[1m]))", "{above: 50%}", "", ""),
    ],
)
def test_thresholds_against_what_their_queries_give(query: str, threshold: str, found: str, said: str) -> None:
    seen = findings(rule(query, TRAFFIC, "reduce: max", threshold=threshold))

    assert [one.code for one in seen] == ([found] if found else [])
    assert all(said in str(one) for one in seen)


@pytest.mark.parametrize(
    ("query", "keys", "found"),
    [
        (f"sum(rate({R}[59s]))", [], ["BW303"]),
        (f"sum(rate({R}[1m]))", [], []),
        (f"sum(rate({R}[60]))", [], []),
        (f"sum(rate({R}[30]))", [], ["BW303"]),
        (f"sum(rate({R}[{{{{ window }}}}]))", ["window: 30s"], ["BW303"]),
        (f"max(max_over_time({X}[10s]))", [], []),
        (f"sum(rate({R}[1m] offset 1m))", [], ["BW304"]),
        (f"sum(rate({R}[1m] offset 1m))", ["warmUp: 2m"], []),
        (f"sum(rate({R}[{{{{ window }}}}]))", ["warmUp: 0s"], ["BW304"]),
        (f"max(max_over_time(max({X})[1m:]))", [], []),
        (f"max(max_over_time(max(rate({R}[1m]))[1m:]))", [], ["BW304"]),
        (f"max({X} offset 1h)", [], ["BW304"]),
        (f"max(max_over_time({X}[99999999y]))", [], ["BW304"]),
        (f"max(max_over_time({X}[1h30m]))", ["warmUp: 90m"], []),
        (f"max(max_over_time({X}[0x10]))", ["warmUp: 16s"], []),
    ],
)
def test_durations_in_queries(query: str, keys: list[str], found: list[str]) -> None:
    assert codes(rule(query, *keys)) == found


def test_what_to_write_depends_on_who_said_the_window() -> None:
    (literal,) = findings(rule(f"sum(rate({R}[5m]))"))
    (window,) = findings(rule(f"sum(rate({R}[{{{{ window }}}}]))", "warmUp: 30s"))

    assert literal.cure == 'write "[{{ window }}]", or make warmUp 5m or more'
    assert window.cure == "make warmUp 1m or more"


def test_both_sides_of_a_burn_rate_and_the_traffic_are_looked_at() -> None:
    text = f"""\
burnRate:
  objective: 99%
  bad: rate(r_total{{{SEL},code="500"}}[{{{{ window }}}}])
  total: sum(r_total{{{SEL}}}) + rate(r_total{{{SEL}}}[{{{{ window }}}}])
traffic: {{query: 'r{{{SEL}}}', atLeast: 5}}
"""
    seen = findings(text)

    assert [(one.line, one.column, one.code) for one in seen] == [(10, 20, "BW301"), (11, 25, "BW104")]


def test_a_comparison_is_looked_at_like_any_query() -> None:
    text = f"query: {R}\ncompare: {{tolerance: {{relative: 20%, absolute: 5}}}}\n"

    assert codes(text) == ["BW104", "BW301"]
