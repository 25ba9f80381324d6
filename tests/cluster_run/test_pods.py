"""Pods as real processes: how they start, fail, are probed, and end."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path

from tests.cluster_run.stage import NAMESPACE, Stage, alive, http_probe, scenario
from watcher.demo.cluster.controllers.common import delete_pod
from watcher.demo.cluster.resources import CONFIG_MAP, EVENT, POD, SECRET


@scenario()
async def test_a_pod_is_a_process_that_answers_on_its_own_address(stage: Stage) -> None:
    """A scheduled pod gets an address, its process listens there, and the status says so."""
    stage.pod("web", "web:1.7", container={"readinessProbe": http_probe("/readyz")})
    await stage.until(lambda: stage.is_ready("web"), "the pod is ready")
    status = stage.status("web")
    assert status["phase"] == "Running"
    assert status["podIP"].startswith(stage.machine.block.prefix)
    assert await stage.get(status["podIP"]) == "1.7"
    row = stage.container("web")
    assert (row["ready"], row["started"], row["restartCount"]) == (True, True, 0)
    assert row["imageID"].startswith("web@sha256:")
    reasons = {event["reason"] for event in stage.store.objects(EVENT, NAMESPACE)}
    # On a busy machine the first probe may come before the process listens.
    assert sorted(reasons - {"Unhealthy"}) == ["Created", "Pulled", "Pulling", "Scheduled", "Started"]


@scenario()
async def test_an_image_by_digest_is_known_by_its_digest(stage: Stage) -> None:
    """A digest reference is looked up as it is, and is its own image id."""
    stage.pod("web", "web@sha256:abc")
    await stage.until(lambda: stage.status("web").get("phase") == "Running", "the pod runs")
    assert stage.container("web")["imageID"] == "web@sha256:abc"


@scenario()
async def test_the_environment_comes_from_spec_configmaps_secrets_and_downward_api(stage: Stage) -> None:
    """Values, references, whole maps and fields of the pod arrive in the process; nothing else of ours does."""
    meta = {"namespace": NAMESPACE}
    stage.store.create(
        CONFIG_MAP, {"metadata": {**meta, "name": "settings"}, "data": {"level": "high", "MODE": "fast"}}
    )
    secret = {"metadata": {**meta, "name": "keys"}, "data": {"token": base64.b64encode(b"s3cret").decode()}}
    stage.store.create(SECRET, secret)
    env = [
        {"name": "PLAIN", "value": "one"},
        {"name": "DERIVED", "value": "$(PLAIN)-two"},
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "none", "key": "x", "optional": True}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    show = ["{python}", "-c", "import os; print(chr(10).join(f'{k}={v}' for k, v in sorted(os.environ.items())))"]
    container = {"env": env, "envFrom": [{"configMapRef": {"name": "settings"}}], "command": show}
    stage.pod("env", "done:9", restartPolicy="Never", container=container)
    await stage.until(lambda: stage.status("env").get("phase") == "Succeeded", "the pod ends")
    printed = dict(line.split("=", 1) for line in (logs(stage, "env") or "").splitlines())
    address = stage.status("env")["podIP"]
    expected = {
        "PLAIN": "one",
        "DERIVED": "one-two",
        "LEVEL": "high",
        "MODE": "fast",
        "TOKEN": "s3cret",
        "APP": "env",
        "NODE": "embedded",
        "ADDRESS": address,
        "POD_IP": address,
        "POD_NAME": "env",
        "IMAGE": "done:9",
        "IMAGE_TAG": "9",
    }
    assert {name: printed.get(name) for name in expected} == expected
    assert "ABSENT" not in printed
    assert "PYTEST_CURRENT_TEST" not in printed


@scenario()
async def test_a_reference_that_leads_nowhere_keeps_the_container_from_starting(stage: Stage) -> None:
    """A missing ConfigMap is CreateContainerConfigError, until it is there."""
    env = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "x"}}}]
    stage.pod("web", "web:1", container={"env": env})
    await stage.until(lambda: stage.waits_for("web") == "CreateContainerConfigError", "the pod waits")
    assert stage.container("web")["state"]["waiting"]["message"] == 'configmap "late" not found'
    stage.store.create(CONFIG_MAP, {"metadata": {"name": "late", "namespace": NAMESPACE}, "data": {"x": "1"}})
    await stage.until(lambda: stage.status("web").get("phase") == "Running", "the pod runs")


@scenario()
async def test_an_unknown_image_is_pulled_again_and_again(stage: Stage) -> None:
    """ErrImagePull, then ImagePullBackOff with the kubelet's message and Events; the pod stays Pending."""
    stage.pod("web", "registry.example/none:1")
    await stage.until(lambda: stage.waits_for("web") == "ErrImagePull", "the pull fails")
    await stage.until(lambda: stage.waits_for("web") == "ImagePullBackOff", "the kubelet backs off")
    message = stage.container("web")["state"]["waiting"]["message"]
    assert message.startswith('Back-off pulling image "registry.example/none:1": ErrImagePull:')
    assert stage.status("web")["phase"] == "Pending"
    assert stage.said("Failed", "Error: ErrImagePull")
    assert stage.said("BackOff", "Back-off pulling image")
    await stage.until(lambda: any(event["count"] > 1 for event in stage.events("Pulling")), "another pull is counted")


