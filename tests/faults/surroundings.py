"""The fault matrix: how a version misbehaves after the switch, times what is wrong with the surroundings meanwhile.

What always holds: each cell names its end and what has to be seen on the way there, and asserts both; what must not
happen is looked for once something else has happened that could have caused it, never after a mere wait.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import requests

from tests.faults.cells import Say, Wrong, foreseen, play_all, slowest
from tests.faults.ground import Ground
from tests.faults.stage import APPLICATION, Stage, Trouble, prometheus
from tests.support.proxy import Exchange, Fault, Relay, Request, Rule, after, before, hang, refuse
from watcher.demo.platform.manifests import BAD_VERSIONS, DEPLOYMENTS
from watcher.demo.platform.prometheus import PrometheusServer

STATUS = r"/releases/[^/]+/status$"
SERVICE = rf"/services/{APPLICATION}$"

TROUBLES = (
    Trouble("5xx", BAD_VERSIONS["errors"], "errors", "rule/errors/rule", True),
    Trouble("latency", BAD_VERSIONS["latency"], "latency", "rule/latency/rule", True),
    Trouble("crash loop", BAD_VERSIONS["crash-loop"], "errors", "pods/Crashed", False),
    Trouble("not ready", BAD_VERSIONS["unhealthy"], "errors", "pods/No", False, "2s"),
)
METRIC = {"errors": 'code=~"5.."', "latency": "duration_seconds_sum"}
"""What of a rule's query tells it from the other's."""


class Every(Rule):
    """A fault for every request that says something, until it is off."""

    def __init__(self, fault: Fault, says: str = "") -> None:
        super().__init__("", re.compile(""), says, fault, 1, 0)

    def wants(self, request: Request) -> bool:
        if self.off or (self.body and self.body not in unquote_plus(request.body.decode())):
            return False
        self.seen.append(request)
        return True


def put(relay: Relay, fault: Fault, says: str = "") -> Every:
    """Put a fault in the way of every request."""
    rule = Every(fault, says)
    relay.put(rule)
    return rule


def healthy(stage: Stage) -> None:
    stage.to_the_watch()
    stage.users_come()
    stage.goes_back()


def prometheus_down(stage: Stage) -> None:
    """Blind, it holds and says so; pods need no Prometheus; and once it is back, so is the rule."""
    stage.own_prometheus()
    stage.to_the_watch()
    stage.prometheus.kill()
    stage.until_true("Blind")
    _blind_then(stage, stage.prometheus.start)


def prometheus_slow(stage: Stage) -> None:
    """Slower than the daemon waits: blind. As slow as it just waits for: as good as ever."""
    stage.to_the_watch()
    never = put(stage.relay, hang)
    stage.until_true("Blind")

    def quicker() -> None:
        put(stage.relay, _slow)
        never.off = True

    _blind_then(stage, quicker)


def prometheus_partial(stage: Stage) -> None:
    """With a warning on what it needs a rule is blind; another query that fails does not blind it."""
    stage.to_the_watch()
    metric = METRIC[stage.trouble.rule]
    warned = put(stage.relay, _warn, metric)
    stage.until_true("Blind")

    def only_the_other() -> None:
        put(stage.relay, _break_flood)
        warned.off = True

    _blind_then(stage, only_the_other)
    if stage.trouble.by_rule:
        outcomes = {rule.name: rule.outcome for rule in stage.release().status.rules}
        if outcomes["flood/rule"] != "error":
            raise Wrong(f"the other rule could see: {outcomes}")


def _blind_then(stage: Stage, relieve: Callable[[], object]) -> None:
    """Users come while the rules see nothing. What a rule would say waits until it sees; what pods say does not."""
    stage.until_told("Blind")
    stage.users_come()
    if not stage.trouble.by_rule:
        stage.goes_back()
        return
    stage.until_served("green", 30)
    asked = len(stage.relay.asked)
    stage.wait(lambda: len(stage.relay.asked) >= asked + 3, "Prometheus to be asked in vain")
    stage.holds()
    relieve()
    stage.goes_back()


def notifier_hangs(stage: Stage) -> None:
    """Telling is not doing; and it is told in the end, once."""
    held = put(stage.notifier, hang)
    stage.to_the_watch()
    stage.users_come()
    stage.goes_back()
    if stage.keys or not held.seen:
        raise Wrong(f"the notifier did not hang: {stage.keys}")
    held.off = True
    stage.notifier.cut()
    stage.notifier.mend()
    stage.wait(lambda: stage.keys["end"] and stage.keys["flip/2"], "the notifier to be told")
    often = {key: count for key, count in stage.keys.items() if count != 1}
    if often:
        raise Wrong(f"told more than once: {often}")


def api_refuses(stage: Stage) -> None:
    """For half a minute no request gets through: nothing is flipped, and then it goes back as if nothing had been."""
    stage.to_the_watch()
    refusing = put(stage.proxy, refuse(503, "the API server is not available"))
    silent = stage.trouble.name in ("5xx", "crash loop")
    if silent:
        stage.proxy.cut()
    stage.users_come()
    threading.Event().wait(30)
    if stage.space.selected(APPLICATION) != "green" or not stage.served("green"):
        raise Wrong("traffic moved though nobody could ask for it")
    refusing.off = True
    if silent:
        stage.proxy.mend()
    stage.goes_back()


def leader_killed(stage: Stage) -> None:
    """Whoever comes next, another replica or the same one started again, sees what there was to see, and goes on."""
    _KILLED[stage.trouble.name](stage)
    stage.goes_back()


def _breach_meanwhile(stage: Stage) -> None:
    """Killed before anybody comes, and started again when they have left: the breach is only in Prometheus' memory."""
    stage.to_the_watch()
    stage.daemons[0].kill()
    stage.users_come()
    share = f'namespace="{stage.namespace}",color="green"'
    breached = (
        f'count_over_time((sum(rate(http_requests_total{{{share},code=~"5.."}}[5s]))'
        f" / sum(rate(http_requests_total{{{share}}}[5s])) > 0.05)[1m:1s])"
    )
    stage.wait(lambda: _value(stage.prometheus, breached) > 4, "Prometheus to remember the breach")
    stage.users_leave()
    stage.begin_daemon(stage.proxy)


