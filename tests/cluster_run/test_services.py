"""Services as listening ports: who gets a new connection, and what becomes of the old ones."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.cluster_run.stage import NAMESPACE, PORT, Stage, fetch, http_probe, scenario
from watcher.demo.cluster.controllers.common import delete_pod
from watcher.demo.cluster.resources import ENDPOINT_SLICE, POD, SERVICE

READY = {"container": {"readinessProbe": http_probe("/readyz")}}


def gated(stage: Stage) -> dict[str, object]:
    """A pod that is ready as long as a file of its name lies in the test's directory."""
    gate = {"name": "GATE", "value": str(stage.directory)}
    return {"container": {"env": [gate], "readinessProbe": http_probe("/readyz")}}


@scenario()
async def test_readiness_decides_who_is_an_endpoint(stage: Stage) -> None:
    """A pod that is not ready is listed as such and gets nothing; the Service refuses while none is ready."""
    stage.service("web", app="web")
    stage.pod("web", "web:1", **gated(stage))
    await stage.until(lambda: stage.endpoints("web") and stage.events("Unhealthy"), "the pod is probed")
    assert stage.endpoints("web")["web"] == {"ready": False, "serving": False, "terminating": False}
    with pytest.raises(ConnectionRefusedError):
        await fetch(stage.address("web"))
    (stage.directory / "web").touch()
    await stage.until(lambda: stage.ready_endpoints("web") == ["web"], "the endpoint is ready")
    assert await fetch(stage.address("web")) == "1"
    (stage.directory / "web").unlink()
    await stage.until(lambda: not stage.ready_endpoints("web"), "the endpoint is not ready")
    with pytest.raises(ConnectionRefusedError):
        await fetch(stage.address("web"))


@scenario()
async def test_a_slice_names_its_pods_and_ports(stage: Stage) -> None:
    """As clients read it: by label, with resolved port numbers and references to pods."""
    stage.service("web", app="web")
    stage.pod("web", "web:1", **READY)
    await stage.until(lambda: stage.ready_endpoints("web"), "the endpoint is ready")
    (found,) = stage.store.objects(ENDPOINT_SLICE, NAMESPACE)
    assert found["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
    assert found["ports"] == [{"name": "http", "port": PORT, "protocol": "TCP"}]
    (row,) = found["endpoints"]
    assert row["addresses"] == [stage.status("web")["podIP"]]
    assert row["targetRef"]["uid"] == stage.store.get(POD, NAMESPACE, "web")["metadata"]["uid"]
    stage.store.delete(SERVICE, NAMESPACE, "web")
    await stage.until(lambda: not stage.store.objects(ENDPOINT_SLICE), "the slice goes with its Service")


@scenario()
async def test_connections_take_turns(stage: Stage) -> None:
    """Round robin over the ready pods."""
    stage.service("web", role="web")
    for tag in ("1", "2", "3"):
        stage.deployment(f"web{tag}", f"web:{tag}", labels={"role": "web"}, pod=READY)
    await stage.until(lambda: len(stage.ready_endpoints("web")) == 3, "all are ready")
    answers = Counter([await fetch(stage.address("web")) for _ in range(12)])
    assert answers == {"1": 4, "2": 4, "3": 4}


@scenario()
async def test_a_flip_moves_new_connections_and_refuses_none(stage: Stage) -> None:
    """Clients that connect all the time see one colour, then the other, and never an error, over twenty flips."""
    await _two_colours(stage)
    address = stage.address("web")
    flips = 0
    answers: list[tuple[int, int, str]] = []
    stop = asyncio.Event()

    async def client() -> None:
        while not stop.is_set():
            before = flips
            body = await fetch(address)
            answers.append((before, flips, body))

    def settled() -> list[str]:
        """What requests that began and ended since the last flip were answered with."""
        return [body for before, after, body in answers if before == after == flips]

    clients = [asyncio.ensure_future(client()) for _ in range(4)]
    for colour in ["green", "blue"] * 10:
        select(stage, colour)
        await stage.until(lambda: points_at(stage, colour), "the slice has followed")  # noqa: B023
        flips += 1
        await stage.until(lambda: len(settled()) >= 8, "clients go on")
        assert set(settled()) == {colour}
    stop.set()
    await asyncio.gather(*clients)


@scenario()
async def test_an_open_connection_stays_where_it_is_after_a_flip(stage: Stage) -> None:
    """Keep-alive goes on with the old pod; a new connection goes to the new one."""
    await _two_colours(stage)
    reader, writer = await asyncio.open_connection(stage.address("web"), PORT)
    assert await _keep_alive(reader, writer) == "blue"
    select(stage, "green")
    await stage.until(lambda: points_at(stage, "green"), "it is flipped")
    assert await fetch(stage.address("web")) == "green"
    assert await _keep_alive(reader, writer) == "blue"
    writer.close()


@scenario()
async def test_a_pod_that_goes_first_leaves_the_endpoints_and_answers_what_it_has(stage: Stage) -> None:
    """A request under way is answered; the endpoint is terminating and gets nothing new."""
    stage.service("web", app="web")
    stage.pod("web", "web:1", **READY)
    await stage.until(lambda: stage.ready_endpoints("web"), "the endpoint is ready")
    under_way = asyncio.ensure_future(fetch(stage.address("web"), "/slow"))
    await asyncio.sleep(0.15)  # the pod has the request
    delete_pod(stage.store, stage.store.get(POD, NAMESPACE, "web"))
    await stage.until(lambda: not stage.ready_endpoints("web"), "no endpoint is ready")
    assert stage.endpoints("web")["web"]["terminating"]
    with pytest.raises(ConnectionRefusedError):
        await fetch(stage.address("web"))
    assert await under_way == "1"


@scenario()
async def test_rolling_pods_behind_a_service_loses_no_request(stage: Stage) -> None:
    """A steady client sees no error while every pod is replaced one after the other."""
    stage.service("web", app="web")
    pod = {
        "container": {"readinessProbe": http_probe("/readyz"), "lifecycle": {"preStop": {"sleep": {"seconds": 0.3}}}}
    }
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    stage.deployment("web", "web:1", replicas=2, pod=pod, strategy=strategy)
    await stage.until(lambda: len(stage.ready_endpoints("web")) == 2, "both are ready")
    answers: list[str] = []
    stop = asyncio.Event()

    async def client() -> None:
        while not stop.is_set():
            answers.append(await fetch(stage.address("web")))

    steady = asyncio.ensure_future(client())
    stage.set_image("web", "web:2")
    await stage.until(lambda: stage.is_rolled_out("web") and answers[-1:] == ["2"], "the new version serves")
    stop.set()
    await steady
    assert set(answers) == {"1", "2"}


@scenario()
async def test_an_endpoint_that_cannot_be_reached_is_passed_over(stage: Stage) -> None:
    """A pod without a probe counts as ready though nobody listens there; clients reach the other one."""
    stage.service("web", role="web")
    stage.deployment("web", "web:1", labels={"role": "web"}, pod=READY)
    stage.deployment("mute", "sleep:1", labels={"role": "web"})
    await stage.until(lambda: len(stage.ready_endpoints("web")) == 2, "both count as ready")
    assert [await fetch(stage.address("web")) for _ in range(6)] == ["1"] * 6


@scenario()
async def test_each_service_has_an_address_of_its_own_and_a_headless_one_none(stage: Stage) -> None:
    """Both on the same port; NodePort and LoadBalancer work like ClusterIP."""
    stage.pod("web", "web:1", **READY)
    spec = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]}
    for name, more in (("one", {}), ("two", {"type": "NodePort"}), ("three", {"type": "LoadBalancer"})):
        body = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {**spec, **more}}
        stage.store.create(SERVICE, body)
    body = {"metadata": {"name": "none", "namespace": NAMESPACE}, "spec": {**spec, "clusterIP": "None"}}
    stage.store.create(SERVICE, body)
    names = ("one", "two", "three")
    await stage.until(lambda: all(stage.ready_endpoints(name) for name in (*names, "none")), "all have endpoints")
    addresses = {stage.address(name) for name in names}
    assert len(addresses) == 3
    assert [await fetch(address) for address in sorted(addresses)] == ["1", "1", "1"]
    assert stage.address("none") == "None"


