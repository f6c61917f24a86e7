"""Replays past days as they were known: fit, forecast, wait, judge.

A model is refitted at each origin on what was known then, and forecasts every moment until the next
one. Models whose fit costs next to nothing are refitted every midnight; those that follow the
network's drift learn it anew every midnight, and those that calibrate learn at each origin from the
forecasts that were made before it. What came true is looked up at the end of the data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.local import DAY, Dates, local_dates, to_instant, wall_clock
from eta.curves import Curves
from eta.domain.errors import NothingToLearn
from eta.evaluation.scores import (
    PINBALL_LEVELS,
    crps_days,
    error_days,
    is_covered,
    pinball_days,
    probability_integral_transform,
)
from eta.forecast.base import ArrivalModel
from eta.forecast.calibration import PAST_DAYS, Calibrates, Calibration, Passed, stages
from eta.forecast.drift import Follower, FollowsDrift, Midnights
from eta.journey.columns import Labels
from eta.journey.features import promise_ends
from eta.journey.snapshots import (
    MOMENTS,
    PURCHASE,
    Outcomes,
    Snapshots,
    examples,
    snapshots_to_judge,
    snapshots_to_learn,
)
from eta.journey.state import PHASES, Moments, fold
from eta.journey.timeline import Timelines
from eta.promise import (
    QUOTED_DAYS,
    PromisePolicy,
    chances_of_days,
    costs_of_rate,
    probability_by,
    windows,
)

#: Called with what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]

#: Answers a question about a moment without having learned anything, such as the truth behind
#: simulated parcels.
Law = Callable[[Moments], Curves]

#: Moments a week and phase of which the curves themselves are kept, to be compared with other laws.
SAMPLED = 20

#: Moments a month and stage from which a model learns how wide its laws should have been.
MOST_CALIBRATING = 20_000

#: Full months replayed before the first judged day, so that promises are chosen on the past from
#: the first day on.
WARM_UP_MONTHS = 3

#: Days of orders whose laws say what a late parcel must count for, and the most orders of a day
#: that are asked.
QUOTED_FOR_DAYS, MOST_QUOTED = 31, 64


class Refit(StrEnum):
    """How often a model that costs something to fit is refitted."""

    MONTH = "month"
    WEEK = "week"
    NEVER = "never"


@dataclass(frozen=True, eq=False)
class Replay:
    """What was forecast and what came true: ``judged`` has one row a snapshot, ``forecasts`` the same rows by model."""

    judged: pd.DataFrame
    forecasts: dict[str, pd.DataFrame]
    fit_seconds: dict[str, float]
    predict_seconds: dict[str, float]
    #: What models that calibrate have learned of their forecasts by the end.
    calibrations: dict[str, Calibration]
    #: How each model would have promised on the last day; None without a past.
    policies: dict[str, PromisePolicy | None]


@dataclass(frozen=True, eq=False)
class _Past:
    """Forecasts that were made: rows of the snapshots, their curves, and how these were calibrated."""

    rows: NDArray[np.int64]
    curves: Curves
    calibration: Calibration


class _Quoted(NamedTuple):
    """Chances (N, ``QUOTED_DAYS``) of orders of one day, and for how many orders each of them stands, (N,)."""

    ordered_at: np.datetime64
    chances: NDArray[np.float64]
    weight: NDArray[np.float64]


@dataclass(eq=False)
class _Run:
    """One model, or one law, on its way through the days."""

    make: Callable[[], ArrivalModel] | None
    law: Law | None = None
    forecasts: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    refits_daily: bool = False
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    fitted: ArrivalModel | None = None
    follower: Follower | None = None
    past: list[_Past] = field(default_factory=list)
    #: Of the orders of each day, sampled, the chances of the days that might have been promised;
    #: and for how many each one stands.
    quoted: list[_Quoted] = field(default_factory=list)
    policy: PromisePolicy | None = None

    def fit(self, lessons: Snapshots, known: Outcomes) -> None:
        """Refits the model; a law has nothing to learn."""
        if self.make is None:
            return
        began = time.perf_counter()
        try:
            self.fitted = self.make().fit(examples(lessons, known))
        except NothingToLearn:
            self.fitted = None
        self.follower = None
        self.fit_seconds += time.perf_counter() - began

    def follow(self, midnights: Midnights, known: Outcomes) -> None:
        """Learns the drift as of a midnight, if the model follows any."""
        if not isinstance(self.fitted, FollowsDrift) or not self.fitted.follows_drift:
            return
        began = time.perf_counter()
        self.follower = self.follower or Follower(self.fitted, midnights)
        self.fitted.drift_ = self.follower.drift(known)
        self.fit_seconds += time.perf_counter() - began

    def choose_policy(self, promise: PromisePolicy | float | None, today: np.datetime64) -> None:
        """The policy itself, or that with which orders of the last days would, by the laws they were told, have kept a rate."""
        self.quoted = [
            each for each in self.quoted if each.ordered_at >= today - QUOTED_FOR_DAYS * DAY
        ]
        if not isinstance(promise, float):
            self.policy = promise
        elif self.quoted:
            chances, weight = (
                np.concatenate([getattr(each, part) for each in self.quoted])
                for part in ("chances", "weight")
            )
            self.policy = PromisePolicy(
                on_time_rate=None, costs=costs_of_rate(chances, weight, promise)
            )

    def calibration(self, snapshots: Snapshots, known: Outcomes) -> Calibration:
        """What is known of the forecasts of the last ``PAST_DAYS``."""
        oldest = known.known_through - PAST_DAYS * DAY
        self.past = [
            past for past in self.past if (snapshots.moments.as_of[past.rows] >= oldest).any()
        ]
        parts = list[Passed]()
        for past in self.past:
            made = snapshots.take(past.rows)
            truth = examples(made, known)
            curves = past.curves.take(np.flatnonzero(made.moments.as_of < known.known_through))
            parts.append(
                Passed.of(curves, truth.features, truth.hours, truth.arrived).undone(
                    past.calibration
                )
            )
        return Calibration.learn(Passed.together(parts))

    def curves(self, asked: Snapshots) -> Curves | None:
        """The answers, or None while there was nothing to learn."""
        if self.law is not None:
            return self.law(asked.moments)
        return None if self.fitted is None else self.fitted.predict_curves(asked.features)


def replay(
    timelines: Timelines,
    models: Mapping[str, Callable[[], ArrivalModel]],
    *,
    start: datetime,
    end: datetime,
    refit: Refit,
    known_through: np.datetime64 | None = None,
    forecast_until: datetime | None = None,
    warm_up_months: int = WARM_UP_MONTHS,
    laws: Mapping[str, Law] = MappingProxyType({}),
    promise: PromisePolicy | float | None = None,
    progress: Progress = lambda *_: None,
) -> Replay:
    """Forecasts of every model at every moment with ``start <= as_of < end``, both aware midnights.

    What came true is what was known at ``known_through``, by default at the end of the data. The
    months of warm-up before ``start`` are forecast too, to choose promises on them; they are not
    judged, nor are days from ``end`` on until ``forecast_until``, from which calibrations alone are
    learned. ``laws`` are judged beside the models and never fitted. ``promise`` chooses the day
    that each model would have promised to orders: a policy, or a rate. With a rate promises are
    those of least expected cost, where a late parcel costs so much that orders of the last
    ``QUOTED_FOR_DAYS`` would have kept it, those that never come counted as missed.

    Raises:
        NothingToLearn: if no parcel had arrived before ``start``, or no moment falls within the
            days.
    """
    zone = Labels(np.zeros(1, dtype=np.int32), (str(start.tzinfo),))
    warm_start = _first_of_month(start, -warm_up_months) if warm_up_months else start
    data_end = timelines.received_at.max() if known_through is None else known_through
    known = Outcomes.at(timelines, to_instant(start))
    if np.isnat(known.arrived_at).all():
        raise NothingToLearn(f"no parcel had arrived by {start.date()}; start the replay later")
    last = forecast_until or end
    snapshots = snapshots_to_judge(timelines, to_instant(warm_start), to_instant(last))
    is_judged, calibrates = (
        (snapshots.moments.as_of >= to_instant(start))
        & (snapshots.moments.as_of < to_instant(end)),
        _calibrate(snapshots),
    )
    taken = np.flatnonzero(is_judged | calibrates | (snapshots.kind == PURCHASE))
    snapshots, is_judged, calibrates = snapshots.take(taken), is_judged[taken], calibrates[taken]
    judged = _what_came_true(timelines, snapshots, Outcomes.at(timelines, data_end), zone)
    judged["is_judged"] = is_judged
    if not judged["is_judged"].any():
        raise NothingToLearn(f"no parcel was in flight between {start.date()} and {end.date()}")

    lessons = snapshots_to_learn(timelines, to_instant(last))
    purchases = lessons.take(np.flatnonzero(lessons.kind == PURCHASE))
    runs = {name: _Run(make, refits_daily=make().refits_daily) for name, make in models.items()}
    runs |= {name: _Run(None, law) for name, law in laws.items()}
    midnights = Midnights(timelines)
    origins = [*([warm_start] if warm_up_months else []), *_origins(start, end, refit)]
    periods = [
        _days(origin, until) for origin, until in zip(origins, [*origins[1:], last], strict=True)
    ]
    total, done = sum(len(days) for days in periods), 0
    for days in periods:
        known = Outcomes.at(timelines, to_instant(days[0]))
        of_day = (
            np.searchsorted(
                [to_instant(day) for day in [*days, days[-1] + timedelta(days=1)]],
                snapshots.moments.as_of,
                side="right",
            )
            - 1
        )
        for name, run in runs.items():
            if not run.refits_daily:
                progress(f"{days[0].date()}: fitting {name}", done, total)
                run.fit(lessons, known)
            if isinstance(run.fitted, Calibrates):
                run.fitted.calibration_ = run.calibration(snapshots, known)
        for number, day in enumerate(days):
            progress(f"{day.date()}: replaying", done, total)
            known = Outcomes.at(timelines, to_instant(day))
            for run in runs.values():
                if run.refits_daily:
                    run.fit(purchases, known)
                run.follow(midnights, known)
                run.choose_policy(promise, known.known_through)
                _forecast(
                    run, timelines, snapshots, judged, np.flatnonzero(of_day == number), calibrates
                )
            done += 1
    progress("replayed", total, total)

    kept = judged["is_judged"].to_numpy()
    outcomes = Outcomes.at(timelines, data_end)
    return Replay(
        judged[kept].drop(columns="is_judged").reset_index(drop=True),
        {
            name: pd.DataFrame(run.forecasts)[kept].reset_index(drop=True)
            for name, run in runs.items()
        },
        {name: run.fit_seconds for name, run in runs.items()},
        {name: run.predict_seconds for name, run in runs.items()},
        {
            name: run.calibration(snapshots, outcomes)
            for name, run in runs.items()
            if isinstance(run.fitted, Calibrates)
        },
        {name: run.policy for name, run in runs.items()},
    )


def shops_rate(timelines: Timelines, start: datetime, end: datetime) -> float | None:
    """The share of delivered orders of ``start <= ordered < end`` (aware) that kept their promise, as known at the end of the data.

    None if none had one.
    """
    states = fold(timelines, Moments.all_at(timelines, timelines.received_at.max()))
    arrived_on = local_dates(states.arrived_at, timelines.zone.codes, timelines.zone.names)
    judged = (
        (states.ordered_at >= to_instant(start))
        & (states.ordered_at < to_instant(end))
        & ~np.isnat(arrived_on)
        & ~np.isnat(timelines.promised_on)
    )
    return float((arrived_on <= timelines.promised_on)[judged].mean()) if judged.any() else None


def _forecast(
    run: _Run,
    timelines: Timelines,
    snapshots: Snapshots,
    judged: pd.DataFrame,
    rows: NDArray[np.int64],
    calibrates: NDArray[np.bool_],
) -> None:
    """Fills the run's forecasts of some rows with scores and dates; the curves themselves are kept for a sample alone."""
    if not len(rows):
        return
    asked, truth = snapshots.take(rows), judged.iloc[rows]
    began = time.perf_counter()
    curves = run.curves(asked)
    if curves is None:
        return
    # The warm-up is not judged, and so not counted.
    run.predict_seconds += (time.perf_counter() - began) * truth["is_judged"].mean()
    if isinstance(run.fitted, Calibrates):
        used = np.flatnonzero(calibrates[rows])
        run.past.append(_Past(rows[used], curves.take(used), run.fitted.calibration_))
    row, as_of = asked.moments.row, asked.moments.as_of
    zone = timelines.zone.take(row)
    hours, limit = truth["hours"].to_numpy(), truth["limit_hours"].to_numpy()
    shown = windows(curves, as_of, zone, coverage=0.8)
    arrived_on = truth["arrived_on"].to_numpy().astype("datetime64[D]")
    pit_from, pit_to = probability_integral_transform(curves, hours, limit)
    columns = {
        "error_days": error_days(curves, hours),
        "crps_days": crps_days(curves, hours),
        "crps_censored_days": crps_days(curves, hours, limit),
        **{
            f"pinball_{level * 100:.0f}_days": pinball_days(curves, hours, level)
            for level in PINBALL_LEVELS
        },
        "pit_from": pit_from,
        "pit_to": pit_to,
        "covered_80": is_covered(curves, hours, 0.8),
        "covered_90": is_covered(curves, hours, 0.9),
        "dates_covered_80": (arrived_on >= shown.earliest_on)
        & ((arrived_on <= shown.latest_on) | np.isnat(shown.latest_on)),
        "late_probability": 1.0 - probability_by(curves, as_of, promise_ends(timelines, row)),
        "promise_days": _promise_days(run, curves, asked, zone, truth),
        "curve": _sampled(curves, truth),
    }
    for name, values in columns.items():
        run.forecasts.setdefault(
            name, np.full(len(judged), np.nan, dtype=np.result_type(values, np.float64))
        )[rows] = values