@scenario(cpu="2")
async def test_a_pod_that_does_not_fit_waits_until_there_is_room(stage: Stage) -> None:
    """Unschedulable with the scheduler's sentence, and scheduled once another pod is gone."""
    big = {"resources": {"requests": {"cpu": "1500m"}}}
    first = stage.pod("first", "sleep:1", container=big)
    await stage.until(lambda: stage.is_ready("first"), "the first pod runs")
    stage.pod("second", "sleep:1", container=big)
    row = await stage.until(lambda: stage.condition("second", "PodScheduled"), "the scheduler has looked")
    assert (row["status"], row["reason"]) == ("False", "Unschedulable")
    assert row["message"].startswith("0/1 nodes are available: 1 Insufficient cpu.")
    assert stage.status("second")["phase"] == "Pending"
    assert stage.said("FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.")
    delete_pod(stage.store, first)
    await stage.until(lambda: stage.is_ready("second"), "the second pod runs")


@scenario(pods=1)
async def test_a_node_takes_no_more_pods_than_it_says(stage: Stage) -> None:
    """Unschedulable with the scheduler's sentence, and scheduled once another pod is gone."""
    first = stage.pod("first", "sleep:1")
    await stage.until(lambda: stage.is_ready("first"), "the first pod runs")
    stage.pod("second", "sleep:1")
    row = await stage.until(lambda: stage.condition("second", "PodScheduled"), "the scheduler has looked")
    assert row["message"].startswith("0/1 nodes are available: 1 Too many pods.")
    delete_pod(stage.store, first)
    await stage.until(lambda: stage.is_ready("second"), "the second pod runs")


