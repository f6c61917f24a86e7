"""Where recorded shipments are and when they will come, as known at a moment; what was answered is kept."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from eta.calendars.local import from_microseconds, microseconds
from eta.delays import DelayPolicy
from eta.domain.errors import EtaError
from eta.domain.registration import Registration
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import DelayState, EventCode
from eta.service.fold_states import states_of
from eta.service.score_shipments import Answer, Terms, score_shipments
from eta.service.served_model import Answering
from eta.store.records import (
    StoredEvent,
    StoredFlag,
    StoredForecast,
    StoredShipment,
    StoredState,
    StoredVersion,
)
from eta.store.session import Session

#: Flags that stand until the state is another one.
RAISED = frozenset(
    {DelayState.PREDICTED_LATE.value, DelayState.STALLED.value, DelayState.OVERDUE.value}
)


@dataclass(frozen=True)
class Known:
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
class Telling:
    """What is known of a shipment, and what is said of it."""

    known: Known
    answer: Answer
    #: Hours since the last scan happened, None before the first.
    last_scan_age_hours: float | None
    #: When nearly all parcels of its stage have been scanned again; None where no scan is waited
    #: for.
    expected_next_scan_by: datetime | None


@dataclass(frozen=True)
class Issuing:
    """Answers about a tenant's shipments, to be kept."""

    tenant: str
    forecasts: Sequence[StoredForecast]


def known_at(
    session: Session, tenant: str, shipments: Sequence[StoredShipment], as_of: datetime
) -> list[Known]:
    """What was known of shipments at a moment; those that nobody had registered by then are left out."""
    instant, ids = microseconds(as_of), [each.shipment_id for each in shipments]
    versions = _by_shipment(
        version for version in session.versions(tenant, ids) if version.known_at <= instant
    )
    then = [
        _as_in(shipment, versions[shipment.shipment_id][-1])
        for shipment in shipments
        if versions[shipment.shipment_id]
    ]
    told = [
        event
        for event in session.events(tenant, (subject for each in then for subject in each.subjects))
        if event.received_at <= instant
    ]
    of_subject = defaultdict[str, list[StoredEvent]](list)
    for event in told:
        of_subject[event.subject].append(event)
    forecasts = _by_shipment(
        forecast for forecast in session.forecasts(tenant, ids) if forecast.as_of <= instant
    )
    flags = _by_shipment(flag for flag in session.flags(tenant, ids) if flag.raised_at <= instant)
    return [
        Known(
            shipment,
            Registration.from_facts(
                json.loads(shipment.facts), shipment.shipment_id, shipment.external_id
            ),
            state,
            _each_once(event for subject in shipment.subjects for event in of_subject[subject]),
            versions[shipment.shipment_id],
            forecasts[shipment.shipment_id],
            flags[shipment.shipment_id],
        )
        for shipment, state in zip(then, states_of(then, told, instant), strict=True)
    ]


def tell_shipments(
    known: Sequence[Known],
    served: Answering | None,
    as_of: datetime,
    *,
    policy: DelayPolicy,
    terms: Terms,
) -> list[Telling]:
    """One telling a shipment, in order: the same answers as from ``score_shipments``, which makes them."""
    records = [each.to_records() for each in known]
    shipments, events = (
        [shipment for shipment, _ in records],
        [event for _, scans in records for event in scans],
    )
    answers = score_shipments(shipments, events, served, as_of, policy=policy, terms=terms)
    return [
        Telling(each, answer, *_silence(each.state, served, as_of))
        for each, answer in zip(known, answers, strict=True)
    ]


def with_news(telling: Telling, as_of: int, model_version: str | None) -> Telling:
    """The same with its own answer as the latest of those on record, where it says something else than the one before."""
    known = telling.known
    answer = to_revision(telling, model_version)
    if not is_news(answer, known.forecasts[-1] if known.forecasts else None):
        return telling
    shipment_id = known.stored.shipment_id
    forecast = StoredForecast(shipment_id, as_of, model_version, json.dumps(answer))
    changed = {
        flag.raised_at: flag
        for flag in (*known.flags, *_flags(known.flags, answer, shipment_id, as_of))
    }
    return replace(
        telling,
        known=replace(known, forecasts=[*known.forecasts, forecast], flags=list(changed.values())),
    )


