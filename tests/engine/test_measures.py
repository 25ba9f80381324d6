"""What `/metrics` says of the colours, as comparisons ask for it later."""

from __future__ import annotations

from prometheus_client import generate_latest

from watcher.engine.measures import ActiveColors, Measures


def test_the_live_colour_is_1_and_the_other_0_and_an_unknown_one_neither() -> None:
    live = {("prod", "chat"): "green", ("prod", "shop"): ""}
    measures = Measures()
    measures.registry.register(ActiveColors(lambda: live))

    def shown() -> list[str]:
        text = generate_latest(measures.registry).decode()
        return [line for line in text.splitlines() if line.startswith("watcher_active_color{")]

    assert shown() == [
        'watcher_active_color{active="blue",application="chat",application_namespace="prod"} 0.0',
        'watcher_active_color{active="green",application="chat",application_namespace="prod"} 1.0',
        'watcher_active_color{active="blue",application="shop",application_namespace="prod"} 0.0',
        'watcher_active_color{active="green",application="shop",application_namespace="prod"} 0.0',
    ]
    live["prod", "chat"] = "blue"
    assert shown()[0].endswith(" 1.0")
