"""The recorded forecasts of a shipment and the flags that they raise and clear."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from eta.domain.errors import EtaError
from eta.domain.vocabulary import DelayState
from eta.service.tracking.read_shipments import Telling, by_shipment
from eta.store.records import StoredFlag, StoredForecast
from eta.store.session import Session

#: Flags that stand until the state is another one.
RAISED = frozenset(
    {DelayState.PREDICTED_LATE.value, DelayState.STALLED.value, DelayState.OVERDUE.value}
)


@dataclass(frozen=True)
class Issuing:
    """Answers about a tenant's shipments, to be kept."""

    tenant: str
    forecasts: Sequence[StoredForecast]


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
        raised = by_shipment(session.flags(each.tenant, ids))
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
