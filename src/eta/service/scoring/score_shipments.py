"""Scores shipments that the caller sends whole, one or thousands, with the same results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import numpy as np

from eta.calendars.local_time import Instants, local_dates, to_instant
from eta.curves import Curves
from eta.delays import DelayPolicy
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import DelayState, Status, TimezoneSource
from eta.journey.state import PHASES, STATUSES, AsOfPairs, States, fold
from eta.journey.timelines import Timelines
from eta.model.bundle import Predictor, is_model
from eta.model.fallback import FallbackBundle
from eta.service.scoring.assessment import (
    NOTHING,
    OBSERVED,
    PERCENTILES,
    Assessment,
    AssessmentCode,
    AssessmentOptions,
    DelayAssessment,
)
from eta.service.scoring.assessment_columns import AssessmentColumns
from eta.service.scoring.open_forecasts import forecast_open, split_open


def score_shipments(
    shipments: Sequence[Shipment],
    events: Iterable[TrackingEvent],
    served: Predictor | None,
    as_of: datetime,
    *,
    policy: DelayPolicy,
    options: AssessmentOptions,
) -> list[Assessment]:
    """One assessment a shipment, in the order given, from what was received by ``as_of`` (aware).

    Ids must differ. With the fallback in place of a model the assessments have dates and the code
    ``NO_MODEL``. If ``served`` is None they say where each shipment is and whether its promise has
    passed.
    """
    if not shipments:
        return []
    timelines = Timelines.from_records(shipments, events)
    assessments = score_timelines(timelines, served, as_of, policy=policy, options=options)
    assessment_of = dict(zip(timelines.shipment_id, assessments, strict=True))
    return [assessment_of[shipment.shipment_id] for shipment in shipments]


def score_timelines(
    timelines: Timelines,
    served: Predictor | None,
    as_of: datetime,
    *,
    policy: DelayPolicy,
    options: AssessmentOptions,
    curves: Curves | None = None,
) -> list[Assessment]:
    """The assessments of all shipments of timelines, in their order.

    ``curves`` replace those of the model for the shipments in flight.
    """
    instant = to_instant(as_of)
    states = fold(timelines, AsOfPairs.all_at(timelines, instant))
    in_flight, expired = split_open(states, instant)
    locations = _locations(timelines, states)
    assessments = {}
    for row in expired.tolist():
        location = {**locations[row], "status": Status.EXPIRED}
        assessments[row] = _without_dates(timelines, row, location, AssessmentCode.EXPIRED)
    if len(in_flight):
        moments = AsOfPairs(in_flight, np.full(len(in_flight), instant))
        open_states = states.take(in_flight)
        forecasts = forecast_open(timelines, served, moments, open_states, policy, curves)
        columns = AssessmentColumns(timelines, forecasts, options, _degraded_code(served))
        rows = in_flight.tolist()
        assessed = columns.to_assessments([locations[row] for row in rows])
        assessments |= zip(rows, assessed, strict=True)
    for row in np.flatnonzero(~states.is_open).tolist():
        assessments[row] = _closed(timelines, states, row, locations[row])
    return [assessments[row] for row in range(len(locations))]


def _degraded_code(served: Predictor | None) -> AssessmentCode | None:
    """Why no model makes the forecasts; None if one does."""
    if is_model(served):
        return None
    is_timed_out = isinstance(served, FallbackBundle) and served.is_timed_out
    return AssessmentCode.TIMED_OUT if is_timed_out else AssessmentCode.NO_MODEL


def _locations(timelines: Timelines, states: States) -> list[dict[str, Any]]:
    """The fields of ``Assessment`` on where each shipment is and in which zone its days are."""
    zones, sources = timelines.zone, timelines.zone_source
    source_of = [TimezoneSource(source) for source in sources.names]
    statuses, phases = states.status.tolist(), states.phase.tolist()
    zone_codes, source_codes = zones.codes.tolist(), sources.codes.tolist()
    locations = []
    for status, phase, zone, source in zip(statuses, phases, zone_codes, source_codes, strict=True):
        location: dict[str, Any] = {"status": STATUSES[status], "phase": PHASES[phase]}
        location["timezone"] = zones.names[zone]
        location["timezone_source"] = source_of[source]
        locations.append(location)
    return locations


def _closed(
    timelines: Timelines, states: States, row: int, location: Mapping[str, Any]
) -> Assessment:
    """The assessment of a shipment that is not open: tried to deliver, abandoned, or unknown."""
    if np.isnat(states.arrived_at[row]):
        is_unknown = np.isnat(states.abandoned_at[row])
        unknown, abandoned = AssessmentCode.NOT_KNOWN_YET, AssessmentCode.NO_ARRIVAL_EXPECTED
        return _without_dates(timelines, row, location, unknown if is_unknown else abandoned)
    if not np.isnat(states.delivered_at[row]):
        return _delivered(timelines, states, row, location)
    if not states.is_undelivered[row]:
        code = AssessmentCode.NO_ARRIVAL_EXPECTED
    elif location["status"] is Status.AVAILABLE_FOR_PICKUP:
        code = AssessmentCode.AVAILABLE_FOR_PICKUP
    else:
        code = AssessmentCode.DELIVERY_ATTEMPTED
    first_attempt_on = _local_day(timelines, states.arrived_at, row)
    return replace(
        _without_dates(timelines, row, location, code), first_attempt_on=first_attempt_on
    )


def _delivered(
    timelines: Timelines, states: States, row: int, location: Mapping[str, Any]
) -> Assessment:
    """The assessment of a shipment that was delivered: its dates are the day of the delivery.

    The first attempt decides whether it is late.
    """
    first_attempt_on = _local_day(timelines, states.arrived_at, row)
    promised_on = timelines.promised_on[row]
    has_promise = not np.isnat(promised_on)
    is_late = has_promise and first_attempt_on > promised_on.item()
    state = DelayState.DELIVERED_LATE if is_late else DelayState.ON_TRACK
    late_probability = float(is_late) if has_promise else None
    day = _local_day(timelines, states.delivered_at, row)
    return Assessment(
        code=AssessmentCode.ARRIVED,
        **location,
        earliest_on=day,
        estimated_on=day,
        latest_on=day,
        first_attempt_on=first_attempt_on,
        confidence=1.0,
        days_left=dict.fromkeys(PERCENTILES),
        promise_on=promised_on.item(),
        on_time_probability=float(not is_late) if has_promise else None,
        delay=DelayAssessment(state=state.value, probability=late_probability),
        support_level=OBSERVED,
        support_parcels=1,
    )


def _local_day(timelines: Timelines, instants: Instants, row: int) -> date:
    """The local day at the destination of the instant (UTC) of a shipment."""
    only_row, zones = slice(row, row + 1), timelines.zone
    day: date = local_dates(instants[only_row], zones.codes[only_row], zones.names)[0].item()
    return day


def _without_dates(
    timelines: Timelines, row: int, location: Mapping[str, Any], code: AssessmentCode
) -> Assessment:
    """An assessment whose only date is the promise."""
    return Assessment(
        code=code,
        **location,
        days_left=dict.fromkeys(PERCENTILES),
        promise_on=timelines.promised_on[row].item(),
        support_level=NOTHING,
        support_parcels=0,
    )