def _sampled(curves: Curves, truth: pd.DataFrame) -> NDArray[np.object_]:
    """One curve each, (N,), for the judged rows of the sample; None for the others."""
    kept = np.full(len(curves), None, dtype=object)
    for number in np.flatnonzero(truth["is_sampled"] & truth["is_judged"]):
        kept[number] = curves.take(np.array([number]))
    return kept


def _promise_days(
    run: _Run, curves: Curves, asked: Snapshots, zone: Labels, truth: pd.DataFrame
) -> NDArray[np.float64]:
    """Days from the order's local date to the date the model would have promised; NaN of what is no purchase, and without a policy.

    What these orders might have been promised is remembered.
    """
    days = np.full(len(curves), np.nan)
    bought = np.flatnonzero(asked.kind == PURCHASE)
    if not len(bought):
        return days
    told, as_of, zone = curves.take(bought), asked.moments.as_of[bought], zone.take(bought)
    ordered_on = truth["as_of_on"].to_numpy().astype("datetime64[D]")[bought]
    lots = np.argsort(_lots(asked.take(bought)).to_numpy(), kind="stable")[:MOST_QUOTED]
    chances = chances_of_days(
        told.take(lots), as_of[lots], ordered_on[lots], QUOTED_DAYS, zone.take(lots)
    )
    run.quoted.append(_Quoted(as_of.min(), chances, np.full(len(lots), len(bought) / len(lots))))
    if run.policy is not None:
        promised_on = run.policy.dates(told, as_of, zone)
        days[bought] = np.where(
            np.isnat(promised_on), QUOTED_DAYS - 1.0, (promised_on - ordered_on) / DAY
        )
    return days


