"""One model's run through a backtest: its fits, its forecasts and the promises it would have made."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.local_time import DAY
from eta.curves import Curves
from eta.domain.errors import NothingToLearn
from eta.evaluation.metrics import (
    PINBALL_LEVELS,
    crps_days,
    error_days,
    is_covered,
    pinball_days,
    probability_integral_transform,
)
from eta.evaluation.outcomes import stable_random
from eta.forecast.base import ArrivalModel
from eta.forecast.drift.tracker import Follower, FollowsDrift, Midnights
from eta.forecast.hazard.recalibration import PAST_DAYS, Calibrates, Calibration, Passed
from eta.journey.categories import Labels
from eta.journey.examples import Outcomes, examples
from eta.journey.features import promise_ends
from eta.journey.snapshots import PURCHASE, Snapshots
from eta.journey.state import Moments
from eta.journey.timelines import Timelines
from eta.local_dates import chances_of_days, probability_by, windows
from eta.promise import QUOTED_DAYS, PromisePolicy, costs_of_rate

#: Answers a question about a moment without having learned anything, such as the truth behind
#: simulated parcels.
Law = Callable[[Moments], Curves]

#: Days of orders whose laws say what a late parcel must count for, and the most orders of a day
#: that are asked.
QUOTED_FOR_DAYS, MOST_QUOTED = 31, 64


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
class ModelRun:
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


def forecast_moments(
    run: ModelRun,
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
    run: ModelRun, curves: Curves, asked: Snapshots, zone: Labels, truth: pd.DataFrame
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
    lots = np.argsort(stable_random(asked.take(bought)).to_numpy(), kind="stable")[:MOST_QUOTED]
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
