"""Who may ask for what over HTTP: the entries of the settings, and what an entry allows.

What always holds: nobody may do what no entry names. A role counts only for the Applications of the same entry, and a
token that is to be told from others by what an issuer says of it has to name at least one such claim.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from watcher.core.models import Model, Name, Url
from watcher.core.units import Invalid, shown

SHORTEST_TOKEN = 16
"""Characters that a token needs before anybody is let in by it."""


class Role(StrEnum):
    """What a caller is there for."""

    READER = "reader"
    RELEASER = "releaser"
    """Asks for releases, pauses, aborts and rolls back."""
    APPROVER = "approver"
    RECEIVER = "receiver"
    """Posts alerts."""


READING = frozenset({Role.READER, Role.RELEASER, Role.APPROVER})
"""Whoever asks for a release may see what came of it; whoever posts alerts need not."""


def _is_scope(given: str) -> str:
    if re.fullmatch(r"[a-z0-9*-]+/[a-z0-9*-]+", given) is None:
        cure = f"did you mean {shown(given + '/*')}?" if "/" not in given else 'write one such as "prod/*"'
        raise Invalid(f"{shown(given)} is no NAMESPACE/APPLICATION", cure)
    return given


Scope = Annotated[str, AfterValidator(_is_scope), Field(json_schema_extra={"pattern": "^[a-z0-9*-]+/[a-z0-9*-]+$"})]
"""Applications by namespace and name; `*` stands for any characters of either."""

RoleName = Literal["reader", "releaser", "approver", "receiver"]
Roles = Annotated[tuple[RoleName, ...], Field(min_length=1)]
Scopes = Annotated[tuple[Scope, ...], Field(min_length=1)]


class Token(Model):
    """A caller with a bearer token, which stands in a file."""

    name: Name
    file: str
    roles: Roles
    applications: Scopes


class Kubernetes(Model):
    """Callers with a token of a Kubernetes service account: the cluster's own rights over Releases count."""

    audience: Annotated[str, Field(min_length=1)]


class Oidc(Model):
    """Callers with a token of an OpenID Connect issuer, such as a CI provider: those whose claims are as named."""

    name: Name
    issuer: Url
    audience: Annotated[str, Field(min_length=1)]
    claims: Annotated[dict[str, str], Field(min_length=1)]
    ca_file: str | None = None
    roles: Roles
    applications: Scopes


class Api(Model):
    """Who may use the API. With nobody named it only reads, and answers loopback alone."""

    tokens: tuple[Token, ...] = ()
    kubernetes: Kubernetes | None = None
    oidc: tuple[Oidc, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """Roles, and the Applications for which they count."""

    roles: frozenset[Role]
    applications: tuple[str, ...]

    def allows(self, role: Role, namespace: str, application: str) -> bool:
        """Whether a caller with this grant has the role for an Application."""
        has = bool(self.roles & READING) if role is Role.READER else role in self.roles
        return has and any(_covers(scope, namespace, application) for scope in self.applications)


def grant(entry: Token | Oidc) -> Grant:
    """What an entry of the settings allows."""
    return Grant(frozenset(Role(role) for role in entry.roles), entry.applications)


LOOKER = Grant(frozenset({Role.READER}), ("*/*",))
"""What loopback may do without a token."""


def same_token(given: str, texts: Iterable[str]) -> bool:
    """Whether a token is one of those that files hold, a line each. It takes as long for a wrong one as for the right,
    whatever they have in common: hashes are compared, all of them and as a whole."""
    wanted = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
    found = False
    for text in texts:
        for line in text.split():
            equal = hmac.compare_digest(wanted, hashlib.sha256(line.encode()).digest())
            found |= equal and len(line) >= SHORTEST_TOKEN
    return found


def claims_match(wanted: Mapping[str, str], said: Mapping[str, object]) -> bool:
    """Whether each claim is there and as named; `*` in what is named stands for any characters."""
    return bool(wanted) and all(
        isinstance(value := said.get(name), str) and _like(pattern, value) for name, pattern in wanted.items()
    )


def _covers(scope: str, namespace: str, application: str) -> bool:
    of_namespace, _, of_name = scope.partition("/")
    return _like(of_namespace, namespace) and _like(of_name, application)


def _like(pattern: str, value: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), value, re.DOTALL) is not None
