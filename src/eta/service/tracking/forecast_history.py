"""The recorded forecasts of a shipment, and the flags that they raise and clear."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from typing import Any

from eta.calendars.local_time import from_microseconds
from eta.domain.errors import EtaError
from eta.service.scoring.assessment import FlagAssessment
from eta.service.tracking.read_shipments import ShipmentView, by_shipment
from eta.store.records import StoredFlag, StoredForecast
from eta.store.session import Session


@dataclass(frozen=True)
class SaveForecasts:
    """Forecasts of a tenant's shipments that are to be recorded."""

    tenant: str
    forecasts: Sequence[StoredForecast]


def with_latest_forecast(view: ShipmentView, as_of: int, model_version: str | None) -> ShipmentView:
    """Appends the assessment to the history, with its flags, if it differs from the last one."""
    history = view.history
    revision = to_revision(view, model_version)
    last = history.forecasts[-1] if history.forecasts else None
    if not is_changed(revision, last):
        return view
    forecast = StoredForecast(
        shipment_id=history.stored.shipment_id,
        as_of=as_of,
        model_version=model_version,
        assessment=json.dumps(revision),
    )
    changed_flags = _changed_flags(history.flags, revision, forecast.shipment_id, as_of)
    flags = {flag.raised_at: flag for flag in (*history.flags, *changed_flags)}
    updated = replace(history, forecasts=[*history.forecasts, forecast], flags=list(flags.values()))
    return replace(view, history=updated)


def with_recorded_flag(view: ShipmentView) -> ShipmentView:
    """Takes the times of the flag from the recorded history."""
    flags = view.history.flags
    delay = view.assessment.delay
    ended = [flag.ended_at for flag in flags if flag.ended_at]
    is_cleared = bool(ended) and not delay.flag.is_raised
    flag = FlagAssessment(
        is_raised=delay.flag.is_raised,
        first_flagged_at=from_microseconds(min(each.raised_at for each in flags))
        if flags
        else None,
        cleared_at=from_microseconds(max(ended)) if is_cleared else None,
    )
    return replace(view, assessment=replace(view.assessment, delay=replace(delay, flag=flag)))


def save_forecasts(session: Session, commands: Sequence[SaveForecasts]) -> list[EtaError | None]:
    """Records forecasts that still differ from the last one, and raises and clears flags."""
    for command in commands:
        tenant = command.tenant
        shipment_ids = [forecast.shipment_id for forecast in command.forecasts]
        # Another request may have recorded a forecast meanwhile, or deleted the shipment.
        recorded = session.forecasts(tenant, shipment_ids)
        last_forecasts = {forecast.shipment_id: forecast for forecast in recorded}
        stored_flags = by_shipment(session.flags(tenant, shipment_ids))
        shipments = session.shipments(tenant, "shipment_id", shipment_ids)
        recorded_ids = {shipment.shipment_id for shipment in shipments}
        forecasts: list[StoredForecast] = []
        flags: list[StoredFlag] = []
        for forecast in command.forecasts:
            shipment_id = forecast.shipment_id
            revision = json.loads(forecast.assessment)
            last = last_forecasts.get(shipment_id)
            is_later = last is None or last.as_of < forecast.as_of
            if shipment_id in recorded_ids and is_later and is_changed(revision, last):
                forecasts.append(forecast)
                flags_before = stored_flags[shipment_id]
                flags += _changed_flags(flags_before, revision, shipment_id, forecast.as_of)
        session.add_forecasts(tenant, forecasts)
        session.put_flags(tenant, flags)
    return [None] * len(commands)


def to_revision(view: ShipmentView, model_version: str | None) -> dict[str, Any]:
    """Returns the recorded part of an assessment, with the data from which it was made."""
    assessment = view.assessment
    delay = assessment.delay
    history = view.history
    promise_on = None if assessment.is_promise_proposed else assessment.promise_on
    return {
        "code": assessment.code.value,
        "status": assessment.status.value,
        "estimated_on": _iso_date(assessment.estimated_on),
        "earliest_on": _iso_date(assessment.earliest_on),
        "latest_on": _iso_date(assessment.latest_on),
        "promise_on": _iso_date(promise_on),
        "delay_state": delay.state,
        "is_flagged": delay.flag.is_raised,
        "delay_reason": delay.reason_code,
        "on_time_probability": assessment.on_time_probability,
        "delay_probability": delay.probability,
        "model_version": model_version,
        "scan_count": history.state.scan_count,
        "version_recorded_at": history.versions[-1].recorded_at,
    }


#: A forecast is recorded if the value of one of these keys differs from the last forecast.
_COMPARED_KEYS = (
    "code",
    "status",
    "estimated_on",
    "earliest_on",
    "latest_on",
    "promise_on",
    "delay_state",
    "is_flagged",
    "delay_reason",
)


def is_changed(revision: Mapping[str, Any], before: StoredForecast | None) -> bool:
    """Whether an assessment differs from the forecast before."""
    if before is None:
        return True
    assessment_before = json.loads(before.assessment)
    return any(assessment_before[key] != revision[key] for key in _COMPARED_KEYS)


def revision_causes(forecasts: Sequence[StoredForecast]) -> list[str]:
    """Returns the cause of each: ``created``, ``update``, ``event``, ``model`` or ``time``."""
    if not forecasts:
        return []
    revisions = [json.loads(forecast.assessment) for forecast in forecasts]
    causes = ["created"]
    for before, after in pairwise(revisions):
        if before["version_recorded_at"] != after["version_recorded_at"]:
            causes.append("update")
        elif before["scan_count"] != after["scan_count"]:
            causes.append("event")
        elif before["model_version"] != after["model_version"]:
            causes.append("model")
        else:
            causes.append("time")
    return causes


def _changed_flags(
    flags: Sequence[StoredFlag], revision: Mapping[str, Any], shipment_id: str, at: int
) -> list[StoredFlag]:
    """Returns the flags that an assessment clears and raises."""
    open_flag = next((flag for flag in flags if flag.ended_at is None), None)
    state, is_flagged = revision["delay_state"], revision["is_flagged"]
    if open_flag and is_flagged and open_flag.state == state:
        return []
    changed: list[StoredFlag] = []
    if open_flag:
        changed.append(open_flag._replace(ended_at=at))
    if is_flagged:
        raised = StoredFlag(
            shipment_id=shipment_id,
            raised_at=at,
            state=state,
            reason_code=revision["delay_reason"],
            probability=revision["delay_probability"],
            ended_at=None,
        )
        changed.append(raised)
    return changed


def _iso_date(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
