"""The daemon's own settings, `watcher.yaml`: where Prometheus is, which namespaces it serves, how it is reached.

Every default stands here. Each setting can be overridden by an environment variable named after its path:
`WATCHER_PROMETHEUS_URL` is `prometheus.url`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Literal, Self

from pydantic import model_validator

from watcher.core.access import Api
from watcher.core.channels import Notification
from watcher.core.models import ApiVersion, Model, Name, PositiveDuration, Url
from watcher.core.receivers import Receiver
from watcher.core.units import Invalid


class Prometheus(Model):
    """Anything that speaks Prometheus's HTTP API. Without a URL the rules are blind, and say so."""

    url: str = ""
    headers: dict[str, str] = {}
    token_file: str | None = None
    ca_file: str | None = None
    timeout: PositiveDuration = timedelta(seconds=8)
    graph_url: Url | None = None
    """Where people open it, for links in notifications."""


class Lease(Model):
    """Which replica acts: the one that holds this Lease. Without a namespace it lies in the daemon's own (in a
    cluster), else in that of the first Application.
    """

    name: Name = "bluegreen-watcher"
    namespace: Name | None = None
    duration: PositiveDuration = timedelta(seconds=10)


class Http(Model):
    """Where the API, the status page, probes and metrics are served. With a certificate and its key by TLS alone."""

    host: str = "127.0.0.1"
    port: int = 8080
    cert_file: str | None = None
    key_file: str | None = None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            lone, missing = ("certFile", "keyFile") if self.key_file is None else ("keyFile", "certFile")
            problem = f"{lone} does nothing without {missing}"
            raise Invalid(problem, "name both, or neither", path=(lone,))
        return self


class Log(Model):
    """`auto` is readable on a terminal and JSON elsewhere."""

    format: Literal["auto", "json", "text"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Secrets(Model):
    """Where the values lie that `{{ secrets.NAME }}` stands for: each in a file NAME of the directory, which usually is
    a mounted Secret. A file is read when its value is sent.
    """

    directory: str | None = None


class Settings(Model):
    """The file `watcher.yaml`."""

    api_version: ApiVersion = "watcher.bluegreen.dev/v1alpha1"
    kind: Literal["Settings"] = "Settings"
    prometheus: Prometheus = Prometheus()
    secrets: Secrets = Secrets()
    namespaces: tuple[Name, ...] = ()
    """Namespaces to serve besides those of the Applications: a Release there is refused with a reason."""
    lease: Lease = Lease()
    http: Http = Http()
    api: Api = Api()
    receivers: tuple[Receiver, ...] = ()
    notifications: tuple[Notification, ...] = ()
    log: Log = Log()

    def waiting(self, begun: Settings) -> list[str]:
        """What of these settings counts only after a restart of a daemon that has begun with others."""
        return [name for name, count in AT_THE_START.items() if count(self) != count(begun)]

    @model_validator(mode="after")
    def _receivers_differ(self) -> Self:
        names = [receiver.name for receiver in self.receivers]
        for index, name in enumerate(names):
            if name in names[:index]:
                problem = f"two receivers are named {name}"
                raise Invalid(problem, "give each its own name", path=("receivers", index, "name"))
        return self

    @model_validator(mode="after")
    def _channels_differ(self) -> Self:
        seen: set[str] = set()
        for index, channel in enumerate(self.notifications):
            if channel.name in seen:
                problem = f"two channels are named {channel.name}"
                raise Invalid(problem, "give each its own name", path=("notifications", index, "name"))
            seen.add(channel.name)
        return self


AT_THE_START: Mapping[str, Callable[[Settings], Model]] = {
    "prometheus": lambda settings: settings.prometheus.model_copy(update={"graph_url": None}),
    "lease": lambda settings: settings.lease,
    "http": lambda settings: settings.http,
    "log": lambda settings: settings.log,
}
"""What a daemon reads of its settings when it starts; the rest it reads whenever it is needed."""
