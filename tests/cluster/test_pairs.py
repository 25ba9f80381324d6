"""Two Services of one Application, in a real Kubernetes: they move in order, and back in reverse order."""

from __future__ import annotations

from tests.cluster.setting import LONG, scenario
from tests.cluster.story import GOOD, Story
from tests.support.worker import ALSO, WORKER
from watcher.core.release import Phase
from watcher.demo.platform.manifests import APPLICATION

READY = {"health": [{"name": "worker", "service": WORKER, "http": {"path": "/readyz"}}]}


@scenario("two-services", watch=LONG, also=ALSO, tests=READY)
def test_two_services_are_flipped_in_order_and_go_back_in_reverse_order(story: Story) -> None:
    story.given.a_worker()
    story.given.clients()

    story.when.released(GOOD)
    story.when.it_is(Phase.WATCHING)
    story.when.asked_to_go_back()

    story.then.it_ends(Phase.ROLLED_BACK, "manual")
    story.then.the_services_went((APPLICATION, "green"), (WORKER, "green"), (WORKER, "blue"), (APPLICATION, "blue"))
    story.then.the_daemon_flipped("green", "green", "blue", "blue")
    story.then.clients_are_served_by("blue")
    story.then.no_client_was_cut_off()
