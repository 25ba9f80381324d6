"""One connection pool to an API server: raw JSON in and out, a deadline on every call, and our own errors.

It uses the kubernetes client for what that is good at (kubeconfig, in-cluster credentials, TLS, proxies) and none of
its models: those drop fields they do not know. What always holds: no call outlives its deadline, nothing is retried
behind the caller's back, and a write whose answer did not come is reported as unknown, not as failed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn
from urllib.parse import urlencode, urlsplit

import urllib3
from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException
from urllib3 import exceptions as http

from watcher.adapters.bounded_http import Deadline, Late, Unreachable, until, use_bounded_pools
from watcher.adapters.errors import AdapterError, Conflict, Fatal, OutcomeUnknown, Transient

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

Method = Literal["GET", "POST", "PATCH", "DELETE"]

FIELD_MANAGER = "bluegreen-watcher"
CONNECT = 2.0
"""Seconds in which a connection must come about."""
LARGEST_ANSWER = 256 * 1024 * 1024
_NOT_SENT = (http.NewConnectionError, http.ConnectTimeoutError, http.NameResolutionError, http.ProxyError)


class NotFound(AdapterError):
    """The object, or its kind, does not exist."""


class AlreadyExists(Conflict):
    """There is an object of that name. A creation can conflict otherwise too: with somebody else's use of a quota."""


class Gone(AdapterError):
    """A watch started too far back: list anew."""


