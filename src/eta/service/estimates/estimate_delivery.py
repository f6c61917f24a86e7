"""Dates for a lane not yet bought, of several carrier services at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import microseconds
from eta.curves import Curves
from eta.delays import DelayPolicy
from eta.domain.errors import EtaError
from eta.domain.shipment import Place, Shipment
from eta.model.bundle import ModelBundle, Predictor
from eta.service.estimates.hypothetical_shipments import CarrierService, hypothetical_timelines
from eta.service.estimates.order_to_delivery import PickupSchedule, order_curves
from eta.service.scoring.assessment import Assessment, AssessmentOptions
from eta.service.scoring.score_shipments import score_timelines
from eta.store.session import Session


@dataclass(frozen=True)
class Estimate:
    """What is said about one carrier service."""

    assessment: Assessment
    #: The cut-off up to which orders are told the same, aware and in the warehouse's zone; None
    #: where none is declared.
    order_by: datetime | None = None
    #: The day, by the clocks of the origin, on which it will most likely have been handed over;
    #: None where that is not declared.
    handover_on: date | None = None
    #: The laws of all services that were asked about, as of the order, and which row is that of
    #: this one; None without a model.
    curves: Curves | None = None
    row: int = 0

    @property
    def curve(self) -> Curves | None:
        """The law of the arrival, of one row."""
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
    """One quote a carrier service, in the order given, as of ``lane.ordered_at``.

    Each is the answer about a shipment whose only scan is its order, with the law of
    ``order_curves``.

    Raises:
        InvalidValue: if a warehouse or a carrier has no day open within 400 days.
    """
    service_curves = (
        order_curves(lane, services, pickup_schedule, served, holidays) if served else None
    )
    assessments = score_timelines(
        hypothetical_timelines(lane, services),
        served,
        lane.ordered_at,
        policy=policy,
        options=options,
        curves=service_curves.curves if service_curves else None,
    )
    if service_curves is None:
        return [Estimate(assessment) for assessment in assessments]
    return [
        Estimate(*fields, service_curves.curves, row)
        for row, fields in enumerate(
            zip(assessments, service_curves.order_by, service_curves.handover_on, strict=True)
        )
    ]


@dataclass(frozen=True)
class SaveEstimate:
    """An estimate, as JSON, that a tenant shows to a customer."""

    tenant: str
    as_of: datetime
    model_version: str | None
    response: str


def save_estimates(session: Session, estimates: Sequence[SaveEstimate]) -> list[str | EtaError]:
    """Keeps estimates that are shown; the id of each."""
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


def smoke_test(served: ModelBundle, data_through: datetime) -> None:
    """Makes one estimate, which must not fail; it also loads what the first request would wait for."""
    lane = Shipment(
        shipment_id="trial",
        order_id="trial",
        origin=Place(country="AT"),
        destination=Place(country="AT"),
        ordered_at=data_through,
    )
    estimate_delivery(
        lane, [CarrierService()], served, policy=DelayPolicy(), options=AssessmentOptions()
    )
