"""Histories and views of recorded shipments as of a moment."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from eta.calendars.local_time import from_microseconds, microseconds
from eta.delays import DelayPolicy
from eta.domain.registration import Registration
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.journey.timeline_builders import counted_rows
from eta.model.bundle import Predictor
from eta.service.scoring.assessment import Assessment, AssessmentOptions
from eta.service.scoring.score_shipments import score_shipments
from eta.service.tracking.shipment_states import (
    compute_states,
    owned_events,
    raw_events,
    with_correction,
)
from eta.store.records import (
    StoredEvent,
    StoredFlag,
    StoredForecast,
    StoredShipment,
    StoredState,
    StoredVersion,
)
from eta.store.session import Session


@dataclass(frozen=True)
class ShipmentHistory:
    """Everything recorded about a shipment by a moment."""

    stored: StoredShipment
    registration: Registration
    state: StoredState
    #: Those that count at the moment, each once, in the order in which they occurred.
    events: Sequence[StoredEvent]
    #: All that were received, in no order.
    received_events: Sequence[StoredEvent]
    versions: Sequence[StoredVersion]
    forecasts: Sequence[StoredForecast]
    flags: Sequence[StoredFlag]

    def to_records(self) -> tuple[Shipment, list[TrackingEvent]]:
        """Returns the shipment and its events, for the model."""
        shipment_id = self.stored.shipment_id
        shipment = replace(self.registration.shipment, shipment_id=shipment_id)
        events = [
            TrackingEvent(
                shipment_id=shipment_id,
                event_code=EventCode(event.event_code),
                occurred_at=from_microseconds(event.occurred_at),
                received_at=from_microseconds(event.received_at),
                is_received_at_assumed=bool(event.is_received_at_assumed),
                raw_code=event.raw_code,
                place=event.place,
                correction_number=event.correction_number,
            )
            for event in self.received_events
        ]
        return shipment, events


#: Shipments that are read at once if some of them may not belong on a page, and how often at most.
_READ_SIZE, _MAX_READS = 100, 10


@dataclass(frozen=True)
class PageQuery:
    """A page of a tenant's shipments, in the order of their ids."""

    tenant: str
    #: The page begins after this id; empty: with the first one.
    after: str
    limit: int
    status: str | None = None
    #: Whether the page is of an earlier moment, when statuses were others than the recorded ones.
    is_past: bool = False


@dataclass(frozen=True)
class ShipmentView:
    """A shipment's history and its assessment."""

    history: ShipmentHistory
    assessment: Assessment
    #: Hours since the last scan occurred, None before the first.
    last_scan_age_hours: float | None
    #: When nearly all parcels of its stage have been scanned again; None if no scan is expected.
    expected_next_scan_by: datetime | None


def shipment_histories(
    session: Session, tenant: str, shipments: Sequence[StoredShipment], as_of: datetime
) -> list[ShipmentHistory]:
    """Returns the histories of the shipments that were registered by a moment."""
    instant = microseconds(as_of)
    shipment_ids = [shipment.shipment_id for shipment in shipments]
    versions = _until(session.versions(tenant, shipment_ids), "recorded_at", instant)
    as_recorded = _as_recorded(shipments, versions)
    owners = [owner for shipment in as_recorded for owner in shipment.event_owners]
    events = [event for event in session.events(tenant, owners) if event.received_at <= instant]
    forecasts = _until(session.forecasts(tenant, shipment_ids), "as_of", instant)
    flags = _flags_until(session.flags(tenant, shipment_ids), instant)
    states = compute_states(as_recorded, events, instant)
    histories: list[ShipmentHistory] = []
    received, counted = _by_shipment(as_recorded, events, instant)
    for shipment, state in zip(as_recorded, states, strict=True):
        shipment_id, external_id = shipment.shipment_id, shipment.external_id
        attributes = json.loads(shipment.attributes)
        history = ShipmentHistory(
            stored=shipment,
            registration=Registration.from_attributes(attributes, shipment_id, external_id),
            state=state,
            events=counted[shipment_id],
            received_events=received[shipment_id],
            versions=versions[shipment_id],
            forecasts=forecasts[shipment_id],
            flags=flags[shipment_id],
        )
        histories.append(history)
    return histories


def page_of_histories(
    session: Session, query: PageQuery, as_of: datetime
) -> tuple[list[ShipmentHistory], str | None]:
    """Returns a page, and the id after which the next one begins, None after the last one.

    Shipments that were registered later, or had another status then, are passed over. The page is
    full unless it is the last one, or 1,000 shipments were examined for it.
    """
    found = list[ShipmentHistory]()
    end: str | None = query.after
    for _ in range(_MAX_READS):
        if end is None or len(found) >= query.limit:
            break
        histories, end = _examine(session, query, end, as_of)
        found += histories
    page = found[: query.limit]
    return page, page[-1].stored.shipment_id if len(found) > len(page) else end


