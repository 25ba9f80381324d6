"""The files that people edit: read from a directory, checked as a whole, and the last good state kept (S10)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from watcher.adapters.notifications.everything_else import installed
from watcher.adapters.secrets import look
from watcher.core.application import Application
from watcher.core.binding import binding_problems
from watcher.core.channels import channel_problems
from watcher.core.check_queries import query_problems
from watcher.core.documents import Document, Problem, duplicates, read_documents
from watcher.core.job_templates import with_templates
from watcher.core.jobs import JobTemplate
from watcher.core.models import Model
from watcher.core.plain_secrets import secret_problems
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
SECTIONS = ("prometheus", "secrets", "lease", "http", "log")
"""The parts of the settings that environment variables can override."""

LARGEST_FILE = 1024 * 1024
MOST_FILES = 1000
DATA_LINK = "..data"
"""What the kubelet moves, in one step, to the new state of a mounted ConfigMap."""
LOOKS = 3
"""How often a directory is read when its link moves meanwhile."""


@dataclass(frozen=True, slots=True)
class Config:
    """One consistent state of the files."""

    settings: Settings = field(default_factory=Settings)
    applications: Mapping[tuple[str, str], Application] = field(default_factory=dict)
    """By namespace and name."""
    rule_sets: Mapping[str, RuleSet] = field(default_factory=dict)
    digest: str = ""


Answer = tuple[Config | None, list[Problem]]
Texts = tuple[dict[str, str], list[Problem]]
"""Texts by the names of their files, and what is wrong with files that cannot be read."""


class Files:
    """The directories' files, to be read again and again: what has not changed is not parsed again.

    A change counts once it was seen twice: an editor may be in the middle of writing it, and half a file can be right
    by itself. A mounted ConfigMap changes at once, behind one link, and counts at once.
    """

    def __init__(
        self, directories: list[Path], environment: Mapping[str, str], *, secrets_elsewhere: bool = False
    ) -> None:
        """`secrets_elsewhere` says that the daemon, not this process, has the secrets that the files refer to."""
        self._directories, self._environment = directories, environment
        self._secrets_elsewhere = secrets_elsewhere
        self._secrets: Secrets = (None, {})
        """Where they lay when the files were last understood, and what there was."""
        self._read: Texts | None = None
        self._seen: Texts | None = None
        self._answer: Answer = (None, [])
        self._had_files = False

    def read(self) -> Answer:
        """The same object as before while every file says the same."""
        found = read_texts(self._directories)
        if self._read is None or (found != self._read and (found == self._seen or self._mounted())):
            self._understand(found)
        elif look(self._secrets[0]) != self._secrets[1]:
            self._understand(self._read)
        self._seen = found
        return self._answer

    def _understand(self, found: Texts) -> None:
        settled = _understand(*self._not_emptied(found), self._environment, not self._secrets_elsewhere)
        self._answer, self._secrets = settled
        self._read = found

    def _mounted(self) -> bool:
        return all((directory / DATA_LINK).is_symlink() for directory in self._directories)

    def _not_emptied(self, found: Texts) -> Texts:
        """Files that are all gone at once were taken away by accident: a volume that is not mounted, a wrong link."""
        self._had_files = self._had_files or bool(found[0])
        if found[0] or not self._had_files:
            return found
        problems = [
            Problem(str(d), 1, 1, "there is no YAML file here any more", "put them back") for d in self._directories
        ]
        return found[0], [*found[1], *problems]


def read_config(directories: list[Path], environment: Mapping[str, str], *, secrets_elsewhere: bool = False) -> Answer:
    """Read every *.yaml below the directories. With any problem there is no Config: invalid files change nothing."""
    return Files(directories, environment, secrets_elsewhere=secrets_elsewhere).read()


Secrets = tuple[str | None, Mapping[str, str]]
"""The directory of secrets, and what there is in it: why each cannot be used, "" if it can."""


def _understand(
    texts: Mapping[str, str], unread: list[Problem], environment: Mapping[str, str], with_secrets: bool
) -> tuple[Answer, Secrets]:
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
    unreadable = bool(problems)
    problems += [problem for document in documents for problem in _without_extra(document)]
    channels = {channel.name: channel for found in settings for channel in found.notifications}
    whole = []
    for document, app in apps:
        if not unreadable:  # the settings may be what could not be read
            problems += [document.problem(error) for error in channel_problems(app.spec.notify, channels)]
        for error in (*query_problems(app), *binding_problems(app, rule_sets)):
            # A RuleSet in a file that could not be read would be missed by every Application that uses it.
            if not (unreadable and error.path[-1:] == ("ruleSet",)):
                problems.append(document.problem(error))
        try:
            whole.append(app if unreadable else with_templates(app, document.file, documents))
        except Invalid as error:
            problems.append(document.problem(error))
    chosen = settings[0] if settings else Settings()
    try:
        chosen = with_environment(chosen, environment)
    except Invalid as error:
        problems.append(Problem("environment", 1, 1, error.problem, error.cure, "Settings"))
    directory = chosen.secrets.directory
    secrets = (directory, look(directory))
    known = None if unreadable or not with_secrets else secrets[1]
    for document in documents:
        problems += [document.problem(error) for error in secret_problems(document.model, known)]
    if problems:
        return (None, problems), secrets
    digest = hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()
    return (Config(chosen, {(a.namespace, a.name): a for a in whole}, rule_sets, digest), []), secrets


def _without_extra(document: Document) -> Iterator[Problem]:
    """What a channel needs that is not installed."""
    found = document.model.notifications if isinstance(document.model, Settings) else ()
    for index, channel in enumerate(found):
        if channel.apprise is not None and not installed():
            cure = 'pip install "bluegreen-watcher[apprise]"'
            yield document.problem(Invalid("apprise is not installed", cure, path=("notifications", index, "apprise")))


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


def read_texts(directories: list[Path]) -> Texts:
    """Every YAML file's text by its name. Behind a mounted ConfigMap's `..data` link all come from one state of it."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for directory in directories:
        for _ in range(LOOKS):
            root = _root(directory)
            found = _texts_of(directory, root)
            if _root(directory) == root:  # else the link moved, and what it left may have been half taken away
                break
        else:
            found = {}, [Problem(str(directory), 1, 1, "changes while it is read", "leave it alone for a moment")]
        texts |= found[0]
        problems += found[1]
    return texts, problems


