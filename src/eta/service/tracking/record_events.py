"""Records events once each, with the new states and messages to subscribers, in one transaction."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from itertools import chain

from eta.calendars.local_time import from_microseconds, microseconds, offset_minutes
from eta.domain.errors import EtaError, NotFound
from eta.domain.registration import carrier_number
from eta.domain.texts import without_control_characters
from eta.domain.vocabulary import EventCode, TimezoneSource
from eta.journey.scan_times import DatedScan, LocalScan, ParcelClock, ScanPlace, ScanTime
from eta.service.tracking.shipment_states import update_states
from eta.service.tracking.tracking_numbers import TrackingNumberLog
from eta.store.event_ids import event_id
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

_END_FIELDS = ("country", "region", "postcode")
_MINUTE = 60_000_000


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

    ``occurred_at`` is aware. ``occurred_local`` is a wall-clock time; a ``ParcelClock`` reads it.
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
    postcode: str | None = None
    raw_code: str | None = None
    place: str | None = None
    #: When the source of an imported history received it; None: it is received now.
    received_at: datetime | None = None
    is_received_at_assumed: bool = False
    #: Of an imported history: which correction of the scan with the same content it is.
    correction_number: int = 0


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

    A local time is read by the parcel's events that are recorded or in the same batch, so that the
    order within a batch does not matter, and it stays as it is whatever is received later.

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
        for position in positions_of_tenant:
            outcomes[position] = tenant_batch.record(batches[position].reports)
        tenant_batch.write()
    return outcomes


class _RecordingBatch:
    """Records the events of one tenant; they are written at the end."""

    def __init__(self, session: Session, tenant: str, reports: Sequence[EventReport]) -> None:
        self._session = session
        self._tenant = tenant
        uses = session.number_uses(tenant, _non_empty(map(_number, reports)))
        # The use before the latest one.
        self._previous_ids = {
            number: uses_of_number[-2].number_use_id
            for number, uses_of_number in uses.items()
            if len(uses_of_number) > 1
        }
        holders = [uses_of_number[-1] for uses_of_number in uses.values()]
        self._load_shipments(reports, holders)
        self._number_log = TrackingNumberLog(session, tenant, uses)
        # Every owner under which one of the events may be recorded already.
        owners = {owner for row in self._shipments.values() for owner in row.event_owners}
        owners.update(use.number_use_id for use in holders)
        owners.update(self._previous_ids.values())
        self._events = session.events(tenant, owners)
        self._index = _EventIndex(self._shipments.values(), self._events)
        self._new: list[StoredEvent] = []
        self._quarantined: list[StoredQuarantinedEvent] = []

    def _load_shipments(
        self, reports: Sequence[EventReport], holders: Iterable[TrackingNumberUse]
    ) -> None:
        """Loads the shipments that the reports name, and those that have or had the numbers."""
        shipment_ids = [
            *_non_empty(report.shipment_id for report in reports),
            *_non_empty(use.shipment_id for use in holders),
        ]
        external_ids = _non_empty(report.external_id for report in reports)
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

    def record(self, reports: Sequence[EventReport]) -> list[EventOutcome | EtaError]:
        """Records the events of one request; returns one outcome a report, in order."""
        self._clocks = _ParcelClocks(chain(self._events, self._new))
        shipments = [self._shipment(report) for report in reports]
        self._clocks.add_reports(shipments, reports, self._session)
        outcomes: list[EventOutcome | EtaError] = []
        for report, shipment in zip(reports, shipments, strict=True):
            number = _number(report)
            is_named = report.shipment_id or report.external_id
            if is_named and shipment is not None:
                event = self._event(report, shipment.shipment_id, shipment)
            elif number is not None:
                shipment, event = self._event_of_number(report, number)
            else:
                outcomes.append(NotFound("there is no such shipment; register it first"))
                continue
            outcomes.append(self._classify(event, shipment))
        return outcomes

    def _shipment(self, report: EventReport) -> StoredShipment | None:
        """Returns the shipment that a report names by its id, the shop's id or its number."""
        if report.shipment_id:
            return self._by_id.get(report.shipment_id)
        if report.external_id:
            return self._by_external_id.get(report.external_id)
        number = _number(report)
        holder = self._number_log.holder(number) if number else None
        return self._by_id.get(holder.shipment_id or "") if holder else None

    def _event_of_number(
        self, report: EventReport, number: str
    ) -> tuple[StoredShipment | None, StoredEvent]:
        """Returns the event of a tracking number, and the shipment that has the number."""
        holder = self._number_log.holder(number)
        shipment = self._by_id.get(holder.shipment_id or "")
        event = self._event(report, holder.number_use_id, shipment)
        if number in self._previous_ids:
            earlier_event = event._replace(event_owner=self._previous_ids[number])
            if self._index.find_duplicate(earlier_event):
                # An event of the parcel that had the number earlier was received again.
                return self._by_number_use.get(earlier_event.event_owner), earlier_event
        if self._number_log.is_reused(holder) and self._index.find_duplicate(event) is None:
            next_use = self._number_log.next_use(number)
            # Its route is not that of the parcel which had the number.
            return None, self._event(report, next_use.number_use_id, None)
        return shipment, event

    def _event(
        self, report: EventReport, event_owner: str, shipment: StoredShipment | None
    ) -> StoredEvent:
        return _event(report, event_owner, self._clocks.read(report, shipment), self._session)

    def _classify(self, event: StoredEvent, shipment: StoredShipment | None) -> EventOutcome:
        """Puts an event among the new or the quarantined ones, unless it is a duplicate."""
        shipment_id = shipment.shipment_id if shipment else None
        duplicate_id = self._index.find_duplicate(event)
        if duplicate_id:
            return EventOutcome(RecordingStatus.DUPLICATE, duplicate_id, shipment_id)
        count = self._index.counts[event.event_owner]
        reason = _implausible_reason(event, count, self._session)
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


