"""An order of several parcels: the first and the last, and the estimate of each parcel."""

from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eta.delays import DelayPolicy
from eta.domain.shipment import Place, Shipment
from eta.forecast.order_dependence import MAX_CORRELATION, ArrivalCorrelation
from eta.model.bundle import ModelBundle, Predictor
from eta.model.fallback import FallbackBundle
from eta.service.estimates.estimate_delivery import estimate_delivery
from eta.service.estimates.estimate_order import EstimatedOrder, OrderParcel, estimate_order
from eta.service.estimates.hypothetical_shipments import CarrierService
from eta.service.estimates.order_to_delivery import PickupSchedule
from eta.service.scoring.assessment import AssessmentCode, AssessmentOptions
from support.model_app import fixed, save_medians

# One process keeps the compiled loops.
pytestmark = pytest.mark.xdist_group("api")

SERVED = fixed(400).served
ORDERED = datetime(2026, 5, 20, 9, 30, tzinfo=UTC)
AFTERNOON = PickupSchedule(cutoff=time(15), weekdays=(1, 2, 3, 4, 5))


def parcel(
    origin: str = "AT",
    *,
    carrier: str | None = "post",
    pickup_schedule: PickupSchedule | None = None,
    package_count: int = 1,
    weight_kg: float | None = None,
) -> OrderParcel:
    lane = Shipment(
        shipment_id="parcel",
        order_id="parcel",
        origin=Place(country=origin),
        destination=Place(country="AT"),
        ordered_at=ORDERED,
        weight_kg=weight_kg,
    )
    return OrderParcel(
        lane=lane,
        service=CarrierService(carrier=carrier),
        pickup_schedule=pickup_schedule,
        package_count=package_count,
    )


def estimate_for(
    *parcels: OrderParcel, served: Predictor | None = SERVED, **options: Any
) -> EstimatedOrder:
    return estimate_order(
        parcels, served, policy=DelayPolicy(), options=AssessmentOptions(**options)
    )


def with_correlation(same: float, other: float) -> ModelBundle:
    """The model, with these correlations."""
    assert SERVED
    return replace(
        SERVED,
        arrival_correlation=ArrivalCorrelation(
            within_sender=same,
            between_senders=other,
            within_sender_pairs=3,
            between_senders_pairs=4,
        ),
    )


def test_each_parcel_is_estimated_as_it_is_alone() -> None:
    parcels = [
        parcel(),
        parcel("DE", pickup_schedule=AFTERNOON),
        parcel(carrier="other"),
        parcel("DE", carrier="other", pickup_schedule=AFTERNOON),
        parcel(weight_kg=3.0),
    ]
    for order_parcel, estimate in zip(parcels, estimate_for(*parcels).estimates, strict=True):
        (alone,) = estimate_delivery(
            order_parcel.lane,
            [order_parcel.service],
            SERVED,
            policy=DelayPolicy(),
            options=AssessmentOptions(),
            pickup_schedule=order_parcel.pickup_schedule,
        )
        assert (estimate.assessment, estimate.order_by, estimate.handover_on) == (
            alone.assessment,
            alone.order_by,
            alone.handover_on,
        )


def test_a_single_parcel_is_first_and_last() -> None:
    order = estimate_for(parcel(pickup_schedule=AFTERNOON), desired_on=date(2026, 5, 25))
    assessment = order.estimates[0].assessment
    assert order.first == order.last
    assert order.last is not None
    assert (order.last.earliest_on, order.last.estimated_on, order.last.latest_on) == (
        assessment.earliest_on,
        assessment.estimated_on,
        assessment.latest_on,
    )
    assert (order.last.confidence, order.last.desired_probability) == (
        assessment.confidence,
        assessment.desired_probability,
    )
    assert (order.code, order.correlation, order.sample_pairs) == (AssessmentCode.OK, None, None)


def test_independent_parcels_multiply_their_probabilities() -> None:
    wanted = date(2026, 5, 25)
    order = estimate_for(
        parcel(package_count=2),
        parcel("DE", pickup_schedule=AFTERNOON),
        served=with_correlation(0.0, 0.0),
        desired_on=wanted,
    )
    one, other = (estimate.assessment.desired_probability or 0.0 for estimate in order.estimates)
    assert order.last is not None
    assert order.first is not None
    assert 0.0 < order.last.desired_probability < 1.0  # type: ignore[operator]  # a desired date was given
    assert order.last.desired_probability == pytest.approx(one**2 * other)
    assert order.first.desired_probability == pytest.approx(1.0 - (1.0 - one) ** 2 * (1.0 - other))


