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
    open_assessments = {row: _expired(timelines, row, locations[row]) for row in expired.tolist()}
    if len(in_flight):
        moments = AsOfPairs(in_flight, np.full(len(in_flight), instant))
        open_states = states.take(in_flight)
        forecasts = forecast_open(timelines, served, moments, open_states, policy, curves)
        columns = AssessmentColumns(timelines, forecasts, options, has_model=is_model(served))
        open_assessments |= _in_flight(columns, locations)
    return [
        open_assessments[row]
        if row in open_assessments
        else _closed(timelines, states, row, location)
        for row, location in enumerate(locations)
    ]


def _in_flight(
    columns: AssessmentColumns, locations: Sequence[Mapping[str, Any]]
) -> dict[int, Assessment]:
    """The assessments of shipments in flight by their rows in the timelines."""
    rows = columns.forecasts.moments.row.tolist()
    assessments = columns.to_assessments([locations[row] for row in rows])
    return dict(zip(rows, assessments, strict=True))


def _locations(timelines: Timelines, states: States) -> list[dict[str, Any]]:
    """The fields of ``Assessment`` on where each shipment is and in which zone its days are."""
    zones, sources = timelines.zone, timelines.zone_source
    source_of = [TimezoneSource(source) for source in sources.names]
    columns = zip(
        states.status.tolist(),
        states.phase.tolist(),
        zones.codes.tolist(),
        sources.codes.tolist(),
        strict=True,
    )
    return [
        {
            "status": STATUSES[status],
            "phase": PHASES[phase],
            "timezone": zones.names[zone],
            "timezone_source": source_of[source],
        }
        for status, phase, zone, source in columns
    ]


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
    return Assessment(
        code=AssessmentCode.ARRIVED,
        **location,
        earliest_on=arrived_on.item(),
        estimated_on=arrived_on.item(),
        latest_on=arrived_on.item(),
        confidence=1.0,
        days_left=dict.fromkeys(PERCENTILES),
        promise_on=promised_on.item(),
        on_time_probability=float(not is_late) if has_promise else None,
        delay=DelayAssessment(
            state=DELIVERED_LATE if is_late else str(DelayState.ON_TRACK),
            probability=float(is_late) if has_promise else None,
        ),
        support_level=OBSERVED,
        support_parcels=1,
    )


def _expired(timelines: Timelines, row: int, location: Mapping[str, Any]) -> Assessment:
    """The assessment of a shipment that has been open for longer than forecasts reach."""
    expired_location = {**location, "status": Status.EXPIRED}
    return _without_dates(timelines, row, expired_location, AssessmentCode.EXPIRED)


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
