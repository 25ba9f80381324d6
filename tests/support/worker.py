"""A second Service of the example platform: a worker, that moves together with it."""

from __future__ import annotations

import json
from typing import Any

from watcher.demo.platform.manifests import APPLICATION, NAMESPACE, objects

WORKER = "chatbot-worker"

ALSO = [{"service": WORKER, "colors": {color: {"deployment": f"{WORKER}-{color}"} for color in ("blue", "green")}}]
"""What the Application says of it."""


def worker() -> list[dict[str, Any]]:
    """A Service and two Deployments like the platform's, by another name and smaller."""
    found = []
    for body in objects():
        if body["kind"] == "Deployment" or body["metadata"]["name"] == APPLICATION:
            text = json.dumps(body).replace(APPLICATION, WORKER).replace(f"{WORKER}-prod", NAMESPACE)
            found.append(json.loads(text.replace('"replicas": 2', '"replicas": 1')))
    return found
