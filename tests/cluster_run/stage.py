"""A running cluster for one test: real processes as pods, objects put straight into its store."""

from __future__ import annotations

import asyncio
import json
import os
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from watcher.demo.cluster.machine import Machine
from watcher.demo.cluster.resources import DEPLOYMENT, ENDPOINT_SLICE, EVENT, POD, SERVICE
from watcher.demo.cluster.store import Object, Store

DEADLINE = 20.0
NAMESPACE = "default"
PORT = 8080
T = TypeVar("T")

WEB = """
import http.server, os, signal, sys, threading, time
from pathlib import Path

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        code = 200
        gate = os.environ.get("GATE")
        if self.path == "/readyz" and gate and not Path(gate, os.environ["POD_NAME"]).exists():
            code = 503
        if self.path == "/livez" and gate and Path(gate, "sick").exists():
            code = 500
        if self.path == "/slow":
            time.sleep(0.5)
        body = (os.environ.get("SAYS", "") or os.environ["IMAGE_TAG"]).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False

server = Server((os.environ["POD_IP"], 8080), Handler)
if os.environ.get("DEAF"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("listening on", os.environ["POD_IP"], flush=True)
server.serve_forever()
# Answers what it has accepted, and then leaves.
server.server_close()
"""


def images(directory: Path) -> Path:
    """An images file with small programs: a web server, and others that crash, sleep, end or eat memory."""
    script = directory / "web.py"
    script.write_text(WEB)

    def program(text: str) -> dict[str, Any]:
        return {"command": ["{python}", "-c", textwrap.dedent(text)]}

    path = directory / "images.json"
    entries = {
        "web:*": {"command": ["{python}", str(script)]},
        "web@sha256:abc": {"command": ["{python}", str(script)]},
        "crash:*": program("print('going down'); raise SystemExit(3)"),
        "done:*": program("print('done')"),
        "sleep:*": program("import time; time.sleep(600)"),
        "hog:*": program("import time; held = b'x' * (96 << 20); time.sleep(600)"),
        "parent:*": program(
            """
            import subprocess, sys, time
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            print(child.pid, flush=True)
            time.sleep(600)
            """
        ),
    }
    path.write_text(json.dumps(entries))
    return path


