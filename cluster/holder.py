"""The one process that the whole cluster hangs on.

It is process 1 of a process namespace and holds a network and a mount namespace as well; every part of the cluster,
every pod and every shim is started inside. So what always holds: when the holder ends, the kernel ends every process of
the cluster, undoes every mount and takes away every interface and netfilter rule, whatever state they were in. Nothing
can leave the network namespace: it has no default route and no link to the outside.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.layout import NODE_IP, SERVICES, Layout

END_WITHIN = 20.0
"""Seconds for the kernel to end all processes of the namespace."""

HIDDEN = ("/run", "/var/lib", "/var/log")
"""Folders of the machine in whose place the cluster's processes see folders of their own."""


class CannotRun(Exception):
    """A test cluster cannot run on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The running process 1. `born` tells it from a later process with the same number."""

    pid: int
    born: int

    def alive(self) -> bool:
        return _born(self.pid) == self.born

    def enter(self) -> list[str]:
        """The prefix of a command that is to run as a part of the cluster."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--"]

    def can_overlay(self, folder: Path) -> bool:
        """Whether the file system of this folder can carry an overlay."""
        try:
            self.run(
                f"""
                cd {folder}
                mkdir overlay overlay/lower overlay/upper overlay/work overlay/merged
                cd overlay
                mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged
                umount merged
                """
            )
        except CannotRun:
            return False
        return True

    def run(self, script: str) -> None:
        """Run a shell script inside, to its end. Raises CannotRun with what it said."""
        done = subprocess.run(
            [*self.enter(), "sh", "-euc", script], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise CannotRun(f"{done.stderr.strip() or done.stdout.strip()} (while preparing the cluster's namespaces)")


def start(layout: Layout, pause: Path) -> Holder:
    """Make the namespaces and what every part needs in them. Raises CannotRun."""
    command = ["unshare", "--net", "--mount", "--propagation=private", "--pid", "--fork", "--mount-proc"]
    parent = subprocess.Popen(
        [*command, "--kill-child=SIGKILL", str(pause)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    deadline = time.monotonic() + 10
    while (pid := _first_child(parent.pid)) is None:
        if parent.poll() is not None or time.monotonic() > deadline:
            parent.kill()
            said = parent.communicate()[1].strip() or "no process appeared"
            raise CannotRun(f"this machine does not let a process have namespaces of its own: {said}")
        time.sleep(0.01)
    born = _born(pid)
    if born is None:
        raise CannotRun("the process that was to hold the cluster's namespaces ended at once")
    holder = Holder(pid, born)
    layout.holder.write_text(json.dumps({"pid": pid, "born": born}), "utf-8")
    _wait_for_exec(holder, pause)
    _prepare(holder, layout)
    return holder


def _prepare(holder: Holder, layout: Layout) -> None:
    """Mounts, and the node's own address.

    The bridge `node` carries the node's address and a route for the Service addresses (not every kernel has the
    `dummy` type), so that an address that kube-proxy has not programmed goes nowhere.
    """
    for path in (layout.run, layout.var_lib, layout.home / "var-log"):
        path.mkdir(parents=True, exist_ok=True)
    holder.run(
        f"""
        mount --make-rshared /
        mount --bind {layout.var_lib} /var/lib
        mount --bind {layout.home / "var-log"} /var/log
        mount --bind {layout.run} /run
        echo 1 >/proc/sys/net/ipv4/ip_forward
        [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
        ip link set lo up
        ip link add node type bridge
        ip addr add {NODE_IP}/32 dev node
        ip link set node up
        ip route add {SERVICES} dev node
        """
    )


def find(layout: Layout) -> Holder | None:
    """The holder of a cluster that is up; None when there is none."""
    try:
        saved = json.loads(layout.holder.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    holder = Holder(int(saved["pid"]), int(saved["born"]))
    return holder if holder.alive() else None


def end(holder: Holder) -> None:
    """End every process of the cluster."""
    inside = _members(holder.pid)
    with suppress(ProcessLookupError):
        os.kill(holder.pid, signal.SIGKILL)
    deadline = time.monotonic() + END_WITHIN
    while holder.alive() or any(_born(pid) == born for pid, born in inside.items()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {holder.pid}, or one that it holds, did not end within {END_WITHIN:.0f} s")
        time.sleep(0.02)


def _members(pid: int) -> dict[int, int]:
    """Processes in the same process namespace as this one, each with its time of birth."""
    found: dict[int, int] = {}
    with suppress(OSError):
        namespace = Path(f"/proc/{pid}/ns/pid").readlink()
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdecimal() and (entry / "ns/pid").readlink() == namespace:
                    born = _born(int(entry.name))
                    if born is not None:
                        found[int(entry.name)] = born
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command's name, which may contain anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return None


def _born(pid: int) -> int | None:
    """When a process was started, in ticks since the machine was; None when it has ended."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in {"Z", "X"} else int(fields[19])


def _first_child(parent: int) -> int | None:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = _stat(int(entry.name))
            if fields is not None and int(fields[1]) == parent:
                return int(entry.name)
    return None


def _wait_for_exec(holder: Holder, pause: Path) -> None:
    """Wait until the namespaces are complete, which is when the child has become the holder's program."""
    deadline = time.monotonic() + 10
    while True:
        with suppress(OSError):
            if Path(f"/proc/{holder.pid}/exe").readlink() == pause.resolve():
                return
        if not holder.alive() or time.monotonic() > deadline:
            raise CannotRun("this machine does not let a process have a network and mounts of its own")
        time.sleep(0.01)
