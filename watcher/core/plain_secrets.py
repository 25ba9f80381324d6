"""What an Application, or the settings, would send elsewhere: which secrets it refers to, and which stand in the clear.

What always holds: a text that is plainly a secret is refused where files are read. A Release keeps the Application that
it began with, for everybody who may read Releases; so a secret that stands in the file would stand there too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from watcher.core.application import Application
from watcher.core.checks import Hooks, Probe
from watcher.core.jobs import JobTemplate
from watcher.core.models import Model
from watcher.core.secrets import reference, references, refers
from watcher.core.settings import Settings
from watcher.core.units import Invalid, near_miss, shown

Path = tuple[str | int, ...]

_WORDS = frozenset(
    ("token", "password", "passwd", "pwd", "passphrase", "secret", "apikey", "credential", "credentials", "sig")
)
_KEYS = frozenset(("api", "access", "private", "auth", "secret", "client", "signing", "account", "subscription"))
"""What makes a key one that nobody else may know: an API key, an access key."""
_HEADERS = frozenset(("authorization", "proxy-authorization", "cookie", "x-auth"))
_SCHEMES = re.compile(r"\s*(?:Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_PLAIN = re.compile(
    r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|\bxox[abposr]-[A-Za-z0-9-]{10,}|\bglpat-[A-Za-z0-9_-]{16,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|https://hooks\.slack\.com/services/[A-Za-z0-9]|https://discord(?:app)?\.com/api/webhooks/[0-9]"
    r"|https://[a-z0-9.-]+\.(?:webhook\.office|logic\.azure)\.com[:/0-9]",
    re.IGNORECASE,
)
"""Texts of which their form says what they are."""

IN_A_FILE = f'write "{reference("NAME")}", and put the value into the file NAME of secrets.directory (settings)'
IN_A_JOB = "take it from a Secret, by env[].valueFrom.secretKeyRef of a job's template or manifest"


@dataclass(frozen=True, slots=True)
class Sent:
    """A text that is sent elsewhere, and as what; `name` is the header's or the variable's."""

    path: Path
    kind: Literal["header", "url", "body", "env"]
    text: str
    name: str = ""


def _sent(model: Model) -> Iterator[Sent]:
    if isinstance(model, Application):
        yield from _of_application(model)
    elif isinstance(model, JobTemplate):
        yield from _of_manifest((), model)
    elif isinstance(model, Settings):
        yield from _of_settings(model)


def _of_application(app: Application) -> Iterator[Sent]:
    """What its checks and hooks send, and what its Jobs are given."""
    for path, _, check in app.spec.tests.checks():
        where: Path = ("spec", "tests", *path)
        if check.http is not None:
            http = check.http
            yield from _request((*where, "http"), ("path", http.path), http.headers, http.body)
        yield from _job(where, check)
    for point, field in Hooks.model_fields.items():
        for index, hook in enumerate(getattr(app.spec.hooks, point)):
            where = ("spec", "hooks", str(field.alias), index)
            if hook.http is not None:
                yield from _request((*where, "http"), ("url", hook.http.url), hook.http.headers, hook.http.body)
            yield from _job(where, hook)


def _of_settings(settings: Settings) -> Iterator[Sent]:
    """What is sent to Prometheus."""
    yield Sent(("prometheus", "url"), "url", settings.prometheus.url)
    for name, value in settings.prometheus.headers.items():
        yield Sent(("prometheus", "headers", name), "header", value, name)


def secret_problems(model: Model, known: Mapping[str, str] | None = None) -> Iterator[Invalid]:
    """What must not be sent so, of an Application or the settings. `known` says of each secret that there is why it
    cannot be used, "" if it can; without it nothing is said of secrets that there are not.
    """
    for one in _sent(model):
        try:
            names = list(references(one.text))
        except Invalid as error:
            yield Invalid(error.problem, error.cure, path=one.path)
            continue
        if names and one.kind == "env":
            yield Invalid("nothing is filled in here", IN_A_JOB, path=one.path)
        elif one.path == ("prometheus", "url") and refers(one.text.rpartition("@")[2]):
            cure = f'write it as the password, "https://user:{reference("NAME")}@host", or below headers'
            yield Invalid("nothing is filled in here", cure, path=one.path)
        elif what := _in_the_clear(one):
            cure = IN_A_JOB if one.kind == "env" else IN_A_FILE
            yield Invalid(f"{what} stands in the clear", cure, path=one.path)
        if known is not None:
            yield from (_missing(name, known, one.path) for name in names if known.get(name, "?"))


def _missing(name: str, known: Mapping[str, str], path: Path) -> Invalid:
    if name in known:
        return Invalid(f"the secret {name} {known[name]}", "put one line of text into its file", path=path)
    guess = near_miss(name, known)
    cure = f'did you mean "{reference(guess)}"?' if guess else f"add the file {name} to secrets.directory (settings)"
    return Invalid(f"there is no secret {name}", cure, path=path)


def _request(path: Path, address: tuple[str, str], headers: Mapping[str, str], body: str | None) -> Iterator[Sent]:
    yield Sent((*path, address[0]), "url", address[1])
    for name, value in headers.items():
        yield Sent((*path, "headers", name), "header", value, name)
    if body is not None:
        yield Sent((*path, "body"), "body", body)


def _job(path: Path, probe: Probe) -> Iterator[Sent]:
    if probe.job is None:
        return
    for name, value in probe.job.env.items():
        yield Sent((*path, "job", "env", name), "env", value, name)
    if probe.job.manifest is not None:
        yield from _of_manifest((*path, "job", "manifest"), probe.job.manifest)


def _of_manifest(path: Path, manifest: JobTemplate) -> Iterator[Sent]:
    pod = manifest.spec["template"]["spec"]
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(_listed(pod.get(kind))):
            where = (*path, "spec", "template", "spec", kind, index, "env")
            for number, row in enumerate(_listed(container.get("env"))):
                if isinstance(row.get("value"), str):
                    yield Sent((*where, number, "value"), "env", row["value"], str(row.get("name", "")))


def _listed(value: Any) -> Sequence[dict[str, Any]]:
    """The mappings of a list; what else a manifest has there, the API server refuses."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _in_the_clear(sent: Sent) -> str:
    """What of a text is plainly a secret, in words; empty when nothing is."""
    text = sent.text
    if _PLAIN.search(text):
        return "what looks like a token or key"
    if sent.kind == "header":
        hidden = sent.name.lower() in _HEADERS or _secret_name(sent.name) or _SCHEMES.match(text)
        return f"the header {sent.name}" if hidden and text.strip() and not refers(text) else ""
    if sent.kind == "env":
        return f"the variable {sent.name}" if _secret_name(sent.name) and text else ""
    if sent.kind == "url":
        return _in_url(text)
    return _in_body(text)


def _in_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        password = parts.password
    except ValueError:
        return ""
    if password and not refers(password):
        return "the password in the address"
    return _named(parse_qsl(parts.query), "the parameter")


def _in_body(text: str) -> str:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return _named(parse_qsl(text), "the field") if "\n" not in text.strip() else ""
    return _named(_fields(document), "the field")


def _fields(document: Any) -> Iterator[tuple[str, str]]:
    left = [document]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield from ((key, value) for key, value in one.items() if isinstance(value, str))
            left += one.values()
        elif isinstance(one, list):
            left += one


def _named(fields: Iterable[tuple[str, str]], what: str) -> str:
    found = next((key for key, value in fields if value and _secret_name(key) and not refers(value)), None)
    return "" if found is None else f"{what} {shown(found)}"


def _secret_name(name: str) -> bool:
    """Whether the name is one of secrets: `api_key`, `clientSecret`, `X-Auth-Token`; `max_tokens` is none."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)
    last = [word.lower() for word in words[-2:]]
    return bool(last) and (last[-1] in _WORDS or (last[-1] == "key" and last[0] in _KEYS))
