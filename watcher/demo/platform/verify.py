"""The verification of the chat service as its team would run it: a container that asks the new version, and ends.

It is told TARGET_URL, VERSION and COLOR, as the watcher tells every Job. It ends with 0 when all is well, else with 1.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

TIMEOUT = 5.0


def verify(target: str, version: str, color: str) -> list[str]:
    """What is wrong with the version behind a URL; says each step on standard output."""
    wrong = []
    for path, wanted in (
        ("/version", {"version": version, "color": color}),
        ("/healthz", {"healthy": True}),
        ("/verify", {"ok": True}),
    ):
        answer = _ask(target + path)
        found = {key: answer.get(key) for key in wanted}
        ok = found == wanted
        reason = "" if ok else f": {answer.get('reason') or f'{found}, expected {wanted}'}"
        print(f"{'ok' if ok else 'FAILED'} GET {path}{reason}", flush=True)  # noqa: T201 - its log is what it is for
        if not ok:
            wrong.append(path)
    return wrong


def _ask(url: str) -> Mapping[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:  # noqa: S310 - the URL is the watcher's own
            found = json.load(response)
    except urllib.error.HTTPError as error:
        found = json.load(error)
    except (OSError, ValueError) as error:
        return {"reason": f"no answer: {error}"}
    return found if isinstance(found, dict) else {"reason": "the answer is no object"}


def main() -> int:
    """The entry point of the image `verify-chat`."""
    return 1 if verify(os.environ["TARGET_URL"], os.environ["VERSION"], os.environ["COLOR"]) else 0


if __name__ == "__main__":
    sys.exit(main())
