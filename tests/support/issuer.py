"""An OpenID Connect issuer on loopback, as CI providers have one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.adapters.conftest import Asked, Server, reply
from tests.support.certificates import certificate, server_context

HERE = "bluegreen-watcher"
REPOSITORY = {"repository": "org/chat", "ref": "refs/heads/main"}


class Provider:
    """An issuer that serves its description and keys by TLS, and makes tokens."""

    def __init__(self, directory: Path) -> None:
        self.ca_file, key_file = certificate(directory, "issuer")
        self.keys: dict[str, Any] = {"k1": rsa.generate_private_key(65537, 2048)}
        self.works = True
        self.server = Server(self._answer, server_context(self.ca_file, key_file))
        self.url = self.server.url

    def _answer(self, asked: Asked, send: Callable[[bytes], None], _: threading.Event) -> None:
        if not self.works:
            send(reply(500))
        elif asked.path.endswith("/openid-configuration"):
            send(reply(200, {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}))
        else:
            keys = [
                json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"}
                for kid, key in self.keys.items()
            ]
            keys.append({"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "kid": "oct"})
            send(reply(200, {"keys": keys}))

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        said = {"iss": self.url, "aud": HERE, "sub": "repo:org/chat", "iat": now, "exp": now + 300} | REPOSITORY
        return {name: value for name, value in (said | changes).items() if value is not None}

    def token(self, kid: str = "k1", **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), self.keys[kid], "RS256", {"kid": kid})
