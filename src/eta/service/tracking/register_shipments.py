"""Registers shipments, each once, and corrects what was said of them; every version is kept."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from eta.calendars.local_time import microseconds, offset_minutes
from eta.domain.errors import Conflict, EtaError, InvalidValue, NotFound, ShipmentConflict
from eta.domain.registration import Registration
from eta.domain.vocabulary import EventCode, TimezoneSource
from eta.service.tracking.record_events import MAX_EVENT_LEAD
from eta.service.tracking.shipment_states import update_states
from eta.service.tracking.tracking_numbers import assign_number, is_assigned
from eta.store.records import StoredEvent, StoredShipment, TrackingNumberUse
from eta.store.session import Session


@dataclass(frozen=True)
class RegisterShipment:
    """A tenant's registration."""

    tenant: str
    registration: Registration
    #: When it was ordered is told by a scan of its own, with the time at which that had become
    #: known.
    has_order_event: bool = False


@dataclass(frozen=True)
class RegisteredShipment:
    """The shipment, and whether it was not there before."""

    shipment_id: str
    created: bool


@dataclass(frozen=True)
class UpdateShipment:
    """What is to be said of a tenant's shipment from now on: fields of its facts, None for what is not known any more."""

    tenant: str
    shipment_id: str
    changes: Mapping[str, Any]


def register_shipments(
    session: Session, commands: Sequence[RegisterShipment]
) -> list[RegisteredShipment | EtaError]:
    """Registers shipments together, in order; the same again is the same shipment.

    Answers ``ShipmentConflict`` where the shipment is there with other facts, ``InvalidValue``
    where there is no such estimate.
    """
    results: dict[int, RegisteredShipment | EtaError] = {}
    by_tenant = defaultdict[str, list[int]](list)
    for number, command in enumerate(commands):
        by_tenant[command.tenant].append(number)
    for tenant, numbers in by_tenant.items():
        batch = _RegistrationBatch(
            session, tenant, [commands[number].registration for number in numbers]
        )
        results |= {number: batch.register(commands[number]) for number in numbers}
        batch.write()
    return [results[number] for number in range(len(commands))]


def update_shipments(
    session: Session, commands: Sequence[UpdateShipment]
) -> list[RegisteredShipment | EtaError]:
    """Corrects shipments one after the other; scans told of another number count from now on, or no longer.

    Answers ``NotFound`` where there is no such shipment, ``Conflict`` where another one bears
    the number, ``InvalidValue`` where a fact cannot be.
    """
    return [_update(session, command) for command in commands]


class _RegistrationBatch:
    """Registers shipments of one tenant; written at the end."""

    def __init__(
        self, session: Session, tenant: str, registrations: Sequence[Registration]
    ) -> None:
        self._session, self._tenant = session, tenant
        external_ids = [row.external_id for row in registrations if row.external_id]
        numbers = [number for row in registrations if (number := row.carrier_number)]
        self._holders = session.number_uses(tenant, numbers)
        holder_ids = (row.shipment_id for row in self._holders.values() if row.shipment_id)
        self._by_id = {
            row.shipment_id: row for row in session.shipments(tenant, "shipment_id", holder_ids)
        }
        self._by_external_id = {
            str(row.external_id): row
            for row in session.shipments(tenant, "external_id", external_ids)
        }
        self._new, self._number_uses, self._order_events = (
            list[StoredShipment](),
            list[TrackingNumberUse](),
            list[StoredEvent](),
        )

    def register(self, command: RegisterShipment) -> RegisteredShipment | EtaError:
        registration = command.registration
        if microseconds(registration.shipment.ordered_at) > self._session.now + MAX_EVENT_LEAD:
            return InvalidValue(
                "ordered_at",
                "the order is placed more than 48 hours from now",
                "mend the time of the order",
            )
        existing, number = self._find_existing(registration), registration.carrier_number
        try:
            registration = _with_promise(self._session, self._tenant, registration)
        except InvalidValue as error:
            return error
        if existing:
            differing = _differing_fields(existing, registration)
            if not differing:
                return RegisteredShipment(existing.shipment_id, created=False)
            return ShipmentConflict(existing.shipment_id, differing)
        shipment_id, commit_time = self._session.new_id("shp"), self._session.commit_time
        number_use = (
            assign_number(number, self._holders.get(number), shipment_id, commit_time)
            if number
            else None
        )
        stored = StoredShipment(
            shipment_id,
            registration.external_id,
            number_use.number_use_id if number_use else None,
            json.dumps(registration.to_attributes()),
            commit_time,
            commit_time,
        )
        self._new.append(stored)
        if not command.has_order_event:
            self._order_events.append(
                _order_event(stored, registration.shipment.ordered_at, self._session.commit_time)
            )
        if registration.external_id:
            self._by_external_id[registration.external_id] = stored
        if number and number_use:
            self._holders[number], self._by_id[shipment_id] = number_use, stored
            self._number_uses.append(number_use)
        return RegisteredShipment(shipment_id, created=True)

    def write(self) -> None:
        session, tenant = self._session, self._tenant
        session.put_shipments(tenant, self._new)
        session.put_number_uses(tenant, self._number_uses)
        # What was told of a number before anybody registered it counts.
        earlier_events = session.events(
            tenant, (shipment.number_use_id for shipment in self._new if shipment.number_use_id)
        )
        session.add_events(tenant, self._order_events)
        update_states(session, tenant, self._new, [*earlier_events, *self._order_events])

    def _find_existing(self, registration: Registration) -> StoredShipment | None:
        if registration.external_id:
            # The shop's own number decides; the same carrier's number under another one is a
            # conflict, told as such.
            existing = self._by_external_id.get(registration.external_id)
            if existing:
                return existing
        holder = self._holders.get(registration.carrier_number or "")
        return (
            self._by_id.get(holder.shipment_id or "")
            if holder and is_assigned(holder, self._session.commit_time)
            else None
        )