def _what_came_true(
    timelines: Timelines, snapshots: Snapshots, outcomes: Outcomes, source_zone: Labels
) -> pd.DataFrame:
    row, as_of = snapshots.moments.row, snapshots.moments.as_of
    zone = timelines.zone.take(row)
    truth = examples(snapshots, outcomes)
    if len(truth) != len(snapshots):
        raise NothingToLearn("the days to replay reach beyond the end of the data")
    arrived_at = np.where(truth.arrived, outcomes.arrived_at[row], np.datetime64("NaT"))
    arrived_on, as_of_on = (
        local_dates(arrived_at, zone.codes, zone.names),
        local_dates(as_of, zone.codes, zone.names),
    )
    promised_on, promise_end = timelines.promised_on[row], promise_ends(timelines, row)
    at_source = wall_clock(as_of, np.zeros(len(as_of), dtype=np.int32), source_zone.names).astype(
        "datetime64[D]"
    )
    known_late = truth.arrived & ~np.isnat(promised_on)
    numbers, labels = snapshots.features.numbers, snapshots.features.labels
    week = _mondays(at_source).astype(str)
    phase = np.array([str(phase) for phase in PHASES], dtype=object)[
        numbers["phase"].astype(np.int64)
    ]
    return pd.DataFrame(
        {
            "shipment_id": timelines.shipment_id[row],
            "moment": pd.Categorical(snapshots.kind, categories=list(MOMENTS)),
            "as_of": as_of,
            "as_of_on": as_of_on,
            "month": at_source.astype("datetime64[M]").astype(str),
            "week": week,
            "is_sampled": _lots(snapshots).groupby([week, phase]).rank(method="first").to_numpy()
            <= SAMPLED,
            "arrived": truth.arrived,
            "hours": np.where(truth.arrived, truth.hours, np.inf),
            "limit_hours": (outcomes.known_through - as_of) / np.timedelta64(1, "h"),
            "arrived_on": arrived_on,
            "is_late": np.where(known_late, arrived_on > promised_on, np.nan).astype(np.float64),
            "is_promise_open": promise_end > as_of,
            "promise_hours": (promise_end - as_of) / np.timedelta64(1, "h"),
            "promised_days": (promised_on - as_of_on) / DAY,
            "phase": phase,
            "elapsed_band": _bands(
                numbers["order_elapsed_days"], (1.0, 3.0, 7.0, 14.0, 21.0, 30.0), "d"
            ),
            "carrier": labels["carrier"].texts(),
            "service_level": timelines.texts["service_level"].take(row).texts(),
            "origin_region": timelines.texts["origin_region"].take(row).texts(),
            "destination_region": timelines.texts["destination_region"].take(row).texts(),
            "weight_band": _bands(numbers["weight_kg"], (0.5, 2.0, 10.0), "kg"),
            "distance_band": _bands(numbers["distance_km"], (250.0, 900.0), "km"),
            "promise_bucket": _bands((promise_end - as_of) / DAY, (14.0, 20.0, 26.0, 32.0), "d"),
        }
    )


