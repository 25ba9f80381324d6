"""Where the files that come with the project lie: in the installed package, or in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(name: str) -> Path:
    """A file or folder by its path in the repository; an installed package carries it in `watcher/data`."""
    packaged = _PACKAGE / "data" / Path(name).name
    return packaged if packaged.exists() else _PACKAGE.parent / name


def demo_config() -> Path:
    """The folder with the example platform's Application."""
    return _PACKAGE / "demo" / "config"