def _differing_fields(existing: StoredShipment, registration: Registration) -> list[str]:
    """The fields of which the registration says something else than is recorded."""
    attributes, requested = json.loads(existing.attributes), registration.to_attributes()
    # The order's id is the external id, unless a history says otherwise.
    names = sorted({*attributes, *requested} - {"order_id"})
    fields = [name for name in names if attributes.get(name) != requested.get(name)]
    return [*(["external_id"] if existing.external_id != registration.external_id else []), *fields]


def _with_promise(session: Session, tenant: str, registration: Registration) -> Registration:
    """The date that was shown becomes the promise, where none is given.

    Raises:
        InvalidValue: if there is no such estimate, or it has no date for the service.
    """
    if registration.estimate_id is None or registration.shipment.promised_on is not None:
        return registration
    estimate = session.estimate(tenant, registration.estimate_id)
    if estimate is None:
        raise InvalidValue(
            "estimate_id",
            f"{registration.estimate_id} is no estimate that was shown",
            "send the id of one asked for with is_shown",
        )
    service = (registration.shipment.carrier, registration.shipment.service_level)
    promises = {
        (result["carrier_code"], result["service_code"]): result["promise"]
        for result in json.loads(estimate)["results"]
    }
    promise = promises.get(service)
    if promise is None:
        raise InvalidValue(
            "estimate_id",
            "the estimate has no date for this carrier and service",
            "send the service that was chosen, or the date itself",
        )
    return replace(
        registration,
        shipment=replace(registration.shipment, promised_on=date.fromisoformat(promise["date"])),
    )


def _order_event(shipment: StoredShipment, ordered_at: datetime, commit_time: int) -> StoredEvent:
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
        commit_time,
    )


def _update(session: Session, command: UpdateShipment) -> RegisteredShipment | EtaError:
    tenant = command.tenant
    existing = next(iter(session.shipments(tenant, "shipment_id", [command.shipment_id])), None)
    if existing is None:
        return NotFound("there is no such shipment")
    attributes = {
        name: value
        for name, value in {**json.loads(existing.attributes), **command.changes}.items()
        if value is not None
    }
    try:
        registration = Registration.from_attributes(
            attributes, existing.shipment_id, existing.external_id
        )
    except InvalidValue as error:
        return error
    if attributes == json.loads(existing.attributes):
        return RegisteredShipment(existing.shipment_id, created=False)
    updated = existing._replace(
        attributes=json.dumps(registration.to_attributes()), changed_at=session.commit_time
    )
    number, previous_number = registration.carrier_number, _number_of(existing)
    if number != previous_number:
        holders = session.number_uses(tenant, (text for text in (number, previous_number) if text))
        holder = holders.get(number or "")
        if (
            holder
            and is_assigned(holder, session.commit_time)
            and holder.shipment_id != existing.shipment_id
        ):
            return Conflict(
                f"shipment {holder.shipment_id} bears that number already; correct or delete that one first"
            )
        released = holders.get(previous_number or "")
        if released and released.shipment_id == existing.shipment_id:
            session.put_number_uses(tenant, [released._replace(shipment_id=None)])
        assigned = (
            assign_number(number, holder, existing.shipment_id, session.commit_time)
            if number
            else None
        )
        session.put_number_uses(tenant, [assigned] if assigned else [])
        updated = updated._replace(number_use_id=assigned.number_use_id if assigned else None)
    session.put_shipments(tenant, [updated])
    update_states(session, tenant, [updated], session.events(tenant, updated.event_owners))
    return RegisteredShipment(existing.shipment_id, created=False)


def _number_of(shipment: StoredShipment) -> str | None:
    return shipment.number_use_id.rpartition("|")[0] if shipment.number_use_id else None
