"""A thousand broken variants of the files that are shipped: each is refused with a place and a cure, or is right."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from watcher.core.documents import read_documents
from watcher.engine.config import KINDS, read_config

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(
    path
    for folder in (ROOT / "rules", ROOT / "deploy/base/config", ROOT / "watcher/demo")
    for path in folder.rglob("*.yaml")
    if any(f"kind: {kind}" in path.read_text("utf-8") for kind in KINDS)
)
VARIANTS = 1000
EACH = -(-VARIANTS // len(SHIPPED))

Break = Callable[[random.Random, str], str]


def _without(text: str, at: int) -> str:
    return text[:at] + text[at + 1 :]


def _line(change: Callable[[random.Random, str], str]) -> Break:
    """A change of one line that says something."""

    def made(chance: random.Random, text: str) -> str:
        lines = text.splitlines(keepends=True)
        telling = [n for n, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
        number = chance.choice(telling)
        lines[number] = change(chance, lines[number])
        return "".join(lines)

    return made


def _key(chance: random.Random, line: str) -> str:
    """A letter of the key is missing, doubled, or swapped."""
    body = line.lstrip(" -")
    at = line.index(body) + chance.randrange(max(1, len(body.partition(":")[0])))
    return chance.choice(
        [line[:at] + line[at + 1 :], line[:at] + line[at] + line[at:], line[:at] + "x" + line[at + 1 :]]
    )


def _value(chance: random.Random, line: str) -> str:
    """Something else stands behind the colon."""
    junk = [
        "",
        "~",
        "[]",
        "{}",
        "[a, {b: c}]",
        "-1",
        "1e999",
        "yes",
        "5mn",
        "1%%",
        "'",
        '"{{ colour }}"',
        "{{ color }}",
    ]
    junk += [
        "&a *a",
        "*nobody",
        "!!python/object:os.system x",
        "|",
        ">-",
        "\t",
        "\u2603",
        "0x1F",
        "30",
        '"30s',
        "@",
        "`",
        "?",
    ]
    return f"{line.partition(':')[0]}: {chance.choice(junk)}\n"


BREAKS: tuple[Break, ...] = (
    _line(_key),
    _line(_value),
    _line(lambda chance, line: " " * chance.randrange(1, 7) + line),
    _line(lambda chance, line: line.lstrip(" ")),
    _line(lambda chance, line: "\t" + line),
    _line(lambda chance, line: line + line),
    _line(lambda chance, line: ""),
    _line(lambda chance, line: line.replace(":", "", 1)),
    _line(lambda chance, line: line.replace("{{", "{", 1)),
    _line(lambda chance, line: line.replace("}}", "", 1)),
    _line(lambda chance, line: line.replace('"', "", 1)),
    _line(lambda chance, line: line.rstrip("\n") + chance.choice("{}[]'\"#:&*!|>%@`\x00\x7f\ud800\ufeff") + "\n"),
    lambda chance, text: text[: chance.randrange(len(text))],
    lambda chance, text: text[chance.randrange(len(text)) :],
    lambda chance, text: _without(text, chance.randrange(len(text))),
    lambda chance, text: text + chance.choice(["---\n", "...\nmore", "---\nkind: Nobody\n", "\x85", text]),
)


def broken(file: Path, number: int) -> str:
    """One variant: one to three things are wrong with it. The same for the same number."""
    chance = random.Random(f"{file.name} {number}")
    text = file.read_text("utf-8")
    for _ in range(chance.randint(1, 3)):
        if text.strip():
            try:
                text = chance.choice(BREAKS)(chance, text)
            except (IndexError, ValueError):
                continue  # nothing is left that this could break
    return text


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
def test_a_broken_variant_of_a_shipped_file_is_refused_with_its_line_and_a_cure(file: Path) -> None:
    refused = 0
    for number in range(EACH):
        text = broken(file, number)
        found = read_documents(text, file.name, KINDS)
        lines = len(text.splitlines()) + 1
        for problem in found.problems:
            assert 1 <= problem.line <= lines, (number, problem)
            assert problem.column >= 1, (number, problem)
            assert problem.message, (number, problem)
            assert problem.cure, (number, problem)
            assert "\n" not in str(problem), (number, problem)
            assert "Traceback" not in str(problem), (number, problem)
        refused += bool(found.problems)
    assert refused > EACH / 3, "most changes should break something"


def test_the_shipped_files_themselves_are_right() -> None:
    for file in SHIPPED:
        assert read_documents(file.read_text("utf-8"), file.name, KINDS).problems == []


@pytest.mark.parametrize("number", range(20))
def test_a_broken_file_among_good_ones_changes_nothing_and_is_named(number: int, tmp_path: Path) -> None:
    file = SHIPPED[number % len(SHIPPED)]
    for good in SHIPPED:
        if good != file:
            (tmp_path / f"{good.parent.name}-{good.name}").write_bytes(good.read_bytes())
    (tmp_path / "broken.yaml").write_text(broken(file, number), "utf-8", errors="surrogatepass")
    config, problems = read_config([tmp_path], {})
    assert (config is None) == bool(problems)
    for problem in problems:
        assert problem.line >= 1
        assert problem.cure
