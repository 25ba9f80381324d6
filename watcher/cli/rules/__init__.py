"""`watcher rules`: what can be done with rule files before one of them may move traffic. One module per command."""

from __future__ import annotations

import typer

from watcher.cli.rules import backtest, lint, schema, show, test

group = typer.Typer(no_args_is_help=True, help="Check rule files and try them out.", rich_markup_mode=None)

for _command in (lint, test, backtest, schema, show):
    _command.add_to(group)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(group, name="rules")
