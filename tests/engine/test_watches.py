"""Watches over the real fold, with a metrics server told what to answer: what is asked when, and what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.acting import until
from tests.support.clock import HandClock
from watcher.core.observed import WatchReading
from watcher.core.readings import Answer, Failed, NoData, Query, Row, Series
from watcher.core.rules import BoundRule
from watcher.engine.watches import LINGER, Key, Watches

START = 1_000_000.0
SECOND = timedelta(seconds=1)
A, B = ("shop", "a"), ("shop", "b")


def rule(id_: str = "http/errors", **changes: Any) -> BoundRule:
    """Breached by values over 10; evaluated each second from the first on."""
    fields: dict[str, Any] = {
        "id": id_,
        "description": "",
        "query": f"q({id_})",
        "threshold": {"above": 10},
        "window": "1s",
        "for": "0s",
        "warmUp": "0s",
        "interval": "1s",
        "onBreach": "rollback",
        "onNoData": "hold",
        "onError": "hold",
        "mode": "enforce",
    }
    return BoundRule.model_validate(fields | changes, strict=False)


class Scripted:
    """A metrics server: values by expression and time (1 where none is given); remembers what it was asked."""

    def __init__(self) -> None:
        self.values: dict[str, dict[float, float]] = {}
        self.failing: dict[str, Answer] = {}
        self.down = False
        self.raises = False
        self.gate: threading.Event | None = None
        self.asked: list[tuple[tuple[str, ...], float, float]] = []

    def query(self, batch: Sequence[Query], start: datetime, end: datetime, step: timedelta) -> dict[str, Answer]:
        self.asked.append((tuple(sorted(q.expr for q in batch)), start.timestamp() - START, end.timestamp() - START))
        if self.gate is not None:
            self.gate.wait(5)
        if self.raises:
            raise RuntimeError("broken")
        if self.down:
            return {q.id: Failed("no answer") for q in batch}
        return {q.id: self.failing.get(q.expr) or self._series(q.expr, start, end, step) for q in batch}

    def _series(self, expr: str, start: datetime, end: datetime, step: timedelta) -> Series:
        points: dict[float, float] = {}
        at = start
        while at <= end:
            seconds = at.timestamp()
            points[seconds] = self.values.get(expr, {}).get(seconds - START, 1.0)
            at += step
        return Series((Row({}, points),))


class Set:
    """A set of watches, its clock and its metrics server."""

    def __init__(self) -> None:
        self.clock = HandClock(START)
        self.metrics = Scripted()
        self.told: list[Key] = []
        self.lags: list[float] = []
        self.watches = Watches(self.metrics, self.clock, self.told.append, lagged=self.lags.append)

    def follow(self, key: Key, *rules: BoundRule, seconds: float = 600, begun: float = 0) -> None:
        begins = START + begun
        self.watches.follow(
            key, rules, datetime.fromtimestamp(begins, UTC), datetime.fromtimestamp(START + seconds, UTC)
        )

    def at(self, seconds: float) -> None:
        """Let it be so many seconds after the start, tick, and wait for what was asked."""
        before = len(self.metrics.asked)
        self.clock.seconds = START + seconds
        self.watches.tick()
        self.settle()
        self.new = self.metrics.asked[before:]

    def settle(self) -> None:
        until(lambda: not self.watches.asking(), "the answers", 5)

    def says(self, key: Key = A) -> WatchReading:
        found = self.watches.reading(key)
        assert found is not None
        return found

    def outcomes(self, key: Key = A) -> Mapping[str, str]:
        return {report.id: report.outcome for report in self.says(key).reports}


@pytest.fixture
def one() -> Iterator[Set]:
    found = Set()
    yield found
    found.watches.stop()


def test_each_time_is_asked_for_once(one: Set) -> None:
    one.follow(A, rule())
    for seconds in (0.4, 1.0, 1.4, 1.9, 2.5):
        one.at(seconds)
    assert one.metrics.asked == [(("q(http/errors)",), 1, 1), (("q(http/errors)",), 2, 2)]


def test_nothing_is_asked_before_the_warm_up_and_the_rule_is_pending(one: Set) -> None:
    one.follow(A, rule(warmUp="5s"))
    one.at(3)
    assert one.new == []
    assert one.outcomes() == {"http/errors": "pending"}
    one.at(5)
    assert [span[1:] for span in one.new] == [(5, 5)]


def test_times_are_fixed_by_the_switch_whenever_the_watch_is_begun(one: Set) -> None:
    one.clock.seconds = START + 7.6
    one.follow(A, rule(interval="2s"), begun=0.3)
    one.at(7.7)
    # The first whole second after the switch is the origin.
    assert [span[1:] for span in one.new] == [(3, 7)]


def test_an_outage_folds_nothing_and_the_gap_is_caught_up_in_one_request(one: Set) -> None:
    one.follow(A, rule(**{"for": "3s"}))
    one.at(1)
    one.metrics.down = True
    one.metrics.values["q(http/errors)"] = dict.fromkeys([4.0, 5.0, 6.0, 7.0, 8.0], 50.0)
    for seconds in range(2, 10):
        one.at(seconds)
    assert one.outcomes() == {"http/errors": "error"}
    assert one.says().verdict == "hold"
    one.metrics.down = False
    one.at(10)
    assert [span[1:] for span in one.new] == [(2, 10)]
    assert one.says().verdict == "rollback"
    assert one.says().late == pytest.approx(10 - 7)


def test_a_resumed_watch_comes_to_what_a_live_one_came_to() -> None:
    values = {float(n): 50.0 if n in (3, 4, 9, 10, 11) else 1.0 for n in range(1, 31)}
    verdicts = []
    for looks in ([float(n) for n in range(1, 31)], [30.0]):
        one = Set()
        one.metrics.values["q(http/errors)"] = values
        one.follow(A, rule(**{"for": "2s"}))
        for seconds in looks:
            one.at(seconds)
        report = one.says().reports[0]
        verdicts.append((one.says().verdict, report.breached_at, report.value))
        one.watches.stop()
    assert verdicts[0] == verdicts[1]
    assert verdicts[0][:2] == ("rollback", START + 11)


def test_what_is_due_together_travels_together_over_all_releases(one: Set) -> None:
    shared = rule("http/shared")
    one.follow(A, rule("http/a"), shared, rule("http/t", trafficQuery="traffic", trafficAtLeast=0))
    one.follow(B, rule("http/b"), shared)
    one.at(1)
    exprs = ("q(http/a)", "q(http/b)", "q(http/shared)", "q(http/t)", "traffic")
    assert one.new == [(exprs, 1, 1)]
    assert set(one.outcomes(A).values()) == set(one.outcomes(B).values()) == {"pass"}


def test_one_bad_query_does_not_blind_the_others(one: Set) -> None:
    one.follow(A, rule("http/bad"), rule("http/none"), rule("http/good"))
    one.metrics.failing = {"q(http/bad)": Failed("parse error", transient=False), "q(http/none)": NoData()}
    one.at(1)
    assert one.outcomes() == {"http/bad": "error", "http/none": "noData", "http/good": "pass"}
    assert one.says().verdict == "hold"


def test_a_verdict_is_latched(one: Set) -> None:
    one.follow(A, rule())
    one.metrics.values["q(http/errors)"] = {2.0: 50.0}
    for seconds in (1, 2, 3, 4):
        one.at(seconds)
    assert one.says().verdict == "rollback"
    one.metrics.down = True
    one.at(5)
    assert one.says().verdict == "rollback"


def test_a_metrics_adapter_that_fails_is_blindness_and_not_the_end(one: Set) -> None:
    one.follow(A, rule())
    one.metrics.raises = True
    one.at(1)
    assert one.outcomes() == {"http/errors": "error"}
    assert one.says().verdict == "hold"
    one.metrics.raises = False
    one.at(2)
    assert one.outcomes() == {"http/errors": "pass"}


def test_a_query_that_is_left_unanswered_is_an_error(one: Set) -> None:
    class Forgetful(Scripted):
        def query(self, batch: Sequence[Query], start: datetime, end: datetime, step: timedelta) -> dict[str, Answer]:
            return {}

    watches = Watches(Forgetful(), one.clock, one.told.append)
    watches.follow(A, [rule()], datetime.fromtimestamp(START, UTC), datetime.fromtimestamp(START + 60, UTC))
    one.clock.seconds = START + 1
    watches.tick()
    until(lambda: watches.reading(A) is not None, "a reading")
    found = watches.reading(A)
    assert found is not None
    assert [r.outcome for r in found.reports] == ["error"]
    watches.stop()


def test_an_answer_that_cannot_be_judged_blinds_its_rule_and_not_the_watch(one: Set) -> None:
    class Text(dict[float, float]):
        def get(self, key: float, default: Any = None) -> Any:
            return "no number"

    one.follow(A, rule("http/odd"), rule("http/good"))
    one.metrics.failing = {"q(http/odd)": Series((Row({}, Text()),))}
    one.at(1)
    assert one.outcomes() == {"http/odd": "error", "http/good": "pass"}
    assert one.says().verdict == "hold"
    one.metrics.failing = {}
    one.at(2)
    assert one.outcomes() == {"http/odd": "pass", "http/good": "pass"}


def test_a_watch_that_still_waits_for_an_answer_is_not_asked_again(one: Set) -> None:
    one.follow(A, rule())
    one.follow(B, rule("http/other"), begun=0.5)
    one.metrics.gate = threading.Event()
    one.clock.seconds = START + 1
    one.watches.tick()
    one.clock.seconds = START + 3
    one.watches.tick()
    until(lambda: len(one.metrics.asked) == 2, "both to be asked")
    one.metrics.gate.set()
    one.settle()
    assert one.metrics.asked == [(("q(http/errors)",), 1, 1), (("q(http/other)",), 2, 3)]
    one.at(3)
    assert [span[1:] for span in one.new] == [(2, 3)]


@pytest.mark.parametrize("seconds", [5, 5.5])
def test_the_end_is_said_once_the_last_time_was_answered(one: Set, seconds: float) -> None:
    one.follow(A, rule(), seconds=seconds)
    for at in range(1, 5):
        one.at(at)
    assert not one.says().ended
    one.at(seconds)
    assert one.says().ended
    assert one.says().verdict == "pass"


def test_blindness_to_the_end_is_inconclusive_and_an_extension_goes_on(one: Set) -> None:
    one.follow(A, rule(), seconds=5)
    one.metrics.down = True
    for at in range(1, 6):
        one.at(at)
    assert one.says().ended
    assert one.says().verdict == "inconclusive"
    one.metrics.down = False
    one.follow(A, rule(), seconds=10)
    one.at(6)
    assert not one.says().ended
    one.at(10)
    assert one.says().ended
    assert one.says().verdict == "pass"


def test_the_worker_is_told_what_is_new_and_not_what_is_not(one: Set) -> None:
    one.follow(A, rule())
    one.metrics.values["q(http/errors)"] = {3.0: 50.0}
    for at in (1, 2):
        one.at(at)
    assert one.told == [A]
    one.at(3)
    assert one.told == [A, A]


def test_a_release_without_rules_has_no_watch_and_a_forgotten_one_is_asked_no_more(one: Set) -> None:
    one.follow(A)
    assert one.watches.running() == 0
    one.follow(B, rule())
    one.watches.forget(B)
    one.at(5)
    assert one.new == []
    assert one.watches.reading(B) is None


def test_after_stopping_nothing_is_asked(one: Set) -> None:
    one.follow(A, rule())
    one.watches.stop()
    one.at(5)
    assert one.new == []


# -- gaps -------------------------------------------------------------------------------------------------------------


def test_a_daemon_that_was_stopped_through_a_breach_goes_back_when_it_is_back_and_says_how_late() -> None:
    """Fifteen minutes' watch, stopped from minute 3 to minute 8; errors only from minute 4 to minute 5."""
    watched = rule(interval="10s", window="1m", warmUp="1m", **{"for": "30s"})
    values = {float(n): 50.0 for n in range(240, 300, 10)}
    verdicts = []
    for stopped in (False, True):
        one = Set()
        one.metrics.values["q(http/errors)"] = values
        one.follow(A, watched, seconds=900)
        for seconds in range(60, 181 if stopped else 481, 10):
            one.at(float(seconds))
        if stopped:
            assert one.says().verdict == "pass"
            one.watches.stop()
            one.watches = Watches(one.metrics, one.clock, one.told.append)
            one.follow(A, watched, seconds=900)
            one.at(481.5)
            assert [span[1:] for span in one.new] == [(60, 480)]
            assert one.says().late == pytest.approx(481.5 - 270)
        (report,) = one.says().reports
        verdicts.append((one.says().verdict, report.breached_at, report.value, report.message))
        one.watches.stop()
    assert verdicts[0] == verdicts[1]
    assert verdicts[0][:2] == ("rollback", START + 270)


