"""One HTTP request within a deadline, by the standard library.

What always holds: an exchange ends within its deadline, however slowly the other side trickles; a redirect is never
followed, so a token goes nowhere but to the address that it is meant for; an answer has a largest size.
"""

from __future__ import annotations

import http.client
import json
import signal
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import IO, Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.request import BaseHandler, HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

LARGEST = 4 * 1024 * 1024


class NoAnswer(Exception):
    """The exchange did not come to its end; whether the request arrived is not known."""


class Untrusted(NoAnswer):
    """The other side's certificate is not trusted, which trying again does not mend."""


@dataclass(frozen=True)
class Answer:
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """By name, in lower case."""
    text: str

    @property
    def body(self) -> dict[str, Any] | None:
        """The JSON object that it holds; None when it is anything else."""
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow none: the answer is handed on as it is."""


def opener(ca_certificate: str = "") -> OpenerDirector:
    """What opens requests, by way of the runner's proxy where it has one; `ca_certificate` (PEM) is trusted too.

    Raises:
        ValueError: it is no certificate.
    """
    try:
        context = ssl.create_default_context()
        if ca_certificate:
            context.load_verify_locations(cadata=ca_certificate)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("it is no certificate in PEM form") from error
    handlers: list[BaseHandler] = [_NoRedirect(), HTTPSHandler(context=context)]
    return build_opener(*handlers)


def exchange(by: OpenerDirector, request: Request, within: float) -> Answer:
    """Send a request, and read the whole answer. Raises NoAnswer."""
    try:
        with _deadline(within):
            try:
                with by.open(request, timeout=within) as response:
                    return _answer(response.status, response.headers, response)
            except HTTPError as error:
                with error:
                    return _answer(error.code, error.headers, error)
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise Untrusted(error.reason.verify_message) from error
        raise NoAnswer(_why(error.reason)) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer(_why(error)) from error


def _answer(status: int, headers: Any, stream: IO[bytes]) -> Answer:
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it answers with more than {LARGEST // 1024 // 1024} MiB")
    # read() with a size does not say that less came than was announced.
    announced = headers.get("content-length", "")
    if announced.isdigit() and len(data) < int(announced):
        raise ValueError("the answer broke off")
    return Answer(status, {name.lower(): value for name, value in headers.items()}, data.decode("utf-8", "replace"))


def _why(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower() if error.errno and error.errno > 0 else str(error)
    return str(error) or type(error).__name__


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raises TimeoutError once the time is over: a socket's own time-out begins anew with every byte."""

    def over(_: int, __: FrameType | None) -> NoReturn:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def pause(seconds: float) -> None:
    """Wait before trying again."""
    time.sleep(max(seconds, 0))
