"""The daemon's rights in a real cluster: all that it needs, none that it does not use, and nothing that others guard.

What was asked is read from the API server's audit log. What the daemon asks for is told from what a test asks with a
token of the same account by the pod that the token was made for.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.daemon import DAEMON, Daemon
from tests.cluster.setting import scenario
from tests.cluster.story import BAD, GOOD, Story
from tests.cluster.waiting import kubectl, until
from tests.cluster_api.harness import Api
from tests.packaging.rendered import ONE_NAMESPACE, of_kind, rules_of
from watcher.adapters.errors import AdapterError
from watcher.adapters.kubernetes import paths
from watcher.adapters.kubernetes.connection import MERGE_PATCH, Connection
from watcher.core.release import Phase
from watcher.demo.platform import manifests
from watcher.demo.platform.discovery import KubernetesTargets

AUDIT_LOG = os.environ.get("CLUSTER_AUDIT_LOG")
HANGS = "2.4.1-hangs"
Right = tuple[str, str, str]
"""Group, resource (with its subresource), verb."""

ROLES = {right for role in of_kind(ONE_NAMESPACE, "Role") for right in rules_of(role)}
"""What the daemon has beside one application. tests/packaging finds that it uses all of it, on the embedded cluster."""

ANYBODY = {
    ("authorization.k8s.io", "selfsubjectaccessreviews", "create"),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "create"),
    ("authentication.k8s.io", "selfsubjectreviews", "create"),
}
"""What Kubernetes lets everybody ask about themselves."""

JOB = {
    "name": "verify",
    "job": {
        "image": manifests.image(GOOD),
        "command": ["python3", "-c", f"import os, time; time.sleep(600 if os.environ['VERSION'] == '{HANGS}' else 0)"],
        "timeout": "2m",
    },
}
SMOKE = [{"name": "healthz", "http": {"path": "/healthz"}}]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the daemon's and what became of it."""

    right: Right
    allowed: bool
    path: str


def asked(account: str) -> list[Asked]:
    """What the pods of a service account have asked for, of resources."""
    assert AUDIT_LOG is not None
    found = []
    for line in Path(AUDIT_LOG).read_text("utf-8").splitlines():
        with suppress(ValueError):  # the last line may be half written
            entry = json.loads(line)
            user, about = entry["user"], entry.get("objectRef")
            by_pod = "authentication.kubernetes.io/pod-name" in user.get("extra", {})
            if about and by_pod and user["username"] == account:
                resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
                right = (about.get("apiGroup", ""), resource, entry["verb"])
                allowed = entry["annotations"]["authorization.k8s.io/decision"] == "allow"
                found.append(Asked(right, allowed, entry["requestURI"]))
    return found


def caller(kubeconfig: Path, namespace: str) -> Api:
    """The API server, asked with a token of the daemon's service account."""
    where = KubernetesTargets.from_kubeconfig(kubeconfig)
    token = kubectl("create", "token", DAEMON, "--namespace", namespace, "--duration=30m").strip()
    return Api(where.api_server, token, str(where.ca_file) if where.ca_file else None)


