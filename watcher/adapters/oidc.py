"""Tokens of OpenID Connect issuers: fetches an issuer's keys, and says what a token that it signed claims.

What always holds: only algorithms with a public key are known, so neither an unsigned token nor one signed with the
public key as a secret passes; issuer, audience and the times in a token are checked; fetching has a deadline, happens
rarely whatever tokens come, and follows no redirect; keys that cannot be fetched anew count for an hour, then no more.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests
import structlog

from watcher.adapters.bounded_http import BoundedSession
from watcher.adapters.errors import AdapterError, Transient

log = structlog.get_logger(__name__)

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY = 30.0
"""Seconds by which clocks may differ."""
FRESH = 600.0
"""Seconds after which keys are fetched anew."""
LASTING = 3600.0
"""Seconds for which keys count that cannot be fetched anew."""
PAUSE = 10.0
"""Seconds between two fetches at least: tokens with keys that nobody knows cost the issuer no more."""
WITHIN = 5.0
LARGEST = 256 * 1024
REQUIRED = ["exp", "iat", "iss", "aud", "sub"]


def issuer_of(token: str) -> str:
    """Which issuer a token names, believed or not; empty when it is no such token."""
    try:
        said = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, RecursionError):
        return ""
    return said if isinstance(said, str) else ""


class Issuer:
    """One issuer and its keys."""

    def __init__(self, address: str, ca_file: str | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._address, self._ca_file, self._now = address, ca_file, now
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._lock = threading.Lock()

    def claims(self, token: str, audience: str) -> dict[str, Any] | None:
        """What a token says that this issuer made for the audience and that counts now; None for any other.

        Raises:
            Transient: the issuer's keys are not to be had.
        """
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = header.get("alg"), header.get("kid", "")
            if algorithm not in ALGORITHMS or not isinstance(kid, str):
                return None
            key = self._key(kid)
            if key is None:
                return None
            found: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=audience,
                issuer=self._address,
                leeway=LEEWAY,
                options={"require": REQUIRED},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            log.info("a token is refused", issuer=self._address, why=type(error).__name__)
            return None
        return found

    def _key(self, kid: str) -> jwt.PyJWK | None:
        with self._lock:
            now = self._now()
            stale = now - self._fetched_at > FRESH
            if (stale or kid not in self._keys) and now - self._tried_at > PAUSE:
                self._tried_at = now
                try:
                    self._keys, self._fetched_at = self._fetch(), now
                except AdapterError as error:
                    log.warning("an issuer's keys cannot be fetched", issuer=self._address, error=str(error))
            if now - self._fetched_at > LASTING:
                raise Transient(f"the keys of {self._address} are not to be had")
            return self._keys.get(kid)

    def _fetch(self) -> dict[str, jwt.PyJWK]:
        described = self._get(self._address.rstrip("/") + "/.well-known/openid-configuration")
        where = described.get("jwks_uri")
        if described.get("issuer") != self._address or not isinstance(where, str):
            raise Transient("it describes another issuer, or names no keys")
        if urlsplit(self._address).scheme == "https" and urlsplit(where).scheme != "https":
            raise Transient("its keys are not served by TLS")
        keys = self._get(where).get("keys")
        found = {}
        for one in keys if isinstance(keys, list) else ():
            try:
                if one.get("kty") != "oct" and one.get("use", "sig") == "sig":
                    found[str(one.get("kid", ""))] = jwt.PyJWK(one)
            except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
                log.info("an issuer's key is passed over", issuer=self._address)
        return found

    def _get(self, url: str) -> dict[str, Any]:
        session = BoundedSession(verify=self._ca_file or True)
        try:
            reply = session.exchange(requests.Request("GET", url), within=WITHIN, limit=LARGEST)
        finally:
            session.close()
        if reply.status != 200 or reply.cut:
            raise Transient(f"it answers {reply.status}" + (" with too much" if reply.cut else ""))
        try:
            found = json.loads(reply.body)
        except (ValueError, RecursionError) as error:
            raise Transient("its answer is no JSON") from error
        if not isinstance(found, dict):
            raise Transient("its answer is no object")
        return found
