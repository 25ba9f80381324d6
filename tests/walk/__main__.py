"""`python -m tests.walk`: a random walk through everything that can happen to a daemon, the promises as invariants.

It ends with `walk: K steps`. When a promise is broken it says which one, the seed, and the story that led there.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.walk.ground import Ground
from tests.walk.machine import machine
from watcher.engine.logging import configure_logging

LENGTH = 40
"""Steps of one walk, from a fresh pair to everything healed and ended."""
WALKS = 10
"""With one seed. The first one that hypothesis tries is a trivial one."""


def main() -> int:
    """Walk; the exit status is 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.walk", description=__doc__)
    parser.add_argument("--steps", type=int, default=3000, help="how many steps, over all walks")
    parser.add_argument("--seed", type=int, default=1, help="where to begin: each walk has a seed of its own")
    parser.add_argument("--processes", type=int, default=0, help="walk in so many processes (0: one for each core)")
    options = parser.parse_args()
    processes = options.processes or min(4, os.cpu_count() or 1)
    began = time.monotonic()
    steps, failed = _alone(options.steps, options.seed) if processes == 1 else _side_by_side(processes, options)
    said = f"{time.monotonic() - began:.0f} s"
    sys.stdout.write(f"==> {said}\nwalk: {steps} steps{', a promise was broken' if failed else ''}\n")
    return 1 if failed else 0


def _side_by_side(processes: int, options: argparse.Namespace) -> tuple[int, bool]:
    """The same in several processes, with seeds that do not meet."""
    each = -(-options.steps // processes)
    command = [sys.executable, "-m", "tests.walk", "--processes", "1", "--steps", str(each)]
    children = [
        subprocess.Popen([*command, "--seed", str(options.seed + 1000 * n)], stdout=subprocess.PIPE, text=True)
        for n in range(processes)
    ]
    steps, failed = 0, False
    for child in children:
        said, _ = child.communicate()
        *before, last = said.rstrip().splitlines() or [""]
        failed = failed or child.returncode != 0
        sys.stdout.write("".join(f"{line}\n" for line in before if not line.startswith("==>")))
        with suppress(ValueError, IndexError):
            steps += int(last.split()[1])
    return steps, failed


def _alone(steps: int, first: int) -> tuple[int, bool]:
    with tempfile.TemporaryDirectory(prefix="walk-log-") as name:
        log = Path(name) / "daemons.log"
        configure_logging("json", "info")
        handler = logging.getLogger().handlers[0]
        assert isinstance(handler, logging.StreamHandler)
        with ExitStack() as stack:
            handler.setStream(stack.enter_context(log.open("a", encoding="utf-8")))
            stack.callback(logging.disable)  # what still dies has nobody to tell
            ground = stack.enter_context(Ground(log))
            number = first
            while ground.steps < steps and ground.failed is None:
                _walk(ground, number)
                number += 1
            ends = ", ".join(f"{count} {end}" for end, count in sorted(ground.ends.items()))
            sys.stdout.write(f"from seed {first}: {ground.flips} flips; Releases: {ends}\n")
            if ground.failed is not None:
                words, story, said = ground.failed
                lines = ["the daemon's last words:", *said, "the story:", *story, f"BROKEN {words}"]
                sys.stdout.write("\n".join(lines))
                sys.stdout.write(f"\nagain: python -m tests.walk --processes 1 --steps 1 --seed {number - 1}\n")
            return ground.steps, ground.failed is not None


def _walk(ground: Ground, number: int) -> None:
    """One walk. What hypothesis says of it is not repeated: the ground has the story as it was the first time."""
    options = settings(
        max_examples=WALKS,
        stateful_step_count=LENGTH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        print_blob=False,
        report_multiple_bugs=False,
    )
    try:
        run_state_machine_as_test(seed(number)(machine(ground)), settings=options)
    except Exception:
        if ground.failed is None:  # nothing that happened in a walk
            raise


if __name__ == "__main__":
    sys.exit(main())
