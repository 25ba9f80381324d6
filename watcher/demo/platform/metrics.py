"""What the chat service tells Prometheus, under the names that the Prometheus client libraries use for HTTP.

It exists so that the rule packs can be tried on something real. What always holds: only requests of users are counted
(never probes, scrapes or self checks), label values are bounded, every series of a known handler exists from the
start with the value 0 (so that a rate sees the first error), and nothing here knows its namespace, colour or pod:
those labels come from service discovery.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 2.5, 5.0)
"""Upper bounds of the latency buckets, in seconds."""

USER_HANDLERS = (("POST", "/chat"), ("GET", "/chat/conversations/{id}"), ("POST", "/convert"))


class ChatMetrics:
    """The service's own registry and its instruments."""

    def __init__(self, version: str, active_users: Callable[[], int]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "http_requests_total",
            "Requests of users, by status code.",
            ("code", "method", "handler"),
            registry=self.registry,
        )
        self.duration = Histogram(
            "http_request_duration_seconds",
            "Time from a user's request line until the answer is ready.",
            ("method", "handler"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.received = Counter("chat_network_receive_bytes_total", "Bytes of users' requests.", registry=self.registry)
        self.transmitted = Counter(
            "chat_network_transmit_bytes_total", "Bytes of answers to users.", registry=self.registry
        )
        self.active_users = Gauge(
            "chat_active_users", "Conversations with a message in the last 30 s.", registry=self.registry
        )
        self.active_users.set_function(active_users)
        self.conversations = Counter("chat_conversations_total", "Conversations started.", registry=self.registry)
        self.conversions = Counter(
            "chat_conversions_total", "Conversations that led to a subscription.", registry=self.registry
        )
        Info("app", "What runs here.", registry=self.registry).info({"version": version})
        for method, handler in USER_HANDLERS:
            self.duration.labels(method, handler)
            for code in ("200", "500"):
                self.requests.labels(code, method, handler)

    def observe(self, *, method: str, handler: str, code: int, seconds: float, received: int, sent: int) -> None:
        """Counts one answered request of a user."""
        self.requests.labels(str(code), method, handler).inc()
        self.duration.labels(method, handler).observe(seconds)
        self.received.inc(received)
        self.transmitted.inc(sent)

    def page(self) -> bytes:
        """The text exposition of everything."""
        return generate_latest(self.registry)
