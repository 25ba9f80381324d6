"""The daemon's API, as the action asks it.

What always holds: each request has a deadline, and one that got no usable answer is sent again, with pauses that grow,
until the patience or the step's time is over. That is safe, because whatever is asked for carries a key under which
the daemon follows it once.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from typing import NoReturn
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import OpenerDirector, Request

from action import job
from action.ends import Ended, Exit, Json, Unreachable
from action.exchange import Answer, NoAnswer, Untrusted, exchange, opener, pause
from action.tokens import Tokens

WITHIN = 20.0
"""Seconds for one request."""
POLL = 20
"""Seconds that the daemon is asked to keep a question open: proxies close what is silent for long."""
PATIENCE = 300.0
"""Seconds without any usable answer after which nobody waits any more."""
LONGEST_PAUSE = 15.0
AGAIN = frozenset({429, 500, 502, 503, 504})
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

CURES = {
    401: "The daemon does not know this token. It may be another one's, or have run out",
    403: "The token is known, but may not do this: add the role to its entry in the daemon's settings",
    404: "The daemon has no such thing, or this token may not see it: look at namespace and name, and at the entry's "
    "applications",
}


class Client:
    """Asks one daemon, until a time on the monotonic clock."""

    def __init__(self, server: str, tokens: Tokens, ca_certificate: str, until: float) -> None:
        self._server, self._tokens, self._until = server, tokens, until
        self._opener: OpenerDirector
        try:
            self._opener = opener(ca_certificate)
        except ValueError as error:
            raise Ended(Exit.USAGE, f"The input ca-certificate: {error}.") from None
        url = urlsplit(server)
        if url.scheme == "http" and url.hostname not in LOCAL:
            job.annotate("warning", job.TITLE, "The server's address is http: the token travels unprotected.")

    def hurry(self, seconds: float) -> None:
        """From now on be done within so many seconds."""
        self._until = time.monotonic() + seconds

    # -- what can be asked --------------------------------------------------------------------------------------------

    def application(self, namespace: str, name: str) -> Json:
        return self._ask("GET", _path("applications", namespace, name))

    def rollback_application(self, namespace: str, name: str, body: Json, key: str) -> Json:
        return self._ask("POST", _path("applications", namespace, name, "rollback"), body, key)

    def create(self, body: Json, key: str) -> Json:
        return self._ask("POST", _path("releases"), body, key)

    def release(self, namespace: str, name: str) -> Json:
        return self._ask("GET", _path("releases", namespace, name))

    def steer(self, namespace: str, name: str, verb: str, reason: str, key: str) -> Json:
        return self._ask("POST", _path("releases", namespace, name, verb), {"reason": reason}, key)

    def changed(self, release: Json) -> Json:
        """The Release once it has changed; the same one after a while without a change."""
        left = max(0.0, self._until - time.monotonic())
        wanted = {"since": release["resourceVersion"], "timeout": f"{min(POLL, left):.1f}"}
        path = _path("releases", release["namespace"], release["name"], "wait")
        return self._ask("GET", f"{path}?{urlencode(wanted)}", extra=POLL)

    # -- how ----------------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, body: Json | None = None, key: str = "", extra: float = 0.0) -> Json:
        patience = time.monotonic() + PATIENCE
        wait, silent, renewed = 1.0, False, False
        while True:
            try:
                answer = self._once(method, path, body, key, extra)
            except Untrusted as error:
                cure = "give the one that signed it as the input ca-certificate"
                raise Ended(Exit.ERROR, f"The server's certificate is not trusted ({error}): {cure}.") from None
            except NoAnswer as error:
                why, after = str(error), 0.0
            else:
                if answer.status == 401 and not renewed and self._tokens.renew():
                    renewed = True
                    continue
                if not _worth_another_try(answer):
                    if silent:
                        job.say("The daemon answers again.")
                    return _usable(answer, self._refused)
                why, after = f"it answers {answer.status}{_detail(answer)}", _after(answer)
            now = time.monotonic()
            rest = min(patience, self._until) - now
            if rest <= 0:
                raise Unreachable(f"The daemon at {self._server} gave no usable answer: {why}")
            if not silent:
                job.say(f"The daemon does not answer as it should ({why}); tries again.")
                silent = True
            pause(min(max(after, wait * random.uniform(0.7, 1.0)), rest))  # noqa: S311 - nothing secret
            wait = min(wait * 2, LONGEST_PAUSE)

    def _once(self, method: str, path: str, body: Json | None, key: str, extra: float) -> Answer:
        headers = {"Accept": "application/json", "User-Agent": "bluegreen-watcher-action"}
        if key:
            headers["Idempotency-Key"] = key
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = Request(self._server + path, data, headers, method=method)  # noqa: S310 - http or https, always
        request.add_unredirected_header("Authorization", f"Bearer {self._tokens.token(self._until)}")
        # However little of the step's time is left: a request that is sent gets a second to be answered.
        within = min(WITHIN + extra, max(1.0, self._until - time.monotonic() + extra))
        return exchange(self._opener, request, within)

    def _refused(self, answer: Answer) -> NoReturn:
        body, status = answer.body or {}, answer.status
        errors = body.get("errors")
        details = [
            f"{one.get('in', '')} {one.get('name', '')}: {one.get('problem', '')}".strip()
            for one in (errors if isinstance(errors, list) else ())
            if isinstance(one, dict)
        ]
        if status == 401:
            details.extend(self._tokens.told())
        said = str(body.get("detail") or f"It answers {status}, and does not say why.")
        cure = CURES.get(status)
        exit_ = {400: Exit.USAGE, 422: Exit.USAGE, 409: Exit.REFUSED}.get(status, Exit.ERROR)
        raise Ended(exit_, f"{status}: {said}" + (f" {cure}." if cure else ""), tuple(details))


def _usable(answer: Answer, refused: Callable[[Answer], NoReturn]) -> Json:
    if 200 <= answer.status < 300:
        found = answer.body
        if found is not None:
            return found
        raise Ended(Exit.ERROR, "What answers is not the daemon's API: no JSON came. Is the input server right?")
    if 300 <= answer.status < 400:
        where = urlsplit(answer.headers.get("location", "")).hostname or "somewhere else"
        raise Ended(
            Exit.ERROR, f"The server sends us to {where}, and no redirect is followed. Is the input server right?"
        )
    return refused(answer)


def _worth_another_try(answer: Answer) -> bool:
    """A 502 of the daemon itself is a lasting refusal of the cluster; that of a proxy passes."""
    of_daemon = answer.headers.get("content-type", "").startswith("application/problem+json")
    return answer.status in AGAIN and not (answer.status == 502 and of_daemon)


def _detail(answer: Answer) -> str:
    said = (answer.body or {}).get("detail")
    return f": {said}" if isinstance(said, str) else ""


def _after(answer: Answer) -> float:
    """Seconds that the answer asks to wait; 0 where it does not say."""
    said = answer.headers.get("retry-after", "")
    return min(float(said), 60.0) if said.isdigit() else 0.0


def _path(*parts: str) -> str:
    return "/api/v1/" + "/".join(quote(part, safe="") for part in parts)


def text(of: Mapping[str, object], name: str) -> str:
    """A word of an answer; empty where there is none."""
    found = of.get(name)
    return found if isinstance(found, str) else ""
