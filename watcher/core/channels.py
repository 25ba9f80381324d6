"""Where people are told: the channels of the settings, and which of them an Application wants to speak on.

What always holds: what is secret about a channel (an address that anybody could post to, a token, a password, a key)
comes from a file or from the environment and stands in no settings file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from watcher.core.models import Model, Name, Url
from watcher.core.units import Invalid, near_miss

if TYPE_CHECKING:
    from watcher.core.notices import Notice

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
Topic = Literal["asked", "flip", "decision", "attention", "end", "remark", "files"]
"""What a notice is about: what somebody asked for, a flip, the decision to go back, something that needs a person (a
hold, a lost way back, blindness), the end of a Release, a remark, files that are refused."""

Variable = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Address = Annotated[str, Field(pattern=r"^[^\s,<>@]+@[^\s,<>@]+$")]
"""An e-mail address, bare."""
Topics = Annotated[tuple[Topic, ...], Field(min_length=1)]

_SECRET_HOSTS = (
    "hooks.slack.com",
    "hooks.slack-gov.com",
    ".webhook.office.com",
    ".logic.azure.com",
    ".powerplatform.com",
)
"""Whose addresses are secrets as a whole: who knows one can post there."""


def _one_source(model: Model, *names: str) -> None:
    """Refuse a secret that comes from nowhere, or from two places."""
    given = [name for name in names if getattr(model, name) is not None]
    shown = [type(model).model_fields[name].alias or name for name in names]
    if not given:
        raise Invalid(f"{' or '.join(shown)} is missing", f"write {shown[0]}: /path/of/a/file")
    if len(given) > 1:
        more = type(model).model_fields[given[1]].alias or given[1]
        raise Invalid("the same is given twice", f"write one of {', '.join(shown)}", path=(more,))


class Slack(Model):
    """A Slack channel by a bot's token, with a thread for each Release; or an incoming webhook's address, without."""

    token_file: str | None = None
    token_env: Variable | None = None
    channel: Annotated[str, Field(min_length=1)] | None = None
    url_file: str | None = None
    url_env: Variable | None = None
    api: Url = "https://slack.com/api"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        _one_source(self, "token_file", "token_env", "url_file", "url_env")
        if (self.token_file or self.token_env) and self.channel is None:
            raise Invalid("a token can post to many channels", 'say to which: "channel: C0123456789"')
        if (self.url_file or self.url_env) and self.channel is not None:
            raise Invalid("a webhook's address has its channel already", "take channel away", path=("channel",))
        return self


class _SecretAddress(Model):
    """A place that is known by an address which nobody else may know."""

    url_file: str | None = None
    url_env: Variable | None = None

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        _one_source(self, "url_file", "url_env")
        return self


class Teams(_SecretAddress):
    """A Microsoft Teams channel or chat, by the address of a workflow."""


class PagerDuty(Model):
    """A service of PagerDuty, by the routing key of its Events API v2 integration."""

    routing_key_file: str | None = None
    routing_key_env: Variable | None = None
    url: Url = "https://events.pagerduty.com/v2/enqueue"

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        _one_source(self, "routing_key_file", "routing_key_env")
        return self


class Email(Model):
    """Mail through an SMTP server. A login goes over TLS alone."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    from_: Address = Field(alias="from")
    to: Annotated[tuple[Address, ...], Field(min_length=1)]
    username: str | None = None
    password_file: str | None = None
    password_env: Variable | None = None

    @model_validator(mode="after")
    def _login(self) -> Self:
        password = self.password_file or self.password_env
        if self.username is not None:
            _one_source(self, "password_file", "password_env")
            if self.security == "none":
                raise Invalid("a password would go in the clear", "write starttls or tls", path=("security",))
        elif password is not None:
            raise Invalid("a password without a username", "write username, too")
        return self


class Apprise(_SecretAddress):
    """Anything else that Apprise speaks to, by an address of its own form. It needs the extra `apprise`."""


