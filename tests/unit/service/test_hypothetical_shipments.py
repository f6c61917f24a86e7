"""A hypothetical parcel gives a model the same features as a recorded one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from eta.calendars.local_time import to_instant
from eta.domain.shipment import Place, Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.journey.features import features
from eta.journey.place_effects import PlaceEffects
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import Timelines
from eta.service.estimates.hypothetical_shipments import CarrierService, hypothetical_shipments

LANE = Shipment(
    shipment_id="lane",
    order_id="lane",
    origin=Place(country="DE", region="BE", postcode="10115", latitude=52.5, longitude=13.4),
    destination=Place(country="US", region="CA", postcode="90012", latitude=34.1, longitude=-118.2),
    ordered_at=datetime(2026, 3, 6, 12, tzinfo=UTC),
    weight_kg=1.2,
)
SERVICES = [CarrierService(carrier="post", service_level="express"), CarrierService(carrier="post")]
#: Services, and hours after the order of the lane at which they are ordered and handed over; the
#: clocks of California change on 8 March.
WHICH, ORDERED, HANDED_OVER = (0, 1, 1, 0), (-30, 0, 7, 49), (-6, 0, 31, 120)


@pytest.mark.parametrize("is_handed_over", [False, True])
def test_a_hypothetical_parcel_equals_a_recorded_one(is_handed_over: bool) -> None:
    ordered, handed_over = (
        [LANE.ordered_at + timedelta(hours=offset) for offset in hours]
        for hours in (ORDERED, HANDED_OVER)
    )
    shipments = [
        replace(
            LANE,
            shipment_id=f"s{number}",
            ordered_at=at,
            carrier=SERVICES[which].carrier,
            service_level=SERVICES[which].service_level,
        )
        for number, (which, at) in enumerate(zip(WHICH, ordered, strict=True))
    ]
    times_by_code = [
        (EventCode.ORDER_CREATED, ordered),
        *([(EventCode.ACCEPTED, handed_over)] if is_handed_over else []),
    ]
    events = [
        TrackingEvent(
            shipment_id=shipment.shipment_id, event_code=code, occurred_at=at, received_at=at
        )
        for code, times in times_by_code
        for shipment, at in zip(shipments, times, strict=True)
    ]
    recorded = Timelines.from_records(shipments, events)
    moments = AsOfPairs(
        np.arange(len(WHICH)), np.array([to_instant(at) for at in times_by_code[-1][1]])
    )
    instants = [np.array([to_instant(at) for at in times]) for times in (ordered, handed_over)]
    parcels = hypothetical_shipments(
        LANE, SERVICES, np.array(WHICH), instants[0], instants[1] if is_handed_over else None
    )

    place_effects = PlaceEffects({"DE|10115": 0.5}, {"DE|101": 0.3}, {"US|90": 0.2})
    expected = features(recorded, moments, place_effects, fold(recorded, moments))
    actual = features(parcels.timelines, parcels.moments, place_effects, parcels.states)
    assert set(expected.numbers["origin_transit_effect"]) == {0.3}
    for name, labels in expected.categoricals.items():
        assert actual.categoricals[name].texts().tolist() == labels.texts().tolist(), name
    for name, values in expected.numbers.items():
        np.testing.assert_array_equal(actual.numbers[name], values, err_msg=name)
    np.testing.assert_array_equal(actual.local_as_of, expected.local_as_of)
    states = fold(recorded, moments)
    for name in (
        "status",
        "phase",
        "ordered_at",
        "approved_at",
        "handed_over_at",
        "last_scan_at",
        "last_code",
        "arrived_at",
        "scan_count",
        "is_open",
    ):
        np.testing.assert_array_equal(
            getattr(parcels.states, name), getattr(states, name), err_msg=name
        )
