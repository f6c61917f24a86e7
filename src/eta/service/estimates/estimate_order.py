"""When the first and the last parcel of an order arrive that travels as several, before it is bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import local_dates, to_instant
from eta.curves import Curves
from eta.delays import DelayPolicy
from eta.domain.shipment import Shipment
from eta.forecast.order_dependence import cdf_of_first, cdf_of_last
from eta.journey.categories import Categorical
from eta.local_dates import (
    curves_from_daily_cdf,
    daily_cdf,
    dates_at,
    probability_by_day,
    window_levels,
)
from eta.model.bundle import ModelBundle, Predictor
from eta.service.estimates.estimate_delivery import Estimate, estimate_delivery
from eta.service.estimates.hypothetical_shipments import CarrierService
from eta.service.estimates.order_to_delivery import PickupSchedule
from eta.service.scoring.assessment import AssessmentCode, AssessmentOptions


@dataclass(frozen=True, kw_only=True)
class OrderParcel:
    """Like parcels of an order, each of which travels alone."""

    #: One of the parcels; ``ordered_at`` and the destination are those of the order.
    lane: Shipment
    service: CarrierService
    pickup_schedule: PickupSchedule | None = None
    package_count: int = 1


@dataclass(frozen=True)
class FirstOrLast:
    """The first or the last parcel; dates are local days at the destination, None beyond the horizon."""

    earliest_on: date | None
    estimated_on: date | None
    latest_on: date | None
    #: P(arrival on or before ``estimated_on``).
    confidence: float | None
    #: P(arrival on or before the day that somebody wants it by).
    desired_probability: float | None


@dataclass(frozen=True)
class EstimatedOrder:
    """What is said about an order; without ``first`` and ``last``, ``code`` says why."""

    code: AssessmentCode
    #: In the order of the pieces.
    estimates: Sequence[Estimate]
    first: FirstOrLast | None = None
    last: FirstOrLast | None = None
    #: Mean over the pairs of parcels, and the pairs from which it was learned; None of a single
    #: parcel, and without a model.
    correlation: float | None = None
    sample_pairs: int | None = None


def estimate_order(
    parcels: Sequence[OrderParcel],
    served: Predictor | None,
    *,
    policy: DelayPolicy,
    options: AssessmentOptions,
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS,
) -> EstimatedOrder:
    """The quote of each piece, and those of the first and the last of all their parcels, as of the order.

    Raises:
        InvalidValue: if a warehouse or a carrier has no day open within 400 days.
    """
    estimates = _estimates(parcels, served, policy, options, holidays)
    codes = {estimate.assessment.code for estimate in estimates}
    missing = next(
        (
            code
            for code in (AssessmentCode.NO_MODEL, AssessmentCode.TOO_LITTLE_SUPPORT)
            if code in codes
        ),
        None,
    )
    # The lane medians know the parcels of a lane, and not how they go together.
    if missing or not isinstance(served, ModelBundle):
        return EstimatedOrder(missing or AssessmentCode.NO_MODEL, estimates)
    instant = np.array([to_instant(parcels[0].lane.ordered_at)])
    zone = Categorical(np.zeros(1, dtype=np.int32), (estimates[0].assessment.timezone,))
    ordered_on = local_dates(instant, zone.codes, zone.names)
    parcel_curves = [curve for estimate in estimates if (curve := estimate.curve)]
    days = max(ceil(curve.hours[0, -1] / 24.0) for curve in parcel_curves) + 1
    cdf = np.vstack([daily_cdf(curve, instant, ordered_on, days, zone) for curve in parcel_curves])
    count, sender = np.array([parcel.package_count for parcel in parcels]), _senders(parcels)
    joint = np.stack(
        [
            combine(cdf, count, sender, served.arrival_correlation)
            for combine in (cdf_of_first, cdf_of_last)
        ]
    )
    both = np.zeros(2, dtype=np.int64)
    curves = curves_from_daily_cdf(
        np.clip(joint, 0.0, 1.0), instant[both], ordered_on[both], zone.take(both)
    )
    first, last = _first_and_last(curves, instant[both], zone.take(both), options)
    correlation_and_pairs = served.arrival_correlation.mean_correlation(sender, count)
    return EstimatedOrder(
        AssessmentCode.OK if last.estimated_on else AssessmentCode.MAY_NEVER_ARRIVE,
        estimates,
        first,
        last,
        *(correlation_and_pairs or ()),
    )


def _estimates(
    parcels: Sequence[OrderParcel],
    served: Predictor | None,
    policy: DelayPolicy,
    options: AssessmentOptions,
    holidays: HolidayCalendar,
) -> list[Estimate]:
    """One quote a piece: those that differ in their service alone are asked about at once."""
    groups: dict[tuple[Shipment, PickupSchedule | None], list[int]] = {}
    for number, parcel in enumerate(parcels):
        groups.setdefault((parcel.lane, parcel.pickup_schedule), []).append(number)
    estimate_by_number: dict[int, Estimate] = {}
    for (lane, pickup_schedule), numbers in groups.items():
        services = [parcels[number].service for number in numbers]
        estimates = estimate_delivery(
            lane,
            services,
            served,
            policy=policy,
            options=options,
            pickup_schedule=pickup_schedule,
            holidays=holidays,
        )
        estimate_by_number |= dict(zip(numbers, estimates, strict=True))
    return [estimate_by_number[number] for number in range(len(parcels))]


def _senders(parcels: Sequence[OrderParcel]) -> NDArray[np.int64]:
    """A number for each origin and carrier, (P,)."""
    keys = [
        (parcel.lane.origin.country, parcel.lane.origin.region, parcel.service.carrier)
        for parcel in parcels
    ]
    return np.array([keys.index(key) for key in keys], dtype=np.int64)


def _first_and_last(
    curves: Curves, as_of: NDArray[np.datetime64], zone: Categorical, options: AssessmentOptions
) -> list[FirstOrLast]:
    dates = dates_at(curves, window_levels(options.coverage), as_of, zone)
    desired_on = np.full(len(curves), np.datetime64(options.desired_on, "D"))
    probabilities = probability_by_day(
        curves, as_of, np.column_stack([dates[:, 1], desired_on]), zone
    )
    return [
        FirstOrLast(*days, *(None if np.isnan(probability) else probability for probability in row))
        for days, row in zip(dates.tolist(), probabilities.tolist(), strict=True)
    ]
