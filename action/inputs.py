"""The action's inputs, as its step hands them over in the environment.

What always holds: an input is data, read from a variable and never part of a command line; what is wrong with one is
said by its name, before anything is asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from action.ends import Ended, Exit

COMMANDS = ("release", "wait", "status", "approve", "abort", "rollback")
UNTIL = ("end", "approval", "watching", "asked")
ON_CANCEL = ("abort", "rollback", "leave")
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
LONGEST = 24 * 3600
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True)
class Inputs:
    """What the workflow wants."""

    command: str
    server: str
    namespace: str
    application: str
    release: str
    version: str
    images: Mapping[str, str]
    reason: str
    force: bool
    override_window: str
    until: str
    timeout: float
    """Seconds for the whole step."""
    on_cancel: str
    token: str
    audience: str
    ca_certificate: str
    run: str
    """`OWNER/REPO/RUN/ATTEMPT/JOB`, what keys are made of. Where that is not known no two steps have it in common."""

    def key(self, *about: str) -> str:
        """The key under which a request of this job is known when it is sent again."""
        digest = hashlib.sha256(json.dumps([self.run, *about]).encode()).hexdigest()[:32]
        return f"github/{'/'.join(self.run.split('/')[2:4])}/{digest}"


def read(environment: Mapping[str, str]) -> Inputs:
    """The inputs. Raises Ended for one that cannot be meant."""

    def given(name: str) -> str:
        return environment.get("INPUT_" + name.upper().replace("-", "_"), "").strip()

    def one_of(name: str, allowed: tuple[str, ...]) -> str:
        value = given(name) or allowed[0]
        return value if value in allowed else _wrong(name, f"{value!r} is none of {', '.join(allowed)}")

    run = [environment.get(f"GITHUB_{part}", "") for part in ("REPOSITORY", "RUN_ID", "RUN_ATTEMPT", "JOB")]
    found = Inputs(
        command=one_of("command", COMMANDS),
        server=_server(given("server")),
        namespace=_name("namespace", given("namespace")),
        application=_name("application", given("application")),
        release=_name("release", given("release")),
        version=given("version"),
        images=_images(given("images")),
        reason=given("reason") or _of_run(environment),
        force=_flag("force", given("force")),
        override_window=given("override-window"),
        until=one_of("until", UNTIL),
        timeout=_seconds(given("timeout") or "1h"),
        on_cancel=one_of("on-cancel", ON_CANCEL),
        token=_token(given("token")),
        audience=given("audience") or "bluegreen-watcher",
        ca_certificate=given("ca-certificate"),
        run="/".join(run) if all(run) else f"//{uuid.uuid4()}/",
    )
    _complete(found)
    return found


def _of_run(environment: Mapping[str, str]) -> str:
    """Where it can be read why, when nobody says it: the run, and who started it."""
    server, repository, run, actor = (
        environment.get(f"GITHUB_{part}", "") for part in ("SERVER_URL", "REPOSITORY", "RUN_ID", "TRIGGERING_ACTOR")
    )
    link = f"{server}/{repository}/actions/runs/{run}" if server and repository and run else ""
    return " of ".join(filter(None, (link, actor)))


def _complete(found: Inputs) -> None:
    """What each command needs."""
    needed = {
        "release": ("namespace", "application", "version", "images"),
        "status": ("namespace", "application"),
        "rollback": ("namespace", "application"),
    }.get(found.command, ("namespace", "release"))
    if found.command in {"status", "rollback"} and found.release:
        needed = ("namespace", "release")
    missing = [name for name in needed if not getattr(found, name)]
    if missing:
        raise Ended(Exit.USAGE, f"The command {found.command} needs the input{_s(missing)} {' and '.join(missing)}.")
    if found.command == "release" and found.release:
        _wrong("release", "the command release makes one of its own; to follow this one use the command wait")


def _s(names: list[str]) -> str:
    return "s" if len(names) > 1 else ""


def _wrong(name: str, problem: str) -> str:
    raise Ended(Exit.USAGE, f"The input {name}: {problem}.")


def _server(value: str) -> str:
    try:
        url = urlsplit(value)
        fine = url.scheme in {"http", "https"} and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        fine = False
    if not fine or url.query or url.fragment or url.username or not value.isascii() or re.search(r"\s", value):
        _wrong("server", "write the daemon's address, such as https://watcher.example")
    return value.rstrip("/")


def _name(name: str, value: str) -> str:
    if value and not NAME.fullmatch(value):
        _wrong(name, f"{value!r} is no name that Kubernetes knows")
    return value


def _images(text: str) -> dict[str, str]:
    """A line each, CONTAINER=IMAGE."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        container, sign, image = (part.strip() for part in line.partition("="))
        if not (container and sign and image):
            _wrong("images", f"{line!r} is not CONTAINER=IMAGE; write one on each line")
        if container in found:
            _wrong("images", f"the container {container!r} is there twice")
        found[container] = image
    return found


def _flag(name: str, value: str) -> bool:
    if value.lower() not in {"", "true", "false"}:
        _wrong(name, f"{value!r} is neither true nor false")
    return value.lower() == "true"


def _seconds(value: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([smh]?)", value)
    seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= LONGEST:
        _wrong("timeout", f"{value!r} is no time of up to 24h; write one such as 90s, 30m or 1h")
    return seconds


def _token(value: str) -> str:
    if value and (not value.isascii() or re.search(r"\s", value)):
        raise Ended(Exit.USAGE, "The input token: it is to be one line of ASCII characters.")
    return value