def test_only_a_breach_that_moves_traffic_makes_a_verdict_late(one: Set) -> None:
    one.metrics.values |= {"q(http/told)": {1.0: 50.0}, "q(http/errors)": {90.0: 50.0}}
    one.follow(A, rule("http/told", onBreach="notify"), rule())
    for at in (1, 60, 90):
        one.at(at)
    assert one.says().verdict == "rollback"
    assert one.says().late == 0


def test_what_came_after_the_end_of_the_watch_is_not_held_against_it(one: Set) -> None:
    """Stopped before its end and back an hour later: a watch that went on would have ended as a pass."""
    one.metrics.values["q(http/errors)"] = dict.fromkeys([float(n) for n in range(61, 3000)], 50.0)
    one.follow(A, rule(), seconds=60)
    one.at(3600)
    assert [span[1:] for span in one.new] == [(1, 60)]
    assert (one.says().verdict, one.says().ended) == ("pass", True)


def test_a_watch_that_goes_on_after_its_end_is_judged_by_what_comes_then(one: Set) -> None:
    one.metrics.values["q(http/errors)"] = {70.0: 50.0}
    one.follow(A, rule(), seconds=60)
    for at in (60, 61, 70):
        one.at(at)
    assert one.says().verdict == "rollback"


def test_a_breach_in_an_outage_at_the_end_is_seen_once_the_server_answers(one: Set) -> None:
    one.metrics.values["q(http/errors)"] = {59.0: 50.0}
    one.follow(A, rule(), seconds=60)
    one.at(58)
    one.metrics.down = True
    for at in (59, 60):
        one.at(at)
    assert (one.says().ended, one.outcomes()) == (True, {"http/errors": "error"})
    one.metrics.down = False
    one.at(61)
    assert [span[1:] for span in one.new] == [(59, 61)]
    assert one.says().verdict == "rollback"


