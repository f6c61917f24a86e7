"""The arrival law as a hazard: how fast, bin by bin, parcels still open arrive.

One forest is grown for a point forecast of the log of the time left; it gives the structure only.
Every leaf then holds a vector of log-hazards to add, one a bin, fitted to the rows at risk in the
bin (piecewise exponential model, Friedman 1982; with boosted trees, Bender et al. 2020). Parcels
still open count as at risk until the last moment they were known to be open, so that a slow parcel
is never mistaken for a missing one.

Some parcels have arrived already and their last scan is yet to be told. They are a bin before all
others, without width, that every row passes once.

Time at risk is counted in active hours (``activity``), so the calendar of the target day enters
every bin, and hours within it, without a tree being asked. Where the promise is seen, the days near
it are bins of their own, whenever one asks: on the promised day itself many more arrive than on the
days beside it.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import DAY
from eta.curves import Curves
from eta.domain.errors import InvalidValue, NotFitted
from eta.forecast.base import HORIZON_DAYS, Arrays, Estimator
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
from eta.forecast.hazard.active_hours import (
    MICROSECONDS_PER_HOUR,
    NEAR_PROMISE,
    ActivityProfile,
    exposure_near_promise,
    promised_day,
)
from eta.forecast.hazard.non_arrival import NonArrival
from eta.forecast.hazard.recalibration import (
    STAGES,
    CumulativeHazardInterval,
    Recalibration,
    stages,
)
from eta.forecast.hazard.serialization import encoder_arrays, encoder_from_arrays
from eta.forecast.hazard.trees import Forest, cumulative_hazards, fit_leaves
from eta.journey.examples import Examples
from eta.journey.features import CATEGORICAL_COLUMNS, NUMBER_COLUMNS, PROMISE_COLUMN, Features
from eta.journey.snapshots import Snapshots

#: Edges of the hazard's bins, in hours from ``as_of``; before them is the bin of those that have
#: arrived already.
BIN_EDGES_HOURS = 24.0 * np.array(
    [0, 0.5, 1, 1.5, 2, 2.5, *range(3, 15), 16, 18, 20, 22, 24, 27, 30, 37, 44, 51, HORIZON_DAYS]
)

#: Knots of the curves: every edge, and enough between them for the hours of a day to show.
KNOTS_HOURS = np.concatenate(
    [
        np.arange(0.0, 7 * 24, 6),
        np.arange(7 * 24, 14 * 24, 12),
        np.arange(14 * 24, 24 * HORIZON_DAYS + 1, 24),
    ]
)

#: Examples of each stage from which the shape of the fitted laws is learned, and arrivals' worth of
#: trust, in each stretch of it, that it is right.
MAX_IN_SAMPLE, IN_SAMPLE_PRIOR = 12_000, 50.0

#: The stages of which that is done.
IN_SAMPLE_STAGES = tuple(
    number for number, stage in enumerate(STAGES) if not stage.startswith("before_handover")
)


class HazardModel(Estimator):
    """``eta``: hazards of all bins in the leaves of one forest.

    Args:
        trees: trees of the structure.
        structure_rate: its learning rate.
        leaves: leaves a tree.
        leaf_rows: fewest rows a leaf.
        leaf_rate: share of a leaf's Newton step that is taken.
        ridge: rows' worth of curvature that holds a leaf at 0.
        cap: largest log-hazard of a leaf.
        smoothing_bins: standard deviation, in bins, of the Gaussian smoother over bins.
        label_prior: parcels' worth of trust in the mean of all against a label's own mean.
        uses_promise: sees the promise; for flags only, for a promise must not feed on itself.
        tracks_drift: keeps up with how fast the network runs these days.
        includes_censored: keeps parcels still open; switched off only to show what that costs.
        seed: of the structure.
    """

    refits_daily: ClassVar[bool] = False
    #: Which days are holidays; the shop's own calendar, so none of the parameters that a version
    #: keeps.
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS

    def __init__(
        self,
        *,
        trees: int = 150,
        structure_rate: float = 0.08,
        leaves: int = 48,
        leaf_rows: int = 100,
        leaf_rate: float = 0.1,
        ridge: float = 15.0,
        cap: float = 0.5,
        smoothing_bins: float = 0.7,
        label_prior: float = 20.0,
        uses_promise: bool = False,
        tracks_drift: bool = True,
        includes_censored: bool = True,
        seed: int = 0,
    ) -> None:
        self.trees = trees
        self.structure_rate = structure_rate
        self.leaves = leaves
        self.leaf_rows = leaf_rows
        self.leaf_rate = leaf_rate
        self.ridge = ridge
        self.cap = cap
        self.smoothing_bins = smoothing_bins
        self.label_prior = label_prior
        self.uses_promise = uses_promise
        self.tracks_drift = tracks_drift
        self.includes_censored = includes_censored
        self.seed = seed

    def fit(self, examples: Examples) -> Self:
        """Learns from examples at all kinds of moments.

        Raises:
            InvalidValue: if a parameter is out of range.
            NothingToLearn: if no parcel that was seen at its purchase arrived.
        """
        self._check_parameters()
        included = (
            examples
            if self.includes_censored
            else examples.take(np.flatnonzero(examples.event_observed))
        )
        self.design_, rows = Design.fit(included, self.label_prior, columns=self._columns())
        self.activity_ = ActivityProfile.fit(included, holidays=self.holidays)
        self.drift, self.non_arrival_ = Drift.identity(), NonArrival.identity()
        self.in_sample_recalibration_, self.recalibration = (
            Recalibration.identity(),
            Recalibration.identity(),
        )
        self.forest_ = self._grow(rows, log_time_left(included))
        exposure, last_bin, arrives_in = self._exposure(included)
        arrivals = np.bincount(arrives_in[arrives_in >= 0], minlength=exposure.shape[1])
        # Half an arrival in a thousand active hours keeps a bin that nobody reached finite.
        self.base_ = np.log(
            (arrivals + 0.5) / (exposure.sum(axis=0, dtype=np.float64) + 1000.0)
        ).astype(np.float32)
        self.values_ = fit_leaves(
            np.tile(self.base_, (len(included), 1)),
            self.forest_.leaves(rows),
            self.forest_.leaf_count,
            exposure,
            last_bin,
            arrives_in,
            len(BIN_EDGES_HOURS),
            _smoother(len(self.base_), self.smoothing_bins),
            self.leaf_rate,
            self.ridge,
            self.cap,
        )
        self._recalibrate_in_sample(included)
        return self

    def with_holidays(self, holidays: HolidayCalendar) -> Self:
        """The model itself, which from now on learns and forecasts with these holidays."""
        self.holidays = holidays
        if hasattr(self, "activity_"):
            self.activity_ = replace(self.activity_, holidays=holidays)
        return self

    def with_drift(self, drift: Drift) -> Self:
        """The same model at another pace of the network."""
        changed = copy(self)
        changed.drift = drift
        return changed

    def with_recalibration(self, recalibration: Recalibration) -> Self:
        """The same model with its curves corrected otherwise."""
        changed = copy(self)
        changed.recalibration = recalibration
        return changed

    def predict_curves(self, features: Features) -> Curves:
        """The laws of the time left, (N,), on ``KNOTS_HOURS``, as fast as the network runs these days and as wide as they should have been.

        Raises:
            NotFitted: before ``fit``.
        """
        if not hasattr(self, "values_"):
            raise NotFitted()
        return self._curves(self._drifted_hazards(features), stages(features))

    def expected_arrivals(self, snapshots: Snapshots, end: np.datetime64) -> DailyExpectation:
        """What is expected, without drift and calibrations, of parcels open at one moment, until ``end`` (UTC), a day later."""
        features = snapshots.features
        categoricals = self.design_.encode_labels(features)
        hazards = self._hazards(
            features, categoricals, EXPECTATION_HOURS, np.zeros((len(features), len(AGE_CLASSES)))
        )
        elapsed, expected = self._elapsed_and_expected(features, categoricals)
        age = (elapsed[:, None] >= expected[:, None] * AGE_EDGES).sum(axis=1)
        start = snapshots.pairs.as_of[0] if len(snapshots) else end
        return DailyExpectation(
            start,
            end,
            snapshots.pairs.row,
            age,
            {column: features.categoricals[column] for column in DRIFT_LABELS},
            hazards,
        )

    def _elapsed_and_expected(
        self, features: Features, labels: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Hours, (N,), that each parcel has been open, and those, at least one, that one of its service on its lane usually takes.

        Where either is not known, NaN, a parcel is as fresh as any.
        """
        expected_days = np.expm1(labels[:, CATEGORICAL_COLUMNS.index("service_lane")])
        return features.numbers["order_elapsed_days"] * 24.0, np.maximum(expected_days * 24.0, 1.0)

    def _drifted_hazards(self, features: Features) -> NDArray[np.float64]:
        """Hazards (N, K) summed up to ``KNOTS_HOURS``, as learned and as fast as the network runs these days."""
        return self._hazards(
            features,
            self.design_.encode_labels(features),
            KNOTS_HOURS,
            self.drift.at(features.categoricals, features.local_as_of),
        )

    def _curves(self, hazards: NDArray[np.float64], stage: NDArray[np.int64]) -> Curves:
        """The laws of hazards (N, K) at the stages (N,), as they count."""
        recalibrated = self.recalibration.apply(
            self.in_sample_recalibration_.apply(self.non_arrival_.apply(hazards, stage), stage),
            stage,
        )
        return Curves.from_grid(KNOTS_HOURS, -np.expm1(-recalibrated))

    def _hazards(
        self,
        features: Features,
        labels: NDArray[np.float64],
        hours: NDArray[np.float64],
        log_rate_ratio: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Hazards (N, K) summed up to ``duration_hours`` (K,), which start at 0, with drift theta (N, A)."""
        time_index = self.activity_.time_index(features, sees_promise=self.uses_promise)
        middle = (hours[1:] + hours[:-1]) / 2.0
        return cumulative_hazards(
            self.forest_.arrays,
            self.design_.matrix(features, labels),
            self.base_,
            self.values_,
            np.searchsorted(BIN_EDGES_HOURS, hours[1:], side="left"),
            (time_index.cumulative_active_hours, time_index.start, time_index.promise),
            np.rint(hours[1:] * MICROSECONDS_PER_HOUR).astype(np.int64),
            log_rate_ratio,
            middle,
            DAILY_DECAY[:, None] ** (middle / 24.0),
            self._elapsed_and_expected(features, labels),
            np.array(AGE_EDGES),
            AGE_TRANSITION_WEIGHT,
        )

    def to_arrays(self) -> Arrays:
        """All that was learned, as plain arrays."""
        labels = encoder_arrays("label", self.design_.labels)
        if self.design_.against_promise is not None:
            labels |= encoder_arrays("against_promise", self.design_.against_promise)
        forest = {f"forest.{name}": values for name, values in vars(self.forest_).items()}
        activity = {
            "activity.carriers": np.array(self.activity_.carriers, dtype=np.str_),
            "activity.profile": self.activity_.profile,
            "activity.holiday_factor": np.array(self.activity_.holiday_factor),
        }
        recalibrations = {
            "non_arrival": self.non_arrival_.coefficients,
            "in_sample": self.in_sample_recalibration_.slopes,
            "recalibration": self.recalibration.slopes,
        }
        return {
            "base": self.base_,
            "values": self.values_,
            **recalibrations,
            **forest,
            **activity,
            **labels,
        }

    def restore(self, arrays: Arrays) -> Self:
        """Takes the place of ``fit`` with what ``to_arrays`` gave.

        Raises:
            ModelCorrupted: if that is of other stages than ours.
        """
        self.base_, self.values_, self.drift = arrays["base"], arrays["values"], Drift.identity()
        self.in_sample_recalibration_, self.recalibration = (
            Recalibration.from_slopes(arrays[name]) for name in ("in_sample", "recalibration")
        )
        self.non_arrival_ = NonArrival.from_coefficients(arrays["non_arrival"])
        self.forest_ = Forest(
            **{
                name.removeprefix("forest."): values
                for name, values in arrays.items()
                if name.startswith("forest.")
            }
        )
        self.activity_ = ActivityProfile(
            tuple(str(name) for name in arrays["activity.carriers"]),
            arrays["activity.profile"],
            float(arrays["activity.holiday_factor"]),
            self.holidays,
        )
        against = (
            encoder_from_arrays("against_promise", arrays, self.label_prior)
            if self.uses_promise
            else None
        )
        self.design_ = Design(
            encoder_from_arrays("label", arrays, self.label_prior), self._columns(), against
        )
        return self

    def _check_parameters(self) -> None:
        least = {
            "trees": 1,
            "leaves": 2,
            "leaf_rows": 1,
            "smoothing_bins": 0,
            "seed": 0,
            "label_prior": 0,
        }
        for name, value in self.get_params().items():
            if value < least.get(name, 0) or (
                name not in least and not isinstance(value, bool) and value <= 0
            ):
                raise InvalidValue(
                    name,
                    f"{value!r} is out of range",
                    f"give at least {least[name]}" if name in least else "give a number above 0",
                )

    def _columns(self) -> tuple[str, ...]:
        return (*NUMBER_COLUMNS, PROMISE_COLUMN) if self.uses_promise else NUMBER_COLUMNS

    def _grow(self, rows: NDArray[np.float32], time_left: NDArray[np.float64]) -> Forest:
        import lightgbm  # of no use to who only forecasts, and slow to import

        parameters = {
            "objective": "l1",
            "learning_rate": self.structure_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.leaf_rows,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        # Best thresholds first, then random ones: trees that differ more from each other make a
        # better mean (Geurts et al. 2006).
        dataset = lightgbm.Dataset(rows, label=time_left, free_raw_data=False)
        booster = lightgbm.train(parameters, dataset, num_boost_round=(self.trees + 1) // 2)
        if self.trees > 1:
            booster = lightgbm.train(
                {**parameters, "extra_trees": True},
                dataset,
                num_boost_round=self.trees // 2,
                init_model=booster,
            )
        return Forest.from_lightgbm(booster.dump_model())

    def _recalibrate_in_sample(self, examples: Examples) -> None:
        """Leaves that are smoothed and shrunk end short of the shape that parcels show: what is left is learned apart, stage by stage.

        So is how far laws may be apart in the share that never arrives. But for parcels that wait
        at the shop: the moments at which they are learned from are no more like those at which they
        are asked about.
        """
        stage, random = stages(examples.features), np.random.default_rng(self.seed)
        rows = np.concatenate(
            [
                random.permutation(np.flatnonzero(stage == number))[:MAX_IN_SAMPLE]
                for number in IN_SAMPLE_STAGES
            ]
        )
        sample, stage = examples.take(rows), stage[rows]
        hazards = self._drifted_hazards(sample.features)

        def intervals() -> CumulativeHazardInterval:
            return CumulativeHazardInterval.from_curves(
                self._curves(hazards, stage),
                sample.features,
                sample.duration_hours,
                sample.event_observed,
            )

        self.non_arrival_ = NonArrival.fit(hazards[:, -1], intervals())
        self.in_sample_recalibration_ = Recalibration.fit(intervals(), IN_SAMPLE_PRIOR)

    def _exposure(
        self, examples: Examples
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32]]:
        """Active hours at risk in each bin (M, B), the last bin (M,) at risk but for those near the promise, and that of the arrival, -1 without one."""
        until = np.minimum(examples.duration_hours, BIN_EDGES_HOURS[-1])
        edges = np.minimum(BIN_EDGES_HOURS, until[:, None])
        exposure = np.diff(
            self.activity_.elapsed(examples.features, edges), axis=1, prepend=-1.0
        ).astype(np.float32)
        # When within the first bin, which has no clock, is not known: half of it (the actuarial
        # life table).
        exposure[examples.event_observed & (until <= 0.0), 0] = 0.5
        last_bin = np.searchsorted(BIN_EDGES_HOURS, until, side="left").astype(np.int32)
        arrives_in = np.where(
            examples.event_observed & (examples.duration_hours <= BIN_EDGES_HOURS[-1]), last_bin, -1
        ).astype(np.int32)
        if not self.uses_promise:
            return exposure, last_bin, arrives_in
        steps = np.rint(edges * MICROSECONDS_PER_HOUR).astype(np.int64)
        time_index = self.activity_.time_index(examples.features, sees_promise=True)
        near = exposure_near_promise(
            time_index.cumulative_active_hours, time_index.start, time_index.promise, steps
        )
        exposure[:, 1:] = np.maximum(exposure[:, 1:] - near.sum(axis=2), 0.0)
        arrives_on = (
            examples.features.local_as_of + steps[:, -1].astype("timedelta64[us]")
        ).astype("datetime64[D]")
        # NaN without a promise.
        after = (arrives_on - promised_day(examples.features)) / DAY
        is_near = (arrives_in > 0) & (after >= NEAR_PROMISE[0]) & (after <= NEAR_PROMISE[-1])
        arrives_in[is_near] = (
            len(BIN_EDGES_HOURS) + after[is_near].astype(np.int32) - NEAR_PROMISE[0]
        )
        return np.hstack([exposure, near.sum(axis=1).astype(np.float32)]), last_bin, arrives_in


def _smoother(bins: int, deviation: float) -> NDArray[np.float64]:
    """Weights (B, B) of neighbours in time; having arrived already has none, nor have days near the promise."""
    timed = len(BIN_EDGES_HOURS)
    weights = np.eye(bins)
    weights[1:timed, 1:timed] = gaussian_smoother(timed - 1, deviation)
    return weights


def gaussian_smoother(bins: int, deviation: float) -> NDArray[np.float64]:
    """Weights (B, B) exp(-(b - c)^2 / 2 deviation^2); the identity for a deviation of 0."""
    if deviation <= 0:
        return np.eye(bins)
    distance = np.subtract.outer(np.arange(bins), np.arange(bins))
    return np.exp(-0.5 * (distance / deviation) ** 2)
