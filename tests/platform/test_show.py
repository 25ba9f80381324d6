"""What a person sees of the demo, on a terminal too small for it."""

from __future__ import annotations

import io

from rich.console import Console

from watcher.demo.scenarios import SCENARIOS
from watcher.demo.show import Show


def test_a_small_terminal_hides_no_news() -> None:
    seen = io.StringIO()
    console = Console(file=seen, force_terminal=True, width=40, height=5)
    with Show(SCENARIOS["errors"], console) as show:
        for number in range(20):
            show.say(f"sentence-{number} is longer than what fits on a line of this terminal")

    assert [f"sentence-{number} " in seen.getvalue() for number in range(20)] == [True] * 20
