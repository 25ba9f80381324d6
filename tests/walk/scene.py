"""One scene of the walk: a pair, its files, the daemon's lives, and everything that can happen to them.

What always holds: whatever happened, `heal` takes it back and `converge` lets time pass until every Release has ended;
what does not end then is a finding, and so is each promise that was broken on the way.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.clock import HandClock
from tests.walk.journal import PREVIEW, SHOP, Journal
from tests.walk.lives import API, LEASE, Life, deliver, settle
from tests.walk.memory import FLOOR, INTERVAL, LIMIT, WARM_UP, breaches
from tests.walk.outside import Outside
from tests.walk.pretend import Pretend
from watcher.adapters.errors import AdapterError
from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import MERGE_PATCH
from watcher.adapters.kubernetes.hands import Hands
from watcher.core.release import Phase, Release

COLORS = ("blue", "green")
WATCH, KEEP = 20.0, 30.0
STEP = 2.0
"""Seconds that pass at most before everything comes to rest again."""
ANSWERS = "answers"
"""Whether Prometheus answers, as a metric."""
BACK_WITHIN = 45.0
"""Seconds in which traffic must be back once nothing hinders it: those in which all pods are waited for, and some."""
SEEN_WITHIN = INTERVAL
"""Seconds in which a breach that Prometheus remembers must lead back, once nothing hinders that: then it was asked."""

RULES = {
    "apiVersion": API,
    "kind": "RuleSet",
    "metadata": {"name": "walk"},
    "spec": {
        "rules": [
            {
                "name": "errors",
                "query": 'errors{color="{{ color }}"}',
                "window": "4s",
                "warmUp": f"{WARM_UP:g}s",
                "for": "0s",
                "threshold": {"above": LIMIT},
                "traffic": {"query": 'traffic{color="{{ color }}"}', "atLeast": FLOOR},
            },
            {
                "name": "lag",
                "query": 'lag{color="{{ color }}"}',
                "window": "4s",
                "warmUp": "0s",
                "for": "6s",
                "threshold": {"above": 10},
                "onBreach": "notify",
            },
        ]
    },
}

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "with approval": {"approval": "beforeSwitch"},
    "frozen": {"freezes": [{"from": "2000-01-01", "to": "2100-01-01"}]},
    "with health checks": {"tests": {"health": [{"http": {"path": "/", "within": "0s"}}]}},
    "with hooks": {
        "hooks": {
            point: [{"http": {"url": "URL"}}] for point in ("preSwitch", "postSwitch", "postRollback", "onFailure")
        }
    },
    "without preview": {"preview": None},
    "goes back if inconclusive": {"watch": {"onInconclusive": "rollback"}},
    "only observes": {"watch": {"mode": "observe"}},
    "ignores others": {"foreignFlips": "ignore"},
    "watches others": {"foreignFlips": "enforce"},
}
BROKEN = {
    "unknown key": "kind: Application\napiVersion: watcher.bluegreen.dev/v1alpha1\nmetadata: {name: shop}\nspeck: {}\n",
    "no YAML": "kind: [Application\n",
    "unknown rules": "",
}


class Scene:
    """A namespace and everything in it."""

    def __init__(self, number: int, cluster: Pretend, outside: Outside, clock: HandClock) -> None:
        self.clock, self.cluster, self.outside = clock, cluster, outside
        self.namespace = f"scene-{number}"
        self.journal = Journal(clock, self.namespace)
        self.hands = Hands(cluster.connection)
        self.files = cluster.directory / self.namespace
        self.files.mkdir()
        self.lives: list[Life] = []
        self._dead: list[Life] = []
        self._ends: list[threading.Thread] = []
        self._numbers = itertools.count(1)
        self._names = itertools.count(1)
        self._waits: dict[str, float] = {}
        self._watched: dict[tuple[str, datetime | None], float] = {}
        self._hindered = clock.seconds
        self._led: set[str] = set()
        """Who led when it was judged last."""
        self._last_spoilt = clock.seconds
        self._broken = False

    # -- given --------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Everything, and one daemon."""
        self.furnish()
        self.start_life()
        self.let_pass(1.0)

    def furnish(self) -> None:
        """A live blue, an idle green, a Service for each, and the files."""
        self.cluster.make_namespace(self.namespace)
        for color, replicas in (("blue", 2), ("green", 0)):
            self.make_deployment(color, replicas)
        self.make_service(SHOP, "blue")
        self.make_service(PREVIEW, "green")
        (self.files / "rules.yaml").write_text(json.dumps(RULES), "utf-8")
        self.edit("plain")
        for metric, value in ((ANSWERS, 1.0), ("errors", 1.0), ("traffic", 100.0), ("lag", 1.0)):
            self.outside.history.say(metric, self.clock.seconds - 60, value)

    def make_deployment(self, color: str, replicas: int) -> None:
        labels = {"app": SHOP, "color": color}
        spec = {"containers": [{"name": SHOP, "image": "shop:1", "ports": [{"containerPort": self.outside.port}]}]}
        body = {
            "metadata": {"name": f"{SHOP}-{color}"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }
        self.cluster.connection.create(paths.deployments(self.namespace), body)

    def make_service(self, name: str, color: str) -> None:
        spec = {"selector": {"app": SHOP, "color": color}, "ports": [{"port": self.outside.port}]}
        self.cluster.connection.create(paths.services(self.namespace), {"metadata": {"name": name}, "spec": spec})

    def edit(self, variant: str) -> None:
        """Write the Application file anew: one of the variants, or one that is broken."""
        text = BROKEN.get(variant, "")
        if not text:
            spec: dict[str, Any] = {
                "service": SHOP,
                "colors": {color: {"deployment": f"{SHOP}-{color}"} for color in COLORS},
                "preview": {"service": PREVIEW},
                "watch": {"duration": f"{WATCH:g}s", "interval": f"{INTERVAL:g}s", "rules": ["walk"]},
                "previous": {"keep": f"{KEEP:g}s"},
                "deadlines": {"deploying": "60s", "testing": "30s", "approval": "90s", "switching": "20s"},
            }
            for key, value in VARIANTS.get(variant, {"watch": {"rules": ["unknown"]}}).items():
                spec[key] = spec[key] | value if isinstance(spec.get(key), dict) and value else value
            spec = {key: value for key, value in spec.items() if value is not None}
            meta = {"name": SHOP, "namespace": self.namespace}
            text = json.dumps({"apiVersion": API, "kind": "Application", "metadata": meta, "spec": spec})
            text = text.replace('"URL"', f'"{self.outside.url}/hook"')
        digests = [life.daemon.config.digest for life in self.lives]
        (self.files / "application.yaml").write_text(text, "utf-8")
        self._broken = broken = variant in BROKEN
        for life, before in zip(self.lives, digests, strict=True):
            life.daemon.reload()
            life.daemon.reload()
            if broken and life.daemon.config.digest != before:
                self.journal.complain(f"S10: an invalid file ({variant}) came into force")
            if broken != bool(life.daemon.problems()):
                self.journal.complain(f"S10: the file {variant!r} is {'not ' if broken else ''}told as a problem")
            if life.daemon.measures.config_valid._value.get() != (0 if broken else 1):
                self.journal.complain(f"S10: the metric does not say that the file {variant!r} is as it is")

    # -- when ---------------------------------------------------------------------------------------------------------

    def start_life(self) -> None:
        """Another replica, or the next life of the only one."""
        if self._broken:
            self.edit("plain")  # a daemon does not start with a broken file; somebody mends it
        name = f"life{next(self._numbers)}"
        self.lives.append(Life(name, self.files, self.cluster, self.outside, self.journal, self.person_moves))

    def end_life(self, life: Life, *, killed: bool) -> None:
        self.lives.remove(life)
        self._dead.append(life)
        self._ends.append(life.kill() if killed else life.stop())

    def let_pass(self, seconds: float) -> None:
        """Let time pass as it does: in small steps, with everything at rest between them."""
        while seconds > 0:
            self.jump(min(seconds, STEP))
            seconds -= STEP

    def jump(self, seconds: float) -> None:
        """Let time pass at once, as for a process that was stopped meanwhile."""
        self.clock.seconds += seconds
        for life in self.lives:
            life.daemon.tick()
            life.daemon.look()
        self.rest()
        self.judge()

    def rest(self) -> None:
        settle(self.clock, self.lives, self.cluster, self.journal)
        if any(life.spoiler.spoils for life in self.lives):
            self._last_spoilt = self.clock.seconds

    def release(self, image: str, *, force: bool) -> str:
        name = f"release-{next(self._names)}"
        spec = {"application": SHOP, "version": image.partition(":")[2], "images": {SHOP: image}, "force": force}
        return self._create(name, spec)

    def roll_back_by_hand(self) -> str:
        name = f"back-{next(self._names)}"
        return self._create(name, {"application": SHOP, "rollback": {"by": "ada", "reason": "looks bad"}})

    def _create(self, name: str, spec: Mapping[str, Any]) -> str:
        meta = {"name": name, "namespace": self.namespace}
        self.hands.create_release(
            self.namespace, {"apiVersion": API, "kind": "Release", "metadata": meta, "spec": spec}
        )
        return name

    def command(self, name: str, field: str, *, on: bool = True) -> None:
        told = {"by": "ada", "reason": "because", "at": self.clock.now().isoformat()} if on else None
        with suppress(AdapterError):
            self.hands.command(self.namespace, name, field, told)

    def person_moves(self, color: str | None = None) -> None:
        """As kubectl patch does; to the other colour if none is named."""
        with suppress(AdapterError):
            service = self.hands.read_service(self.namespace, SHOP)
            if service is None:
                return
            now = service.view.selector.get("color", "")
            wanted = color if color is not None else ("green" if now == "blue" else "blue")
            body = {"spec": {"selector": {"color": wanted or None}}}
            self.cluster.connection.patch(paths.services(self.namespace, SHOP), body, MERGE_PATCH)

    def scale(self, color: str, replicas: int) -> None:
        with suppress(AdapterError):
            self.hands.scale(self.namespace, f"{SHOP}-{color}", replicas)

    def sicken(self, color: str, how: str) -> None:
        """From now on the colour's pods are unready, crash (once more each time), or are well again."""
        kubelet, place = self.cluster.kubelet, (self.namespace, color)
        if how == "crashing":
            kubelet.crashes[place] = kubelet.crashes.get(place, 0) + 1
        kubelet.sick[place] = how
        self.cluster.inside(lambda: kubelet.look_again(self.namespace))

    def delete(self, path: str) -> None:
        with suppress(AdapterError):
            self.cluster.connection.delete(path)

    def delete_pods(self, color: str) -> None:
        found = self.cluster.connection.get(paths.pods(self.namespace), labelSelector=f"color={color}")
        for pod in found["items"]:
            self.delete(paths.pods(self.namespace, pod["metadata"]["name"]))

    def measure(self, metric: str, value: float | None) -> None:
        self.outside.history.say(metric, self.clock.seconds, value)

    def prometheus_is(self, how: str) -> None:
        self.outside.metrics = how
        self.measure(ANSWERS, float(how in ("up", "slow")))

    # -- then ---------------------------------------------------------------------------------------------------------

    def running(self) -> list[Release]:
        with self.journal.lock:
            found = [s.last for s in self.journal.stories.values() if not s.deleted and not s.last.phase.terminal]
        return sorted(found, key=lambda release: release.name)

    def rejected(self) -> list[str]:
        """Images that were rolled back."""
        with self.journal.lock:
            ended = [s.last for s in self.journal.stories.values() if s.last.phase is Phase.ROLLED_BACK]
        return sorted({release.spec.images[SHOP] for release in ended if SHOP in release.spec.images})

    def judge(self) -> None:
        """What must hold whenever everything has come to rest."""
        self._judge_way_back()
        self._judge_watch()
        if self.journal.complaints:
            raise AssertionError("; ".join(self.journal.complaints))

    def _judge_way_back(self) -> None:
        """S2: nothing but the target's readiness, and an API server that answers, is needed to go back."""
        leads = [life for life in self.lives if life.daemon.leads()]
        for release in self.running():
            status, key = release.status, release.uid
            if release.phase is not Phase.ROLLING_BACK or status.colors is None or status.pinned is None or not leads:
                self._waits.pop(key, None)
                continue
            target = status.colors.to if release.is_rollback_only else status.colors.from_
            hindered = (
                self._last_spoilt == self.clock.seconds
                or self.journal.ready(target) < 1
                or any(life.behind() for life in leads)
                or self.journal.selected not in COLORS
            )
            if hindered or self.journal.selected == target:
                self._waits.pop(key, None)
            elif self.clock.seconds - self._waits.setdefault(key, self.clock.seconds) > BACK_WITHIN:
                waited = timedelta(seconds=self.clock.seconds - self._waits[key])
                self.journal.complain(f"S2: {release.name} waits to go back since {waited}: {status.message}")

    def _judge_watch(self) -> None:
        """S5, S8: what was breached in a watch leads back, whoever was away meanwhile, and however it looks by now."""
        leads = [life for life in self.lives if life.daemon.leads()]
        before, self._led = self._led, {life.name for life in leads}
        hindered = (
            not self._led & before  # who has just won the lead may not know yet
            or self._last_spoilt == self.clock.seconds
            or self.outside.metrics not in ("up", "slow")
            or any(life.behind() for life in leads)
            or self.journal.selected not in COLORS
        )
        now = self.clock.seconds
        self._hindered = now if hindered else self._hindered
        # What lies between the end of a watch and its extension is asked for once it is extended.
        watched = {(r.uid, r.status.watch_until): r for r in self.running() if r.phase is Phase.WATCHING}
        self._watched = {key: self._watched.get(key, now) for key in watched}
        for key, release in watched.items():
            found = breaches(release, self.outside.history, self.clock.now())
            since = max(self._hindered, self._watched[key], *found[:1])
            if found and now - since >= SEEN_WITHIN:
                at = datetime.fromtimestamp(found[0], UTC)
                self.journal.complain(
                    f"S5: {release.name} is watched on although Prometheus remembers a breach at {at:%H:%M:%S}"
                )

    def heal(self) -> None:
        """Take back everything that was done to the surroundings."""
        deliver(self.every_life())
        self.outside.heal()
        self.prometheus_is("up")
        for metric, value in (("errors", 1.0), ("traffic", 100.0), ("lag", 1.0)):
            self.measure(metric, value)
        for life in self.lives:
            life.spoiler.heal()
        self.edit("plain")
        if not self.lives:
            self.start_life()
        for color in COLORS:
            with suppress(AdapterError):
                self.make_deployment(color, 2)
            self.sicken(color, "")
        for name, color in ((SHOP, "blue"), (PREVIEW, "green")):
            with suppress(AdapterError):
                self.make_service(name, color)
        if self.journal.selected not in COLORS:
            self.person_moves("blue")
        for release in self.running():
            self.command(release.name, "pause", on=False)
            self.command(release.name, "approve")
            self.command(release.name, "overrideWindow")
        self.rest()

    def converge(self) -> None:
        """Let time pass until every Release has ended, which it must; who waits for a person meets one."""
        self.heal()
        waits = [1.0] * 8 + [LEASE / 2] * 4 + [STEP] * 20 + [10.0] * 30 + [60.0] * 20
        for wait in waits:
            held = [r for r in self.running() if any(c.reason == "Inconclusive" for c in r.status.conditions)]
            for release in held:
                self.command(release.name, "abort")
            if not self.running():
                self.let_pass(4.0)  # in which a flip that was somebody else's is noticed
                if not self.running():
                    break
            self.jump(wait)
        else:
            left = "; ".join(f"{r.name} {r.phase.value}: {r.status.message}" for r in self.running())
            self.journal.complain(f"S5: it does not end although everything is well again: {left}")
        self.judge()

    def end(self) -> list[threading.Thread]:
        """Kill what lives and take everything away; what dies slowly is returned."""
        for life in list(self.lives):
            self.end_life(life, killed=True)
        self.outside.heal()
        self.cluster.purge(self.namespace)
        return self._ends

    def every_life(self) -> list[Life]:
        """The dead ones too: what they sent may still arrive."""
        return [*self._dead, *self.lives]