class Notification(Model):
    """A place that is told what happened. With an address it is a webhook that gets a JSON document; else it names one
    kind of place.
    """

    name: Name
    url: str | None = None
    url_file: str | None = None
    url_env: Variable | None = None
    signing_key_file: str | None = None
    signing_key_env: Variable | None = None
    slack: Slack | None = None
    teams: Teams | None = None
    pager_duty: PagerDuty | None = None
    email: Email | None = None
    apprise: Apprise | None = None
    ca_file: str | None = None
    severity: Severity | None = None
    events: Topics | None = None
    template: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        keys = [type(self).model_fields[kind].alias or kind for kind in KINDS]
        address = next((key for key in ("url", "url_file", "url_env") if getattr(self, key) is not None), None)
        if not kinds and address is None:
            raise Invalid("this channel leads nowhere", f"write url, urlFile, urlEnv, or one of {', '.join(keys)}")
        if len(kinds) + (address is not None) > 1:
            second = address or kinds[1]
            path = (type(self).model_fields[second].alias or second,)
            raise Invalid("a channel is one place, and this is another", "give it a name of its own", path=path)
        if address:
            _one_source(self, "url", "url_file", "url_env")
        if self.signing_key_file is not None or self.signing_key_env is not None:
            _one_source(self, "signing_key_file", "signing_key_env")
            if not address:
                raise Invalid("only a webhook is signed", "take the signing key away")
        if self.url is not None and _is_secret(self.url):
            raise Invalid("this address is a secret", "put it into a file, and write urlFile", path=("url",))
        return self

    @model_validator(mode="after")
    def _template_is_right(self) -> Self:
        if self.template is not None:
            from watcher.core.message_templates import check  # noqa: PLC0415 - few settings have one

            check(self.template)
        return self

    @property
    def kind(self) -> str:
        """What kind of place it is, as the settings call it."""
        return next((name for name in KINDS if getattr(self, name) is not None), "webhook").replace("_d", "D")

    @property
    def least(self) -> Severity:
        """From which severity on it is told."""
        return self.severity or ("critical" if self.pager_duty else "info")


KINDS = ("slack", "teams", "pager_duty", "email", "apprise")


def _is_secret(url: str) -> bool:
    host = url.partition("://")[2].partition("/")[0]
    return "@" in host or host.partition(":")[0].lower().endswith(_SECRET_HOSTS)


class NotifyUse(Model):
    """A channel as an Application uses it: what is given here counts instead of what the channel says."""

    channel: Name
    severity: Severity | None = None
    events: Topics | None = None


def wants(channel: Notification, uses: Sequence[Name | NotifyUse] | None, notice: Notice) -> bool:
    """Whether a channel is told. An Application that names no channels (None) speaks on all of them."""
    use = NotifyUse(channel=channel.name)
    if uses is not None:
        found = [one if isinstance(one, NotifyUse) else NotifyUse(channel=one) for one in uses]
        mine = [one for one in found if one.channel == channel.name]
        if not mine:
            return False
        use = mine[0]
    if channel.pager_duty and notice.resolves:
        return True  # or what was opened would stay open
    topics = use.events or channel.events
    return _enough(notice.severity, use.severity or channel.least) and (topics is None or notice.topic in topics)


def _enough(severity: Severity, least: Severity) -> bool:
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)


def channel_problems(uses: Sequence[Name | NotifyUse] | None, channels: Mapping[str, object]) -> Iterable[Invalid]:
    """What is wrong with the channels that an Application names; each with its path in the Application."""
    seen: set[str] = set()
    for index, use in enumerate(uses or ()):
        path: tuple[str | int, ...] = ("spec", "notify", index)
        name = use.channel if isinstance(use, NotifyUse) else use
        path = (*path, "channel") if isinstance(use, NotifyUse) else path
        if name in seen:
            yield Invalid(f"the channel {name} is named twice", "name it once", path=path)
        elif name not in channels:
            near = near_miss(name, channels)
            cure = f'did you mean "{near}"?' if near else _known(channels)
            yield Invalid(f"the settings have no channel {name}", cure, path=path)
        seen.add(name)


def _known(channels: Mapping[str, object]) -> str:
    return f"write one of {', '.join(channels)}" if channels else "add it to notifications in the settings"
