"""The clock guard: which times of the wall clock may be recorded."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from eta.calendars.local_time import microseconds
from eta.store.clock_guard import ClockGuard, ClockProblem, ClockReading
from support.store import NOW, Machine

MINUTE, HOUR, DAY, YEAR = (
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
    timedelta(days=365),
)


class Guarded(Machine):
    """A machine whose clock is judged; a store was last written ``idle`` before its start."""

    def __init__(self, idle: timedelta | None = timedelta(seconds=20)) -> None:
        super().__init__()
        self.guard = ClockGuard(self.steady, max_idle_days=14)
        self.guard.start(0 if idle is None else microseconds(NOW - idle))

    def judge(self) -> ClockReading:
        return self.guard.judge(microseconds(self.now))

    def restart(self, last_commit: datetime) -> None:
        self.guard = ClockGuard(self.steady, max_idle_days=14)
        self.guard.start(microseconds(last_commit))


@pytest.mark.parametrize("ahead", [61 * MINUTE / 60, HOUR, DAY, 400 * DAY, 30 * YEAR])
def test_a_clock_ahead_of_the_steady_one_is_refused(ahead: timedelta) -> None:
    machine = Guarded()
    assert machine.judge().problem is None
    machine.set_clock(ahead=ahead)
    machine.pass_hours(1)
    reading = machine.judge()
    assert reading.problem is ClockProblem.AHEAD
    assert reading.trusted == microseconds(NOW + HOUR)
    assert reading.wall - reading.expected == microseconds(NOW + ahead) - microseconds(NOW)
    machine.set_clock(ahead=-ahead)
    assert machine.judge().problem is None


@pytest.mark.parametrize("ahead", [59 * MINUTE / 60, -HOUR, -DAY, -400 * DAY])
def test_a_small_lead_and_a_clock_set_back_are_not_refused(ahead: timedelta) -> None:
    machine = Guarded()
    machine.judge()
    machine.set_clock(ahead=ahead)
    assert not machine.judge().is_refused
    machine.set_clock(ahead=-ahead)
    assert machine.judge() == ClockReading(microseconds(NOW), microseconds(NOW))


def test_a_clock_that_was_set_back_is_behind() -> None:
    machine = Guarded()
    machine.judge()
    machine.set_clock(ahead=-HOUR)
    reading = machine.judge()
    assert reading.problem is ClockProblem.BEHIND
    assert reading.trusted == microseconds(NOW - HOUR)


def test_small_steps_ahead_add_up() -> None:
    machine = Guarded()
    for _ in range(2):
        machine.judge()
        machine.set_clock(ahead=45 * MINUTE / 60)
        machine.pass_hours(1)
    assert machine.judge().problem is ClockProblem.AHEAD


def test_clocks_that_drift_apart_slowly_are_sound() -> None:
    machine = Guarded()
    for _ in range(24 * 90):
        machine.pass_hours(1)
        machine.set_clock(ahead=timedelta(seconds=0.36))  # a hundred millionths
        assert machine.judge().problem is None
    assert not machine.guard.is_interrupted


def test_a_long_idle_time_before_the_start_needs_to_be_accepted() -> None:
    machine = Guarded(idle=14 * DAY + HOUR)
    reading = machine.judge()
    assert reading.problem is ClockProblem.IDLE
    assert reading.trusted == microseconds(NOW - 14 * DAY - HOUR)
    machine.pass_hours(5)
    assert machine.judge().trusted == microseconds(NOW - 14 * DAY + 4 * HOUR)
    machine.guard.accept(microseconds(machine.now))
    assert machine.judge().problem is None
    assert machine.guard.is_interrupted


@pytest.mark.parametrize("idle", [None, timedelta(0), DAY, 14 * DAY - HOUR])
def test_an_empty_store_and_a_short_idle_time_start_at_once(idle: timedelta | None) -> None:
    machine = Guarded(idle)
    assert machine.judge().problem is None
    machine.set_clock(ahead=DAY)
    assert machine.judge().problem is ClockProblem.AHEAD


def test_a_clock_that_was_far_ahead_at_the_start_and_is_set_right_is_trusted() -> None:
    machine = Guarded()
    machine.set_clock(ahead=401 * DAY)
    assert machine.judge().problem is ClockProblem.IDLE
    machine.set_clock(ahead=-401 * DAY)
    assert machine.judge().problem is None


@pytest.mark.parametrize("behind", [HOUR, DAY, 10 * YEAR])
def test_a_clock_behind_at_the_start_may_be_set_right(behind: timedelta) -> None:
    machine = Guarded(idle=5 * MINUTE)
    machine.set_clock(ahead=-behind)
    assert machine.judge().problem is ClockProblem.BEHIND
    assert not machine.judge().is_refused
    machine.pass_hours(2)
    machine.set_clock(ahead=behind)
    assert machine.judge().problem is None
    machine.set_clock(ahead=HOUR)
    assert machine.judge().problem is ClockProblem.AHEAD


def test_a_commit_of_another_process_accepts_the_clock() -> None:
    machine = Guarded(idle=20 * DAY)
    assert machine.judge().is_refused
    machine.guard.observe_commit(microseconds(machine.now))
    assert not machine.judge().is_refused


@pytest.mark.parametrize(
    ("idle", "is_interrupted"), [(None, True), (MINUTE, False), (HOUR, False), (3 * HOUR, True)]
)
def test_a_restart_goes_on_and_a_gap_interrupts(
    idle: timedelta | None, is_interrupted: bool
) -> None:
    machine = Guarded(idle)
    machine.judge()
    assert machine.guard.is_interrupted == is_interrupted


@pytest.mark.parametrize("ahead", [2 * MINUTE, 400 * DAY, -2 * MINUTE, -400 * DAY])
def test_a_jump_of_either_sign_interrupts(ahead: timedelta) -> None:
    machine = Guarded()
    machine.judge()
    machine.set_clock(ahead=ahead)
    machine.judge()
    assert machine.guard.is_interrupted
    machine.guard.clear_interruption()
    # What was recorded meanwhile says nothing of when the clock was set right.
    machine.set_clock(ahead=-ahead)
    machine.judge()
    assert machine.guard.is_interrupted
    machine.guard.clear_interruption()
    machine.judge()
    assert not machine.guard.is_interrupted


def test_the_description_names_both_times_and_what_to_do() -> None:
    machine = Guarded()
    machine.judge()
    machine.set_clock(ahead=400 * DAY)
    text = machine.judge().describe()
    assert "2027-06-24T08:00:00Z" in text
    assert "2026-05-20T08:00:00Z" in text
    assert "restart" in text
    machine = Guarded(idle=20 * DAY)
    assert "20 days" in machine.judge().describe()
    assert "--accept-clock" in machine.judge().describe()
    machine = Guarded(idle=-DAY)
    assert "eta repair --clock" in machine.judge().describe()
