"""Logs: one line of JSON each, in which no secret stands, wherever it came from."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import structlog

from watcher.engine.logging import configure_logging, redact

SECRET = "s3cr3t0815"  # noqa: S105 - it opens nothing


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What was logged so far; logging is put back as it was at the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(said: Callable[[], str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said().splitlines()]


def fail() -> None:
    password = SECRET
    raise ValueError(f"refused with Authorization: Bearer {password}")


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_is_shown(form: Literal["json", "text"], said: Callable[[], str]) -> None:
    configure_logging(form, "debug")
    log = structlog.get_logger("test")
    log.info("asks", headers={"Authorization": SECRET, "X-Api-Key": SECRET}, token=SECRET)
    log.info(f"sent Authorization: Bearer {SECRET} to https://user:{SECRET}@prometheus.example/")
    log.info("tried", urls=[f"https://user:{SECRET}@prometheus.example/"])
    logging.getLogger("library").warning("header Basic %s", SECRET)
    try:
        fail()
    except ValueError:
        log.exception("could not")
        logging.getLogger("library").exception("could not either")
    text = said()
    assert SECRET not in text
    assert text.count("[cut]") >= 7
    assert "prometheus.example" in text
    assert "refused with Authorization" in text


def test_each_line_is_one_json_object_with_time_level_and_what_was_bound(said: Callable[[], str]) -> None:
    configure_logging("json", "info")
    structlog.get_logger("test").debug("not shown")
    structlog.get_logger("test").info("Traffic moved.\nAll of it.", release="r1")
    logging.getLogger("library").warning("from %s", "elsewhere")
    ours, theirs = lines(said)
    assert ours["event"] == "Traffic moved.\nAll of it."
    assert (ours["release"], ours["level"]) == ("r1", "info")
    assert ours["timestamp"].endswith("Z")
    assert (theirs["event"], theirs["level"]) == ("from elsewhere", "warning")


def test_an_exception_is_told_without_local_variables(said: Callable[[], str]) -> None:
    configure_logging("json", "info")
    try:
        fail()
    except ValueError:
        structlog.get_logger("test").exception("could not")
    (line,) = lines(said)
    assert "ValueError" in json.dumps(line["exception"])
    assert "password" not in json.dumps(line)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Bearer abcdefgh1234", "Bearer [cut]"),
        ("https://u:p@host/x", "https://[cut]@host/x"),
        ("a basic truth", "a basic truth"),
        (4.2, 4.2),
        (None, None),
    ],
)
def test_what_is_cut_and_what_is_not(value: object, shown: object) -> None:
    assert redact(None, "", {"event": value}) == {"event": shown}
