"""Dates never get earlier with a later order or a higher confidence; windows hold their dates."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.working_days import DeliveryDays
from eta.calendars.zones import zone_of
from eta.curves import Curves
from eta.delays import DelayPolicy
from eta.domain.shipment import Place, Shipment
from eta.forecast.hazard.model import HazardModel
from eta.model.bundle import ModelBundle
from eta.model.registry import Registry
from eta.promise import PromisePolicy
from eta.service.estimates.estimate_delivery import Estimate, estimate_delivery
from eta.service.estimates.hypothetical_shipments import CarrierService
from eta.service.estimates.order_to_delivery import OrderCurves, PickupSchedule, order_curves
from eta.service.scoring.assessment import Assessment, AssessmentOptions
from support.model_app import save_model

# One process keeps the compiled loops.
pytestmark = pytest.mark.xdist_group("api")

PLACES = [
    Place(country="AT", region="9"),
    Place(country="BR", region="SP"),
    Place(country="US", region="CA"),
    Place(country="US", region="HI"),
    Place(country="AU", region="SA"),
    Place(country="NZ"),
    Place(country="JP"),
    Place(country="DE", region="BY"),
]
#: About steps of daylight saving, a leap day, the turn of the year, and public holidays at both
#: ends.
TIMES = st.one_of(
    st.sampled_from(
        [
            datetime(2026, 3, 28, 22, tzinfo=UTC),
            datetime(2026, 10, 24, 22, tzinfo=UTC),
            datetime(2026, 3, 8, 9, tzinfo=UTC),
            datetime(2026, 4, 4, 15, tzinfo=UTC),
            datetime(2028, 2, 28, 20, tzinfo=UTC),
            datetime(2026, 12, 23, 12, tzinfo=UTC),
            datetime(2026, 12, 31, 22, tzinfo=UTC),
            datetime(2026, 4, 30, 21, tzinfo=UTC),
        ]
    ),
    st.timedeltas(timedelta(0), timedelta(days=365)).map(
        lambda passed: datetime(2026, 1, 1, tzinfo=UTC) + passed
    ),
)
GAPS = st.one_of(
    st.sampled_from(
        [timedelta(seconds=1), timedelta(hours=6), timedelta(days=1), timedelta(days=3)]
    ),
    st.timedeltas(timedelta(0), timedelta(days=8)),
)
WEEKDAYS = st.lists(st.integers(1, 7), min_size=1, max_size=7, unique=True).map(
    lambda days: tuple(sorted(days))
)
WAREHOUSES = st.builds(
    PickupSchedule,
    cutoff=st.sampled_from([time(0), time(2, 30), time(12), time(15), time(23, 59)]),
    weekdays=WEEKDAYS,
    handling=st.one_of(
        st.none(), st.sampled_from([(1.0,), (0.0, 1.0), (0.6, 0.3, 0.1), (0.0, 0.0, 0.5, 0.5)])
    ),
)
SERVICES = st.builds(
    CarrierService,
    carrier=st.sampled_from(["post", None]),
    service_level=st.none(),
    delivery_weekdays=st.one_of(st.none(), WEEKDAYS),
)
CALENDARS = st.sampled_from(
    [
        PUBLIC_HOLIDAYS,
        HolidayCalendar.from_toml(
            'version = "1"\n[[places]]\ncountry = "AT"\nclosed = [2026-12-24, 2026-05-04]\n'
        ),
    ]
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    folder = tmp_path_factory.mktemp("models")
    return ModelBundle.from_version(
        Registry(folder).load(save_model(Path(folder))), HazardModel, PUBLIC_HOLIDAYS
    )


def lane(origin: Place, destination: Place, ordered_at: datetime) -> Shipment:
    return Shipment(
        shipment_id="lane",
        order_id="lane",
        origin=origin,
        destination=destination,
        ordered_at=ordered_at,
        weight_kg=1.0,
    )


@settings(max_examples=120, deadline=None)
@given(
    origin=st.sampled_from(PLACES),
    destination=st.sampled_from(PLACES[:4]),
    at=TIMES,
    gap=GAPS,
    service=SERVICES,
    pickup_schedule=st.one_of(st.none(), WAREHOUSES),
    holidays=CALENDARS,
    policy=st.sampled_from(
        [
            PromisePolicy(on_time_rate=0.6),
            PromisePolicy(on_time_rate=0.8),
            PromisePolicy(on_time_rate=0.5, latest_days=9),
        ]
    ),
)
def test_a_later_order_never_gets_an_earlier_day(
    served: ModelBundle,
    origin: Place,
    destination: Place,
    at: datetime,
    gap: timedelta,
    service: CarrierService,
    pickup_schedule: PickupSchedule | None,
    holidays: HolidayCalendar,
    policy: PromisePolicy,
) -> None:
    def estimate_for(ordered_at: datetime) -> Estimate:
        options = AssessmentOptions(promise=policy)
        return estimate_delivery(
            lane(origin, destination, ordered_at),
            [service],
            served,
            policy=DelayPolicy(),
            options=options,
            pickup_schedule=pickup_schedule,
            holidays=holidays,
        )[0]

    early, late = estimate_for(at), estimate_for(at + gap)
    days: list[Callable[[Estimate], date | None]] = [
        lambda estimate: estimate.assessment.promise_on,
        lambda estimate: estimate.assessment.earliest_on,
        lambda estimate: estimate.assessment.estimated_on,
        lambda estimate: estimate.assessment.latest_on,
    ]
    for read in days:
        before, after = read(early), read(late)
        assert after is None or (before is not None and before <= after), (before, after)
    if early.order_by is not None and late.order_by is not None:
        assert early.order_by <= late.order_by
        if at + gap < early.order_by:
            assert (late.assessment.promise_on, late.assessment.earliest_on, late.handover_on) == (
                early.assessment.promise_on,
                early.assessment.earliest_on,
                early.handover_on,
            )


@settings(max_examples=80, deadline=None)
@given(
    origin=st.sampled_from(PLACES),
    destination=st.sampled_from(PLACES[:4]),
    at=TIMES,
    service=SERVICES,
    pickup_schedule=st.one_of(st.none(), WAREHOUSES),
)
def test_a_window_holds_its_date_and_higher_confidence_is_never_earlier(
    served: ModelBundle,
    origin: Place,
    destination: Place,
    at: datetime,
    service: CarrierService,
    pickup_schedule: PickupSchedule | None,
) -> None:
    order = lane(origin, destination, at)
    ordered_on = at.astimezone(ZoneInfo(zone_of(destination.country, destination.region)[0])).date()
    before = None
    for level in (0.5, 0.7, 0.9, 0.97):
        options = AssessmentOptions(coverage=level, promise=PromisePolicy(on_time_rate=level))
        assessment = estimate_delivery(
            order,
            [service],
            served,
            policy=DelayPolicy(),
            options=options,
            pickup_schedule=pickup_schedule,
        )[0].assessment
        if assessment.estimated_on is None:
            continue
        assert assessment.earliest_on is not None
        assert (
            ordered_on
            <= assessment.earliest_on
            <= assessment.estimated_on
            <= (assessment.latest_on or date.max)
        )
        days = [left for left in assessment.days_left.values() if left is not None]
        assert days == sorted(days)
        if assessment.promise_on is not None:
            assert assessment.on_time_probability is not None
            assert assessment.on_time_probability >= level - 1e-9
            assert before is None or before <= assessment.promise_on
            before = assessment.promise_on


@settings(max_examples=60, deadline=None)
@given(
    at=TIMES,
    weekdays=WEEKDAYS,
    wanted=st.integers(0, 20),
    pickup_schedule=st.one_of(st.none(), WAREHOUSES),
)
def test_dates_fall_on_days_on_which_the_carrier_delivers(
    served: ModelBundle,
    at: datetime,
    weekdays: tuple[int, ...],
    wanted: int,
    pickup_schedule: PickupSchedule | None,
) -> None:
    order, service = (
        lane(PLACES[0], PLACES[1], at),
        CarrierService(carrier="post", delivery_weekdays=weekdays),
    )
    delivers = DeliveryDays("BR", "SP", weekdays)
    desired_on = at.date() + timedelta(days=wanted)

    def answer_for(day: date) -> Assessment:
        return estimate_delivery(
            order,
            [service],
            served,
            policy=DelayPolicy(),
            options=AssessmentOptions(desired_on=day),
            pickup_schedule=pickup_schedule,
        )[0].assessment

    assessment = answer_for(desired_on)
    for day in (
        assessment.earliest_on,
        assessment.estimated_on,
        assessment.latest_on,
        assessment.promise_on,
    ):
        assert day is None or delivers.on_or_after(np.array([day], dtype="datetime64[D]"))[0] == day
    last = delivers.on_or_before(np.array([desired_on], dtype="datetime64[D]"))[0].item()
    assert answer_for(last).desired_probability == pytest.approx(
        assessment.desired_probability, abs=1e-9
    )


class Wavering:
    """Arrives a day to two and a half days after the forecast, by the quarter of the day."""

    def __init__(self, seed: int) -> None:
        self._late = np.random.default_rng(seed).uniform(0.0, 36.0, 997)

    def predict_curves(self, features: Any) -> Curves:
        quarter = features.local_as_of.astype("datetime64[h]").astype(np.int64) // 6
        hours = 24.0 + self._late[quarter % 997]
        return Curves.from_knots(np.stack([hours, hours + 12.0], axis=1), np.array([[0.0, 1.0]]))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 100),
    origin=st.sampled_from(PLACES),
    destination=st.sampled_from(PLACES[:4]),
    at=TIMES,
    gap=GAPS,
    pickup_schedule=st.one_of(st.none(), WAREHOUSES),
)
def test_even_an_erratic_model_gives_a_later_order_no_earlier_day(
    served: ModelBundle,
    seed: int,
    origin: Place,
    destination: Place,
    at: datetime,
    gap: timedelta,
    pickup_schedule: PickupSchedule | None,
) -> None:
    wavering = replace(served, model=cast("HazardModel", Wavering(seed)))

    def curves_for(ordered_at: datetime) -> OrderCurves:
        return order_curves(
            lane(origin, destination, ordered_at), [CarrierService()], pickup_schedule, wavering
        )

    early, late = curves_for(at), curves_for(at + gap)
    zone = ZoneInfo(zone_of(destination.country, destination.region)[0])
    first = at.astimezone(zone).date()
    for number in range(20):
        end = datetime.combine(first + timedelta(days=number + 1), time(), zone)
        hours = [
            (end.timestamp() - order_time.timestamp()) / 3600.0 for order_time in (at, at + gap)
        ]
        before, after = (
            float(order.curves.cdf_at([max(left, 0.0)])[0]) if left > 0 else 0.0
            for order, left in zip((early, late), hours, strict=True)
        )
        assert after <= before + 1e-9, (number, before, after)
