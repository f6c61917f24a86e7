"""The state of each shipment, made anew from all that was told of it whenever something is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np

from eta.journey.state import PHASES, STATUSES, Moments, fold
from eta.journey.timelines import EVENT_CODES, Scans, ScansTold
from eta.store.records import StoredEvent, StoredShipment, StoredState
from eta.store.session import Session

_NAT = np.iinfo(np.int64).min
_STATUSES, _PHASES = (
    tuple(status.value for status in STATUSES),
    tuple(phase.value for phase in PHASES),
)
_CODES = (*(code.value for code in EVENT_CODES), None)
UPDATED = "shipment.updated"


def refold(
    session: Session,
    tenant: str,
    shipments: Sequence[StoredShipment],
    events: Iterable[StoredEvent],
) -> None:
    """Writes the states of shipments, of which ``events`` are all there are, and tells the outbox of each status that changed."""
    if not shipments:
        return
    states = states_of(shipments, events, session.stamp)
    before = session.statuses(tenant, (each.shipment_id for each in shipments))
    session.put_states(tenant, states)
    changed = [state for state in states if before.get(state.shipment_id) != state.status]
    session.add_outbox(
        tenant,
        (
            (UPDATED, state.shipment_id, _payload(state, before.get(state.shipment_id)))
            for state in changed
        ),
    )


def states_of(
    shipments: Sequence[StoredShipment], events: Iterable[StoredEvent], as_of: int
) -> list[StoredState]:
    """The states (N,) of shipments at a moment, in microseconds; the fold is that of training and replay."""
    scans = Scans.of(scans_told(shipments, events), len(shipments))
    states = fold(
        scans,
        Moments(np.arange(len(shipments)), np.full(len(shipments), np.datetime64(as_of, "us"))),
    )
    times = (
        states.ordered_at,
        states.approved_at,
        states.handed_over_at,
        states.last_scan_at,
        states.arrived_at,
        states.given_up_at,
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


def scans_told(shipments: Sequence[StoredShipment], events: Iterable[StoredEvent]) -> ScansTold:
    """The scans of shipments as columns for the journey; an event of a subject that none of them has is left out."""
    row_of = {
        subject: row for row, shipment in enumerate(shipments) for subject in shipment.subjects
    }
    own = [event for event in events if event.subject in row_of]
    return ScansTold(
        [row_of[event.subject] for event in own],
        [event.event_code for event in own],
        [event.occurred_at for event in own],
        [event.received_at for event in own],
        [event.raw_code for event in own],
        [event.place for event in own],
    )


def _payload(state: StoredState, before: str | None) -> str:
    return json.dumps({"status": state.status, "previous_status": before, "phase": state.phase})
