"""Recalibration: corrects curves that are too wide or too narrow, and leaves right ones."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eta.calendars.local_time import to_instant
from eta.curves import Curves
from eta.domain.errors import ModelCorrupted
from eta.domain.vocabulary import EventCode
from eta.forecast.hazard.recalibration import (
    KNOT_HAZARDS,
    PRIOR,
    STAGES,
    CumulativeHazardInterval,
    Recalibration,
    stages,
)
from eta.journey.features import features
from eta.journey.place_effects import PlaceEffects
from eta.journey.state import AsOfPairs
from eta.journey.timelines import Timelines
from support.journeys import START, scan, shipment

Hazards = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


#: What an H of a day may be.
DAY = 0.2


def fitted(
    hazard_at_arrival: Hazards,
    open_until: Hazards | None = None,
    stage: int = 0,
    prior: float = 10.0,
) -> Recalibration:
    """Fitted to parcels that arrive at H ``hazard_at_arrival``, with an H of ``DAY`` a day.

    They are censored at the H ``open_until``.
    """
    arrived = (
        np.ones(len(hazard_at_arrival), dtype=bool)
        if open_until is None
        else hazard_at_arrival <= open_until
    )
    day = np.floor(hazard_at_arrival / DAY) * DAY
    lower, upper = (
        (day, day + DAY)
        if open_until is None
        else (np.where(arrived, day, open_until), np.where(arrived, day + DAY, open_until))
    )
    return Recalibration.fit(
        CumulativeHazardInterval(lower, upper, arrived, np.full(len(hazard_at_arrival), stage)),
        prior,
    )


def shares_within(hazards: Hazards) -> list[float]:
    """The coverage of 50, 80 and 90 % ranges if H at the arrival was ``hazards``."""
    reached = -np.expm1(-hazards)
    return [float((abs(reached - 0.5) <= share / 2).mean()) for share in (0.5, 0.8, 0.9)]


@pytest.mark.parametrize("shape", [0.75, 1.0, 1.7])
def test_recalibrated_ranges_have_nominal_coverage(shape: float) -> None:
    # H**shape is exponential: the curves are too narrow, right, or too wide.
    hazard_at_arrival = np.random.default_rng(1).exponential(size=40_000) ** (1 / shape)
    first, later = hazard_at_arrival[:20_000], hazard_at_arrival[20_000:]
    assert shares_within(
        fitted(first).apply(later[:, None], np.zeros(len(later), dtype=int))[:, 0]
    ) == pytest.approx([0.5, 0.8, 0.9], abs=0.025)


def test_open_parcels_count_until_last_seen_open() -> None:
    random = np.random.default_rng(2)
    hazard_at_arrival, observed_until = (
        random.exponential(size=40_000) * 1.5,
        random.exponential(size=40_000) * 2.0,
    )
    # Observation ends at the end of a day.
    slopes = fitted(hazard_at_arrival, np.ceil(observed_until / DAY) * DAY).slopes[0]
    # Parcels take 1.5 times the H forecast. Few are observed long enough for the last segments.
    assert slopes[:10] == pytest.approx(np.full(10, 1 / 1.5), abs=0.06)


def test_stages_are_recalibrated_apart() -> None:
    both = fitted(np.random.default_rng(3).exponential(size=5_000) * 3.0, stage=1)
    assert (both.slopes[0] == 1.0).all()
    assert (both.slopes[1] < 0.7).all()


def test_no_forecasts_change_nothing_and_few_change_little() -> None:
    assert (fitted(np.empty(0)).slopes == Recalibration.identity().slopes).all()
    few = fitted(np.full(10, 3.0), prior=PRIOR).slopes[0]
    assert few == pytest.approx(np.ones(len(KNOT_HAZARDS)), abs=20 / PRIOR)


@given(
    slopes=st.lists(st.floats(0.05, 20.0), min_size=len(KNOT_HAZARDS), max_size=len(KNOT_HAZARDS)),
    hazards=st.lists(st.floats(0.0, 50.0), min_size=2, max_size=20),
)
def test_recalibration_rises_and_can_be_inverted(slopes: list[float], hazards: list[float]) -> None:
    recalibration = Recalibration(np.array([slopes, slopes[::-1]] * (len(STAGES) // 2)))
    rows = np.array([sorted(hazards)] * len(STAGES))
    stage = np.arange(len(STAGES))
    recalibrated = recalibration.apply(rows, stage)
    assert (np.diff(recalibrated, axis=1) >= 0).all()
    assert (recalibrated[:, 0] >= 0).all()
    assert recalibration.invert(recalibrated, stage) == pytest.approx(rows, rel=1e-9, abs=1e-9)


def test_slopes_of_other_stages_are_rejected() -> None:
    with pytest.raises(ModelCorrupted, match="train the model again"):
        Recalibration.from_slopes(np.ones((2, 3)))


def test_arrival_lies_within_its_local_day() -> None:
    # At noon; the probability of having arrived grows by 1 % an hour.
    timelines = Timelines.from_records([shipment(0)], [scan(0, EventCode.ORDER_CREATED, 0.0)])
    features_at_noon = features(
        timelines,
        AsOfPairs(np.zeros(5, dtype=np.int64), np.full(5, to_instant(START.replace(hour=11)))),
        PlaceEffects(),
    )
    assert features_at_noon.numbers["local_hour"].tolist() == [12.0] * 5
    curves = Curves.from_grid([0.0, 100.0], np.tile([0.0, 1.0], (5, 1)))
    # Arrived before the forecast, in 5 hours, in 20 hours; open for 20 hours; arrived after the
    # horizon.
    hours, arrived = (
        np.array([0.0, 5.0, 20.0, 20.0, 24.0 * 61]),
        np.array([True, True, True, False, True]),
    )
    interval = CumulativeHazardInterval.from_curves(curves, features_at_noon, hours, arrived)
    assert interval.arrived.tolist() == [True, True, True, False, False]
    assert -np.expm1(-interval.lower) == pytest.approx([0.0, 0.0, 0.12, 0.2, 1.0], abs=1e-6)
    assert -np.expm1(-interval.upper) == pytest.approx([0.12, 0.12, 0.36, 0.2, 1.0], abs=1e-6)


def test_cross_border_parcels_have_their_own_stages() -> None:
    timelines = Timelines.from_records(
        [shipment(number) for number in range(4)],
        [
            scan(3, EventCode.ACCEPTED, 1.0),
            *(scan(n, EventCode.ORDER_CREATED, 0.0) for n in range(4)),
        ],
    )
    moments = AsOfPairs.all_at(timelines, to_instant(START + timedelta(hours=2)))
    assert {
        STAGES[stage]
        for stage in stages(
            features(timelines, AsOfPairs.all_at(timelines, to_instant(START)), PlaceEffects())
        )
    } == {"purchase", "purchase_abroad"}
    # Vienna to Vienna, Sao Paulo to Sao Paulo, Vienna to California, Sao Paulo to Japan.
    assert [STAGES[stage] for stage in stages(features(timelines, moments, PlaceEffects()))] == [
        "before_handover",
        "before_handover",
        "before_handover_abroad",
        "on_the_way_abroad",
    ]


def test_silent_parcels_have_their_own_stage() -> None:
    timelines = Timelines.from_records(
        [shipment(1)], [scan(1, EventCode.ORDER_CREATED, 0.0), scan(1, EventCode.ACCEPTED, 1.0)]
    )
    moments = AsOfPairs(
        np.zeros(3, dtype=np.int64),
        np.array([to_instant(START + timedelta(hours=hours)) for hours in (1.0, 7.0, 7.1)]),
    )
    assert [STAGES[stage] for stage in stages(features(timelines, moments, PlaceEffects()))] == [
        "on_the_way",
        "on_the_way",
        "silent",
    ]
