"""What rules say together: a breach is a rollback for ever, blindness is neither a failure nor a success.

Series are written as in `test_evaluation`: `p` passes, `b` breaches, `-` no data, `t` thin, `e` error, every 10 s.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.evaluation import RuleState, Sample, fold, initial, report
from watcher.core.readings import Failed, NoData, Number, Reading
from watcher.core.rules import BoundRule
from watcher.core.verdict import Judgement, Minimum, Verdict, blindness, verdict

SWITCHED = 1_700_000_000.0
LETTERS: dict[str, Reading] = {
    "p": Number(0.002),
    "b": Number(0.042),
    "-": NoData(),
    "e": Failed("the server did not answer"),
    "t": Number(0.042),
}


def bound(name: str = "error-rate", **keys: Any) -> BoundRule:
    written = {
        "id": f"http/{name}",
        "description": "",
        "query": "x",
        "trafficQuery": "y",
        "trafficAtLeast": 50,
        "threshold": {"above": "1%"},
        "window": "1m",
        "for": "30s",
        "warmUp": "0s",
        "interval": "10s",
        "onBreach": "rollback",
        "onNoData": "hold",
        "onError": "hold",
        "mode": "enforce",
    }
    return BoundRule.model_validate_json(json.dumps(written | keys))


def after(rule: BoundRule, word: str) -> RuleState:
    samples = [
        Sample(SWITCHED + 10.0 * index, LETTERS[letter], Number(49.0 if letter == "t" else 50.0))
        for index, letter in enumerate(word, start=1)
    ]
    return fold(rule, initial(rule), samples)


def judge(*rules: tuple[BoundRule, str], ended: bool = False, due: int = 0) -> Judgement:
    """The verdict when each rule has seen its word, and `due` evaluations were due."""
    pairs = [(rule, after(rule, word)) for rule, word in rules]
    return verdict(pairs, switched_at=SWITCHED, at=SWITCHED + 10.0 * due, ended=ended)


RUNNING = [
    ("pp", "pass"),
    ("bbb", "hold"),
    ("bbbb", "rollback"),
    ("bbbbpppp", "rollback"),
    ("pp-", "hold"),
    ("pp-p", "pass"),
    ("ppt", "hold"),
    ("ppe", "hold"),
    ("b-", "hold"),
    ("", "hold"),
]


@pytest.mark.parametrize(("word", "said"), RUNNING)
def test_the_verdict_while_the_watch_runs(word: str, said: str) -> None:
    assert judge((bound(), word)).verdict == said


@pytest.mark.parametrize(
    ("word", "due", "said"),
    [
        ("pppppp", 6, "pass"),
        ("ppp---ppp---ppp", 15, "pass"),
        ("ppp", 6, "pass"),
        ("---ppp", 6, "pass"),
        ("pp", 6, "inconclusive"),
        ("pp", 2, "pass"),
        ("pp", 3, "inconclusive"),
        ("pppp", 9, "inconclusive"),
        ("ppppp", 9, "pass"),
        ("", 6, "inconclusive"),
        ("", 0, "inconclusive"),
        ("------", 6, "inconclusive"),
        ("tttttt", 6, "inconclusive"),
        ("eeeeee", 6, "inconclusive"),
        ("pppppp--", 8, "pass"),
        ("pppppp---", 9, "inconclusive"),
        ("pppppp-te", 9, "inconclusive"),
        ("ppppppbb", 8, "inconclusive"),
        ("ppppppb-", 8, "inconclusive"),
        ("ppppppbbp", 9, "pass"),
        ("pbbbbp", 6, "rollback"),
        ("bbbb", 100, "rollback"),
    ],
)
def test_the_verdict_when_the_watch_has_ended(word: str, due: int, said: str) -> None:
    assert judge((bound(), word), ended=True, due=due).verdict == said


@pytest.mark.parametrize(
    ("keys", "word", "running", "ended"),
    [
        ({"onBreach": "notify"}, "bbbb", "pass", "pass"),
        ({"onBreach": "observe"}, "bbbb", "pass", "pass"),
        ({"mode": "observe"}, "bbbb", "pass", "pass"),
        ({"mode": "observe"}, "----", "pass", "pass"),
        ({"onNoData": "pass"}, "----", "pass", "pass"),
        ({"onNoData": "breach"}, "---", "hold", "inconclusive"),
        ({"onNoData": "breach"}, "----", "rollback", "rollback"),
        ({"onError": "breach"}, "eeee", "rollback", "rollback"),
    ],
)
def test_what_a_rule_asks_for_decides(keys: dict[str, Any], word: str, running: str, ended: str) -> None:
    assert judge((bound(**keys), word), due=4).verdict == running
    assert judge((bound(**keys), word), due=4, ended=True).verdict == ended


def test_a_watch_without_rules_passes() -> None:
    assert judge() == judge(ended=True) == Judgement(Verdict.PASS, ("no rule enforces anything",))


def test_one_breach_outweighs_everything() -> None:
    said = judge(
        (bound("late"), "ppbbbb"), (bound("early"), "bbbb"), (bound("blind"), "------"), (bound("fine"), "pppppp")
    )
    assert said == Judgement(
        Verdict.ROLLBACK,
        ("early was 4.2% (limit 1%) for 30 s", "late was 4.2% (limit 1%) for 30 s"),
        ("http/early", "http/late"),
        ("http/blind",),
    )


def test_a_hold_names_each_rule_that_is_not_fine() -> None:
    said = judge(
        (bound("blind"), "p-"), (bound("thin"), "t"), (bound("new"), ""), (bound("bad"), "bb"), (bound("fine"), "p")
    )
    assert said == Judgement(
        Verdict.HOLD,
        (
            "bad is 4.2% (limit 1%) for 10 s of 30 s",
            "blind has no data",
            "new has not been evaluated yet",
            "too little traffic for thin: 49 where at least 50 is needed",
        ),
        blind=("http/blind", "http/thin"),
    )


def test_a_pass_says_how_many_rules_passed() -> None:
    assert judge((bound(), "p")).reasons == ("1 rule passes",)
    assert judge((bound("a"), "p"), (bound("b"), "p")).reasons == ("2 rules pass",)


def test_an_inconclusive_end_says_what_is_missing() -> None:
    said = judge((bound("blind"), "ppp-----"), (bound("bad"), "ppppppbb"), due=8, ended=True)
    assert said == Judgement(
        Verdict.INCONCLUSIVE,
        (
            "at the end bad is 4.2% (limit 1%) for 10 s of 30 s",
            "blind gave a result in 3 of 8 evaluations, 4 are needed; at last blind has no data",
        ),
        blind=("http/blind",),
    )


DOWN = "Prometheus at http://prometheus:9090 could not be reached: connection refused."


def test_what_several_rules_do_not_see_for_the_same_reason_is_said_once() -> None:
    rules = [bound(name) for name in "abcde"]
    sample = Sample(SWITCHED + 10, Failed(DOWN), Number(50.0))
    pairs = [(rule, fold(rule, initial(rule), [sample])) for rule in rules]
    said = verdict(pairs, switched_at=SWITCHED, at=SWITCHED + 10, ended=False)
    stand = "could not be evaluated: " + DOWN[:-1]
    assert said.reasons == (f"5 rules (http/a, http/b, http/c and 2 more) {stand}",)
    ended = verdict(pairs, switched_at=SWITCHED, at=SWITCHED + 40, ended=True)
    lead = "gave a result in 0 of 4 evaluations, 3 are needed; at last they"
    assert ended.reasons == (f"5 rules (http/a, http/b, http/c and 2 more) {lead} {stand}",)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("ppp---", "at the end 2 rules (http/a, http/b) have no data"),
        ("pppttt", "at the end 2 rules (http/a, http/b) had too little traffic: 49 where at least 50 is needed"),
        ("pppeee", "at the end 2 rules (http/a, http/b) could not be evaluated: the server did not answer"),
    ],
)
def test_rules_that_saw_enough_and_then_nothing_are_named_together(word: str, said: str) -> None:
    assert judge((bound("a"), word), (bound("b"), word), due=6, ended=True).reasons == (said,)


def test_blindness_is_said_of_the_rules_that_are_blind() -> None:
    reports = [
        report(rule, after(rule, word))
        for rule, word in ((bound("a"), "p-"), (bound("b"), "p"), (bound("c"), "-"), (bound("d"), "e"))
    ]
    assert blindness(reports) == (
        "2 rules (http/a, http/c) have no data",
        "d could not be evaluated: the server did not answer",
    )


def test_a_breach_that_is_only_observed_says_what_it_would_have_done() -> None:
    observed, told = bound(mode="observe"), bound(mode="observe", onBreach="notify")
    assert report(observed, after(observed, "bbbb")).message == (
        "error-rate was 4.2% (limit 1%) for 30 s; an enforcing watch would have gone back"
    )
    assert report(told, after(told, "bbbb")).message == "error-rate was 4.2% (limit 1%) for 30 s"
    assert judge((observed, "bbbb"), ended=True, due=4).verdict == "pass"


@pytest.mark.parametrize(
    ("minimum", "due", "needed"),
    [
        (Minimum(), 90, 45),
        (Minimum(), 91, 46),
        (Minimum(), 5, 3),
        (Minimum(), 2, 2),
        (Minimum(), 0, 1),
        (Minimum(share=1.0, at_least=0), 10, 10),
        (Minimum(share=0.0, at_least=0), 10, 1),
        (Minimum(share=0.1, at_least=20), 50, 20),
    ],
)
def test_how_many_results_a_pass_needs(minimum: Minimum, due: int, needed: int) -> None:
    assert minimum.of(due) == needed


def test_the_minimum_can_be_set() -> None:
    pairs = [(bound(), after(bound(), "pppp"))]
    end = SWITCHED + 90
    assert verdict(pairs, switched_at=SWITCHED, at=end, ended=True).verdict is Verdict.INCONCLUSIVE
    assert verdict(pairs, switched_at=SWITCHED, at=end, ended=True, minimum=Minimum(0.1)).verdict is Verdict.PASS


def test_a_rule_is_due_only_after_its_warm_up() -> None:
    rule = bound(warmUp="60s")
    pairs = [(rule, after(rule, "ppp"))]
    assert verdict(pairs, switched_at=SWITCHED, at=SWITCHED + 110, ended=True).verdict is Verdict.PASS
    assert verdict(pairs, switched_at=SWITCHED, at=SWITCHED + 120, ended=True).verdict is Verdict.INCONCLUSIVE


WORDS = st.text(alphabet="pb-te", max_size=30)
KEYS = st.sampled_from(
    [{}, {"for": "0s"}, {"breaches": {"count": 2, "of": 4}}, {"onBreach": "notify"}, {"mode": "observe"}]
)


@given(st.lists(st.tuples(KEYS, WORDS), max_size=5), st.booleans(), st.integers(0, 40), st.randoms())
def test_the_order_of_the_rules_makes_no_difference(
    written: list[tuple[dict[str, Any], str]], ended: bool, due: int, shuffler: random.Random
) -> None:
    rules = [(bound(f"r{index}", **keys), word) for index, (keys, word) in enumerate(written)]
    shuffled = list(rules)
    shuffler.shuffle(shuffled)
    assert judge(*rules, ended=ended, due=due) == judge(*shuffled, ended=ended, due=due)


@given(KEYS, WORDS, st.integers(0, 30), st.sampled_from("-te"), st.booleans(), st.integers(0, 40), st.integers(0, 1))
def test_a_gap_never_makes_a_pass_or_a_rollback(
    keys: dict[str, Any], word: str, place: int, gap: str, ended: bool, due: int, more: int
) -> None:
    rule = bound(**keys)
    without = judge((rule, word), ended=ended, due=due).verdict
    with_gap = judge((rule, word[:place] + gap + word[place:]), ended=ended, due=due + more).verdict
    assert (with_gap == "rollback") == (without == "rollback")
    assert with_gap != "pass" or without == "pass"


@given(KEYS, WORDS, WORDS, st.booleans(), st.integers(0, 40))
def test_a_rollback_is_for_ever(keys: dict[str, Any], word: str, later: str, ended: bool, due: int) -> None:
    rule = bound(**keys)
    if judge((rule, word)).verdict is Verdict.ROLLBACK:
        assert judge((rule, word + later), ended=ended, due=due).verdict is Verdict.ROLLBACK
