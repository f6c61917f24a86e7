"""How many working days an order is handled, learned by origin, for any cut-off."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from eta.calendars.holidays import Holidays
from eta.calendars.local_time import to_instant
from eta.domain.shipment import Place, Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.forecast.handling_time import MOST_DAYS, PRIOR, Handling
from eta.journey.state import Moments, fold
from eta.journey.timelines import Timelines

AS_OF = datetime(2026, 5, 1, tzinfo=UTC)
#: A Monday in Vienna, without a holiday in the week.
MONDAY = datetime(2026, 3, 9, tzinfo=UTC)


def learned(
    journeys: list[tuple[datetime, datetime]],
    origin: Place | None = None,
    holidays: Holidays | None = None,
) -> Handling:
    shipments, events = [], []
    for number, (ordered_at, handed_over_at) in enumerate(journeys):
        known = Shipment(
            shipment_id=f"{number:04d}",
            order_id="o",
            origin=origin or Place(country="AT", region="9"),
            destination=Place(country="AT"),
            ordered_at=ordered_at,
        )
        shipments.append(known)
        for code, at in (
            (EventCode.ORDER_CREATED, ordered_at),
            (EventCode.ACCEPTED, handed_over_at),
        ):
            events.append(
                TrackingEvent(
                    shipment_id=known.shipment_id, event_code=code, occurred_at=at, received_at=at
                )
            )
    timelines = Timelines.from_records(shipments, events)
    instant = to_instant(AS_OF)
    states = fold(timelines, Moments.all_at(timelines, instant))
    return (
        Handling.learn(timelines, states, instant, holidays)
        if holidays
        else Handling.learn(timelines, states, instant)
    )


def law(handling: Handling, cutoff_hour: float = 24.0, origin: str | None = "AT-9") -> list[float]:
    chances = handling.law(origin, cutoff_hour)
    assert chances is not None
    assert chances.sum() == pytest.approx(1.0)
    return chances[:4].tolist()


def test_working_days_are_counted_between_the_local_days() -> None:
    # Friday 23:30 in Vienna to Monday; Saturday to Monday, on which it counts; Monday to Wednesday.
    friday = MONDAY + timedelta(days=4, hours=22, minutes=30)
    saturday, wednesday = MONDAY + timedelta(days=5, hours=9), MONDAY + timedelta(days=9, hours=12)
    monday = MONDAY + timedelta(days=7, hours=12)
    assert law(learned([(friday, monday)] * 100)) == pytest.approx([0, 1, 0, 0])
    assert law(learned([(saturday, monday)] * 100)) == pytest.approx([1, 0, 0, 0])
    assert law(learned([(monday, wednesday)] * 100)) == pytest.approx([0, 0, 1, 0])


def test_an_order_after_the_cut_off_counts_for_the_next_day() -> None:
    # Half of the orders come at 10 and leave the same day, half at 20 and leave the next.
    early = [(MONDAY + timedelta(hours=9), MONDAY + timedelta(hours=16))] * 100
    late = [(MONDAY + timedelta(hours=19), MONDAY + timedelta(hours=40))] * 100
    handling = learned([*early, *late])
    assert law(handling, 24.0) == pytest.approx([0.5, 0.5, 0, 0])
    assert law(handling, 15.0) == pytest.approx([1, 0, 0, 0])


def test_holidays_of_the_origin_are_no_working_days() -> None:
    ordered, handed = MONDAY + timedelta(hours=9), MONDAY + timedelta(days=2, hours=9)
    closed = Holidays.from_toml(
        'version = "1"\n[[places]]\ncountry = "AT"\nclosed = [2026-03-10]\n'
    )
    assert law(learned([(ordered, handed)] * 50)) == pytest.approx([0, 0, 1, 0])
    assert law(learned([(ordered, handed)] * 50, holidays=closed)) == pytest.approx([0, 1, 0, 0])


def test_an_origin_with_few_orders_is_shrunk_to_all() -> None:
    same_day = (MONDAY + timedelta(hours=9), MONDAY + timedelta(hours=16))
    handling = learned([same_day] * 60)
    assert law(handling, origin="BR-SP") == pytest.approx([1, 0, 0, 0])
    slow = np.zeros((24, MOST_DAYS + 1), dtype=np.int64)
    slow[9, 3] = 10
    mixed = Handling({**handling.counts, "BR-SP": slow})
    assert law(mixed, origin="BR-SP")[3] == pytest.approx(10 / (10 + PRIOR))


def test_what_is_not_settled_or_never_told_teaches_nothing() -> None:
    recent = AS_OF - timedelta(days=3)
    assert learned([(recent, recent + timedelta(hours=5))]).law("AT-9", 15.0) is None
    assert Handling().law(None, 15.0) is None


def test_what_was_learned_is_kept_as_plain_values() -> None:
    handling = learned([(MONDAY + timedelta(hours=9), MONDAY + timedelta(hours=30))] * 40)
    again = Handling.from_json(handling.to_json())
    assert law(again, 12.5) == law(handling, 12.5)
