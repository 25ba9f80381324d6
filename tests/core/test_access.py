"""Who may ask for what: nobody for more than an entry of the settings says."""

from __future__ import annotations

import pytest

from watcher.core.access import LOOKER, Grant, Role, claims_match, grant, same_token
from watcher.core.documents import read_documents
from watcher.core.settings import Settings

HEAD = "apiVersion: watcher.bluegreen.dev/v1alpha1\nkind: Settings\n"
ENTRY = "{name: ci, file: /t, roles: [releaser], applications: [prod/*]}"
ISSUER = "name: gh, issuer: https://ci.example, audience: w, roles: [releaser], applications: [prod/chat]"


def read(text: str) -> tuple[Settings | None, list[str]]:
    found = read_documents(HEAD + text, "watcher.yaml", {"Settings": Settings})
    model = found.items[0].model if found.items else None
    return model if isinstance(model, Settings) else None, [str(problem) for problem in found.problems]


@pytest.mark.parametrize(
    ("roles", "scope", "role", "namespace", "application", "may"),
    [
        ("releaser", "prod/chat", Role.RELEASER, "prod", "chat", True),
        ("releaser", "prod/chat", Role.READER, "prod", "chat", True),
        ("releaser", "prod/chat", Role.APPROVER, "prod", "chat", False),
        ("releaser", "prod/chat", Role.RECEIVER, "prod", "chat", False),
        ("approver", "prod/chat", Role.READER, "prod", "chat", True),
        ("approver", "prod/chat", Role.RELEASER, "prod", "chat", False),
        ("reader", "prod/chat", Role.RELEASER, "prod", "chat", False),
        ("receiver", "prod/chat", Role.READER, "prod", "chat", False),
        ("receiver", "prod/chat", Role.RECEIVER, "prod", "chat", True),
        ("releaser", "prod/*", Role.RELEASER, "prod", "chat", True),
        ("releaser", "*/chat", Role.RELEASER, "prod", "chat", True),
        ("releaser", "prod/chat-*", Role.RELEASER, "prod", "chat-a-b", True),
        ("releaser", "prod/chat", Role.RELEASER, "prod", "chat-2", False),
        ("releaser", "prod/*", Role.RELEASER, "prod-2", "chat", False),
        ("releaser", "prod/*", Role.RELEASER, "a-prod", "chat", False),
        ("releaser", "p.od/chat", Role.RELEASER, "prod", "chat", False),
    ],
)
def test_a_role_counts_for_the_applications_of_its_entry(
    roles: str, scope: str, role: Role, namespace: str, application: str, may: bool
) -> None:
    assert Grant(frozenset({Role(roles)}), (scope,)).allows(role, namespace, application) is may


def test_loopback_only_looks() -> None:
    assert [role for role in Role if LOOKER.allows(role, "prod", "chat")] == [Role.READER]


def test_entries_are_read_from_settings() -> None:
    settings, problems = read(
        f"api: {{tokens: [{ENTRY}], kubernetes: {{audience: w}},"
        f" oidc: [{{{ISSUER}, claims: {{ref: refs/heads/*}}}}]}}\n"
    )
    assert problems == []
    assert settings is not None
    assert grant(settings.api.tokens[0]) == Grant(frozenset({Role.RELEASER}), ("prod/*",))
    assert grant(settings.api.oidc[0]).applications == ("prod/chat",)
    assert settings.api.kubernetes is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("api: {tokens: [{name: ci, file: /t, roles: [releaser]}]}\n", '"applications"'),
        ("api: {tokens: [{name: ci, file: /t, roles: [], applications: [a/b]}]}\n", "list is too short"),
        ("api: {tokens: [{name: ci, file: /t, roles: [admin], applications: [a/b]}]}\n", "admin"),
        ("api: {tokens: [{name: ci, file: /t, roles: [reader], applications: [prod]}]}\n", 'did you mean "prod/*"?'),
        ("api: {tokens: [{name: ci, file: /t, roles: [reader], applications: [a/b/c]}]}\n", 'such as "prod/*"'),
        (f"api: {{oidc: [{{{ISSUER}}}]}}\n", '"claims"'),
        (f"api: {{oidc: [{{{ISSUER}, claims: {{}}}}]}}\n", "mapping is too short"),
        ("http: {certFile: /c}\n", "certFile does nothing without keyFile"),
        ("http: {keyFile: /c}\n", "keyFile does nothing without certFile"),
    ],
)
def test_an_entry_that_leaves_open_who_may_what_is_refused(text: str, said: str) -> None:
    settings, problems = read(text)
    assert settings is None
    assert said in "".join(problems)


@pytest.mark.parametrize(
    ("given", "text", "same"),
    [
        ("a-token-of-sixteen", "a-token-of-sixteen\n", True),
        ("a-token-of-sixteen", "the-next-token-comes\na-token-of-sixteen\n", True),
        ("a-token-of-sixteen", "a-token-of-sixteen-and-more\n", False),
        ("a-token-of-sixteen", "A-token-of-sixteen\n", False),
        ("short", "short\n", False),
        ("", "\n", False),
        ("a-token-of-sixteen", "", False),
    ],
)
def test_a_token_is_the_whole_of_a_line_and_not_short(given: str, text: str, same: bool) -> None:
    assert same_token(given, [text]) is same


@pytest.mark.parametrize(
    ("wanted", "said", "match"),
    [
        ({"repository": "org/chat"}, {"repository": "org/chat", "ref": "x"}, True),
        ({"repository": "org/chat"}, {"repository": "org/chat-2"}, False),
        ({"repository": "org/chat"}, {"repository": "evil/org/chat"}, False),
        ({"repository": "org/chat"}, {}, False),
        ({"repository": "org/*", "ref": "refs/heads/main"}, {"repository": "org/chat", "ref": "refs/heads/dev"}, False),
        ({"ref": "refs/heads/*"}, {"ref": "refs/heads/a\nb"}, True),
        ({"ref": "refs/heads/*"}, {"ref": ["refs/heads/main"]}, False),
        ({}, {"ref": "refs/heads/main"}, False),
    ],
)
def test_each_claim_that_is_named_has_to_be_as_named(
    wanted: dict[str, str], said: dict[str, object], match: bool
) -> None:
    assert claims_match(wanted, said) is match
