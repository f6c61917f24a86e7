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
from eta.domain.errors import EtaError, NotRecorded
from eta.domain.registration import carrier_number
from eta.domain.vocabulary import HANDOVER_CODES, PHASE_OF, EventCode, Phase, TimezoneSource
from eta.service.tracking.shipment_states import refold
from eta.service.tracking.tracking_numbers import TrackingNumberLog, earlier_tracking
from eta.store.records import Quarantined, StoredEvent, StoredShipment
from eta.store.session import Session

#: A scan that happened longer ago than this when it was told, or so much later, cannot be right.
_HOUR = 3_600_000_000
OLDEST, NEWEST = 400 * 24 * _HOUR, 48 * _HOUR

#: Scans that one parcel may have.
MOST_SCANS = 1_000


class Outcome(StrEnum):
    """What became of a scan that was told."""

    STORED = "stored"
    #: It was told before; nothing changed.
    DUPLICATE = "duplicate"
    #: It cannot be right, and is kept apart.
    QUARANTINED = "quarantined"


@dataclass(frozen=True, kw_only=True)
class Report:
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
class Told:
    """Scans of one tenant, told together."""

    tenant: str
    reports: Sequence[Report]


@dataclass(frozen=True)
class Recorded:
    """What became of one scan."""

    outcome: Outcome
    event_id: str
    #: None as long as no shipment bears the number.
    shipment_id: str | None
    reason: str | None = None


def record_events(session: Session, batches: Sequence[Told]) -> list[list[Recorded | EtaError]]:
    """Records batches together: for each one entry a report, in order; ``NotRecorded`` where there is no such shipment."""
    answers: list[list[Recorded | EtaError]] = [[] for _ in batches]
    of_tenant = defaultdict[str, list[int]](list)
    for number, batch in enumerate(batches):
        of_tenant[batch.tenant].append(number)
    for tenant, numbers in of_tenant.items():
        told = iter(
            _record(
                session,
                tenant,
                [report for number in numbers for report in batches[number].reports],
            )
        )
        for number in numbers:
            answers[number] = [next(told) for _ in batches[number].reports]
    return answers


def _record(session: Session, tenant: str, reports: Sequence[Report]) -> list[Recorded | EtaError]:
    numbers = [carrier_number(report.carrier, report.tracking_number) for report in reports]
    bearers = session.trackings(tenant, _given(numbers))
    ids = [
        *_given(report.shipment_id for report in reports),
        *_given(each.shipment_id for each in bearers.values()),
    ]
    by_id = {each.shipment_id: each for each in session.shipments(tenant, "shipment_id", ids)}
    by_external = {
        each.external_id: each
        for each in session.shipments(
            tenant, "external_id", _given(report.external_id for report in reports)
        )
    }
    earlier = {
        each.carrier_number: earlier_tracking(each)
        for each in bearers.values()
        if each.generation > 1
    }
    by_tracking = {
        each.tracking: each for each in session.shipments(tenant, "tracking", earlier.values())
    }
    shipments = {
        each.shipment_id: each
        for each in (*by_id.values(), *by_external.values(), *by_tracking.values())
    }
    subjects = {
        *(subject for each in shipments.values() for subject in each.subjects),
        *(each.tracking for each in bearers.values()),
        *earlier.values(),
    }
    events = session.events(tenant, subjects)
    known, numbered = (
        _Known(shipments.values(), events),
        TrackingNumberLog(session, tenant, bearers),
    )
    new, answers, apart = list[StoredEvent](), list[Recorded | EtaError](), list[Quarantined]()
    for report, number in zip(reports, numbers, strict=True):
        shipment = (
            by_id.get(report.shipment_id)
            if report.shipment_id
            else by_external.get(report.external_id)
            if report.external_id
            else None
        )
        if shipment is None and number is None:
            answers.append(NotRecorded("there is no such shipment; register it first"))
            continue
        if number and shipment is None:
            bearer = numbered.bearer(number)
            shipment = by_id.get(bearer.shipment_id or "")
            event = _event(report, bearer.tracking, shipment, session)
            before = event._replace(subject=earlier[number]) if number in earlier else None
            if before and known.same(before):
                # What was told of the parcel that bore the number earlier is told again.
                shipment, event = by_tracking.get(before.subject), before
            elif numbered.is_given_again(bearer) and known.same(event) is None:
                shipment, event = None, event._replace(subject=numbered.next(number).tracking)
        else:
            event = _event(report, cast("StoredShipment", shipment).shipment_id, shipment, session)
        shipment_id, same = shipment.shipment_id if shipment else None, known.same(event)
        reason = None if same else _doubt(event, session.now) or known.excess(event)
        outcome = Outcome.DUPLICATE if same else Outcome.QUARANTINED if reason else Outcome.STORED
        if outcome is Outcome.STORED:
            known.add(event)
            new.append(event)
        elif outcome is Outcome.QUARANTINED:
            apart.append(
                Quarantined(
                    event.event_id,
                    event.subject,
                    str(reason),
                    json.dumps(event._asdict()),
                    session.stamp,
                )
            )
        answers.append(Recorded(outcome, same or event.event_id, shipment_id, reason))
    numbered.write()
    session.add_events(tenant, new)
    session.quarantine(tenant, apart)
    changed = {event.subject for event in new}
    refold(
        session,
        tenant,
        [each for each in shipments.values() if changed.intersection(each.subjects)],
        [*events, *new],
    )
    return answers


