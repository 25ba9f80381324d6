"""The command `watcher`. Each command lies in a module of its own, and is imported when it is used."""

from __future__ import annotations

import typer

from watcher import __version__
from watcher.cli import adoption, demo, notify, release, rules, run

app = typer.Typer(
    name="watcher",
    help="Makes blue/green releases on Kubernetes safe: deploys to the idle colour, tests it, flips the Service "
    "selector, watches Prometheus against rules, and flips back when they are breached.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        print(f"watcher {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Say the version."),
) -> None:
    pass


run.add_to(app)
demo.add_to(app)
release.add_to(app)
adoption.add_to(app)
rules.add_to(app)
notify.add_to(app)


def main() -> None:
    """The entry point of the installed command."""
    app()
