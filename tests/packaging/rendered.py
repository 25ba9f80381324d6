"""What the packaging tests share: the checkout's files, and the manifests as kubectl renders them.

The kubectl of some Debians is older than the kustomizations here. `python -m tests.packaging.rendered` makes sure that
there is something to render them: it builds Kustomize once, into the cache folder, where kubectl cannot.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from cluster.layout import binaries

ROOT = Path(__file__).resolve().parents[2]

OLDEST = 5
"""The major version of Kustomize that the kustomizations are made for."""

Manifest = dict[str, Any]

WHOLE_CLUSTER = "deploy"
ONE_NAMESPACE = "deploy/overlays/one-namespace"
EVERY = (WHOLE_CLUSTER, ONE_NAMESPACE)


@cache
def renderer() -> tuple[str, ...]:
    """The command that renders the kustomization in the folder named after it."""
    if shutil.which("kubectl"):
        told = subprocess.run(
            ["kubectl", "version", "--client", "--output=json"], capture_output=True, timeout=30, check=False
        )
        found = json.loads(told.stdout or "{}").get("kustomizeVersion", "v0")
        if int(found.removeprefix("v").partition(".")[0]) >= OLDEST:
            return "kubectl", "kustomize"
    built = binaries() / "kustomize"
    if not built.exists():
        subprocess.run([ROOT / "cluster/build", "kustomize"], stdout=subprocess.DEVNULL, timeout=1800, check=True)
    return str(built), "build"


@cache
def render(directory: str) -> tuple[Manifest, ...]:
    """The objects of a kustomization, as `kubectl apply -k` would send them."""
    done = subprocess.run([*renderer(), str(ROOT / directory)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(parse(done.stdout))


def parse(text: str) -> Iterator[Any]:
    """Every document of a YAML text."""
    yield from YAML(typ="safe", pure=True).load_all(text)


def of_kind(directory: str, kind: str) -> list[Manifest]:
    return [one for one in render(directory) if one["kind"] == kind]


def only(directory: str, kind: str) -> Manifest:
    """The one object of a kind."""
    (found,) = of_kind(directory, kind)
    return found


def named(directory: str, kind: str, name: str) -> Manifest:
    """The object of a kind and a name."""
    (found,) = [one for one in of_kind(directory, kind) if one["metadata"]["name"] == name]
    return found


def container(directory: str) -> Manifest:
    """The daemon's container."""
    (found,) = only(directory, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def mounted(directory: str) -> dict[str, str]:
    """The files that the pod sees at its configuration directory, by name."""
    return mounted_by(only(directory, "Deployment"), directory)


def mounted_by(deployment: Manifest, directory: str) -> dict[str, str]:
    """The same for a Deployment that is not the only one."""
    maps = {one["metadata"]["name"]: one["data"] for one in of_kind(directory, "ConfigMap")}
    (volume,) = deployment["spec"]["template"]["spec"]["volumes"]
    files: dict[str, str] = {}
    for source in volume["projected"]["sources"]:
        data = maps[source["configMap"]["name"]]
        assert not files.keys() & data.keys(), "one file would hide another"
        files |= data
    return files


def rules_of(role: Manifest) -> set[tuple[str, str, str]]:
    """What a role allows, as (group, resource, verb)."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


if __name__ == "__main__":
    renderer()