class _Known:
    """What was told before of shipments, and of numbers that nobody has registered: a scan told of either is the same scan."""

    def __init__(self, shipments: Iterable[StoredShipment], events: Iterable[StoredEvent]) -> None:
        self._whose = {subject: each.shipment_id for each in shipments for subject in each.subjects}
        self._ids = dict[tuple[str, str], str]()
        self._content = dict[tuple[str, str, int, str | None], str]()
        self._counts = Counter[str]()
        for event in events:
            self.add(event)

    def add(self, event: StoredEvent) -> None:
        self._ids[event.subject, event.event_id] = event.event_id
        self._content[self._key(event)] = event.event_id
        self._counts[event.subject] += 1

    def same(self, event: StoredEvent) -> str | None:
        """The id of the same scan, if it was told before."""
        return self._ids.get((event.subject, event.event_id)) or self._content.get(self._key(event))

    def excess(self, event: StoredEvent) -> str | None:
        """Why no more is taken of one subject: each scan is folded with all others of its parcel."""
        return "too_many_scans" if self._counts[event.subject] >= MOST_SCANS else None

    def _key(self, event: StoredEvent) -> tuple[str, str, int, str | None]:
        return (
            self._whose.get(event.subject, event.subject),
            event.raw_code or event.event_code,
            event.occurred_at,
            event.place or None,
        )


def _given(texts: Iterable[str | None]) -> list[str]:
    return [text for text in texts if text]


def _event(
    report: Report, subject: str, shipment: StoredShipment | None, session: Session
) -> StoredEvent:
    moment, source, is_ambiguous = _moment(report, shipment)
    occurred = microseconds(moment)
    # A wall-clock time is known again by what the clock showed, whatever zone it is read in.
    sent = report.occurred_local.isoformat() if report.occurred_local else str(occurred)
    content = "\x1f".join(
        (subject, report.raw_code or report.event_code.value, sent, report.place or "")
    )
    return StoredEvent(
        subject,
        f"evt_{blake2b(content.encode(), digest_size=12).hexdigest()}",
        report.event_code.value,
        report.raw_code,
        report.place,
        occurred,
        offset_minutes(moment),
        source.value,
        int(is_ambiguous),
        int(report.is_received_at_assumed),
        min(microseconds(report.received_at), session.stamp)
        if report.received_at
        else session.stamp,
    )


def _moment(
    report: Report, shipment: StoredShipment | None
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
        (report.country, report.region) if report.country else _end(report.event_code, shipment)
    )
    zone, source = zone_of(country, region)
    moment, is_ambiguous = wall_to_instant(report.occurred_local, zone)
    is_guessed = source is TimezoneSource.ASSUMED_UTC or (
        source is TimezoneSource.COUNTRY_DEFAULT and not has_one_zone(country)
    )
    return moment, source, is_ambiguous or is_guessed


def _end(code: EventCode, shipment: StoredShipment | None) -> tuple[str | None, str | None]:
    """Country and region of the end of the route where such a scan is made."""
    if shipment is None:
        return None, None
    facts: Mapping[str, Mapping[str, str]] = json.loads(shipment.facts)
    is_at_origin = code in HANDOVER_CODES or PHASE_OF.get(code) in (
        Phase.ORDER_HANDLING,
        Phase.FIRST_MILE,
    )
    end = facts["origin" if is_at_origin else "destination"]
    return end["country"], end.get("region")


def _doubt(event: StoredEvent, now: int) -> str | None:
    """Why the scan cannot be right; ``now`` is the clock's, which may have been set back since something was known."""
    told = min(event.received_at, now)
    if event.occurred_at > told + NEWEST:
        return "too_far_in_the_future"
    return "too_far_in_the_past" if event.occurred_at < told - OLDEST else None
