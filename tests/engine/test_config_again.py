"""The files are read every few seconds: that costs next to nothing while nobody changes them, and whatever happens to
them meanwhile, a state that nobody wrote is never in force.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from tests.support.acting import ERRORS, application, write
from watcher.core.documents import Problem
from watcher.engine.config import LARGEST_FILE, MOST_FILES, Config, Files

USES = {"duration": "1m", "interval": "1s", "rules": ["errors"]}


def settled(files: Files) -> tuple[Config | None, list[Problem]]:
    """What the files say once a change was seen twice."""
    files.read()
    return files.read()


def good(files: Files) -> Config:
    config, problems = settled(files)
    assert problems == []
    assert config is not None
    return config


def refused(files: Files) -> str:
    config, problems = settled(files)
    assert config is None
    assert problems
    return "\n".join(str(problem) for problem in problems)


def services(config: Config) -> list[str]:
    return [app.spec.service for app in config.applications.values()]


def mounted(directory: Path, number: int, service: str) -> None:
    """Mount a state of a ConfigMap as the kubelet does: all files in a new directory, then one link moved."""
    (directory / f"..{number}").mkdir(parents=True)
    for name, document in (("app", application(service=service, watch=USES)), ("rules", ERRORS)):
        (directory / f"..{number}" / f"{name}.yaml").write_text(json.dumps(document), "utf-8")
        link = directory / f"{name}.yaml"
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}.yaml")
    (directory / "..data_tmp").symlink_to(f"..{number}")
    (directory / "..data_tmp").rename(directory / "..data")


# -- what changed and what did not ------------------------------------------------------------------------------------


def test_files_that_did_not_change_are_not_parsed_again(tmp_path: Path) -> None:
    files = Files(list(write(tmp_path, application(), ERRORS)), {})
    before, _ = files.read()
    assert before is not None
    again, _ = files.read()
    assert again is before


def test_files_that_changed_are_once_the_change_was_seen_twice(tmp_path: Path) -> None:
    files = Files(list(write(tmp_path, application())), {})
    before = good(files)
    write(tmp_path, application(service="another"))
    assert files.read() == (before, [])
    after, _ = files.read()
    assert after is not None
    assert services(after) == ["another"]
    assert before.digest != after.digest


def test_wrong_files_stay_wrong_until_they_are_changed_back(tmp_path: Path) -> None:
    files = Files(list(write(tmp_path, application())), {})
    before = good(files)
    write(tmp_path, application(servise="x"))
    assert "servise" in refused(files)
    assert "servise" in refused(files)
    write(tmp_path, application())
    assert good(files) == before


def test_a_mounted_configmap_counts_at_once(tmp_path: Path) -> None:
    mounted(tmp_path, 1, "one")
    files = Files([tmp_path], {})
    assert services(good(files)) == ["one"]
    mounted(tmp_path, 2, "two")
    after, problems = files.read()
    assert (after and services(after), problems) == (["two"], [])


# -- what happens to files --------------------------------------------------------------------------------------------


def test_half_a_file_that_would_be_right_by_itself_is_never_in_force(tmp_path: Path) -> None:
    """An editor writes in pieces: each look finds more, and what is there is valid YAML most of the time."""
    whole = "".join(
        f"---\napiVersion: watcher.bluegreen.dev/v1alpha1\nkind: RuleSet\nmetadata: {{name: set{n}}}\n"
        f"spec: {{rules: [{{name: a, query: up, threshold: {{above: {n}}}}}]}}\n"
        for n in range(40)
    )
    file = tmp_path / "rules.yaml"
    file.write_text(whole, "utf-8")
    files = Files([tmp_path], {})
    assert len(good(files).rule_sets) == 40
    changed = whole.replace("up", "down")
    for length in range(0, len(changed), 97):
        file.write_text(changed[:length], "utf-8")
        config, problems = files.read()
        assert problems == []
        assert config is not None
        assert len(config.rule_sets) == 40
    file.write_text(changed, "utf-8")
    assert {rules.spec.rules[0].query for rules in good(files).rule_sets.values()} == {"down"}


def test_a_file_that_is_gone_for_a_moment_is_not_missed(tmp_path: Path) -> None:
    write(tmp_path, application())
    directories = list(write(tmp_path, ERRORS))
    files = Files(directories, {})
    before = good(files)
    (gone,) = [path for path in tmp_path.rglob("*.yaml") if "Application" in path.read_text("utf-8")]
    text = gone.read_text("utf-8")
    gone.unlink()
    assert files.read() == (before, [])
    gone.write_text(text, "utf-8")
    assert good(files) == before
    gone.unlink()
    assert good(files).applications == {}


def test_files_that_are_all_gone_are_an_accident(tmp_path: Path) -> None:
    files = Files(list(write(tmp_path, application())), {})
    good(files)
    for path in tmp_path.rglob("*.yaml"):
        path.unlink()
    assert "there is no YAML file here any more: put them back" in refused(files)
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.rmdir()
    refused(files)
    tmp_path.rmdir()
    assert "does not exist" in refused(files)
    tmp_path.mkdir()
    assert "there is no YAML file here any more" in refused(files)
    write(tmp_path, application(service="back"))
    assert services(good(files)) == ["back"]


def test_a_directory_without_files_is_a_beginning(tmp_path: Path) -> None:
    assert good(Files([tmp_path], {})).applications == {}


def test_a_link_that_leads_nowhere_is_said_and_changes_nothing(tmp_path: Path) -> None:
    mounted(tmp_path, 1, "one")
    files = Files([tmp_path], {})
    good(files)
    (tmp_path / "..data").unlink()
    (tmp_path / "..data").symlink_to("..9")
    assert "the link ..data in it leads nowhere" in refused(files)


def test_while_the_link_moves_no_state_is_seen_that_was_not_mounted(tmp_path: Path) -> None:
    """The kubelet takes the old directory away as soon as the link has moved, however far a reader has come."""
    states = 60
    mounted(tmp_path, 0, "s0")
    files = Files([tmp_path], {})
    good(files)
    done = threading.Event()

    def swap() -> None:
        for number in range(1, states):
            mounted(tmp_path, number, f"s{number}")
            old = tmp_path / f"..{number - 1}"
            for path in old.iterdir():
                path.unlink()
            old.rmdir()
        done.set()

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = []
    while not done.is_set():
        config, _ = files.read()
        if config is not None:
            assert list(config.rule_sets) == ["errors"]
            seen += services(config)
    swapper.join()
    assert services(good(files)) == [f"s{states - 1}"]
    numbers = [int(service[1:]) for service in seen]
    assert numbers == sorted(numbers)


# -- files that are none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"a: b\nc: d\xff\n", "junk.yaml:2:5: the byte 0xff is no UTF-8: write the file as", id="latin-1"),
        pytest.param("kind: x\n".encode("utf-16"), "junk.yaml:1:1: the byte 0xff is no UTF-8", id="utf-16"),
        pytest.param(bytes(range(256)) * 100, "junk.yaml:2:118: the byte 0x80 is no UTF-8", id="binary"),
        pytest.param(b"\x00" * 5000, "junk.yaml:1:1: the character U+0000 cannot stand in YAML", id="zeros"),
        pytest.param(b"# x\n" * (LARGEST_FILE // 4 + 1), "junk.yaml:1:1: is over 1 MiB: split it", id="huge"),
        pytest.param(b"[" * 100_000, "junk.yaml:1:41: this is nested more than 40 deep", id="deep"),
        pytest.param(
            b"a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
            + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 12)),
            "more than 50000 values, aliases expanded: split the file",
            id="bomb",
        ),
        pytest.param(b"a: &a [*a]\n", "the alias *a stands inside its own anchor", id="an alias of itself"),
        pytest.param(b"!!python/object/apply:os.system [id]\n", "means nothing here: take it out", id="a tag"),
        pytest.param(b"", "", id="empty"),
        pytest.param(b"# nothing yet\n---\n---\n", "", id="comments alone"),
    ],
)
def test_a_file_that_is_no_rule_file_is_refused_and_the_last_good_state_stays(
    content: bytes, said: str, tmp_path: Path
) -> None:
    files = Files(list(write(tmp_path, application())), {})
    good(files)
    (tmp_path / "junk.yaml").write_bytes(content)
    config, problems = settled(files)
    if said:
        assert config is None
        assert said in "\n".join(str(problem) for problem in problems)
    else:
        assert problems == []


def test_a_sparse_file_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse.yaml").open("wb") as opened:
        opened.truncate(1 << 40)
    assert "is over 1 MiB" in refused(Files([tmp_path], {}))


def test_what_is_no_file_and_what_is_hidden_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, application())
    (tmp_path / ".#app.yaml").symlink_to("nobody@nowhere.1234")
    (tmp_path / "._app.yaml").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.yaml").write_text("nonsense: [", "utf-8")
    (tmp_path / "dir.yaml").mkdir()
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    assert services(good(Files([tmp_path], {}))) == ["chatbot-platform"]


def test_a_directory_with_too_many_files_is_the_wrong_one(tmp_path: Path) -> None:
    for number in range(MOST_FILES + 1):
        (tmp_path / f"{number:05}.yaml").touch()
    assert f"is one of more than {MOST_FILES} files" in refused(Files([tmp_path], {}))
