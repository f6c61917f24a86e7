"""Records scans: each once, for good, with the state they come to and what subscribers are to hear, in one transaction."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import cast

from eta.calendars.local_time import microseconds, offset_minutes, wall_to_instant
from eta.calendars.zones import has_one_zone, zone_of
from eta.domain.errors import EtaError, NotFound
from eta.domain.registration import carrier_number
from eta.domain.vocabulary import HANDOVER_CODES, PHASE_OF, EventCode, Phase, TimezoneSource
from eta.service.tracking.shipment_states import update_states
from eta.service.tracking.tracking_numbers import TrackingNumberLog, previous_use_id
from eta.store.records import StoredEvent, StoredQuarantinedEvent, StoredShipment
from eta.store.session import Session

#: A scan that happened longer ago than this when it was told, or so much later, cannot be right.
_HOUR = 3_600_000_000
MAX_EVENT_AGE, MAX_EVENT_LEAD = 400 * 24 * _HOUR, 48 * _HOUR

#: Scans that one parcel may have.
MAX_EVENTS_PER_PARCEL = 1_000


class RecordingStatus(StrEnum):
    """What became of a scan that was told."""

    STORED = "stored"
    #: It was told before; nothing changed.
    DUPLICATE = "duplicate"
    #: It cannot be right, and is kept apart.
    QUARANTINED = "quarantined"


@dataclass(frozen=True, kw_only=True)
class EventReport:
    """A scan as it is told: of a shipment by our id or the shop's, or of a carrier's number.

    ``occurred_at`` is aware; ``occurred_local`` is a wall-clock time whose zone is the one
    declared, else that of the place, else that of the end of the route where such scans are made.
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
    #: When it had become known to whoever kept the history; None: it becomes known by this.
    received_at: datetime | None = None
    is_received_at_assumed: bool = False


@dataclass(frozen=True)
class RecordEvents:
    """Scans of one tenant, told together."""

    tenant: str
    reports: Sequence[EventReport]


@dataclass(frozen=True)
class EventOutcome:
    """What became of one scan."""

    status: RecordingStatus
    event_id: str
    #: None as long as no shipment bears the number.
    shipment_id: str | None
    reason: str | None = None


def record_events(
    session: Session, batches: Sequence[RecordEvents]
) -> list[list[EventOutcome | EtaError]]:
    """Records batches together: for each one entry a report, in order; ``NotFound`` where there is no such shipment."""
    outcomes: list[list[EventOutcome | EtaError]] = [[] for _ in batches]
    by_tenant = defaultdict[str, list[int]](list)
    for number, batch in enumerate(batches):
        by_tenant[batch.tenant].append(number)
    for tenant, numbers in by_tenant.items():
        recorded = iter(
            _record(
                session,
                tenant,
                [report for number in numbers for report in batches[number].reports],
            )
        )
        for number in numbers:
            outcomes[number] = [next(recorded) for _ in batches[number].reports]
    return outcomes


def _record(
    session: Session, tenant: str, reports: Sequence[EventReport]
) -> list[EventOutcome | EtaError]:
    numbers = [carrier_number(report.carrier, report.tracking_number) for report in reports]
    holders = session.number_uses(tenant, _non_empty(numbers))
    ids = [
        *_non_empty(report.shipment_id for report in reports),
        *_non_empty(row.shipment_id for row in holders.values()),
    ]
    by_id = {row.shipment_id: row for row in session.shipments(tenant, "shipment_id", ids)}
    by_external_id = {
        row.external_id: row
        for row in session.shipments(
            tenant, "external_id", _non_empty(report.external_id for report in reports)
        )
    }
    previous_ids = {
        row.carrier_number: previous_use_id(row) for row in holders.values() if row.use_number > 1
    }
    by_number_use = {
        row.number_use_id: row
        for row in session.shipments(tenant, "number_use_id", previous_ids.values())
    }
    shipments = {
        row.shipment_id: row
        for row in (*by_id.values(), *by_external_id.values(), *by_number_use.values())
    }
    event_owners = {
        *(event_owner for row in shipments.values() for event_owner in row.event_owners),
        *(row.number_use_id for row in holders.values()),
        *previous_ids.values(),
    }
    events = session.events(tenant, event_owners)
    index, number_log = (
        _EventIndex(shipments.values(), events),
        TrackingNumberLog(session, tenant, holders),
    )
    new_events, outcomes, quarantined = (
        list[StoredEvent](),
        list[EventOutcome | EtaError](),
        list[StoredQuarantinedEvent](),
    )
    for report, number in zip(reports, numbers, strict=True):
        shipment = (
            by_id.get(report.shipment_id)
            if report.shipment_id
            else by_external_id.get(report.external_id)
            if report.external_id
            else None
        )
        if shipment is None and number is None:
            outcomes.append(NotFound("there is no such shipment; register it first"))
            continue
        if number and shipment is None:
            holder = number_log.holder(number)
            shipment = by_id.get(holder.shipment_id or "")
            event = _event(report, holder.number_use_id, shipment, session)
            earlier_event = (
                event._replace(event_owner=previous_ids[number]) if number in previous_ids else None
            )
            if earlier_event and index.find_duplicate(earlier_event):
                # What was told of the parcel that bore the number earlier is told again.
                shipment, event = by_number_use.get(earlier_event.event_owner), earlier_event
            elif number_log.is_reused(holder) and index.find_duplicate(event) is None:
                shipment, event = (
                    None,
                    event._replace(event_owner=number_log.next_use(number).number_use_id),
                )
        else:
            event = _event(report, cast("StoredShipment", shipment).shipment_id, shipment, session)
        shipment_id, duplicate_id = (
            shipment.shipment_id if shipment else None,
            index.find_duplicate(event),
        )
        reason = (
            None
            if duplicate_id
            else _implausible_reason(event, session.now) or index.over_limit(event)
        )
        status = (
            RecordingStatus.DUPLICATE
            if duplicate_id
            else RecordingStatus.QUARANTINED
            if reason
            else RecordingStatus.STORED
        )
        if status is RecordingStatus.STORED:
            index.add(event)
            new_events.append(event)
        elif status is RecordingStatus.QUARANTINED:
            quarantined.append(
                StoredQuarantinedEvent(
                    event.event_id,
                    event.event_owner,
                    str(reason),
                    json.dumps(event._asdict()),
                    session.commit_time,
                )
            )
        outcomes.append(EventOutcome(status, duplicate_id or event.event_id, shipment_id, reason))
    number_log.write()
    session.add_events(tenant, new_events)
    session.add_quarantined(tenant, quarantined)
    changed = {event.event_owner for event in new_events}
    update_states(
        session,
        tenant,
        [row for row in shipments.values() if changed.intersection(row.event_owners)],
        [*events, *new_events],
    )
    return outcomes


