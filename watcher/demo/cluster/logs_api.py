"""The log subresource of pods: what a container wrote, once or as it grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from watcher.demo.cluster.errors import ApiError, bad_request, bad_value, invalid
from watcher.demo.cluster.resources import POD, Kind
from watcher.demo.cluster.store import Object, Store

PodLogs = Callable[[str, str, str, bool], str | None]
"""(namespace, pod, container, previous) -> everything that the container wrote, None when it never ran."""

_LOG_OPTIONS = Kind("", "v1", "podlogoptions", "PodLogOptions")
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
    waiting: str
    """Why its container has not started, in one word; empty when it has."""


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
        _count(name, query, "tailLines", 0),
        _count(name, query, "limitBytes", 1),
        flag(query, "follow"),
        _waits_for(pod, container or containers[0]),
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
    why = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}.get(
        request.waiting, request.waiting or "ContainerCreating"
    )
    raise bad_request(f'container "{request.container}" in pod "{request.pod}" is waiting to start: {why}')


def _waits_for(pod: Object, container: str) -> str:
    status = pod.get("status") or {}
    rows = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    states = [row.get("state") or {} for row in rows if row["name"] == container]
    return str(((states[0].get("waiting") if states else None) or {}).get("reason") or "")


def _cut(request: LogRequest, text: str) -> str:
    """The last `tail` lines, and of those the first `limit` bytes."""
    if request.tail is not None:
        lines = text.splitlines(keepends=True)
        text = "".join(lines[max(0, len(lines) - request.tail) :])
    return text if request.limit is None else text.encode()[: request.limit].decode(errors="ignore")


def flag(query: Mapping[str, str], name: str) -> bool:
    """A yes-or-no parameter, as the real server reads it: present and neither "false" nor "0"."""
    return name in query and query[name].lower() not in ("false", "0")


def _count(pod: str, query: Mapping[str, str], name: str, least: int) -> int | None:
    text = query.get(name)
    if not text:
        return None
    if not text.removeprefix("-").isdigit():
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if int(text) < least:
        words = "greater than or equal to 0" if least == 0 else "greater than 0"
        raise invalid(_LOG_OPTIONS, pod, [bad_value(name, int(text), f"must be {words}")])
    return int(text)
