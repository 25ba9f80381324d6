"""The rule packs as they are in rules/, asked of a real Prometheus that scrapes every version of the platform."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import promql_parser
import pytest
import requests
from ruamel.yaml import YAML

from tests.platform.running import ChatPod, until
from watcher.core.binding import Watched, bind
from watcher.core.rules import BoundRule, RuleOverride, RuleSet, apply_override
from watcher.demo.platform import manifests
from watcher.demo.platform.load import LoadGenerator
from watcher.demo.platform.prometheus import PrometheusServer, StaticTargets

PACKS = Path(__file__).parents[2] / "rules"
WINDOW = timedelta(seconds=10)

BREACHES: Mapping[str, set[str]] = {
    "2.4.0": set(),
    "2.4.1-errors": {"http/error-rate"},
    "2.4.1-latency": {"http/latency-p50", "http/latency-p90", "http/latency-p99"},
    "2.4.1-memory": {"resources/memory", "resources/memory-growth"},
    "2.4.1-cpu": {"resources/cpu"},
    "2.4.1-network": {"resources/network-out"},
    "2.4.1-conversions": {"business/conversion-rate"},
    "outage": {"http/error-rate", "business/active-users", "business/conversations"},
    "flood": {"resources/network-in"},
}
"""A version of the platform, and the rules of all packs that it breaches. `outage` fails every request; `flood` is a
good version to which somebody sends too much."""


def packs() -> dict[str, RuleSet]:
    """The rule sets by their file's name."""
    yaml = YAML(typ="safe", pure=True)
    return {
        path.stem: RuleSet.model_validate_json(json.dumps(yaml.load(path.read_text(encoding="utf-8"))))
        for path in sorted(PACKS.glob("*.yaml"))
    }


def bound(version: str, window: timedelta | None = None) -> Iterator[BoundRule]:
    """Every rule of every pack for one version, whose colour on this platform is its name; with a window of its own,
    those of the packs that the platform has metrics for."""
    variables = {
        "namespace": "chatbot-platform-prod",
        "application": "chatbot-platform",
        "service": "chatbot-platform",
        "color": version,
        "previousColor": "blue",
        "deployment": "chatbot-platform-green",
        "version": version,
    }
    watched = Watched(variables, variables, timedelta(seconds=1), timedelta(minutes=15), "enforce")
    for ruleset in packs().values():
        if window and ruleset.metadata.name not in ("http", "resources", "business"):
            continue  # the platform has no ingress, no mesh and no kubelet with metrics
        for rule in ruleset.spec.rules:
            chosen = apply_override(rule, RuleOverride(window=window)) if window else rule
            yield from bind(ruleset, chosen, watched)


def values(server: PrometheusServer, promql: str) -> list[float]:
    """The numbers of an instant query, one per series."""
    answer = requests.post(f"{server.url}/api/v1/query", data={"query": promql}, timeout=10)
    assert answer.status_code == 200, f"{promql}: {answer.text}"
    return [float(row["value"][1]) for row in answer.json()["data"]["result"]]


def outcome(server: PrometheusServer, rule: BoundRule) -> str:
    """What one look at the rule gives: pass, breach, noData or thin."""
    if rule.traffic_query is not None and rule.traffic_at_least is not None:
        (requests_seen,) = values(server, rule.traffic_query) or (math.nan,)
        if not requests_seen >= rule.traffic_at_least.number:
            return "noData" if math.isnan(requests_seen) else "thin"
    numbers = values(server, rule.query)
    assert len(numbers) <= 1 or rule.reduce == "max", f"{rule.id} gives {len(numbers)} series"
    if not numbers or math.isnan(max(numbers)):
        return "noData"
    assert rule.threshold is not None
    return "breach" if rule.threshold.breached_by(max(numbers)) else "pass"


def faults(version: str) -> str:
    """What is wrong with a version, as the embedded cluster's images have it."""
    images = YAML(typ="safe", pure=True).load(manifests.IMAGES.read_text(encoding="utf-8"))
    special = {"outage": "errors=1", "flood": ""}
    entry = images.get(manifests.image(version)) or {}
    return special.get(version) or str((entry.get("env") or {}).get("FAULTS", ""))


@contextmanager
def flooded(pod: ChatPod) -> Iterator[None]:
    """Somebody who sends 60 KiB at a time, again and again."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.02):
            pod.ask("POST", "/chat", {"conversation": "c-1", "text": "x" * 60_000})

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join(5)


TELLING = re.compile(
    r'color="green"|pod=~"chatbot-platform-green-|destination_workload="chatbot-platform-green"'
    r'|service(="|=~"chatbot-platform-prod-)chatbot-platform[-"]'
)
"""What tells the new colour; a proxy knows the live Service alone."""


@pytest.mark.parametrize("rule", list(bound("green")), ids=lambda rule: rule.id)
def test_every_query_is_promql_for_one_colour_and_one_namespace(rule: BoundRule) -> None:
    for query in filter(None, (rule.query, rule.traffic_query)):
        promql_parser.parse(query)
        selectors = re.findall(r"\w\{([^}]*)", query.replace("{5}", ""))
        assert selectors
        for selector in selectors:
            assert TELLING.search(selector), selector
            assert "chatbot-platform-prod" in selector


@pytest.mark.parametrize("name", sorted(packs()))
def test_every_pack_says_what_it_assumes_and_what_to_change_first(name: str) -> None:
    text = (PACKS / f"{name}.yaml").read_text(encoding="utf-8")
    head = text.partition("apiVersion")[0]

    assert "Assumes" in head
    assert re.search(r"\b\d+\.(\d|x)|\bTraefik \d", head), "which version it was written against"
    assert "What to change first" in head
    assert packs()[name].metadata.name == name
    assert all(rule.description for rule in packs()[name].spec.rules)


@pytest.mark.alone
def test_a_good_version_passes_every_rule_and_each_bad_one_breaches_those_made_for_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        targets = []
        for version in BREACHES:
            begins = "start" if version == "outage" else "first-request"
            pod = stack.enter_context(ChatPod(tmp_path, faults=faults(version), version=version, FAULT_TRIGGER=begins))
            labels = {"namespace": "chatbot-platform-prod", "app": "chatbot-platform", "color": version, "pod": version}
            targets.append(StaticTargets([f"127.0.0.1:{pod.port}"], labels))
            stack.enter_context(LoadGenerator(pod.url, rate=30, connections=12))
            if version == "flood":
                stack.enter_context(flooded(pod))
        server = stack.enter_context(PrometheusServer(targets, directory=tmp_path / "prometheus"))
        rules = {version: list(bound(version, WINDOW)) for version in BREACHES}
        seen: dict[str, dict[str, str]] = {}
        shown = {"2.4.0"}

        def as_expected() -> bool:
            seen.update({name: {rule.id: outcome(server, rule) for rule in rules[name]} for name in rules})
            for name, ids in seen.items():
                if {key for key, is_ in ids.items() if is_ == "breach"} == BREACHES[name]:
                    shown.add(name)
            # Not all at one instant: nine versions share few cores, and a busy machine delays each differently.
            return shown == set(BREACHES) and set(seen["2.4.0"].values()) == {"pass"}

        try:
            until(as_expected, "every version breaches its rules and no other", within=150)
        except AssertionError as error:
            error.add_note(json.dumps(seen, indent=1))
            raise