@scenario()
async def test_large_bodies_and_half_closes_pass_both_ways(stage: Stage) -> None:
    """The proxy neither loses nor reorders bytes, whatever the sizes, and passes an end of input on."""
    echo = (
        "import os, socket; s = socket.create_server((os.environ['POD_IP'], 8080)); c, _ = s.accept()\n"
        "data = b''.join(iter(lambda: c.recv(65536), b'')); c.sendall(data[::-1]); c.close()"
    )
    stage.service("echo", app="echo")
    stage.pod("echo", "sleep:1", container={"command": ["python3", "-c", echo]})
    await stage.until(lambda: stage.ready_endpoints("echo"), "it counts as ready")
    sent = bytes(range(256)) * 20_000

    async def reach() -> bytes:
        reader, writer = await asyncio.open_connection(stage.address("echo"), PORT)
        writer.write(sent)
        writer.write_eof()
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async with asyncio.timeout(15):
        while not (received := await reach()):
            await asyncio.sleep(0.05)
    assert received == sent[::-1]


async def _two_colours(stage: Stage) -> None:
    stage.service("web", role="web", color="blue")
    for colour in ("blue", "green"):
        env = [{"name": "SAYS", "value": colour}]
        pod = {"container": {"env": env, "readinessProbe": http_probe("/readyz")}}
        stage.deployment(colour, "web:1", labels={"role": "web", "color": colour}, pod=pod)
    await stage.until(lambda: stage.is_rolled_out("blue") and stage.is_rolled_out("green"), "both colours are ready")


def select(stage: Stage, colour: str) -> None:
    stage.store.update(SERVICE, NAMESPACE, "web", lambda found: found["spec"]["selector"].update(color=colour))


def points_at(stage: Stage, colour: str) -> bool:
    return {name.partition("-")[0] for name in stage.ready_endpoints("web")} == {colour}


async def _keep_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        return (await reader.readexactly(length)).decode()
