"""The stage of the cells after the switch: the example platform in a namespace of its own, users, a Prometheus behind a
relay, somebody who is told, and a daemon whose Release has come to its watch.

What always holds: nothing misbehaves before users come, and users come when the cell lets them; so whatever is wrong
with the surroundings is wrong before there is anything to see.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.faults.cells import Scene, Wrong
from tests.faults.daemons import DaemonProcess
from tests.faults.ground import Ground
from tests.faults.receiver import receiver
from tests.support.acting import API
from tests.support.proxy import Proxy, Relay
from watcher.adapters.kubernetes import paths
from watcher.core.release import Phase, Release
from watcher.demo.platform import manifests
from watcher.demo.platform.discovery import KubernetesTargets
from watcher.demo.platform.load import LoadGenerator
from watcher.demo.platform.prometheus import PrometheusServer

APPLICATION, CONTAINER = manifests.APPLICATION, manifests.CONTAINER
OF_THE_COLOR = 'namespace="{{ namespace }}",color="{{ color }}"'
REQUESTS = f"sum(rate(http_requests_total{{{OF_THE_COLOR}}}[{{{{ window }}}}]))"
QUERIES = {
    "errors": f'(sum(rate(http_requests_total{{{OF_THE_COLOR},code=~"5.."}}[{{{{ window }}}}])) or vector(0))'
    f" / ({REQUESTS} > 0 or vector(1))",
    "latency": f"sum(rate(http_request_duration_seconds_sum{{{OF_THE_COLOR}}}[{{{{ window }}}}]))"
    f" / ({REQUESTS} > 0) or vector(0)",
    "flood": f"{REQUESTS} or vector(0)",
}
LIMITS = {"errors": "5%", "latency": "300ms", "flood": "1000000"}
"""The last rule is never breached: it is there so that there are two to be asked together."""

RATE = 12.0
"""Requests of users in a second."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """How a version misbehaves once users come, and what sends traffic back for it."""

    name: str
    version: str
    rule: str
    reason: str
    by_rule: bool
    unready: str = "1h"
    """How long pods may be unready: long, where something else is to send traffic back, also on a busy machine."""

    def __str__(self) -> str:
        return self.name


class Stage(Scene):
    """One cell's stage. `prometheus` is shared with other cells unless it is to be killed."""

    def __init__(self, ground: Ground, stack: ExitStack, trouble: Trouble, shared: PrometheusServer) -> None:
        namespace = ground.namespace()
        stack.callback(ground.remove, namespace)
        super().__init__(ground, namespace, stack)
        self.trouble, self.prometheus = trouble, shared
        self.load: LoadGenerator | None = None
        self.daemons: list[DaemonProcess] = []
        url, self.keys = receiver(stack)
        self.notifier = stack.enter_context(Relay(url))

    # -- given --------------------------------------------------------------------------------------------------------

    def own_prometheus(self) -> None:
        """A Prometheus of its own, which may be killed."""
        self.prometheus = self.stack.enter_context(prometheus(self.ground, self.directory, self.namespace))

    def to_the_watch(self, *, frozen: bool = False, second: bool = False) -> Release:
        """Blue serves, the version is released, and is being watched; nobody has come yet."""
        for body in manifests.objects():
            if body["kind"] != "Namespace":
                body["metadata"]["namespace"] = self.namespace
                _be_patient(body)
                group = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
                plural = f"{body['kind'].lower()}s"
                self.ground.connection.create(f"{group}/namespaces/{self.namespace}/{plural}", body)
        self.relay = self.stack.enter_context(Relay(self.prometheus.url))
        self.write(*self._documents(frozen))
        self.settings = {"WATCHER_PROMETHEUS_URL": self.relay.url, "WATCHER_PROMETHEUS_TIMEOUT": "3s"}
        self.wait(lambda: self.space.ready("blue") == 2, "blue to be ready")
        self.proxy = self.stack.enter_context(Proxy(self.ground.kubeconfig))
        self.begin_daemon(self.proxy)
        if second:
            self.wait(self.space.leader, "the first daemon to lead")
            self.begin_daemon(self.stack.enter_context(Proxy(self.ground.kubeconfig)))
        spec: dict[str, Any] = {"application": APPLICATION, "version": self.trouble.version}
        spec["images"] = {CONTAINER: manifests.image(self.trouble.version)}
        if frozen:
            spec["overrideWindow"] = {"by": "a test", "reason": "the freeze is to be closed later"}
        meta = {"name": "it", "namespace": self.namespace}
        body = {"apiVersion": API, "kind": "Release", "metadata": meta, "spec": spec}
        self.ground.hands.create_release(self.namespace, body)
        self.wait(self._watched, "the watch")
        return self.release()

    def begin_daemon(self, proxy: Proxy) -> None:
        self.daemons.append(self.daemon(proxy))

    # -- when ---------------------------------------------------------------------------------------------------------

    def users_come(self) -> None:
        """From now on the version shows what it is."""
        service = self.ground.hands.read_service(self.namespace, APPLICATION)
        if service is None or not service.cluster_ip:
            raise Wrong("the Service has no address")
        url = f"http://{service.cluster_ip}:{manifests.PORT}"
        self.load = self.stack.enter_context(LoadGenerator(url, rate=RATE, connections=8))

    def users_leave(self) -> None:
        if self.load is not None:
            self.load.stop()
            self.load = None

    def command(self, name: str, by: str | None = "a test") -> None:
        """Set one of the Release's commands, or take it away."""
        self.ground.hands.command(self.namespace, "it", name, {"by": by} if by else None)

    # -- then ---------------------------------------------------------------------------------------------------------

    def served(self, color: str) -> int:
        """How many requests of users a colour has answered."""
        return self.load.snapshot().colors.get(color, 0) if self.load else 0

    def until_served(self, color: str, count: int) -> None:
        """Wait until a colour has answered so many more."""
        before = self.served(color)
        self.wait(lambda: self.served(color) >= before + count, f"users to be served by {color}")

    def is_true(self, kind: str, reason: str = "") -> bool:
        return any(
            c.type == kind and c.status == "True" and reason in (c.reason, "") for c in self.release().status.conditions
        )

    def until_true(self, kind: str, reason: str = "") -> None:
        self.wait(lambda: self.is_true(kind, reason), f"condition {kind}")

    def holds(self) -> None:
        """Traffic has stayed where it is, and the watch goes on."""
        release = self.release()
        if release.phase is not Phase.WATCHING or len(release.status.flips) != 1:
            raise Wrong("it did not hold")

    def until_told(self, reason: str) -> None:
        """Wait for an Event on the Release; there is one of each reason."""
        self.wait(lambda: (reason, "Release") in self.space.told(), f"the Event {reason}")

    def goes_back(self) -> None:
        """The one right end: rolled back, for the right reason, once, and users are served again."""
        self.wait(lambda: self.release().phase.terminal, "the rollback")
        release, status = self.release(), self.release().status
        flips = [(flip.from_, flip.to) for flip in status.flips]
        if release.phase is not Phase.ROLLED_BACK or not status.reason.startswith(self.trouble.reason):
            raise Wrong(f"it did not end RolledBack for {self.trouble.reason}, but {release.phase}: {status.message}")
        if flips != [("blue", "green"), ("green", "blue")] or status.verdict != "rollback":
            raise Wrong(f"the status has the flips {flips} and the verdict {status.verdict}")
        self.wait(lambda: self.space.selected(APPLICATION) == "blue", "the selector to be seen")
        if self.space.been(APPLICATION) != ("blue", "green", "blue"):
            raise Wrong(f"the selector was {self.space.been(APPLICATION)}")
        for reason in ("Switched", "RollbackDecided", "SwitchedBack"):
            self.until_told(reason)
            if self.space.told().count((reason, "Release")) != 1:
                raise Wrong(f"{reason} was told more than once")
        if self.load is None:
            self.users_come()
        self.until_served("blue", 10)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _watched(self) -> bool:
        release = self.space.release()
        if release is None:
            return False
        if release.phase.terminal or len(release.status.flips) > 1:
            raise Wrong("it ended before anybody came")
        # Once a rule has been asked, the watch is what it will be.
        return release.phase is Phase.WATCHING and bool(release.status.rules)

    def _documents(self, frozen: bool) -> Iterator[dict[str, Any]]:
        today = datetime.now(UTC).date()
        freeze = {"from": str(today - timedelta(1)), "to": str(today + timedelta(7)), "reason": "holidays"}
        names = (self.trouble.rule, "flood")
        yield {
            "apiVersion": API,
            "kind": "Application",
            "metadata": {"name": APPLICATION, "namespace": self.namespace},
            "spec": {
                "service": APPLICATION,
                "colors": {color: {"deployment": name} for color, name in manifests.DEPLOYMENTS.items()},
                "preview": {"service": manifests.PREVIEW},
                "tests": {"smoke": [{"name": "healthz", "http": {"path": "/healthz", "within": "2m"}}]},
                "freezes": [freeze] if frozen else [],
                "watch": {
                    "duration": "1h",
                    "interval": "1s",
                    "rules": list(names),
                    "pods": {"notReady": self.trouble.unready, "noEndpoints": self.trouble.unready},
                },
                "previous": {"keep": "1h"},
            },
        }
        for name in names:
            rule = {"name": "rule", "query": QUERIES[name], "window": "5s", "warmUp": "1s"}
            spec = {"rules": [rule | {"threshold": {"above": LIMITS[name]}}]}
            yield {"apiVersion": API, "kind": "RuleSet", "metadata": {"name": name}, "spec": spec}
        yield {
            "apiVersion": API,
            "kind": "Settings",
            "lease": {"namespace": self.namespace, "duration": "8s"},
            "notifications": [{"name": "team-chat", "url": self.notifier.url}],
        }

    def deployment_path(self, color: str) -> str:
        return paths.deployments(self.namespace, manifests.DEPLOYMENTS[color])


def _be_patient(body: dict[str, Any]) -> None:
    """A pod is unready when it says so, not when a busy machine lets it answer late."""
    if body["kind"] == "Deployment":
        for container in body["spec"]["template"]["spec"]["containers"]:
            for probe in ("readinessProbe", "livenessProbe"):
                container[probe]["timeoutSeconds"] = 60


def prometheus(ground: Ground, directory: Path, *namespaces: str) -> PrometheusServer:
    """A Prometheus that scrapes the pods of some namespaces (of all without any); not started yet."""
    targets = KubernetesTargets(ground.cluster.server, namespaces, ground.cluster.token)
    return PrometheusServer(targets, directory=directory / "prometheus")
