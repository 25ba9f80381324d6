"""Bring the cluster up, part by part, each one awaited by what it answers; and take it down again.

What always holds: `up` either returns a cluster whose node is Ready, or leaves nothing behind; `down` works in whatever
state a cluster was left, also by a machine that lost power.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import archives, cgroups, credentials, holder, machine, parts
from cluster.holder import CannotRun, Holder
from cluster.layout import NODE_NAME, SANDBOX_IMAGE, Layout, binaries, cache, kubernetes_version

ETCD_PORT = 2379
READY_WITHIN = 120.0
"""Seconds for one part; a machine with other work to do is slow."""


def say(text: str) -> None:
    sys.stderr.write(f"==> {text}\n")
    sys.stderr.flush()


def up(layout: Layout, images: Sequence[Path] = ()) -> None:
    """Start a cluster (ending one that is up) with these images in its node. Raises CannotRun, or TimeoutError."""
    machine.check(layout)
    if not (binaries() / "pause").exists():  # the last to be built
        raise CannotRun("Kubernetes is not built yet: cluster/build")
    down(layout)
    started = time.monotonic()
    layout.home.mkdir(mode=0o700, parents=True)
    try:
        _up(layout, images)
    except BaseException:
        keep_logs(layout)
        down(layout)
        raise
    say(f"the cluster is up, in {time.monotonic() - started:.1f} s: KUBECONFIG={layout.kubeconfig}")


@dataclass(frozen=True, slots=True)
class _Starting:
    """What is needed to start a part: the holder, where logs go, and when it all began."""

    layout: Layout
    holder: Holder

    def start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.layout.logs / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [*self.holder.enter(), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", ""), "HOME": "/root"},
            )

    def wait(self, name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
        began = time.monotonic()
        while not ready():
            if process.poll() is not None:
                raise CannotRun(f"{name} ended at once: {self.last_words(name)}")
            if time.monotonic() - began > READY_WITHIN:
                raise TimeoutError(f"{name} was not ready within {READY_WITHIN:.0f} s: {self.last_words(name)}")
            time.sleep(0.05)
        say(f"{name} is ready, after {time.monotonic() - began:.1f} s")

    def last_words(self, name: str) -> str:
        lines = (self.layout.logs / f"{name}.log").read_text("utf-8", errors="replace").splitlines()
        told = [line for line in lines if line.startswith(("E", "F", "Error", "panic")) or "level=fatal" in line]
        return "\n".join((told or lines)[-5:])


def _up(layout: Layout, images: Sequence[Path]) -> None:
    found = binaries()
    say(f"bringing up Kubernetes {kubernetes_version()} in {layout.home}")
    layout.logs.mkdir()
    credentials.write(layout)
    sandbox = layout.home / "pause.tar"
    archives.write_pause(found / "pause", SANDBOX_IMAGE, sandbox)
    held = holder.start(layout, found / "pause")
    # Not every machine has overlayfs; without it each container gets a copy of its image's files.
    snapshotter = "overlayfs" if held.can_overlay(layout.home) else "native"
    parts.write_config(layout, snapshotter)
    cgroups.make()
    run = _Starting(layout, held)

    etcd = run.start("etcd", parts.etcd(layout, found))
    containerd = run.start("containerd", parts.containerd(layout))
    run.wait("etcd", etcd, lambda: _listens(held, ETCD_PORT))
    kubectl = [str(found / "kubectl"), f"--kubeconfig={layout.kubeconfig}", "--request-timeout=5s"]
    server = run.start("kube-apiserver", parts.api_server(layout, found))
    run.wait("containerd", containerd, lambda: _ask(held, ["ctr", "version"]) is not None)
    run.wait("kube-apiserver", server, lambda: _ask(held, [*kubectl, "get", "--raw", "/readyz"]) == "ok")
    run.start("kube-controller-manager", parts.controller_manager(layout, found))
    run.start("kube-scheduler", parts.scheduler(layout, found))
    run.start("kube-proxy", parts.kube_proxy(layout, found))
    kubelet = run.start("kubelet", parts.kubelet(layout, found))
    for archive in (sandbox, *images):
        began = time.monotonic()
        _load(held, archive, snapshotter)
        say(f"loaded the images of {archive.name}, in {time.monotonic() - began:.1f} s")
    run.wait("kubelet", kubelet, lambda: _node_is_ready(held, kubectl))


def _listens(held: Holder, port: int) -> bool:
    """Whether something listens on this port in the cluster's network."""
    rows = Path(f"/proc/{held.pid}/net/tcp").read_text("utf-8").splitlines()[1:]
    return any(int(row.split()[1].partition(":")[2], 16) == port and row.split()[3] == "0A" for row in rows)


def _ask(held: Holder, command: Sequence[str]) -> str | None:
    """What a command in the cluster prints; None when it fails."""
    done = subprocess.run(
        [*held.enter(), *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )
    return None if done.returncode else done.stdout


def _node_is_ready(held: Holder, kubectl: Sequence[str]) -> bool:
    told = _ask(held, [*kubectl, "get", "node", NODE_NAME, "--output=json"])
    if told is None:
        return False
    conditions = json.loads(told)["status"].get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _load(held: Holder, archive: Path, snapshotter: str) -> None:
    """Bring the images of an archive into the node."""
    command = ["ctr", "--namespace=k8s.io", "images", "import", f"--snapshotter={snapshotter}", str(archive.resolve())]
    done = subprocess.run([*held.enter(), *command], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise CannotRun(f"could not load {archive}: {done.stderr.strip()}")


def keep_logs(layout: Layout) -> None:
    """Put the logs where they outlive the cluster."""
    if layout.logs.is_dir():
        kept = cache() / "last-cluster-logs"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(layout.logs, kept)
        say(f"the logs are kept in {kept}")


def down(layout: Layout) -> None:
    """End a cluster that is up, or was left half up, and remove all that it left. Does nothing when there is none."""
    if os.geteuid() != 0:
        raise CannotRun("must run as root")
    held = holder.find(layout)
    if held is not None:
        holder.end(held)
    if layout.home.exists():
        cgroups.remove(layout)
        shutil.rmtree(layout.home)
        say("the cluster is down")
