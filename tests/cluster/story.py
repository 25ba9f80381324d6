"""The words in which a scenario is told: given, when, then.

What always holds: a word of `when` returns when what it says has happened; a word of `then` fails with what was there
instead, and waits for it where it is bound to come.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tests.cluster.daemon import DAEMON, wait_for_leader
from tests.cluster.receiver import Notification, alerted, received
from tests.cluster.scene import Scene
from tests.cluster.seen import Object, Sight
from tests.cluster.stage import is_ready, of, selected
from tests.cluster.trouble import Trouble
from tests.cluster.waiting import kubectl, until
from watcher.core.release import Flip, Phase, Release
from watcher.demo.platform import manifests
from watcher.demo.platform.ledger import Traffic
from watcher.demo.platform.load import LoadGenerator

GOOD = manifests.GOOD_VERSION
BAD = manifests.BAD_VERSIONS
"""What goes wrong -> the version in which it does."""

QUIET = 4.0
"""Seconds for which nothing must happen: two looks of a replica at the Lease."""


class Given:
    """What is so before anything happens, beyond the scenario's setting."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def clients(self, rate: float = 20.0) -> None:
        """Users of the live Service, through its cluster IP, from now to the end."""
        self._scene.clients = self._scene.platform.clients(rate).start()
        self._scene.undo.callback(self._scene.clients.stop)

    def a_worker(self) -> None:
        """The platform has a second Service, which its Application moves along (tests/support/worker.py)."""
        self._scene.platform.create_worker()

    def idle_pods_with(self, resources: Mapping[str, Any]) -> None:
        """Green asks for these resources, whatever version comes."""
        container = {"name": manifests.CONTAINER, "resources": dict(resources)}
        self._scene.platform.patch("green", {"template": {"spec": {"containers": [container]}}})

    def idle_pods_that_outgrow(self, limit: str) -> None:
        """Green's container takes more memory than its limit, a second and a half after its start: the kubelet does not
        always hear why something died that was killed at once."""
        eat = ["python3", "-c", "import time; time.sleep(1.5); taken = b'x' * (512 << 20); time.sleep(60)"]
        resources = {"requests": {"memory": limit}, "limits": {"memory": limit}}
        container = {"name": manifests.CONTAINER, "command": eat, "resources": resources}
        self._scene.platform.patch("green", {"template": {"spec": {"containers": [container]}}})

    def autoscalers(self, maximum: int) -> None:
        """Each colour has one, from one pod to so many. Without metrics it keeps to these bounds, and does no more."""
        for name in manifests.DEPLOYMENTS.values():
            bounds = ("--min=1", f"--max={maximum}", "--cpu-percent=80")
            kubectl("autoscale", "deployment", name, "-n", self._scene.namespace, *bounds)

    def jobs_are_allowed(self) -> None:
        """What docs/applications.md says: the right to make Jobs is granted namespace by namespace."""
        namespace = f"--namespace={self._scene.namespace}"
        account = f"--serviceaccount={DAEMON}:{DAEMON}"
        role = f"--clusterrole={DAEMON}-jobs"
        kubectl("create", "rolebinding", f"{DAEMON}-jobs", role, account, namespace)

    def quota_for_pods(self, count: int) -> None:
        """The namespace may have so many pods."""
        kubectl("create", "quota", "few", f"--hard=pods={count}", "-n", self._scene.namespace)

    def a_colour_that_no_node_takes(self, color: str) -> None:
        """From now on its pods find no node; those that run are told to stop."""
        template = {"spec": {"nodeSelector": {"there-is": "no-such-node"}}}
        self._scene.platform.patch(color, {"replicas": 0, "template": template})