def _before_its_verdict(stage: Stage) -> None:
    """Killed when it wants to write the verdict; the other replica takes over."""
    stage.to_the_watch(second=True)
    killed = stage.proxy.on("PATCH", STATUS, before(stage.daemons[0].kill), body='"RollingBack"')
    stage.users_come()
    _taken_over(stage, killed)


def _after_its_flip(stage: Stage) -> None:
    """Killed when the API server has flipped back, before it hears so; the other replica takes over."""
    stage.to_the_watch(second=True)
    killed = stage.proxy.on("PATCH", SERVICE, after(stage.daemons[0].kill), body='"value": "blue"')
    stage.users_come()
    _taken_over(stage, killed)


def _taken_over(stage: Stage, killed: Rule) -> None:
    leader = stage.space.leader()
    stage.wait(killed.struck.is_set, "the leader to be killed")
    stage.wait(lambda: stage.space.leader() != leader, "the other replica to lead")


def _unready_meanwhile(stage: Stage) -> None:
    """Killed before anybody comes, and started again when no pod is ready any more."""
    stage.to_the_watch()
    stage.daemons[0].kill()
    stage.users_come()
    stage.wait(lambda: stage.space.ready("green") == 0, "green to be unready")
    stage.begin_daemon(stage.proxy)


_KILLED: Mapping[str, Callable[[Stage], None]] = {
    "5xx": _breach_meanwhile,
    "latency": _before_its_verdict,
    "crash loop": _after_its_flip,
    "not ready": _unready_meanwhile,
}


def paused(stage: Stage) -> None:
    """A pause keeps nobody from going back."""
    stage.to_the_watch()
    stage.command("pause")
    stage.wait(lambda: stage.release().status.message.startswith("Paused"), "the pause to be seen")
    stage.users_come()
    stage.goes_back()
    if stage.release().spec.pause is None:
        raise Wrong("somebody took the pause away")


