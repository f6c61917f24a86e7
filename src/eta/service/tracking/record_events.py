"""Records events once each, with the new states and messages to subscribers, in one transaction."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b

from eta.calendars.local_time import microseconds, offset_minutes, wall_to_instant
from eta.calendars.zones import has_one_zone, zone_of
from eta.domain.errors import EtaError, NotFound
from eta.domain.registration import carrier_number
from eta.domain.vocabulary import HANDOVER_CODES, PHASE_OF, EventCode, Phase, TimezoneSource
from eta.service.tracking.shipment_states import update_states
from eta.service.tracking.tracking_numbers import TrackingNumberLog, previous_use_id
from eta.store.records import (
    StoredEvent,
    StoredQuarantinedEvent,
    StoredShipment,
    TrackingNumberUse,
)
from eta.store.session import Session

_HOUR = 3_600_000_000
#: An event is implausible if it occurred longer than this before it was received, in microseconds.
MAX_EVENT_AGE = 400 * 24 * _HOUR
#: An event is implausible if it occurred longer than this after it was received, in microseconds.
MAX_EVENT_LEAD = 48 * _HOUR

#: Largest number of events of one parcel.
MAX_EVENTS_PER_PARCEL = 1_000

#: The phases whose events occur at the origin.
_EARLY_PHASES = (Phase.ORDER_HANDLING, Phase.FIRST_MILE)


class RecordingStatus(StrEnum):
    """The result of recording an event."""

    STORED = "stored"
    #: It is recorded already; nothing changed.
    DUPLICATE = "duplicate"
    #: It is implausible; no state uses it.
    QUARANTINED = "quarantined"


@dataclass(frozen=True, kw_only=True)
class EventReport:
    """An event of a shipment (by our id or the shop's id) or of a carrier's tracking number.

    ``occurred_at`` is aware. ``occurred_local`` is a wall-clock time; its zone is the declared one,
    else that of the place, else that of the end of the route where such events occur.
    """

    event_code: EventCode
    shipment_id: str | None = None
    external_id: str | None = None
    carrier: str | None = None
    tracking_number: str | None = None
    occurred_at: datetime | None = None
    occurred_local: datetime | None = None
    timezone: str | None = None
    country: str | None = None
    region: str | None = None
    raw_code: str | None = None
    place: str | None = None
    #: When the source of an imported history received it; None: it is received now.
    received_at: datetime | None = None
    is_received_at_assumed: bool = False


@dataclass(frozen=True)
class RecordEvents:
    """Events of one tenant, reported together."""

    tenant: str
    reports: Sequence[EventReport]


@dataclass(frozen=True)
class EventOutcome:
    """The result of recording one event."""

    status: RecordingStatus
    event_id: str
    #: None while no shipment has the number.
    shipment_id: str | None
    reason: str | None = None


def record_events(
    session: Session, batches: Sequence[RecordEvents]
) -> list[list[EventOutcome | EtaError]]:
    """Records batches together; returns one outcome a report, in order, for each batch.

    The outcome is ``NotFound`` if the shipment does not exist.
    """
    positions = defaultdict[str, list[int]](list)
    for position, batch in enumerate(batches):
        positions[batch.tenant].append(position)
    outcomes: list[list[EventOutcome | EtaError]] = [[] for _ in batches]
    for tenant, positions_of_tenant in positions.items():
        reports = [
            report for position in positions_of_tenant for report in batches[position].reports
        ]
        tenant_batch = _RecordingBatch(session, tenant, reports)
        recorded = iter(tenant_batch.record_all())
        tenant_batch.write()
        for position in positions_of_tenant:
            outcomes[position] = [next(recorded) for _ in batches[position].reports]
    return outcomes


class _RecordingBatch:
    """Records the events of one tenant; they are written at the end."""

    def __init__(self, session: Session, tenant: str, reports: Sequence[EventReport]) -> None:
        self._session = session
        self._tenant = tenant
        self._reports = reports
        self._numbers = [
            carrier_number(report.carrier, report.tracking_number) for report in reports
        ]
        holders = session.number_uses(tenant, _non_empty(self._numbers))
        self._previous_ids = {
            use.carrier_number: previous_use_id(use)
            for use in holders.values()
            if use.use_number > 1
        }
        self._load_shipments(holders)
        self._number_log = TrackingNumberLog(session, tenant, holders)
        # Every owner under which one of the events may be recorded already.
        owners = {owner for row in self._shipments.values() for owner in row.event_owners}
        owners.update(use.number_use_id for use in holders.values())
        owners.update(self._previous_ids.values())
        self._events = session.events(tenant, owners)
        self._index = _EventIndex(self._shipments.values(), self._events)
        self._new: list[StoredEvent] = []
        self._quarantined: list[StoredQuarantinedEvent] = []

    def _load_shipments(self, holders: Mapping[str, TrackingNumberUse]) -> None:
        """Loads the shipments that the reports name, and those that have or had the numbers."""
        shipment_ids = [
            *_non_empty(report.shipment_id for report in self._reports),
            *_non_empty(use.shipment_id for use in holders.values()),
        ]
        external_ids = _non_empty(report.external_id for report in self._reports)
        by_id = self._session.shipments(self._tenant, "shipment_id", shipment_ids)
        by_external_id = self._session.shipments(self._tenant, "external_id", external_ids)
        by_number_use = self._session.shipments(
            self._tenant, "number_use_id", self._previous_ids.values()
        )
        self._by_id = {row.shipment_id: row for row in by_id}
        self._by_external_id = {row.external_id: row for row in by_external_id}
        self._by_number_use = {row.number_use_id: row for row in by_number_use}
        self._shipments = {
            row.shipment_id: row for row in (*by_id, *by_external_id, *by_number_use)
        }

    def record_all(self) -> list[EventOutcome | EtaError]:
        """Returns one outcome a report, in order."""
        outcomes: list[EventOutcome | EtaError] = []
        for report, number in zip(self._reports, self._numbers, strict=True):
            # The shipment that the report names by its id or the shop's id.
            shipment = None
            if report.shipment_id:
                shipment = self._by_id.get(report.shipment_id)
            elif report.external_id:
                shipment = self._by_external_id.get(report.external_id)
            if shipment is not None:
                event = _event(report, shipment.shipment_id, shipment, self._session)
            elif number is not None:
                shipment, event = self._event_of_number(report, number)
            else:
                outcomes.append(NotFound("there is no such shipment; register it first"))
                continue
            outcomes.append(self._classify(event, shipment))
        return outcomes

    def _event_of_number(
        self, report: EventReport, number: str
    ) -> tuple[StoredShipment | None, StoredEvent]:
        """Returns the event of a tracking number, and the shipment that has the number."""
        holder = self._number_log.holder(number)
        shipment = self._by_id.get(holder.shipment_id or "")
        event = _event(report, holder.number_use_id, shipment, self._session)
        if number in self._previous_ids:
            earlier_event = event._replace(event_owner=self._previous_ids[number])
            if self._index.find_duplicate(earlier_event):
                # An event of the parcel that had the number earlier was received again.
                return self._by_number_use.get(earlier_event.event_owner), earlier_event
        if self._number_log.is_reused(holder) and self._index.find_duplicate(event) is None:
            next_use = self._number_log.next_use(number)
            return None, event._replace(event_owner=next_use.number_use_id)
        return shipment, event

    def _classify(self, event: StoredEvent, shipment: StoredShipment | None) -> EventOutcome:
        """Puts an event among the new or the quarantined ones, unless it is a duplicate."""
        shipment_id = shipment.shipment_id if shipment else None
        duplicate_id = self._index.find_duplicate(event)
        if duplicate_id:
            return EventOutcome(RecordingStatus.DUPLICATE, duplicate_id, shipment_id)
        count = self._index.counts[event.event_owner]
        reason = _implausible_reason(event, count, self._session.now)
        if reason:
            quarantined = StoredQuarantinedEvent(
                event_id=event.event_id,
                event_owner=event.event_owner,
                reason=reason,
                content=json.dumps(event._asdict()),
                received_at=self._session.commit_time,
            )
            self._quarantined.append(quarantined)
            return EventOutcome(RecordingStatus.QUARANTINED, event.event_id, shipment_id, reason)
        self._index.add(event)
        self._new.append(event)
        return EventOutcome(RecordingStatus.STORED, event.event_id, shipment_id)

    def write(self) -> None:
        """Writes the events, and the states of the shipments that have new ones."""
        self._number_log.write()
        self._session.add_events(self._tenant, self._new)
        self._session.add_quarantined(self._tenant, self._quarantined)
        changed_owners = {event.event_owner for event in self._new}
        changed = [
            row for row in self._shipments.values() if changed_owners.intersection(row.event_owners)
        ]
        update_states(self._session, self._tenant, changed, [*self._events, *self._new])


class _EventIndex:
    """The recorded events of shipments and of tracking numbers, to find duplicates.

    An event of a shipment and the same event of its tracking number are one event.
    """

    def __init__(self, shipments: Iterable[StoredShipment], events: Iterable[StoredEvent]) -> None:
        self._shipment_ids = {
            event_owner: shipment.shipment_id
            for shipment in shipments
            for event_owner in shipment.event_owners
        }
        self._ids: dict[tuple[str, str], str] = {}
        self._content: dict[tuple[str, str, int, str | None], str] = {}
        #: The number of events of each owner.
        self.counts = Counter[str]()
        for event in events:
            self.add(event)

    def add(self, event: StoredEvent) -> None:
        self._ids[event.event_owner, event.event_id] = event.event_id
        self._content[self._key(event)] = event.event_id
        self.counts[event.event_owner] += 1

    def find_duplicate(self, event: StoredEvent) -> str | None:
        """Returns the id of the same event, if it is recorded."""
        event_id = self._ids.get((event.event_owner, event.event_id))
        return event_id or self._content.get(self._key(event))

    def _key(self, event: StoredEvent) -> tuple[str, str, int, str | None]:
        return (
            self._shipment_ids.get(event.event_owner, event.event_owner),
            event.raw_code or event.event_code,
            event.occurred_at,
            event.place or None,
        )


def _non_empty(texts: Iterable[str | None]) -> list[str]:
    return [text for text in texts if text]


def _event(
    report: EventReport, event_owner: str, shipment: StoredShipment | None, session: Session
) -> StoredEvent:
    moment, source, is_ambiguous = _moment(report, shipment)
    occurred_at = microseconds(moment)
    received_at = session.commit_time
    if report.received_at:
        received_at = min(microseconds(report.received_at), received_at)
    # Returns an id that depends on the content of the event alone.
    # The id of a wall-clock time depends on the time shown, whatever zone it is read in.
    time_text = report.occurred_local.isoformat() if report.occurred_local else str(occurred_at)
    code = report.raw_code or report.event_code.value
    content = "\x1f".join((event_owner, code, time_text, report.place or ""))
    event_id = f"evt_{blake2b(content.encode(), digest_size=12).hexdigest()}"
    return StoredEvent(
        event_owner=event_owner,
        event_id=event_id,
        event_code=report.event_code.value,
        raw_code=report.raw_code,
        place=report.place,
        occurred_at=occurred_at,
        offset_minutes=offset_minutes(moment),
        timezone_source=source.value,
        is_ambiguous=int(is_ambiguous),
        is_received_at_assumed=int(report.is_received_at_assumed),
        received_at=received_at,
    )


def _moment(
    report: EventReport, shipment: StoredShipment | None
) -> tuple[datetime, TimezoneSource, bool]:
    """Returns when it occurred, the source of its zone, and whether the time is ambiguous."""
    if report.occurred_at:
        return report.occurred_at, TimezoneSource.CARRIER_OFFSET, False
    if report.occurred_local is None:
        raise ValueError("a report needs a time; set occurred_at or occurred_local")
    if report.timezone:
        moment, is_ambiguous = wall_to_instant(report.occurred_local, report.timezone)
        return moment, TimezoneSource.DECLARED, is_ambiguous
    country, region = report.country, report.region
    if not country:
        country, region = None, None
        if shipment is not None:
            # The end of the route where such an event occurs.
            attributes: Mapping[str, Mapping[str, str]] = json.loads(shipment.attributes)
            code = report.event_code
            is_at_origin = code in HANDOVER_CODES or PHASE_OF.get(code) in _EARLY_PHASES
            end = attributes["origin" if is_at_origin else "destination"]
            country, region = end["country"], end.get("region")
    zone, source = zone_of(country, region)
    moment, is_ambiguous = wall_to_instant(report.occurred_local, zone)
    is_guessed = source is TimezoneSource.ASSUMED_UTC or (
        source is TimezoneSource.COUNTRY_DEFAULT and not has_one_zone(country)
    )
    return moment, source, is_ambiguous or is_guessed


def _implausible_reason(event: StoredEvent, count: int, now: int) -> str | None:
    """Returns why an event is implausible, or None.

    ``count`` is the number of events that its owner has; states are folded from all of them.
    ``now`` is the clock's time. The commit time may be later, if the clock was set back.
    """
    received_at = min(event.received_at, now)
    if event.occurred_at > received_at + MAX_EVENT_LEAD:
        return "too_far_in_the_future"
    if event.occurred_at < received_at - MAX_EVENT_AGE:
        return "too_far_in_the_past"
    return "too_many_scans" if count >= MAX_EVENTS_PER_PARCEL else None
