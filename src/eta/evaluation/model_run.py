"""One model's run through a backtest: its fits, its forecasts and its promises."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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

#: A source of curves that needs no fit, such as the oracle of a simulation.
CurveSource = Callable[[AsOfPairs], Curves]

#: Days of orders from which the cost of a late parcel is chosen, and how many orders of a day are
#: sampled.
PROMISE_SAMPLE_DAYS, MAX_SAMPLED_ORDERS = 31, 64


@dataclass(frozen=True, eq=False)
class _IssuedForecasts:
    """Forecasts of some rows of the snapshots, and the recalibration they were made with."""

    rows: NDArray[np.int64]
    curves: Curves
    recalibration: Recalibration


class _PromiseSample(NamedTuple):
    """Daily probabilities (N, ``CANDIDATE_DAYS``) of sampled orders of a day, and weights."""

    ordered_at: np.datetime64
    probabilities: NDArray[np.float64]
    weight: NDArray[np.float64]


class Fit(NamedTuple):
    """A fitted model, None if no training example had arrived, and how long the fit took."""

    model: ArrivalModel | None
    seconds: float


def fit_model(make: Callable[[], ArrivalModel], training: Snapshots, outcomes: Outcomes) -> Fit:
    """Fits a new model on the training snapshots before ``outcomes.known_through``."""
    began = time.perf_counter()
    try:
        model = make().fit(examples(training, outcomes))
    except NoTrainingData:
        model = None
    return Fit(model, time.perf_counter() - began)


@dataclass(eq=False)
class ModelRun:
    """One model, or one source of curves, on its way through the days."""

    make: Callable[[], ArrivalModel] | None
    curve_source: CurveSource | None = None
    forecasts: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    refits_daily: bool = False
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    fitted: ArrivalModel | None = None
    drift_tracker: DriftTracker | None = None
    issued: list[_IssuedForecasts] = field(default_factory=list)
    #: Sampled orders of each of the last days.
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
        """Estimates the drift as of a midnight, if the model tracks it."""
        if not isinstance(self.fitted, SupportsDrift) or not self.fitted.tracks_drift:
            return
        began = time.perf_counter()
        self.drift_tracker = self.drift_tracker or DriftTracker(self.fitted, open_parcels)
        drift = self.drift_tracker.drift(outcomes)
        self.fitted = self.fitted.with_drift(drift)
        self.fit_seconds += time.perf_counter() - began

    def choose_policy(self, promise: PromisePolicy | float | None, today: np.datetime64) -> None:
        """Uses the policy, or one that would have reached an on-time rate on the last days' orders.

        Orders count by the probabilities that were forecast for them.
        """
        oldest = today - PROMISE_SAMPLE_DAYS * DAY
        samples = [sample for sample in self.promise_samples if sample.ordered_at >= oldest]
        self.promise_samples = samples
        if not isinstance(promise, float):
            self.policy = promise
        elif samples:
            probabilities = np.concatenate([sample.probabilities for sample in samples])
            weight = np.concatenate([sample.weight for sample in samples])
            costs = costs_for_on_time_rate(probabilities, weight, promise)
            self.policy = PromisePolicy(on_time_rate=None, costs=costs)

    def issued_intervals(
        self, snapshots: Snapshots, outcomes: Outcomes
    ) -> CumulativeHazardInterval:
        """What became of the forecasts of the last ``FORECAST_HISTORY_DAYS``, uncalibrated."""
        oldest = outcomes.known_through - FORECAST_HISTORY_DAYS * DAY
        as_of = snapshots.pairs.as_of
        self.issued = [issued for issued in self.issued if (as_of[issued.rows] >= oldest).any()]
        parts = []
        for issued in self.issued:
            issued_snapshots = snapshots.take(issued.rows)
            truth = examples(issued_snapshots, outcomes)
            is_past = issued_snapshots.pairs.as_of < outcomes.known_through
            curves = issued.curves.take(np.flatnonzero(is_past))
            intervals = CumulativeHazardInterval.from_curves(
                curves, truth.features, truth.duration_hours, truth.event_observed
            )
            parts.append(intervals.invert(issued.recalibration))
        return CumulativeHazardInterval.concatenate(parts)

    def curves(self, snapshots: Snapshots) -> Curves | None:
        """Returns the forecasts, None without a fitted model."""
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
    """Fills the run's forecasts of some rows with scores and dates.

    The curves themselves are stored for a sample only.
    """
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
    zone = timelines.zone.take(batch.pairs.row)
    columns = _scores(curves, truth)
    columns |= _dates(curves, timelines, batch, zone, truth)
    columns["promise_days"] = _promise_days(run, curves, batch, zone, truth)
    # The curve of each judged row of the sample; None for the others.
    columns["curve"] = np.full(len(curves), None, dtype=object)
    for number in np.flatnonzero(truth["is_sampled"] & truth["is_judged"]):
        columns["curve"][number] = curves.take(np.array([number]))
    for name, values in columns.items():
        if name not in run.forecasts:
            dtype = np.result_type(values, np.float64)
            run.forecasts[name] = np.full(len(judged), np.nan, dtype=dtype)
        run.forecasts[name][rows] = values


def _scores(curves: Curves, truth: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """Scores of the curves in hours, (N,) each."""
    hours, limit = truth["hours"].to_numpy(), truth["limit_hours"].to_numpy()
    pit_from, pit_to = probability_integral_transform(curves, hours, limit)
    scores: dict[str, NDArray[Any]] = {}
    scores["error_days"] = error_days(curves, hours)
    scores["crps_days"] = crps_days(curves, hours)
    scores["crps_censored_days"] = crps_days(curves, hours, limit)
    for level in PINBALL_LEVELS:
        scores[f"pinball_{level * 100:.0f}_days"] = pinball_days(curves, hours, level)
    scores["pit_from"] = pit_from
    scores["pit_to"] = pit_to
    scores["covered_80"] = is_covered(curves, hours, 0.8)
    scores["covered_90"] = is_covered(curves, hours, 0.9)
    return scores


def _dates(
    curves: Curves,
    timelines: Timelines,
    batch: Snapshots,
    zone: Categorical,
    truth: pd.DataFrame,
) -> dict[str, NDArray[Any]]:
    """Whether the shown dates cover the arrival, and P(late), (N,) each."""
    as_of = batch.pairs.as_of
    window = windows(curves, as_of, zone, coverage=0.8)
    arrived_on = truth["arrived_on"].to_numpy().astype("datetime64[D]")
    is_before_end = (arrived_on <= window.latest_on) | np.isnat(window.latest_on)
    is_covered_by_dates = (arrived_on >= window.earliest_on) & is_before_end
    promise_end = promise_ends(timelines, batch.pairs.row)
    late_probability = 1.0 - cdf_at_instant(curves, as_of, promise_end)
    return {"dates_covered_80": is_covered_by_dates, "late_probability": late_probability}


def _promise_days(
    run: ModelRun, curves: Curves, batch: Snapshots, zone: Categorical, truth: pd.DataFrame
) -> NDArray[np.float64]:
    """Days from the order's local date to the date the model would have promised, (N,).

    NaN for other moments than purchase, and without a policy. A sample of the orders is stored, for
    the policies of the next days.
    """
    days = np.full(len(curves), np.nan)
    rows = np.flatnonzero(batch.moment == PURCHASE)
    if not len(rows):
        return days
    ordered_on = truth["as_of_on"].to_numpy().astype("datetime64[D]")[rows]
    bought, as_of = curves.take(rows), batch.pairs.as_of[rows]
    bought_zone = zone.take(rows)
    random = stable_random(batch.take(rows)).to_numpy()
    sampled = np.argsort(random, kind="stable")[:MAX_SAMPLED_ORDERS]
    probabilities = daily_cdf(
        bought.take(sampled),
        as_of[sampled],
        ordered_on[sampled],
        CANDIDATE_DAYS,
        bought_zone.take(sampled),
    )
    weight = np.full(len(sampled), len(rows) / len(sampled))
    sample = _PromiseSample(as_of.min(), probabilities, weight)
    run.promise_samples.append(sample)
    if run.policy is not None:
        promised_on = run.policy.dates(bought, as_of, bought_zone)
        promised_days = (promised_on - ordered_on) / DAY
        days[rows] = np.where(np.isnat(promised_on), CANDIDATE_DAYS - 1.0, promised_days)
    return days
