"""The recorded forecasts of a shipment and the flags that they raise and clear."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from eta.domain.errors import EtaError
from eta.domain.vocabulary import DelayState
from eta.service.tracking.read_shipments import ShipmentView, by_shipment
from eta.store.records import StoredFlag, StoredForecast
from eta.store.session import Session

#: Flags that stand until the state is another one.
RAISED_STATES = frozenset(
    {DelayState.PREDICTED_LATE.value, DelayState.STALLED.value, DelayState.OVERDUE.value}
)


@dataclass(frozen=True)
class SaveForecasts:
    """Answers about a tenant's shipments, to be kept."""

    tenant: str
    forecasts: Sequence[StoredForecast]


def with_latest_forecast(view: ShipmentView, as_of: int, model_version: str | None) -> ShipmentView:
    """The same with its own answer as the latest of those on record, where it says something else than the one before."""
    history = view.history
    revision = to_revision(view, model_version)
    if not is_changed(revision, history.forecasts[-1] if history.forecasts else None):
        return view
    shipment_id = history.stored.shipment_id
    forecast = StoredForecast(shipment_id, as_of, model_version, json.dumps(revision))
    changed = {
        flag.raised_at: flag
        for flag in (*history.flags, *_changed_flags(history.flags, revision, shipment_id, as_of))
    }
    return replace(
        view,
        history=replace(
            history, forecasts=[*history.forecasts, forecast], flags=list(changed.values())
        ),
    )


def save_forecasts(session: Session, commands: Sequence[SaveForecasts]) -> list[EtaError | None]:
    """Keeps the latest answers, where they still are news, and raises and ends flags with them."""
    for command in commands:
        forecasts, flags = list[StoredForecast](), list[StoredFlag]()
        # Somebody else may have been answered meanwhile.
        ids = [forecast.shipment_id for forecast in command.forecasts]
        before = {
            forecast.shipment_id: forecast for forecast in session.forecasts(command.tenant, ids)
        }
        raised = by_shipment(session.flags(command.tenant, ids))
        recorded_ids = {
            shipment.shipment_id
            for shipment in session.shipments(command.tenant, "shipment_id", ids)
        }
        for forecast in command.forecasts:
            last, revision = before.get(forecast.shipment_id), json.loads(forecast.assessment)
            # It may have been erased meanwhile.
            if (
                forecast.shipment_id in recorded_ids
                and is_changed(revision, last)
                and (last is None or last.as_of < forecast.as_of)
            ):
                forecasts.append(forecast)
                flags += _changed_flags(
                    raised[forecast.shipment_id], revision, forecast.shipment_id, forecast.as_of
                )
        session.add_forecasts(command.tenant, forecasts)
        session.put_flags(command.tenant, flags)
    return [None] * len(commands)


def to_revision(view: ShipmentView, model_version: str | None) -> dict[str, Any]:
    """What is kept of an answer: what was said, and what it was said from."""
    assessment, history = view.assessment, view.history
    return {
        "code": assessment.code.value,
        "status": assessment.status.value,
        "estimated_on": _iso_date(assessment.estimated_on),
        "earliest_on": _iso_date(assessment.earliest_on),
        "latest_on": _iso_date(assessment.latest_on),
        "promise_on": None if assessment.is_promise_proposed else _iso_date(assessment.promise_on),
        "delay_state": assessment.delay.state,
        "delay_reason": assessment.delay.reason_code,
        "on_time_probability": assessment.on_time_probability,
        "delay_probability": assessment.delay.probability,
        "model_version": model_version,
        "scan_count": history.state.scan_count,
        "version_recorded_at": history.versions[-1].recorded_at,
    }


#: Another value of one of these makes another answer.
_COMPARED_KEYS = (
    "code",
    "status",
    "estimated_on",
    "earliest_on",
    "latest_on",
    "promise_on",
    "delay_state",
    "delay_reason",
)


def is_changed(revision: Mapping[str, Any], before: StoredForecast | None) -> bool:
    """Whether an answer says something else than the one before."""
    return before is None or any(
        json.loads(before.assessment)[name] != revision[name] for name in _COMPARED_KEYS
    )


def revision_causes(forecasts: Sequence[StoredForecast]) -> list[str]:
    """Why each answer differs from the one before: ``first``, ``correction``, ``scan``, ``model`` or ``time``."""
    revisions = [json.loads(forecast.assessment) for forecast in forecasts]
    return ["created", *(_cause(before, after) for before, after in pairwise(revisions))][
        : len(revisions)
    ]


def _cause(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if before["version_recorded_at"] != after["version_recorded_at"]:
        return "update"
    if before["scan_count"] != after["scan_count"]:
        return "event"
    return "model" if before["model_version"] != after["model_version"] else "time"


def _changed_flags(
    flags: Sequence[StoredFlag], revision: Mapping[str, Any], shipment_id: str, at: int
) -> list[StoredFlag]:
    """The flags that an answer changes: one that ends, one that is raised."""
    standing = next((flag for flag in flags if flag.ended_at is None), None)
    state = revision["delay_state"]
    if standing and standing.state == state:
        return []
    ended = [standing._replace(ended_at=at)] if standing else []
    raised = (
        [
            StoredFlag(
                shipment_id,
                at,
                state,
                revision["delay_reason"],
                revision["delay_probability"],
                None,
            )
        ]
        if state in RAISED_STATES
        else []
    )
    return [*ended, *raised]


def _iso_date(day: Any) -> str | None:
    return None if day is None else day.isoformat()
