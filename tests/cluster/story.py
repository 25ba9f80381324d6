"""The words in which a scenario is told: given, when, then.

What always holds: a word of `when` returns when what it says has happened; a word of `then` fails with what was there
instead, and waits for it where it is bound to come.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.daemon import DAEMON, Daemon, network, send, wait_for_leader
from tests.cluster.prometheus import Prometheus
from tests.cluster.receiver import Notification, received
from tests.cluster.seen import Object, Seen, Sight
from tests.cluster.stage import Platform, is_live, is_ready, of, selected
from tests.cluster.waiting import kubectl, until
from watcher.core.release import Flip, Phase, Release, from_json
from watcher.demo.platform import manifests
from watcher.demo.platform.ledger import Traffic
from watcher.demo.platform.load import LoadGenerator

GOOD = manifests.GOOD_VERSION
BAD = manifests.BAD_VERSIONS
"""What goes wrong -> the version in which it does."""

QUIET = 4.0
"""Seconds for which nothing must happen: two looks of a replica at the Lease."""


@dataclass
class Scene:
    """What the words speak of."""

    platform: Platform
    seen: Seen
    daemon: Daemon
    notified: Path
    note: Callable[[str], None]
    """Prints a figure when all tests have ended."""
    prometheus: Prometheus | None = None
    undo: ExitStack = field(default_factory=ExitStack)
    clients: LoadGenerator | None = None
    release: Release | None = None
    cut_off: list[tuple[str, bool]] = field(default_factory=list)
    """The addresses that are cut off, and whether from answers only."""

    @property
    def namespace(self) -> str:
        return self.platform.namespace

    def asked(self) -> Release:
        """The Release as it was last seen."""
        assert self.release is not None, "nothing was released yet"
        return self.platform.read(self.release)

    def follow(self, reached: Callable[[Release], bool], what: str, seconds: float) -> Release:
        self.seen.until(lambda: reached(self.asked()), what, seconds, self.told)
        return self.asked()

    def told(self) -> str:
        """What there is, for whoever reads that a test failed."""
        status = self.asked().status
        lines = [f"{status.phase.value}: {status.reason}: {status.message}", self.platform.pods()]
        return "\n".join([*lines, "the daemons' last lines:", self.daemon.log(15)])

    def flips(self) -> list[Sight]:
        """The states in which the live Service was first seen, and then with another colour each time."""
        found: list[Sight] = []
        for sight in self.seen.all("services"):
            if is_live(sight.object) and not (found and selected(found[-1].object) == selected(sight.object)):
                found.append(sight)
        return found


class Given:
    """What is so before anything happens, beyond the scenario's setting."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def clients(self, rate: float = 20.0) -> None:
        """Users of the live Service, through its cluster IP, from now to the end."""
        self._scene.clients = self._scene.platform.clients(rate).start()
        self._scene.undo.callback(self._scene.clients.stop)

    def idle_pods_with(self, resources: Mapping[str, Any]) -> None:
        """Green asks for these resources, whatever version comes."""
        container = {"name": manifests.CONTAINER, "resources": dict(resources)}
        self._scene.platform.patch("green", {"template": {"spec": {"containers": [container]}}})

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


