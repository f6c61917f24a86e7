"""The curve of an order: hand-overs mixed by probability, delivery days and dates."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pytest

from eta.calendars.holidays import HolidayCalendar
from eta.curves import Curves
from eta.domain.shipment import Place, Shipment
from eta.forecast.handling_time import MAX_DAYS, HandlingTimes
from eta.model.bundle import ModelBundle
from eta.service.estimates.hypothetical_shipments import CarrierService
from eta.service.estimates.order_to_delivery import OrderCurves, PickupSchedule, order_curves
from support.model_app import fixed

# One process keeps the compiled loops.
pytestmark = pytest.mark.xdist_group("api")

#: A Tuesday in Vienna, 11:30.
ORDERED = datetime(2026, 5, 19, 9, 30, tzinfo=UTC)
VIENNA = Place(country="AT", region="9")


class AfterHandover:
    """Arrives evenly within the first day after the forecast."""

    def predict_curves(self, features: Any) -> Curves:
        return Curves.from_grid([0.0, 24.0], np.tile([0.0, 1.0], (len(features), 1)))


def a_day(handling: HandlingTimes | None = None) -> ModelBundle:
    bundle = fixed(400).served
    assert bundle is not None
    return ModelBundle(
        bundle.version,
        AfterHandover(),  # type: ignore[arg-type]  # stands in for a model
        bundle.place_effects,
        bundle.stage_durations,
        bundle.support,
        handling or HandlingTimes(),
    )


def curves_for(
    pickup_schedule: PickupSchedule | None,
    *,
    at: datetime = ORDERED,
    service: CarrierService | None = None,
    served: ModelBundle | None = None,
    **more: Any,
) -> OrderCurves:
    lane = Shipment(
        shipment_id="lane", order_id="lane", origin=VIENNA, destination=VIENNA, ordered_at=at
    )
    return order_curves(
        lane, [service or CarrierService()], pickup_schedule, served or a_day(), **more
    )


def by_day(order: OrderCurves) -> list[float]:
    """P(arrived on or before) the day of the order and the following ones."""
    return order.curves.cdf[0][2::2].round(6).tolist()


def make_schedule(**more: Any) -> PickupSchedule:
    return PickupSchedule(
        **{"cutoff": time(18), "weekdays": (1, 2, 3, 4, 5), "handling": (1.0,), **more}
    )


def test_from_the_handover_on_the_curve_is_the_carriers() -> None:
    # Handed over at 18:00, a quarter of it arrives before midnight.
    assert by_day(curves_for(make_schedule()))[:3] == pytest.approx([0.25, 1.0, 1.0])
    assert by_day(curves_for(make_schedule(cutoff=time(12))))[:2] == pytest.approx([0.5, 1.0])


def test_an_order_after_the_cutoff_leaves_on_the_next_pickup_day() -> None:
    order = curves_for(make_schedule(cutoff=time(11)))
    assert by_day(order)[:3] == pytest.approx([0.0, 13 / 24, 1.0])
    assert order.handover_on == [date(2026, 5, 20)]
    assert [at and at.isoformat() for at in order.order_by] == ["2026-05-20T11:00:00+02:00"]


def test_the_handling_distribution_is_mixed_in() -> None:
    order = curves_for(make_schedule(handling=(0.5, 0.3, 0.2)))
    assert by_day(order)[:4] == pytest.approx([0.125, 0.5 + 0.075, 0.5 + 0.3 + 0.05, 1.0])
    assert order.handover_on == [date(2026, 5, 19)]
    assert curves_for(make_schedule(handling=(0.4, 0.6))).handover_on == [date(2026, 5, 20)]


def test_handling_that_is_not_declared_is_the_learned_one() -> None:
    counts = np.zeros((24, MAX_DAYS + 1), dtype=np.int64)
    counts[9, 1] = 1_000_000
    handling = HandlingTimes({"": counts, "AT-9": counts})
    assert by_day(curves_for(make_schedule(handling=None), served=a_day(handling)))[
        :3
    ] == pytest.approx([0.0, 0.25, 1.0], abs=1e-3)
    # Nothing was learned: parcels leave on the day for which they count.
    assert by_day(curves_for(make_schedule(handling=None)))[:2] == pytest.approx([0.25, 1.0])


def test_weekends_and_holidays_of_the_origin_wait() -> None:
    friday_evening = datetime(2026, 5, 22, 17, tzinfo=UTC)
    # Whit Monday is a holiday in Austria: handed over on Tuesday, the 26th.
    assert by_day(curves_for(make_schedule(), at=friday_evening))[:6] == pytest.approx(
        [0, 0, 0, 0, 0.25, 1.0]
    )
    open_on_monday = HolidayCalendar.from_toml(
        'version = "1"\n[[places]]\ncountry = "AT"\nopen = [2026-05-25]\n'
    )
    assert by_day(curves_for(make_schedule(), at=friday_evening, holidays=open_on_monday))[
        :5
    ] == pytest.approx([0, 0, 0, 0.25, 1.0])
    saturdays_too = CarrierService(pickup_weekdays=(1, 2, 3, 4, 5, 6))
    assert by_day(curves_for(make_schedule(), at=friday_evening, service=saturdays_too))[
        :3
    ] == pytest.approx([0, 0.25, 1.0])


def test_non_delivery_days_shift_arrivals_to_the_next_delivery_day() -> None:
    thursdays = CarrierService(delivery_weekdays=(4,))
    # Thursday is the 21st.
    assert by_day(curves_for(make_schedule(), service=thursdays))[:3] == pytest.approx(
        [0.0, 0.0, 1.0]
    )
    # Corpus Christi, Thursday 4 June, is a holiday: the next is the 11th.
    cdf = by_day(
        curves_for(make_schedule(), at=datetime(2026, 6, 1, 9, tzinfo=UTC), service=thursdays)
    )
    assert cdf[:11] == pytest.approx([0.0] * 10 + [1.0])


def test_each_carrier_picks_up_and_delivers_on_its_own_days() -> None:
    new_york = Place(country="US", region="NY")
    # Friday before Columbus Day, Monday 12 October 2026, after the cut-off at 18:00.
    lane = Shipment(
        shipment_id="lane",
        order_id="lane",
        origin=new_york,
        destination=new_york,
        ordered_at=datetime(2026, 10, 9, 23, tzinfo=UTC),
    )
    weekdays = (1, 2, 3, 4, 5)
    services = [
        CarrierService(carrier=carrier, delivery_weekdays=weekdays) for carrier in ("UPS", "USPS")
    ]
    order = order_curves(lane, services, make_schedule(), a_day())
    assert order.handover_on == [date(2026, 10, 12), date(2026, 10, 13)]
    ups, usps = order.curves.cdf[:, 2::2].round(6).tolist()
    assert ups[2:5] == pytest.approx([0.0, 0.25, 1.0])
    assert usps[3:6] == pytest.approx([0.0, 0.25, 1.0])


def test_a_day_of_handling_alone_moves_no_pickup() -> None:
    # The shop works on Whit Monday, 25 May; the carrier does not.
    holidays = HolidayCalendar.from_toml(
        'version = "1"\n[[places]]\nshop = true\nopen = [2026-05-25]\n'
    )
    friday_evening = datetime(2026, 5, 22, 17, tzinfo=UTC)
    schedule = make_schedule(handling=(0.25, 0.25, 0.5))
    order = curves_for(schedule, at=friday_evening, holidays=holidays)
    # Ready on Monday or Tuesday: handed over on Tuesday; else on Wednesday.
    assert by_day(order)[3:7] == pytest.approx([0.0, 0.125, 0.5 + 0.125, 1.0])
    assert order.handover_on == [date(2026, 5, 26)]
    assert [at and at.isoformat() for at in order.order_by] == ["2026-05-25T18:00:00+02:00"]


def test_handling_in_calendar_days_ends_on_a_pickup_day() -> None:
    schedule = make_schedule(handling=(0.0, 0.0, 0.0, 0.5, 0.5), counts_calendar_days=True)
    # From Thursday on: Sunday and Whit Monday wait for Tuesday.
    order = curves_for(schedule, at=datetime(2026, 5, 21, 9, tzinfo=UTC))
    assert by_day(order)[4:7] == pytest.approx([0.0, 0.25, 1.0])
    assert order.handover_on == [date(2026, 5, 26)]


def test_all_orders_until_the_cutoff_get_the_same_dates() -> None:
    first, last = (
        curves_for(make_schedule(), at=at)
        for at in (
            datetime(2026, 5, 18, 16, tzinfo=UTC),
            datetime(2026, 5, 19, 15, 59, 59, tzinfo=UTC),
        )
    )
    assert first.order_by == last.order_by
    # Monday 18:00 in Vienna, the cut-off, is too late for Monday; the dates stay the same for a
    # day.
    assert by_day(first)[1:4] == by_day(last)[:3]


def test_without_a_schedule_the_curve_lies_between_those_around_the_order() -> None:
    # At 6:00 three quarters arrive the same day, at 12:00 half; 11:30 is eleven twelfths on the
    # way.
    assert by_day(curves_for(None))[:2] == pytest.approx([0.75 - 0.25 * 11 / 12, 1.0])
    assert curves_for(None).order_by == [None]


def test_a_curve_that_was_slower_before_is_averaged() -> None:
    class SlowBefore:
        """A forecast before 8:00 local time on the 19th arrives a day later."""

        def predict_curves(self, features: Any) -> Curves:
            early = features.local_as_of < np.datetime64("2026-05-19T08:00")
            return Curves.from_knots(
                np.where(early[:, None], [[24.0, 48.0]], [[0.0, 24.0]]), np.array([[0.0, 1.0]])
            )

    bundle = a_day()
    served = ModelBundle(
        bundle.version,
        SlowBefore(),  # type: ignore[arg-type]  # stands in for a model
        bundle.place_effects,
        bundle.stage_durations,
        bundle.support,
        bundle.handling,
    )
    slow, plain = by_day(curves_for(None, served=served)), by_day(curves_for(None))
    # Before 8:00 none would come the same day: 6:00 counts as midway to what 12:00 says, and 12:00
    # as midway to none.
    assert slow[0] == pytest.approx((0.5 / 12 + 0.5 * 11 / 12) / 2)
    assert slow[0] < plain[0]
    # After two days nobody remembers.
    assert by_day(curves_for(None, served=served, at=ORDERED + timedelta(days=4)))[
        0
    ] == pytest.approx(by_day(curves_for(None, at=ORDERED + timedelta(days=4)))[0])
