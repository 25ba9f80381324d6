"""What goes when something else goes: namespaces, owners and dependents."""

from __future__ import annotations

from tests.cluster_run.stage import NAMESPACE, Stage, http_probe, scenario
from watcher.demo.cluster.controllers.common import owner_reference
from watcher.demo.cluster.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    POD,
    REPLICA_SET,
    SERVICE_ACCOUNT,
)
from watcher.demo.cluster.resources import (
    NAMESPACE as NAMESPACE_KIND,
)
from watcher.demo.cluster.store import Object

READY = {"container": {"readinessProbe": http_probe("/readyz")}}


@scenario(namespaces=["shop"])
async def test_a_namespace_takes_its_contents_along(stage: Stage) -> None:
    """Pods end first, then everything is gone, the namespace last; others are not touched."""
    stage.store.create(CONFIG_MAP, {"metadata": {"name": "kept", "namespace": NAMESPACE}})
    stage.store.create(CONFIG_MAP, {"metadata": {"name": "lost", "namespace": "shop"}})
    deployment = stage.deployment("web", "web:1", pod=READY)
    deployment["metadata"] = {"name": "web", "namespace": "shop"}
    stage.store.create(DEPLOYMENT, deployment)
    await stage.until(
        lambda: stage.store.get(DEPLOYMENT, "shop", "web").get("status", {}).get("readyReplicas"), "ready"
    )

    def mark(found: Object) -> None:
        found["metadata"].update(deletionTimestamp=stage.store.timestamp(), finalizers=["example/hold"])

    stage.store.update(NAMESPACE_KIND, "", "shop", mark)
    await stage.until(lambda: stage.store.find(NAMESPACE_KIND, "", "shop") is None, "the namespace is gone")
    assert not stage.store.objects(POD, "shop")
    assert stage.store.find(CONFIG_MAP, "shop", "lost") is None
    assert stage.store.find(CONFIG_MAP, NAMESPACE, "kept")
    assert stage.pods("web")


@scenario()
async def test_a_new_namespace_gets_its_default_account(stage: Stage) -> None:
    """Also one that is made later."""
    stage.store.create(NAMESPACE_KIND, {"metadata": {"name": "later"}})
    await stage.until(lambda: stage.store.find(SERVICE_ACCOUNT, "later", "default"), "the account is there")


@scenario()
async def test_a_dependent_goes_with_its_last_owner(stage: Stage) -> None:
    """One of two owners left is enough to stay."""
    owners = [stage.store.create(CONFIG_MAP, settings(name)) for name in ("one", "two")]
    stage.store.create(CONFIG_MAP, settings("dependent", *owners))
    stage.store.delete(CONFIG_MAP, NAMESPACE, "one")
    stage.store.create(CONFIG_MAP, settings("probe", owners[0]))
    await stage.until(lambda: stage.store.find(CONFIG_MAP, NAMESPACE, "probe") is None, "what it owned alone is gone")
    assert stage.store.find(CONFIG_MAP, NAMESPACE, "dependent")
    stage.store.delete(CONFIG_MAP, NAMESPACE, "two")
    await stage.until(lambda: stage.store.find(CONFIG_MAP, NAMESPACE, "dependent") is None, "the dependent is gone")


@scenario()
async def test_an_orphaning_deletion_leaves_the_dependents(stage: Stage) -> None:
    """Without a reference to what is gone."""
    await _ready_deployment(stage)
    _delete_with(stage, "orphan")
    await stage.until(lambda: stage.store.find(DEPLOYMENT, NAMESPACE, "web") is None, "the deployment is gone")
    (replica_set,) = stage.store.objects(REPLICA_SET)
    assert "ownerReferences" not in replica_set["metadata"]
    assert len(stage.pods("web")) == 1


@scenario()
async def test_a_foreground_deletion_takes_the_dependents_first(stage: Stage) -> None:
    """The owner is there as long as one of them is."""
    await _ready_deployment(stage)
    _delete_with(stage, "foregroundDeletion")
    seen: list[tuple[bool, bool]] = []

    def gone() -> bool:
        there = stage.store.find(DEPLOYMENT, NAMESPACE, "web") is not None
        seen.append((there, bool(stage.store.objects(REPLICA_SET))))
        return not there

    await stage.until(gone, "the deployment is gone")
    assert (False, True) not in seen
    await stage.until(lambda: not stage.pods("web"), "the pods are gone")


def settings(name: str, *owners: Object) -> Object:
    references = [owner_reference(owner) for owner in owners]
    return {"metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": references}}


async def _ready_deployment(stage: Stage) -> None:
    stage.deployment("web", "web:1", pod=READY)
    await stage.until(lambda: stage.is_rolled_out("web"), "it is available")


def _delete_with(stage: Stage, finalizer: str) -> None:
    stage.store.update(DEPLOYMENT, NAMESPACE, "web", lambda found: found["metadata"].update(finalizers=[finalizer]))
    stage.store.delete(DEPLOYMENT, NAMESPACE, "web")
