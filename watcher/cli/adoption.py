"""`watcher doctor` and `watcher init`: a blue/green pair that runs is looked at, and its Application is written."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watcher.cli.files import read_files
from watcher.cli.release import Json, Kubeconfig, Namespace

if TYPE_CHECKING:
    from watcher.core.application import Application
    from watcher.core.doctor import Finding, Survey

PROBLEMS, USAGE = 1, 2

NEXT = """
# Further keys, with their defaults, are in docs/applications.md. What most teams add first:
#   tests:
#     smoke: [{name: healthz, http: {path: /healthz}}]
#     verification: [{name: critical-paths, job: {image: "registry.example/verify:1"}}]
#   watch:
#     duration: 15m
#     rules: [http, resources]
"""

Name = Annotated[str, typer.Argument(help="The Application: the name of its live Service.")]
Key = Annotated[str, typer.Option("--key", help="The key of the Service's selector that holds the colour.")]
Config = Annotated[
    list[Path] | None,
    typer.Option("--config", "-c", help="Directory with the Application's file; without it the pair is recognised."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write it there instead of printing it.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("doctor", epilog="Exit status: 0 nothing is missing, 1 something is, 2 it could not be looked at.")(
        doctor
    )
    app.command("init", epilog="Exit status: 0 written, 1 there is no such pair, 2 it could not be looked at.")(init)


def doctor(
    application: Name,
    namespace: Namespace = "default",
    config: Config = None,
    key: Key = "color",
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """Look at a running blue/green pair: what fits, what is missing, and how to mend it. Changes nothing.

    Example: watcher doctor chatbot-platform -n chatbot-platform-prod
    """
    from watcher.core.doctor import Finding, examine, sketch
    from watcher.core.units import Invalid

    seen = _survey(namespace, kubeconfig)
    try:
        app = _from_files(config, namespace, application) if config else sketch(seen, application, key)
    except Invalid as error:
        findings: Sequence[Finding] = [Finding("problem", error.problem, error.cure)]
    else:
        findings = examine(seen, app)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _show(findings, application, namespace, written=bool(config))
    raise typer.Exit(PROBLEMS if any(finding.level == "problem" for finding in findings) else 0)


def init(
    application: Name,
    namespace: Namespace = "default",
    output: Output = None,
    key: Key = "color",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Write the Application file of a blue/green pair from what runs in the cluster. Changes nothing there.

    Example: watcher init chatbot-platform -n chatbot-platform-prod --output chatbot-platform.yaml
    """
    from watcher.core.doctor import sketch
    from watcher.core.units import Invalid

    try:
        app = sketch(_survey(namespace, kubeconfig), application, key)
    except Invalid as error:
        print(f"watcher: {error.problem}: {error.cure}", file=sys.stderr)
        raise typer.Exit(PROBLEMS) from None
    text = as_file(app)
    if output is None:
        print(text, end="")
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        print(f"watcher: cannot write {output}: {error.strerror}: name another file", file=sys.stderr)
        raise typer.Exit(USAGE) from None
    print(
        f"wrote {output}; look at the pair with: watcher doctor {application} -n {namespace} --config {output.parent}"
    )


def as_file(app: Application) -> str:
    """The Application as people write it: what was found, and what to add next."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    text = StringIO()
    yaml.dump(app.model_dump(mode="json", exclude_unset=True), text)
    return f"# Written by watcher init from what runs in namespace {app.namespace}.\n{text.getvalue()}{NEXT}"


def _survey(namespace: str, kubeconfig: Path | None) -> Survey:
    from watcher.adapters.errors import AdapterError
    from watcher.adapters.kubernetes.connection import Connection
    from watcher.adapters.kubernetes.survey import survey

    try:
        connection = Connection(kubeconfig)
        try:
            return survey(connection, namespace)
        finally:
            connection.close()
    except AdapterError as error:
        print(f"watcher: {error}", file=sys.stderr)
        raise typer.Exit(USAGE) from None


def _from_files(directories: list[Path], namespace: str, name: str) -> Application:
    from watcher.core.units import Invalid

    config = read_files(directories)
    app = config.applications.get((namespace, name))
    if app is None:
        known = ", ".join(f"{name} in {space}" for space, name in sorted(config.applications)) or "none"
        raise Invalid(f"no file has an Application {name} in namespace {namespace}", f"the files have: {known}")
    return app


def _show(findings: Sequence[Finding], name: str, namespace: str, *, written: bool) -> None:
    signs = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}
    for finding in findings:
        print(f"{signs[finding.level]}  {finding.said}")
        if finding.cure:
            print(f"         -> {finding.cure}")
    counts = {level: sum(finding.level == level for finding in findings) for level in signs}
    print(f"{counts['ok']} ok, {counts['warning']} to think about, {counts['problem']} to mend")
    if not counts["problem"] and not written:
        print(f"next: watcher init {name} -n {namespace} --output {name}.yaml")
