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
from eta.domain.errors import NoTrainingData
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
from eta.forecast.drift.tracker import DriftTracker, OpenParcelCache, SupportsDrift
from eta.forecast.hazard.recalibration import (
    FORECAST_HISTORY_DAYS,
    CumulativeHazardInterval,
    Recalibration,
    SupportsRecalibration,
)
from eta.journey.categories import Categorical
from eta.journey.examples import Outcomes, examples
from eta.journey.snapshots import PURCHASE, Snapshots
from eta.journey.state import AsOfPairs
from eta.journey.timelines import Timelines, promise_ends
from eta.local_dates import cdf_at_instant, daily_cdf, windows
from eta.promise import CANDIDATE_DAYS, PromisePolicy, costs_for_on_time_rate

#: Answers a question about a moment without having learned anything, such as the truth behind
#: simulated parcels.
CurveSource = Callable[[AsOfPairs], Curves]

#: Days of orders whose laws say what a late parcel must count for, and the most orders of a day
#: that are asked.
PROMISE_SAMPLE_DAYS, MAX_SAMPLED_ORDERS = 31, 64


@dataclass(frozen=True, eq=False)
class _IssuedForecasts:
    """Forecasts that were made: rows of the snapshots, their curves, and how these were calibrated."""

    rows: NDArray[np.int64]
    curves: Curves
    recalibration: Recalibration


class _PromiseSample(NamedTuple):
    """Chances (N, ``CANDIDATE_DAYS``) of orders of one day, and for how many orders each of them stands, (N,)."""

    ordered_at: np.datetime64
    probabilities: NDArray[np.float64]
    weight: NDArray[np.float64]


class Fit(NamedTuple):
    """A fitted model, None if no training example had arrived, and how long the fit took."""

    model: ArrivalModel | None
    seconds: float


def fit_model(make: Callable[[], ArrivalModel], training: Snapshots, outcomes: Outcomes) -> Fit:
    """Fits a new model on the training snapshots before the end of what is known."""
    began = time.perf_counter()
    try:
        model = make().fit(examples(training, outcomes))
    except NoTrainingData:
        model = None
    return Fit(model, time.perf_counter() - began)


@dataclass(eq=False)
class ModelRun:
    """One model, or one law, on its way through the days."""

    make: Callable[[], ArrivalModel] | None
    curve_source: CurveSource | None = None
    forecasts: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    refits_daily: bool = False
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    fitted: ArrivalModel | None = None
    drift_tracker: DriftTracker | None = None
    issued: list[_IssuedForecasts] = field(default_factory=list)
    #: Of the orders of each day, sampled, the chances of the days that might have been promised;
    #: and for how many each one stands.
    promise_samples: list[_PromiseSample] = field(default_factory=list)
    policy: PromisePolicy | None = None

    def fit(self, training: Snapshots, outcomes: Outcomes) -> None:
        """Refits the model; a curve source needs no fit."""
        if self.make is not None:
            self.use_fit(fit_model(self.make, training, outcomes))

    def use_fit(self, fit: Fit) -> None:
        """Replaces the fitted model."""
        self.fitted = fit.model
        self.drift_tracker = None
        self.fit_seconds += fit.seconds

    def track_drift(self, open_parcels: OpenParcelCache, outcomes: Outcomes) -> None:
        """Learns the drift as of a midnight, if the model follows any."""
        if not isinstance(self.fitted, SupportsDrift) or not self.fitted.tracks_drift:
            return
        began = time.perf_counter()
        self.drift_tracker = self.drift_tracker or DriftTracker(self.fitted, open_parcels)
        self.fitted = self.fitted.with_drift(self.drift_tracker.drift(outcomes))
        self.fit_seconds += time.perf_counter() - began

    def choose_policy(self, promise: PromisePolicy | float | None, today: np.datetime64) -> None:
        """The policy itself, or that with which orders of the last days would, by the laws they were told, have kept a rate."""
        self.promise_samples = [
            sample
            for sample in self.promise_samples
            if sample.ordered_at >= today - PROMISE_SAMPLE_DAYS * DAY
        ]
        if not isinstance(promise, float):
            self.policy = promise
        elif self.promise_samples:
            probabilities, weight = (
                np.concatenate([getattr(sample, part) for sample in self.promise_samples])
                for part in ("probabilities", "weight")
            )
            self.policy = PromisePolicy(
                on_time_rate=None, costs=costs_for_on_time_rate(probabilities, weight, promise)
            )

    def issued_intervals(
        self, snapshots: Snapshots, outcomes: Outcomes
    ) -> CumulativeHazardInterval:
        """What became of the forecasts of the last ``FORECAST_HISTORY_DAYS``, before any recalibration."""
        oldest = outcomes.known_through - FORECAST_HISTORY_DAYS * DAY
        self.issued = [
            issued for issued in self.issued if (snapshots.pairs.as_of[issued.rows] >= oldest).any()
        ]
        parts = list[CumulativeHazardInterval]()
        for issued in self.issued:
            issued_snapshots = snapshots.take(issued.rows)
            truth = examples(issued_snapshots, outcomes)
            curves = issued.curves.take(
                np.flatnonzero(issued_snapshots.pairs.as_of < outcomes.known_through)
            )
            parts.append(
                CumulativeHazardInterval.from_curves(
                    curves, truth.features, truth.duration_hours, truth.event_observed
                ).invert(issued.recalibration)
            )
        return CumulativeHazardInterval.concatenate(parts)

    def curves(self, snapshots: Snapshots) -> Curves | None:
        """The answers, or None while there was nothing to learn."""
        if self.curve_source is not None:
            return self.curve_source(snapshots.pairs)
        return None if self.fitted is None else self.fitted.predict_curves(snapshots.features)


