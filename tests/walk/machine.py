"""The random walk as hypothesis sees it: what can happen next, with how much of it.

What always holds: each step ends at rest with the promises judged, and each walk ends healed, with everything ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.walk.ground import LAST_WORDS, START, Ground
from tests.walk.journal import PREVIEW, SHOP
from tests.walk.lives import LEASE, WHERE, deliver
from tests.walk.scene import BROKEN, COLORS, VARIANTS
from tests.walk.verdicts import broken
from watcher.adapters.kubernetes import paths
from watcher.core.release import Phase

GOOD = ("shop:2", "shop:3", "shop:4", "shop:5")
IMAGES = (*GOOD, "shop:crashing", "shop:unready")
FAULTS = ("refused", "lost", "late", "slow", "409", "429", "500", "422")
WAITING = frozenset({Phase.AWAITING_APPROVAL, Phase.SWITCHING})
COMMANDS = ("approve", "pause", "resume", "abort", "rollback", "overrideWindow")

colors = st.sampled_from(COLORS)


class Walk(RuleBasedStateMachine):
    """One walk. `ground` is given to a class of its own by `machine`."""

    ground: ClassVar[Ground]

    def __init__(self) -> None:
        super().__init__()
        self.scene = self.ground.begin()
        self._bad = False

    def do(self, words: str, action: Callable[[], Any]) -> None:
        """One step: told, done, at rest, judged."""
        self.ground.steps += 1
        self.ground.told.append(f"{self.ground.clock.seconds - START:9.1f} s  {words}")
        try:
            action()
            self.scene.rest()
            self.scene.judge()
        except Exception as error:
            self.fail(error)
            raise

    def fail(self, error: Exception) -> None:
        self._bad = True
        if self.ground.failed is None:
            said = self.ground.log.read_text("utf-8").splitlines()[-LAST_WORDS:]
            self.ground.failed = (f"{type(error).__name__}: {error}", list(self.ground.told), said)

    def teardown(self) -> None:
        try:
            if not self._bad:
                self.ground.told.append(f"{self.ground.clock.seconds - START:9.1f} s  everything is healed")
                self.scene.converge()
                found = broken(self.scene, self.ground.log)
                assert not found, "; ".join(found)
        except Exception as error:
            self.fail(error)
            raise
        finally:
            stories = self.scene.journal.stories.values()
            self.ground.ends.update("deleted" if s.deleted else s.last.phase.value for s in stories)
            self.ground.flips += sum(bool(move.uid) for move in self.scene.journal.moves)
            self.ground.ending += self.scene.end()

    # -- time -----------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.2, 1.0, 1.0, 3.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.do(f"{seconds:g} s pass", lambda: self.scene.let_pass(seconds))

    @rule(seconds=st.sampled_from([8.0, 25.0]))
    def more_time_passes(self, seconds: float) -> None:
        self.do(f"{seconds:g} s pass", lambda: self.scene.let_pass(seconds))

    @rule(seconds=st.sampled_from([15.0, 50.0, 90.0, 3700.0]))
    def the_clock_jumps(self, seconds: float) -> None:
        self.do(f"the clock jumps by {seconds:g} s", lambda: self.scene.jump(seconds))

    # -- people ---------------------------------------------------------------------------------------------------

    @initialize(image=st.sampled_from(GOOD))
    def a_first_release(self, image: str) -> None:
        self.do(f"release of {image}", lambda: self.scene.release(image, force=False))

    @precondition(lambda self: len(self.scene.running()) < 2)
    @rule(image=st.sampled_from(IMAGES), force=st.sampled_from([False, False, False, True]))
    def a_release(self, image: str, force: bool) -> None:
        self.do(f"release of {image}{' by force' if force else ''}", lambda: self.scene.release(image, force=force))

    @precondition(lambda self: not self.scene.running())
    @rule(image=st.sampled_from(GOOD), force=st.booleans(), seconds=st.sampled_from([2.0, 5.0, 12.0]))
    def a_release_gets_some_time(self, image: str, force: bool, seconds: float) -> None:
        def act() -> None:
            self.scene.release(image, force=force)
            self.scene.let_pass(seconds)

        self.do(f"release of {image}{' by force' if force else ''}, and {seconds:g} s pass", act)

    @precondition(lambda self: not self.scene.running())
    @rule(image=st.sampled_from(GOOD), then=st.sampled_from(["", "unready", "scaled to 0"]))
    def a_release_waits_for_approval(self, image: str, then: str) -> None:
        def act() -> None:
            self.scene.edit("with approval")
            name = self.scene.release(image, force=True)
            self.scene.let_pass(4.0)
            if then:
                self.lose("green" if self.scene.journal.selected == "blue" else "blue", then)
                self.scene.command(name, "approve")
                self.scene.let_pass(3.0)

        after = f"; then what it needs is {then}, and it is approved" if then else ""
        self.do(f"release of {image} by force, which waits for approval{after}", act)

    def lose(self, color: str, how: str) -> None:
        if how == "unready":
            self.scene.sicken(color, how)
        else:
            self.scene.scale(color, 0)

    @precondition(lambda self: self.scene.running())
    @rule(what=st.sampled_from(["unready", "unready", "scaled to 0"]), first=st.booleans())
    def what_a_release_needs_goes(self, what: str, first: bool) -> None:
        running = self.scene.running()[0 if first else -1]
        found = running.status.colors
        going_back = found is not None and self.scene.journal.selected == found.to
        color = "green" if found is None else found.from_ if going_back else found.to
        self.do(f"{color}, which {running.name} needs, is {what}", lambda: self.lose(color, what))

    @precondition(lambda self: not self.scene.running() and self.scene.lives)
    @rule(image=st.sampled_from(GOOD), moves=st.sampled_from([1, 2]))
    def a_swap_comes_late(self, image: str, moves: int) -> None:
        def act() -> None:
            for life in self.scene.lives:
                life.spoiler.order("late", "swap", 1)
            self.scene.release(image, force=True)
            self.scene.let_pass(0.2)
            for _ in range(moves):
                self.scene.person_moves()
            deliver(self.scene.every_life())
            self.scene.rest()
            self.scene.let_pass(2.0)

        there = "there and back" if moves == 2 else "to the other colour"
        self.do(f"release of {image} by force; its swap comes after a person moved {there}", act)

    @precondition(lambda self: self.scene.rejected())
    @rule(data=st.data())
    def a_rejected_version_is_asked_for_again(self, data: st.DataObject) -> None:
        image = data.draw(st.sampled_from(self.scene.rejected()))

        def act() -> None:
            self.scene.release(image, force=False)
            self.scene.let_pass(5.0)

        self.do(f"release of {image}, which was rolled back, and 5 s pass", act)

    @precondition(lambda self: any(release.phase in WAITING for release in self.scene.running()))
    @rule(how=st.sampled_from(["unready", "scaled to 0", "well"]))
    def a_release_that_waits_may_go_on(self, how: str) -> None:
        waiting = next(release for release in self.scene.running() if release.phase in WAITING)
        assert waiting.status.colors is not None
        to = waiting.status.colors.to

        def act() -> None:
            if how == "well":
                self.scene.sicken(to, "")
            else:
                self.lose(to, how)
            self.scene.command(waiting.name, "pause", on=False)
            self.scene.command(waiting.name, "approve")
            self.scene.let_pass(3.0)

        self.do(f"{to} is {how}, and {waiting.name} may go on", act)

    @precondition(lambda self: any(release.phase is Phase.WATCHING for release in self.scene.running()))
    @rule(why=st.sampled_from(["Prometheus is down", "Prometheus is partial", "no daemon runs"]))
    def a_breach_while_nobody_sees_it(self, why: str) -> None:
        def act() -> None:
            dead = list(self.scene.lives) if why == "no daemon runs" else []
            for life in dead:
                self.scene.end_life(life, killed=True)
            self.scene.prometheus_is(why.rpartition(" ")[2] if not dead else "up")
            self.scene.measure("errors", 50.0)
            self.scene.let_pass(6.0)
            self.scene.measure("errors", 1.0)
            self.scene.let_pass(1.0)
            self.scene.prometheus_is("up")
            if dead:
                self.scene.start_life()
            self.scene.let_pass(3.0)

        self.do(f"errors for 6 s, while {why}", act)

    @precondition(lambda self: any(release.status.switched_at for release in self.scene.running()))
    @rule(killed=st.booleans())
    def a_rollback_has_to_wait(self, killed: bool) -> None:
        running = next(release for release in self.scene.running() if release.status.switched_at)
        assert running.status.colors is not None
        back = running.status.colors.from_

        def act() -> None:
            self.scene.sicken(back, "unready")
            self.scene.command(running.name, "rollback")
            self.scene.let_pass(1.0)
            for life in self.scene.lives[:1] if killed else ():
                self.scene.end_life(life, killed=True)
                self.scene.start_life()

        words = f"rollback {running.name}, while {back} is not ready"
        self.do(f"{words}{'; the daemon is killed and started again' if killed else ''}", act)

    @precondition(lambda self: len(self.scene.running()) < 2)
    @rule()
    def a_rollback_by_hand(self) -> None:
        self.do("rollback by hand", self.scene.roll_back_by_hand)

    @precondition(lambda self: self.scene.running())
    @rule(data=st.data(), what=st.sampled_from(COMMANDS))
    def a_command(self, data: st.DataObject, what: str) -> None:
        name = data.draw(st.sampled_from([release.name for release in self.scene.running()]))
        field, on = ("pause", False) if what == "resume" else (what, True)
        self.do(f"{what} {name}", lambda: self.scene.command(name, field, on=on))

    @precondition(lambda self: self.scene.running())
    @rule(data=st.data())
    def a_release_is_deleted(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([release.name for release in self.scene.running()]))
        self.do(f"Release {name} is deleted", lambda: self.scene.delete(paths.releases(self.scene.namespace, name)))

    @rule(color=st.sampled_from([None, None, "blue", "green", "red", ""]))
    def a_person_moves_the_selector(self, color: str | None) -> None:
        self.do(f"a person moves the selector to {color}", lambda: self.scene.person_moves(color))

    @rule(color=colors, replicas=st.sampled_from([0, 1, 2, 3]))
    def a_person_scales(self, color: str, replicas: int) -> None:
        self.do(f"{color} is scaled to {replicas}", lambda: self.scene.scale(color, replicas))

    @rule(variant=st.sampled_from([*VARIANTS, *BROKEN]))
    def the_file_is_edited(self, variant: str) -> None:
        self.do(f"the Application's file becomes: {variant}", lambda: self.scene.edit(variant))

    # -- the cluster ----------------------------------------------------------------------------------------------

    @rule(color=colors)
    def pods_are_deleted(self, color: str) -> None:
        self.do(f"the pods of {color} are deleted", lambda: self.scene.delete_pods(color))

    @rule(color=colors, how=st.sampled_from(["unready", "crashing", "", ""]))
    def pods_fall_ill(self, color: str, how: str) -> None:
        self.do(f"the pods of {color} are {how or 'well'}", lambda: self.scene.sicken(color, how))

    @rule(color=colors, again=st.sampled_from([True, True, False]))
    def a_deployment_comes_or_goes(self, color: str, again: bool) -> None:
        path = paths.deployments(self.scene.namespace, f"{SHOP}-{color}")

        def act() -> None:
            self.scene.delete(path)
            if again:
                self.scene.make_deployment(color, 2)

        self.do(f"Deployment {color} is deleted{' and made again' if again else ''}", act)

    @rule(name=st.sampled_from([SHOP, PREVIEW]), color=colors, again=st.sampled_from([True, True, False]))
    def a_service_comes_or_goes(self, name: str, color: str, again: bool) -> None:
        def act() -> None:
            self.scene.delete(paths.services(self.scene.namespace, name))
            if again:
                self.scene.make_service(name, color)

        self.do(f"Service {name} is deleted{f' and made for {color}' if again else ''}", act)

    # -- surroundings ---------------------------------------------------------------------------------------------

    @rule(how=st.sampled_from(["up", "up", "down", "slow", "partial"]))
    def prometheus_is(self, how: str) -> None:
        self.do(f"Prometheus is {how}", lambda: self.scene.prometheus_is(how))

    @rule(what=st.sampled_from(["errors", "errors", "lag", "traffic"]), value=st.sampled_from([1.0, 50.0, 90.0, None]))
    def the_measured_changes(self, what: str, value: float | None) -> None:
        self.do(f"{what} become {value}", lambda: self.scene.measure(what, value))

    @rule(how=st.sampled_from(["up", "failing", "refusing", "hanging"]))
    def whoever_is_told_is(self, how: str) -> None:
        self.do(f"who is told is {how}", lambda: setattr(self.scene.outside, "told", how))

    @rule(how=st.sampled_from(["well", "failing"]))
    def checks_and_hooks_are(self, how: str) -> None:
        self.do(f"checks and hooks are {how}", lambda: setattr(self.scene.outside, "checks", how))

    # -- the daemon and its way to the API server -----------------------------------------------------------------

    @precondition(lambda self: self.scene.lives)
    @rule(how=st.sampled_from(FAULTS), where=st.sampled_from(list(WHERE)), count=st.sampled_from([1, 1, 3, 30]))
    def requests_go_wrong(self, how: str, where: str, count: int) -> None:
        def act() -> None:
            for life in self.scene.lives:
                life.spoiler.order(how, where, count)

        self.do(f"{count} requests ({where}) will be: {how}", act)

    @precondition(lambda self: self.scene.lives)
    @rule()
    def the_next_swap_is_overtaken(self) -> None:
        self.do(
            "a person will overtake the next swap",
            lambda: self.scene.lives[0].spoiler.order("overtaken", "swap", 1),
        )

    @rule()
    def the_way_to_the_api_server_is_well(self) -> None:
        def act() -> None:
            for life in self.scene.lives:
                life.spoiler.heal()

        self.do("requests pass again", act)

    @rule()
    def what_is_late_arrives(self) -> None:
        self.do("what is late arrives", lambda: deliver(self.scene.every_life()))

    @precondition(lambda self: self.scene.lives)
    @rule(killed=st.booleans(), again=st.sampled_from([True, True, True, False]))
    def a_life_ends(self, killed: bool, again: bool) -> None:
        def act() -> None:
            life = next((found for found in self.scene.lives if found.daemon.leads()), self.scene.lives[0])
            self.scene.end_life(life, killed=killed)
            if again:
                self.scene.start_life()

        self.do(f"the daemon is {'killed' if killed else 'stopped'}{' and started again' if again else ''}", act)

    @precondition(lambda self: len(self.scene.lives) < 2)
    @rule()
    def another_replica_starts(self) -> None:
        self.do("another replica starts", self.scene.start_life)

    @precondition(lambda self: any(life.daemon.leads() for life in self.scene.lives))
    @rule(another=st.booleans())
    def the_leader_cannot_renew(self, another: bool) -> None:
        def act() -> None:
            leader = next(life for life in self.scene.lives if life.daemon.leads())
            leader.spoiler.order("refused", "lease", 1000)
            if another and len(self.scene.lives) < 2:
                self.scene.start_life()
            for _ in range(8):
                self.scene.jump(LEASE / 4)
            leader.spoiler.heal()

        self.do(
            f"the leader cannot renew its Lease for a while{', and there is another replica' if another else ''}",
            act,
        )


def machine(ground: Ground) -> type[Walk]:
    """The machine over one ground."""
    return type("WalkOnGround", (Walk,), {"ground": ground})