@scenario()
async def test_a_container_that_crashes_is_restarted_with_growing_pauses(stage: Stage) -> None:
    """CrashLoopBackOff with lastState, a growing restartCount, the previous run's log, and an Event that counts."""
    stage.pod("bad", "crash:1")
    await stage.until(lambda: stage.waits_for("bad") == "CrashLoopBackOff", "the kubelet backs off")
    row = stage.container("bad")
    last = row["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (3, "Error")
    assert last["finishedAt"]
    assert row["restartCount"] >= 1
    assert not row["ready"]
    uid = stage.store.get(POD, NAMESPACE, "bad")["metadata"]["uid"]
    message = row["state"]["waiting"]["message"]
    assert message == f"back-off 0.2s restarting failed container=main pod=bad_default({uid})"
    await stage.until(lambda: stage.container("bad")["restartCount"] >= 3, "it is tried again")
    assert logs(stage, "bad", previous=True) == "going down\n"
    assert (
        stage.events("BackOff")[0]["message"] == f"Back-off restarting failed container main in pod bad_default({uid})"
    )


@scenario()
async def test_a_container_above_its_memory_limit_is_killed(stage: Stage) -> None:
    """OOMKilled with exit code 137, then restarted."""
    stage.pod("hog", "hog:1", container={"resources": {"limits": {"memory": "64Mi"}}})
    await stage.until(lambda: stage.container("hog").get("restartCount"), "it is killed and restarted")
    last = stage.container("hog")["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "OOMKilled")


@scenario()
async def test_a_container_within_its_memory_limit_is_left_alone(stage: Stage) -> None:
    """The limit counts what is really held."""
    stage.pod("hog", "hog:1", container={"resources": {"limits": {"memory": "256Mi"}}})
    await stage.until(lambda: stage.status("hog").get("phase") == "Running", "it runs")
    await asyncio.sleep(2.2)  # two samples of memory
    assert stage.container("hog")["restartCount"] == 0


@scenario()
async def test_a_failing_liveness_probe_restarts_the_container(stage: Stage) -> None:
    """Unhealthy and Killing Events, a new process, and the pod is well again once the cause is gone."""
    container = {
        "env": [{"name": "GATE", "value": str(stage.directory)}],
        "startupProbe": http_probe("/", failureThreshold=1000),
        "livenessProbe": http_probe("/livez", failureThreshold=2),
    }
    stage.pod("web", "web:1", container=container)
    await stage.until(lambda: stage.is_ready("web"), "the pod runs")
    before = stage.pid("web")
    (stage.directory / "sick").touch()
    await stage.until(lambda: stage.said("Killing", "failed liveness probe, will be restarted"), "it is killed")
    assert stage.said("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500")
    (stage.directory / "sick").unlink()
    await stage.until(lambda: stage.container("web")["restartCount"] and stage.is_ready("web"), "it is back")
    assert stage.pid("web") != before
    assert not alive(before)


@scenario()
async def test_readiness_waits_for_the_startup_probe(stage: Stage) -> None:
    """Until the startup probe has passed the container is neither started nor ready."""
    container = {
        "env": [{"name": "GATE", "value": str(stage.directory)}],
        "startupProbe": http_probe("/readyz", failureThreshold=1000),
    }
    stage.pod("web", "web:1", container=container)
    await stage.until(lambda: stage.events("Unhealthy"), "the startup probe has been asked")
    row = stage.container("web")
    assert (row["started"], row["ready"]) == (False, False)
    (stage.directory / "web").touch()
    await stage.until(lambda: stage.is_ready("web"), "the pod is ready")
    assert stage.container("web")["started"]


@scenario()
async def test_a_failing_startup_probe_restarts_the_container(stage: Stage) -> None:
    """And the pod is never ready meanwhile."""
    container = {
        "env": [{"name": "GATE", "value": str(stage.directory)}],
        "startupProbe": http_probe("/readyz", failureThreshold=2),
    }
    stage.pod("web", "web:1", container=container)
    await stage.until(lambda: stage.container("web").get("restartCount"), "it is restarted")
    assert stage.said("Killing", "Container main failed startup probe, will be restarted")
    assert not stage.is_ready("web")


@scenario()
async def test_a_probe_that_takes_too_long_has_failed(stage: Stage) -> None:
    """The timeout is the probe's, and the Event says so."""
    container = {"readinessProbe": http_probe("/slow", timeoutSeconds=0.1)}
    stage.pod("web", "web:1", container=container)
    await stage.until(lambda: stage.said("Unhealthy", "context deadline exceeded"), "the probe times out")
    assert not stage.is_ready("web")


@scenario()
async def test_exec_and_tcp_probes_decide_too(stage: Stage) -> None:
    """An exec probe runs in the container's environment; a TCP probe needs a listener."""
    flag = stage.directory / "flag"
    by_exec = {"exec": {"command": ["test", "-e", str(flag)]}, "periodSeconds": 0.2, "timeoutSeconds": 5}
    by_tcp = {"tcpSocket": {"port": "http"}, "periodSeconds": 0.2, "failureThreshold": 1}
    stage.pod("by-exec", "sleep:1", container={"readinessProbe": by_exec})
    stage.pod("by-tcp", "web:1", container={"readinessProbe": by_tcp})
    stage.pod("deaf", "sleep:1", container={"readinessProbe": by_tcp})
    await stage.until(lambda: stage.is_ready("by-tcp"), "somebody listens")
    await stage.until(lambda: stage.said("Unhealthy", "Readiness probe failed: dial tcp"), "nobody listens there")
    assert not stage.is_ready("by-exec")
    assert not stage.is_ready("deaf")
    flag.touch()
    await stage.until(lambda: stage.is_ready("by-exec"), "the command succeeds")


@scenario()
async def test_a_deleted_pod_gets_sigterm_and_goes_when_it_has_ended(stage: Stage) -> None:
    """The object stays, marked, as long as the process does."""
    stage.pod("web", "web:1", container={"readinessProbe": http_probe("/readyz")})
    await stage.until(lambda: stage.is_ready("web"), "the pod is ready")
    pid = stage.pid("web")
    delete_pod(stage.store, stage.store.get(POD, NAMESPACE, "web"))
    assert stage.store.get(POD, NAMESPACE, "web")["metadata"]["deletionTimestamp"]
    await stage.until(lambda: stage.store.find(POD, NAMESPACE, "web") is None, "the pod is gone")
    assert not alive(pid)
    assert stage.said("Killing", "Stopping container main")


@scenario()
async def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace(stage: Stage) -> None:
    """Not before the grace period is over, and soon after."""
    container = {"env": [{"name": "DEAF", "value": "1"}], "readinessProbe": http_probe("/readyz")}
    stage.pod("web", "web:1", terminationGracePeriodSeconds=1, container=container)
    await stage.until(lambda: stage.is_ready("web"), "the pod is ready")
    pid = stage.pid("web")
    began = time.monotonic()
    delete_pod(stage.store, stage.store.get(POD, NAMESPACE, "web"))
    await stage.until(lambda: stage.store.find(POD, NAMESPACE, "web") is None, "the pod is gone")
    assert time.monotonic() - began >= 1.0
    assert not alive(pid)


@scenario()
async def test_a_second_deletion_can_shorten_the_grace(stage: Stage) -> None:
    """As `kubectl delete --grace-period=0` does to a pod that hangs."""
    container = {"env": [{"name": "DEAF", "value": "1"}], "readinessProbe": http_probe("/readyz")}
    stage.pod("web", "web:1", terminationGracePeriodSeconds=600, container=container)
    await stage.until(lambda: stage.is_ready("web"), "the pod is ready")
    delete_pod(stage.store, stage.store.get(POD, NAMESPACE, "web"))
    await stage.until(lambda: stage.events("Killing"), "the end has begun")
    delete_pod(stage.store, stage.store.get(POD, NAMESPACE, "web"), grace=0)
    await stage.until(lambda: stage.store.find(POD, NAMESPACE, "web") is None, "the pod is gone")


@scenario()
async def test_a_pod_that_is_deleted_by_force_does_not_linger(stage: Stage) -> None:
    """Its object is gone at once, and its process soon after, however long its grace would have been."""
    container = {"env": [{"name": "DEAF", "value": "1"}], "readinessProbe": http_probe("/readyz")}
    stage.pod("web", "web:1", terminationGracePeriodSeconds=600, container=container)
    await stage.until(lambda: stage.is_ready("web"), "the pod is ready")
    pid = stage.pid("web")
    stage.store.delete(POD, NAMESPACE, "web")
    await stage.until(lambda: not alive(pid), "the process is gone")


@scenario()
async def test_last_words_become_the_termination_message_when_asked(stage: Stage) -> None:
    """terminationMessagePolicy: FallbackToLogsOnError."""
    container = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    stage.pod("bad", "crash:1", restartPolicy="Never", container=container)
    await stage.until(lambda: stage.status("bad").get("phase") == "Failed", "it fails")
    assert stage.container("bad")["state"]["terminated"]["message"] == "going down"


@scenario()
async def test_a_stop_hook_runs_before_sigterm(stage: Stage) -> None:
    """preStop is over before the process hears anything."""
    mark = stage.directory / "mark"
    ask = (
        "import os, urllib.request as u; print(u.urlopen('http://' + os.environ['POD_IP'] + ':8080', timeout=3).read())"
    )
    container = {
        "readinessProbe": http_probe("/readyz"),
        "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", f'python3 -c "{ask}" > {mark}']}}},
    }
    stage.pod("web", "web:1", container=container)
    await stage.until(lambda: stage.is_ready("web"), "the pod is ready")
    delete_pod(stage.store, stage.store.get(POD, NAMESPACE, "web"))
    await stage.until(lambda: stage.store.find(POD, NAMESPACE, "web") is None, "the pod is gone")
    assert mark.read_text() == "b'1'\n"


