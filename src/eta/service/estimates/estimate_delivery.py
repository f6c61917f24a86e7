"""Estimates before the purchase, of several carrier services at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

import numpy as np

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import microseconds
from eta.curves import Curves
from eta.delays import DelayPolicy
from eta.domain.errors import EtaError
from eta.domain.shipment import Shipment
from eta.model.bundle import Predictor
from eta.service.estimates.hypothetical_shipments import CarrierService, hypothetical_timelines
from eta.service.estimates.order_to_delivery import (
    OrderCurves,
    Pickup,
    PickupSchedule,
    order_curves,
    order_pickups,
)
from eta.service.scoring.assessment import Assessment, AssessmentOptions
from eta.service.scoring.score_shipments import score_timelines
from eta.store.session import Session


@dataclass(frozen=True)
class Estimate:
    """The estimate for one carrier service."""

    assessment: Assessment
    #: The cut-off up to which orders get the same dates, aware and in the warehouse's zone; None
    #: without a pickup schedule.
    order_by: datetime | None = None
    #: The local day at the origin by which the hand-over has most likely happened; None without a
    #: pickup schedule.
    handover_on: date | None = None
    #: The curves of all requested services, as of the order, and the row of this one; None without
    #: a model.
    curves: Curves | None = None
    row: int = 0

    @property
    def curve(self) -> Curves | None:
        """The curve of this service, one row."""
        return None if self.curves is None else self.curves.take(np.array([self.row]))


def estimate_delivery(
    lane: Shipment,
    services: Sequence[CarrierService],
    served: Predictor | None,
    *,
    policy: DelayPolicy,
    options: AssessmentOptions,
    pickup_schedule: PickupSchedule | None = None,
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS,
) -> list[Estimate]:
    """One estimate a carrier service, in the order of ``services``, as of ``lane.ordered_at``.

    Each assesses a shipment whose only event is its order, with a curve of ``order_curves``.

    Raises:
        InvalidValue: if a warehouse or a carrier has no day open within 400 days.
    """
    score = partial(
        score_timelines,
        hypothetical_timelines(lane, services),
        served,
        lane.ordered_at,
        policy=policy,
        options=options,
    )
    if served is None:
        pickups = order_pickups(lane, services, pickup_schedule, holidays)
        return _with_pickups(score(), pickups)
    curves = order_curves(lane, services, pickup_schedule, served, holidays)
    return _with_curves(score(curves=curves.curves), curves)


def _with_pickups(assessments: Sequence[Assessment], pickups: Sequence[Pickup]) -> list[Estimate]:
    """The estimates of services without a model: their cut-offs and hand-over days alone."""
    pairs = zip(assessments, pickups, strict=True)
    return [
        Estimate(assessment, pickup.order_by, pickup.handover_on) for assessment, pickup in pairs
    ]


def _with_curves(assessments: Sequence[Assessment], service_curves: OrderCurves) -> list[Estimate]:
    """The estimates of services: their assessments, with curves."""
    estimates = []
    for row, assessment in enumerate(assessments):
        order_by, handover_on = service_curves.order_by[row], service_curves.handover_on[row]
        estimate = Estimate(assessment, order_by, handover_on, service_curves.curves, row)
        estimates.append(estimate)
    return estimates


@dataclass(frozen=True)
class SaveEstimate:
    """An estimate, as JSON, to save because a tenant shows it to a customer."""

    tenant: str
    as_of: datetime
    model_version: str | None
    response: str


def save_estimates(session: Session, estimates: Sequence[SaveEstimate]) -> list[str | EtaError]:
    """Saves estimates and returns the id of each."""
    ids = list[str | EtaError]()
    for estimate in estimates:
        estimate_id = session.new_id("est")
        session.add_estimate(
            estimate.tenant,
            estimate_id,
            microseconds(estimate.as_of),
            estimate.model_version,
            estimate.response,
        )
        ids.append(estimate_id)
    return ids
