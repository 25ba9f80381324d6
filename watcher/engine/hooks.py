"""What hooks and Jobs are told: the Release introduces itself, unless a hook brings a body of its own."""

from __future__ import annotations

import json

from watcher.core.application import Application, other
from watcher.core.checks import Hook
from watcher.core.release import Release


def introduced(hook: Hook, id_: str, release: Release) -> Hook:
    """The hook with its body filled in. The `key` is the same however often the hook is called for this Release."""
    if hook.http is None or hook.http.body is not None or hook.http.method == "GET":
        return hook
    colors = release.status.colors
    document = {
        "key": f"{release.uid}/{id_}",
        "hook": id_,
        "application": release.spec.application,
        "namespace": release.namespace,
        "release": release.name,
        "version": release.spec.version,
        "phase": release.phase.value,
        "from": colors.from_ if colors else "",
        "to": colors.to if colors else "",
    }
    http = hook.http.model_copy(
        update={"body": json.dumps(document), "headers": {"Content-Type": "application/json"} | hook.http.headers}
    )
    return hook.model_copy(update={"http": http})


def job_environment(release: Release, app: Application, color: str, target: str) -> dict[str, str]:
    """What the containers of a Job find in their environment. `target` is the URL of what is tested."""
    return {
        "TARGET_URL": target,
        "APPLICATION": app.name,
        "NAMESPACE": app.namespace,
        "RELEASE": release.name,
        "VERSION": release.spec.version,
        "COLOR": color,
        "PREVIOUS_COLOR": other(color),
    }
