"""Files in a mounted ConfigMap, as the kubelet renews them: the daemon sees them without a restart (S10)."""

from __future__ import annotations

import json

from tests.cluster.setting import LONG, scenario
from tests.cluster.story import BAD, GOOD, Story
from watcher.core.release import Phase


@scenario("files", own_daemon=True, watch=LONG)
def test_a_wrong_file_changes_nothing_and_a_right_one_is_taken_over(story: Story) -> None:
    right = story.scene.platform.setting.application()
    wrong = json.loads(json.dumps(right))
    wrong["spec"]["servise"] = wrong["spec"].pop("service")

    story.when.the_config_has({"files.yaml": json.dumps(wrong)})
    story.then.the_daemon_says("servise", "files.yaml", valid=False)
    story.when.released(GOOD)
    story.when.it_is(Phase.WATCHING)

    right["spec"]["watch"] = {"duration": "1s", "interval": "1s"}
    story.when.the_config_has({"files.yaml": json.dumps(right)})
    story.then.the_daemon_says("the files are right again", valid=True)
    assert story.scene.asked().phase is Phase.WATCHING, "a Release keeps what it began with"
    story.when.asked_to_go_back()
    story.then.it_ends(Phase.ROLLED_BACK, "manual")
    story.when.released(BAD["latency"])
    story.then.it_ends(Phase.COMPLETED, "Completed")
