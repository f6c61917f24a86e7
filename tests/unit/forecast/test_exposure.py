"""Time at risk of training examples: only the bins that they reach, in blocks."""

from datetime import timedelta

import numpy as np
import pytest

from eta.calendars.local_time import to_instant
from eta.forecast.hazard.active_hours import NEAR_PROMISE, ActivityProfile
from eta.forecast.hazard.exposure import BIN_EDGES_HOURS, TIMED_BINS, TimeAtRisk, time_at_risk
from eta.forecast.hazard.trees import hours_by_bin
from eta.journey.examples import Examples, Outcomes, examples
from eta.journey.snapshots import training_snapshots
from eta.journey.timelines import Timelines
from support.journeys import START, parcels


@pytest.fixture(scope="module")
def history() -> Examples:
    shipments, events = parcels(400, days=60)
    promised_on = START.date() + timedelta(days=40)
    timelines = Timelines.from_frames(shipments.assign(promised_on=promised_on), events)
    until = to_instant(START + timedelta(days=60))
    return examples(training_snapshots(timelines, until), Outcomes.at(timelines, until))


def at_risk(history: Examples, block_rows: int, *, uses_promise: bool) -> TimeAtRisk:
    profile = ActivityProfile.fit(history)
    return time_at_risk(history, profile, uses_promise=uses_promise, block_rows=block_rows)


@pytest.mark.parametrize("uses_promise", [False, True])
@pytest.mark.parametrize("block_rows", [1, 7, 1_000])
def test_blocks_of_any_size_give_the_same_time_at_risk(
    history: Examples, block_rows: int, uses_promise: bool
) -> None:
    blocks = at_risk(history, block_rows, uses_promise=uses_promise)
    whole = at_risk(history, len(history), uses_promise=uses_promise)
    for name in TimeAtRisk._fields:
        one, other = getattr(blocks, name), getattr(whole, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def test_example_has_cells_for_the_bins_that_it_reaches(history: Examples) -> None:
    cells = np.diff(at_risk(history, 100, uses_promise=False).first)
    until = np.minimum(history.duration_hours, BIN_EDGES_HOURS[-1])
    assert (cells == np.searchsorted(BIN_EDGES_HOURS, until) + 1).all()
    assert cells.min() >= 1
    assert cells.max() <= TIMED_BINS


def test_bins_near_the_promise_follow_those_that_are_reached(history: Examples) -> None:
    timed = np.diff(at_risk(history, 100, uses_promise=False).first)
    all_cells = np.diff(at_risk(history, 100, uses_promise=True).first)
    assert (all_cells == timed + len(NEAR_PROMISE)).all()


@pytest.mark.parametrize("uses_promise", [False, True])
def test_hours_by_bin_are_all_hours_at_risk(history: Examples, uses_promise: bool) -> None:
    of_all = at_risk(history, 100, uses_promise=uses_promise)
    bins = TIMED_BINS + (len(NEAR_PROMISE) if uses_promise else 0)
    hours = hours_by_bin(of_all, bins)
    assert hours.sum() == pytest.approx(of_all.exposure.sum(dtype=np.float64))
    # Bin 0 has no width: each example counts as 1, or as a half if it had arrived.
    first = of_all.exposure[of_all.first[:-1]]
    assert hours[0] == pytest.approx(first.sum(dtype=np.float64))
    assert set(first.tolist()) <= {0.5, 1.0}
    if uses_promise:
        assert hours[TIMED_BINS:].sum() > 0.0
