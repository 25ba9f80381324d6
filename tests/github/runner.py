"""As much of a GitHub runner as a composite action needs: its steps, its environment, its commands, its way to cancel.

What always holds: a step has what a bare runner gives it and nothing of the test's own environment; what it prints is
read as the runner reads it, so a secret that is shown, or a text that is taken for a command, is seen here.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.packaging.rendered import ROOT, parse

BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]
"""How the runner runs a step with `shell: bash`."""
INSIST, KILL = 7.5, 2.5
"""Seconds from SIGINT to SIGTERM, and from there to SIGKILL, in which a cancelled step may end."""
COMMAND = re.compile(r"^\s*::(?P<name>[a-z-]+)(?P<properties> [^:]*(?:%3A[^:]*)*)?::(?P<data>.*)$")
HOSTILE = "raise SystemExit('a module of the checkout was imported')"


def action() -> dict[str, Any]:
    (found,) = parse((ROOT / "action.yml").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


@dataclass
class Done:
    """What came of a step."""

    status: int
    raw: str
    """As it was printed."""
    outputs: dict[str, str]
    summary: str
    shown: str = ""
    """The log as people see it: masked, without the commands."""
    annotations: list[tuple[str, str, str]] = field(default_factory=list)
    """Level, title, message."""
    groups: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        masks, lines, depth = [], [], 0
        for line in self.raw.splitlines():
            assert "##[" not in line, f"taken for a command of the old form: {line}"
            found = COMMAND.match(line)
            if found is None:
                lines.append(line)
                continue
            name, data = found["name"], _unescape(found["data"])
            if name == "add-mask":
                masks.append(data)
            elif name == "group":
                depth += 1
                self.groups.append(data)
            elif name == "endgroup":
                depth -= 1
            else:
                assert name in {"notice", "warning", "error"}, f"a command that nobody meant: {line}"
                title = _unescape((found["properties"] or "").strip().removeprefix("title="))
                self.annotations.append((name, title, data))
            lines.append(data if name != "add-mask" else "")
            assert depth in {0, 1}, "groups cannot be nested"
        assert depth == 0
        self.shown = "\n".join(lines)
        for secret in masks:
            self.shown = self.shown.replace(secret, "***")

    def told(self) -> str:
        """All that a person can read."""
        return "\n".join([self.shown, self.summary, *self.outputs.values()])


def _unescape(text: str) -> str:
    for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, char)
    return text


class Running:
    """A step at work."""

    def __init__(self, process: subprocess.Popen[str], outputs: Path, summary: Path) -> None:
        self._process, self._outputs, self._summary = process, outputs, summary
        self._lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._said:
                self._lines.append(line)
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def until_it_says(self, words: str, seconds: float = 60) -> None:
        """Wait until the words stand in its log."""
        with self._said:
            there = self._said.wait_for(lambda: words in "".join(self._lines), seconds)
        assert there, f"it did not say {words!r} but:\n{''.join(self._lines)}"

    def cancel(self) -> Done:
        """As the runner does: to the process that it started, and to no other."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(INSIST)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(KILL)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self.end()

    def terminate(self) -> Done:
        """As the service of a self-hosted runner does that is stopped."""
        self._process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self, seconds: float = 120) -> Done:
        status = self._process.wait(seconds)
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return Done(status, "".join(self._lines), _outputs(self._outputs), self._summary.read_text("utf-8"))


class Job:
    """A job of a workflow, in a workspace of its own."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self._directory = directory
        self._workspace = directory / "workspace"
        self._workspace.mkdir(parents=True)
        # What a checkout may hold, by chance or on purpose.
        for name in ("json", "http", "action", "sitecustomize"):
            (self._workspace / f"{name}.py").write_text(HOSTILE, "utf-8")
        python = shutil.which("python3", path=_path())
        assert python is not None
        self._environment = {
            "PATH": _path(),
            "HOME": str(directory),
            "PYTHONPATH": str(self._workspace),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": "example/chat",
            "GITHUB_RUN_ID": "4711",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_JOB": "release",
        } | environment
        self._steps = 0

    def start(self, **inputs: str) -> Running:
        """Begin the action's step; inputs with `_` for `-`."""
        self._steps += 1
        definition = action()
        (step,) = definition["runs"]["steps"]
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert given.keys() <= definition["inputs"].keys(), "the runner would only warn of an unknown input"
        values = {name: str(spec.get("default", "")) for name, spec in definition["inputs"].items()} | given
        script = self._directory / f"step-{self._steps}.sh"
        script.write_text(step["run"], "utf-8")
        files = {name: self._directory / f"{name}-{self._steps}" for name in ("output", "summary")}
        for file in files.values():
            file.touch()
        environment = self._environment | {
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_OUTPUT": str(files["output"]),
            "GITHUB_STEP_SUMMARY": str(files["summary"]),
        }
        environment |= {name: _expand(value, values) for name, value in step["env"].items()}
        process = subprocess.Popen(
            [*BASH, str(script)],
            cwd=self._workspace,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Running(process, files["output"], files["summary"])

    def run(self, **inputs: str) -> Done:
        return self.start(**inputs).end()


def _path() -> str:
    """Where commands are on a bare machine: without this project's virtual environment."""
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(part for part in parts if not Path(part).is_relative_to(ROOT))


def _expand(value: str, inputs: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda found: inputs[found[1]], value)


def _outputs(file: Path) -> dict[str, str]:
    """As the runner reads them: `name<<END`, lines, `END`."""
    found: dict[str, str] = {}
    lines = iter(file.read_text("utf-8").splitlines())
    for line in lines:
        name, sign, end = line.partition("<<")
        assert sign, f"no output: {line}"
        value = []
        for inner in lines:
            if inner == end:
                break
            value.append(inner)
        found[name] = "\n".join(value)
    return found
