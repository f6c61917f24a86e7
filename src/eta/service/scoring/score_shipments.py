"""What there is to say about each of some shipments, told whole: batches of one and of thousands give the same answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from math import isfinite
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
from eta.local_dates import probability_by_day, window_levels
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
from eta.service.scoring.open_forecasts import OpenForecasts, forecast_open, split_open


def score_shipments(
    shipments: Sequence[Shipment],
    events: Iterable[TrackingEvent],
    served: Predictor | None,
    as_of: datetime,
    *,
    policy: DelayPolicy,
    options: AssessmentOptions,
) -> list[Assessment]:
    """One answer a shipment, in the order given, from what had been told by ``as_of`` (aware); ids must differ.

    With lane medians in the place of a model the answers have dates and say so (``NO_MODEL``). With
    nothing (``served`` is None) they say where each shipment is and whether its promise has passed.
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
    """The same about all shipments of timelines, in their order; ``curves`` are the laws of those in flight, where the caller has them."""
    instant = to_instant(as_of)
    states = fold(timelines, AsOfPairs.all_at(timelines, instant))
    in_flight, expired = split_open(states, instant)
    locations = _location_fields(timelines, states)
    closed = {
        row: _without_dates(
            timelines, row, locations[row] | {"status": Status.EXPIRED}, AssessmentCode.EXPIRED
        )
        for row in expired.tolist()
    }
    if len(in_flight):
        moments = AsOfPairs(in_flight, np.full(len(in_flight), instant))
        forecasts = forecast_open(
            timelines, served, moments, states.take(in_flight), policy, curves
        )
        assessments = _in_flight(
            timelines, forecasts, locations, options, has_model=is_model(served)
        )
        closed |= dict(zip(in_flight.tolist(), assessments, strict=True))
    return [
        closed[row] if row in closed else _closed_assessment(timelines, states, row, locations[row])
        for row in range(len(timelines))
    ]


def _in_flight(
    timelines: Timelines,
    forecasts: OpenForecasts,
    locations: Sequence[dict[str, Any]],
    options: AssessmentOptions,
    *,
    has_model: bool,
) -> Iterator[Assessment]:
    rows, flags = forecasts.moments.row, forecasts.delays
    dates = forecasts.dates(
        (*window_levels(options.coverage), *(percent / 100.0 for percent in PERCENTILES))
    )
    proposed = options.promise.dates(
        forecasts.curves,
        forecasts.moments.as_of,
        forecasts.zone,
        ordered_at=forecasts.states.ordered_at,
    )
    proposed[~forecasts.is_supported] = np.datetime64("NaT")
    promised_on = timelines.promised_on[rows]
    is_proposed = np.isnat(promised_on)
    desired_on = np.full(len(rows), np.datetime64(options.desired_on, "D"))
    days_to_read = np.array([dates[:, 1], np.where(is_proposed, proposed, promised_on), desired_on])
    probabilities = probability_by_day(
        forecasts.curves,
        forecasts.moments.as_of,
        np.ascontiguousarray(days_to_read.T),
        forecasts.zone,
    )
    columns = (
        rows.tolist(),
        forecasts.is_supported.tolist(),
        dates[:, :3].tolist(),
        _numbers(probabilities[:, 0]),
        (dates[:, 3:] - forecasts.as_of_on[:, None]).tolist(),
        days_to_read[1].tolist(),
        is_proposed.tolist(),
        _numbers(np.where(is_proposed, probabilities[:, 1], forecasts.on_time)),
        _numbers(np.where(forecasts.is_supported, probabilities[:, 2], np.nan)),
        forecasts.support_level.tolist(),
        forecasts.support_parcels.tolist(),
        flags.state.tolist(),
        flags.reason_code.tolist(),
        flags.reason_party.tolist(),
        flags.evidence_kind.tolist(),
        *(
            _numbers(values)
            for values in (
                flags.probability,
                flags.lead_hours,
                flags.observed_hours,
                flags.expected_p50_hours,
                flags.expected_upper_hours,
            )
        ),
    )
    for row, supported, (
        earliest,
        median,
        latest,
    ), confidence, days, promise, proposed, on_time, desired, level, parcels, *flag in zip(
        *columns, strict=True
    ):
        yield Assessment(
            code=_code(median, has_model=has_model, is_supported=supported),
            **locations[row],
            earliest_on=earliest,
            estimated_on=median,
            latest_on=latest,
            confidence=confidence,
            days_left={
                percent: None if left is None else left.days
                for percent, left in zip(PERCENTILES, days, strict=True)
            },
            promise_on=promise,
            is_promise_proposed=proposed,
            on_time_probability=on_time,
            desired_probability=desired,
            delay=DelayAssessment(*flag),
            support_level=level if has_model or supported else NOTHING,
            support_parcels=parcels,
        )


def _code(median_on: date | None, *, has_model: bool, is_supported: bool) -> AssessmentCode:
    if not has_model:
        return AssessmentCode.NO_MODEL
    if not is_supported:
        return AssessmentCode.TOO_LITTLE_SUPPORT
    return AssessmentCode.MAY_NEVER_ARRIVE if median_on is None else AssessmentCode.OK


def _closed_assessment(
    timelines: Timelines, states: States, row: int, locations: dict[str, Any]
) -> Assessment:
    """The answer about a shipment that is not waited for: it has arrived, was given up, or is not known yet."""
    if np.isnat(states.arrived_at[row]):
        is_unknown = np.isnat(states.abandoned_at[row])
        return _without_dates(
            timelines,
            row,
            locations,
            AssessmentCode.NOT_KNOWN_YET if is_unknown else AssessmentCode.NO_ARRIVAL_EXPECTED,
        )
    arrived_on = local_dates(
        states.arrived_at[row : row + 1], timelines.zone.codes[row : row + 1], timelines.zone.names
    )[0]
    promised_on = timelines.promised_on[row]
    has_promise, is_late = not np.isnat(promised_on), bool(arrived_on > promised_on)
    return Assessment(
        code=AssessmentCode.ARRIVED,
        **locations,
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


def _without_dates(
    timelines: Timelines, row: int, locations: dict[str, Any], code: AssessmentCode
) -> Assessment:
    return Assessment(
        code=code,
        **locations,
        days_left=dict.fromkeys(PERCENTILES),
        promise_on=timelines.promised_on[row].item(),
        support_level=NOTHING,
        support_parcels=0,
    )


def _location_fields(timelines: Timelines, states: States) -> list[dict[str, Any]]:
    """Where each shipment is, and whose days are told."""
    zones, sources = timelines.zone, timelines.zone_source
    source_of = [TimezoneSource(source) for source in sources.names]
    columns = (
        states.status.tolist(),
        states.phase.tolist(),
        zones.codes.tolist(),
        sources.codes.tolist(),
    )
    return [
        {
            "status": STATUSES[status],
            "phase": PHASES[phase],
            "timezone": zones.names[zone],
            "timezone_source": source_of[source],
        }
        for status, phase, zone, source in zip(*columns, strict=True)
    ]


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [value if isfinite(value) else None for value in values.tolist()]