class _EventIndex:
    """What was told before of shipments, and of numbers that nobody has registered: a scan told of either is the same scan."""

    def __init__(self, shipments: Iterable[StoredShipment], events: Iterable[StoredEvent]) -> None:
        self._shipment_of = {
            event_owner: shipment.shipment_id
            for shipment in shipments
            for event_owner in shipment.event_owners
        }
        self._ids = dict[tuple[str, str], str]()
        self._content = dict[tuple[str, str, int, str | None], str]()
        self._counts = Counter[str]()
        for event in events:
            self.add(event)

    def add(self, event: StoredEvent) -> None:
        self._ids[event.event_owner, event.event_id] = event.event_id
        self._content[self._key(event)] = event.event_id
        self._counts[event.event_owner] += 1

    def find_duplicate(self, event: StoredEvent) -> str | None:
        """The id of the same scan, if it was told before."""
        return self._ids.get((event.event_owner, event.event_id)) or self._content.get(
            self._key(event)
        )

    def over_limit(self, event: StoredEvent) -> str | None:
        """Why no more is taken of one subject: each scan is folded with all others of its parcel."""
        return (
            "too_many_scans" if self._counts[event.event_owner] >= MAX_EVENTS_PER_PARCEL else None
        )

    def _key(self, event: StoredEvent) -> tuple[str, str, int, str | None]:
        return (
            self._shipment_of.get(event.event_owner, event.event_owner),
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
    occurred = microseconds(moment)
    # A wall-clock time is known again by what the clock showed, whatever zone it is read in.
    time_text = report.occurred_local.isoformat() if report.occurred_local else str(occurred)
    content = "\x1f".join(
        (event_owner, report.raw_code or report.event_code.value, time_text, report.place or "")
    )
    return StoredEvent(
        event_owner,
        f"evt_{blake2b(content.encode(), digest_size=12).hexdigest()}",
        report.event_code.value,
        report.raw_code,
        report.place,
        occurred,
        offset_minutes(moment),
        source.value,
        int(is_ambiguous),
        int(report.is_received_at_assumed),
        min(microseconds(report.received_at), session.commit_time)
        if report.received_at
        else session.commit_time,
    )


def _moment(
    report: EventReport, shipment: StoredShipment | None
) -> tuple[datetime, TimezoneSource, bool]:
    """When it happened, where its zone comes from, and whether that leaves a doubt."""
    if report.occurred_at:
        return report.occurred_at, TimezoneSource.CARRIER_OFFSET, False
    if report.occurred_local is None:
        raise ValueError("a report has a time")
    if report.timezone:
        moment, is_ambiguous = wall_to_instant(report.occurred_local, report.timezone)
        return moment, TimezoneSource.DECLARED, is_ambiguous
    country, region = (
        (report.country, report.region)
        if report.country
        else _route_end(report.event_code, shipment)
    )
    zone, source = zone_of(country, region)
    moment, is_ambiguous = wall_to_instant(report.occurred_local, zone)
    is_guessed = source is TimezoneSource.ASSUMED_UTC or (
        source is TimezoneSource.COUNTRY_DEFAULT and not has_one_zone(country)
    )
    return moment, source, is_ambiguous or is_guessed


def _route_end(code: EventCode, shipment: StoredShipment | None) -> tuple[str | None, str | None]:
    """Country and region of the end of the route where such a scan is made."""
    if shipment is None:
        return None, None
    attributes: Mapping[str, Mapping[str, str]] = json.loads(shipment.attributes)
    is_at_origin = code in HANDOVER_CODES or PHASE_OF.get(code) in (
        Phase.ORDER_HANDLING,
        Phase.FIRST_MILE,
    )
    end = attributes["origin" if is_at_origin else "destination"]
    return end["country"], end.get("region")


def _implausible_reason(event: StoredEvent, now: int) -> str | None:
    """Why the scan cannot be right; ``now`` is the clock's, which may have been set back since something was known."""
    received_at = min(event.received_at, now)
    if event.occurred_at > received_at + MAX_EVENT_LEAD:
        return "too_far_in_the_future"
    return "too_far_in_the_past" if event.occurred_at < received_at - MAX_EVENT_AGE else None
