"""The state of each shipment, made anew from all that was told of it whenever something is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np

from eta.journey.state import PHASES, STATUSES, AsOfPairs, fold
from eta.journey.timelines import EVENT_CODES, RawEvents, Scans
from eta.store.records import StoredEvent, StoredShipment, StoredState
from eta.store.session import Session

_NAT = np.iinfo(np.int64).min
_STATUSES, _PHASES = (
    tuple(status.value for status in STATUSES),
    tuple(phase.value for phase in PHASES),
)
_CODES = (*(code.value for code in EVENT_CODES), None)
UPDATED = "shipment.updated"


def update_states(
    session: Session,
    tenant: str,
    shipments: Sequence[StoredShipment],
    events: Iterable[StoredEvent],
) -> None:
    """Writes the states of shipments, of which ``events`` are all there are, and tells the outbox of each status that changed."""
    if not shipments:
        return
    states = compute_states(shipments, events, session.commit_time)
    previous = session.statuses(tenant, (shipment.shipment_id for shipment in shipments))
    session.put_states(tenant, states)
    changed = [state for state in states if previous.get(state.shipment_id) != state.status]
    session.add_outbox(
        tenant,
        (
            (UPDATED, state.shipment_id, _payload(state, previous.get(state.shipment_id)))
            for state in changed
        ),
    )


def compute_states(
    shipments: Sequence[StoredShipment], events: Iterable[StoredEvent], as_of: int
) -> list[StoredState]:
    """The states (N,) of shipments at a moment, in microseconds; the fold is that of training and replay."""
    scans = Scans.from_raw_events(raw_events(shipments, events), len(shipments))
    states = fold(
        scans,
        AsOfPairs(np.arange(len(shipments)), np.full(len(shipments), np.datetime64(as_of, "us"))),
    )
    times = (
        states.ordered_at,
        states.approved_at,
        states.handed_over_at,
        states.last_scan_at,
        states.arrived_at,
        states.abandoned_at,
    )
    columns = (
        [shipment.shipment_id for shipment in shipments],
        [as_of] * len(shipments),
        [_STATUSES[status] for status in states.status.tolist()],
        [_PHASES[phase] for phase in states.phase.tolist()],
        states.is_open.astype(np.int64).tolist(),
        [_CODES[code] for code in states.last_code.tolist()],
        states.place.texts().tolist(),
        [_CODES[code] for code in states.place_code.tolist()],
        *(
            [None if time == _NAT else time for time in column.view(np.int64).tolist()]
            for column in times
        ),
        states.scan_count.tolist(),
        states.exception_count.tolist(),
    )
    return list(map(StoredState._make, zip(*columns, strict=True)))


def raw_events(shipments: Sequence[StoredShipment], events: Iterable[StoredEvent]) -> RawEvents:
    """The scans of shipments as columns for the journey; an event of a subject that none of them has is left out."""
    row_of = {
        event_owner: row
        for row, shipment in enumerate(shipments)
        for event_owner in shipment.event_owners
    }
    owned = [event for event in events if event.event_owner in row_of]
    return RawEvents(
        [row_of[event.event_owner] for event in owned],
        [event.event_code for event in owned],
        [event.occurred_at for event in owned],
        [event.received_at for event in owned],
        [event.raw_code for event in owned],
        [event.place for event in owned],
    )


def _payload(state: StoredState, previous: str | None) -> str:
    return json.dumps({"status": state.status, "previous_status": previous, "phase": state.phase})
