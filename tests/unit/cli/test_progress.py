"""Progress of long commands, on a terminal and in a log."""

from itertools import count

import pytest

from eta.cli import tables


def reported(capsys: pytest.CaptureFixture[str], steps: list[tuple[str, int, int]]) -> list[str]:
    """The lines of a log after these steps."""
    with tables.progress_bar() as progress:
        for step in steps:
            progress(*step)
    return capsys.readouterr().err.splitlines()


@pytest.fixture
def frozen_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "monotonic", lambda: 0.0)


@pytest.mark.usefixtures("frozen_clock")
def test_a_log_holds_a_line_for_each_step_however_quick(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = [(name, number, 3) for number, name in enumerate(("reading", "fitting", "checking"))]
    assert reported(capsys, [*steps, ("trained", 3, 3)]) == [
        "  0%  reading (0 of 3)",
        " 33%  fitting (1 of 3)",
        " 67%  checking (2 of 3)",
        "100%  trained (3 of 3)",
    ]


@pytest.mark.usefixtures("frozen_clock")
def test_a_log_holds_a_line_for_each_tenth_of_many_steps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = reported(capsys, [("[rows]", done, 20_000) for done in range(20_001)])
    assert len(lines) == 11
    assert lines[:2] == ["  0%  [rows] (0 of 20,000)", " 10%  [rows] (2,000 of 20,000)"]
    assert lines[-1] == "100%  [rows] (20,000 of 20,000)"


def test_a_log_holds_a_line_from_time_to_time_within_a_tenth(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = count(0.0, 2.0)
    monkeypatch.setattr(tables, "monotonic", lambda: next(seconds))
    lines = reported(capsys, [("fitting", done, 20_000) for done in range(40)])
    assert 5 < len(lines) < 40


@pytest.mark.usefixtures("frozen_clock")
def test_a_log_shows_nothing_to_do_as_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert reported(capsys, [("copying", 0, 0)]) == ["100%  copying (0 of 0)"]


def test_a_log_holds_what_a_command_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    with tables.status("reading [parcels]"):
        pass
    assert capsys.readouterr().err == "reading [parcels]\n"
