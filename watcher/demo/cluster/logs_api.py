"""The log subresource of pods: what a container wrote, once or as it grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from watcher.demo.cluster.errors import ApiError, bad_request
from watcher.demo.cluster.resources import POD
from watcher.demo.cluster.store import Object, Store

PodLogs = Callable[[str, str, str, bool], str | None]
"""(namespace, pod, container, previous) -> everything that the container wrote, None when it never ran."""

FOLLOW_EVERY = 0.25
"""Seconds between two looks at a log that is being followed."""


@dataclass(frozen=True, slots=True)
class LogRequest:
    """One request for a log; `container` is settled."""

    namespace: str
    pod: str
    container: str
    previous: bool
    tail: int | None
    limit: int | None
    follow: bool


def parse_log_request(pod: Object, query: Mapping[str, str]) -> LogRequest:
    """Settle which container is meant. Raises a 400 as the real server words it."""
    meta, name = pod["metadata"], pod["metadata"]["name"]
    containers = [c["name"] for c in pod["spec"]["containers"]]
    others = [c["name"] for c in pod["spec"].get("initContainers") or []]
    container = query.get("container", "")
    if not container and len(containers) > 1:
        choices = " ".join(containers)
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{choices}]")
    if container and container not in containers + others:
        raise bad_request(f"container {container} is not valid for pod {name}")
    return LogRequest(
        meta.get("namespace", ""),
        name,
        container or containers[0],
        flag(query, "previous"),
        _count(query, "tailLines"),
        _count(query, "limitBytes"),
        flag(query, "follow"),
    )


def read_log(request: LogRequest, pod_logs: PodLogs | None) -> str:
    """The log as it is now, cut as asked. Raises a 400 when the container has none."""
    return _cut(request, _whole(request, pod_logs))


async def follow_log(
    request: LogRequest, pod_logs: PodLogs | None, store: Store, stopping: asyncio.Event
) -> AsyncIterator[bytes]:
    """The log, and then what is added to it until the pod has ended, or is gone, or the server stops."""
    text = _whole(request, pod_logs)
    yield _cut(request, text).encode()
    while not stopping.is_set():
        seen = len(text)
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), FOLLOW_EVERY)
        pod = store.find(POD, request.namespace, request.pod)
        ended = pod is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        try:
            text = _whole(request, pod_logs)
        except ApiError:
            return
        if len(text) > seen:
            yield text[seen:].encode()
        # A shorter log is that of a new container: the old one has ended.
        elif ended or len(text) < seen:
            return


def _whole(request: LogRequest, pod_logs: PodLogs | None) -> str:
    text = None
    if pod_logs is not None:
        text = pod_logs(request.namespace, request.pod, request.container, request.previous)
    if text is not None:
        return text
    if request.previous:
        raise bad_request(f'previous terminated container "{request.container}" in pod "{request.pod}" not found')
    raise bad_request(f'container "{request.container}" in pod "{request.pod}" is waiting to start: ContainerCreating')


def _cut(request: LogRequest, text: str) -> str:
    """The last `tail` lines, and of those the first `limit` bytes."""
    if request.tail is not None:
        lines = text.splitlines(keepends=True)
        text = "".join(lines[max(0, len(lines) - request.tail) :])
    return text if request.limit is None else text.encode()[: request.limit].decode(errors="ignore")


def flag(query: Mapping[str, str], name: str) -> bool:
    """A yes-or-no parameter, as the real server reads it: present and neither "false" nor "0"."""
    return name in query and query[name].lower() not in ("false", "0")


def _count(query: Mapping[str, str], name: str) -> int | None:
    if not query.get(name):
        return None
    if not query[name].isdigit():
        raise bad_request(f"{name}: must be a number that is not negative")
    return int(query[name])
