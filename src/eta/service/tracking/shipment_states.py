"""The state of each shipment, computed again from all its events whenever one is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from eta.journey.state import PHASES, STATUSES, AsOfPairs, fold
from eta.journey.timeline_builders import RawEvents, columns_from_raw_events, counted_rows
from eta.journey.timelines import EVENT_CODES, Scans
from eta.store.records import StoredEvent, StoredShipment, StoredState
from eta.store.session import Session

_NAT = np.iinfo(np.int64).min
_STATUSES = tuple(status.value for status in STATUSES)
_PHASES = tuple(phase.value for phase in PHASES)
#: The last one is that of no event, at -1.
_CODES = (*(code.value for code in EVENT_CODES), None)
#: The type of the message about a changed status.
UPDATED = "shipment.updated"


def update_states(
    session: Session,
    tenant: str,
    shipments: Sequence[StoredShipment],
    events: Iterable[StoredEvent],
) -> None:
    """Writes the states of shipments, and a message to subscribers for each changed status.

    ``events`` must hold all events of the shipments.
    """
    if not shipments:
        return
    states = compute_states(shipments, events, session.commit_time)
    shipment_ids = [shipment.shipment_id for shipment in shipments]
    previous = session.statuses(tenant, shipment_ids)
    session.put_states(tenant, states)
    messages: list[tuple[str, str, str]] = []
    for state in states:
        previous_status = previous.get(state.shipment_id)
        if previous_status != state.status:
            payload = json.dumps(
                {"status": state.status, "previous_status": previous_status, "phase": state.phase}
            )
            messages.append((UPDATED, state.shipment_id, payload))
    session.add_outbox(tenant, messages)


def compute_states(
    shipments: Sequence[StoredShipment], events: Iterable[StoredEvent], as_of: int
) -> list[StoredState]:
    """Returns the states (N,) of shipments at a moment, in microseconds.

    The fold is that of training and backtests.
    """
    count = len(shipments)
    scans = Scans(**columns_from_raw_events(raw_events(shipments, events), count))
    moments = np.full(count, np.datetime64(as_of, "us"))
    states = fold(scans, AsOfPairs(np.arange(count), moments))
    columns: dict[str, list[Any]] = {
        "shipment_id": [shipment.shipment_id for shipment in shipments],
        "as_of": [as_of] * count,
        "status": _names(states.status, _STATUSES),
        "phase": _names(states.phase, _PHASES),
        "is_open": states.is_open.astype(np.int64).tolist(),
        "last_code": _names(states.last_code, _CODES),
        "place": states.place.texts().tolist(),
        "place_code": _names(states.place_code, _CODES),
        "ordered_at": _microseconds(states.ordered_at),
        "approved_at": _microseconds(states.approved_at),
        "handed_over_at": _microseconds(states.handed_over_at),
        "last_scan_at": _microseconds(states.last_scan_at),
        "arrived_at": _microseconds(states.arrived_at),
        "abandoned_at": _microseconds(states.abandoned_at),
        "scan_count": states.scan_count.tolist(),
        "exception_count": states.exception_count.tolist(),
    }
    in_order = [columns[field] for field in StoredState._fields]
    return [StoredState._make(row) for row in zip(*in_order, strict=True)]


def _names(codes: npt.NDArray[np.integer], names: Sequence[str | None]) -> list[str | None]:
    return [names[code] for code in codes.tolist()]


def _microseconds(times: npt.NDArray[np.datetime64]) -> list[int | None]:
    instants = times.view(np.int64).tolist()
    return [None if instant == _NAT else instant for instant in instants]


def owned_events(
    shipments: Sequence[StoredShipment], events: Iterable[StoredEvent]
) -> list[StoredEvent]:
    """Returns the events that belong to one of the shipments, in order."""
    owners = {owner for shipment in shipments for owner in shipment.event_owners}
    return [event for event in events if event.event_owner in owners]


def raw_events(shipments: Sequence[StoredShipment], events: Iterable[StoredEvent]) -> RawEvents:
    """Returns events of shipments as columns for the journey; other events are left out."""
    rows: dict[str, int] = {}
    for row, shipment in enumerate(shipments):
        for event_owner in shipment.event_owners:
            rows[event_owner] = row
    owned = owned_events(shipments, events)
    return _raw_events([rows[event.event_owner] for event in owned], owned)


def _raw_events(owner: Sequence[int], events: Sequence[StoredEvent]) -> RawEvents:
    return RawEvents(
        owner=owner,
        event_code=[event.event_code for event in events],
        occurred=[event.occurred_at for event in events],
        received=[event.received_at for event in events],
        raw_code=[event.raw_code for event in events],
        place=[event.place for event in events],
        correction_number=[event.correction_number for event in events],
    )


def is_same_scan(event: StoredEvent, other: StoredEvent) -> bool:
    """Whether two events of a shipment are readings of one scan (``journey.scan_groups``)."""
    return _scan(event) == _scan(other)


def _scan(event: StoredEvent) -> tuple[str, int, str | None]:
    return event.raw_code or event.event_code, event.occurred_at, event.place or None


def counting_event(readings: Sequence[StoredEvent]) -> StoredEvent:
    """Returns the one of all readings of a scan that counts now."""
    last = max(reading.received_at for reading in readings)
    [row] = counted_rows(_raw_events([0] * len(readings), readings), last)
    return readings[row]


def with_correction(event: StoredEvent, events: Iterable[StoredEvent]) -> StoredEvent:
    """Returns the scan among ``events`` that a correction corrects, with its code and receipt.

    An event that is no correction is returned as it is.
    """
    if not event.correction_number:
        return event
    scans = (
        other for other in events if not other.correction_number and is_same_scan(other, event)
    )
    scan = min(scans, key=lambda other: other.received_at, default=event)
    return scan._replace(
        event_code=event.event_code,
        received_at=event.received_at,
        correction_number=event.correction_number,
    )