def test_a_gap_longer_than_one_request_asks_for_is_caught_up_before_the_end_is_said(one: Set) -> None:
    one.metrics.values["q(http/errors)"] = {5500.0: 50.0}
    one.follow(A, rule(), seconds=5400)
    one.at(6000)
    assert [span[1:] for span in one.new] == [(1, 5000)]
    assert not one.says().ended
    one.at(6000.5)
    assert [span[1:] for span in one.new] == [(5001, 5400)]
    assert (one.says().verdict, one.says().ended) == ("pass", True)


def test_one_failed_request_after_a_gap_is_no_lasting_error(one: Set) -> None:
    lasting = rule(onError="breach", **{"for": "30s"})
    one.follow(A, lasting)
    one.metrics.down = True
    one.at(300)
    assert (one.says().verdict, one.outcomes()) == ("hold", {"http/errors": "error"})
    for at in range(301, 330):
        one.at(at)
    assert one.says().verdict == "hold"
    one.at(330)
    assert one.says().verdict == "rollback"


def test_an_answer_in_between_begins_a_lasting_error_anew(one: Set) -> None:
    one.follow(A, rule(onError="breach", **{"for": "5s"}))
    for at in range(1, 20):
        one.metrics.down = at != 10 and at > 6
        one.at(at)
        expected = "rollback" if at >= 16 else "hold" if one.metrics.down else "pass"
        assert one.says().verdict == expected, at


