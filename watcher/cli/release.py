"""`watcher release`, `watcher rollback`, `watcher status`: Releases, with the caller's own kubeconfig and rights."""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from watcher.adapters.kubernetes.hands import Hands
    from watcher.core.release import Release
    from watcher.engine.asking import Caller

POLL = 0.5
"""Seconds between two looks at a Release that is waited for."""

PATIENCE = 10.0
"""Seconds after which whoever follows a Release is told that no daemon has seen it."""

NOT_SEEN = "no daemon has taken it up yet"

REFUSALS = frozenset(
    {
        "UnknownApplication",
        "NoService",
        "NoActiveColor",
        "ColorsDiffer",
        "AnotherReleaseRunning",
        "NoDeployment",
        "NoImages",
        "UnknownContainer",
        "Quarantined",
        "InvalidRules",
    }
)


class Exit(IntEnum):
    """The exit statuses of every command that waits for a Release."""

    COMPLETED = 0
    ERROR = 1
    USAGE = 2
    FAILED = 3
    ROLLED_BACK = 4
    REFUSED = 5
    TIMED_OUT = 6
    STOPPED = 7


EXITS = (
    "Exit status: 0 completed, 3 failed before traffic moved, 4 rolled back, 5 refused, 6 timed out, "
    "7 aborted or superseded, 1 the API server refused or did not answer."
)

