"""Registers shipments, each once, and corrects what was said of them; every version is kept."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from eta.calendars.local_time import microseconds, offset_minutes
from eta.domain.errors import Conflict, EtaError, InvalidValue, NotRecorded, RegisteredOtherwise
from eta.domain.registration import Registration
from eta.domain.vocabulary import EventCode, TimezoneSource
from eta.service.tracking.record_events import NEWEST
from eta.service.tracking.shipment_states import refold
from eta.service.tracking.tracking_numbers import bear, is_borne
from eta.store.records import StoredEvent, StoredShipment, StoredTracking
from eta.store.session import Session


@dataclass(frozen=True)
class Registering:
    """A tenant's registration."""

    tenant: str
    registration: Registration
    #: When it was ordered is told by a scan of its own, with the time at which that had become
    #: known.
    is_history: bool = False


@dataclass(frozen=True)
class Registered:
    """The shipment, and whether it was not there before."""

    shipment_id: str
    is_new: bool


@dataclass(frozen=True)
class Correcting:
    """What is to be said of a tenant's shipment from now on: fields of its facts, None for what is not known any more."""

    tenant: str
    shipment_id: str
    changes: Mapping[str, Any]


def register_shipments(
    session: Session, asked: Sequence[Registering]
) -> list[Registered | EtaError]:
    """Registers shipments together, in order; the same again is the same shipment.

    Answers ``RegisteredOtherwise`` where the shipment is there with other facts, ``InvalidValue``
    where there is no such estimate.
    """
    answers: dict[int, Registered | EtaError] = {}
    of_tenant = defaultdict[str, list[int]](list)
    for number, each in enumerate(asked):
        of_tenant[each.tenant].append(number)
    for tenant, numbers in of_tenant.items():
        registrar = _Registrar(session, tenant, [asked[number].registration for number in numbers])
        answers |= {number: registrar.register(asked[number]) for number in numbers}
        registrar.write()
    return [answers[number] for number in range(len(asked))]


def correct_shipments(session: Session, asked: Sequence[Correcting]) -> list[Registered | EtaError]:
    """Corrects shipments one after the other; scans told of another number count from now on, or no longer.

    Answers ``NotRecorded`` where there is no such shipment, ``Conflict`` where another one bears
    the number, ``InvalidValue`` where a fact cannot be.
    """
    return [_correct(session, each) for each in asked]


class _Registrar:
    """Registers shipments of one tenant; written at the end."""

    def __init__(
        self, session: Session, tenant: str, registrations: Sequence[Registration]
    ) -> None:
        self._session, self._tenant = session, tenant
        external = [each.external_id for each in registrations if each.external_id]
        numbers = [number for each in registrations if (number := each.carrier_number)]
        self._bearers = session.trackings(tenant, numbers)
        borne = (each.shipment_id for each in self._bearers.values() if each.shipment_id)
        self._by_id = {
            each.shipment_id: each for each in session.shipments(tenant, "shipment_id", borne)
        }
        self._by_external = {
            str(each.external_id): each
            for each in session.shipments(tenant, "external_id", external)
        }
        self._new, self._trackings, self._orders = (
            list[StoredShipment](),
            list[StoredTracking](),
            list[StoredEvent](),
        )

    def register(self, asked: Registering) -> Registered | EtaError:
        wanted = asked.registration
        if microseconds(wanted.shipment.ordered_at) > self._session.now + NEWEST:
            return InvalidValue(
                "ordered_at",
                "the order is placed more than 48 hours from now",
                "mend the time of the order",
            )
        found, number = self._found(wanted), wanted.carrier_number
        try:
            wanted = _with_promise(self._session, self._tenant, wanted)
        except InvalidValue as error:
            return error
        if found:
            differing = _differing(found, wanted)
            if not differing:
                return Registered(found.shipment_id, is_new=False)
            return RegisteredOtherwise(found.shipment_id, differing)
        shipment_id, stamp = self._session.new_id("shp"), self._session.stamp
        tracking = bear(number, self._bearers.get(number), shipment_id, stamp) if number else None
        stored = StoredShipment(
            shipment_id,
            wanted.external_id,
            tracking.tracking if tracking else None,
            json.dumps(wanted.to_facts()),
            stamp,
            stamp,
        )
        self._new.append(stored)
        if not asked.is_history:
            self._orders.append(_ordered(stored, wanted.shipment.ordered_at, self._session.stamp))
        if wanted.external_id:
            self._by_external[wanted.external_id] = stored
        if number and tracking:
            self._bearers[number], self._by_id[shipment_id] = tracking, stored
            self._trackings.append(tracking)
        return Registered(shipment_id, is_new=True)

    def write(self) -> None:
        session, tenant = self._session, self._tenant
        session.put_shipments(tenant, self._new)
        session.put_trackings(tenant, self._trackings)
        # What was told of a number before anybody registered it counts.
        told = session.events(tenant, (each.tracking for each in self._new if each.tracking))
        session.add_events(tenant, self._orders)
        refold(session, tenant, self._new, [*told, *self._orders])

    def _found(self, wanted: Registration) -> StoredShipment | None:
        if wanted.external_id:
            # The shop's own number decides; the same carrier's number under another one is a
            # conflict, told as such.
            found = self._by_external.get(wanted.external_id)
            if found:
                return found
        bearer = self._bearers.get(wanted.carrier_number or "")
        return (
            self._by_id.get(bearer.shipment_id or "")
            if bearer and is_borne(bearer, self._session.stamp)
            else None
        )


