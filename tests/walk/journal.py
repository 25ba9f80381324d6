"""What happened in the cluster, in order, and the promises that can be judged as it happens.

What always holds: it is told of every change by the cluster itself and of every request by the proxy before the daemon,
and believes nothing that the daemon says of itself where one of these knows better.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field

from tests.support.clock import HandClock
from tests.support.proxy import Request
from watcher.adapters.kubernetes.views import FLIP_ANNOTATION
from watcher.core.release import TERMINAL, Release, from_json
from watcher.demo.cluster.controllers.common import is_true, terminating
from watcher.demo.cluster.resources import DEPLOYMENT, LEASE, POD, SERVICE
from watcher.demo.cluster.store import Change, Object

SHOP, PREVIEW = "shop", "shop-preview"
RELEASES = "releases"


@dataclass(frozen=True, slots=True)
class Move:
    """One change of the live selector or of its mark. `uid` is the Release's whose mark is new; empty: a person's."""

    version: int
    at: float
    before: str
    color: str
    uid: str = ""
    index: int = 0


@dataclass
class Story:
    """One Release as the cluster showed it over time."""

    first: Release
    last: Release
    began: int = 0
    """The cluster's version at which it was let in."""
    deleted: bool = False
    latched: str = ""
    rules: str = ""


@dataclass
class Journal:
    """Everything of one namespace. `complaints` are promises that were seen broken."""

    clock: HandClock
    namespace: str
    complaints: list[str] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    stories: dict[str, Story] = field(default_factory=dict)
    selected: str = ""
    quiet: int = 0
    """How often everything has come to rest: what was on its way before has arrived by then."""

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.replicas: dict[str, int] = {}
        self._pods: dict[str, tuple[str, bool]] = {}
        self._pod_versions: dict[str, int] = {}
        self._dead_since: dict[str, int] = {"blue": 0, "green": 0}
        self._version = 0
        self._mark = ""
        self._looked: dict[str, int] = {}
        self._sent: dict[str, int] = {}
        self._holder: tuple[str, int] = ("", 0)
        self._identity: dict[str, str] = {}
        self._people = 0
        self._lease = ""
        self._lease_asked: dict[str, float] = {}
        self._base: dict[str, str] = {}

    def complain(self, words: str) -> None:
        with self.lock:
            if words not in self.complaints:
                self.complaints.append(words)

    def lease_is_due(self, life: str, every: float) -> bool:
        """Whether a life should have asked for the Lease by now, and has not."""
        with self.lock:
            return self.clock.seconds - self._lease_asked.get(life, float("-inf")) >= every

    def ready(self, color: str) -> int:
        with self.lock:
            return sum(ready for of, ready in self._pods.values() if of == color)

    # -- what the cluster says ----------------------------------------------------------------------------------------

    def note(self, change: Change, heard: bool) -> None:
        """Called in the cluster's own thread, twice for each change: as it is made, and when it is heard of."""
        meta = change.object["metadata"]
        if meta.get("namespace") != self.namespace:
            return
        with self.lock:
            gone = change.type == "DELETED"
            if change.kind == POD:
                self._pod(change.version, change.object, gone=gone, heard=heard)
            if heard:
                return
            self._version = change.version
            if change.kind == SERVICE and meta["name"] == SHOP:
                self._service(change.object, gone=gone)
            elif change.kind == DEPLOYMENT:
                self.replicas[meta["name"]] = 0 if gone else change.object["spec"].get("replicas", 1)
            elif change.kind == LEASE:
                holder = (change.object.get("spec") or {}).get("holderIdentity", "")
                self._lease = json.dumps(change.object.get("spec"))
                if holder != self._holder[0]:
                    self._holder = (holder, self.quiet)
            elif change.kind.plural == RELEASES:
                self._release(change.object, gone=gone)

    def _pod(self, version: int, pod: Object, *, gone: bool, heard: bool) -> None:
        """A pod counts as ready from when it is, and as dead only once the EndpointSlices can say so."""
        name, color = pod["metadata"]["name"], pod["metadata"].get("labels", {}).get("color", "")
        ready = not gone and is_true(pod, "Ready") and not terminating(pod)
        if ready == heard or version < self._pod_versions.get(name, 0):
            return
        before = self.ready(color)
        self._pod_versions[name] = version
        self._pods[name] = (color, ready)
        if before and not self.ready(color):
            self._dead_since[color] = self._version

    def _service(self, service: Object, *, gone: bool) -> None:
        color = "" if gone else (service["spec"].get("selector") or {}).get("color", "")
        mark = "" if gone else (service["metadata"].get("annotations") or {}).get(FLIP_ANNOTATION, "").partition(" ")[0]
        before, ours = self.selected, bool(mark) and mark != self._mark
        if color == before and not ours:
            return
        uid, _, index = mark.partition("/")
        self.selected = color
        self._mark = mark or self._mark
        if not ours:
            self._people += 1
            self.moves.append(Move(self._version, self.clock.seconds, before, color))
            return
        self.moves.append(Move(self._version, self.clock.seconds, before, color, uid, int(index)))
        self._judge_swap(uid, mark, before, color)

    def _judge_swap(self, uid: str, mark: str, before: str, color: str) -> None:
        story = self.stories.get(uid)
        if story is None or story.last.status.colors is None:
            self.complain(f"S3: the selector moved to {color} for a Release that had not begun ({mark})")
            return
        colors = story.last.status.colors
        expected = self._base.get(uid, colors.to if story.last.spec.foreign_flip else colors.from_)
        if before != expected:
            self.complain(f"S3: {mark} moved the selector from {before!r} to {color}, {expected!r} was expected there")
        if self._sent.get(mark, self._people) != self._people:
            self.complain(f"S3: {mark} landed although a person had moved the selector since it was sent")
        self._base[uid] = color

    def _release(self, raw: Object, *, gone: bool) -> None:
        release = from_json(raw)
        story = self.stories.setdefault(release.uid, Story(release, release))
        if gone:
            story.deleted = True
            return
        status, old = release.status, story.last.status
        if status.started_at and not story.began:
            story.began = self._version
        if old.phase in TERMINAL and status.phase is not old.phase:
            self.complain(f"S5: {release.name} had ended as {old.phase}, and became {status.phase}")
        if story.latched and (status.rollback is None or status.verdict != "rollback"):
            self.complain(f"S8: {release.name} had the verdict rollback ({story.latched}), and lost it")
        if status.rollback:
            if story.latched and status.rollback.code != story.latched:
                self.complain(f"S8: {release.name} went back for {story.latched}, and now for {status.rollback.code}")
            story.latched = status.rollback.code
        if status.switched_at and status.pinned:
            rules = json.dumps([rule.model_dump(mode="json") for rule in status.pinned.rules])
            if story.rules and rules != story.rules:
                self.complain(f"S10: {release.name} changed the rules that it had started its watch with")
            story.rules = rules
        if list(old.flips) != list(status.flips[: len(old.flips)]):
            self.complain(f"S5: {release.name} forgot a flip: {old.flips} became {status.flips}")
        story.last = release

    # -- what the daemon asks -----------------------------------------------------------------------------------------

    def asked(self, life: str, request: Request) -> None:
        """Called for each request of a daemon's life before anything is done with it."""
        with self.lock:
            if "/leases" in request.path:
                self._lease_asked[life] = self.clock.seconds
            if request.method == "GET":
                if request.path.endswith("/endpointslices") and request.query.endswith(f"service-name%3D{SHOP}"):
                    self._looked[life] = self._version
                return
            if "/leases" in request.path:
                found = re.search(rb'"holderIdentity": ?"([^"]+)"', request.body)
                if found:
                    self._identity[life] = found.group(1).decode()
                return
            self._judge_leader(life, request)
            if is_swap(request):
                self._judge_target(life, request)
            elif request.method == "PATCH" and "/deployments/" in request.path:
                self._judge_scaling(request)

    def _judge_leader(self, life: str, request: Request) -> None:
        holder, since = self._holder
        if holder and holder != self._identity.get(life) and self.quiet - since > 2:
            words = f"S6: {life} sent {request.method} {request.path} although {holder} leads"
            self.complain(f"{words}; the Lease says {self._lease}")

    def _judge_target(self, life: str, request: Request) -> None:
        text = request.body.decode()
        mark = re.search(r"([0-9a-f-]{36}/\d+) ", text)
        if mark:
            self._sent[mark.group(1)] = self._people
        color = re.findall(r"\b(blue|green)\b", text)[-1]
        looked = self._looked.get(life)
        if looked is None:
            self.complain(f"S1: {life} flips to {color} and has never looked at any endpoints")
        elif not self.ready(color) and self._dead_since[color] <= looked:
            self.complain(f"S1: {life} flips to {color}, which had no ready endpoint when it last looked nor since")

    def _judge_scaling(self, request: Request) -> None:
        name = request.path.rpartition("/")[2]
        wanted = (json.loads(request.body).get("spec") or {}).get("replicas")
        if wanted is None or wanted >= self.replicas.get(name, 0):
            return
        color = name.removeprefix(f"{SHOP}-")
        if color == self.selected:
            self.complain(f"S4: {name} is scaled to {wanted} while its colour is live")
        moved = [s for s in self.stories.values() if s.last.status.switched_at and not s.deleted]
        if not moved:
            return
        release = max(moved, key=lambda s: s.last.status.switched_at or s.last.created_at).last
        status = release.status
        if status.colors is None or status.pinned is None or status.colors.from_ != color:
            return
        keep = status.pinned.application.spec.previous.keep.total_seconds()
        if status.ended_at is None:
            self.complain(f"S4: {name} is scaled to {wanted} while it is the way back of {release.name}")
        elif status.phase == "Completed" and self.clock.seconds < status.ended_at.timestamp() + keep - 0.001:
            self.complain(f"S4: {name} is scaled to {wanted} before the keep-time of {release.name} has passed")


def is_swap(request: Request) -> bool:
    """Whether a request moves the live selector for a Release."""
    return (
        request.method == "PATCH"
        and request.path.endswith(f"/services/{SHOP}")
        and FLIP_ANNOTATION.encode() in request.body.replace(b"~1", b"/")
    )