class _ParcelClocks:
    """Reads the times of one request's events, local times by the other events of the parcel."""

    def __init__(self, recorded: Iterable[StoredEvent]) -> None:
        self._recorded = recorded
        self._dated = defaultdict[str, list[DatedScan]](list)
        self._local = defaultdict[str, list[LocalScan]](list)
        self._clocks: dict[str | None, ParcelClock] = {None: ParcelClock()}

    def add_reports(
        self,
        shipments: Sequence[StoredShipment | None],
        reports: Sequence[EventReport],
        session: Session,
    ) -> None:
        """Adds the request's own events, except implausible ones, if one of them needs them."""
        if all(report.occurred_at for report in reports):
            return
        earliest, latest = session.now, session.latest_now
        for event in self._recorded:
            scan = DatedScan(EventCode(event.event_code), _time_of(event))
            self._dated[event.event_owner].append(scan)
        for shipment, report in zip(shipments, reports, strict=True):
            if shipment is None:
                continue
            if report.occurred_at:
                scan = DatedScan(report.event_code, _carriers_time(report.occurred_at))
                if not _implausible_time(microseconds(report.occurred_at), earliest, latest):
                    self._dated[shipment.shipment_id].append(scan)
                continue
            local = _local_scan(report)
            shown_at = microseconds(local.wall.replace(tzinfo=UTC))
            if not _implausible_time(shown_at, earliest, latest):
                self._local[shipment.shipment_id].append(local)

    def read(self, report: EventReport, shipment: StoredShipment | None) -> ScanTime:
        """Returns when an event of a shipment occurred."""
        if report.occurred_at:
            return _carriers_time(report.occurred_at)
        shipment_id = shipment.shipment_id if shipment else None
        if shipment and shipment_id not in self._clocks:
            attributes: Mapping[str, Mapping[str, str]] = json.loads(shipment.attributes)
            origin, destination = (
                ScanPlace(*map(attributes[end].get, _END_FIELDS))
                for end in ("origin", "destination")
            )
            dated = [scan for owner in shipment.event_owners for scan in self._dated[owner]]
            local = self._local[shipment.shipment_id]
            clock = ParcelClock.from_scans(origin, destination, dated, local)
            self._clocks[shipment_id] = clock
        return self._clocks[shipment_id].read(_local_scan(report))


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
        self._content: dict[tuple[object, ...], str] = {}
        #: The number of events of each owner.
        self.counts = Counter[str]()
        for event in events:
            self.add(event)

    def add(self, event: StoredEvent) -> None:
        self._ids[event.event_owner, event.event_id] = event.event_id
        self._content.update(dict.fromkeys(self._keys(event), event.event_id))
        self.counts[event.event_owner] += 1

    def find_duplicate(self, event: StoredEvent) -> str | None:
        """Returns the id of the same event, if it is recorded."""
        same_id = self._ids.get((event.event_owner, event.event_id))
        found = (self._content.get(key) for key in self._keys(event))
        return same_id or next(filter(None, found), None)

    def _keys(self, event: StoredEvent) -> list[tuple[object, ...]]:
        """Returns the event's content with its instant, and with its local time if it came so."""
        owner = self._shipment_ids.get(event.event_owner, event.event_owner)
        if event.correction_number:
            return []
        raw_code = event.raw_code or event.event_code
        content = owner, raw_code, event.event_code, event.place or None
        keys: list[tuple[object, ...]] = [(*content, event.occurred_at)]
        if event.timezone_source != TimezoneSource.CARRIER_OFFSET:
            wall = event.occurred_at + event.offset_minutes * _MINUTE
            keys.append((*content, "local", wall))
        return keys


