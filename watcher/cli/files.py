"""The files of a daemon as a command reads them: all of them right, or every problem said."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from watcher.engine.config import Config

INVALID = 2
"""Exit status when the files cannot be used."""


def read_files(directories: Sequence[Path]) -> Config:
    """The files as the daemon would take them; every problem is printed, and the command ends, where it would not."""
    from watcher.engine.config import read_config

    config, problems = read_config(list(directories), os.environ)
    if config is None:
        for problem in problems:
            print(problem, file=sys.stderr)
        raise typer.Exit(INVALID)
    return config
