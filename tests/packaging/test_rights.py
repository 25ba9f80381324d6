"""The daemon's roles have every right that the daemon uses, and none that it does not."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.adapters.conftest import Server, reply
from tests.packaging.guard import Guard, guarded, right_for
from tests.packaging.rendered import ONE_NAMESPACE, of_kind, rules_of
from watcher.core.release import Phase
from watcher.demo.platform import manifests
from watcher.demo.stage import Stage

APPLICATION = """
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: Application
metadata: {name: chatbot-platform, namespace: chatbot-platform-prod}
spec:
  service: chatbot-platform
  colors: {blue: {deployment: chatbot-platform-blue}, green: {deployment: chatbot-platform-green}}
  preview: {service: chatbot-platform-preview}
  tests: {smoke: [{http: {path: /healthz}}]}
  # The service itself as a Job: it never ends, so it is taken away.
  hooks: {postSwitch: [{name: endless, job: {image: "chat:2.4.0", timeout: 2s}}]}
  previous: {keep: 1s}
  history: 1
"""

SETTINGS = """
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: Settings
notifications: [{name: chat, url: "%s"}]
"""

AUTOSCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "blue", "namespace": manifests.NAMESPACE},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": manifests.DEPLOYMENTS["blue"]},
        "maxReplicas": 4,
    },
}


@pytest.mark.parametrize(
    ("method", "target", "right"),
    [
        ("GET", "/token/api/v1/namespaces/a/services/b", ("", "services", "get")),
        ("GET", "/api/v1/namespaces/a/pods?watch=true", ("", "pods", "watch")),
        ("GET", "/api/v1/namespaces/a/pods?labelSelector=x", ("", "pods", "list")),
        ("GET", "/api/v1/namespaces/a/pods/b/log?container=c", ("", "pods/log", "get")),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b", ("apps", "deployments", "patch")),
        ("POST", "/api/v1/namespaces/a/events?fieldManager=x", ("", "events", "create")),
        ("GET", "/api/v1/nodes", ("", "/api/v1/nodes", "*")),
    ],
)
def test_a_request_needs_the_right_that_an_api_server_would_ask_for(
    method: str, target: str, right: tuple[str, str, str]
) -> None:
    assert right_for(method, target) == right


def test_with_exactly_the_roles_rights_releases_fail_with_their_logs_complete_and_go_back(
    tmp_path: Path,
) -> None:
    """A version that crashes at its start, then a good one, rolled back by hand, and a flip that somebody else makes:
    together they use every right, that to read a Release again after a conflict and to delete an old one included."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "application.yaml").write_text(APPLICATION, "utf-8")
    written = ("watcher.bluegreen.dev", "releases/status", "patch")
    guard = Guard({right for role in of_kind(ONE_NAMESPACE, "Role") for right in rules_of(role)}, conflicts={written})
    with closing(Server(lambda _, send, __: send(reply(204)))) as chat, Stage(config=(files,), rate=5.0) as stage:
        (files / "watcher.yaml").write_text(SETTINGS % chat.url, "utf-8")
        stage.stop_daemon()
        with guarded(stage.kubeconfig, tmp_path / "guarded", guard) as kubeconfig:
            stage.start_daemon(kubeconfig)
            crashing = stage.release(manifests.BAD_VERSIONS["crash-at-start"])
            failed = stage.follow(crashing, lambda r: r.phase.terminal, 60, "the crashing version to fail")
            assert (failed.phase, failed.status.reason) == (Phase.FAILED, "CrashLoop")
            assert "Its last lines" in failed.status.message

            stage.apply(AUTOSCALER)
            good = stage.release(manifests.GOOD_VERSION)
            stage.follow(good, lambda r: r.phase is Phase.WATCHING, 60, "the good version to be watched")
            stage.hands.command(good.namespace, good.name, "rollback", {"by": "a test"})
            back = stage.follow(good, lambda r: r.phase.terminal, 30, "the rollback")
            assert (back.phase, stage.active()) == (Phase.ROLLED_BACK, "blue")
            stage.select("green")
            stage.wait_for(lambda: guard.used == guard.allowed, "every right to be used", 60)
            stage.stop_daemon()

    assert guard.refused == set()
    assert guard.allowed - guard.used == set(), "rights that nothing needs"
