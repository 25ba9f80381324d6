"""The files that people edit: read from a directory, checked as a whole, and the last good state kept (S10)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from watcher.core.application import Application
from watcher.core.binding import binding_problems
from watcher.core.documents import Document, Problem, duplicates, read_documents
from watcher.core.job_templates import with_templates
from watcher.core.jobs import JobTemplate
from watcher.core.models import Model
from watcher.core.rules import RuleSet
from watcher.core.ruletest import RuleTest
from watcher.core.settings import Settings
from watcher.core.units import Invalid

KINDS: Mapping[str, type[Model]] = {
    "Application": Application,
    "RuleSet": RuleSet,
    "Settings": Settings,
    "Job": JobTemplate,
    "RuleTest": RuleTest,  # read by `watcher rules test`; the daemon only lets it lie beside the rules
}
SECTIONS = ("prometheus", "lease", "http", "log")
"""The parts of the settings that environment variables can override."""

LARGEST_FILE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Config:
    """One consistent state of the files."""

    settings: Settings = field(default_factory=Settings)
    applications: Mapping[tuple[str, str], Application] = field(default_factory=dict)
    """By namespace and name."""
    rule_sets: Mapping[str, RuleSet] = field(default_factory=dict)
    digest: str = ""


Answer = tuple[Config | None, list[Problem]]


class Files:
    """The directories' files, to be read again and again: what has not changed is not parsed again."""

    def __init__(self, directories: list[Path], environment: Mapping[str, str]) -> None:
        self._directories, self._environment = directories, environment
        self._read: tuple[dict[str, str], list[Problem]] | None = None
        self._answer: Answer = (None, [])

    def read(self) -> Answer:
        """The same object as before while every file says the same."""
        found = read_texts(self._directories)
        if found != self._read:
            self._answer = _understand(*found, self._environment)
            self._read = found
        return self._answer


def read_config(directories: list[Path], environment: Mapping[str, str]) -> Answer:
    """Read every *.yaml below the directories. With any problem there is no Config: invalid files change nothing."""
    return Files(directories, environment).read()


def _understand(texts: Mapping[str, str], unread: list[Problem], environment: Mapping[str, str]) -> Answer:
    problems = list(unread)
    documents: list[Document] = []
    for file, text in texts.items():
        found = read_documents(text, file, KINDS)
        documents += found.items
        problems += found.problems
    problems += duplicates(d for d in documents if not isinstance(d.model, JobTemplate))
    settings = [d.model for d in documents if isinstance(d.model, Settings)]
    rule_sets = {d.name: d.model for d in documents if isinstance(d.model, RuleSet)}
    apps = [(d, d.model) for d in documents if isinstance(d.model, Application)]
    if not problems:
        # Only then: a RuleSet that could not be read would be missed by every Application that uses it.
        for document, app in apps:
            problems += [document.problem(error) for error in binding_problems(app, rule_sets)]
        whole = []
        for document, app in apps:
            try:
                whole.append((document, with_templates(app, document.file, documents)))
            except Invalid as error:
                problem = f"Application {app.name}: {error.problem}"
                problems.append(Problem(document.file, document.line, 1, problem, error.cure))
        apps = whole
    try:
        chosen = with_environment(settings[0] if settings else Settings(), environment)
    except Invalid as error:
        problems.append(Problem("environment", 1, 1, error.problem, error.cure))
    if problems:
        return None, problems
    digest = hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()
    return Config(chosen, {(a.namespace, a.name): a for _, a in apps}, rule_sets, digest), []


def with_environment(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """The settings with what `WATCHER_<SECTION>_<KEY>` variables say instead. Unknown ones are refused."""
    data = settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    places = {
        f"WATCHER_{section}_{key}".upper().replace("-", "_"): (section, alias)
        for section in SECTIONS
        for key, info in type(getattr(settings, section)).model_fields.items()
        if (alias := info.alias or key) and info.annotation != dict[str, str]
    }
    for name, value in environment.items():
        if not name.startswith(tuple(f"WATCHER_{section.upper()}_" for section in SECTIONS)):
            continue
        if name not in places:
            raise Invalid(f"the environment variable {name} sets nothing", f"use one of {', '.join(sorted(places))}")
        section, key = places[name]
        data[section][key] = int(value) if value.isdigit() else value
    try:
        return Settings.model_validate(data, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = "WATCHER_" + "_".join(str(part).upper() for part in first["loc"])
        raise Invalid(f"{where}: {first['msg']}", "correct the environment variable") from error


def read_texts(directories: list[Path]) -> tuple[dict[str, str], list[Problem]]:
    """Every YAML file's text by its name. Behind a mounted ConfigMap's `..data` link all come from one state of it."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for directory in directories:
        if not directory.exists():
            problems.append(Problem(str(directory), 1, 1, "does not exist", "name a directory with YAML files"))
            continue
        data = directory / "..data"
        root = data.resolve() if data.is_symlink() else directory
        files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.suffix in (".yaml", ".yml"))
        for file in files:
            shown = str(directory / file.relative_to(root)) if file != root else str(directory)
            if any(part.startswith("..") for part in file.relative_to(root).parts) or not file.is_file():
                continue
            try:
                if file.stat().st_size > LARGEST_FILE:
                    problems.append(Problem(shown, 1, 1, "is over 1 MiB", "split it"))
                    continue
                texts[shown] = file.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                problems.append(Problem(shown, 1, 1, f"cannot be read ({error})", "make it a readable UTF-8 file"))
    return texts, problems
