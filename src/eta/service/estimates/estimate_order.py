"""Estimates, before the purchase, of the first and the last of an order's parcels to arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import ceil, isnan

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import Instants, local_dates, to_instant
from eta.calendars.postcodes import region_of_place
from eta.curves import Curves
from eta.delays import DelayPolicy
from eta.domain.shipment import Shipment
from eta.forecast.order_dependence import ArrivalCorrelation, cdf_of_first, cdf_of_last
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
from eta.service.scoring.assessment import DEGRADED_CODES, AssessmentCode, AssessmentOptions


@dataclass(frozen=True, kw_only=True)
class OrderParcel:
    """One or more identical parcels of an order, each of which travels alone."""

    #: The lane of each parcel; ``ordered_at`` and the destination are those of the order.
    lane: Shipment
    service: CarrierService
    pickup_schedule: PickupSchedule | None = None
    package_count: int = 1


@dataclass(frozen=True)
class FirstOrLast:
    """The dates of the first or the last parcel to arrive.

    They are local days at the destination, None beyond the horizon.
    """

    earliest_on: date | None
    estimated_on: date | None
    latest_on: date | None
    #: P(arrival on or before ``estimated_on``).
    confidence: float | None
    #: P(arrival on or before the desired day).
    desired_probability: float | None


@dataclass(frozen=True)
class EstimatedOrder:
    """The estimate for an order; without ``first`` and ``last``, ``code`` says why."""

    code: AssessmentCode
    #: One for each ``OrderParcel``, in their order.
    estimates: Sequence[Estimate]
    first: FirstOrLast | None = None
    last: FirstOrLast | None = None
    #: The mean correlation over the pairs of parcels, and the number of pairs it was learned from;
    #: None for a single parcel, and without a model.
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
    """The estimate of each parcel, and of the first and the last to arrive, as of the order.

    Raises:
        InvalidValue: if a warehouse or a carrier has no day open within 400 days.
    """
    estimates = _estimates(parcels, served, policy, options, holidays)
    failure = _failure(estimates)
    # The lane quantiles predict single parcels, and not how parcels depend on each other.
    if failure or not isinstance(served, ModelBundle):
        return EstimatedOrder(failure or AssessmentCode.NO_MODEL, estimates)
    count = np.array([parcel.package_count for parcel in parcels])
    # A number for each origin and carrier, (P,).
    keys = []
    for senders_parcel in parcels:
        origin = senders_parcel.lane.origin
        keys.append((origin.country, region_of_place(origin), senders_parcel.service.carrier))
    sender = np.array([keys.index(key) for key in keys], dtype=np.int64)
    correlation = served.arrival_correlation
    ordered_at = parcels[0].lane.ordered_at
    first, last = _first_and_last(estimates, ordered_at, count, sender, correlation, options)
    code = AssessmentCode.OK if last.estimated_on else AssessmentCode.MAY_NEVER_ARRIVE
    mean, pairs = correlation.mean_correlation(sender, count) or (None, None)
    return EstimatedOrder(code, estimates, first, last, correlation=mean, sample_pairs=pairs)


def _failure(estimates: Sequence[Estimate]) -> AssessmentCode | None:
    """Why an order has no first and last parcel, if one of its estimates has no date."""
    codes = {estimate.assessment.code for estimate in estimates}
    for code in (*DEGRADED_CODES, AssessmentCode.TOO_LITTLE_SUPPORT):
        if code in codes:
            return code
    return None


def _estimates(
    parcels: Sequence[OrderParcel],
    served: Predictor | None,
    policy: DelayPolicy,
    options: AssessmentOptions,
    holidays: HolidayCalendar,
) -> list[Estimate]:
    """One estimate a parcel; parcels that differ only in their service share one prediction."""
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


def _first_and_last(
    estimates: Sequence[Estimate],
    ordered_at: datetime,
    count: NDArray[np.int64],
    sender: NDArray[np.int64],
    correlation: ArrivalCorrelation,
    options: AssessmentOptions,
) -> list[FirstOrLast]:
    """The first and the last of ``count`` (P,) parcels of each estimate."""
    as_of = np.array([to_instant(ordered_at)])
    zone = Categorical(np.zeros(1, dtype=np.int32), (estimates[0].assessment.timezone,))
    ordered_on = local_dates(as_of, zone.codes, zone.names)
    # P(arrived by the end of each day), (P, days), up to the longest curve.
    parcel_curves = [curve for estimate in estimates if (curve := estimate.curve)]
    hours = max(curve.hours[0, -1] for curve in parcel_curves)
    days = ceil(hours / 24.0) + 1
    cdfs = [daily_cdf(curve, as_of, ordered_on, days, zone) for curve in parcel_curves]
    cdf = np.vstack(cdfs)
    first_cdf = cdf_of_first(cdf, count, sender, correlation)
    last_cdf = cdf_of_last(cdf, count, sender, correlation)
    joint = np.clip(np.stack([first_cdf, last_cdf]), 0.0, 1.0)
    both = np.zeros(2, dtype=np.int64)
    as_of, zone = as_of[both], zone.take(both)
    curves = curves_from_daily_cdf(joint, as_of, ordered_on[both], zone)
    return _read_dates(curves, as_of, zone, options)


def _read_dates(
    curves: Curves, as_of: Instants, zone: Categorical, options: AssessmentOptions
) -> list[FirstOrLast]:
    """The window of each curve, and its probability by the desired day."""
    dates = dates_at(curves, window_levels(options.coverage), as_of, zone)
    desired_on = np.full(len(curves), np.datetime64(options.desired_on, "D"))
    days = np.column_stack([dates[:, 1], desired_on])
    probabilities = probability_by_day(curves, as_of, days, zone)
    results = []
    for window, row in zip(dates.tolist(), probabilities.tolist(), strict=True):
        earliest_on, estimated_on, latest_on = window
        confidence, desired = (None if isnan(probability) else probability for probability in row)
        result = FirstOrLast(earliest_on, estimated_on, latest_on, confidence, desired)
        results.append(result)
    return results
