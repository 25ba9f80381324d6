"""A thousand alerts in one second, of which one matters: what the webhook takes, and what the daemon keeps of it.

Run: `python -m bench.alerts [--json]`. A daemon of its own process on the embedded cluster watches a Release; alerts
come as one notice, and as a notice each from 64 connections, sent again until they are acknowledged. Prints, it asserts
nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.acting import GOOD, application, write
from tests.support.storm import USES, Sender, alert, notice, resident, settings
from watcher.core.release import Phase
from watcher.demo.stage import Stage

ALERTS, AT_ONCE, MATTERS = 1000, 64, 567
TOKEN = "receiver-0123456789abcdef"  # noqa: S105 - of a daemon that lives as long as this


def storm(notices: int) -> dict[str, Any]:
    """A storm of so many notices, on a stage of its own."""
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name:
        directory = Path(name)
        watch = {"duration": "10m", "interval": "1s"}
        files = write(directory / "config", application(watch=watch, alerts=USES), settings(directory, TOKEN))
        with Stage(config=files, rate=0, prometheus=False) as stage:
            release = stage.release(GOOD)
            stage.follow(release, lambda r: r.phase is Phase.WATCHING, 120, "the watch to begin")
            sender = Sender(stage.page.rstrip("/"), TOKEN)
            sender.send(notice(alert(0), group="warms up"))
            sender.seconds.clear()
            before = resident(stage.daemon_pid)
            alerts = [alert(i, "critical" if i == MATTERS else "none") for i in range(ALERTS)]
            bodies = [notice(*alerts)] if notices == 1 else [notice(one, group=str(one)) for one in alerts]
            began = time.time()
            sender.all(bodies, AT_ONCE)
            took = time.time() - began
            found = stage.follow(release, lambda r: r.phase.terminal, 120, "traffic to go back")
            return {
                "notices": len(bodies),
                "seconds": round(took, 3),
                "answerP50Ms": _percentile(sender.seconds, 50),
                "answerP99Ms": _percentile(sender.seconds, 99),
                "answerMaxMs": round(1000 * max(sender.seconds), 1),
                "sentAgain": sender.refused,
                "memoryBeforeMiB": round(before / 2**20, 1),
                "memoryGrowthMiB": round((resident(stage.daemon_pid) - before) / 2**20, 1),
                "reason": found.status.reason,
                "secondsToFlipBack": round(found.status.flips[-1].at.timestamp() - began, 3),
            }


def _percentile(seconds: Sequence[float], percent: int) -> float:
    if len(seconds) < 2:
        return round(1000 * seconds[0], 1)
    return round(1000 * statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    found = [storm(notices) for notices in (1, ALERTS)]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for one in found:
        print(f"{ALERTS} alerts as {one['notices']} notices:")
        for key, value in list(one.items())[1:]:
            print(f"  {key:<18} {value}")


if __name__ == "__main__":
    main()
