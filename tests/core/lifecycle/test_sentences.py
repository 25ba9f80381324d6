"""Messages are sentences: what others wrote is fitted into them."""

from watcher.core.lifecycle.turn import one_line


def test_several_lines_of_somebody_else_become_one() -> None:
    assert one_line("Traceback:\n  File x\n\nValueError: no\n") == "Traceback: | File x | ValueError: no"
    assert one_line("") == ""
