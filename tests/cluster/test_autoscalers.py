"""Colours under real autoscalers: neither what is tested nor the way back is shrunk, and each minimum is given back."""

from __future__ import annotations

from tests.cluster.setting import LONG, scenario
from tests.cluster.story import GOOD, Story
from watcher.core.release import Phase


@scenario("autoscaled", replicas=3, approval="beforeSwitch", watch=LONG, previous={"keep": "1s", "then": "keep"})
def test_autoscalers_keep_the_size_of_what_is_tested_and_of_the_way_back_until_nobody_needs_it(story: Story) -> None:
    story.given.autoscalers(maximum=5)
    story.when.released(GOOD)
    story.when.it_is(Phase.AWAITING_APPROVAL)
    story.then.its_autoscaler_has("green", 3)
    story.then.its_autoscaler_has("blue", 1)
    # What an autoscaler that has metrics makes of a colour without traffic.
    story.when.a_person_scales("green", 1)
    story.then.it_comes_to("green", 3)

    story.when.approved()
    story.when.it_is(Phase.WATCHING)
    story.then.its_autoscaler_has("blue", 3)
    story.when.a_person_scales("blue", 1)
    story.then.it_comes_to("blue", 3)

    story.when.asked_to_go_back()
    story.then.it_ends(Phase.ROLLED_BACK, "manual")
    story.then.traffic_went("blue", "green", "blue")
    story.then.its_autoscaler_has("green", 1)
    story.then.its_autoscaler_has("blue", 3)
