"""Registers shipments once each, and updates them; every version stays recorded."""

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
from eta.service.tracking.tracking_numbers import assign_number, use_at
from eta.store.event_ids import order_event_id
from eta.store.records import StoredEvent, StoredShipment, TrackingNumberUse
from eta.store.session import Session

_ENDS = ("origin", "destination")


@dataclass(frozen=True)
class HistoricalRegistration:
    """How the source of an imported history knew a shipment; the order is one of its events."""

    #: Aware; when the source knew of the shipment.
    registered_at: datetime
    #: The source does not say when; a future ``registered_at`` then means now.
    is_assumed: bool
    #: The attributes that the source states; it does not contradict any other.
    stated: frozenset[str]


@dataclass(frozen=True)
class RegisterShipment:
    """A request to register a tenant's shipment."""

    tenant: str
    registration: Registration
    #: None for a shipment that becomes known now.
    history: HistoricalRegistration | None = None


@dataclass(frozen=True)
class RegisteredShipment:
    """The id of a shipment, whether it was created, and how it travels."""

    shipment_id: str
    created: bool
    carrier: str | None = None
    service_level: str | None = None


@dataclass(frozen=True)
class UpdateShipment:
    """A request to change attributes of a tenant's shipment; None removes an attribute."""

    tenant: str
    shipment_id: str
    changes: Mapping[str, Any]


def register_shipments(
    session: Session, commands: Sequence[RegisterShipment]
) -> list[RegisteredShipment | EtaError]:
    """Registers shipments together, in order; registering the same again changes nothing.

    Returns ``ShipmentConflict`` if the shipment exists with other attributes, and ``InvalidValue``
    if the estimate does not exist, or if the order or the registration lies in the future.
    """
    positions = defaultdict[str, list[int]](list)
    for position, command in enumerate(commands):
        positions[command.tenant].append(position)
    results: dict[int, RegisteredShipment | EtaError] = {}
    for tenant, positions_of_tenant in positions.items():
        commands_of_tenant = [commands[position] for position in positions_of_tenant]
        batch = _RegistrationBatch(session, tenant, commands_of_tenant)
        for position in positions_of_tenant:
            results[position] = batch.register(commands[position])
        batch.write()
    return [results[position] for position in range(len(commands))]


def update_shipments(
    session: Session, commands: Sequence[UpdateShipment]
) -> list[RegisteredShipment | EtaError]:
    """Updates shipments one after the other; a new tracking number brings its events with it.

    Returns ``NotFound`` if the shipment does not exist, ``Conflict`` if another one has the
    number, and ``InvalidValue`` for an invalid attribute.
    """
    return [_update(session, command) for command in commands]


