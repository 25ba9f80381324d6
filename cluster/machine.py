"""Whether this machine can run the cluster, found out before anything is built or started.

What always holds: each thing is tried in the way in which the cluster will need it, nothing stays behind, and whatever
is missing is said in one line that names it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from cluster import cgroups, parts
from cluster.holder import HIDDEN, CannotRun
from cluster.layout import Layout, binaries

TOOLS = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "openssl": "openssl",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    parts.CNI_PLUGINS + "/bridge": "containernetworking-plugins",
}
ROOM = 3 << 30
"""Bytes that a running cluster may come to need: its images, their files once more, logs and the database."""


def check(layout: Layout) -> None:
    """Raises CannotRun with the reason, when this machine cannot run the cluster."""
    if os.uname().sysname != "Linux":
        raise CannotRun(f"needs Linux, and this is {os.uname().sysname}")
    if os.geteuid() != 0:
        raise CannotRun("must run as root: pods need namespaces, mounts and cgroups")
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if missing:
        packages = " ".join(missing)
        raise CannotRun(f"needs the Debian packages {packages}: apt-get install --no-install-recommends {packages}")
    for path in (layout.home, binaries()):
        hidden = [folder for folder in HIDDEN if path.is_relative_to(folder)]
        if hidden:
            raise CannotRun(f"{path} lies below {hidden[0]}, which the cluster has of its own: set XDG_CACHE_HOME")
    _check_room(layout.home.parent)
    _check_cgroups()
    _check_namespaces()


def _check_room(folder: Path) -> None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise CannotRun(f"there is no {folder} to put it into: {error.strerror}") from None
    if free < ROOM:
        raise CannotRun(f"needs {ROOM >> 30} GB of disk in {folder}, and {free / (1 << 30):.1f} GB are free")


def _check_cgroups() -> None:
    """Make a group in every hierarchy, as containerd will."""
    if not cgroups.MOUNTED.is_dir() or not (found := list(cgroups.hierarchies())):
        raise CannotRun(f"there are no control groups in {cgroups.MOUNTED}")
    for hierarchy in found:
        group = hierarchy / f"bluegreen-watcher-check-{os.getpid()}"
        try:
            group.mkdir()
        except OSError as error:
            raise CannotRun(f"may not make control groups in {hierarchy}: {error.strerror}") from None
        finally:
            with suppress(OSError):
                group.rmdir()


def _check_namespaces() -> None:
    """Make namespaces, a bridge, and the netfilter tables that kube-proxy fills."""
    script = """
        mount -t tmpfs check /var/lib
        echo 1 >/proc/sys/net/ipv4/ip_forward
        ip link add check type bridge
        iptables -w 10 -t nat -A OUTPUT -m comment --comment check -m statistic --mode random --probability 0.5
        iptables -w 10 -A FORWARD -m conntrack --ctstate INVALID -j DROP
    """
    command = ["unshare", "--net", "--mount", "--propagation=private", "--pid", "--fork", "--mount-proc"]
    done = subprocess.run(
        [*command, "sh", "-euc", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"it ended with code {done.returncode}"
        raise CannotRun(f"this machine does not let root have a network, mounts and processes of its own: {said}")