def issue_forecasts(session: Session, asked: Sequence[Issuing]) -> list[EtaError | None]:
    """Keeps the latest answers, where they still are news, and raises and ends flags with them."""
    for each in asked:
        forecasts, flags = list[StoredForecast](), list[StoredFlag]()
        # Somebody else may have been answered meanwhile.
        ids = [forecast.shipment_id for forecast in each.forecasts]
        before = {
            forecast.shipment_id: forecast for forecast in session.forecasts(each.tenant, ids)
        }
        raised = _by_shipment(session.flags(each.tenant, ids))
        there = {
            shipment.shipment_id for shipment in session.shipments(each.tenant, "shipment_id", ids)
        }
        for forecast in each.forecasts:
            last, answer = before.get(forecast.shipment_id), json.loads(forecast.answer)
            # It may have been erased meanwhile.
            if (
                forecast.shipment_id in there
                and is_news(answer, last)
                and (last is None or last.as_of < forecast.as_of)
            ):
                forecasts.append(forecast)
                flags += _flags(
                    raised[forecast.shipment_id], answer, forecast.shipment_id, forecast.as_of
                )
        session.add_forecasts(each.tenant, forecasts)
        session.put_flags(each.tenant, flags)
    return [None] * len(asked)


def to_revision(telling: Telling, model_version: str | None) -> dict[str, Any]:
    """What is kept of an answer: what was said, and what it was said from."""
    answer, known = telling.answer, telling.known
    return {
        "code": answer.code.value,
        "status": answer.status.value,
        "estimated_on": _day(answer.estimated_on),
        "earliest_on": _day(answer.earliest_on),
        "latest_on": _day(answer.latest_on),
        "promise_on": None if answer.is_promise_ours else _day(answer.promise_on),
        "delay_state": answer.delay.state,
        "delay_reason": answer.delay.reason_code,
        "on_time_probability": answer.on_time_probability,
        "delay_probability": answer.delay.probability,
        "model_version": model_version,
        "scan_count": known.state.scan_count,
        "version_known_at": known.versions[-1].known_at,
    }


#: Another value of one of these makes another answer.
_NEWS = (
    "code",
    "status",
    "estimated_on",
    "earliest_on",
    "latest_on",
    "promise_on",
    "delay_state",
    "delay_reason",
)


def is_news(answer: Mapping[str, Any], before: StoredForecast | None) -> bool:
    """Whether an answer says something else than the one before."""
    return before is None or any(json.loads(before.answer)[name] != answer[name] for name in _NEWS)


def causes(forecasts: Sequence[StoredForecast]) -> list[str]:
    """Why each answer differs from the one before: ``first``, ``correction``, ``scan``, ``model`` or ``time``."""
    answers = [json.loads(forecast.answer) for forecast in forecasts]
    return ["first", *(_cause(before, after) for before, after in pairwise(answers))][
        : len(answers)
    ]


def _cause(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if before["version_known_at"] != after["version_known_at"]:
        return "correction"
    if before["scan_count"] != after["scan_count"]:
        return "scan"
    return "model" if before["model_version"] != after["model_version"] else "time"


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


def _as_in(shipment: StoredShipment, version: StoredVersion) -> StoredShipment:
    return shipment._replace(tracking=version.tracking, facts=version.facts)


def _each_once(events: Iterable[StoredEvent]) -> list[StoredEvent]:
    """Scans in order; one told of the shipment and again of its number is one, known from when it was first told."""
    first: dict[tuple[str, int, str | None], StoredEvent] = {}
    for event in sorted(events, key=lambda each: each.received_at):
        first.setdefault(
            (event.raw_code or event.event_code, event.occurred_at, event.place or None), event
        )
    return sorted(first.values(), key=_in_order)


def _in_order(event: StoredEvent) -> tuple[int, int, str]:
    return event.occurred_at, _POSITION[event.event_code], event.event_id


_POSITION = {code.value: position for position, code in enumerate(EventCode)}


def _by_shipment(rows: Iterable[Any]) -> defaultdict[str, list[Any]]:
    found = defaultdict[str, list[Any]](list)
    for row in rows:
        found[row.shipment_id].append(row)
    return found


def _silence(
    state: StoredState, served: Answering | None, as_of: datetime
) -> tuple[float | None, datetime | None]:
    if state.last_scan_at is None:
        return None, None
    last = from_microseconds(state.last_scan_at)
    # A carrier's clock may be fast.
    age = max((as_of - last) / timedelta(hours=1), 0.0)
    if served is None or not state.is_open:
        return age, None
    upper = served.laws.silence_of(state.last_code).upper_hours
    return age, last + timedelta(hours=upper) if upper < float("inf") else None


def _flags(
    flags: Sequence[StoredFlag], answer: Mapping[str, Any], shipment_id: str, at: int
) -> list[StoredFlag]:
    """The flags that an answer changes: one that ends, one that is raised."""
    standing = next((flag for flag in flags if flag.ended_at is None), None)
    state = answer["delay_state"]
    if standing and standing.state == state:
        return []
    ended = [standing._replace(ended_at=at)] if standing else []
    raised = (
        [
            StoredFlag(
                shipment_id, at, state, answer["delay_reason"], answer["delay_probability"], None
            )
        ]
        if state in RAISED
        else []
    )
    return [*ended, *raised]


def _day(day: Any) -> str | None:
    return None if day is None else day.isoformat()
