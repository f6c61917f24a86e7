"""Corrects the event codes of recorded events, by records that count from their receipt on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eta.domain.errors import Conflict, EtaError, NotFound
from eta.domain.vocabulary import EventCode
from eta.service.tracking.record_events import MAX_EVENTS_PER_PARCEL
from eta.service.tracking.shipment_states import (
    counting_event,
    is_same_scan,
    update_states,
    with_correction,
)
from eta.store.event_ids import event_id, is_order_event
from eta.store.records import StoredEvent, StoredShipment
from eta.store.session import Session


@dataclass(frozen=True)
class CorrectEvent:
    """A request to read a tenant's event, whatever it was read as, as another event code."""

    tenant: str
    event_id: str
    event_code: EventCode


@dataclass(frozen=True)
class CorrectedEvent:
    """An event as it counts now."""

    event: StoredEvent
    #: None while no shipment has the event's tracking number.
    shipment_id: str | None
    #: Whether a correction was recorded; not if the event had the code already.
    created: bool


def correct_events(
    session: Session, commands: Sequence[CorrectEvent]
) -> list[CorrectedEvent | EtaError]:
    """Corrects events one after the other; the same correction again changes nothing.

    Returns ``NotFound`` if there is no such event, and ``Conflict`` if it cannot be corrected.
    """
    return [_correct(session, command) for command in commands]


def _correct(session: Session, command: CorrectEvent) -> CorrectedEvent | EtaError:
    tenant = command.tenant
    event = next(iter(session.events_by_id(tenant, [command.event_id])), None)
    if event is None:
        return _not_recorded(session, command)
    if is_order_event(event):
        return Conflict("the order belongs to its registration; delete the shipment instead")
    shipments = _shipments(session, tenant, event.event_owner)
    owners = {event.event_owner, *(owner for row in shipments for owner in row.event_owners)}
    events = session.events(tenant, owners)
    readings = [other for other in events if is_same_scan(other, event)]
    counting = counting_event(readings)
    shipment_id = shipments[0].shipment_id if shipments else None
    if counting.event_code == command.event_code.value:
        shown = with_correction(counting, readings)
        return CorrectedEvent(shown, shipment_id, created=False)
    if sum(other.event_owner == event.event_owner for other in events) >= MAX_EVENTS_PER_PARCEL:
        return Conflict(f"the parcel has {MAX_EVENTS_PER_PARCEL} events, which is the limit")
    last_number = max(reading.correction_number for reading in readings)
    correction = event._replace(
        event_code=command.event_code.value,
        raw_code=event.raw_code or event.event_code,
        received_at=session.commit_time,
        is_received_at_assumed=0,
        # Of two corrections in one transaction the later one counts.
        correction_number=last_number + 1,
    )
    correction = correction._replace(event_id=event_id(correction))
    session.add_events(tenant, [correction])
    update_states(session, tenant, shipments, [*events, correction])
    return CorrectedEvent(with_correction(correction, readings), shipment_id, created=True)


def _not_recorded(session: Session, command: CorrectEvent) -> EtaError:
    if session.quarantined_by_id(command.tenant, [command.event_id]):
        return Conflict("the event is quarantined, so it has no effect; send it again, corrected")
    return NotFound("there is no such event")


def _shipments(session: Session, tenant: str, event_owner: str) -> list[StoredShipment]:
    """Returns the shipment that an event belongs to, if any."""
    by_id = session.shipments(tenant, "shipment_id", [event_owner])
    return by_id or session.shipments(tenant, "number_use_id", [event_owner])