def _differing(found: StoredShipment, wanted: Registration) -> list[str]:
    """The fields of which the registration says something else than is recorded."""
    facts, asked = json.loads(found.facts), wanted.to_facts()
    # The order's id is the external id, unless a history says otherwise.
    names = sorted({*facts, *asked} - {"order_id"})
    fields = [name for name in names if facts.get(name) != asked.get(name)]
    return [*(["external_id"] if found.external_id != wanted.external_id else []), *fields]


def _with_promise(session: Session, tenant: str, wanted: Registration) -> Registration:
    """The date that was shown becomes the promise, where none is given.

    Raises:
        InvalidValue: if there is no such estimate, or it has no date for the service.
    """
    if wanted.estimate_id is None or wanted.shipment.promised_on is not None:
        return wanted
    answer = session.estimate(tenant, wanted.estimate_id)
    if answer is None:
        raise InvalidValue(
            "estimate_id",
            f"{wanted.estimate_id} is no estimate that was shown",
            "send the id of one asked for with is_shown",
        )
    service = (wanted.shipment.carrier, wanted.shipment.service_level)
    shown = {
        (result["carrier_code"], result["service_code"]): result["promise"]
        for result in json.loads(answer)["results"]
    }
    promise = shown.get(service)
    if promise is None:
        raise InvalidValue(
            "estimate_id",
            "the estimate has no date for this carrier and service",
            "send the service that was chosen, or the date itself",
        )
    return replace(
        wanted, shipment=replace(wanted.shipment, promised_on=date.fromisoformat(promise["date"]))
    )


def _ordered(shipment: StoredShipment, ordered_at: datetime, stamp: int) -> StoredEvent:
    """The scan that an order itself is."""
    return StoredEvent(
        shipment.shipment_id,
        "evt_" + shipment.shipment_id.partition("_")[2],
        EventCode.ORDER_CREATED.value,
        None,
        None,
        microseconds(ordered_at),
        offset_minutes(ordered_at),
        TimezoneSource.CARRIER_OFFSET.value,
        0,
        0,
        stamp,
    )


def _correct(session: Session, asked: Correcting) -> Registered | EtaError:
    tenant = asked.tenant
    found = next(iter(session.shipments(tenant, "shipment_id", [asked.shipment_id])), None)
    if found is None:
        return NotRecorded("there is no such shipment")
    facts = {
        name: value
        for name, value in {**json.loads(found.facts), **asked.changes}.items()
        if value is not None
    }
    try:
        wanted = Registration.from_facts(facts, found.shipment_id, found.external_id)
    except InvalidValue as error:
        return error
    if facts == json.loads(found.facts):
        return Registered(found.shipment_id, is_new=False)
    corrected = found._replace(facts=json.dumps(wanted.to_facts()), changed_at=session.stamp)
    number, before = wanted.carrier_number, _number_of(found)
    if number != before:
        bearers = session.trackings(tenant, (each for each in (number, before) if each))
        bearer = bearers.get(number or "")
        if bearer and is_borne(bearer, session.stamp) and bearer.shipment_id != found.shipment_id:
            return Conflict(
                f"shipment {bearer.shipment_id} bears that number already; correct or delete that one first"
            )
        given_up = bearers.get(before or "")
        if given_up and given_up.shipment_id == found.shipment_id:
            session.put_trackings(tenant, [given_up._replace(shipment_id=None)])
        borne = bear(number, bearer, found.shipment_id, session.stamp) if number else None
        session.put_trackings(tenant, [borne] if borne else [])
        corrected = corrected._replace(tracking=borne.tracking if borne else None)
    session.put_shipments(tenant, [corrected])
    refold(session, tenant, [corrected], session.events(tenant, corrected.subjects))
    return Registered(found.shipment_id, is_new=False)


def _number_of(shipment: StoredShipment) -> str | None:
    return shipment.tracking.rpartition("|")[0] if shipment.tracking else None
