"""The files that people edit: read as a whole, every problem named at once, and environment variables on top."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.acting import ERRORS, application
from watcher.core.documents import Problem
from watcher.engine.config import Config, read_config


def put(path: Path, document: Mapping[str, Any] | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document, indent=1), "utf-8")
    return path


def good(directories: list[Path], **environment: str) -> Config:
    config, problems = read_config(directories, environment)
    assert problems == []
    assert config is not None
    return config


def bad(directories: list[Path], **environment: str) -> list[Problem]:
    config, problems = read_config(directories, environment)
    assert config is None
    assert problems
    return problems


USES = {"duration": "1m", "interval": "1s", "rules": ["errors"]}


def test_files_of_several_directories_and_their_folders_are_one_configuration(tmp_path: Path) -> None:
    put(tmp_path / "a" / "apps" / "shop.yaml", application(watch=USES))
    put(tmp_path / "b" / "rules.yml", ERRORS)
    put(tmp_path / "b" / "notes.txt", "no: yaml: at all")
    put(tmp_path / "b" / "watcher.yaml", {"apiVersion": ERRORS["apiVersion"], "kind": "Settings"})
    found = good([tmp_path / "a", tmp_path / "b"])
    assert list(found.applications) == [("chatbot-platform-prod", "chatbot-platform")]
    assert list(found.rule_sets) == ["errors"]


def test_every_problem_of_every_file_is_named_with_its_place(tmp_path: Path) -> None:
    put(tmp_path / "a.yaml", application(servise="x"))
    put(tmp_path / "b.yaml", "kind: RuleSet\napiVersion: watcher.bluegreen.dev/v1alpha1\nmetadata: {name: [\n")
    put(tmp_path / "c.yaml", {"apiVersion": ERRORS["apiVersion"], "kind": "Settings", "log": {"level": "loud"}})
    (tmp_path / "d.yaml").write_bytes(b"\xff\xfe\x00")
    problems = bad([tmp_path, tmp_path / "missing"])
    assert {Path(problem.file).name for problem in problems} == {"a.yaml", "b.yaml", "c.yaml", "d.yaml", "missing"}
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)


def test_every_application_whose_rules_cannot_be_bound_is_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        app = application(watch=USES | {"rules": [name]})
        app["metadata"] = {"name": name, "namespace": "prod"}
        put(tmp_path / f"{name}.yaml", app)
    problems = bad([tmp_path])
    assert [Path(problem.file).name for problem in problems] == ["one.yaml", "two.yaml"]
    assert "one" in str(problems[0])


def test_every_rule_that_cannot_be_bound_is_named_at_its_own_line(tmp_path: Path) -> None:
    put(tmp_path / "rules.yaml", ERRORS)
    put(
        tmp_path / "app.yaml",
        """\
apiVersion: watcher.bluegreen.dev/v1alpha1
kind: Application
metadata: {name: chat, namespace: prod}
spec:
  service: chat
  colors: {blue: {deployment: chat-blue}, green: {deployment: chat-green}}
  watch:
    rules:
      - errors
      - eror
      - {ruleSet: errors, rule: rat}
      - ruleSet: errors
        override:
          threshold: {above: 2%}
          traffic: {atLeast: 5}
