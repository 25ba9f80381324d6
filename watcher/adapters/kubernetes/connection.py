"""One connection pool to an API server: raw JSON in and out, a deadline on every call, and our own errors.

It uses the kubernetes client for what that is good at (kubeconfig, in-cluster credentials, TLS, proxies) and none of
its models: those drop fields they do not know. What always holds: no call outlives its deadline, nothing is retried
behind the caller's back, and a write whose answer did not come is reported as unknown, not as failed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import urllib3
from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException
from urllib3 import exceptions as http

from watcher.adapters.errors import AdapterError, Conflict, Fatal, OutcomeUnknown, Transient

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

Method = Literal["GET", "POST", "PATCH", "DELETE"]

FIELD_MANAGER = "bluegreen-watcher"
LARGEST_ANSWER = 256 * 1024 * 1024
_NOT_SENT = (http.NewConnectionError, http.ConnectTimeoutError, http.NameResolutionError, http.ProxyError)


class NotFound(AdapterError):
    """The object, or its kind, does not exist."""


class Gone(AdapterError):
    """A watch started too far back: list anew."""


class Connection:
    """A pool of its own: what waits on one connection never delays another (S2)."""

    def __init__(self, kubeconfig: Path | None = None, *, deadline: float = 5.0, pool: int = 8) -> None:
        """Credentials from the file named, else from the pod's service account, else from the user's kubeconfig.

        Args:
            deadline: seconds that a call may take unless it says otherwise.
            pool: connections kept open.
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
        self._deadline = deadline
        self.host = str(settings.host)

    def close(self) -> None:
        self._api.rest_client.close()

    # -- calls --------------------------------------------------------------------------------------------------------

    def get(self, path: str, **query: str) -> dict[str, Any]:
        return self._json("GET", path, query)

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._json("POST", path, {"fieldManager": FIELD_MANAGER}, dict(body), "application/json")

    def patch(self, path: str, body: Any, content_type: str) -> dict[str, Any]:
        return self._json("PATCH", path, {"fieldManager": FIELD_MANAGER}, body, content_type)

    def delete(self, path: str) -> dict[str, Any]:
        return self._json("DELETE", path, {})

    def text(self, path: str, **query: str) -> str:
        """The body of an answer that is no JSON: a log."""
        return self._call("GET", path, query, None, None).decode("utf-8", "replace")

    def watch(self, path: str, query: Mapping[str, str], silence: float) -> Iterator[dict[str, Any]]:
        """The events of one watch until the server ends it. `silence`: seconds without a byte that end it as dead."""
        response = self._send("GET", path, query, None, None, urllib3.Timeout(connect=self._deadline, read=silence))
        try:
            self._check(response, "GET", path, lambda: response.read(65536))
            rest = b""
            for chunk in response.stream(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield _event(line)
        except http.HTTPError as error:
            raise Transient(f"the watch of {path} broke: {_brief(error)}") from error
        finally:
            response.close()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _json(
        self, method: Method, path: str, query: Mapping[str, str], body: Any = None, content_type: str | None = None
    ) -> dict[str, Any]:
        data = self._call(method, path, query, body, content_type)
        try:
            found = json.loads(data)
        except ValueError as error:
            kind = Transient if method == "GET" else OutcomeUnknown
            raise kind(f"{method} {path}: the answer is no JSON") from error
        if not isinstance(found, dict):
            raise Transient(f"{method} {path}: the answer is no object")
        return found

    def _call(self, method: Method, path: str, query: Mapping[str, str], body: Any, content_type: str | None) -> bytes:
        ends = time.monotonic() + self._deadline
        timeout = urllib3.Timeout(connect=min(2.0, self._deadline), read=self._deadline)
        response = self._send(method, path, query, body, content_type, timeout)
        whole = False
        try:
            data = self._read(response, method, path, ends)
            whole = True
        finally:
            if whole:
                response.release_conn()
            else:
                response.close()
        self._check(response, method, path, lambda: data)
        return data

    def _send(
        self,
        method: Method,
        path: str,
        query: Mapping[str, str],
        body: Any,
        content_type: str | None,
        timeout: urllib3.Timeout,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json"}
        if content_type:
            headers["Content-Type"] = content_type
        self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        payload = None if body is None else json.dumps(body).encode()
        try:
            response: urllib3.BaseHTTPResponse = self._api.rest_client.pool_manager.request(
                method,
                url,
                body=payload,
                headers=headers,
                timeout=timeout,
                preload_content=False,
                redirect=False,
                retries=False,
            )
        except http.HTTPError as error:
            sent = method != "GET" and not isinstance(error, _NOT_SENT)
            kind = OutcomeUnknown if sent else Transient
            raise kind(f"{method} {path}: {_brief(error)}") from error
        return response

    def _read(self, response: urllib3.BaseHTTPResponse, method: Method, path: str, ends: float) -> bytes:
        kind = Transient if method == "GET" else OutcomeUnknown
        parts: list[bytes] = []
        size = 0
        try:
            for chunk in response.stream(65536):
                parts.append(chunk)
                size += len(chunk)
                if time.monotonic() > ends:
                    raise kind(f"{method} {path}: no complete answer within {self._deadline:g} s")
                if size > LARGEST_ANSWER:
                    raise Fatal(f"{method} {path}: the answer is over {LARGEST_ANSWER} bytes")
        except http.HTTPError as error:
            raise kind(f"{method} {path}: {_brief(error)}") from error
        return b"".join(parts)

    def _check(self, response: urllib3.BaseHTTPResponse, method: Method, path: str, body: Any) -> None:
        code = response.status
        if 200 <= code < 300:
            return
        raise _refusal(code, method, path, _status_message(body()))


def _refusal(code: int, method: Method, path: str, message: str) -> AdapterError:
    """What an HTTP code means to the caller. A JSON Patch whose test fails answers 422, a stale version 409."""
    said = f"{method} {path}: {code} {message}"
    if code == 404:
        return NotFound(said)
    if code == 410:
        return Gone(said)
    if code == 409:
        return Conflict(said)
    if code == 422:
        return Conflict(said) if method == "PATCH" else Fatal(said)
    if code == 429:
        return Transient(said)
    if code >= 500:
        return Transient(said) if method == "GET" else OutcomeUnknown(said)
    return Fatal(said)


def _status_message(data: bytes) -> str:
    try:
        status = json.loads(data)
        return str(status.get("message", ""))[:500] if isinstance(status, dict) else ""
    except ValueError:
        return data[:200].decode("utf-8", "replace").strip()


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
