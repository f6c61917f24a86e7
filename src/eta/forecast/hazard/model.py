"""The hazard model: how fast parcels that are still open arrive, bin by bin.

One forest is grown for a point forecast of the log of the time left. It gives only the structure.
Every leaf then holds a vector of log-hazards to add, one a bin, fitted to the rows at risk in the
bin (piecewise exponential model, Friedman 1982; with boosted trees, Bender et al. 2020). Parcels
still open are at risk until the last moment at which they were seen to be open, so that a slow
parcel is never mistaken for a missing one.

Some parcels have already arrived although their last scan has not been received. They form a bin
before all others. It has no width, and every row passes it once.

Time at risk is counted in active hours (``active_hours``), so the calendar of the target day enters
every bin and every hour in it without any tree needing a feature for it. If the model reads the
promised date, the days near it are bins of their own: many more parcels arrive on the promised day
than on the days beside it.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from inspect import signature
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.curves import Curves
from eta.domain.errors import NotFitted
from eta.forecast.base import HORIZON_DAYS, Arrays, Estimator, elapsed_hours
from eta.forecast.design_matrix import Design, log_time_left
from eta.forecast.drift.estimate import (
    AGE_CLASSES,
    AGE_EDGES,
    AGE_TRANSITION_WEIGHT,
    DAILY_DECAY,
    DRIFT_LABELS,
    EXPECTATION_HOURS,
    DailyExpectation,
    Drift,
)
from eta.forecast.hazard.active_hours import NEAR_PROMISE, ActivityProfile, microseconds
from eta.forecast.hazard.exposure import BIN_EDGES_HOURS, TIMED_BINS, TimeAtRisk, time_at_risk
from eta.forecast.hazard.non_arrival import NonArrival
from eta.forecast.hazard.parameters import HazardParameters
from eta.forecast.hazard.recalibration import (
    CumulativeHazardInterval,
    Recalibration,
    Stage,
    stages,
)
from eta.forecast.hazard.serialization import (
    check_model_arrays,
    part_arrays,
    parts_from_arrays,
)
from eta.forecast.hazard.trees import (
    DriftByAge,
    LeafPenalty,
    Steps,
    cumulative_hazards,
    fit_leaves,
    grow_forest,
    hours_by_bin,
    leaf_smoother,
)
from eta.journey.examples import Examples
from eta.journey.features import CATEGORICAL_COLUMNS, Features
from eta.journey.snapshots import Snapshots

#: Knots of the curves: every edge of a bin, and enough between them to show the hours of a day.
KNOTS_HOURS = np.concatenate(
    [
        np.arange(0.0, 7 * 24, 6),
        np.arange(7 * 24, 14 * 24, 12),
        np.arange(14 * 24, 24 * HORIZON_DAYS + 1, 24),
    ]
)

#: The most examples a stage that the shape of the fitted curves is learned from.
MAX_IN_SAMPLE = 12_000

#: Examples of the sample whose curves are in memory at a time.
_SAMPLE_BLOCK_ROWS = 8_192

#: Weight, in arrivals a segment, of the assumption that this shape is right.
IN_SAMPLE_PRIOR = 50.0

#: The stages whose shape is learned in sample. Before the hand-over, training moments resemble the
#: moments to forecast least.
IN_SAMPLE_STAGES = tuple(
    stage for stage in Stage if stage not in (Stage.BEFORE_HANDOVER, Stage.BEFORE_HANDOVER_ABROAD)
)

#: Half an arrival in a thousand active hours keeps the base of an empty bin finite.
_BASE_ARRIVALS, _BASE_ACTIVE_HOURS = 0.5, 1000.0
_SERVICE_LANE = CATEGORICAL_COLUMNS.index("service_lane")
_AGE_EDGES = np.array(AGE_EDGES)


def _steps(hours: NDArray[np.float64]) -> Steps:
    """The steps between hours (K + 1,), which start at 0."""
    end_hours = hours[1:]
    middle_hours = (end_hours + hours[:-1]) / 2.0
    bins = np.searchsorted(BIN_EDGES_HOURS, end_hours, side="left")
    decay = DAILY_DECAY[:, None] ** (middle_hours / 24.0)
    return Steps(microseconds(end_hours), bins, middle_hours, decay)


_CURVE_STEPS, _EXPECTATION_STEPS = _steps(KNOTS_HOURS), _steps(EXPECTATION_HOURS)


class HazardModel(Estimator):
    """``eta``: hazards of all bins in the leaves of one forest.

    Args:
        **parameters: fields of ``HazardParameters``.
    """

    #: The constructor's parameters, for ``help`` and scikit-learn.
    __signature__ = signature(HazardParameters)
    refits_daily: ClassVar[bool] = False
    #: The holidays of this installation. No parameter: a stored version does not include them.
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS
    activity_: ActivityProfile

    def __init__(self, **parameters: Any) -> None:
        self.parameters = HazardParameters(**parameters)

    @property
    def tracks_drift(self) -> bool:
        """Whether the model follows the current speed of the network."""
        return self.parameters.tracks_drift

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002  # scikit-learn passes it
        """The parameters by name."""
        return dict(sorted(vars(self.parameters).items()))

    def set_params(self, **parameters: Any) -> Self:
        """Sets parameters.

        Raises:
            InvalidValue: if a name is unknown.
        """
        self._check_names(parameters)
        self.parameters = replace(self.parameters, **parameters)
        return self

    def fit(self, examples: Examples) -> Self:
        """Fits the model to examples at all kinds of moments.

        Raises:
            InvalidValue: if a parameter is out of range.
            NoTrainingData: if no parcel with an example at its purchase arrived.
        """
        self.parameters.validate()
        if not self.parameters.includes_censored:
            examples = examples.take(np.flatnonzero(examples.event_observed))
        self._fit_hazards(examples)
        self.drift = Drift.identity()
        self.non_arrival_ = NonArrival.identity()
        self.in_sample_recalibration_ = self.recalibration = Recalibration.identity()
        self._recalibrate_in_sample(examples)
        return self

    def with_holidays(self, holidays: HolidayCalendar) -> Self:
        """The model itself, which from now on fits and forecasts with these holidays."""
        self.holidays = holidays
        if hasattr(self, "activity_"):
            self.activity_ = replace(self.activity_, holidays=holidays)
        return self

    def with_drift(self, drift: Drift) -> Self:
        """The same model at another speed of the network."""
        changed = copy(self)
        changed.drift = drift
        return changed

    def with_recalibration(self, recalibration: Recalibration) -> Self:
        """The same model with another correction of its curves."""
        changed = copy(self)
        changed.recalibration = recalibration
        return changed

    def predict_curves(self, features: Features) -> Curves:
        """The distributions of the time left, (N,), with drift and recalibrated.

        Raises:
            NotFitted: before ``fit``.
        """
        if not hasattr(self, "values_"):
            raise NotFitted()
        return self._curves(self._drifted_hazards(features), stages(features))

    def expected_arrivals(self, snapshots: Snapshots, end: np.datetime64) -> DailyExpectation:
        """Expected arrivals, without drift and recalibrations, of parcels open at one moment.

        They are those until ``end`` (UTC), a day later.
        """
        features = snapshots.features
        labels = self.design_.encode_labels(features)
        no_drift = np.zeros((len(features), len(AGE_CLASSES)))
        hazards = self._hazards(features, labels, _EXPECTATION_STEPS, no_drift)
        elapsed, expected = self._elapsed_and_expected(features, labels)
        age_starts = expected[:, None] * AGE_EDGES
        age = (elapsed[:, None] >= age_starts).sum(axis=1)
        start = snapshots.pairs.as_of[0] if len(snapshots) else end
        return DailyExpectation(
            start=start,
            end=end,
            row=snapshots.pairs.row,
            age=age,
            labels={column: features.categoricals[column] for column in DRIFT_LABELS},
            hazards=hazards,
        )

    def to_arrays(self) -> Arrays:
        """Everything that was fitted, as plain arrays."""
        corrections = {
            "non_arrival": self.non_arrival_.coefficients,
            "in_sample": self.in_sample_recalibration_.slopes,
            "recalibration": self.recalibration.slopes,
        }
        arrays = {"base": self.base_, "values": self.values_}
        arrays |= corrections
        arrays |= part_arrays(self.forest_, self.activity_, self.design_)
        return arrays

    def restore(self, arrays: Arrays) -> Self:
        """The model with what ``to_arrays`` returned, in place of ``fit``.

        Raises:
            ModelCorrupted: if an array is not one of such a model.
        """
        check_model_arrays(arrays, self.parameters)
        self.base_, self.values_ = arrays["base"], arrays["values"]
        self.drift = Drift.identity()
        self.in_sample_recalibration_ = Recalibration.from_slopes(arrays["in_sample"])
        self.recalibration = Recalibration.from_slopes(arrays["recalibration"])
        self.non_arrival_ = NonArrival.from_coefficients(arrays["non_arrival"])
        parts = parts_from_arrays(arrays, self.parameters, self.holidays)
        self.forest_, self.activity_, self.design_ = parts
        return self

    def _fit_hazards(self, examples: Examples) -> None:
        """Fits everything but what corrects the curves."""
        parameters = self.parameters
        self.design_, rows = Design.fit(
            examples, parameters.label_prior, columns=parameters.columns
        )
        self.activity_ = ActivityProfile.fit(examples, holidays=self.holidays)
        self.forest_ = grow_forest(rows, log_time_left(examples), parameters)
        at_risk = time_at_risk(examples, self.activity_, uses_promise=parameters.uses_promise)
        self._fit_leaves(rows, at_risk)

    def _fit_leaves(self, rows: NDArray[np.float32], at_risk: TimeAtRisk) -> None:
        """Fits the log-hazards of all bins: those of the base, and those that each leaf adds."""
        arrival_bin, parameters = at_risk.arrival_bin, self.parameters
        near_bins = len(NEAR_PROMISE) if parameters.uses_promise else 0
        bins = TIMED_BINS + near_bins
        arrivals = np.bincount(arrival_bin[arrival_bin >= 0], minlength=bins)
        active_hours = hours_by_bin(at_risk, bins)
        rate = (arrivals + _BASE_ARRIVALS) / (active_hours + _BASE_ACTIVE_HOURS)
        self.base_ = np.log(rate).astype(np.float32)
        penalty = LeafPenalty(
            smoother=leaf_smoother(bins, TIMED_BINS, parameters.smoothing_bins),
            rate=parameters.leaf_rate,
            ridge=parameters.ridge,
            cap=parameters.cap,
        )
        self.values_ = fit_leaves(self.forest_, rows, self.base_, at_risk, penalty)

    def _recalibrate_in_sample(self, examples: Examples) -> None:
        """Learns, stage by stage, what the fitted curves miss of the shape of the training data.

        Leaves are smoothed and shrunk, so their curves are too flat; and their tails differ more
        between parcels than the shares that never arrive do.
        """
        stage = stages(examples.features)
        # Up to ``MAX_IN_SAMPLE`` random rows of each of ``IN_SAMPLE_STAGES``.
        random = np.random.default_rng(self.parameters.seed)
        shuffled = [
            random.permutation(np.flatnonzero(stage == number)) for number in IN_SAMPLE_STAGES
        ]
        rows = np.concatenate([rows_of_stage[:MAX_IN_SAMPLE] for rows_of_stage in shuffled])
        sample, stage = examples.take(rows), stage[rows]
        hazards = self._drifted_hazards(sample.features)

        intervals = self._intervals(hazards, stage, sample)
        self.non_arrival_ = NonArrival.fit(hazards[:, -1], intervals)
        # The same parcels by the curves with the share that never arrives.
        intervals = self._intervals(hazards, stage, sample)
        self.in_sample_recalibration_ = Recalibration.fit(intervals, IN_SAMPLE_PRIOR)

    def _intervals(
        self, hazards: NDArray[np.float64], stage: NDArray[np.int64], sample: Examples
    ) -> CumulativeHazardInterval:
        """What became of a sample with these cumulative hazards (N, K), by its corrected curves.

        The curves are made for ``_SAMPLE_BLOCK_ROWS`` examples at a time.
        """
        parts = []
        for first in range(0, len(sample), _SAMPLE_BLOCK_ROWS):
            rows = np.arange(first, min(first + _SAMPLE_BLOCK_ROWS, len(sample)))
            curves, block = self._curves(hazards[rows], stage[rows]), sample.take(rows)
            outcomes = block.features, block.duration_hours, block.event_observed
            parts.append(CumulativeHazardInterval.from_curves(curves, *outcomes))
        return CumulativeHazardInterval.concatenate(parts)

    def _elapsed_and_expected(
        self, features: Features, labels: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Hours, (N,), since each order, and at least one hour that such parcels typically take.

        Both may be NaN if unknown; the parcel's age class is then the first.
        """
        expected_days = np.expm1(labels[:, _SERVICE_LANE])
        return elapsed_hours(features), np.maximum(expected_days * 24.0, 1.0)

    def _drifted_hazards(self, features: Features) -> NDArray[np.float64]:
        """Cumulative hazards (N, K) at ``KNOTS_HOURS``, as fitted and at today's speed."""
        labels = self.design_.encode_labels(features)
        log_rate_ratio = self.drift.at(features.categoricals, features.local_as_of)
        return self._hazards(features, labels, _CURVE_STEPS, log_rate_ratio)

    def _curves(self, hazards: NDArray[np.float64], stage: NDArray[np.int64]) -> Curves:
        """The distributions of cumulative hazards (N, K) at the stages (N,), all corrected."""
        hazards = self.non_arrival_.apply(hazards, stage)
        hazards = self.in_sample_recalibration_.apply(hazards, stage)
        hazards = self.recalibration.apply(hazards, stage)
        return Curves.from_grid(KNOTS_HOURS, -np.expm1(-hazards))

    def _hazards(
        self,
        features: Features,
        labels: NDArray[np.float64],
        steps: Steps,
        log_rate_ratio: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Cumulative hazards (N, K + 1) at 0 and after each of K steps, with drift (N, A)."""
        rows = self.design_.matrix(features, labels)
        sees_promise = self.parameters.uses_promise
        time_index = self.activity_.time_index(features, sees_promise=sees_promise)
        elapsed, expected = self._elapsed_and_expected(features, labels)
        drift = DriftByAge(log_rate_ratio, elapsed, expected, _AGE_EDGES, AGE_TRANSITION_WEIGHT)
        return cumulative_hazards(
            self.forest_, self.base_, self.values_, rows, time_index, steps, drift
        )
