"""Images as files: the sandbox's, made of one static program, and variants of a given image.

A docker-archive is a tar of layers, of one JSON document per image, and of `manifest.json`, which names them. A variant
has the layers of the image that it comes from, and an entry point and an environment of its own, so that it costs no
space in the node. What always holds: the same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MADE = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Variant:
    """Another image of the same layers. `name` is what pods ask for, with its tag."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def write_pause(program: Path, name: str, into: Path) -> None:
    """An archive with an image that holds this one static program and runs it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = program.stat().st_size, 0o755
        with program.open("rb") as content:
            tar.addfile(entry, content)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "created": MADE,
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    with tarfile.open(into, "w") as tar:
        _add(tar, f"{digest}.tar", layer.getvalue())
        _finish(tar, [(name, config, [f"{digest}.tar"])])


def write_variants(archive: Path, variants: Sequence[Variant], into: Path) -> None:
    """An archive with the one image in `archive`, as it is, and these variants of it."""
    with tarfile.open(archive) as source, tarfile.open(into, "w") as target:
        (manifest,) = json.loads(_read(source, "manifest.json"))
        config: dict[str, Any] = json.loads(_read(source, manifest["Config"]))
        layers = []
        for number, name in enumerate(manifest["Layers"]):
            entry = tarfile.TarInfo(f"{number}.tar")
            entry.size = source.getmember(name).size
            content = source.extractfile(name)
            if content is None:
                raise ValueError(f"{archive}: {name} is not a file")
            target.addfile(entry, content)
            layers.append(entry.name)
        given = [(name, config, layers) for name in manifest["RepoTags"]]
        _finish(target, [*given, *((one.name, _varied(config, one), layers) for one in variants)])


def _varied(config: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    given = config["config"]
    names = {row.partition("=")[0] for row in given.get("Env", ())} & variant.environment.keys()
    environment = [row for row in given.get("Env", ()) if row.partition("=")[0] not in names]
    environment += [f"{name}={value}" for name, value in sorted(variant.environment.items())]
    return {**config, "config": {**given, "Entrypoint": list(variant.command), "Cmd": None, "Env": environment}}


def _finish(tar: tarfile.TarFile, images: Sequence[tuple[str, Mapping[str, Any], Sequence[str]]]) -> None:
    manifest = []
    written: set[str] = set()
    for name, config, layers in images:
        body = json.dumps(config, sort_keys=True).encode()
        file = f"{hashlib.sha256(body).hexdigest()}.json"
        if file not in written:
            _add(tar, file, body)
            written.add(file)
        manifest.append({"Config": file, "RepoTags": [name], "Layers": list(layers)})
    _add(tar, "manifest.json", json.dumps(manifest).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    content = tar.extractfile(name)
    if content is None:
        raise ValueError(f"{name} is not a file")
    return content.read()


def _architecture() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
