"""`python -m cluster check`, `up [--image FILE ...]`, `down`, `enter COMMAND ...`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from cluster import holder, machine
from cluster.holder import CannotRun
from cluster.layout import Layout, binaries
from cluster.up import down, keep_logs, up


def main() -> int:
    parser = argparse.ArgumentParser(prog="cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    bring = commands.add_parser("up", help="bring the cluster up; prints the path of its kubeconfig")
    bring.add_argument("--image", action="append", type=Path, default=[], help="docker-archive to load into the node")
    commands.add_parser("check", help="say why this machine cannot run it, if so")
    end = commands.add_parser("down", help="end it and remove all that it left")
    end.add_argument("--keep-logs", action="store_true", help="put its logs into the cache folder first")
    inside = commands.add_parser("enter", help="run a command in the cluster's network")
    inside.add_argument("rest", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    # Either ends `up` in order, so that it cleans up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    layout = Layout.default()
    try:
        if given.command == "up":
            up(layout, given.image)
            sys.stdout.write(f"{layout.kubeconfig}\n")
        elif given.command == "check":
            machine.check(layout)
        elif given.command == "down":
            if given.keep_logs:
                keep_logs(layout)
            down(layout)
        else:
            return _enter(layout, given.rest)
    except (CannotRun, TimeoutError) as error:
        sys.stderr.write(f"cluster: {error}\n")
        return 1
    return 0


def _enter(layout: Layout, command: list[str]) -> int:
    """Become the command, in the cluster's network only: files and processes are the machine's own.

    Its environment says where the administrator's kubeconfig and the API server's audit log are.
    """
    held = holder.find(layout)
    if held is None:
        raise CannotRun("no cluster is up: cluster/up")
    os.environ["KUBECONFIG"] = str(layout.kubeconfig)
    os.environ["CLUSTER_AUDIT_LOG"] = str(layout.audit_log)
    os.environ["PATH"] = f"{binaries()}:{os.environ.get('PATH', '')}"  # its kubectl first
    arguments = ["nsenter", f"--target={held.pid}", "--net", "--", *command]
    os.execvp(arguments[0], arguments)  # noqa: S606 - an argument list, and no shell


if __name__ == "__main__":
    sys.exit(main())
