"""`step` is total and deterministic, whatever the status and the world are; a status survives the cluster's JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.lifecycle.story import document, merged
from tests.core.lifecycle.world import ALSO, NEW, OLD, RULE, START, application, release, report, rule
from watcher.core.effects import SwapSelector
from watcher.core.evaluation import Outcome
from watcher.core.lifecycle import step
from watcher.core.observed import (
    CheckResult,
    ColorView,
    ContainerView,
    DeploymentView,
    Held,
    Observed,
    Other,
    PairView,
    PodView,
    ScalerView,
    ServiceView,
    WatchReading,
)
from watcher.core.release import (
    FOREIGN,
    CheckRecord,
    Colors,
    Command,
    Condition,
    Decision,
    Flip,
    ForeignFlip,
    Keep,
    Phase,
    Pinned,
    Progress,
    Release,
    RuleRecord,
    RunningCheck,
    Status,
    from_json,
    status_json,
    status_patch,
)

HOOK = {"http": {"url": "http://hooks.example/told"}}
HOOKS = ("preDeploy", "preSwitch", "postSwitch", "postRollback", "onFailure")
APPLICATIONS = [
    application(),
    application(tests={}, preview=None, approval="beforeSwitch"),
    application(watch={"duration": "60s", "interval": "10s", "onInconclusive": "rollback"}),
    application(windows=[{"days": ["sun"], "from": "23:00", "to": "01:00", "timezone": "Europe/Berlin"}]),
    application(freezes=[{"from": "2026-01-01", "to": "9999-12-31"}]),
    application(also=[ALSO], whileRunning="queue"),
    application(foreignFlips="enforce", hooks={point: [HOOK] for point in HOOKS}),
]
MINUTES = st.integers(-7200, 7200).map(lambda seconds: START + timedelta(seconds=seconds))
COLOR = st.sampled_from(["blue", "green"])
ANY_COLOR = st.sampled_from(["blue", "green", "red", ""])
TEXT = st.sampled_from(["", "manual", "Stopping", "Waiting", "rule/http/error-rate", "Grüße {x}\n"])
COUNT = st.integers(0, 4)


def made(model: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Models by the names of their fields; `st.builds` would go by their aliases, and make up what it misses."""
    return st.fixed_dictionaries(fields).map(lambda values: model(**values))


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def tuples(strategy: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[Any]:
    return st.lists(strategy, max_size=most).map(tuple)


SERVICE = st.sampled_from([None, "chatbot-platform", "worker", "stranger"])
FLIPS = made(
    Flip, index=st.integers(1, 3), from_=COLOR, to=COLOR, reason=TEXT | st.just(FOREIGN), at=MINUTES, service=SERVICE
)
CHECK_IDS = st.sampled_from(["smoke/0/preview", "verification/chat/preview", "health/0/preview", "live/0/live"])
RUNNING = made(RunningCheck, id=CHECK_IDS, since=MINUTES, tries=COUNT, last=TEXT)
SCALER_NAMES = st.sampled_from(["chatbot-green", "chatbot-blue"])
CONDITIONS = made(
    Condition,
    type=st.sampled_from(["NeedsAttention", "WayBackLost", "Blind"]),
    status=st.sampled_from(["True", "False", "Unknown"]),
    reason=st.sampled_from(["NoService", "Inconclusive", "Blind"]),
    message=TEXT,
    last_transition_time=MINUTES,
)
STATUSES = made(
    Status,
    phase=st.sampled_from(Phase),
    reason=TEXT,
    message=TEXT,
    verdict=TEXT,
    phase_since=maybe(MINUTES),
    started_at=maybe(MINUTES),
    switched_at=maybe(MINUTES),
    ended_at=maybe(MINUTES),
    colors=maybe(made(Colors, from_=COLOR, to=COLOR)),
    intent=maybe(FLIPS),
    flips=tuples(FLIPS),
    rollback=maybe(made(Decision, code=TEXT, message=TEXT, at=MINUTES, by=TEXT)),
    checks=tuples(made(CheckRecord, id=CHECK_IDS, ok=st.booleans(), message=TEXT, output=TEXT)),
    rules=tuples(
        made(
            RuleRecord,
            name=st.just(RULE),
            outcome=st.sampled_from(Outcome),
            value=maybe(st.floats(-1e9, 1e9) | st.just("+Inf")),
            since=maybe(MINUTES),
        )
    ),
    rules_at=maybe(MINUTES),
    watch_until=maybe(MINUTES),
    extended=st.booleans(),
    progress=maybe(made(Progress, stage=st.just("smoke"), done=COUNT, of=COUNT, running=tuples(RUNNING), at=MINUTES)),
    would=maybe(made(Decision, code=TEXT, message=TEXT, at=MINUTES, by=TEXT)),
    left=maybe(ANY_COLOR),
    held=tuples(SCALER_NAMES),
    evidence=st.dictionaries(TEXT, TEXT, max_size=2),
    conditions=tuples(CONDITIONS),
    keep=maybe(made(Keep, color=COLOR, deployment=st.just("chatbot-blue"), until=MINUTES, done=st.booleans())),
    rejected=st.sampled_from([{}, {"chat": NEW}]),
    pinned=maybe(
        made(
            Pinned,
            application=st.sampled_from(APPLICATIONS),
            rules=st.sampled_from([(), (rule(),), (rule(mode="observe"),)]),
            replicas=st.integers(1, 4),
            previous_version=TEXT,
            restarts=st.sampled_from([{}, {"u0": 2}]),
            watcher=TEXT,
            sizes=st.dictionaries(st.just("worker"), st.integers(1, 4)),
            images=st.dictionaries(st.just("chatbot-green"), st.just({"chat": NEW})),
        )
    ),
)
CONTAINERS = st.builds(
    ContainerView,
    name=st.just("chat"),
    ready=st.booleans(),
    restarts=COUNT,
    waiting=st.sampled_from(["", "ImagePullBackOff", "CrashLoopBackOff", "InvalidImageName"]),
    waiting_message=TEXT,
    ended_now=st.booleans(),
    exit_code=maybe(COUNT),
    reason=st.sampled_from(["", "OOMKilled", "Error"]),
)
PODS = st.builds(
    PodView,
    name=st.sampled_from(["p0", "p1"]),
    uid=st.sampled_from(["u0", "u1"]),
    ip=st.just("10.0.0.1"),
    ready=st.booleans(),
    created_at=MINUTES,
    ready_changed_at=maybe(MINUTES),
    deleting=st.booleans(),
    latest=st.booleans(),
    unschedulable=TEXT,
    containers=tuples(CONTAINERS, 2),
)
DEPLOYMENTS = st.builds(
    DeploymentView,
    name=st.just("chatbot-green"),
    replicas=COUNT,
    images=st.sampled_from([{"chat": OLD}, {"chat": NEW}, {}]),
    observed=st.booleans(),
    total=COUNT,
    updated=COUNT,
    ready=COUNT,
    trouble=TEXT,
    version=st.sampled_from(["", "2.4.1"]),
)


SCALERS = st.builds(
    ScalerView,
    name=SCALER_NAMES,
    minimum=COUNT,
    maximum=COUNT,
    held=maybe(st.builds(Held, before=COUNT, to=COUNT)),
    owner=TEXT,
)


def side(color: str) -> st.SearchStrategy[ColorView]:
    return st.builds(
        ColorView, st.just(color), maybe(DEPLOYMENTS), tuples(PODS), maybe(COUNT), maybe(SCALERS), maybe(MINUTES)
    )


SERVICES = st.builds(
    ServiceView,
    name=st.just("chatbot-platform"),
    uid=st.just("s"),
    resource_version=st.just("1"),
    selector=ANY_COLOR.map(lambda color: {"color": color}) | st.just({}),
    mark=st.sampled_from(["", "u1/1", "u1/2", "u2/1"]),
    marked_at=maybe(MINUTES),
    marked_to=ANY_COLOR,
    by=TEXT,
)
SIDES = st.fixed_dictionaries({}, optional={"blue": side("blue"), "green": side("green")})
OTHERS = st.builds(
    Other,
    name=st.sampled_from(["a", "z"]),
    phase=st.sampled_from([*Phase, ""]),
    created_at=MINUTES,
    images=st.sampled_from([{"chat": NEW}, {}]),
    ended_at=maybe(MINUTES),
    foreign=st.booleans(),
    gives_way=st.booleans(),
)
READINGS = st.builds(
    WatchReading,
    reports=tuples(st.sampled_from([report(outcome) for outcome in Outcome] + [report(Outcome.BREACH, "http/b")])),
    verdict=st.sampled_from(["pass", "hold", "rollback", "inconclusive"]),
    reasons=tuples(TEXT),
    ended=st.booleans(),
    late=st.floats(0, 1e6),
)
OBSERVED = st.builds(
    Observed,
    application=maybe(st.sampled_from(APPLICATIONS)),
    known_applications=tuples(TEXT),
    rules=st.sampled_from([(), (rule(),)]),
    rules_problem=TEXT,
    service=maybe(SERVICES),
    service_known=st.booleans(),
    preview=maybe(SERVICES),
    colors=SIDES,
    also=tuples(st.builds(PairView, service=maybe(SERVICES), preview=maybe(SERVICES), colors=SIDES), 1),
    scalers_known=st.booleans(),
    removed=st.booleans(),
    checks=st.dictionaries(
        CHECK_IDS, st.builds(CheckResult, ok=st.booleans(), message=TEXT, output=TEXT, running=st.booleans())
    ),
    watch=maybe(READINGS),
    others=tuples(OTHERS, 2),
    logs=st.dictionaries(st.just("p0/chat"), TEXT),
)
COMMANDS = maybe(made(Command, by=TEXT, reason=TEXT, at=maybe(MINUTES)))
RELEASES = st.builds(
    lambda images, commands, status: release(images=images, **commands).model_copy(update={"status": status}),
    st.sampled_from([{}, {"chat": NEW}, {"stranger": NEW}]),
    st.fixed_dictionaries(
        {
            "approve": COMMANDS,
            "pause": COMMANDS,
            "resume": COMMANDS,
            "foreign_flip": maybe(made(ForeignFlip, from_=ANY_COLOR, to=COLOR, at=MINUTES, by=TEXT)),
            "abort": COMMANDS,
            "rollback": COMMANDS,
            "override_window": COMMANDS,
            "force": st.booleans(),
        }
    ),
    STATUSES,
)
TIMES = st.datetimes(datetime(2026, 11, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive here
MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@MANY
@given(RELEASES, OBSERVED, MINUTES | TIMES)
def test_step_answers_whatever_it_is_given_and_always_the_same(
    asked: Release, observed: Observed, now: datetime
) -> None:
    new, effects = step(asked, observed, now)
    assert (new, effects) == step(asked, observed, now)
    assert new.spec == asked.spec
    assert isinstance(new.status.message, str)


@MANY
@given(RELEASES, OBSERVED, MINUTES)
def test_no_flip_is_ever_asked_for_without_its_intent_and_an_endpoint_that_is_ready(
    asked: Release, observed: Observed, now: datetime
) -> None:
    new, effects = step(asked, observed, now)
    for swap in (effect for effect in effects if isinstance(effect, SwapSelector)):
        assert new.status.intent == swap.flip
        assert new.status.pinned
        index = [app.spec.service for app in new.status.pinned.application.pairs].index(swap.service)
        assert observed.pair(index).colors[swap.flip.to].ready > 0
        assert asked.phase in (Phase.SWITCHING, Phase.ROLLING_BACK)


@MANY
@given(RELEASES, OBSERVED, MINUTES)
def test_an_end_stays_an_end(asked: Release, observed: Observed, now: datetime) -> None:
    new, _ = step(asked, observed, now)
    if asked.phase.terminal:
        assert (new.phase, new.status.flips, new.status.message) == (
            asked.phase,
            asked.status.flips,
            asked.status.message,
        )


@MANY
@given(STATUSES)
def test_a_status_is_read_back_as_it_was_written(status: Status) -> None:
    written = release().model_copy(update={"status": status})
    assert from_json(document(written)) == written


@MANY
@given(STATUSES, STATUSES)
def test_the_patch_from_one_status_to_another_gives_the_other(old: Status, new: Status) -> None:
    patch = status_patch(old, new)
    assert merged(status_json(old), patch) == status_json(new)
    assert status_patch(new, new) == {}