""",
    )
    file = tmp_path / "app.yaml"
    assert [str(problem) for problem in bad([tmp_path])] == [
        f'{file}:10:9: there is no RuleSet "eror": did you mean "errors"?',
        f'{file}:11:33: RuleSet "errors" has no rule "rat": did you mean "rate"?',
        f'{file}:15:20: rule errors/rate: "rate" asks for no traffic: leave it out, or give the rule a traffic query',
    ]


def test_a_rule_file_that_cannot_be_read_is_not_also_missed_by_those_who_use_it(tmp_path: Path) -> None:
    put(tmp_path / "app.yaml", application(watch=USES))
    put(tmp_path / "rules.yaml", json.dumps(ERRORS).replace("threshold", "treshold"))
    assert {Path(problem.file).name for problem in bad([tmp_path])} == {"rules.yaml"}


def test_what_cannot_be_bound_is_named_beside_what_cannot_be_read(tmp_path: Path) -> None:
    rules = ["errors", "elsewhere", {"ruleSet": "errors", "rule": "rat"}]
    put(tmp_path / "app.yaml", application(watch=USES | {"rules": rules}))
    put(tmp_path / "rules.yaml", ERRORS)
    put(tmp_path / "elsewhere.yaml", json.dumps(ERRORS).replace("threshold", "treshold"))
    said = "\n".join(str(problem) for problem in bad([tmp_path]))
    assert "treshold" in said
    assert 'RuleSet "errors" has no rule "rat": did you mean "rate"?' in said
    assert "there is no RuleSet" not in said


def test_a_job_template_that_is_missing_is_named_at_its_own_line(tmp_path: Path) -> None:
    checks = {"verification": [{"name": "chat", "job": {"template": "verify.yaml"}}]}
    file = put(tmp_path / "app.yaml", application(tests=checks))
    line = 1 + file.read_text("utf-8")[: file.read_text("utf-8").index('"verify.yaml"')].count("\n")
    (problem,) = bad([tmp_path])
    assert str(problem).startswith(f"{file}:{line}:")
    assert 'there is no file "verify.yaml" with a Job' in str(problem)


def test_two_documents_of_one_name_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.yaml", application())
    put(tmp_path / "b.yaml", application())
    (problem,) = bad([tmp_path])
    assert "a.yaml" in str(problem)
    assert Path(problem.file).name == "b.yaml"


def test_a_mounted_config_map_is_read_behind_its_data_link_and_only_once(tmp_path: Path) -> None:
    first, second = tmp_path / "..2026_1", tmp_path / "..2026_2"
    put(first / "app.yaml", application(watch=USES))
    put(first / "rules.yaml", ERRORS)
    (tmp_path / "..data").symlink_to(first.name)
    for name in ("app.yaml", "rules.yaml"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    before = good([tmp_path])
    put(second / "app.yaml", application(watch=USES | {"duration": "2m"}))
    put(second / "rules.yaml", ERRORS)
    swap = tmp_path / "..data_tmp"
    swap.symlink_to(second.name)
    swap.rename(tmp_path / "..data")
    after = good([tmp_path])
    assert before.digest != after.digest
    assert next(iter(after.applications.values())).spec.watch.duration == timedelta(minutes=2)
    assert good([tmp_path]).digest == after.digest


def test_a_problem_behind_the_data_link_is_named_by_the_path_that_people_know(tmp_path: Path) -> None:
    put(tmp_path / "..1" / "app.yaml", application(servise="x"))
    (tmp_path / "..data").symlink_to("..1")
    assert {problem.file for problem in bad([tmp_path])} == {str(tmp_path / "app.yaml")}


def test_an_enormous_file_is_refused_unread(tmp_path: Path) -> None:
    put(tmp_path / "big.yaml", "# x\n" * 300_000)
    assert "1 MiB" in str(bad([tmp_path])[0])


def test_the_environment_overrides_each_setting(tmp_path: Path) -> None:
    settings = {
        "apiVersion": ERRORS["apiVersion"],
        "kind": "Settings",
        "prometheus": {"url": "http://file:9090", "headers": {"X-Scope": "a"}},
    }
    put(tmp_path / "watcher.yaml", settings)
    found = good(
        [tmp_path],
        WATCHER_PROMETHEUS_URL="http://env:9090",
        WATCHER_PROMETHEUS_TIMEOUT="3s",
        WATCHER_PROMETHEUS_TOKEN_FILE="/run/token",  # noqa: S106 - a path
        WATCHER_HTTP_PORT="9999",
        WATCHER_LOG_LEVEL="debug",
        WATCHER_CONFIG="/etc/watcher",
        PATH="/bin",
    ).settings
    assert found.prometheus.url == "http://env:9090"
    assert found.prometheus.headers == {"X-Scope": "a"}
    assert found.prometheus.timeout == timedelta(seconds=3)
    assert found.prometheus.token_file == "/run/token"  # noqa: S105 - a path
    assert (found.http.port, found.log.level) == (9999, "debug")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("WATCHER_PROMETHEUS_ULR", "http://x", "WATCHER_PROMETHEUS_URL"),
        ("WATCHER_PROMETHEUS_TIMEOUT", "3", "3s"),
        ("WATCHER_LOG_LEVEL", "loud", "LOG_LEVEL"),
        ("WATCHER_HTTP_PORT", "many", "HTTP_PORT"),
    ],
)
def test_an_environment_variable_that_means_nothing_is_refused(
    name: str, value: str, says: str, tmp_path: Path
) -> None:
    assert says in str(bad([tmp_path], **{name: value})[0])


def test_problems_of_files_and_environment_are_named_together(tmp_path: Path) -> None:
    put(tmp_path / "a.yaml", application(servise="x"))
    problems = bad([tmp_path], WATCHER_LOG_LEVEL="loud")
    assert len(problems) == 2


CHANNELS = {
    "apiVersion": ERRORS["apiVersion"],
    "kind": "Settings",
    "notifications": [{"name": "team-chat", "url": "http://chat/"}],
}


def test_an_application_names_channels_of_the_settings(tmp_path: Path) -> None:
    put(tmp_path / "watcher.yaml", CHANNELS)
    put(tmp_path / "shop.yaml", application(notify=["team-chat"]))
    assert next(iter(good([tmp_path]).applications.values())).spec.notify == ["team-chat"]
    put(tmp_path / "shop.yaml", application(notify=[{"channel": "team-caht"}]))
    (problem,) = bad([tmp_path])
    assert (problem.message, problem.cure) == ("the settings have no channel team-caht", 'did you mean "team-chat"?')
    assert (Path(problem.file).name, problem.line > 1) == ("shop.yaml", True)


def test_settings_that_could_not_be_read_are_no_reason_to_miss_a_channel(tmp_path: Path) -> None:
    put(tmp_path / "watcher.yaml", CHANNELS | {"notificashuns": []})
    put(tmp_path / "shop.yaml", application(notify=["team-chat"]))
    assert [Path(problem.file).name for problem in bad([tmp_path])] == ["watcher.yaml"]


def test_a_channel_whose_extra_is_not_installed_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = CHANNELS | {"notifications": [{"name": "matrix", "apprise": {"urlFile": "/run/url"}}]}
    put(tmp_path / "watcher.yaml", other)
    assert good([tmp_path]).settings.notifications
    monkeypatch.setitem(sys.modules, "apprise", None)
    (problem,) = bad([tmp_path])
    assert (problem.message, problem.cure) == ("apprise is not installed", 'pip install "bluegreen-watcher[apprise]"')
