"""The files are read every few seconds: that must cost next to nothing while nobody changes them."""

from __future__ import annotations

from pathlib import Path

from tests.support.acting import ERRORS, application, write
from watcher.engine.config import Files


def test_files_that_did_not_change_are_not_parsed_again(tmp_path: Path) -> None:
    files = Files(list(write(tmp_path, application(), ERRORS)), {})
    before, _ = files.read()
    assert before is not None
    again, _ = files.read()
    assert again is before


def test_files_that_changed_are(tmp_path: Path) -> None:
    files = Files(list(write(tmp_path, application())), {})
    before, _ = files.read()
    write(tmp_path, application(service="another"))
    after, _ = files.read()
    assert before is not None
    assert after is not None
    assert [app.spec.service for app in after.applications.values()] == ["another"]
    assert before.digest != after.digest


def test_wrong_files_stay_wrong_until_they_are_changed_back(tmp_path: Path) -> None:
    files = Files(list(write(tmp_path, application())), {})
    before, _ = files.read()
    write(tmp_path, application(servise="x"))
    first, again = files.read(), files.read()
    assert first == again
    assert first[0] is None
    assert "servise" in str(first[1][0])
    write(tmp_path, application())
    assert files.read() == (before, [])
