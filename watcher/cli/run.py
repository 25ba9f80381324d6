"""`watcher run`: the daemon."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import typer

from watcher.cli.files import HOME

INVALID = 2
"""Exit status when the files or the credentials cannot be used."""


STOPPING = {signal.SIGTERM, signal.SIGINT}


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("run")(run)


def run(
    config: list[Path] = typer.Option(
        [HOME],
        "--config",
        "-c",
        help="Directory with watcher.yaml, Applications and RuleSets (*.yaml, also in folders below); may be repeated.",
        envvar="WATCHER_CONFIG",
    ),
    kubeconfig: Path | None = typer.Option(
        None, "--kubeconfig", help="Credentials; without it the pod's service account, then your own kubeconfig."
    ),
) -> None:
    """Run the daemon until SIGTERM. Settings: watcher.yaml, each overridable as WATCHER_<SECTION>_<KEY>."""
    # Blocked before any thread starts, and waited for below: a handler that wakes a waiting thread may deadlock.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    # Imported here: the Kubernetes client costs time and memory that no other command should pay.
    from watcher.adapters.errors import Fatal
    from watcher.api.app import api_routes, create_app
    from watcher.api.server import Certificates, Server
    from watcher.engine.daemon import Daemon, InvalidConfig
    from watcher.engine.logging import configure_logging

    try:
        daemon = Daemon(config, os.environ, kubeconfig)
    except InvalidConfig as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        raise typer.Exit(INVALID) from None
    except (Fatal, ValueError) as error:
        print(f"watcher: {error}", file=sys.stderr)
        raise typer.Exit(INVALID) from None
    settings = daemon.config.settings
    configure_logging(settings.log.format, settings.log.level)
    try:
        http = settings.http
        usable = daemon.measures.certificate_valid.set
        certificates = (
            Certificates(Path(http.cert_file), Path(http.key_file), usable)
            if http.cert_file and http.key_file
            else None
        )
    except OSError as error:
        why = error.strerror or str(error)
        print(f"watcher: http.certFile and http.keyFile cannot be used ({why}): correct them", file=sys.stderr)
        raise typer.Exit(INVALID) from None
    try:
        server = Server(create_app(daemon, api_routes(daemon)), http.host, http.port, certificates)
    except OSError as error:
        where = f"{settings.http.host}:{settings.http.port}"
        print(f"watcher: cannot listen on {where} ({error.strerror}): set http.port", file=sys.stderr)
        raise typer.Exit(INVALID) from None
    daemon.start()
    server.start()
    signal.sigwait(STOPPING)
    server.stop()
    daemon.stop()
