"""Records scans: each once, for good, with the state they come to and what subscribers are to hear, in one transaction."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b

from eta.calendars.local import microseconds, wall_to_instant
from eta.calendars.zones import has_one_zone, zone_of
from eta.domain.errors import EtaError, NotRecorded
from eta.domain.registration import carrier_number
from eta.domain.vocabulary import HANDOVER_CODES, PHASE_OF, EventCode, Phase, TimezoneSource
from eta.service.fold_states import refold
from eta.store.records import Quarantined, StoredEvent, StoredShipment
from eta.store.session import Session

_HOUR = 3_600_000_000
#: A scan that happened longer ago than this when it was told, or so much later, cannot be right.
OLDEST, NEWEST = 400 * 24 * _HOUR, 48 * _HOUR


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

    ``occurred_at`` is aware; ``occurred_local`` is a wall-clock time whose zone is the one declared, else that of the
    place, else that of the end of the route where such scans are made.
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
        told = iter(_record(session, tenant, [report for number in numbers for report in batches[number].reports]))
        for number in numbers:
            answers[number] = [next(told) for _ in batches[number].reports]
    return answers


def _record(session: Session, tenant: str, reports: Sequence[Report]) -> list[Recorded | EtaError]:
    by_id = {each.shipment_id: each for each in session.shipments(tenant, "shipment_id", _given(report.shipment_id for report in reports))}
    by_external = {each.external_id: each for each in session.shipments(tenant, "external_id", _given(report.external_id for report in reports))}
    numbers = [carrier_number(report.carrier, report.tracking_number) for report in reports]
    by_number = session.latest(tenant, _given(numbers))
    found = [
        by_id.get(report.shipment_id) if report.shipment_id else by_external.get(report.external_id) if report.external_id else by_number.get(number or "")
        for report, number in zip(reports, numbers, strict=True)
    ]
    shipments = {each.shipment_id: each for each in found if each}
    subjects = [_subject(number, shipment) for number, shipment in zip(numbers, found, strict=True)]
    known = {(event.subject, event.event_id): event for event in session.events(tenant, {*_given(subjects), *_subjects(shipments.values())})}
    new, answers, apart = list[StoredEvent](), list[Recorded | EtaError](), list[Quarantined]()
    for report, subject, shipment in zip(reports, subjects, found, strict=True):
        if subject is None:
            answers.append(NotRecorded("there is no such shipment; register it first"))
            continue
        event, shipment_id = _event(report, subject, shipment, session.stamp), shipment.shipment_id if shipment else None
        key, reason = (event.subject, event.event_id), _doubt(event)
        outcome = Outcome.DUPLICATE if key in known else Outcome.QUARANTINED if reason else Outcome.STORED
        if outcome is Outcome.STORED:
            known[key] = event
            new.append(event)
        elif outcome is Outcome.QUARANTINED:
            apart.append(Quarantined(event.event_id, event.subject, str(reason), json.dumps(event._asdict()), session.stamp))
        answers.append(Recorded(outcome, event.event_id, shipment_id, reason if outcome is Outcome.QUARANTINED else None))
    session.add_events(tenant, new)
    session.quarantine(tenant, apart)
    changed = {event.subject for event in new}
    touched = [shipment for shipment in shipments.values() if changed.intersection(shipment.subjects)]
    refold(session, tenant, touched, known.values())
    return answers


def _given(texts: Iterable[str | None]) -> list[str]:
    return [text for text in texts if text]


def _subjects(shipments: Iterable[StoredShipment]) -> list[str]:
    return [subject for shipment in shipments for subject in shipment.subjects]


def _subject(number: str | None, shipment: StoredShipment | None) -> str | None:
    """What the scan is told of: the number of a carrier, that of a parcel nobody has registered yet included, else the shipment."""
    if shipment:
        return shipment.tracking or shipment.shipment_id
    return first_tracking(number) if number else None


def first_tracking(number: str) -> str:
    """The first parcel that bears a number; carriers give numbers again after some months."""
    return f"{number}|1"


def _event(report: Report, subject: str, shipment: StoredShipment | None, stamp: int) -> StoredEvent:
    moment, source, is_ambiguous = _moment(report, shipment)
    offset, occurred = moment.utcoffset(), microseconds(moment)
    content = "\x1f".join((subject, report.raw_code or report.event_code.value, str(occurred), report.place or ""))
    return StoredEvent(
        subject,
        f"evt_{blake2b(content.encode(), digest_size=12).hexdigest()}",
        report.event_code.value,
        report.raw_code,
        report.place,
        occurred,
        None if offset is None else int(offset.total_seconds() // 60),
        source.value,
        int(is_ambiguous),
        int(report.is_received_at_assumed),
        min(microseconds(report.received_at), stamp) if report.received_at else stamp,
    )


def _moment(report: Report, shipment: StoredShipment | None) -> tuple[datetime, TimezoneSource, bool]:
    """When it happened, where its zone comes from, and whether that leaves a doubt."""
    if report.occurred_at:
        return report.occurred_at, TimezoneSource.CARRIER_OFFSET, False
    if report.occurred_local is None:
        raise ValueError("a report has a time")
    if report.timezone:
        moment, is_ambiguous = wall_to_instant(report.occurred_local, report.timezone)
        return moment, TimezoneSource.DECLARED, is_ambiguous
    country, region = (report.country, report.region) if report.country else _end(report.event_code, shipment)
    zone, source = zone_of(country, region)
    moment, is_ambiguous = wall_to_instant(report.occurred_local, zone)
    is_guessed = source is TimezoneSource.ASSUMED_UTC or (source is TimezoneSource.COUNTRY_DEFAULT and not has_one_zone(country))
    return moment, source, is_ambiguous or is_guessed


def _end(code: EventCode, shipment: StoredShipment | None) -> tuple[str | None, str | None]:
    """Country and region of the end of the route where such a scan is made."""
    if shipment is None:
        return None, None
    facts: Mapping[str, Mapping[str, str]] = json.loads(shipment.facts)
    is_at_origin = code in HANDOVER_CODES or PHASE_OF.get(code) in (Phase.ORDER_HANDLING, Phase.FIRST_MILE)
    end = facts["origin" if is_at_origin else "destination"]
    return end["country"], end.get("region")


def _doubt(event: StoredEvent) -> str | None:
    """Why the scan cannot be right."""
    if event.occurred_at > event.received_at + NEWEST:
        return "too_far_in_the_future"
    return "too_far_in_the_past" if event.occurred_at < event.received_at - OLDEST else None