def _calibrate(snapshots: Snapshots) -> NDArray[np.bool_]:
    """The moments, ``MOST_CALIBRATING`` a month and stage, that are looked back at."""
    groups = [
        snapshots.moments.as_of.astype("datetime64[M]").astype(np.int64),
        stages(snapshots.features),
    ]
    return (_lots(snapshots).groupby(groups).rank(method="first") <= MOST_CALIBRATING).to_numpy()


def _lots(snapshots: Snapshots) -> pd.Series:
    """A number for each snapshot that has nothing to do with it, the same in any company."""
    kind = pd.Categorical(snapshots.kind, categories=list(MOMENTS)).codes.astype(np.uint64)
    return pd.Series((snapshots.parcel + kind) * np.uint64(0x9E3779B97F4A7C15))


def _mondays(dates: Dates) -> Dates:
    """The first day of each date's week."""
    return dates - (dates.astype(np.int64) + 3) % 7


def _bands(
    values: NDArray[np.floating], edges: tuple[float, ...], unit: str
) -> NDArray[np.object_]:
    names = [
        f"<{edges[0]:g} {unit}",
        *(f"{low:g}-{high:g} {unit}" for low, high in pairwise(edges)),
        f">={edges[-1]:g} {unit}",
        None,
    ]
    band = np.where(np.isnan(values), len(edges) + 1, np.digitize(np.nan_to_num(values), edges))
    return np.array(names, dtype=object)[band]


def _origins(start: datetime, end: datetime, refit: Refit) -> Iterator[datetime]:
    day = start
    while day < end:
        yield day
        if refit is Refit.NEVER:
            return
        day = day + timedelta(days=7) if refit is Refit.WEEK else _first_of_month(day, 1)


def _days(start: datetime, end: datetime) -> list[datetime]:
    return [start + timedelta(days=number) for number in range((end.date() - start.date()).days)]


def _first_of_month(day: datetime, months_later: int) -> datetime:
    month = day.year * 12 + day.month - 1 + months_later
    return day.replace(year=month // 12, month=month % 12 + 1, day=1)