class _RegistrationBatch:
    """Registers shipments of one tenant; they are written at the end."""

    def __init__(self, session: Session, tenant: str, commands: Sequence[RegisterShipment]) -> None:
        self._session = session
        self._tenant = tenant
        registrations = [command.registration for command in commands]
        external_ids = [row.external_id for row in registrations if row.external_id]
        numbers = [number for row in registrations if (number := row.carrier_number)]
        self._uses = session.number_uses(tenant, numbers)
        uses = [use for uses_of_number in self._uses.values() for use in uses_of_number]
        shipment_ids = [use.shipment_id for use in uses if use.shipment_id]
        # An export has our id of a shipment to which the shop gave none.
        shipment_ids += [_exported_id(command) for command in commands if command.history]
        by_id = session.shipments(tenant, "shipment_id", shipment_ids)
        by_external_id = session.shipments(tenant, "external_id", external_ids)
        self._by_id = {row.shipment_id: row for row in by_id}
        self._by_external_id = {str(row.external_id): row for row in by_external_id}
        self._new: list[StoredShipment] = []
        self._number_uses: dict[str, TrackingNumberUse] = {}
        self._order_events: list[StoredEvent] = []

    def register(self, command: RegisterShipment) -> RegisteredShipment | EtaError:
        """Returns the shipment of a registration, which is created if it does not exist."""
        try:
            registered_at = _registered_at(command, self._session)
            registration = _with_promise(self._session, self._tenant, command.registration)
        except InvalidValue as error:
            return error
        existing = self._find(command, registered_at)
        if existing:
            differing = _differing_fields(existing, registration, command.history)
            if differing:
                return ShipmentConflict(existing.shipment_id, differing)
            return _registered(existing.shipment_id, registration)
        stored = self._create(registration, registered_at)
        if command.history is None:
            self._order_events.append(_order_event(stored, registration))
        return _registered(stored.shipment_id, registration, created=True)

    def _find(self, command: RegisterShipment, registered_at: int) -> StoredShipment | None:
        """Returns the shipment that is registered already, or that has the tracking number."""
        registration = command.registration
        # The shop's id decides; the same tracking number with another id is a conflict.
        existing = self._by_external_id.get(registration.external_id or "")
        if not existing and command.history:
            existing = self._by_id.get(_exported_id(command))
        if existing:
            return existing
        holder = use_at(self._uses.get(registration.carrier_number or "", ()), registered_at)
        return self._by_id.get(holder.shipment_id or "") if holder else None

    def _create(self, registration: Registration, registered_at: int) -> StoredShipment:
        shipment_id = self._session.new_id("shp")
        number = registration.carrier_number
        number_use = None
        if number:
            uses = self._uses.get(number, ())
            number_use = assign_number(number, uses, shipment_id, registered_at)
            self._remember_use(number_use)
        stored = StoredShipment(
            shipment_id=shipment_id,
            external_id=registration.external_id,
            number_use_id=number_use.number_use_id if number_use else None,
            attributes=json.dumps(registration.to_attributes()),
            created_at=registered_at,
            changed_at=registered_at,
        )
        self._new.append(stored)
        self._by_id[shipment_id] = stored
        if registration.external_id:
            self._by_external_id[registration.external_id] = stored
        return stored

    def _remember_use(self, number_use: TrackingNumberUse) -> None:
        """Puts a use of a number among its uses, in place of the one that it replaces."""
        self._number_uses[number_use.number_use_id] = number_use
        uses = {use.use_number: use for use in self._uses.get(number_use.carrier_number, ())}
        uses[number_use.use_number] = number_use
        in_order = sorted(uses.values(), key=lambda use: use.started_at)
        self._uses[number_use.carrier_number] = in_order

    def write(self) -> None:
        """Writes the new shipments, their order events and their states."""
        session = self._session
        tenant = self._tenant
        session.put_shipments(tenant, self._new)
        session.put_number_uses(tenant, self._number_uses.values())
        # Events of a number that were received before it was registered belong to the shipment.
        number_use_ids = [row.number_use_id for row in self._new if row.number_use_id]
        earlier_events = session.events(tenant, number_use_ids)
        session.add_events(tenant, self._order_events)
        update_states(session, tenant, self._new, [*earlier_events, *self._order_events])


def _exported_id(command: RegisterShipment) -> str:
    return command.registration.external_id or ""


def _registered_at(command: RegisterShipment, session: Session) -> int:
    """Returns when a shipment became known, in microseconds.

    Raises:
        InvalidValue: if that is in the future, or if the order is more than 48 hours from now.
    """
    if microseconds(command.registration.shipment.ordered_at) > session.latest_now + MAX_EVENT_LEAD:
        problem = "the order is placed more than 48 hours from now"
        raise InvalidValue("ordered_at", problem, "check the time of the order")
    history = command.history
    if history is None:
        return session.commit_time
    registered_at = microseconds(history.registered_at)
    if registered_at > session.commit_time and not history.is_assumed:
        problem = "the shipment is registered in the future"
        raise InvalidValue("registered_at", problem, "check the time, or leave it out")
    return min(registered_at, session.commit_time)


def _differing_fields(
    existing: StoredShipment, registration: Registration, history: HistoricalRegistration | None
) -> list[str]:
    """Returns the fields in which a registration differs from the recorded shipment."""
    attributes = json.loads(existing.attributes)
    requested = registration.to_attributes()
    # The order's id is the external id, unless an imported history has another one.
    names = {*attributes, *requested} - {"order_id"}
    external_id = existing.external_id
    if history:
        names &= {*history.stated, *_ENDS}
        requested |= {end: attributes[end] | requested[end] for end in _ENDS}
        external_id = external_id or existing.shipment_id
    fields = [name for name in sorted(names) if attributes.get(name) != requested.get(name)]
    if registration.external_id != external_id:
        return ["external_id", *fields]
    return fields