ROLLBACK_EXITS = (
    "Exit status: 0 traffic is back, 3 failed, 5 refused, 6 timed out, 7 superseded, "
    "1 the API server refused or did not answer."
)

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the Application.")]
Kubeconfig = Annotated[
    Path | None, typer.Option("--kubeconfig", envvar="KUBECONFIG", help="Credentials (default: your own).")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.")]
By = Annotated[str, typer.Option("--by", help="Who asks, for the record (default: your user name).")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait at most.")]

group = typer.Typer(no_args_is_help=True, help="Ask for releases, follow them, and steer them.", rich_markup_mode=None)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(group, name="release")
    app.command("rollback", epilog=ROLLBACK_EXITS)(rollback_application)
    app.command("status")(status)


@group.command("create", epilog=EXITS)
def create(
    application: Annotated[str, typer.Argument(help="Name of the Application.")],
    version: Annotated[str, typer.Option("--version", help="What people call the version.")],
    image: Annotated[list[str], typer.Option("--image", help="CONTAINER=IMAGE; once for each container that changes.")],
    namespace: Namespace = "default",
    force: Annotated[bool, typer.Option("--force", help="Even a version that was rolled back before.")] = False,
    override_window: Annotated[str, typer.Option("--override-window", help="Ignore deployment windows, and why.")] = "",
    by: By = "",
    wait: Wait = True,
    timeout: Timeout = 3600.0,
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """Ask for a release, and follow it."""
    from watcher.engine import asking

    images = dict(_pair(pair) for pair in image)
    wanted = asking.Wanted(namespace, application, version, images, force, override_window or None)
    with _hands(kubeconfig) as hands:
        release, _ = asking.create(hands, wanted, _caller(by))
        _follow(hands, release, wait=wait, timeout=timeout, as_json=as_json)


@group.command("list")
def list_releases(namespace: Namespace = "", kubeconfig: Kubeconfig = None, as_json: Json = False) -> None:
    """List Releases, the newest first; in every namespace unless one is named."""
    with _hands(kubeconfig) as hands:
        found = sorted(hands.read_releases(namespace), key=lambda r: r.created_at, reverse=True)
        if as_json:
            print(json.dumps([_json(release) for release in found], indent=2))
            return
        now = datetime.now(UTC)
        head = ("NAMESPACE", "NAME", "APPLICATION", "VERSION", "FROM", "TO", "PHASE", "VERDICT", "AGE")
        _table([head, *(_row(release, now) for release in found)])


@group.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Name of the Release.")],
    namespace: Namespace = "default",
    evidence: Annotated[bool, typer.Option("--evidence", help="Tell it in order, with who, when, and why.")] = False,
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """Say what a Release did, and why."""
    from watcher.cli import story

    with _hands(kubeconfig) as hands:
        release = _read(hands, namespace, name)
        if evidence:
            story.tell(hands, release, as_json=as_json)
            return
        if as_json:
            print(json.dumps(_json(release), indent=2))
            return
        print("\n".join(_story(release)))


@group.command("wait", epilog=EXITS)
def wait_for(
    name: Annotated[str, typer.Argument(help="Name of the Release.")],
    namespace: Namespace = "default",
    timeout: Timeout = 3600.0,
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """Follow a Release to its end."""
    with _hands(kubeconfig) as hands:
        _follow(hands, _read(hands, namespace, name), wait=True, timeout=timeout, as_json=as_json)


def _steer(verb: str, help_: str, told: str) -> Callable[..., None]:
    def command(
        name: Annotated[str, typer.Argument(help="Name of the Release.")],
        namespace: Namespace = "default",
        reason: Reason = "",
        by: By = "",
        kubeconfig: Kubeconfig = None,
    ) -> None:
        from watcher.engine import asking

        with _hands(kubeconfig) as hands:
            try:
                asking.steer(hands, namespace, name, verb, reason, _caller(by))
            except (asking.Ended, asking.NoRelease) as error:
                print(f"watcher: {error}", file=sys.stderr)
                raise typer.Exit(Exit.REFUSED if isinstance(error, asking.Ended) else Exit.ERROR) from None
            print(f"{name}: {told}")

    command.__doc__ = help_
    return command


for _name, _help, _told in (
    ("approve", "Let a Release that waits for approval switch.", "approved"),
    ("pause", "Hold a Release where it is; going back is never held.", "paused"),
    ("resume", "Let a paused Release go on.", "resumed"),
    ("abort", "End a Release: before the flip nothing moves, after it traffic goes back.", "abort asked for"),
    ("rollback", "Send traffic back now.", "rollback asked for"),
):
    group.command(_name)(_steer(_name, _help, _told))


def rollback_application(
    application: Annotated[str, typer.Argument(help="Name of the Application.")],
    namespace: Namespace = "default",
    reason: Reason = "",
    by: By = "",
    force: Annotated[bool, typer.Option("--force", help="Even to a version that was rolled back before.")] = False,
    wait: Wait = True,
    timeout: Timeout = 600.0,
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """Send traffic back to the other colour, now: by the Release that runs, or by one of its own."""
    from watcher.engine import asking

    with _hands(kubeconfig) as hands:
        release, _ = asking.roll_back(hands, namespace, application, reason, _caller(by), force=force)
        _follow(hands, release, wait=wait, timeout=timeout, as_json=as_json, good=("RolledBack", "Aborted"))


def status(namespace: Namespace = "", kubeconfig: Kubeconfig = None, as_json: Json = False) -> None:
    """Say what runs now: every Release that has not ended, and which watcher leads."""
    with _hands(kubeconfig) as hands:
        running = [release for release in hands.read_releases(namespace) if not release.phase.terminal]
        if as_json:
            print(json.dumps([_json(release) for release in running], indent=2))
            return
        if not running:
            print("No release is running.")
        for release in running:
            print(f"{release.namespace}/{release.name} {release.phase.value}: {release.status.message or NOT_SEEN}")
        _say_who_leads(hands, namespace)


# -- helpers ----------------------------------------------------------------------------------------------------------


@contextmanager
def _hands(kubeconfig: Path | None) -> Iterator[Hands]:
    """Hands on the caller's cluster; what the cluster says no to becomes one line and exit status 1."""
    from watcher.adapters.errors import AdapterError
    from watcher.adapters.kubernetes.connection import Connection
    from watcher.adapters.kubernetes.hands import Hands

    try:
        connection = Connection(kubeconfig, deadline=10.0)
        try:
            yield Hands(connection)
        finally:
            connection.close()
    except AdapterError as error:
        print(f"watcher: {error}", file=sys.stderr)
        raise typer.Exit(Exit.ERROR) from None


def _say_who_leads(hands: Hands, namespace: str) -> None:
    """Of the watchers that there are. Not everybody may read Leases, and fewer those of every namespace."""
    from watcher.adapters.errors import AdapterError

    try:
        found = hands.read_leads()
    except AdapterError:
        try:
            found = hands.read_leads(namespace or "default")
        except AdapterError as error:
            print(f"watcher: who leads cannot be read: {error}", file=sys.stderr)
            return
    for lead in found:
        print(lead.said(datetime.now(UTC)))
    if not found:
        print("No watcher leads: there is no Lease of one here.")


def _read(hands: Hands, namespace: str, name: str) -> Release:
    release = hands.read_release(namespace, name)
    if release is None:
        print(f"watcher: there is no Release {name} in namespace {namespace}", file=sys.stderr)
        raise typer.Exit(Exit.ERROR)
    return release


def _follow(
    hands: Hands,
    release: Release,
    *,
    wait: bool,
    timeout: float,
    as_json: bool,
    good: tuple[str, ...] = ("Completed",),
) -> None:
    """Print what the Release says until it ends; leave with the exit status of its end."""
    try:
        release = _to_its_end(hands, release, timeout, say=not as_json) if wait else release
    except KeyboardInterrupt:
        again = f"watcher release wait {release.name} -n {release.namespace}"
        print(f"watcher: {release.name} is no longer followed, and goes on; follow it with: {again}", file=sys.stderr)
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(_json(release), indent=2))
    elif not wait:
        print(f"{release.name}")
    if wait:
        raise typer.Exit(_exit(release, good))


def _to_its_end(hands: Hands, release: Release, timeout: float, *, say: bool) -> Release:
    from watcher.adapters.errors import Transient

    began = time.monotonic()
    said = ""
    hinted = False
    while True:
        line = f"{release.phase.value}: {release.status.message}"
        if say and line != said and release.status.message:
            print(f"{datetime.now(UTC):%H:%M:%S} {release.name} {line}", flush=True)
            said = line
        if release.phase.terminal:
            return release
        waited = time.monotonic() - began
        if waited > timeout:
            last = release.status.message or NOT_SEEN
            print(f"watcher: {release.name} did not end within {timeout:g} s, and goes on: {last}", file=sys.stderr)
            raise typer.Exit(Exit.TIMED_OUT)
        if waited > PATIENCE and not (hinted or release.status.message):
            hinted = True
            asked = f"{release.name} in namespace {release.namespace}"
            print(f"watcher: {asked}: {NOT_SEEN}: is the namespace right, and does it run?", file=sys.stderr)
        time.sleep(POLL)
        try:
            release = _read(hands, release.namespace, release.name)
        except Transient as error:
            # Whoever waits for a release survives a restart of the API server.
            print(f"watcher: {error}; tries again", file=sys.stderr)


def _exit(release: Release, good: tuple[str, ...]) -> Exit:
    if release.phase.value in good:
        return Exit.COMPLETED
    if release.phase.value == "Failed":
        refused = release.status.started_at is None and release.status.reason in REFUSALS
        return Exit.REFUSED if refused else Exit.FAILED
    return Exit.ROLLED_BACK if release.phase.value == "RolledBack" else Exit.STOPPED


def _row(release: Release, now: datetime) -> tuple[str, ...]:
    colors = release.status.colors
    sides = (colors.from_, colors.to) if colors else ("", "")
    spec, ended = release.spec, release.status.verdict
    age = _age(now - release.created_at)
    return (release.namespace, release.name, spec.application, spec.version, *sides, release.phase.value, ended, age)


def _table(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as what stands in them."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _age(passed: timedelta) -> str:
    """As kubectl writes it, one unit."""
    seconds = max(0, int(passed.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _story(release: Release) -> Iterator[str]:
    """What a Release did, and why, a line each. A rule that does not pass shows its query too."""
    spec, status_ = release.spec, release.status
    what = " ".join(word for word in (spec.application, spec.version) if word)
    yield f"{release.name}: {what}, {release.phase.value}"
    yield f"  {status_.message or NOT_SEEN}"
    by = f" by {spec.requested_by}" if spec.requested_by else ""
    yield f"  {_when(release.created_at)} asked for{by}"
    yield from (f"    | {line}" for line in status_.evidence.get("logs", "").splitlines())
    several = len({flip.service for flip in status_.flips}) > 1
    for flip in status_.flips:
        whose = f"{flip.service} " if several else ""
        yield f"  {_when(flip.at)} flip {whose}{flip.from_} -> {flip.to}: {flip.reason}"
    if status_.progress:
        yield f"  {status_.progress.stage}: {status_.progress.done} of {status_.progress.of} done"
        for running in status_.progress.running:
            tried = f", tried {running.tries} x, the last time: {running.last}" if running.last else ""
            yield f"  check {running.id}: runs since {_when(running.since)}{tried}"
    for check in status_.checks:
        yield f"  check {check.id}: {'passed' if check.ok else 'FAILED'}: {check.message}"
        if not check.ok:
            yield from (f"    | {line}" for line in check.output.splitlines())
    for rule in status_.rules:
        yield f"  rule {rule.name}: {rule.outcome}: {rule.message}"
        if rule.outcome != "pass" and rule.query:
            yield f"    breached when {rule.threshold}; the query: {' '.join(rule.query.split())}"
    for condition in status_.conditions:
        yield f"  {condition.type}={condition.status}: {condition.message}"


def _when(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _json(release: Release) -> dict[str, Any]:
    from watcher.core.release import shown_json

    return shown_json(release)


def _pair(text: str) -> tuple[str, str]:
    container, sign, image = text.partition("=")
    if not (container and sign and image):
        raise typer.BadParameter(f"{text!r} is not CONTAINER=IMAGE", param_hint="--image")
    return container, image


def _caller(by: str) -> Caller:
    from watcher.engine.asking import Caller

    return Caller(by or _me())


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
