"""`watcher demo`: see a release, and a rollback, on an embedded cluster."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    """Register the command."""
