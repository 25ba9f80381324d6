"""`watcher notify`: the channels of the settings, and a message to try one with."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from watcher.cli.files import INVALID, Directories, read_files

UNDELIVERED = 1

group = typer.Typer(
    no_args_is_help=True, help="See on which channels people are told, and try one.", rich_markup_mode=None
)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(group, name="notify")


@group.command("list")
def list_channels(config: Directories = None) -> None:
    """Show the channels: name, kind, from which severity on, and what about."""
    for channel in read_files(config).settings.notifications:
        print(f"{channel.name}\t{channel.kind}\t{channel.least}\t{' '.join(channel.events or ('everything',))}")


@group.command("test", epilog="Exit status: 0 delivered, 1 not delivered, 2 there is no such channel, or a bad file.")
def try_channel(
    channel: Annotated[str, typer.Argument(help="Name of the channel, as in notifications[].name.")],
    config: Directories = None,
) -> None:
    """Send a sample message to a channel, whatever severity and events it wants, and say what came of it.

    It says of itself that it is a test. On PagerDuty an incident is opened and closed again. The secrets are read here:
    run it where the daemon runs, or with the same files and environment.

    Example: kubectl -n bluegreen-watcher exec deploy/bluegreen-watcher -- watcher notify test team-chat
    """
    from datetime import UTC, datetime

    from watcher.adapters import notifications
    from watcher.adapters.errors import AdapterError
    from watcher.core.message_templates import Unrendered, render
    from watcher.core.notices import sample
    from watcher.core.units import near_miss

    known = {one.name: one for one in read_files(config).settings.notifications}
    settings = known.get(channel)
    if settings is None:
        near = near_miss(channel, known)
        cure = f'did you mean "{near}"?' if near else f"there is {', '.join(known) or 'none'}"
        print(f"watcher: the settings have no channel {channel}: {cure}", file=sys.stderr)
        raise typer.Exit(INVALID)
    there = notifications.channel(settings)
    notice = sample(channel, datetime.now(UTC))
    try:
        text = render(settings.template, notice, there.quoted) if settings.template else ""
        there.send(notice, text, "")
        if settings.pager_duty:
            there.send(notice.model_copy(update={"resolves": True}), text, "")
    except (AdapterError, Unrendered) as error:
        print(f"watcher: {channel} ({settings.kind}) was not told: {error}", file=sys.stderr)
        raise typer.Exit(UNDELIVERED) from None
    print(f"{channel} ({settings.kind}) took it")