@scenario()
async def test_children_of_a_container_end_with_it(stage: Stage) -> None:
    """Whatever a container started goes when its main process does."""
    stage.pod("parent", "parent:1")
    child = int(await stage.until(lambda: logs(stage, "parent") or "", "the child has started"))
    assert alive(child)
    delete_pod(stage.store, stage.store.get(POD, NAMESPACE, "parent"), grace=0)
    await stage.until(lambda: stage.store.find(POD, NAMESPACE, "parent") is None, "the pod is gone")
    await stage.until(lambda: not alive(child), "the child is gone")


@scenario()
async def test_init_containers_run_first_and_in_order(stage: Stage) -> None:
    """The main container starts after all of them have succeeded."""
    trace = stage.directory / "trace"

    def step(name: str) -> dict[str, object]:
        return {"name": name, "image": "done:1", "command": ["sh", "-c", f"echo {name} >> {trace}"]}

    container = {"command": ["sh", "-c", f"echo main >> {trace}; exec sleep 600"]}
    stage.pod("web", "sleep:1", initContainers=[step("first"), step("second")], container=container)
    await stage.until(lambda: stage.is_ready("web"), "the pod runs")
    await stage.until(lambda: len(_lines(trace)) == 3, "all have written")
    assert _lines(trace) == ["first", "second", "main"]
    assert stage.condition("web", "Initialized")["status"] == "True"