class When:
    """What somebody does, and what happens."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    # -- a release ----------------------------------------------------------------------------------------------------

    def released(self, version: str, image: str | None = None) -> None:
        """Somebody asks for a release of a version."""
        asked = self._scene.release = self._scene.platform.release(version, image)
        self._scene.seen.until(lambda: asked.name in self._scene.seen.now("releases"), "the Release to be seen")

    def it_is(self, phase: Phase, seconds: float = 90.0) -> None:
        """The Release comes to this phase."""
        self._scene.follow(lambda release: release.phase is phase, f"the phase {phase.value}", seconds)

    def approved(self) -> None:
        self._command("approve")

    def paused(self) -> None:
        self._command("pause")

    def asked_to_go_back(self) -> None:
        self._command("rollback")

    def _command(self, command: str) -> None:
        scene = self._scene
        scene.platform.hands.command(scene.namespace, scene.asked().name, command, {"by": "the tests"})

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

    # -- the surroundings ---------------------------------------------------------------------------------------------

    def prometheus_dies(self) -> None:
        assert self._scene.prometheus is not None, "this scenario has no Prometheus of its own"
        self._scene.prometheus.kill()

    def prometheus_is_back(self) -> None:
        """With the data that it had."""
        assert self._scene.prometheus is not None, "this scenario has no Prometheus of its own"
        self._scene.prometheus.start()

    def no_replica_runs(self) -> None:
        self._scene.daemon.scale(0)
        until(lambda: not self._scene.daemon.pods(), "the daemon's pods to be gone", 90)

    def replicas_run_again(self) -> None:
        self._scene.daemon.scale(2)

    def users_get_errors(self, count: int) -> None:
        """So many more, from now on."""
        clients = self._scene.clients
        assert clients is not None, "this scenario has no clients"
        before = clients.snapshot().results["http_5xx"]
        until(lambda: clients.snapshot().results["http_5xx"] >= before + count, f"{count} errors", 60)

    def the_leader_is_deleted(self) -> str:
        """Its pod is taken away by force: the API server forgets it at once. Returns its name."""
        leader = wait_for_leader(self._scene.daemon)
        self._scene.daemon.delete_pod(leader)
        return leader

    def the_leader_is_told_to_stop(self) -> str:
        """As a drained node or a new version of the daemon does it. Returns its name."""
        leader = wait_for_leader(self._scene.daemon)
        kubectl("delete", "pod", leader, "-n", self._scene.namespace, "--wait=false")
        return leader

    def the_leader_dies_at(self, moment: Callable[[Release], bool], what: str, seconds: float = 90.0) -> None:
        """Its process is killed the moment the Release is seen like this."""
        daemon = self._scene.daemon
        self._die_at(moment, [daemon.process(wait_for_leader(daemon))], what, seconds)

    def all_replicas_die_at(self, moment: Callable[[Release], bool], what: str, seconds: float = 90.0) -> None:
        """Nobody is left for some seconds."""
        daemon = self._scene.daemon
        self._die_at(moment, [daemon.process(pod) for pod in daemon.pods()], what, seconds)

    def _die_at(self, moment: Callable[[Release], bool], processes: list[int], what: str, seconds: float) -> None:
        scene = self._scene
        self._at(moment, lambda: send(signal.SIGKILL, *processes), what, seconds)
        status = scene.asked().status
        scene.note(f"killed with {len(status.flips)} of 2 flips done, {'an' if status.intent else 'no'} intent")

    def the_leader_freezes_at(self, moment: Callable[[Release], bool], what: str, seconds: float = 90.0) -> str:
        """Its process does nothing from that moment on, and does not know it. Returns its pod's name."""
        daemon = self._scene.daemon
        leader = wait_for_leader(daemon)
        process = daemon.process(leader)
        self._scene.undo.callback(send, signal.SIGCONT, process)
        self._at(moment, lambda: send(signal.SIGSTOP, process), what, seconds)
        return leader

    def it_thaws(self, replica: str) -> None:
        """The process goes on where it was."""
        send(signal.SIGCONT, self._scene.daemon.process(replica))

    def the_leader_is_cut_off_at(
        self, moment: Callable[[Release], bool], what: str, *, answers: bool = False, seconds: float = 90.0
    ) -> str:
        """From that moment on nothing of what it sends to the API server arrives; or, with `answers`, all of that and
        nothing of what it is answered. Returns its name.
        """
        leader = wait_for_leader(self._scene.daemon)
        self._cut_off_at(moment, [leader], what, seconds, answers)
        return leader

    def all_replicas_are_cut_off_at(self, moment: Callable[[Release], bool], what: str, seconds: float = 90.0) -> None:
        """As if the API server were gone."""
        self._cut_off_at(moment, list(self._scene.daemon.pods()), what, seconds, answers=False)

    def _cut_off_at(
        self, moment: Callable[[Release], bool], pods: Sequence[str], what: str, seconds: float, answers: bool
    ) -> None:
        scene = self._scene
        found = scene.daemon.pods()
        rows = [(str(found[pod]["status"]["podIP"]), answers) for pod in pods]
        scene.cut_off += rows

        def cut() -> None:
            for address, only_answers in rows:
                network("--insert", address, answers=only_answers)

        self._at(moment, cut, what, seconds)

    def nobody_leads(self) -> None:
        """Each replica has given up by its own clock."""
        daemon = self._scene.daemon
        until(lambda: not any(daemon.metric("watcher_leads").values()), "every replica to give up", 30)

    def the_network_heals(self) -> None:
        while self._scene.cut_off:
            address, answers = self._scene.cut_off.pop()
            network("--delete", address, answers=answers)

    def _at(self, moment: Callable[[Release], bool], act: Callable[[], None], what: str, seconds: float) -> None:
        scene = self._scene
        acted = threading.Event()

        def at_once() -> None:
            act()
            acted.set()

        name = scene.asked().name
        scene.seen.at("releases", lambda found: found["metadata"]["name"] == name and moment(_read(found)), at_once)
        scene.seen.until(acted.is_set, what, seconds, scene.told)

    def another_replica_leads(self, than: str, seconds: float = 60.0) -> None:
        """Another pod holds the Lease. Prints how long that took."""
        began = time.monotonic()
        until(lambda: self._scene.daemon.leader() not in ("", than), "another replica to lead", seconds)
        self._scene.note(f"another replica leads after {time.monotonic() - began:.1f} s")


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

    # -- traffic ------------------------------------------------------------------------------------------------------

    def traffic_went(self, *colors: str) -> None:
        """The selector had exactly these colours, one after the other, and still has the last."""
        assert [selected(sight.object) for sight in self._scene.flips()] == list(colors)
        service = self._scene.platform.hands.read_service(self._scene.namespace, manifests.APPLICATION)
        assert service is not None
        assert service.view.selector["color"] == colors[-1]

    def each_flip_found_ready_pods(self) -> None:
        """Whenever the selector was moved, the colour that it was moved to had ready pods (S1)."""
        for sight in self._scene.flips()[1:]:
            color = selected(sight.object)
            pods: dict[str, Object] = {}
            for earlier in self._scene.seen.all("pods"):
                if earlier.at <= sight.at:
                    pods[earlier.name] = earlier.object
            assert any(of(color, pod) and is_ready(pod) for pod in pods.values()), f"a flip to {color} found no pod"

    def clients_are_served_by(self, color: str) -> None:
        clients = self._clients()
        served = f"all clients to be served by {color}"
        until(lambda: list(clients.snapshot().seconds[-1].colors) == [color], served, 30)

    def no_client_was_cut_off(self, *, but: str = "") -> Traffic:
        """No request was refused, reset, or unanswered, and none failed, `but` in this way."""
        traffic = self._clients().stop()
        bad = [
            (second.at - int(traffic.started), {k: n for k, n in second.results.items() if n and k not in ("ok", but)})
            for second in traffic.seconds
        ]
        assert [row for row in bad if row[1]] == []
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

        until(lambda: bool(found()), f"a notification for {reason}", 20)
        first, *more = found()
        assert [n for n in more if n.key == first.key] == [], "it was told twice"
        return first

    def the_daemon_says(self, *words: str, valid: bool) -> None:
        """Every replica knows that its files are (not) valid, and the log says why."""
        daemon = self._scene.daemon
        known = {float(valid)}
        until(lambda: set(daemon.metric("watcher_config_valid").values()) == known, f"the files to be {valid=}", 60)
        until(lambda: any(all(w in line for w in words) for line in daemon.log().splitlines()), f"the log: {words}")

    # -- replicas -----------------------------------------------------------------------------------------------------

    def one_replica_leads(self) -> None:
        wait_for_leader(self._scene.daemon)

    def the_replicas_flipped(self, times: int) -> None:
        """All replicas, which must be alive since before the first flip, have counted so many flips together."""
        scene = self._scene
        counts = scene.daemon.metric("watcher_flips_total")
        assert len(counts) == len(scene.daemon.pods()), counts
        assert sum(counts.values()) == times, counts

    def it_does_nothing(self, replica: str) -> None:
        """A replica that is not the leader, whatever it was before: neither it nor anybody moves the selector."""
        scene = self._scene
        until(lambda: scene.daemon.metric("watcher_leads").get(replica) == 0.0, f"{replica} not to lead", 30)
        before = len(scene.flips())
        ends = time.monotonic() + QUIET
        until(lambda: time.monotonic() > ends or len(scene.flips()) > before, "the time to pass", QUIET + 5)
        assert len(scene.flips()) == before
        assert scene.daemon.leader() != replica

    # -- times --------------------------------------------------------------------------------------------------------

    def took(self, what: str, begin: Sight, end: Sight, limit: float) -> None:
        """From one state that was seen to another. Prints the figure, and holds it to a limit."""
        seconds = end.at - begin.at
        self._scene.note(f"{what}: {seconds:.2f} s")
        assert 0 <= seconds < limit, f"{what}: {seconds:.2f} s"


class Story:
    """One scenario: its words, and the scene they speak of."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.given, self.when, self.then = Given(scene), When(scene), Then(scene)


def _read(found: Object) -> Release:
    return from_json(dict(found))
