"""`make faults`: everything that can go wrong between the daemon and its surroundings, and a walk through it at random.

It ends with `kill matrix: N cells, fault matrix: M cells, walk: K steps, all as expected`, or with what was not. One
cell again: `--only TEXT`, with a part of its name as it is printed.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.faults.cells import Cell, Say
from tests.faults.ground import Ground
from tests.faults.kills import kill_matrix
from tests.faults.stories import IMAGES
from tests.faults.surroundings import fault_matrix
from watcher.demo.platform import manifests

Matrix = Callable[[Ground, int, str, Say], Sequence[Cell]]


def main() -> int:
    """Run all of it; the exit status is 1 when something was not as expected."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--at-once", type=int, default=36, help="cells of the kill matrix that run at the same time (36)"
    )
    parser.add_argument("--stages", type=int, default=10, help="cells of the fault matrix that do (10)")
    parser.add_argument("--only", default="", help="only cells whose name contains this, and no walk")
    parser.add_argument("--matrix", choices=("kill", "fault"), help="only this one, and no walk")
    options = parser.parse_args()
    began = time.monotonic()

    def say(words: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:6.0f} s  {words}\n")
        sys.stdout.flush()

    kills: Sequence[Cell] = ()
    faults: Sequence[Cell] = ()
    steps, walked = 0, True
    if options.matrix != "fault":
        kills = _on_ground(kill_matrix, json.dumps(IMAGES), 0.02, options.at_once, options.only, say)
    if options.matrix != "kill":
        platform = manifests.IMAGES.read_text("utf-8")
        faults = _on_ground(fault_matrix, platform, 0.1, options.stages, options.only, say)
    if not (options.matrix or options.only):
        steps, walked = _walk(say)
    used = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    say(f"took {sum(each.ru_utime + each.ru_stime for each in used):.0f} s of processor time")
    wrong = [f"not as expected: {cell}" for cell in (*kills, *faults) if cell.wrong]
    wrong += [] if walked else ["not as expected: the walk"]
    for words in wrong:
        say(words)
    said = f"kill matrix: {len(kills)} cells, fault matrix: {len(faults)} cells, walk: {steps} steps"
    sys.stdout.write(f"{said}, {f'{len(wrong)} not as expected' if wrong else 'all as expected'}\n")
    return 1 if wrong or not (kills or faults) else 0


def _on_ground(matrix: Matrix, images: str, backoff_scale: float, at_once: int, only: str, say: Say) -> Sequence[Cell]:
    with tempfile.TemporaryDirectory(prefix="watcher-faults-") as name:
        directory = Path(name)
        file = directory / "images.yaml"
        file.write_text(images, "utf-8")
        with Ground(directory, file, backoff_scale) as ground:
            return matrix(ground, at_once, only, say)


def _walk(say: Say) -> tuple[int, bool]:
    """How many steps the random walk took, and whether every promise was kept."""
    say("walks at random")
    child = subprocess.Popen([sys.executable, "-m", "tests.walk"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    last = ""
    for line in child.stdout:
        last = line.strip()
        say(last)
    found = re.fullmatch(r"walk: (\d+) steps", last)
    return (int(found[1]) if found else 0), child.wait() == 0 and found is not None


if __name__ == "__main__":
    sys.exit(main())