def test_the_correlation_depends_on_origins_and_carriers() -> None:
    wanted = date(2026, 5, 25)

    def last(*parcels: OrderParcel) -> float:
        order = estimate_for(
            *parcels, served=with_correlation(MAX_CORRELATION, 0.0), desired_on=wanted
        )
        assert order.last is not None
        return order.last.desired_probability or 0.0

    together, apart = last(parcel(package_count=2)), last(parcel(), parcel(carrier="other"))
    assert together > apart == pytest.approx(last(parcel(), parcel("DE")))
    assert together == pytest.approx(last(parcel(), parcel()))


@pytest.mark.parametrize(
    ("parcels", "expected"),
    [
        ([parcel(package_count=2)], (0.5, 3)),
        ([parcel(), parcel("DE")], (0.2, 4)),
        ([parcel(package_count=2), parcel("DE")], (pytest.approx(0.3), 7)),
    ],
)
def test_the_correlation_is_returned_with_its_sample_pairs(
    parcels: list[OrderParcel], expected: tuple[float, int]
) -> None:
    order = estimate_for(*parcels, served=with_correlation(0.5, 0.2))
    assert (order.correlation, order.sample_pairs) == expected


def test_without_a_model_or_support_there_is_no_first_and_last() -> None:
    for served, code in (
        (None, AssessmentCode.NO_MODEL),
        (fixed(3).served, AssessmentCode.TOO_LITTLE_SUPPORT),
    ):
        order = estimate_for(parcel(), parcel("DE"), served=served)
        assert (order.code, order.first, order.last, order.correlation) == (code, None, None, None)
        assert len(order.estimates) == 2
    # From Japan nothing was seen.
    order = estimate_for(parcel(), parcel("JP"))
    assert (order.code, order.last) == (AssessmentCode.TOO_LITTLE_SUPPORT, None)
    assert order.estimates[0].assessment.code is AssessmentCode.OK


def test_the_fallback_estimates_single_parcels_only(tmp_path: Path) -> None:
    medians = FallbackBundle(save_medians(tmp_path))
    lane = replace(
        parcel().lane,
        origin=Place(country="AT", region="9"),
        destination=Place(country="AT", region="8"),
    )
    order = estimate_for(replace(parcel(), lane=lane), served=medians)
    assert order.estimates[0].assessment.estimated_on is not None
    assert (order.code, order.first, order.last, order.correlation) == (
        AssessmentCode.NO_MODEL,
        None,
        None,
        None,
    )


def test_if_one_of_many_may_never_arrive_the_last_has_no_date() -> None:
    order = estimate_for(parcel(package_count=200), served=with_correlation(0.0, 0.0))
    assert order.last is not None
    assert order.first is not None
    assert (order.code, order.last.estimated_on, order.last.confidence) == (
        AssessmentCode.MAY_NEVER_ARRIVE,
        None,
        None,
    )
    assert order.first.estimated_on is not None


def test_a_long_handling_does_not_truncate_the_last() -> None:
    # Monday only, thirty of them.
    slow = PickupSchedule(cutoff=time(15), weekdays=(1,), handling=(*([0.0] * 30), 1.0))
    order = estimate_for(parcel(pickup_schedule=slow), parcel())
    assert order.last is not None
    assert order.last.estimated_on == order.estimates[0].assessment.estimated_on
    assert order.last.estimated_on is not None
    assert order.last.estimated_on > date(2026, 12, 1)


warehouses = st.sampled_from(
    [None, AFTERNOON, PickupSchedule(cutoff=time(23), weekdays=(2, 6), handling=(0.5, 0.3, 0.2))]
)
order_parcels = st.lists(
    st.builds(
        parcel,
        st.sampled_from(["AT", "DE", "US"]),
        carrier=st.sampled_from([None, "post"]),
        pickup_schedule=warehouses,
        package_count=st.integers(1, 3),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(
    order_parcels,
    st.floats(0.0, MAX_CORRELATION),
    st.floats(0.0, 1.0),
    st.sampled_from([0.5, 0.8, 0.9]),
)
def test_first_and_last_enclose_the_parcels(
    parcels: list[OrderParcel], same: float, share: float, coverage: float
) -> None:
    order = estimate_for(
        *parcels,
        served=with_correlation(same, same * share),
        coverage=coverage,
        desired_on=date(2026, 5, 26),
    )
    assert order.first is not None
    assert order.last is not None
    never = date.max
    for end in (order.first, order.last):
        assert (end.earliest_on or never) <= (end.estimated_on or never) <= (end.latest_on or never)
        assert end.confidence is None or end.confidence >= 0.5
    for estimate in order.estimates:
        for which in ("earliest_on", "estimated_on", "latest_on"):
            days = [
                getattr(part, which) or never
                for part in (order.first, estimate.assessment, order.last)
            ]
            assert days == sorted(days)
        probabilities = [
            order.last.desired_probability,
            estimate.assessment.desired_probability,
            order.first.desired_probability,
        ]
        assert np.all(np.diff(np.array(probabilities, dtype=np.float64)) >= 0.0)
