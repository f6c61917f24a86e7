"""Handling times in working days, by origin and for any cut-off."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from eta.calendars.holidays import HolidayCalendar
from eta.calendars.local_time import to_instant
from eta.domain.shipment import Place, Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.forecast.handling_time import MAX_DAYS, PRIOR, HandlingTimes
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import Timelines

AS_OF = datetime(2026, 5, 1, tzinfo=UTC)
#: A Monday in Vienna, without a holiday in the week.
MONDAY = datetime(2026, 3, 9, tzinfo=UTC)


def fitted(
    journeys: list[tuple[datetime, datetime]],
    origin: Place | None = None,
    holidays: HolidayCalendar | None = None,
) -> HandlingTimes:
    shipments, events = [], []
    for number, (ordered_at, handed_over_at) in enumerate(journeys):
        shipment = Shipment(
            shipment_id=f"{number:04d}",
            order_id="o",
            origin=origin or Place(country="AT", region="9"),
            destination=Place(country="AT"),
            ordered_at=ordered_at,
        )
        shipments.append(shipment)
        for code, at in (
            (EventCode.ORDER_CREATED, ordered_at),
            (EventCode.ACCEPTED, handed_over_at),
        ):
            events.append(
                TrackingEvent(
                    shipment_id=shipment.shipment_id,
                    event_code=code,
                    occurred_at=at,
                    received_at=at,
                )
            )
    timelines = Timelines.from_records(shipments, events)
    instant = to_instant(AS_OF)
    states = fold(timelines, AsOfPairs.all_at(timelines, instant))
    return (
        HandlingTimes.fit(timelines, states, instant, holidays)
        if holidays
        else HandlingTimes.fit(timelines, states, instant)
    )


def distribution(
    handling: HandlingTimes, cutoff_hour: float = 24.0, origin: str | None = "AT-9"
) -> list[float]:
    probabilities = handling.distribution(origin, cutoff_hour)
    assert probabilities is not None
    assert probabilities.sum() == pytest.approx(1.0)
    return probabilities[:4].tolist()


def test_working_days_are_counted_between_local_days() -> None:
    # Friday 23:30 in Vienna to Monday; Saturday to Monday, on which it counts; Monday to Wednesday.
    friday = MONDAY + timedelta(days=4, hours=22, minutes=30)
    saturday, wednesday = MONDAY + timedelta(days=5, hours=9), MONDAY + timedelta(days=9, hours=12)
    monday = MONDAY + timedelta(days=7, hours=12)
    assert distribution(fitted([(friday, monday)] * 100)) == pytest.approx([0, 1, 0, 0])
    assert distribution(fitted([(saturday, monday)] * 100)) == pytest.approx([1, 0, 0, 0])
    assert distribution(fitted([(monday, wednesday)] * 100)) == pytest.approx([0, 0, 1, 0])


def test_order_after_cutoff_counts_for_the_next_day() -> None:
    # Half of the orders come at 10 and leave the same day, half at 20 and leave the next.
    early = [(MONDAY + timedelta(hours=9), MONDAY + timedelta(hours=16))] * 100
    late = [(MONDAY + timedelta(hours=19), MONDAY + timedelta(hours=40))] * 100
    handling = fitted([*early, *late])
    assert distribution(handling, 24.0) == pytest.approx([0.5, 0.5, 0, 0])
    assert distribution(handling, 15.0) == pytest.approx([1, 0, 0, 0])


def test_holidays_of_the_origin_are_no_working_days() -> None:
    ordered, handed = MONDAY + timedelta(hours=9), MONDAY + timedelta(days=2, hours=9)
    closed = HolidayCalendar.from_toml(
        'version = "1"\n[[places]]\ncountry = "AT"\nclosed = [2026-03-10]\n'
    )
    assert distribution(fitted([(ordered, handed)] * 50)) == pytest.approx([0, 0, 1, 0])
    assert distribution(fitted([(ordered, handed)] * 50, holidays=closed)) == pytest.approx(
        [0, 1, 0, 0]
    )


def test_origin_with_few_orders_is_shrunk_to_all() -> None:
    same_day = (MONDAY + timedelta(hours=9), MONDAY + timedelta(hours=16))
    handling = fitted([same_day] * 60)
    assert distribution(handling, origin="BR-SP") == pytest.approx([1, 0, 0, 0])
    slow = np.zeros((24, MAX_DAYS + 1), dtype=np.int64)
    slow[9, 3] = 10
    mixed = HandlingTimes({**handling.counts, "BR-SP": slow})
    assert distribution(mixed, origin="BR-SP")[3] == pytest.approx(10 / (10 + PRIOR))


def test_unsettled_and_unreceived_orders_are_ignored() -> None:
    recent = AS_OF - timedelta(days=3)
    assert fitted([(recent, recent + timedelta(hours=5))]).distribution("AT-9", 15.0) is None
    assert HandlingTimes().distribution(None, 15.0) is None


def test_handling_times_json_round_trip() -> None:
    handling = fitted([(MONDAY + timedelta(hours=9), MONDAY + timedelta(hours=30))] * 40)
    again = HandlingTimes.from_json(handling.to_json())
    assert distribution(again, 12.5) == distribution(handling, 12.5)
