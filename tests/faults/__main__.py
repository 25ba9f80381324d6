"""`make faults`: everything that can go wrong between the daemon and its surroundings, one cell after the other."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import structlog

from tests.faults.ground import Ground
from tests.faults.kills import Runner


def main() -> int:
    """Run the matrix; the exit status is 1 when a cell did not end as it should."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--at-once", type=int, default=8, help="cells that run at the same time")
    parser.add_argument("--most", type=int, default=2, help="how many requests that look alike are struck")
    parser.add_argument("--only", default="", help="only cells whose name contains this")
    options = parser.parse_args()
    began = time.monotonic()

    def say(words: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:6.0f} s  {words}\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory(prefix="watcher-faults-") as name:
        directory = Path(name)
        with (directory / "daemons.log").open("w", encoding="utf-8") as log:
            structlog.configure(logger_factory=structlog.WriteLoggerFactory(log))
            with Ground(directory) as ground:
                cells = Runner(ground, options.at_once, options.most).matrix(say, options.only)
    wrong = [cell for cell in cells if cell.wrong]
    struck = sum(cell.struck for cell in cells)
    say(f"kill matrix: {struck} cells struck of {len(cells)}, {len(wrong)} not as expected")
    return 1 if wrong or not struck else 0


if __name__ == "__main__":
    sys.exit(main())
