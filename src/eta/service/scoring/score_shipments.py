"""Scores shipments that the caller sends whole, one or thousands, with the same results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import local_dates, to_instant
from eta.curves import Curves
from eta.delays import DelayPolicy
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import DelayState, Status, TimezoneSource
from eta.journey.state import PHASES, STATUSES, AsOfPairs, States, fold
from eta.journey.timelines import Timelines
from eta.model.bundle import Predictor, is_model
from eta.service.scoring.assessment import (
    DELIVERED_LATE,
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
    open_assessments = {}
    for row in expired.tolist():
        location = {**locations[row], "status": Status.EXPIRED}
        expired_code = AssessmentCode.EXPIRED
        open_assessments[row] = _without_dates(timelines, row, location, expired_code)
    if len(in_flight):
        moments = AsOfPairs(in_flight, np.full(len(in_flight), instant))
        open_states = states.take(in_flight)
        forecasts = forecast_open(timelines, served, moments, open_states, policy, curves)
        columns = AssessmentColumns(timelines, forecasts, options, has_model=is_model(served))
        rows = in_flight.tolist()
        assessed = columns.to_assessments([locations[row] for row in rows])
        open_assessments |= zip(rows, assessed, strict=True)
    assessments = []
    for row, location in enumerate(locations):
        if row in open_assessments:
            assessments.append(open_assessments[row])
        else:
            assessments.append(_closed(timelines, states, row, location))
    return assessments


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
    """The assessment of a shipment that is not open: arrived, abandoned, or not received yet."""
    if not np.isnat(states.arrived_at[row]):
        return _arrived(timelines, states.arrived_at, row, location)
    if np.isnat(states.abandoned_at[row]):
        return _without_dates(timelines, row, location, AssessmentCode.NOT_KNOWN_YET)
    return _without_dates(timelines, row, location, AssessmentCode.NO_ARRIVAL_EXPECTED)


def _arrived(
    timelines: Timelines,
    arrived_at: NDArray[np.datetime64],
    row: int,
    location: Mapping[str, Any],
) -> Assessment:
    """The assessment of a shipment that has arrived: its dates are the day of the arrival."""
    only_row = slice(row, row + 1)
    zones = timelines.zone
    arrived_on = local_dates(arrived_at[only_row], zones.codes[only_row], zones.names)[0]
    promised_on = timelines.promised_on[row]
    has_promise = not np.isnat(promised_on)
    is_late = bool(arrived_on > promised_on)
    state = DELIVERED_LATE if is_late else str(DelayState.ON_TRACK)
    late_probability = float(is_late) if has_promise else None
    day = arrived_on.item()
    return Assessment(
        code=AssessmentCode.ARRIVED,
        **location,
        earliest_on=day,
        estimated_on=day,
        latest_on=day,
        confidence=1.0,
        days_left=dict.fromkeys(PERCENTILES),
        promise_on=promised_on.item(),
        on_time_probability=float(not is_late) if has_promise else None,
        delay=DelayAssessment(state=state, probability=late_probability),
        support_level=OBSERVED,
        support_parcels=1,
    )


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
