"""A Release whose namespace no file names any more is seen to its end, also by a daemon that was started again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.scenarios.test_people import HELD, reach
from tests.support.acting import GOOD, application, watcher, write
from watcher.core.release import Phase
from watcher.demo.platform.manifests import APPLICATION, NAMESPACE
from watcher.demo.stage import Stage


def move_away(directory: Path) -> None:
    """The Application's file goes, and another one is there, of another namespace."""
    (directory / f"application-{APPLICATION}.yaml").unlink()
    elsewhere = application()
    elsewhere["metadata"] = {"name": "shop", "namespace": "elsewhere"}
    write(directory, elsewhere)


def test_a_release_in_a_namespace_that_no_file_names_any_more_ends_after_a_restart(
    small: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = small(tests=HELD, environment={"WATCHER_LEASE_NAMESPACE": NAMESPACE})
    release = stage.release(GOOD)
    reach(stage, release, Phase.TESTING)
    stage.kill_daemon()
    move_away(tmp_path / "config")
    stage.start_daemon()
    assert watcher(stage, "release", "abort", release.name, "--by", "ada").status == 0
    ended = reach(stage, release, Phase.ABORTED)
    assert "by ada" in ended.status.message
    unnamed = stage.release(GOOD)
    stage.kill_daemon()
    stage.start_daemon()
    stage.wait_for(lambda: '"leads: it acts' in stage.daemon_log.read_text("utf-8"), "the daemon to lead")
    assert stage.read(unnamed).phase is Phase.PENDING, "what has not begun is nobody's here"