class Connection:
    """A pool of its own: what waits on one connection never delays another (S2)."""

    def __init__(
        self,
        kubeconfig: Path | None = None,
        *,
        deadline: float = 5.0,
        pool: int = 8,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """Credentials from the file named, else from the pod's service account, else from the user's kubeconfig.

        Args:
            deadline: seconds that a call may take unless it says otherwise.
            pool: connections kept open.
            may_write: asked right before every write; a No makes it fail as Transient, and nothing is sent (S6).
        """
        settings = client.Configuration()
        settings.retries = False
        settings.keep_alive = True
        settings.connection_pool_maxsize = pool
        try:
            if kubeconfig is not None:
                config.load_kube_config(str(kubeconfig), client_configuration=settings)
            else:
                try:
                    config.load_incluster_config(client_configuration=settings)
                except ConfigException:
                    config.load_kube_config(client_configuration=settings)
        except (ConfigException, OSError, ValueError) as error:
            where = kubeconfig or "the pod's service account or ~/.kube/config"
            raise Fatal(f"no usable credentials for Kubernetes in {where}: {error}") from error
        self._api = client.ApiClient(settings)
        # The client's own time-outs are per socket read: a server that drips would be read for ever.
        use_bounded_pools(self._api.rest_client.pool_manager)
        self._deadline, self._may_write = deadline, may_write
        server = urlsplit(str(settings.host))
        self.host = f"{server.scheme}://{server.netloc.rpartition('@')[2]}"
        """For people: without user and path, in which a gateway may expect a secret."""

    def close(self) -> None:
        self._api.rest_client.close()

    # -- calls --------------------------------------------------------------------------------------------------------

    def get(self, path: str, **query: str) -> dict[str, Any]:
        return self._json("GET", path, query)

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._json("POST", path, {"fieldManager": FIELD_MANAGER}, dict(body), "application/json")

    def patch(self, path: str, body: Any, content_type: str) -> dict[str, Any]:
        return self._json("PATCH", path, {"fieldManager": FIELD_MANAGER}, body, content_type)

    def delete(self, path: str, **query: str) -> dict[str, Any]:
        return self._json("DELETE", path, query)

    def text(self, path: str, **query: str) -> str:
        """The body of an answer that is no JSON: a log."""
        return self._call("GET", path, query, None, None).decode("utf-8", "replace")

    def watch(self, path: str, query: Mapping[str, str], silence: float) -> Iterator[dict[str, Any]]:
        """The events of one watch until the server ends it. `silence`: seconds without a byte that end it as dead."""
        with until(Deadline(self._deadline)):
            response = self._send("GET", path, query, None, None)
            if response.status != 200:
                self._refuse(response, "GET", path)
        chunks = response.stream(65536)
        rest = b""
        try:
            while True:
                with until(Deadline(silence)):
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield _event(line)
        except Late as error:
            raise Transient(f"the watch of {path} broke: silent for {silence:g} s") from error
        except http.HTTPError as error:
            raise Transient(f"the watch of {path} broke: {_brief(error)}") from error
        finally:
            response.close()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _json(
        self, method: Method, path: str, query: Mapping[str, str], body: Any = None, content_type: str | None = None
    ) -> dict[str, Any]:
        if method != "GET" and not self._may_write():
            raise Transient(f"{method} {path} was not sent: another replica leads")
        data = self._call(method, path, query, body, content_type)
        unclear = Transient if method == "GET" else OutcomeUnknown
        try:
            found = json.loads(data)
        except ValueError as error:
            raise unclear(f"{method} {path}: the answer is no JSON") from error
        if not isinstance(found, dict):
            raise unclear(f"{method} {path}: the answer is no object")
        return found

    def _call(self, method: Method, path: str, query: Mapping[str, str], body: Any, content_type: str | None) -> bytes:
        with until(Deadline(self._deadline)):
            response = self._send(method, path, query, body, content_type)
            data = self._read(response, method, path)
        if not 200 <= response.status < 300:
            raise _refusal(response, method, path, _status(data), content_type)
        return data

    def _send(
        self, method: Method, path: str, query: Mapping[str, str], body: Any, content_type: str | None
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json"}
        if content_type:
            headers["Content-Type"] = content_type
        self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        payload = None if body is None else json.dumps(body).encode()
        with self._in_words(method, path):
            response: urllib3.BaseHTTPResponse = self._api.rest_client.pool_manager.request(
                method,
                url,
                body=payload,
                headers=headers,
                timeout=urllib3.Timeout(connect=min(CONNECT, self._deadline)),
                preload_content=False,
                redirect=False,
                retries=False,
            )
        return response

    def _read(self, response: urllib3.BaseHTTPResponse, method: Method, path: str) -> bytes:
        parts: list[bytes] = []
        size = 0
        whole = False
        try:
            with self._in_words(method, path):
                for chunk in response.stream(65536):
                    parts.append(chunk)
                    size += len(chunk)
                    if size > LARGEST_ANSWER:
                        raise Fatal(f"{method} {path}: the answer is over {LARGEST_ANSWER} bytes")
            whole = True
        finally:
            if whole:
                response.release_conn()
            else:
                response.close()
        return b"".join(parts)

    def _refuse(self, response: urllib3.BaseHTTPResponse, method: Method, path: str) -> NoReturn:
        raise _refusal(response, method, path, _status(self._read(response, method, path)))

    @contextmanager
    def _in_words(self, method: Method, path: str) -> Iterator[None]:
        """Say what went wrong, and whether a change may have happened nevertheless."""
        unclear = Transient if method == "GET" else OutcomeUnknown
        try:
            yield
        except Unreachable as error:
            raise Transient(f"{method} {path}: {error}") from error
        except Late as error:
            raise unclear(f"{method} {path}: no complete answer within {self._deadline:g} s") from error
        except http.HTTPError as error:
            kind = Transient if isinstance(error, _NOT_SENT) else unclear
            raise kind(f"{method} {path}: {_brief(error)}") from error


def _refusal(
    response: urllib3.BaseHTTPResponse,
    method: Method,
    path: str,
    status: tuple[str, str],
    content_type: str | None = None,
) -> AdapterError:
    """What an HTTP code means to the caller. A JSON Patch whose test fails answers 422, a stale version 409."""
    code, (message, reason) = response.status, status
    said = f"{method} {path}: {code} {message}"
    if code == 404:
        return NotFound(said)
    if code == 410:
        return Gone(said)
    if code == 409:
        return AlreadyExists(said) if reason == "AlreadyExists" else Conflict(said)
    if code == 422:
        return Conflict(said) if content_type == JSON_PATCH else Fatal(said)
    if code == 429:
        # The API server sends whole seconds (priority and fairness); a date would be some proxy's.
        asked = response.headers.get("Retry-After", "")
        return Transient(said, min(float(asked), 3600.0) if asked.isascii() and asked.isdigit() else 0.0)
    if code >= 500:
        return Transient(said) if method == "GET" else OutcomeUnknown(said)
    return Fatal(said)


def _status(data: bytes) -> tuple[str, str]:
    """The message and the reason of a refusal."""
    try:
        status = json.loads(data)
    except ValueError:
        return data[:200].decode("utf-8", "replace").strip(), ""
    if not isinstance(status, dict):
        return "", ""
    return str(status.get("message", ""))[:500], str(status.get("reason", ""))


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
        kind, found = event["type"], event["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise Transient("the watch sent something that is no event") from error
    if kind == "ERROR":
        if found.get("code") == 410:
            raise Gone(str(found.get("message", "")))
        raise Transient(f"the watch ended with {found.get('code')}: {found.get('message', '')}")
    return {"type": kind, "object": found}


def _brief(error: Exception) -> str:
    """The error in one line, without addresses of objects."""
    text = str(error).rpartition(">: ")[2] or type(error).__name__
    return f"{type(error).__name__}: {text}" if text != type(error).__name__ else text
