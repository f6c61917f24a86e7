"""Progress of long commands, on a terminal and in a log."""

import pytest

from eta.cli import tables


def test_a_log_holds_a_line_of_progress_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([0.0, 1.0, 6.0, 6.0, 7.0, 20.0, 20.0])
    monkeypatch.setattr(tables, "monotonic", lambda: next(seconds))
    with tables.progress_bar() as progress:
        for done in range(4):
            progress("[fitting]", done, 20_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["[fitting] (1 of 20,000)", "[fitting] (3 of 20,000)"]
