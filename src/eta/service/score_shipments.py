"""What there is to say about each of some shipments, told whole: batches of one and of thousands give the same answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local import Dates, Instants, day_ends, hours_between, local_dates, to_instant
from eta.calendars.zones import zone_of
from eta.delays import DelayPolicy
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import DelayState, Phase, Status, TimezoneSource
from eta.journey.features import promise_ends
from eta.journey.state import PHASES, STATUSES, Moments, States, fold
from eta.journey.timeline import Timelines
from eta.promise import date_at, probability_by, to_duration
from eta.service.score_parcels import Forecasts, forecast_open, split_open
from eta.service.served_model import ServedModel

#: Levels, in percent from below, at which the days left are told.
PERCENTILES = (50, 75, 85, 90, 95, 97, 99)
#: The state of a shipment that has arrived after the promised day.
DELIVERED_LATE = "delivered_late"
#: In the place of a rung of support: the answer was seen, or nothing is answered.
OBSERVED, NOTHING = "observed", "none"


class AnswerCode(StrEnum):
    """Why an answer is as it is."""

    OK = "ok"
    #: More than half of such parcels do not arrive within the horizon: there is no median date.
    MAY_NEVER_ARRIVE = "may_never_arrive"
    #: Abstained: too few parcels to learn from.
    TOO_LITTLE_SUPPORT = "too_little_support"
    #: Degraded: no usable model.
    NO_MODEL = "no_model"
    #: Open for longer than a forecast reaches.
    EXPIRED = "expired"
    #: It has arrived; the date is that of the arrival.
    ARRIVED = "arrived"
    #: Cancelled or on its way back.
    NO_ARRIVAL_EXPECTED = "no_arrival_expected"
    #: Nothing had been told by the moment asked about.
    NOT_KNOWN_YET = "not_known_yet"


@dataclass(frozen=True, kw_only=True)
class DelayAnswer:
    """The delay flag of one shipment; ``state`` is None where no arrival is waited for."""

    state: str | None = None
    probability: float | None = None
    #: Hours until the promised day ends.
    lead_time_hours: float | None = None
    reason_code: str | None = None
    reason_party: str | None = None
    evidence_kind: str | None = None
    observed_hours: float | None = None
    expected_p50_hours: float | None = None
    expected_upper_hours: float | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """All that is said about one shipment. Dates are local days at the destination."""

    code: AnswerCode
    status: Status
    phase: Phase
    timezone: str
    timezone_source: TimezoneSource
    earliest_on: date | None = None
    estimated_on: date | None = None
    latest_on: date | None = None
    #: P(arrival on or before ``estimated_on``).
    confidence: float | None = None
    #: Fewest whole days from the local date of ``as_of``, by percent of ``PERCENTILES``.
    days_left: Mapping[int, int | None]
    #: The day promised, or else the earliest that could be promised at the level asked for.
    promise_on: date | None = None
    is_promise_ours: bool = False
    on_time_probability: float | None = None
    delay: DelayAnswer = DelayAnswer()
    support_level: str
    support_parcels: int


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How an answer is to be told: P(window holds the arrival), and the level of a promise of our own, both 0 to 1."""

    coverage: float = 0.8
    promise_level: float = 0.9


def score_shipments(
    shipments: Sequence[Shipment],
    events: Iterable[TrackingEvent],
    served: ServedModel | None,
    as_of: datetime,
    *,
    policy: DelayPolicy,
    terms: Terms,
) -> list[Answer]:
    """One answer a shipment, in the order given, from what had been told by ``as_of`` (aware); ids must differ.

    Without a model (``served`` is None) the answers say where each shipment is and whether its promise has passed.
    """
    if not shipments:
        return []
    timelines = Timelines.from_records(shipments, events)
    instant = to_instant(as_of)
    states = fold(timelines, Moments.all_at(timelines, instant))
    told: dict[int, Answer] = {}
    in_flight, expired = split_open(states, instant)
    if len(in_flight):
        told |= _in_flight(timelines, in_flight, states, served, instant, policy, terms)
    told |= {row: _without_dates(timelines, states, row, AnswerCode.EXPIRED) for row in expired.tolist()}
    row_of = {shipment_id: row for row, shipment_id in enumerate(timelines.shipment_id)}
    rows = [row_of[shipment.shipment_id] for shipment in shipments]
    return [told[row] if row in told else _ended(timelines, states, row) for row in rows]


def _in_flight(
    timelines: Timelines, rows: NDArray[np.int64], states: States, served: ServedModel | None, instant: np.datetime64, policy: DelayPolicy, terms: Terms
) -> dict[int, Answer]:
    moments = Moments(rows, np.full(len(rows), instant, dtype="datetime64[us]"))
    forecasts = forecast_open(timelines, served, moments, states.take(rows), policy)
    shown, days_left = forecasts.windows(terms.coverage), _days_left(forecasts)
    confidence = _probability_on(forecasts, shown.median_on)
    promise_on, on_time = _promises(timelines, forecasts, terms.promise_level)
    codes = _codes(forecasts, shown.median_on, has_model=served is not None)
    delays = _delays(forecasts, hours_between(moments.as_of, promise_ends(timelines, rows)))
    return {
        row: Answer(
            code=codes[i],
            **_whereabouts(timelines, states, row),
            earliest_on=_date(shown.earliest_on[i]),
            estimated_on=_date(shown.median_on[i]),
            latest_on=_date(shown.latest_on[i]),
            confidence=_number(confidence[i]),
            days_left=days_left[i],
            promise_on=_date(promise_on[i]),
            is_promise_ours=bool(np.isnat(timelines.promised_on[row])),
            on_time_probability=_number(on_time[i]),
            delay=delays[i],
            support_level=str(forecasts.support_level[i]) if served else NOTHING,
            support_parcels=int(forecasts.support_parcels[i]),
        )
        for i, row in enumerate(rows.tolist())
    }