# -- comparisons ------------------------------------------------------------------------------------------------------


def compared(id_: str = "http/p99", **changes: Any) -> BoundRule:
    """Held against the ten minutes before the switch; 1 is usual, and past 1.5 is a breach."""
    colors = {
        color: {"color": color, "query": f"{color}({id_})", "liveQuery": f"live({color})"}
        for color in ("blue", "green")
    }
    compare = {
        "with": ("before",),
        "direction": "increase",
        "tolerance": {"relative": "20%", "absolute": "0.5"},
        "confidence": "99%",
        "previous": colors["blue"],
        "current": colors["green"],
        "length": "10m",
    }
    return rule(id_, query=f"green({id_})", threshold=None, compare=compare, **changes)


def test_a_comparison_asks_for_its_past_once_and_apart(one: Set) -> None:
    one.follow(A, rule(), compared(onBreach="rollback"))
    one.metrics.values["green(http/p99)"] = dict.fromkeys([float(n) for n in range(1, 9)], 2.0)
    one.at(1)
    assert sorted(one.new) == [(("blue(http/p99)",), -600, -1), (("q(http/errors)",), 1, 1)]
    one.at(2)
    assert sorted(one.new) == [(("green(http/p99)",), 1, 2), (("q(http/errors)",), 2, 2)]
    assert one.outcomes() == {"http/errors": "pass", "http/p99": "breach"}
    assert one.says().verdict == "rollback"
    assert one.says().reports[1].message == (
        "p99 was 2 or more in 2 of the last 3 numbers since 13:46:41 UTC, expected up to 1.5 with 99% "
        "(before 1 on blue; by the little that there is of a past)"
    )


