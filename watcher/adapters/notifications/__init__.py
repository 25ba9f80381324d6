"""The places that are told what happened. One of them delivers one notice once; trying again is for others.

What always holds: a channel ends within seconds, whatever the other side does; what it raises says what happened and
holds nothing secret, no address among it.
"""

from __future__ import annotations

from typing import Protocol

from watcher.adapters.notifications.email import Email
from watcher.adapters.notifications.everything_else import EverythingElse
from watcher.adapters.notifications.pagerduty import PagerDuty
from watcher.adapters.notifications.posting import Secret
from watcher.adapters.notifications.slack import SlackBot, SlackWebhook
from watcher.adapters.notifications.teams import Teams
from watcher.adapters.notifications.webhook import Webhook
from watcher.core import channels
from watcher.core.channels import Notification
from watcher.core.notices import Notice


class Channel(Protocol):
    """One place."""

    @property
    def name(self) -> str: ...

    @property
    def threads(self) -> bool:
        """Whether what is told of one Release hangs together there."""
        ...

    def quoted(self, value: str) -> str:
        """A value for the channel's own template, so that nothing in it acts as markup."""
        ...

    def send(self, notice: Notice, text: str, thread: str) -> str:
        """Deliver once. `text` takes the place of the default words where it is not empty; `thread` is what an earlier
        notice about the same Release gave here. Returns the thread, or nothing where there are none.

        Raises:
            Transient: a later try may help; `retry_after` says when, if the other side did.
            Fatal: it helps only to change something.
        """
        ...


def channel(settings: Notification) -> Channel:
    """The channel that the settings describe."""
    ca_file = settings.ca_file
    if (slack := settings.slack) is not None:
        if slack.channel is not None:
            token = Secret("the bot's token", slack.token_file, slack.token_env)
            return SlackBot(settings.name, token, slack.channel, slack.api, ca_file)
        return SlackWebhook(settings.name, Secret("the webhook's address", slack.url_file, slack.url_env), ca_file)
    if (teams := settings.teams) is not None:
        return Teams(settings.name, Secret("the workflow's address", teams.url_file, teams.url_env), ca_file)
    if (pager := settings.pager_duty) is not None:
        routing_key = Secret("the routing key", pager.routing_key_file, pager.routing_key_env)
        return PagerDuty(settings.name, routing_key, pager.url, ca_file)
    if settings.email is not None:
        return _email(settings.name, settings.email, ca_file)
    if (other := settings.apprise) is not None:
        return EverythingElse(settings.name, Secret("the address", other.url_file, other.url_env))
    key = None
    if settings.signing_key_file is not None or settings.signing_key_env is not None:
        key = Secret("the signing key", settings.signing_key_file, settings.signing_key_env)
    url = Secret("the address", settings.url_file, settings.url_env, settings.url)
    return Webhook(settings.name, url, key, ca_file)


def _email(name: str, found: channels.Email, ca_file: str | None) -> Email:
    password = Secret("the password", found.password_file, found.password_env) if found.username else None
    return Email(name, found.host, found.port, found.security, found.from_, found.to, found.username, password, ca_file)