def _root(directory: Path) -> Path:
    data = directory / DATA_LINK
    return data.resolve() if data.is_symlink() else directory


def _texts_of(directory: Path, root: Path) -> Texts:
    """The files below one directory. `root` is where they really lie, `directory` where people know them to lie."""
    texts: dict[str, str] = {}
    if not root.exists():
        gone = "does not exist" if root == directory else f"the link {DATA_LINK} in it leads nowhere"
        return texts, [Problem(str(directory), 1, 1, gone, "name a directory with YAML files")]
    problems: list[Problem] = []
    try:
        files = _yaml_files(root)
    except OSError as error:
        return texts, [Problem(str(directory), 1, 1, f"cannot be listed ({error.strerror})", "make it readable")]
    for file in files:
        shown = str(directory / file.relative_to(root)) if file != root else str(directory)
        if len(texts) == MOST_FILES:
            problems.append(Problem(shown, 1, 1, f"is one of more than {MOST_FILES} files", "name another directory"))
            break
        try:
            with file.open("rb") as opened:
                content = opened.read(LARGEST_FILE + 1)
            if len(content) > LARGEST_FILE:
                problems.append(Problem(shown, 1, 1, "is over 1 MiB", "split it"))
            else:
                texts[shown] = content.decode()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
            what = f"the byte 0x{content[error.start]:02x} is no UTF-8"
            problems.append(Problem(shown, line, column, what, "write the file as text in UTF-8"))
        except OSError as error:
            what = f"cannot be read ({error.strerror or error})"
            problems.append(Problem(shown, 1, 1, what, "make it readable for the daemon"))
    return texts, problems


def _yaml_files(root: Path) -> list[Path]:
    """The files that are meant: not the hidden ones that editors and mounts leave."""
    if root.is_file():
        return [root]
    found = (path for path in root.rglob("*") if path.suffix in {".yaml", ".yml"})
    return sorted(
        p for p in found if not any(part.startswith(".") for part in p.relative_to(root).parts) and p.is_file()
    )
