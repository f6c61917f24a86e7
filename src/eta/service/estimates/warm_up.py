"""Warms up a model: makes the kinds of answers that requests ask for, before the first request.

Loops are compiled, or read from their cache, when they are first called with arguments of a type.
That takes longer than a customer waits for an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from itertools import chain
from typing import TypeVar

from eta.delays import DelayPolicy
from eta.domain.errors import ModelRefused
from eta.domain.shipment import Place, Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.forecast.support import Support
from eta.model.bundle import ModelBundle
from eta.promise import PromiseCosts, PromisePolicy
from eta.service.estimates.estimate_delivery import estimate_delivery
from eta.service.estimates.estimate_order import OrderParcel, estimate_order
from eta.service.estimates.find_ship_by import find_ship_by
from eta.service.estimates.hypothetical_shipments import CarrierService, order_event
from eta.service.estimates.order_to_delivery import PickupSchedule
from eta.service.scoring.assessment import PERCENTILES, Assessment, AssessmentOptions
from eta.service.scoring.score_shipments import score_shipments
from eta.stored_values import TRAIN_AGAIN

_POLICY = DelayPolicy()
T = TypeVar("T")
_SERVICES = (
    CarrierService(),
    CarrierService(
        carrier="trial",
        service_level="trial",
        delivery_weekdays=(1, 2, 3, 4, 5, 6),
        pickup_weekdays=(1, 2, 3, 4, 5),
    ),
)
_PICKUPS = (
    PickupSchedule(cutoff=time(15), weekdays=(1, 2, 3, 4, 5)),
    PickupSchedule(cutoff=time(15), weekdays=(1, 2, 3, 4, 5), handling=(0.5, 0.5)),
)
_SCANS = (
    EventCode.ACCEPTED,
    EventCode.ARRIVED_AT_FACILITY,
    EventCode.OUT_FOR_DELIVERY,
    EventCode.DELIVERED,
)


def warm_up(served: ModelBundle, data_through: datetime) -> None:
    """Makes estimates, order estimates, hand-over times and scores with a model version.

    It proves that the version works, too: whatever it raises is raised. ``data_through`` is the
    moment for which they are made, aware.

    Raises:
        ModelRefused: if an answer is out of order, or holds a probability that is none.
    """
    served.seen_services.unseen_names("trial", "trial")
    served.seen_services.is_choice_seen("trial", "trial", "AT-9", "AT-8")
    for lane in _lanes(served.support, data_through):
        desired_on = (data_through + timedelta(days=5)).date()
        for options in _options(desired_on):
            _estimate(lane, served, options)
        find_ship_by(lane, _SERVICES, served, desired_on=desired_on, level=0.5, handover=time(17))
        _score(lane, served, data_through)


def _lanes(support: Support, at: datetime) -> Iterator[Shipment]:
    """A lane with as little as possible known about it, and one with everything known.

    The version has learned from parcels between these countries, if from any: it does not abstain.
    """
    busiest = support.service_lanes[0] if support.service_lanes else None
    ends = (busiest.origin, busiest.destination) if busiest else (None, None)
    origin, destination = (_place(end or "AT") for end in ends)
    bare = Shipment(
        shipment_id="trial",
        order_id="trial",
        origin=Place(country=origin.country),
        destination=Place(country=destination.country),
        ordered_at=at,
    )
    yield bare
    yield _known_in_full(bare, origin, destination)


def _known_in_full(lane: Shipment, origin: Place, destination: Place) -> Shipment:
    """The same between these places, with everything that can be known about it."""
    return replace(
        lane,
        origin=replace(origin, postcode="1010", latitude=48.2, longitude=16.4),
        destination=replace(destination, postcode="6900", latitude=47.5, longitude=9.7),
        weight_kg=1.0,
        length_cm=10.0,
        width_cm=10.0,
        height_cm=10.0,
        price=10.0,
        promised_on=(lane.ordered_at + timedelta(days=3)).date(),
    )


def _place(name: str) -> Place:
    country, _, region = name.partition("-")
    return Place(country=country, region=region or None)


def _options(desired_on: date) -> Iterator[AssessmentOptions]:
    """One for each kind of promise policy, with and without a desired day."""
    yield AssessmentOptions()
    costs = PromisePolicy(on_time_rate=None, costs=PromiseCosts(late=5.0, late_day=1.0))
    yield AssessmentOptions(coverage=0.9, desired_on=desired_on, promise=costs)


def _estimate(lane: Shipment, served: ModelBundle, options: AssessmentOptions) -> None:
    """Estimates of services and of an order, without and with pickup schedules."""
    for pickup_schedule in (None, *_PICKUPS):
        estimates = estimate_delivery(
            lane,
            _SERVICES,
            served,
            policy=_POLICY,
            options=options,
            pickup_schedule=pickup_schedule,
        )
        _check_answers(served, (estimate.assessment for estimate in estimates))
        parcels = [
            OrderParcel(
                lane=lane, service=service, pickup_schedule=pickup_schedule, package_count=2
            )
            for service in _SERVICES
        ]
        estimate_order(parcels, served, policy=_POLICY, options=options)


def _score(lane: Shipment, served: ModelBundle, as_of: datetime) -> None:
    """Scores of parcels at each stage of their way, one by one and together."""
    shipments = [
        replace(lane, shipment_id=f"trial{stage}", ordered_at=as_of - timedelta(days=stage + 1))
        for stage in range(len(_SCANS) + 1)
    ]
    scans = [
        [order_event(shipment), *_scans(shipment, _SCANS[:stage])]
        for stage, shipment in enumerate(shipments)
    ]
    alone = [([shipment], its_scans) for shipment, its_scans in zip(shipments, scans, strict=True)]
    for batch, events in (*alone, (shipments, list(chain(*scans)))):
        answers = score_shipments(
            batch, events, served, as_of, policy=_POLICY, options=AssessmentOptions()
        )
        _check_answers(served, answers)


def _check_answers(served: ModelBundle, assessments: Iterable[Assessment]) -> None:
    """Refuses dates and days left that are out of order, and probabilities that are none."""
    for answer in assessments:
        dates = _present(answer.earliest_on, answer.estimated_on, answer.latest_on)
        days = _present(*(answer.days_left.get(percent) for percent in PERCENTILES))
        probabilities = _present(
            answer.confidence,
            answer.on_time_probability,
            answer.desired_probability,
            answer.delay.probability,
        )
        are_ordered = dates == sorted(dates) and days == sorted(days)
        if not are_ordered or not all(0.0 <= number <= 1.0 for number in probabilities):
            problem = "answers with dates out of order, or with probabilities that are none"
            raise ModelRefused(f"model version {served.version} {problem}; {TRAIN_AGAIN}")


def _present(*values: T | None) -> list[T]:
    """The values that are not None."""
    return [value for value in values if value is not None]


def _scans(shipment: Shipment, codes: Sequence[EventCode]) -> Iterator[TrackingEvent]:
    """One scan a day from the order on."""
    for days, code in enumerate(codes):
        at = shipment.ordered_at + timedelta(days=days, hours=12)
        yield TrackingEvent(
            shipment_id=shipment.shipment_id,
            event_code=code,
            occurred_at=at,
            received_at=at,
            raw_code=code.value,
            place="trial",
        )
