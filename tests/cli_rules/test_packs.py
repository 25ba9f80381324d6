"""The packs: each rule is known to pass, to breach, and to see nothing, by tests that lie beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from watcher.cli.main import app
from watcher.core.documents import read_documents
from watcher.core.lint.promql import parse
from watcher.core.lint.tree import selectors
from watcher.core.rules import Rule, RuleSet
from watcher.core.ruletest import RuleTest
from watcher.engine.config import KINDS

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "rules"


@cache
def read() -> tuple[Mapping[str, RuleSet], Mapping[str, RuleTest]]:
    """The packs and their tests, by name."""
    sets: dict[str, RuleSet] = {}
    tests: dict[str, RuleTest] = {}
    for file in sorted(RULES.rglob("*.yaml")):
        found = read_documents(file.read_text("utf-8"), file.name, KINDS)
        assert found.problems == []
        for one in found.items:
            if isinstance(one.model, RuleSet):
                sets[one.name] = one.model
            elif isinstance(one.model, RuleTest):
                tests[one.name] = one.model
    return sets, tests


def expected(rule_set: str) -> Mapping[str, set[str]]:
    """The outcomes that the tests of a pack expect, by rule. A burn rate's pairs count as one rule."""
    sets, tests = read()
    outcomes: defaultdict[str, set[str]] = defaultdict(set)
    for test in tests[rule_set].spec.tests:
        for one in test.expect:
            rules = [r.name for r in sets[rule_set].spec.rules if (one.rule or "").startswith(r.name)]
            name = max(rules, key=len, default="")
            outcomes[name] |= {one.outcome} if one.outcome else set()
            outcomes[name] |= {"breached"} if one.breached else set()
    return outcomes


def sees_what_traffic_sees(rule: Rule) -> bool:
    """Whether every metric that the query reads is counted as traffic too: then no data is no traffic."""
    if rule.traffic is None:
        return False
    counted = {one.name for one in selectors(parse(rule.traffic.query))}
    asked = [query for path, query in rule.queries() if path[0] != "traffic"]
    return {one.name for query in asked for one in selectors(parse(query))} <= counted


@pytest.mark.parametrize("name", sorted(read()[0]))
def test_every_rule_is_tested_for_every_outcome_that_it_can_have(name: str) -> None:
    outcomes = expected(name)
    for rule in read()[0][name].spec.rules:
        wanted = {"pass", "breach", "breached"}
        wanted |= {"thin"} if rule.traffic else set()
        wanted |= set() if sees_what_traffic_sees(rule) else {"noData"}
        assert wanted <= outcomes[rule.name], f"{name}/{rule.name} is not tested for {wanted - outcomes[rule.name]}"


def test_the_packs_pass_their_tests() -> None:
    done = CliRunner().invoke(app, ["rules", "test", str(RULES)])

    assert done.exit_code == 0, done.output


def test_lint_has_nothing_to_say_about_the_packs() -> None:
    done = CliRunner().invoke(app, ["rules", "lint", str(RULES)])

    assert (done.exit_code, done.stdout) == (0, f"Nothing to say about {len(list(RULES.rglob('*.yaml')))} files.\n")


def test_a_proxys_rules_wait_until_their_window_lies_behind_the_switch() -> None:
    """They cannot tell the colours apart, so what they say of before the switch is about the other one."""
    for name in ("ingress-nginx", "traefik"):
        for rule in read()[0][name].spec.rules:
            assert rule.warm_up is None or rule.warm_up >= rule.window
            assert rule.window >= timedelta(minutes=1)