class When(Trouble):
    """What somebody does, and what happens."""

    # -- a release ----------------------------------------------------------------------------------------------------

    def released(self, version: str, image: str | None = None) -> None:
        """Somebody asks for a release of a version."""
        asked = self._scene.release = self._scene.platform.release(version, image)
        self._scene.seen.until(lambda: asked.name in self._scene.seen.now("releases"), "the Release to be seen")

    def it_is(self, phase: Phase, seconds: float = 90.0) -> None:
        """The Release comes to this phase."""
        self._scene.follow(lambda release: release.phase is phase, f"the phase {phase.value}", seconds)

    def a_job_runs(self) -> None:
        """The pod of one of the Release's Jobs runs."""

        def runs() -> bool:
            pods = self._scene.seen.now("pods").values()
            return any("job-name" in pod["metadata"].get("labels", {}) and is_ready(pod) for pod in pods)

        self._scene.seen.until(runs, "a Job to run", 90, self._scene.told)

    def it_has_waited(self, seconds: float) -> None:
        """So long has passed since the verdict."""
        decision = self._scene.asked().status.rollback
        assert decision is not None, "nothing was decided yet"
        until(lambda: (datetime.now(UTC) - decision.at).total_seconds() > seconds, "the time to pass", seconds + 10)

    def approved(self) -> None:
        self._command("approve")

    def paused(self) -> None:
        self._command("pause")

    def asked_to_go_back(self) -> None:
        self._command("rollback")

    def _command(self, command: str) -> None:
        scene = self._scene
        scene.platform.hands.command(scene.namespace, scene.asked().name, command, {"by": "the tests"})

    def nodes_take_it_again(self, color: str) -> None:
        """Somebody repairs what `a_colour_that_no_node_takes` has broken."""
        self._scene.platform.patch(color, {"template": {"spec": {"nodeSelector": {"there-is": None}}}})

    # -- a person ------------------------------------------------------------------------------------------------------

    def a_person_switches_to(self, color: str) -> None:
        """As the guide does it by hand."""
        patch = f'{{"spec":{{"selector":{{"color":"{color}"}}}}}}'
        kubectl("patch", "service", manifests.APPLICATION, "-n", self._scene.namespace, "-p", patch)

    def a_person_scales(self, color: str, replicas: int) -> None:
        name = manifests.DEPLOYMENTS[color]
        kubectl("scale", "deployment", name, "-n", self._scene.namespace, f"--replicas={replicas}")

    def the_config_has(self, files: Mapping[str, str]) -> None:
        """Somebody applies other files."""
        self._scene.daemon.configure(files)


