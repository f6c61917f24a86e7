"""The state of each shipment, made anew from all that was told of it whenever something is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from eta.journey.state import PHASES, STATUSES, Moments, fold
from eta.journey.timeline import EVENT_CODES, Scans, ScanTold
from eta.store.records import StoredEvent, StoredShipment, StoredState
from eta.store.session import Session

_NAT = np.iinfo(np.int64).min
_CODES = (*(code.value for code in EVENT_CODES), None)
UPDATED = "shipment.updated"


def refold(session: Session, tenant: str, shipments: Sequence[StoredShipment], events: Iterable[StoredEvent]) -> None:
    """Writes the states of shipments, of which ``events`` are all there are, and tells the outbox of each status that changed."""
    if not shipments:
        return
    states = list(states_of(shipments, events, session.stamp))
    before = session.statuses(tenant, (each.shipment_id for each in shipments))
    session.put_states(tenant, states)
    changed = [state for state in states if before.get(state.shipment_id) != state.status]
    session.add_outbox(tenant, ((UPDATED, state.shipment_id, _payload(state, before.get(state.shipment_id))) for state in changed))


def states_of(shipments: Sequence[StoredShipment], events: Iterable[StoredEvent], as_of: int) -> Iterator[StoredState]:
    """The states (N,) of shipments at a moment, in microseconds; the fold is that of training and replay."""
    scans = Scans.of(scans_told(shipments, events), len(shipments))
    states = fold(scans, Moments(np.arange(len(shipments)), np.full(len(shipments), np.datetime64(as_of, "us"))))
    times = (states.ordered_at, states.approved_at, states.handed_over_at, states.last_scan_at, states.arrived_at, states.given_up_at)
    columns = (
        states.status.tolist(),
        states.phase.tolist(),
        states.is_open.tolist(),
        states.last_code.tolist(),
        states.place.texts().tolist(),
        states.place_code.tolist(),
        *(column.view(np.int64).tolist() for column in times),
        states.scan_count.tolist(),
        states.exception_count.tolist(),
    )
    for shipment, status, phase, is_open, last_code, place, place_code, *rest in zip(shipments, *columns, strict=True):
        told = [None if time == _NAT else time for time in rest[:6]]
        known = (STATUSES[status].value, PHASES[phase].value, int(is_open), _CODES[last_code], place, _CODES[place_code])
        yield StoredState._make((shipment.shipment_id, as_of, *known, *told, *rest[6:]))


def scans_told(shipments: Sequence[StoredShipment], events: Iterable[StoredEvent]) -> list[ScanTold]:
    """The scans of shipments as rows for the journey's columns; an event of a subject that none of them has is left out."""
    row_of = {subject: row for row, shipment in enumerate(shipments) for subject in shipment.subjects}
    return [
        ScanTold(row_of[event.subject], event.event_code, event.occurred_at, event.received_at, event.raw_code, event.place)
        for event in events
        if event.subject in row_of
    ]


def _payload(state: StoredState, before: str | None) -> str:
    return json.dumps({"status": state.status, "previous_status": before, "phase": state.phase})
