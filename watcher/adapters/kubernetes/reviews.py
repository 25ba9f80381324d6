"""Asks the API server who has a token, and what they may do with Releases: TokenReview and SubjectAccessReview.

What always holds: a token counts only where the API server says that it is valid and was made for the audience; an
answer about a token is believed for some seconds, one about a right never.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from watcher.adapters.kubernetes.connection import Connection
from watcher.core.release import GROUP, PLURAL

BELIEVED = 10.0
"""Seconds for which the answer about a token counts."""
MOST_KNOWN = 1000

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody whom the API server knows."""

    name: str
    uid: str
    groups: tuple[str, ...]
    extra: Mapping[str, Any]


class Reviews:
    """What the API server says of callers."""

    def __init__(self, connection: Connection) -> None:
        self._api = connection
        self._known: OrderedDict[str, tuple[float, User | None]] = OrderedDict()
        self._lock = threading.Lock()

    def user(self, token: str, audience: str) -> User | None:
        """Whose token it is; None when the API server does not let it in for this audience. Raises AdapterError."""
        key = hashlib.sha256(f"{audience}\n{token}".encode()).hexdigest()
        now = time.monotonic()
        with self._lock:
            until, found = self._known.get(key, (0.0, None))
            if now < until:
                return found
        found = self._review(token, audience)
        with self._lock:
            self._known[key] = (now + BELIEVED, found)
            self._known.move_to_end(key)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return found

    def may(self, user: User, verb: str, namespace: str) -> bool:
        """Whether the user may do this with Releases of the namespace. Raises AdapterError."""
        spec = {
            "user": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": dict(user.extra),
            "resourceAttributes": {"group": GROUP, "resource": PLURAL, "verb": verb, "namespace": namespace},
        }
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        status = self._api.create(ACCESS_REVIEWS, body).get("status") or {}
        return status.get("allowed") is True and status.get("denied") is not True

    def _review(self, token: str, audience: str) -> User | None:
        spec = {"token": token, "audiences": [audience]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        status = self._api.create(TOKEN_REVIEWS, body).get("status") or {}
        user = status.get("user") or {}
        # An authenticator that knows nothing of audiences leaves them out: then the token is for the API server alone.
        if status.get("authenticated") is not True or audience not in (status.get("audiences") or ()):
            return None
        if not user.get("username"):
            return None
        return User(user["username"], user.get("uid", ""), tuple(user.get("groups") or ()), user.get("extra") or {})