def _examine(
    session: Session, query: PageQuery, after: str, as_of: datetime
) -> tuple[list[ShipmentHistory], str | None]:
    """Returns those of the next shipments that belong on a page, and the last id if more follow."""
    recorded_status = None if query.is_past else query.status
    size = _READ_SIZE if query.is_past else query.limit
    rows = session.page(query.tenant, after, size, status=recorded_status)
    histories = shipment_histories(session, query.tenant, rows, as_of)
    if query.is_past and query.status:
        histories = [each for each in histories if each.state.status == query.status]
    return histories, rows[-1].shipment_id if len(rows) == size else None


def _until(rows: Iterable[Any], time: str, instant: int) -> defaultdict[str, list[Any]]:
    """Groups the rows by shipment whose column ``time`` is not after a moment."""
    return by_shipment(row for row in rows if getattr(row, time) <= instant)


def _flags_until(flags: Iterable[StoredFlag], instant: int) -> defaultdict[str, list[StoredFlag]]:
    """Groups flags by shipment as they were at a moment; one that ended later is still raised."""
    as_known = defaultdict[str, list[StoredFlag]](list)
    for shipment_id, raised in _until(flags, "raised_at", instant).items():
        for flag in raised:
            is_ended = flag.ended_at is not None and flag.ended_at <= instant
            as_known[shipment_id].append(flag if is_ended else flag._replace(ended_at=None))
    return as_known


def _as_recorded(
    shipments: Iterable[StoredShipment], versions: Mapping[str, Sequence[StoredVersion]]
) -> list[StoredShipment]:
    """Returns the shipments that have a version, as they are in the last one."""
    recorded: list[StoredShipment] = []
    for shipment in shipments:
        if shipment.shipment_id in versions:
            last = versions[shipment.shipment_id][-1]
            recorded.append(
                shipment._replace(number_use_id=last.number_use_id, attributes=last.attributes)
            )
    return recorded


def view_shipments(
    histories: Sequence[ShipmentHistory],
    served: Predictor | None,
    as_of: datetime,
    *,
    policy: DelayPolicy,
    options: AssessmentOptions,
) -> list[ShipmentView]:
    """Returns a view of each shipment, in order, with its assessment by ``score_shipments``."""
    shipments: list[Shipment] = []
    events: list[TrackingEvent] = []
    for history in histories:
        shipment, shipment_events = history.to_records()
        shipments.append(shipment)
        events += shipment_events
    assessments = score_shipments(shipments, events, served, as_of, policy=policy, options=options)
    views: list[ShipmentView] = []
    for history, assessment in zip(histories, assessments, strict=True):
        age_hours, next_scan_by = _silence(history.state, served, as_of)
        views.append(ShipmentView(history, assessment, age_hours, next_scan_by))
    return views


def _by_shipment(
    shipments: Sequence[StoredShipment], events: Iterable[StoredEvent], instant: int
) -> tuple[Mapping[str, list[StoredEvent]], Mapping[str, list[StoredEvent]]]:
    """Returns the events of each shipment, and those that count at a moment, in order.

    The same event may have been received for the shipment and for its tracking number, and one
    scan may have been read in several ways.
    """
    owned = owned_events(shipments, events)
    columns = raw_events(shipments, owned)
    ids = [shipments[row].shipment_id for row in columns.owner]
    received = defaultdict[str, list[StoredEvent]](list)
    counted = defaultdict[str, list[StoredEvent]](list)
    for shipment_id, event in zip(ids, owned, strict=True):
        received[shipment_id].append(event)
    for row in counted_rows(columns, instant):
        counted[ids[row]].append(with_correction(owned[row], received[ids[row]]))
    return received, counted


def by_shipment(rows: Iterable[Any]) -> defaultdict[str, list[Any]]:
    """Groups rows by their shipment's id."""
    groups = defaultdict[str, list[Any]](list)
    for row in rows:
        groups[row.shipment_id].append(row)
    return groups


def _silence(
    state: StoredState, served: Predictor | None, as_of: datetime
) -> tuple[float | None, datetime | None]:
    """Returns the hours since the last scan, and when the next one is expected at the latest."""
    if state.last_scan_at is None:
        return None, None
    last = from_microseconds(state.last_scan_at)
    # A carrier's clock may be fast.
    age = max((as_of - last) / timedelta(hours=1), 0.0)
    if served is None or not state.is_open:
        return age, None
    upper = served.stage_durations.silence_of(state.last_code).upper_hours
    if upper == float("inf"):
        return age, None
    return age, last + timedelta(hours=upper)