def granted(api: Api, namespace: str) -> set[Right]:
    """What the account may do there, as the API server's own authorizer says it."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    status = api.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)["status"]
    assert not status["incomplete"], status
    return set().union(*(rules_of({"rules": [rule]}) for rule in status["resourceRules"])) - ANYBODY


@contextmanager
def stirred(connection: Connection, namespace: str, name: str) -> Iterator[None]:
    """Somebody writes to the Release again and again, so that the daemon's own writes come too late now and then."""
    stop = threading.Event()

    def stir() -> None:
        count = 0
        while not stop.wait(0.02):
            count += 1
            with suppress(AdapterError):
                body = {"metadata": {"annotations": {"stirred": str(count)}}}
                connection.patch(paths.releases(namespace, name), body, MERGE_PATCH)

    thread = threading.Thread(target=stir, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.slow
@scenario(
    "rights",
    replicas=2,
    own_daemon=True,
    tests={"smoke": SMOKE, "verification": [JOB]},
    watch={"duration": "1s", "interval": "1s"},
    previous={"keep": "1s"},
    history=1,
    deadlines={"deploying": "60s"},
)
def test_the_daemon_is_refused_nothing_and_uses_every_right_that_it_has(
    story: Story, connection: Connection, kubeconfig: Path
) -> None:
    """A Job that hangs and is taken away, a version that crashes, and a good one whose Release others write to."""
    scene = story.scene
    namespace, hands = scene.namespace, scene.platform.hands
    story.when.released(HANGS, image=manifests.image(GOOD))
    until(lambda: bool(connection.get(paths.jobs(namespace))["items"]), "the Job to be there", 90, scene.told)
    hands.command(namespace, scene.asked().name, "abort", {"by": "the tests"})
    scene.follow(lambda release: release.phase is Phase.ABORTED, "the abort", 30)
    until(lambda: not connection.get(paths.jobs(namespace))["items"], "the Job to be gone", 30)

    story.when.released(BAD["crash-at-start"])
    story.then.it_ends(Phase.FAILED, "CrashLoop", "Its last lines:")

    story.given.autoscalers(maximum=4)
    story.when.released(GOOD)
    with stirred(connection, namespace, scene.asked().name):
        story.then.it_ends(Phase.COMPLETED, "")
    # By other hands: a Release of its own is made for it.
    hands.point_preview(namespace, manifests.APPLICATION, "color", "blue")

    account = f"system:serviceaccount:{namespace}:{DAEMON}"
    api = caller(kubeconfig, namespace)
    with api.session:
        rights = granted(api, namespace)
        assert granted(api, "default") == set()
    assert rights == ROLES
    if AUDIT_LOG is None:
        scene.note("no audit log here: what the daemon uses is what tests/packaging found, and that is what it has")
        return
    until(
        lambda: {row.right for row in asked(account)} >= rights, "every right to be used", 30, lambda: unused(account)
    )
    assert [row.path for row in asked(account) if not row.allowed] == []
    assert {row.right for row in asked(account)} == rights


def unused(account: str) -> str:
    return f"rights that nothing needs: {sorted(ROLES - {row.right for row in asked(account)})}"


DEFAULT = "/api/v1/namespaces/default"
RELEASES = "/apis/watcher.bluegreen.dev/v1alpha1/namespaces/default/releases"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{DEFAULT}/secrets"),
        ("GET", f"{DEFAULT}/secrets?watch=true"),
        ("GET", f"{DEFAULT}/secrets/any"),
        ("GET", "/api/v1/secrets"),
        ("GET", f"/api/v1/namespaces/{DAEMON}/secrets"),
        ("GET", "/api/v1/namespaces/kube-system/secrets"),
        ("POST", f"{DEFAULT}/serviceaccounts/default/token"),
        ("GET", f"{DEFAULT}/configmaps"),
        ("GET", "/api/v1/nodes"),
        ("POST", f"{DEFAULT}/pods"),
        ("DELETE", f"{DEFAULT}/pods/any"),
        ("POST", f"{DEFAULT}/pods/any/eviction"),
        ("GET", f"{DEFAULT}/pods/any/exec?command=id"),
        ("POST", f"{DEFAULT}/pods/any/exec?command=id"),
        ("POST", f"{DEFAULT}/pods/any/attach"),
        ("POST", f"{DEFAULT}/pods/any/portforward"),
        ("PATCH", f"{DEFAULT}/pods/any/ephemeralcontainers"),
        ("POST", "/apis/batch/v1/namespaces/default/jobs"),
        ("POST", "/apis/apps/v1/namespaces/default/deployments"),
        ("DELETE", "/apis/apps/v1/namespaces/default/deployments/any"),
        ("DELETE", f"{DEFAULT}/services/any"),
        ("PATCH", f"{RELEASES}/any"),
        ("PUT", f"{RELEASES}/any"),
        ("GET", "/apis/coordination.k8s.io/v1/namespaces/default/leases/any"),
        ("PATCH", f"/apis/coordination.k8s.io/v1/namespaces/{DAEMON}/leases/another"),
        ("PATCH", f"{RBAC}/clusterroles/{DAEMON}"),
        ("POST", f"{RBAC}/clusterrolebindings"),
        ("POST", f"{RBAC}/namespaces/{DAEMON}/roles"),
        ("POST", f"{RBAC}/namespaces/{DAEMON}/rolebindings"),
        ("PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/releases.watcher.bluegreen.dev"),
    ],
)
def test_what_the_daemon_has_no_business_with_is_refused(
    kubeconfig: Path, daemon: Daemon, method: str, path: str
) -> None:
    api = caller(kubeconfig, daemon.namespace)
    with api.session:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        status = api.refused(403, method, path, None if method in ("GET", "DELETE") else {}, type=kind)
    assert status["reason"] == "Forbidden"


def test_the_daemon_may_not_pass_for_somebody_else(kubeconfig: Path, daemon: Daemon) -> None:
    api = caller(kubeconfig, daemon.namespace)
    with api.session:
        for header in ({"Impersonate-User": "admin"}, {"Impersonate-User": "x", "Impersonate-Group": "system:masters"}):
            assert api.call("GET", f"{DEFAULT}/pods", headers=header).status_code == 403