@scenario()
async def test_a_restart_policy_decides_what_becomes_of_a_pod_that_ends(stage: Stage) -> None:
    """Never: Succeeded or Failed. OnFailure: only a failure is tried again."""
    stage.pod("good", "done:1", restartPolicy="Never")
    stage.pod("bad", "crash:1", restartPolicy="Never")
    stage.pod("again", "crash:1", restartPolicy="OnFailure")
    await stage.until(lambda: stage.status("good").get("phase") == "Succeeded", "it ends well")
    await stage.until(lambda: stage.status("bad").get("phase") == "Failed", "it ends badly")
    await stage.until(lambda: stage.container("again").get("restartCount"), "it is tried again")
    assert stage.container("good")["state"]["terminated"]["reason"] == "Completed"
    assert stage.condition("good", "Ready")["reason"] == "PodCompleted"
    assert stage.container("bad")["restartCount"] == 0


@scenario()
async def test_a_command_that_cannot_be_run_is_a_start_error(stage: Stage) -> None:
    """As the runtime reports it: exit code 128."""
    stage.pod("web", "web:1", restartPolicy="Never", container={"command": ["/nowhere/at/all"]})
    await stage.until(lambda: stage.status("web").get("phase") == "Failed", "it fails")
    ended = stage.container("web")["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")


def logs(stage: Stage, pod: str, *, previous: bool = False) -> str | None:
    return stage.machine.logs(NAMESPACE, pod, "main", previous)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
