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
from eta.model.bundle import Predictor
from eta.service.scoring.assessment import Assessment, AssessmentOptions
from eta.service.scoring.score_shipments import score_shipments
from eta.service.tracking.shipment_states import compute_states
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
    #: In the order in which they occurred.
    events: Sequence[StoredEvent]
    versions: Sequence[StoredVersion]
    forecasts: Sequence[StoredForecast]
    flags: Sequence[StoredFlag]

    def to_records(self) -> tuple[Shipment, list[TrackingEvent]]:
        """Returns the shipment and its events, for the model."""
        shipment_id = self.stored.shipment_id
        shipment = replace(self.registration.shipment, shipment_id=shipment_id)
        return shipment, [to_event(event, shipment_id) for event in self.events]


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
    as_recorded = [
        _as_of_version(shipment, versions[shipment.shipment_id][-1])
        for shipment in shipments
        if shipment.shipment_id in versions
    ]
    owners = [owner for shipment in as_recorded for owner in shipment.event_owners]
    events = [event for event in session.events(tenant, owners) if event.received_at <= instant]
    events_by_owner = _by_owner(events)
    forecasts = _until(session.forecasts(tenant, shipment_ids), "as_of", instant)
    flags = _until(session.flags(tenant, shipment_ids), "raised_at", instant)
    states = compute_states(as_recorded, events, instant)
    return [
        ShipmentHistory(
            stored=shipment,
            registration=_registration(shipment),
            state=state,
            events=_deduplicated(shipment, events_by_owner),
            versions=versions[shipment.shipment_id],
            forecasts=forecasts[shipment.shipment_id],
            flags=flags[shipment.shipment_id],
        )
        for shipment, state in zip(as_recorded, states, strict=True)
    ]


def _until(rows: Iterable[Any], time: str, instant: int) -> defaultdict[str, list[Any]]:
    """Groups the rows by shipment whose column ``time`` is not after a moment."""
    return by_shipment(row for row in rows if getattr(row, time) <= instant)


def _by_owner(events: Iterable[StoredEvent]) -> defaultdict[str, list[StoredEvent]]:
    groups = defaultdict[str, list[StoredEvent]](list)
    for event in events:
        groups[event.event_owner].append(event)
    return groups


def _registration(shipment: StoredShipment) -> Registration:
    attributes = json.loads(shipment.attributes)
    return Registration.from_attributes(attributes, shipment.shipment_id, shipment.external_id)


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


def to_event(event: StoredEvent, shipment_id: str) -> TrackingEvent:
    """Converts a stored event to an event of the domain."""
    return TrackingEvent(
        shipment_id=shipment_id,
        event_code=EventCode(event.event_code),
        occurred_at=from_microseconds(event.occurred_at),
        received_at=from_microseconds(event.received_at),
        is_received_at_assumed=bool(event.is_received_at_assumed),
        raw_code=event.raw_code,
        place=event.place,
    )


def _as_of_version(shipment: StoredShipment, version: StoredVersion) -> StoredShipment:
    return shipment._replace(number_use_id=version.number_use_id, attributes=version.attributes)


def _deduplicated(
    shipment: StoredShipment, events_by_owner: Mapping[str, Sequence[StoredEvent]]
) -> list[StoredEvent]:
    """Returns events of a shipment in order, without repetitions.

    The same event may have been received for the shipment and for its tracking number; the one that
    was received first stays.
    """
    events = [event for owner in shipment.event_owners for event in events_by_owner[owner]]
    first: dict[tuple[str, int, str | None], StoredEvent] = {}
    for event in sorted(events, key=lambda event: event.received_at):
        content = (event.raw_code or event.event_code, event.occurred_at, event.place or None)
        first.setdefault(content, event)
    return sorted(first.values(), key=_sort_key)


def _sort_key(event: StoredEvent) -> tuple[int, int, str]:
    return event.occurred_at, _POSITION[event.event_code], event.event_id


_POSITION = {code.value: position for position, code in enumerate(EventCode)}


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
