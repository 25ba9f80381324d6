"""Tokens of an OpenID Connect issuer, and of Kubernetes service accounts: only what was made for here counts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.adapters.conftest import Asked, Server, reply
from tests.api.conftest import Site, opened, problem
from tests.support.api import kubeconfig
from tests.support.issuer import HERE, REPOSITORY, Provider
from watcher.adapters.errors import Fatal, Transient
from watcher.adapters.kubernetes.connection import Connection
from watcher.adapters.kubernetes.reviews import Reviews
from watcher.adapters.oidc import FRESH, LASTING, PAUSE, Issuer, issuer_of
from watcher.api.callers import Callers
from watcher.core.access import Api, Kubernetes, Role
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    found = Provider(tmp_path_factory.mktemp("issuer"))
    yield found
    found.server.close()


def public(provider: Provider) -> bytes:
    found: bytes = (
        provider.keys["k1"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return found


def part(claims: dict[str, Any]) -> str:
    return jwt.utils.base64url_encode(json.dumps(claims).encode()).decode()


def signed_as_secret(provider: Provider) -> str:
    """HS256 with the public key for a secret."""
    head, body = part({"alg": "HS256", "kid": "k1"}), part(provider.claims())
    made = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = made.sign(f"{head}.{body}".encode(), public(provider))
    return f"{head}.{body}.{jwt.utils.base64url_encode(signature).decode()}"


def replayed(provider: Provider) -> str:
    """The signature of a token for another branch, under claims for this one."""
    head, _, signature = provider.token(ref="refs/heads/evil").split(".")
    return f"{head}.{part(provider.claims())}.{signature}"


BAD: dict[str, Callable[[Provider], str]] = {
    "expired": lambda p: p.token(exp=int(time.time()) - 60),
    "not yet": lambda p: p.token(nbf=int(time.time()) + 600),
    "from the future": lambda p: p.token(iat=int(time.time()) + 600),
    "for another audience": lambda p: p.token(aud="somebody-else"),
    "for no audience": lambda p: p.token(aud=None),
    "of another issuer": lambda p: p.token(iss="https://evil.example"),
    "of an issuer whose name begins alike": lambda p: p.token(iss=p.url + ".evil.example"),
    "for ever": lambda p: p.token(exp=None),
    "of nobody": lambda p: p.token(sub=None),
    "without a signature": lambda p: f"{part({'alg': 'none', 'kid': 'k1'})}.{part(p.claims())}.",
    "signed with the public key as a secret": signed_as_secret,
    "with a replayed signature": replayed,
    "signed by another key": lambda p: jwt.encode(
        p.claims(), rsa.generate_private_key(65537, 2048), "RS256", {"kid": "k1"}
    ),
    "signed by a key of another kind": lambda p: jwt.encode(
        p.claims(), ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": "k1"}
    ),
    "with a key that nobody knows": lambda p: jwt.encode(p.claims(), p.keys["k1"], "RS256", {"kid": "other"}),
    "with a secret that is served": lambda p: jwt.encode(
        p.claims(), b"secret-secret-secret-secret-secret", "HS256", {"kid": "oct"}
    ),
    "no token": lambda _: "a.b.c",
    "empty parts": lambda _: "..",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_token_that_is_not_wholly_right_is_refused(bad: Callable[[Provider], str], provider: Provider) -> None:
    issuer = Issuer(provider.url, str(provider.ca_file))
    assert issuer.claims(provider.token(), HERE) is not None
    assert issuer.claims(provider.token(exp=int(time.time()) - 10), HERE) is not None, "clocks may differ a little"
    assert issuer.claims(bad(provider), HERE) is None


def test_new_keys_are_fetched_when_they_are_needed_and_rarely(tmp_path: Path) -> None:
    provider = Provider(tmp_path)
    clock = [1000.0]
    issuer = Issuer(provider.url, str(provider.ca_file), lambda: clock[0])
    assert issuer.claims(provider.token(), HERE) is not None
    asked = len(provider.server.asked)
    provider.keys["k2"] = rsa.generate_private_key(65537, 2048)
    for _ in range(20):
        assert issuer.claims(provider.token("k2"), HERE) is None
    assert len(provider.server.asked) == asked, "tokens with unknown keys do not make it ask again and again"
    clock[0] += PAUSE + 1
    assert issuer.claims(provider.token("k2"), HERE) is not None

    del provider.keys["k1"]
    old = provider.token("k2")
    provider.works = False
    clock[0] += FRESH + 1
    assert issuer.claims(old, HERE) is not None, "an outage of the issuer is not felt"
    clock[0] += LASTING
    with pytest.raises(Transient):
        issuer.claims(old, HERE)
    provider.server.close()


def test_an_issuer_that_is_not_what_it_says_or_not_trusted_gives_no_keys(tmp_path: Path) -> None:
    provider = Provider(tmp_path)
    token = provider.token()
    for address, ca_file in ((provider.url + "/other", str(provider.ca_file)), (provider.url, None)):
        with pytest.raises(Transient):
            Issuer(address, ca_file).claims(token, HERE)
    provider.server.close()


@pytest.fixture
def pipeline(provider: Provider, tmp_path: Path) -> Iterator[Site]:
    entry = {
        "name": "github",
        "issuer": provider.url,
        "audience": HERE,
        "claims": REPOSITORY,
        "caFile": str(provider.ca_file),
        "roles": ["releaser"],
        "applications": [f"{NAMESPACE}/{APPLICATION}"],
    }
    with opened(tmp_path, {"oidc": [entry]}) as site:
        yield site


def test_a_workflow_is_let_in_by_its_repository_and_branch(pipeline: Site, provider: Provider) -> None:
    created = pipeline.create(provider.token())
    assert created.status_code == 201
    assert created.json()["spec"]["requestedBy"] == "github:repo:org/chat"
    problem(pipeline.create(provider.token(ref="refs/heads/topic")), 401)
    problem(pipeline.create(provider.token(repository="evil/chat")), 401)
    problem(pipeline.create(replayed(provider)), 401)
    problem(pipeline.ask("POST", created.headers["location"] + "/approve", provider.token()), 403)


# -- Kubernetes -------------------------------------------------------------------------------------------------------


class ApiServer:
    """As much of an API server as reviews need: one good token, and who may what."""

    def __init__(self, token: str) -> None:
        self.token, self.reviews = token, 0
        self.allowed = {("create", "prod"), ("get", "prod")}
        self.server = Server(self._answer)

    def _answer(self, asked: Asked, send: Callable[[bytes], None], _: threading.Event) -> None:
        spec = json.loads(asked.body)["spec"]
        if asked.path.startswith("/apis/authentication.k8s.io/v1/tokenreviews"):
            self.reviews += 1
            good = spec["token"] == self.token and spec["audiences"] == [HERE]
            user = {"username": "system:serviceaccount:ci:deployer", "groups": ["system:serviceaccounts"]}
            status = {"authenticated": True, "audiences": [HERE], "user": user} if good else {"authenticated": False}
        else:
            assert spec["user"] == "system:serviceaccount:ci:deployer"
            assert spec["groups"] == ["system:serviceaccounts"]
            wanted = spec["resourceAttributes"]
            assert (wanted["group"], wanted["resource"]) == ("watcher.bluegreen.dev", "releases")
            status = {"allowed": (wanted["verb"], wanted["namespace"]) in self.allowed}
        send(reply(201, {"kind": "Review", "status": status}))


def a_token(**claims: Any) -> str:
    return jwt.encode({"iss": "https://kubernetes.default.svc"} | claims, "x" * 40, "HS256")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[ApiServer, Callers]]:
    api = ApiServer(a_token(sub="deployer"))
    connection = Connection(kubeconfig(tmp_path / "kubeconfig", api.server.url))
    settings = Api(kubernetes=Kubernetes(audience=HERE))
    yield api, Callers(lambda: settings, Reviews(connection))
    connection.close()
    api.server.close()


def test_a_service_account_may_what_the_cluster_lets_it_do(cluster: tuple[ApiServer, Callers]) -> None:
    api, callers = cluster
    caller = callers.identify(api.token)
    assert caller is not None
    assert caller.name == "system:serviceaccount:ci:deployer"
    assert caller.may(Role.READER, "prod", "chat")
    assert not caller.may(Role.READER, "kube-system", "chat")
    assert not caller.may(Role.RELEASER, "prod", "chat"), "to steer a Release takes patch"
    api.allowed.add(("patch", "prod"))
    assert caller.may(Role.RELEASER, "prod", "chat"), "rights are asked for anew"
    assert callers.identify(api.token) is not None
    assert api.reviews == 1, "the answer about a token is believed for some seconds"


def test_a_token_that_the_cluster_does_not_let_in_is_refused(cluster: tuple[ApiServer, Callers]) -> None:
    api, callers = cluster
    assert callers.identify(a_token(sub="somebody-else")) is None
    assert callers.identify("no-token-at-all-of-any-kind") is None
    assert api.reviews == 1, "what is no such token is not asked about"
    elsewhere = Callers(lambda: Api(kubernetes=Kubernetes(audience="elsewhere")), callers._reviews)
    assert elsewhere.identify(api.token) is None


def test_a_cluster_that_refuses_the_review_lets_nobody_in(tmp_path: Path) -> None:
    server = Server(lambda _, send, __: send(reply(403, {"message": "tokenreviews is forbidden"})))
    connection = Connection(kubeconfig(tmp_path / "kubeconfig", server.url))
    callers = Callers(lambda: Api(kubernetes=Kubernetes(audience=HERE)), Reviews(connection))
    with pytest.raises(Fatal):
        callers.identify(a_token())
    connection.close()
    server.close()


def test_a_token_names_its_issuer_believed_or_not() -> None:
    assert issuer_of(a_token()) == "https://kubernetes.default.svc"
    assert issuer_of("x") == issuer_of(f"{part({'alg': 'HS256'})}.{part({'iss': 7})}.x") == ""
