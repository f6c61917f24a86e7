"""Dates for a lane not yet bought, of several carrier services at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from eta.calendars.holidays import LIBRARY, Holidays
from eta.calendars.local_time import microseconds
from eta.curves import Curves
from eta.delays import DelayPolicy
from eta.domain.errors import EtaError
from eta.domain.shipment import Place, Shipment
from eta.model.bundle import Answering, ServedModel
from eta.service.estimates.hypothetical_shipments import CarrierService, timelines_of
from eta.service.estimates.order_to_delivery import Warehouse, order_laws
from eta.service.scoring.assessment import Answer, Terms
from eta.service.scoring.score_shipments import score_timelines
from eta.store.session import Session


@dataclass(frozen=True)
class Quote:
    """What is said about one carrier service."""

    answer: Answer
    #: The cut-off up to which orders are told the same, aware and in the warehouse's zone; None
    #: where none is declared.
    order_by: datetime | None = None
    #: The day, by the clocks of the origin, on which it will most likely have been handed over;
    #: None where that is not declared.
    handover_on: date | None = None
    #: The laws of all services that were asked about, as of the order, and which row is that of
    #: this one; None without a model.
    laws: Curves | None = None
    row: int = 0

    @property
    def law(self) -> Curves | None:
        """The law of the arrival, of one row."""
        return None if self.laws is None else self.laws.take(np.array([self.row]))


def quote_delivery(
    lane: Shipment,
    services: Sequence[CarrierService],
    served: Answering | None,
    *,
    policy: DelayPolicy,
    terms: Terms,
    warehouse: Warehouse | None = None,
    holidays: Holidays = LIBRARY,
) -> list[Quote]:
    """One quote a carrier service, in the order given, as of ``lane.ordered_at``.

    Each is the answer about a shipment whose only scan is its order, with the law of
    ``order_laws``.

    Raises:
        InvalidValue: if a warehouse or a carrier has no day open within 400 days.
    """
    laws = order_laws(lane, services, warehouse, served, holidays) if served else None
    answers = score_timelines(
        timelines_of(lane, services),
        served,
        lane.ordered_at,
        policy=policy,
        terms=terms,
        curves=laws.curves if laws else None,
    )
    if laws is None:
        return [Quote(answer) for answer in answers]
    return [
        Quote(*told, laws.curves, row)
        for row, told in enumerate(zip(answers, laws.order_by, laws.handover_on, strict=True))
    ]


@dataclass(frozen=True)
class Showing:
    """An estimate, as JSON, that a tenant shows to a customer."""

    tenant: str
    as_of: datetime
    model_version: str | None
    answer: str


def keep_estimates(session: Session, shown: Sequence[Showing]) -> list[str | EtaError]:
    """Keeps estimates that are shown; the id of each."""
    ids = list[str | EtaError]()
    for each in shown:
        estimate_id = session.new_id("est")
        session.add_estimate(
            each.tenant, estimate_id, microseconds(each.as_of), each.model_version, each.answer
        )
        ids.append(estimate_id)
    return ids


def smoke_test(served: ServedModel, data_through: datetime) -> None:
    """Makes one estimate, which must not fail; it also loads what the first request would wait for."""
    lane = Shipment(
        shipment_id="trial",
        order_id="trial",
        origin=Place(country="AT"),
        destination=Place(country="AT"),
        ordered_at=data_through,
    )
    quote_delivery(lane, [CarrierService()], served, policy=DelayPolicy(), terms=Terms())