def _with_promise(session: Session, tenant: str, registration: Registration) -> Registration:
    """Takes the promise from the estimate that the customer saw, if none is given.

    Raises:
        InvalidValue: if the estimate does not exist, or has no date for the service.
    """
    if registration.estimate_id is None or registration.shipment.promised_on is not None:
        return registration
    estimate = session.estimate(tenant, registration.estimate_id)
    if estimate is None:
        raise InvalidValue(
            "estimate_id",
            f"{registration.estimate_id} is no saved estimate",
            "send the id of an estimate that was requested with save",
        )
    # The promises of the estimate, as JSON, by carrier and service.
    promises = {
        (result["carrier_code"], result["service_code"]): result["promise"]
        for result in json.loads(estimate)["results"]
    }
    shipment = registration.shipment
    promise = promises.get((shipment.carrier, shipment.service_level))
    if promise is None:
        raise InvalidValue(
            "estimate_id",
            "the estimate has no date for this carrier and service",
            "send the service that was chosen, or the date itself",
        )
    promised_on = date.fromisoformat(promise["date"])
    return replace(registration, shipment=replace(shipment, promised_on=promised_on))


def _order_event(shipment: StoredShipment, registration: Registration) -> StoredEvent:
    """Returns the event of the order itself."""
    ordered_at = registration.shipment.ordered_at
    return StoredEvent(
        event_owner=shipment.shipment_id,
        event_id=order_event_id(shipment.shipment_id),
        event_code=EventCode.ORDER_CREATED.value,
        raw_code=None,
        place=None,
        occurred_at=microseconds(ordered_at),
        offset_minutes=offset_minutes(ordered_at),
        timezone_source=TimezoneSource.CARRIER_OFFSET.value,
        is_ambiguous=0,
        is_received_at_assumed=0,
        received_at=shipment.created_at,
    )


def _update(session: Session, command: UpdateShipment) -> RegisteredShipment | EtaError:
    tenant = command.tenant
    existing = next(iter(session.shipments(tenant, "shipment_id", [command.shipment_id])), None)
    if existing is None:
        return NotFound("there is no such shipment")
    attributes_before = json.loads(existing.attributes)
    merged = {**attributes_before, **command.changes}
    attributes = {name: value for name, value in merged.items() if value is not None}
    try:
        registration = Registration.from_attributes(
            attributes, existing.shipment_id, existing.external_id
        )
        if attributes == attributes_before:
            return _registered(existing.shipment_id, registration)
        number_use_id = _assign_number(session, tenant, existing, registration.carrier_number)
    except (InvalidValue, Conflict) as error:
        return error
    updated = existing._replace(
        number_use_id=number_use_id,
        attributes=json.dumps(registration.to_attributes()),
        changed_at=session.commit_time,
    )
    session.put_shipments(tenant, [updated])
    update_states(session, tenant, [updated], session.events(tenant, updated.event_owners))
    return _registered(existing.shipment_id, registration)


def _registered(
    shipment_id: str, registration: Registration, *, created: bool = False
) -> RegisteredShipment:
    shipment = registration.shipment
    return RegisteredShipment(shipment_id, created, shipment.carrier, shipment.service_level)


def _assign_number(
    session: Session, tenant: str, shipment: StoredShipment, number: str | None
) -> str | None:
    """Gives a shipment a tracking number in place of its present one; returns the use's id.

    Raises:
        Conflict: if another shipment has the number; nothing is written.
    """
    previous_number = shipment.number_use_id.rpartition("|")[0] if shipment.number_use_id else None
    if number == previous_number:
        return shipment.number_use_id
    numbers = [text for text in (number, previous_number) if text]
    uses = session.number_uses(tenant, numbers)
    uses_of_number = uses.get(number or "", ())
    holder = use_at(uses_of_number, session.commit_time)
    if holder and holder.shipment_id not in (None, shipment.shipment_id):
        raise Conflict(
            f"shipment {holder.shipment_id} has that number already;"
            " correct or delete that one first"
        )
    for released in uses.get(previous_number or "", ()):
        if released.number_use_id == shipment.number_use_id:
            session.put_number_uses(tenant, [released._replace(shipment_id=None)])
    if number is None:
        return None
    assigned = assign_number(number, uses_of_number, shipment.shipment_id, session.commit_time)
    session.put_number_uses(tenant, [assigned])
    return assigned.number_use_id