def _codes(forecasts: Forecasts, median_on: Dates, *, has_model: bool) -> list[AnswerCode]:
    if not has_model:
        return [AnswerCode.NO_MODEL] * len(median_on)
    may_never = np.isnat(median_on)
    return [
        AnswerCode.TOO_LITTLE_SUPPORT if not supported else AnswerCode.MAY_NEVER_ARRIVE if never else AnswerCode.OK
        for supported, never in zip(forecasts.is_supported.tolist(), may_never.tolist(), strict=True)
    ]


def _promises(timelines: Timelines, forecasts: Forecasts, level: float) -> tuple[Dates, NDArray[np.float64]]:
    """The promised days, or the earliest kept with probability ``level`` where none was promised, and P(on time)."""
    promised_on = timelines.promised_on[forecasts.moments.row]
    ours = date_at(forecasts.curves, level, forecasts.moments.as_of, forecasts.zone)
    ours[~forecasts.is_supported] = np.datetime64("NaT")
    has_promise = ~np.isnat(promised_on)
    return np.where(has_promise, promised_on, ours), np.where(has_promise, forecasts.on_time, _probability_on(forecasts, ours))


def _probability_on(forecasts: Forecasts, dates: Dates) -> NDArray[np.float64]:
    """P(arrival on or before the local ``dates``), (N,); NaN without a date."""
    ends = day_ends(dates, forecasts.zone.codes, forecasts.zone.names)
    return probability_by(forecasts.curves, forecasts.moments.as_of, ends)


def _days_left(forecasts: Forecasts) -> list[dict[int, int | None]]:
    """For each parcel and percentile K the fewest whole days d with P(days left <= d) >= K %; None if there are none."""
    hours = np.column_stack([forecasts.curves.quantile(percent / 100.0) for percent in PERCENTILES])
    is_known = np.isfinite(hours) & forecasts.is_supported[:, None]
    today = _local(forecasts, forecasts.moments.as_of, 1)
    at = forecasts.moments.as_of[:, None] + to_duration(np.where(is_known, hours, 0.0))
    days = (_local(forecasts, at.ravel(), len(PERCENTILES)).reshape(hours.shape) - today[:, None]).astype(np.int64)
    return [{percent: int(day) if known else None for percent, day, known in zip(PERCENTILES, days[i], is_known[i], strict=True)} for i in range(len(hours))]


def _local(forecasts: Forecasts, at: Instants, times: int) -> Dates:
    return local_dates(at, np.repeat(forecasts.zone.codes, times), forecasts.zone.names)


def _delays(forecasts: Forecasts, lead_hours: NDArray[np.float64]) -> list[DelayAnswer]:
    flags = forecasts.delays
    return [
        DelayAnswer(
            state=flags.state[i],
            probability=_number(flags.probability[i]),
            lead_time_hours=_number(max(lead_hours[i], 0.0)),
            reason_code=flags.reason_code[i],
            reason_party=flags.reason_party[i],
            evidence_kind=flags.evidence_kind[i],
            observed_hours=_number(flags.observed_hours[i]),
            expected_p50_hours=_number(flags.expected_p50_hours[i]),
            expected_upper_hours=_number(flags.expected_upper_hours[i]),
        )
        for i in range(len(lead_hours))
    ]


def _ended(timelines: Timelines, states: States, row: int) -> Answer:
    """The answer about a shipment that is not waited for: it has arrived, was given up, or is not known yet."""
    if np.isnat(states.arrived_at[row]):
        is_unknown = np.isnat(states.given_up_at[row])
        return _without_dates(timelines, states, row, AnswerCode.NOT_KNOWN_YET if is_unknown else AnswerCode.NO_ARRIVAL_EXPECTED)
    on = local_dates(states.arrived_at[row : row + 1], timelines.zone.codes[row : row + 1], timelines.zone.names)[0]
    promised_on = timelines.promised_on[row]
    has_promise, is_late = not np.isnat(promised_on), bool(on > promised_on)
    return Answer(
        code=AnswerCode.ARRIVED,
        **_whereabouts(timelines, states, row),
        earliest_on=_date(on),
        estimated_on=_date(on),
        latest_on=_date(on),
        confidence=1.0,
        days_left=dict.fromkeys(PERCENTILES),
        promise_on=_date(promised_on),
        on_time_probability=float(not is_late) if has_promise else None,
        delay=DelayAnswer(state=DELIVERED_LATE if is_late else str(DelayState.ON_TRACK), probability=float(is_late) if has_promise else None),
        support_level=OBSERVED,
        support_parcels=1,
    )


def _without_dates(timelines: Timelines, states: States, row: int, code: AnswerCode) -> Answer:
    return Answer(
        code=code,
        **_whereabouts(timelines, states, row) | ({"status": Status.EXPIRED} if code is AnswerCode.EXPIRED else {}),
        days_left=dict.fromkeys(PERCENTILES),
        promise_on=_date(timelines.promised_on[row]),
        support_level=NOTHING,
        support_parcels=0,
    )


def _whereabouts(timelines: Timelines, states: States, row: int) -> dict[str, Any]:
    place = (timelines.texts[f"destination_{part}"] for part in ("country", "region"))
    country, region = (labels.names[labels.codes[row]] if labels.codes[row] >= 0 else None for labels in place)
    return {
        "status": STATUSES[states.status[row]],
        "phase": PHASES[states.phase[row]],
        "timezone": timelines.zone.names[timelines.zone.codes[row]],
        "timezone_source": zone_of(country, region)[1],
    }


def _date(day: np.datetime64) -> date | None:
    return None if np.isnat(day) else day.astype("datetime64[D]").item()


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
