"""Tokens that the daemon is asked with: the one that was given, or the job's own from GitHub.

What always holds: a token is masked before it is used, stands in no message, and of GitHub's own a new one is fetched
before the old one runs out, as a long wait outlasts it.
"""

from __future__ import annotations

import base64
import json
import os
import time
from typing import Any, Protocol
from urllib.parse import quote, urlsplit
from urllib.request import Request

from action import exchange, job
from action.ends import Ended, Exit, Unreachable

EARLY = 60.0
"""Seconds before its end in which a token is not used any more."""
WITHIN = 15.0
TRIES = 5
SHOWN = ("iss", "aud", "sub", "repository", "ref", "environment", "workflow_ref", "job_workflow_ref", "event_name")
"""Claims that a daemon's settings may name; none of them is secret."""


class Tokens(Protocol):
    """Where tokens come from."""

    def token(self, until: float) -> str:
        """One that counts; had before a time on the monotonic clock."""

    def renew(self) -> bool:
        """Forget the token, as it was refused; whether another one can be had."""

    def told(self) -> tuple[str, ...]:
        """What may be said about it to somebody who wonders why it is refused."""


class Given:
    """The token of the input."""

    def __init__(self, token: str) -> None:
        self._token = token

    def token(self, _: float) -> str:
        return self._token

    def renew(self) -> bool:
        return False

    def told(self) -> tuple[str, ...]:
        return ("The input token was sent. It has to stand in the file of an entry of api.tokens.",)


class OfJob:
    """The job's own tokens, for an audience."""

    def __init__(self, audience: str) -> None:
        self._url = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", "")
        self._secret = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "")
        if not self._url or not self._secret:
            cure = "give the input token, or let the job have the permission id-token: write"
            raise Ended(Exit.USAGE, f"There is no token to ask the daemon with: {cure}.")
        job.mask(self._secret)
        self._audience, self._opener = audience, exchange.opener()
        self._token, self._ends = "", 0.0

    def token(self, until: float) -> str:
        if not self._token or time.time() > self._ends - EARLY:
            self._fetch(until)
        return self._token

    def renew(self) -> bool:
        self._token = ""
        return True

    def told(self) -> tuple[str, ...]:
        claims = claims_of(self._token)
        said = [f"{name}: {claims[name]}" for name in SHOWN if name in claims]
        return ("The job's own token was sent. An entry of api.oidc has to fit what it says:", *said)

    def _fetch(self, until: float) -> None:
        sign = "&" if urlsplit(self._url).query else "?"
        request = Request(f"{self._url}{sign}audience={quote(self._audience, safe='')}")  # noqa: S310 - GitHub's own
        request.add_unredirected_header("Authorization", f"Bearer {self._secret}")
        why = ""
        for tried in range(TRIES):
            try:
                answer = exchange.exchange(self._opener, request, min(WITHIN, max(1.0, until - time.monotonic())))
            except exchange.NoAnswer as error:
                why = str(error)
            else:
                token = (answer.body or {}).get("value")
                if answer.status == 200 and isinstance(token, str) and token:
                    job.mask(token)
                    ends = claims_of(token).get("exp")
                    # One that is short from the beginning is used once, and then fetched anew.
                    self._token, self._ends = token, float(ends) if isinstance(ends, int | float) else 0.0
                    return
                why = f"it answers {answer.status}"
                if answer.status < 500 and answer.status != 429:
                    break
            if time.monotonic() + 2.0**tried > until:
                break
            exchange.pause(2.0**tried)
        raise Unreachable(f"GitHub gives the job no token ({why})")


def claims_of(token: str) -> dict[str, Any]:
    """What a token says of itself, believed or not."""
    try:
        part = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