def forecast_moments(
    run: ModelRun,
    timelines: Timelines,
    snapshots: Snapshots,
    judged: pd.DataFrame,
    rows: NDArray[np.int64],
    is_for_recalibration: NDArray[np.bool_],
) -> None:
    """Fills the run's forecasts of some rows with scores and dates; the curves themselves are kept for a sample alone."""
    if not len(rows):
        return
    batch, truth = snapshots.take(rows), judged.iloc[rows]
    began = time.perf_counter()
    curves = run.curves(batch)
    if curves is None:
        return
    # The warm-up is not judged, and so not counted.
    run.predict_seconds += (time.perf_counter() - began) * truth["is_judged"].mean()
    if isinstance(run.fitted, SupportsRecalibration):
        used = np.flatnonzero(is_for_recalibration[rows])
        run.issued.append(_IssuedForecasts(rows[used], curves.take(used), run.fitted.recalibration))
    row, as_of = batch.pairs.row, batch.pairs.as_of
    zone = timelines.zone.take(row)
    hours, limit = truth["hours"].to_numpy(), truth["limit_hours"].to_numpy()
    window = windows(curves, as_of, zone, coverage=0.8)
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
        "dates_covered_80": (arrived_on >= window.earliest_on)
        & ((arrived_on <= window.latest_on) | np.isnat(window.latest_on)),
        "late_probability": 1.0 - cdf_at_instant(curves, as_of, promise_ends(timelines, row)),
        "promise_days": _promise_days(run, curves, batch, zone, truth),
        "curve": _sampled(curves, truth),
    }
    for name, values in columns.items():
        run.forecasts.setdefault(
            name, np.full(len(judged), np.nan, dtype=np.result_type(values, np.float64))
        )[rows] = values


def _sampled(curves: Curves, truth: pd.DataFrame) -> NDArray[np.object_]:
    """One curve each, (N,), for the judged rows of the sample; None for the others."""
    sampled = np.full(len(curves), None, dtype=object)
    for number in np.flatnonzero(truth["is_sampled"] & truth["is_judged"]):
        sampled[number] = curves.take(np.array([number]))
    return sampled


def _promise_days(
    run: ModelRun, curves: Curves, batch: Snapshots, zone: Categorical, truth: pd.DataFrame
) -> NDArray[np.float64]:
    """Days from the order's local date to the date the model would have promised; NaN of what is no purchase, and without a policy.

    What these orders might have been promised is remembered.
    """
    days = np.full(len(curves), np.nan)
    bought = np.flatnonzero(batch.moment == PURCHASE)
    if not len(bought):
        return days
    purchase_curves, as_of, zone = curves.take(bought), batch.pairs.as_of[bought], zone.take(bought)
    ordered_on = truth["as_of_on"].to_numpy().astype("datetime64[D]")[bought]
    sample = np.argsort(stable_random(batch.take(bought)).to_numpy(), kind="stable")[
        :MAX_SAMPLED_ORDERS
    ]
    probabilities = daily_cdf(
        purchase_curves.take(sample),
        as_of[sample],
        ordered_on[sample],
        CANDIDATE_DAYS,
        zone.take(sample),
    )
    run.promise_samples.append(
        _PromiseSample(as_of.min(), probabilities, np.full(len(sample), len(bought) / len(sample)))
    )
    if run.policy is not None:
        promised_on = run.policy.dates(purchase_curves, as_of, zone)
        days[bought] = np.where(
            np.isnat(promised_on), CANDIDATE_DAYS - 1.0, (promised_on - ordered_on) / DAY
        )
    return days
