"""`watcher rules`: what can be done with rule files before one of them may move traffic. One module per command."""

from __future__ import annotations

import typer

group = typer.Typer(no_args_is_help=True, help="Check rule files and try them out.", rich_markup_mode=None)


@group.callback()
def _rules() -> None:
    """Check rule files and try them out, without a cluster and before they may move traffic."""


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(group, name="rules")