def test_while_the_past_cannot_be_asked_for_a_comparison_is_an_error_and_the_others_go_on(one: Set) -> None:
    one.follow(A, rule(), compared())
    one.metrics.failing = {"blue(http/p99)": Failed("too much at once")}
    for at in (1, 2):
        one.at(at)
    assert one.outcomes() == {"http/errors": "pass", "http/p99": "error"}
    assert one.says().reports[1].message == ("p99 could not be evaluated: what it compares with: too much at once")
    one.metrics.failing = {}
    one.at(3)
    one.at(4)
    assert [span for span in one.new if span[0] == ("green(http/p99)",)] == [(("green(http/p99)",), 1, 4)]
    assert one.outcomes() == {"http/errors": "pass", "http/p99": "pass"}


def test_a_past_that_cannot_be_understood_is_an_error(one: Set) -> None:
    one.follow(A, compared())
    one.metrics.failing = {"blue(http/p99)": Series((Row({}, None),))}  # type: ignore[arg-type]
    one.at(1)
    assert one.says().reports[0].message == (
        "p99 could not be evaluated: what it compares with: understanding it failed: AttributeError"
    )
    one.metrics.failing = {}
    one.at(2)
    one.at(3)
    assert one.outcomes() == {"http/p99": "pass"}


def test_a_slow_past_delays_no_other_rule(one: Set) -> None:
    gate = threading.Event()

    class SlowPast(Scripted):
        def query(self, batch: Sequence[Query], start: datetime, end: datetime, step: timedelta) -> dict[str, Answer]:
            if end.timestamp() < START:
                gate.wait(5)
            return super().query(batch, start, end, step)

    one.metrics = SlowPast()
    one.metrics.values["q(http/errors)"] = {2.0: 50.0}
    watches = Watches(one.metrics, one.clock, one.told.append)
    begins = datetime.fromtimestamp(START, UTC)
    watches.follow(A, [rule(), compared()], begins, begins + timedelta(seconds=60))
    for seconds in (1, 2):
        one.clock.seconds = START + seconds
        watches.tick()
        until(lambda: len(one.metrics.asked) >= seconds, "the threshold's answer")  # noqa: B023
    until(lambda: (found := watches.reading(A)) is not None and found.verdict == "rollback", "the rollback")
    gate.set()
    until(lambda: not watches.asking(), "the past")
    watches.stop()


def test_a_resumed_comparison_comes_to_what_a_live_one_came_to() -> None:
    values = {float(n): 2.0 if n > 7 else 1.0 for n in range(1, 31)}
    reports = []
    for looks in ([float(n) for n in range(1, 31)], [29.0, 30.0]):
        one = Set()
        one.metrics.values["green(http/p99)"] = values
        one.follow(A, compared(**{"for": "3s"}))
        for seconds in looks:
            one.at(seconds)
        report = one.says().reports[0]
        reports.append((report.breached_at, report.since, report.value, report.message))
        one.watches.stop()
    assert reports[0] == reports[1]
    assert reports[0][0] == START + 12


def test_how_late_each_answer_is_judged_is_told_and_how_far_a_watch_is_behind_is_known(one: Set) -> None:
    for key in (A, B):
        one.follow(key, rule(interval="10s"))
    one.at(12)
    assert one.lags == [2.0, 2.0], "of the evaluation at 10 s, for each watch"
    assert {key: watched.behind for key, watched in one.watches.standing().items()} == {A: 0, B: 0}
    one.metrics.down = True
    one.at(24)
    one.at(45)
    assert len(one.lags) == 2, "a failure is no answer"
    assert one.watches.standing()[A].behind == 25, "the evaluation at 20 s is due still"
    one.metrics.down = False
    one.at(53)
    assert one.lags[2:] == [3.0, 3.0], "of the newest of those that were caught up with"
    assert one.watches.standing()[A].behind == 0
    one.watches.forget(A)
    assert list(one.watches.standing()) == [B]


def test_what_the_rules_of_a_watch_said_last_is_shown_for_a_while_after_its_end(one: Set) -> None:
    one.metrics.values["q(http/errors)"] = {2.0: 11.0}
    one.follow(A, rule())
    one.at(2)
    one.watches.end(A)
    one.watches.end(A)
    (watched,) = one.watches.standing().values()
    assert [(r.id, state.outcome, state.value) for r, state in watched.rules] == [("http/errors", "breach", 11.0)]
    one.at(100)
    assert one.new == [], "nothing is asked for it"
    assert one.watches.standing() == {A: watched}
    one.at(2 + LINGER)
    assert one.watches.standing() == {}


def test_a_watch_that_somebody_else_goes_on_with_is_shown_no_more(one: Set) -> None:
    for key in (A, B):
        one.follow(key, rule())
    one.at(2)
    one.watches.end(B)
    for key in (A, B):
        one.watches.forget(key)
    assert one.watches.standing() == {}
