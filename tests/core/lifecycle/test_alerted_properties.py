"""Whatever alerts come, end, are left out, and whatever people do meanwhile: the end is the one that they ask for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.lifecycle.stages import after_the_flip
from tests.core.lifecycle.test_alerted import ALERTS, hears
from watcher.core.hearing import MOST
from watcher.core.lifecycle.alerted import holds
from watcher.core.lifecycle.turn import Turn
from watcher.core.release import Phase

Event = tuple[str, object, str]
EVENTS = st.one_of(
    st.tuples(st.just("fires"), st.sampled_from(["critical", "warning", "info", "none"]), st.sampled_from("123")),
    st.tuples(st.just("ends"), st.sampled_from(["warning", "info"]), st.sampled_from("123")),
    st.tuples(st.just("left out"), st.integers(0, 2), st.just("")),
    st.tuples(st.just("person"), st.sampled_from(["pause", "resume"]), st.just("")),
    st.tuples(st.just("time"), st.integers(1, 40), st.just("")),
    st.tuples(st.just("killed"), st.just(""), st.just("")),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, max_size=12))
def test_a_watch_passes_only_when_nothing_holds_and_goes_back_once_an_alert_asks_for_it(
    events: list[tuple[str, object, str]],
) -> None:
    story = after_the_flip(Phase.WATCHING, ALERTS).time_passes(1)
    goes_back = False
    for kind, what, which in events:
        if story.release.phase is not Phase.WATCHING:
            break
        if kind == "fires":
            hears(story, str(what), print_=which)
            goes_back |= what == "critical"
        elif kind == "ends":
            hears(story, str(what), "resolved", print_=which)
        elif kind == "left out":
            hears(story, "none", left_out=int(str(what)))
        elif kind == "person":
            story.person(what)  # type: ignore[arg-type]
        elif kind == "time":
            story.time_passes(int(str(what)))
        else:
            story.killed()
        held = holds(Turn(story.release, story.world.observe(story.release), story.world.now))
        story.settle()
        assert len(story.status.alerts) <= MOST
        assert not (held and story.status.reason == "Completed"), held
    if goes_back:
        story.to_the_end().phase_is(Phase.ROLLED_BACK, "alert/HighErrorRate").flips_are("green", "blue")
        return
    story.flips_are("green")
    for which in "123":
        hears(story, "warning", "resolved", print_=which)
    if story.release.spec.paused:
        story.time_passes(1).person("resume")
    story.to_the_end().phase_is(Phase.COMPLETED)