class Then:
    """What must be so."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    # -- the Release --------------------------------------------------------------------------------------------------

    def it_ends(self, phase: Phase, reason: str, *says: str, seconds: float = 180.0) -> Release:
        """It ends in this phase, for a reason that begins so, and its message says these things."""
        scene = self._scene
        ended = scene.follow(lambda release: release.phase.terminal, "the end of the Release", seconds)
        status = ended.status
        assert status.phase is phase, scene.told()
        assert status.reason.startswith(reason), f"{status.reason}: {status.message}"
        for text in says:
            assert text in status.message, f"{text!r} is not in {status.message!r}"
        return ended

    def the_daemon_flipped(self, *colors: str) -> None:
        """These flips are in the status, and each was made once, in order."""
        flips: tuple[Flip, ...] = self._scene.asked().status.flips
        assert [flip.to for flip in flips] == list(colors), flips
        assert [flip.index for flip in flips] == list(range(1, len(colors) + 1)), flips

    def its_check_said(self, check: str, *lines: str) -> None:
        """The last lines of a check are in the status."""
        (found,) = (c for c in self._scene.asked().status.checks if c.id.startswith(check))
        assert [line for line in lines if line not in found.output] == [], found

    def it_says(self, kind: str) -> None:
        """A condition of this kind is true."""

        def found(release: Release) -> bool:
            return any(c.type == kind and c.status == "True" for c in release.status.conditions)

        self._scene.follow(found, f"the condition {kind}", 60)

    def jobs_were_made(self, count: int) -> None:
        found = kubectl("get", "jobs", "-n", self._scene.namespace, "--output=name").split()
        assert len(found) == count, found

    # -- sizes --------------------------------------------------------------------------------------------------------

    def its_autoscaler_has(self, color: str, minimum: int) -> None:
        """The minimum of a colour's autoscaler becomes this."""
        until(lambda: self._of("hpa", color, "{.spec.minReplicas}") == minimum, f"{color} to have {minimum=}", 60)

    def it_comes_to(self, color: str, replicas: int) -> None:
        """A colour is brought to this size. A real autoscaler looks every 15 seconds."""
        until(lambda: self._of("deployment", color, "{.spec.replicas}") == replicas, f"{color} to have {replicas=}", 60)

    def _of(self, kind: str, color: str, what: str) -> int:
        name = manifests.DEPLOYMENTS[color]
        return int(kubectl("get", kind, name, "-n", self._scene.namespace, f"--output=jsonpath={what}"))

    # -- traffic ------------------------------------------------------------------------------------------------------

    def traffic_went(self, *colors: str) -> None:
        """The selector had exactly these colours, one after the other, and still has the last."""
        went = [selected(sight.object) for sight in self._scene.flips()]
        assert went == list(colors), f"traffic went {went}"
        service = self._scene.platform.hands.read_service(self._scene.namespace, manifests.APPLICATION)
        assert service is not None
        assert service.view.selector["color"] == colors[-1], service.view.selector

    def the_services_went(self, *flips: tuple[str, str]) -> None:
        """The selectors of these Services were moved to these colours, in this order, and nothing else was."""
        names = {name for name, _ in flips}
        colors, went = dict.fromkeys(names, "blue"), []
        self._scene.seen.catch_up("services")
        for sight in self._scene.seen.all("services"):
            color = selected(sight.object)
            if sight.name in names and colors[sight.name] != color:
                colors[sight.name] = color
                went.append((sight.name, color))
        assert went == list(flips)

    def each_flip_found_ready_pods(self) -> None:
        """Whenever the selector was moved, the colour that it was moved to had ready pods (S1)."""
        flips = self._scene.flips()[1:]
        self._scene.seen.catch_up("pods")
        for flip in flips:
            assert self._found_ready_pods(flip), f"no pod of {selected(flip.object)} was ready when traffic moved there"

    def _found_ready_pods(self, flip: Sight) -> bool:
        pods: dict[str, Object] = {}
        for sight in self._scene.seen.all("pods"):
            if sight.revision < flip.revision:
                pods[sight.name] = sight.object
        return any(of(selected(flip.object), pod) and is_ready(pod) for pod in pods.values())

    def clients_are_served_by(self, color: str) -> None:
        clients = self._clients()
        served = f"all clients to be served by {color}"
        until(lambda: list(clients.snapshot().seconds[-1].colors) == [color], served, 30)

    def no_client_was_cut_off(self, *, but: str = "") -> Traffic:
        """No request was refused, reset, or unanswered, and none failed, `but` in this way."""
        traffic = self._clients().stop()
        cut_off = [
            (second.at, failed)
            for second in traffic.seconds
            if (failed := {kind: n for kind, n in second.results.items() if n and kind not in ("ok", but)})
        ]
        moved = [(sight.at, selected(sight.object)) for sight in self._scene.flips()]
        assert not cut_off, f"cut off in these seconds: {cut_off}; the selector moved: {moved}"
        assert traffic.requests > 20, "too few requests to tell"
        return traffic

    def _clients(self) -> LoadGenerator:
        assert self._scene.clients is not None, "this scenario has no clients"
        return self._scene.clients

    # -- people -------------------------------------------------------------------------------------------------------

    def somebody_was_told(self, reason: str) -> Notification:
        """The webhook got a notification for this reason, once."""

        def found() -> list[Notification]:
            return [n for n in received(self._scene.notified, self._scene.namespace) if n.reason == reason]

        until(lambda: bool(found()), f"a notification for {reason}", 60)
        first, *more = found()
        assert [n for n in more if n.key == first.key] == [], "it was told twice"
        return first

    def the_daemon_says(self, *words: str, valid: bool) -> None:
        """Every replica knows that its files are (not) valid, and the log says why."""
        daemon = self._scene.daemon
        known = {float(valid)}
        until(lambda: set(daemon.metric("watcher_config_valid").values()) == known, f"the files to be {valid=}", 60)
        until(lambda: any(all(w in line for w in words) for line in daemon.log().splitlines()), f"the log: {words}")

    def alertmanager_told(self, alert: str) -> None:
        """The alert has come all the way, from the daemon's metrics through Prometheus and Alertmanager."""
        scene = self._scene
        until(lambda: alert in alerted(scene.notified, scene.namespace), f"the alert {alert}", 60)

    # -- replicas -----------------------------------------------------------------------------------------------------

    def one_replica_leads(self) -> None:
        wait_for_leader(self._scene.daemon)

    def the_replicas_flipped(self, times: int) -> None:
        """All replicas, which must be alive since before the first flip, have counted so many flips together."""
        daemon = self._scene.daemon
        counts: dict[str, float] = {}

        def all_answer() -> bool:
            counts.update(daemon.metric("watcher_flips_total"))
            return counts.keys() == daemon.pods().keys()

        until(all_answer, "every replica to tell its flips", 30, lambda: str(counts))
        assert sum(counts.values()) == times, counts

    def it_does_nothing(self, replica: str) -> None:
        """A replica that is not the leader, whatever it was before: neither it nor anybody moves the selector."""
        scene = self._scene
        until(lambda: scene.daemon.metric("watcher_leads").get(replica) == 0.0, f"{replica} not to lead", 30)
        before = len(scene.flips())
        ends = time.monotonic() + QUIET
        until(lambda: time.monotonic() > ends or len(scene.flips()) > before, "the time to pass", QUIET + 5)
        assert len(scene.flips()) == before, f"{replica} moved the selector, or somebody else did"
        assert scene.daemon.leader() != replica, f"{replica} leads"

    # -- times --------------------------------------------------------------------------------------------------------

    def took(self, what: str, begin: Sight, end: Sight, limit: float) -> None:
        """From one state that was seen to another. Prints the figure, and holds it to a limit."""
        assert begin.revision < end.revision, f"{what}: it was the other way round"
        seconds = max(0.0, end.at - begin.at)
        self._scene.note(f"{what}: {seconds:.2f} s")
        assert seconds < limit, f"{what}: {seconds:.2f} s"


class Story:
    """One scenario: its words, and the scene they speak of."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.given, self.when, self.then = Given(scene), When(scene), Then(scene)
