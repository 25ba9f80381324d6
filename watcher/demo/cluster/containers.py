"""The life of one container: pulled, configured, started, probed, ended, started again.

What always holds: the state that is published is the one that was reached, in order; a container is never started
while its pod is being stopped; readiness is false from the start until a probe says otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from watcher.demo.cluster import probes
from watcher.demo.cluster.backoff import BackOff
from watcher.demo.cluster.environment import ConfigError, environment, expand
from watcher.demo.cluster.events import Recorder
from watcher.demo.cluster.images import PYTHON, Image, Images, UnknownImage
from watcher.demo.cluster.logs import ContainerLog
from watcher.demo.cluster.podstatus import ContainerState, waiting
from watcher.demo.cluster.processes import Process, Reaper
from watcher.demo.cluster.quantities import quantity
from watcher.demo.cluster.store import Object, Store

POLL = 0.25
"""How often a stopping container looks whether its grace period has been shortened."""
KILLED = 137


@dataclass(frozen=True, slots=True)
class Host:
    """What every container on the node shares."""

    store: Store
    images: Images
    events: Recorder
    reaper: Reaper
    directory: Path
    backoff_scale: float


@dataclass(slots=True)
class Grace:
    """The moment (monotonic) after which a stopping container is killed. It only ever comes nearer."""

    until: float

    def shorten(self, seconds: float) -> None:
        self.until = min(self.until, time.monotonic() + seconds)

    @property
    def left(self) -> float:
        return max(self.until - time.monotonic(), 0.0)


class Container:
    """Runs one container of a pod. `pod` gives the pod as it is now, `publish` makes the state known."""

    def __init__(
        self, host: Host, pod: Callable[[], Object], spec: Object, *, policy: str, publish: Callable[[], None]
    ) -> None:
        self._host = host
        self._pod = pod
        self._spec = spec
        self._policy = policy
        self._publish = publish
        self.state = ContainerState(spec["name"], spec.get("image", ""))
        directory = host.directory / pod()["metadata"]["uid"] / spec["name"]
        self.log = ContainerLog(directory)
        self._work = directory / "work"
        self._back_off = BackOff(host.backoff_scale, free_first=True)
        self._process: Process | None = None
        self._env: dict[str, str] = {}
        self._run: asyncio.Task[None] | None = None
        self._restart: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._out_of_memory = False
        limit = ((spec.get("resources") or {}).get("limits") or {}).get("memory")
        self._memory_limit = int(quantity(limit)) if limit else None

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Return when the container has ended for good."""
        self._run = asyncio.current_task()
        try:
            while not self._ending.is_set():
                image = await self._pull()
                if not await self._configure(image):
                    continue
                began = time.monotonic()
                code = await self._once(image)
                if self._ending.is_set() or not restarts(self._policy, code):
                    break
                await self._wait_before_restart(time.monotonic() - began)
                self.state.restarts += 1
        except asyncio.CancelledError:
            if not self._ending.is_set():
                raise
        self.state.final = True
        self._publish()

    async def stop(self, grace: Grace) -> None:
        """End the container: hook, SIGTERM, and SIGKILL when the grace is over. Returns when it has ended."""
        self._ending.set()
        process = self._process
        if process is None:
            if self._run is not None:
                self._run.cancel()
            return
        self._event("Normal", "Killing", f"Stopping container {self.state.name}")
        await self._end(process, grace)

    def check_memory(self) -> None:
        """Kill the container when it holds more than its limit."""
        process = self._process
        if process is None or self._memory_limit is None or process.memory() <= self._memory_limit:
            return
        self._out_of_memory = True
        process.kill()

    # -- steps --------------------------------------------------------------------------------------------------

    async def _pull(self) -> Image:
        """Wait until the image is known."""
        reference = self.state.image
        back_off = BackOff(self._host.backoff_scale)
        while True:
            self._event("Normal", "Pulling", f'Pulling image "{reference}"')
            try:
                image = self._host.images.pull(reference)
            except (UnknownImage, OSError, ValueError) as error:
                text = str(error)
            else:
                self._event("Normal", "Pulled", f'Successfully pulled image "{reference}"')
                self.state.image_id = image.id
                return image
            self._event("Warning", "Failed", f'Failed to pull image "{reference}": {text}')
            self._event("Warning", "Failed", "Error: ErrImagePull")
            self._wait_for("ErrImagePull", text)
            delay = back_off.next()
            await asyncio.sleep(delay / 2)
            self._event("Normal", "BackOff", f'Back-off pulling image "{reference}"')
            self._event("Warning", "Failed", "Error: ImagePullBackOff")
            self._wait_for("ImagePullBackOff", f'Back-off pulling image "{reference}": ErrImagePull: {text}')
            await asyncio.sleep(delay / 2)

    async def _configure(self, image: Image) -> bool:
        """Put the environment together; False (after a wait) when something that it names is missing."""
        try:
            self._env = environment(self._host.store, self._pod(), self._spec, image.env)
        except ConfigError as error:
            self._event("Warning", "Failed", f"Error: {error}")
            self._wait_for("CreateContainerConfigError", str(error))
            await asyncio.sleep(10 * self._host.backoff_scale)
            return False
        return True

    async def _once(self, image: Image) -> int:
        """Start the process and follow it to its end."""
        started = self._host.store.timestamp()
        self.state.container_id = f"process://{uuid.uuid4().hex}"
        self._out_of_memory = False
        try:
            process = self._start(image)
        except (OSError, ValueError) as error:
            self._event("Warning", "Failed", f"Error: failed to start container: {error}")
            self._ended(128, started, reason="StartError", message=f"failed to start: {error}")
            return 128
        self._process = process
        self._event("Normal", "Created", f"Created container: {self.state.name}")
        self._event("Normal", "Started", f"Started container {self.state.name}")
        self.state.state = {"running": {"startedAt": started}}
        self.state.started = "startupProbe" not in self._spec
        self.state.ready = self.state.started and "readinessProbe" not in self._spec
        self._publish()
        attendants = asyncio.ensure_future(self._attend(process))
        try:
            code = await process.wait()
        finally:
            attendants.cancel()
            await asyncio.gather(attendants, return_exceptions=True)
        self._process = None
        if self._out_of_memory:
            code = KILLED
        reason = "OOMKilled" if self._out_of_memory else "Error" if code else "Completed"
        last_words = code and self._spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        self._ended(code, started, reason=reason, message=self.log.tail() if last_words else "")
        return code

    def _start(self, image: Image) -> Process:
        self._work.mkdir(parents=True, exist_ok=True)
        own, args = self._spec.get("command") or (), self._spec.get("args") or ()
        argv = [*(own or image.command), *args]
        if not argv:
            raise ValueError("no command specified")
        argv = [expand(str(part), self._env).replace(PYTHON, sys.executable) for part in argv]
        wanted = self._spec.get("workingDir")
        cwd = Path(wanted) if wanted and Path(wanted).is_dir() else self._work
        with self.log.begin() as output:
            return Process.start(argv, self._env, cwd, output, self._host.reaper)

    def _ended(self, code: int, started: str, *, reason: str, message: str = "") -> None:
        ended = {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": self._host.store.timestamp()}
        ended["containerID"] = self.state.container_id
        if code > 128 and reason == "Error":
            ended["signal"] = code - 128
        if message:
            ended["message"] = message
        self.state.ready = self.state.started = False
        self.state.state = {"terminated": ended}
        self._publish()

    async def _wait_before_restart(self, ran: float) -> None:
        delay = self._back_off.next(ran)
        self.state.last = self.state.state
        if delay == 0.0:
            return
        pod = self._pod()["metadata"]
        what = f"container={self.state.name} pod={pod['name']}_{pod['namespace']}({pod['uid']})"
        named = f"container {self.state.name} in pod {pod['name']}_{pod['namespace']}({pod['uid']})"
        self._event("Warning", "BackOff", f"Back-off restarting failed {named}")
        self._wait_for("CrashLoopBackOff", f"back-off {delay:g}s restarting failed {what}")
        await asyncio.sleep(delay)

    # -- probes -------------------------------------------------------------------------------------------------

    async def _attend(self, process: Process) -> None:
        """Run the start hook and all probes beside the process, until cancelled."""
        target = self._target()
        hook = (self._spec.get("lifecycle") or {}).get("postStart")
        if hook:
            failure = await probes.check(hook, target, 30.0)
            if failure:
                self._event("Warning", "FailedPostStartHook", f"PostStartHook failed: {failure.message}")
                process.kill()
                return
        if "startupProbe" in self._spec and not await self._await_startup(process, target):
            return
        watches = []
        if "readinessProbe" in self._spec:
            watches.append(self._watch("readinessProbe", target, self._on_readiness))
        if "livenessProbe" in self._spec:
            watches.append(self._watch("livenessProbe", target, lambda result: self._on_liveness(result, process)))
        await asyncio.gather(*watches)

    async def _await_startup(self, process: Process, target: probes.Target) -> bool:
        decided: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def decide(result: str) -> None:
            if not decided.done():
                decided.set_result(result)

        watch = asyncio.ensure_future(self._watch("startupProbe", target, decide))
        try:
            passed = await decided == "passed"
        finally:
            watch.cancel()
        if not passed:
            self._restart_soon(process, "startup")
            return False
        self.state.started = True
        self.state.ready = "readinessProbe" not in self._spec
        self._publish()
        return True

    async def _watch(
        self,
        name: str,
        target: probes.Target,
        on_result: Callable[[Literal["passed", "failed"]], None],
    ) -> None:
        word = name.removesuffix("Probe").capitalize()
        await probes.watch(
            self._spec[name],
            target,
            on_result=on_result,
            on_failure=lambda message: self._event("Warning", "Unhealthy", f"{word} probe failed: {message}"),
        )

    def _on_readiness(self, result: str) -> None:
        ready = result == "passed"
        if ready != self.state.ready:
            self.state.ready = ready
            self._publish()

    def _on_liveness(self, result: str, process: Process) -> None:
        if result == "failed":
            self._restart_soon(process, "liveness")

    def _restart_soon(self, process: Process, which: str) -> None:
        if self._ending.is_set() or (self._restart is not None and not self._restart.done()):
            return
        text = f"Container {self.state.name} failed {which} probe, will be restarted"
        self._event("Normal", "Killing", text)
        seconds = (self._spec.get(f"{which}Probe") or {}).get("terminationGracePeriodSeconds")
        if seconds is None:
            seconds = self._pod()["spec"].get("terminationGracePeriodSeconds", 30)
        self._restart = asyncio.ensure_future(self._end(process, Grace(time.monotonic() + seconds)))

    # -- end ----------------------------------------------------------------------------------------------------

    async def _end(self, process: Process, grace: Grace) -> None:
        hook = (self._spec.get("lifecycle") or {}).get("preStop")
        if hook and grace.left > 0:
            await self._pre_stop(process, hook, grace)
        process.terminate()
        while process.running:
            if grace.left <= 0:
                process.kill()
                await process.wait()
                return
            await process.ended_within(min(grace.left, POLL))

    async def _pre_stop(self, process: Process, hook: Object, grace: Grace) -> None:
        pause = (hook.get("sleep") or {}).get("seconds", 0)
        work = asyncio.ensure_future(
            asyncio.sleep(pause) if pause else self._ask_hook(hook, grace)  # one of the two, as the API allows
        )
        try:
            while not work.done() and process.running and grace.left > 0:
                await asyncio.wait([work], timeout=min(grace.left, POLL))
        finally:
            work.cancel()

    async def _ask_hook(self, hook: Object, grace: Grace) -> None:
        failure = await probes.check(hook, self._target(), max(grace.left, 0.1))
        if failure:
            self._event("Warning", "FailedPreStopHook", f"PreStopHook failed: {failure.message}")

    # -- helpers ------------------------------------------------------------------------------------------------

    def _target(self) -> probes.Target:
        ports = {row["name"]: int(row["containerPort"]) for row in self._spec.get("ports") or () if row.get("name")}
        return probes.Target(self._pod()["status"]["podIP"], ports, self._exec)

    async def _exec(self, command: list[str], seconds: float) -> tuple[int, str]:
        with tempfile.TemporaryFile() as output:
            try:
                process = Process.start(command, self._env, self._work, output, self._host.reaper)
            except OSError as error:
                return 126, str(error)
            try:
                async with asyncio.timeout(seconds):
                    code = await process.wait()
            finally:
                process.kill()
            output.seek(0)
            return code, output.read(10_000).decode(errors="replace")

    def _wait_for(self, reason: str, message: str) -> None:
        self.state.state = waiting(reason, message)
        self.state.ready = self.state.started = False
        self._publish()

    def _event(self, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        with contextlib.suppress(KeyError):
            path = f"spec.containers{{{self.state.name}}}"
            self._host.events.record(self._pod(), type_, reason, message, path)


def restarts(policy: str, code: int) -> bool:
    """Whether a container that ended with `code` is started again."""
    return policy == "Always" or (policy == "OnFailure" and code != 0)
