"""Where recorded shipments are and when they will come, as known at a moment; what was answered is kept."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
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
    """All that was known of a shipment at a moment."""

    stored: StoredShipment
    registration: Registration
    state: StoredState
    #: In the order in which they happened.
    events: Sequence[StoredEvent]
    versions: Sequence[StoredVersion]
    forecasts: Sequence[StoredForecast]
    flags: Sequence[StoredFlag]

    def to_records(self) -> tuple[Shipment, list[TrackingEvent]]:
        """The shipment and its scans, for the model."""
        shipment_id = self.stored.shipment_id
        shipment = replace(self.registration.shipment, shipment_id=shipment_id)
        return shipment, [to_event(event, shipment_id) for event in self.events]


@dataclass(frozen=True)
class ShipmentView:
    """What is known of a shipment, and what is said of it."""

    history: ShipmentHistory
    assessment: Assessment
    #: Hours since the last scan happened, None before the first.
    last_scan_age_hours: float | None
    #: When nearly all parcels of its stage have been scanned again; None where no scan is waited
    #: for.
    expected_next_scan_by: datetime | None


def shipment_histories(
    session: Session, tenant: str, shipments: Sequence[StoredShipment], as_of: datetime
) -> list[ShipmentHistory]:
    """What was known of shipments at a moment; those that nobody had registered by then are left out."""
    instant, ids = microseconds(as_of), [shipment.shipment_id for shipment in shipments]
    versions = by_shipment(
        version for version in session.versions(tenant, ids) if version.recorded_at <= instant
    )
    as_recorded = [
        _as_of_version(shipment, versions[shipment.shipment_id][-1])
        for shipment in shipments
        if versions[shipment.shipment_id]
    ]
    events = [
        event
        for event in session.events(
            tenant,
            (event_owner for shipment in as_recorded for event_owner in shipment.event_owners),
        )
        if event.received_at <= instant
    ]
    events_by_owner = defaultdict[str, list[StoredEvent]](list)
    for event in events:
        events_by_owner[event.event_owner].append(event)
    forecasts = by_shipment(
        forecast for forecast in session.forecasts(tenant, ids) if forecast.as_of <= instant
    )
    flags = by_shipment(flag for flag in session.flags(tenant, ids) if flag.raised_at <= instant)
    return [
        ShipmentHistory(
            shipment,
            Registration.from_attributes(
                json.loads(shipment.attributes), shipment.shipment_id, shipment.external_id
            ),
            state,
            _deduplicated(
                event
                for event_owner in shipment.event_owners
                for event in events_by_owner[event_owner]
            ),
            versions[shipment.shipment_id],
            forecasts[shipment.shipment_id],
            flags[shipment.shipment_id],
        )
        for shipment, state in zip(
            as_recorded, compute_states(as_recorded, events, instant), strict=True
        )
    ]


def view_shipments(
    histories: Sequence[ShipmentHistory],
    served: Predictor | None,
    as_of: datetime,
    *,
    policy: DelayPolicy,
    options: AssessmentOptions,
) -> list[ShipmentView]:
    """One telling a shipment, in order: the same answers as from ``score_shipments``, which makes them."""
    records = [history.to_records() for history in histories]
    shipments, events = (
        [shipment for shipment, _ in records],
        [event for _, scans in records for event in scans],
    )
    assessments = score_shipments(shipments, events, served, as_of, policy=policy, options=options)
    return [
        ShipmentView(history, assessment, *_silence(history.state, served, as_of))
        for history, assessment in zip(histories, assessments, strict=True)
    ]


def to_event(event: StoredEvent, shipment_id: str) -> TrackingEvent:
    """A scan in the words of the domain."""
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


def _deduplicated(events: Iterable[StoredEvent]) -> list[StoredEvent]:
    """Scans in order; one told of the shipment and again of its number is one, known from when it was first told."""
    first: dict[tuple[str, int, str | None], StoredEvent] = {}
    for event in sorted(events, key=lambda scan: scan.received_at):
        first.setdefault(
            (event.raw_code or event.event_code, event.occurred_at, event.place or None), event
        )
    return sorted(first.values(), key=_in_order)


def _in_order(event: StoredEvent) -> tuple[int, int, str]:
    return event.occurred_at, _POSITION[event.event_code], event.event_id


_POSITION = {code.value: position for position, code in enumerate(EventCode)}


def by_shipment(rows: Iterable[Any]) -> defaultdict[str, list[Any]]:
    """Rows grouped by their shipment's id."""
    found = defaultdict[str, list[Any]](list)
    for row in rows:
        found[row.shipment_id].append(row)
    return found


def _silence(
    state: StoredState, served: Predictor | None, as_of: datetime
) -> tuple[float | None, datetime | None]:
    if state.last_scan_at is None:
        return None, None
    last = from_microseconds(state.last_scan_at)
    # A carrier's clock may be fast.
    age = max((as_of - last) / timedelta(hours=1), 0.0)
    if served is None or not state.is_open:
        return age, None
    upper = served.stage_durations.silence_of(state.last_code).upper_hours
    return age, last + timedelta(hours=upper) if upper < float("inf") else None