def window_closed(stage: Stage) -> None:
    """Neither does a freeze, which nobody overrides any more."""
    stage.to_the_watch(frozen=True)
    stage.command("overrideWindow", by=None)
    stage.users_come()
    stage.goes_back()
    if stage.release().spec.override_window is not None:
        raise Wrong("the freeze was overridden")


def previous_cold(stage: Stage) -> None:
    """The way back is cold: that is told at once, and it is brought up before traffic returns (S1, S4)."""
    stage.to_the_watch()
    stage.ground.hands.scale(stage.namespace, DEPLOYMENTS["blue"], 0)
    stage.until_true("WayBackLost")
    stage.until_told("WayBackLost")
    stage.users_come()
    stage.goes_back()
    stage.until_told("RollbackWaits")
    sizes = {name: replicas for name, _, replicas in stage.space.deployments()}
    if sizes[DEPLOYMENTS["blue"]] != 2:
        raise Wrong(f"blue was not brought up: {sizes}")


Surrounding = Callable[[Stage], None]

SURROUNDINGS: Mapping[str, Surrounding] = {
    # The longest first, so that they do not end last.
    "API server refuses for 30 s": api_refuses,
    "Prometheus down": prometheus_down,
    "Prometheus slow": prometheus_slow,
    "Prometheus answers partially": prometheus_partial,
    "leader killed": leader_killed,
    "previous colour scaled to zero by hand": previous_cold,
    "notifier hangs": notifier_hangs,
    "paused": paused,
    "window closed": window_closed,
    "healthy": healthy,
}


def _slow(exchange: Exchange) -> None:
    if not exchange.closing.wait(1.0):
        exchange.pass_on()


def _warn(exchange: Exchange) -> None:
    code, body = exchange.fetch()
    exchange.send(code, body | {"warnings": ["a store did not answer: the result is partial"]})


def _break_flood(exchange: Exchange) -> None:
    """Refuse what asks for the rate of requests alone, by itself or beside something else."""
    if "watcher_rule" in exchange.request.body.decode() or not _asks_for_trouble(exchange.request):
        refused = {"status": "error", "errorType": "execution", "error": "query processing would load too many samples"}
        exchange.send(422, refused)
        return
    exchange.pass_on()


def _asks_for_trouble(request: Request) -> bool:
    asked = unquote_plus(request.body.decode())
    return any(metric in asked for metric in METRIC.values())


def _value(server: PrometheusServer, query: str) -> float:
    answer = requests.get(f"{server.url}/api/v1/query", params={"query": query}, timeout=10).json()
    found: list[dict[str, Any]] = answer["data"]["result"]
    return float(found[0]["value"][1]) if found else 0.0


@dataclass
class FaultCell:
    """A version that misbehaves in one way, in surroundings that are wrong in one way."""

    trouble: Trouble
    surrounding: str
    shared: list[PrometheusServer]
    wrong: str = ""
    told: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.trouble}, {self.surrounding}"

    def play(self, ground: Ground, stack: ExitStack) -> None:
        stage = Stage(ground, stack, self.trouble, self.shared[0])
        try:
            SURROUNDINGS[self.surrounding](stage)
            foreseen(stage.log)
        except Exception:
            self.told = stage.told()
            raise


def fault_matrix(ground: Ground, at_once: int, only: str, say: Say) -> list[FaultCell]:
    """Every cell, played."""
    shared: list[PrometheusServer] = []
    cells = [FaultCell(trouble, name, shared) for name in SURROUNDINGS for trouble in TROUBLES]
    cells = [cell for cell in cells if only in str(cell)]
    say(f"fault matrix: {len(TROUBLES)} troubles x {len(SURROUNDINGS)} surroundings: {len(cells)} cells")
    if cells:
        with prometheus(ground, ground.directory) as server:
            shared.append(server)
            play_all(cells, ground, at_once, say)
        say(f"fault matrix: {slowest(cells)}")
    return cells
