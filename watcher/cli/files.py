"""The files of a daemon as a command reads them: all of them right, or every problem said."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from watcher.core.application import Application
    from watcher.engine.config import Config

INVALID = 2
"""Exit status when the files cannot be used."""


HOME = Path("/etc/watcher")
"""Where the daemon's files lie unless somebody says otherwise."""

Directories = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        "-c",
        envvar="WATCHER_CONFIG",
        help=f"Directory or file, as for watcher run; may be repeated. [default: {HOME}]",
    ),
]


def read_files(directories: Sequence[Path] | None) -> Config:
    """The files as the daemon would take them; every problem is printed, and the command ends, where it would not."""
    from watcher.engine.config import read_config

    config, problems = read_config(list(directories or [HOME]), os.environ, secrets_elsewhere=True)
    if config is None:
        for problem in problems:
            print(problem, file=sys.stderr)
        raise typer.Exit(INVALID)
    return config


def find_application(config: Config, name: str, namespace: str) -> Application:
    """The Application of this name, in any namespace where none is given; the command ends where it is not one."""
    from watcher.core.units import near_miss

    there = [app for app in config.applications.values() if namespace in ("", app.namespace)]
    named = [app for app in there if app.name == name]
    if len(named) == 1:
        return named[0]
    if named:
        spaces = ", ".join(sorted(app.namespace for app in named))
        said = f"there are Applications {name} in {spaces}: say which with --namespace"
    else:
        known = sorted({app.name for app in there})
        meant = near_miss(name, known)
        where = f" in namespace {namespace}" if namespace else ""
        cure = f'did you mean "{meant}"?' if meant else f"there is {', '.join(known) or 'none in these files'}"
        said = f"there is no Application {name}{where}: {cure}"
    print(f"watcher: {said}", file=sys.stderr)
    raise typer.Exit(INVALID)
