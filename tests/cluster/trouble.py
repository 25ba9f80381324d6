"""What befalls the daemon and its surroundings: words of `when`.

What always holds: whatever was done to processes and packets of the node is undone when the story ends.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence

from tests.cluster.daemon import network, send, wait_for_leader
from tests.cluster.scene import Scene
from tests.cluster.seen import Object
from tests.cluster.waiting import kubectl, until
from watcher.core.release import Release, from_json

Moment = Callable[[Release], bool]
"""Something happens as soon as the Release is seen like this."""


class Trouble:
    """Each word returns when it has happened."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

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

    def the_leader_dies(self) -> None:
        """Its process is killed."""
        daemon = self._scene.daemon
        send(signal.SIGKILL, daemon.process(wait_for_leader(daemon)))

    def the_leader_dies_at(self, moment: Moment, what: str, seconds: float = 90.0) -> None:
        """Its process is killed the moment the Release is seen like this."""
        daemon = self._scene.daemon
        self._die_at(moment, [daemon.process(wait_for_leader(daemon))], what, seconds)

    def all_replicas_die_at(self, moment: Moment, what: str, seconds: float = 90.0) -> None:
        """Nobody is left for some seconds."""
        daemon = self._scene.daemon
        self._die_at(moment, [daemon.process(pod) for pod in daemon.pods()], what, seconds)

    def _die_at(self, moment: Moment, processes: list[int], what: str, seconds: float) -> None:
        scene = self._scene
        self._at(moment, lambda: send(signal.SIGKILL, *processes), what, seconds)
        status = scene.asked().status
        scene.note(f"killed with {len(status.flips)} of 2 flips done, {'an' if status.intent else 'no'} intent")

    def the_leader_freezes_at(self, moment: Moment, what: str, seconds: float = 90.0) -> str:
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
        self, moment: Moment, what: str, *, answers: bool = False, seconds: float = 90.0
    ) -> str:
        """From that moment on nothing of what it sends to the API server arrives; or, with `answers`, all of that and
        nothing of what it is answered. Returns its name.
        """
        leader = wait_for_leader(self._scene.daemon)
        self._cut_off_at(moment, [leader], what, seconds, answers)
        return leader

    def all_replicas_are_cut_off_at(self, moment: Moment, what: str, seconds: float = 90.0) -> None:
        """As if the API server were gone."""
        self._cut_off_at(moment, list(self._scene.daemon.pods()), what, seconds, answers=False)

    def _cut_off_at(self, moment: Moment, pods: Sequence[str], what: str, seconds: float, answers: bool) -> None:
        scene = self._scene
        found = scene.daemon.pods()
        addresses = [str(found[pod]["status"]["podIP"]) for pod in pods]
        scene.undo.callback(self.the_network_heals)

        def cut() -> None:
            for address in addresses:
                network("--insert", address, answers=answers)
                scene.cut_off.append((address, answers))

        self._at(moment, cut, what, seconds)

    def nobody_leads(self) -> None:
        """Each replica has given up by its own clock."""
        daemon = self._scene.daemon

        def all_gave_up() -> bool:
            leads = daemon.metric("watcher_leads")
            return leads.keys() == daemon.pods().keys() and not any(leads.values())

        until(all_gave_up, "every replica to give up", 30)

    def the_network_heals(self) -> None:
        while self._scene.cut_off:
            address, answers = self._scene.cut_off.pop()
            network("--delete", address, answers=answers)

    def _at(self, moment: Moment, act: Callable[[], None], what: str, seconds: float) -> None:
        scene = self._scene
        acted = threading.Event()

        def at_once() -> None:
            act()
            acted.set()

        name = scene.asked().name

        def now(found: Object) -> bool:
            return bool(found["metadata"]["name"] == name) and moment(from_json(dict(found)))

        scene.seen.at("releases", now, at_once)
        scene.seen.until(acted.is_set, what, seconds, scene.told)

    def another_replica_leads(self, than: str, seconds: float = 60.0) -> None:
        """Another pod holds the Lease. Prints how long that took."""
        began = time.monotonic()
        until(lambda: self._scene.daemon.leader() not in ("", than), "another replica to lead", seconds)
        self._scene.note(f"another replica leads after {time.monotonic() - began:.1f} s")
