"""`python -m watcher.demo.cluster`: one embedded cluster as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import signal
import sys
from pathlib import Path

from watcher.demo.cluster.server import EmbeddedCluster


def main() -> None:
    arguments = _parse()
    # Every connection through a Service takes two descriptors.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    logging.basicConfig(
        filename=arguments.log_file,
        level=logging.INFO if arguments.log_file else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    asyncio.run(_serve(arguments))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m watcher.demo.cluster", description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="file that maps image references to commands")
    parser.add_argument("--port", type=int, default=0, help="port of the API on 127.0.0.1 (0: any free one)")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="where to write the kubeconfig")
    parser.add_argument("--state-dir", type=Path, help="where pods keep their files while the cluster runs")
    parser.add_argument("--namespace", action="append", default=[], dest="namespaces", help="create this namespace")
    parser.add_argument("--backoff-scale", type=float, default=0.1, help="factor on the kubelet's back-off times")
    parser.add_argument("--cpu", default="8", help="cpu that the node offers to pods")
    parser.add_argument("--memory", default="16Gi", help="memory that the node offers to pods")
    parser.add_argument("--pods", type=int, default=110, help="how many pods the node takes")
    parser.add_argument("--log-file", type=Path, help="where the cluster logs (stderr, warnings only, without it)")
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when standard input closes")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if arguments.exit_with_stdin:
        _on_end_of_input(loop, stop)
    if arguments.state_dir is not None:
        arguments.state_dir.mkdir(parents=True, exist_ok=True)
    cluster = EmbeddedCluster(
        arguments.images,
        port=arguments.port,
        kubeconfig=arguments.kubeconfig,
        state_dir=arguments.state_dir,
        namespaces=arguments.namespaces,
        backoff_scale=arguments.backoff_scale,
        cpu=arguments.cpu,
        memory=arguments.memory,
        pods=arguments.pods,
    )
    await cluster.start()
    try:
        ready = {"server": cluster.server, "kubeconfig": str(arguments.kubeconfig)}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await cluster.stop()


def _on_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop when the other end of standard input is gone, which is so as soon as the parent is."""
    source = sys.stdin.fileno()

    def read() -> None:
        if not os.read(source, 4096):
            loop.remove_reader(source)
            stop.set()

    loop.add_reader(source, read)


if __name__ == "__main__":
    main()
