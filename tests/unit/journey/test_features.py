"""Features of places and local times."""

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from eta.calendars.local_time import to_instant
from eta.domain.shipment import TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.journey.features import PLACE_COLUMNS, PROMISE_COLUMN, features
from eta.journey.place_effects import PlaceEffectHistory, PlaceEffects
from eta.journey.state import AsOfPairs
from eta.journey.timelines import Timelines
from support.journeys import START, parcels, scan, shipment


def places(*events: TrackingEvent, carrier: str | None = "post") -> list[str | None]:
    timelines = Timelines.from_records([shipment(1, carrier=carrier)], events)
    result = features(
        timelines,
        AsOfPairs.all_at(timelines, to_instant(START + timedelta(days=9))),
        PlaceEffects(),
    )
    return [result.categoricals[name].texts()[0] for name in PLACE_COLUMNS]


def test_a_journey_without_places_has_no_place_category() -> None:
    assert places(scan(1, EventCode.ACCEPTED, 1)) == [None, None]


def test_the_last_place_is_combined_with_its_event_code() -> None:
    texts_at_end = places(scan(1, EventCode.SORTED, 1, place="hub"), scan(1, EventCode.INFO, 2))
    assert texts_at_end == ["post|sorted|hub", "post|sorted|hub|BR-SP"]


def test_a_place_without_a_carrier_has_a_category() -> None:
    assert places(scan(1, EventCode.SORTED, 1, place="hub"), carrier=None) == [
        "?|sorted|hub",
        "?|sorted|hub|BR-SP",
    ]


def test_features_use_the_local_times_of_both_ends() -> None:
    """At half past midnight on a Monday in Vienna it is Sunday, 21:30, in Sao Paulo."""
    timelines = Timelines.from_records(
        [replace(shipment(0), destination=shipment(1).destination)], []
    )
    at = datetime(2018, 1, 8, 0, 30, tzinfo=ZoneInfo("Europe/Vienna"))
    seen = features(timelines, AsOfPairs.all_at(timelines, to_instant(at)), PlaceEffects()).numbers
    assert [
        seen[name].tolist()
        for name in ("origin_week_hour", "origin_hour", "local_weekday", "local_hour")
    ] == [[0.5], [0.5], [6.0], [21.5]]


@pytest.mark.parametrize("block_rows", [1, 7, 64])
def test_many_moments_have_the_numbers_of_few_as_trees_read_them(
    block_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Timelines.from_frames(*parcels(80, days=20))
    until = to_instant(START + timedelta(days=20))
    pairs = AsOfPairs.all_at(lines, until)
    effects = PlaceEffectHistory.from_timelines(lines)
    few = features(lines, pairs, effects)
    monkeypatch.setattr("eta.journey.features._BLOCK_ROWS", block_rows)
    many = features(lines, pairs, effects)
    assert list(many.numbers) == list(few.numbers)
    for name, values in few.numbers.items():
        compact = many.numbers[name]
        assert np.array_equal(compact, values.astype(compact.dtype), equal_nan=True)
    # What days and stages are computed from is exact.
    for name in ("order_elapsed_days", "silence_days", "local_hour", "weight_kg", PROMISE_COLUMN):
        assert many.numbers[name].dtype == np.float64