def _carriers_time(occurred_at: datetime) -> ScanTime:
    return ScanTime(occurred_at, TimezoneSource.CARRIER_OFFSET, is_ambiguous=False)


def _time_of(event: StoredEvent) -> ScanTime:
    zone = timezone(timedelta(minutes=event.offset_minutes))
    occurred_at = from_microseconds(event.occurred_at).astimezone(zone)
    return ScanTime(occurred_at, TimezoneSource(event.timezone_source), bool(event.is_ambiguous))


def _number(report: EventReport) -> str | None:
    return carrier_number(report.carrier, report.tracking_number)


def _local_scan(report: EventReport) -> LocalScan:
    """Returns the report with its local time.

    Raises:
        ValueError: if it has no local time.
    """
    if report.occurred_local is None:
        raise ValueError("a report needs a time; set occurred_at or occurred_local")
    place = ScanPlace(report.country, report.region, report.postcode)
    return LocalScan(report.event_code, report.occurred_local, report.timezone, place)


def _non_empty(texts: Iterable[str | None]) -> list[str]:
    return [text for text in texts if text]


def _event(report: EventReport, event_owner: str, time: ScanTime, session: Session) -> StoredEvent:
    occurred_at = microseconds(time.occurred_at)
    received_at = session.commit_time
    if report.received_at:
        received_at = min(microseconds(report.received_at), received_at)
    event = StoredEvent(
        event_owner=event_owner,
        event_id="",
        event_code=report.event_code.value,
        raw_code=report.raw_code,
        place=report.place and without_control_characters(report.place),
        occurred_at=occurred_at,
        offset_minutes=offset_minutes(time.occurred_at),
        timezone_source=time.source.value,
        is_ambiguous=int(time.is_ambiguous),
        is_received_at_assumed=int(report.is_received_at_assumed),
        received_at=received_at,
        correction_number=report.correction_number,
    )
    return event._replace(event_id=event_id(event, report.occurred_local))


def _implausible_reason(event: StoredEvent, count: int, session: Session) -> str | None:
    """Returns why an event is implausible, or None.

    ``count`` is the number of events that its owner has; states are folded from all of them. If the
    clock was set back, wrongly or rightly, an event is plausible by either time.
    """
    is_live = event.received_at == session.commit_time
    latest = session.latest_now if is_live else event.received_at
    earliest = min(event.received_at, session.now)
    reason = _implausible_time(event.occurred_at, earliest, latest)
    if reason is None and count >= MAX_EVENTS_PER_PARCEL:
        return "too_many_scans"
    return reason


def _implausible_time(occurred_at: int, earliest: int, latest: int) -> str | None:
    if occurred_at > latest + MAX_EVENT_LEAD:
        return "too_far_in_the_future"
    if occurred_at < earliest - MAX_EVENT_AGE:
        return "too_far_in_the_past"
    return None