class Stage:
    """What a test says to the cluster and asks of it."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self.machine = machine
        self.store: Store = machine.store
        self.directory = directory

    # -- objects ------------------------------------------------------------------------------------------------

    def deployment(self, name: str, image: str, *, replicas: int = 1, **more: Any) -> Object:
        labels = {"app": name, **more.pop("labels", {})}
        template = {"metadata": {"labels": labels}, "spec": pod_spec(image, **more.pop("pod", {}))}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **more}
        return self.store.create(DEPLOYMENT, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})

    def pod(self, name: str, image: str, **spec: Any) -> Object:
        body = {"metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}}
        return self.store.create(POD, {**body, "spec": pod_spec(image, **spec)})

    def service(self, name: str, **selector: str) -> Object:
        spec = {"selector": selector, "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]}
        return self.store.create(SERVICE, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})

    def change(self, name: str, edit: Callable[[dict[str, Any]], Any]) -> None:
        """Edit a Deployment's spec."""
        self.store.update(DEPLOYMENT, NAMESPACE, name, lambda found: edit(found["spec"]))

    def set_image(self, name: str, image: str) -> None:
        self.change(name, lambda spec: spec["template"]["spec"]["containers"][0].update(image=image))

    # -- questions ----------------------------------------------------------------------------------------------

    def pods(self, app: str) -> list[Object]:
        return [pod for pod in self.store.objects(POD, NAMESPACE) if pod["metadata"]["labels"].get("app") == app]

    def status(self, name: str) -> dict[str, Any]:
        found = self.store.find(POD, NAMESPACE, name) or {}
        answer: dict[str, Any] = found.get("status") or {}
        return answer

    def container(self, name: str) -> dict[str, Any]:
        rows = self.status(name).get("containerStatuses") or [{}]
        answer: dict[str, Any] = rows[0]
        return answer

    def waits_for(self, name: str) -> str:
        state = self.container(name).get("state") or {}
        return str((state.get("waiting") or {}).get("reason"))

    def condition(self, name: str, type_: str) -> dict[str, Any]:
        rows = self.status(name).get("conditions") or ()
        return next((row for row in rows if row["type"] == type_), {})

    def is_ready(self, name: str) -> bool:
        return self.condition(name, "Ready").get("status") == "True"

    def deployed(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.store.get(DEPLOYMENT, NAMESPACE, name).get("status") or {}
        return answer

    def is_rolled_out(self, name: str) -> bool:
        found = self.store.get(DEPLOYMENT, NAMESPACE, name)
        status, replicas = found.get("status") or {}, found["spec"]["replicas"]
        counts = {status.get(count, 0) for count in ("replicas", "updatedReplicas", "availableReplicas")}
        return counts == {replicas} and status.get("observedGeneration") == found["metadata"]["generation"]

    def endpoints(self, service: str) -> dict[str, dict[str, bool]]:
        """Pod name -> conditions, of the Service's slice."""
        return {
            row["targetRef"]["name"]: row["conditions"]
            for found in self.store.objects(ENDPOINT_SLICE, NAMESPACE)
            if found["metadata"]["labels"]["kubernetes.io/service-name"] == service
            for row in found["endpoints"]
        }

    def ready_endpoints(self, service: str) -> list[str]:
        return [name for name, conditions in self.endpoints(service).items() if conditions["ready"]]

    def events(self, reason: str) -> list[Object]:
        return [event for event in self.store.objects(EVENT) if event["reason"] == reason]

    def said(self, reason: str, text: str) -> bool:
        return any(text in event["message"] for event in self.events(reason))

    def address(self, service: str) -> str:
        return str(self.store.get(SERVICE, NAMESPACE, service)["spec"]["clusterIP"])

    def pid(self, name: str) -> int:
        """The process of a pod, found by the address that it was given."""
        marker = f"POD_IP={self.status(name)['podIP']}".encode()
        for found in Path("/proc").iterdir():
            if found.name.isdigit() and marker in environ(found):
                return int(found.name)
        raise AssertionError(f"no process has {marker!r}")

    async def until(self, look: Callable[[], T], what: str, within: float = DEADLINE) -> T:
        """Look after every change (and at least every 50 ms) until the answer is true."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while not (seen := look()):
            assert loop.time() < deadline, f"not within {within} s: {what}"
            try:
                await asyncio.wait_for(self.store.wait(self.store.version), 0.05)
            except TimeoutError:
                continue
        return seen

    async def get(self, host: str, path: str = "/", port: int = PORT) -> str:
        """The body that a GET on a new connection is answered with."""
        return await fetch(host, path, port)


async def fetch(host: str, path: str = "/", port: int = PORT) -> str:
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(f"answered with {head[:60]!r}")
    return body.decode()


def pod_spec(image: str, **more: Any) -> dict[str, Any]:
    """A pod of one container; `container` holds further fields of that one."""
    container = {
        "name": "main",
        "image": image,
        "ports": [{"name": "http", "containerPort": PORT}],
        **more.pop("container", {}),
    }
    container["env"] = [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *container.get("env", []),
    ]
    return {"terminationGracePeriodSeconds": 3, "containers": [container], **more}


def http_probe(path: str, **more: Any) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 0.1, "failureThreshold": 1, **more}


def environ(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@asynccontextmanager
async def stage_in(directory: Path, **options: Any) -> AsyncIterator[Stage]:
    machine = Machine(Store(), images(directory), state_dir=directory, **{"backoff_scale": 0.02, **options})
    await machine.start()
    try:
        yield Stage(machine, directory)
    finally:
        await machine.stop()


def scenario(**options: Any) -> Callable[[Callable[[Stage], Awaitable[None]]], Callable[[Path], None]]:
    """Makes a test of a coroutine that gets a Stage; the options are the Machine's."""

    def wrap(test: Callable[[Stage], Awaitable[None]]) -> Callable[[Path], None]:
        async def play(directory: Path) -> None:
            async with stage_in(directory, **options) as stage:
                await test(stage)

        def run(tmp_path: Path) -> None:
            asyncio.run(play(tmp_path))

        run.__doc__ = test.__doc__
        run.__name__ = getattr(test, "__name__", "run")
        run.__module__ = test.__module__
        return run

    return wrap
