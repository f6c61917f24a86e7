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

from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import LIBRARY, Holidays
from eta.calendars.local_time import DAY
from eta.curves import Curves
from eta.domain.errors import InvalidValue, NotFitted
from eta.forecast.base import HORIZON_DAYS, Arrays, Estimator
from eta.forecast.design_matrix import Design, log_time_left
from eta.forecast.drift.estimate import (
    AGE_EDGES,
    AGES,
    AGING,
    DECAY_A_DAY,
    DRIFT_LABELS,
    WATCH_HOURS,
    Drift,
    Watch,
)
from eta.forecast.hazard.active_hours import (
    MICROSECONDS_AN_HOUR,
    NEAR_PROMISE,
    Activity,
    exposure_near_promise,
    promised_day,
)
from eta.forecast.hazard.non_arrival import NeverShare
from eta.forecast.hazard.recalibration import STAGES, Calibration, Passed, stages
from eta.forecast.hazard.serialization import encoder_arrays, encoder_from_arrays
from eta.forecast.hazard.trees import Forest, cumulative_hazards, fit_leaves
from eta.journey.examples import Examples
from eta.journey.features import LABEL_COLUMNS, NUMBER_COLUMNS, PROMISE_COLUMN, Features
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
MOST_IN_SAMPLE, IN_SAMPLE_PRIOR = 12_000, 50.0

#: The stages of which that is done.
SHAPED = tuple(
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
        follows_drift: keeps up with how fast the network runs these days.
        keeps_censored: keeps parcels still open; switched off only to show what that costs.
        seed: of the structure.
    """

    refits_daily: ClassVar[bool] = False
    #: Which days are holidays; the shop's own calendar, so none of the parameters that a version
    #: keeps.
    holidays: Holidays = LIBRARY

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
        follows_drift: bool = True,
        keeps_censored: bool = True,
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
        self.follows_drift = follows_drift
        self.keeps_censored = keeps_censored
        self.seed = seed

    def fit(self, examples: Examples) -> Self:
        """Learns from examples at all kinds of moments.

        Raises:
            InvalidValue: if a parameter is out of range.
            NothingToLearn: if no parcel that was seen at its purchase arrived.
        """
        self._check_parameters()
        kept = examples if self.keeps_censored else examples.take(np.flatnonzero(examples.arrived))
        self.design_, rows = Design.learn(kept, self.label_prior, columns=self._columns())
        self.activity_ = Activity.learn(kept, holidays=self.holidays)
        self.drift_, self.never_share_ = Drift.none(), NeverShare.as_told()
        self.in_sample_, self.calibration_ = Calibration.none(), Calibration.none()
        self.forest_ = self._grow(rows, log_time_left(kept))
        exposure, last_bin, arrives_in = self._exposure(kept)
        arrivals = np.bincount(arrives_in[arrives_in >= 0], minlength=exposure.shape[1])
        # Half an arrival in a thousand active hours keeps a bin that nobody reached finite.
        self.base_ = np.log(
            (arrivals + 0.5) / (exposure.sum(axis=0, dtype=np.float64) + 1000.0)
        ).astype(np.float32)
        self.values_ = fit_leaves(
            np.tile(self.base_, (len(kept), 1)),
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
        self._calibrate_in_sample(kept)
        return self

    def observing(self, holidays: Holidays) -> Self:
        """The model itself, which from now on learns and forecasts with these holidays."""
        self.holidays = holidays
        if hasattr(self, "activity_"):
            self.activity_ = replace(self.activity_, holidays=holidays)
        return self

    def predict_curves(self, features: Features) -> Curves:
        """The laws of the time left, (N,), on ``KNOTS_HOURS``, as fast as the network runs these days and as wide as they should have been.

        Raises:
            NotFitted: before ``fit``.
        """
        if not hasattr(self, "values_"):
            raise NotFitted()
        return self._curves(self._drifting(features), stages(features))

    def watch(self, snapshots: Snapshots, end: np.datetime64) -> Watch:
        """What is expected, without drift and calibrations, of parcels open at one moment, until ``end`` (UTC), a day later."""
        features = snapshots.features
        labels = self.design_.valued(features)
        hazards = self._hazards(features, labels, WATCH_HOURS, np.zeros((len(features), len(AGES))))
        elapsed, usual = self._open_for(features, labels)
        age = (elapsed[:, None] >= usual[:, None] * AGE_EDGES).sum(axis=1)
        start = snapshots.moments.as_of[0] if len(snapshots) else end
        return Watch(
            start,
            end,
            snapshots.moments.row,
            age,
            {column: features.labels[column] for column in DRIFT_LABELS},
            hazards,
        )

    def _open_for(
        self, features: Features, labels: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Hours, (N,), that each parcel has been open, and those, at least one, that one of its service on its lane usually takes.

        Where either is not known, NaN, a parcel is as fresh as any.
        """
        usual_days = np.expm1(labels[:, LABEL_COLUMNS.index("service_lane")])
        return features.numbers["order_elapsed_days"] * 24.0, np.maximum(usual_days * 24.0, 1.0)

    def _drifting(self, features: Features) -> NDArray[np.float64]:
        """Hazards (N, K) summed up to ``KNOTS_HOURS``, as learned and as fast as the network runs these days."""
        return self._hazards(
            features,
            self.design_.valued(features),
            KNOTS_HOURS,
            self.drift_.of(features.labels, features.local_as_of),
        )

    def _curves(self, hazards: NDArray[np.float64], stage: NDArray[np.int64]) -> Curves:
        """The laws of hazards (N, K) at the stages (N,), as they count."""
        counted = self.calibration_.of(
            self.in_sample_.of(self.never_share_.of(hazards, stage), stage), stage
        )
        return Curves.on_grid(KNOTS_HOURS, -np.expm1(-counted))

    def _hazards(
        self,
        features: Features,
        labels: NDArray[np.float64],
        hours: NDArray[np.float64],
        theta: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Hazards (N, K) summed up to ``hours`` (K,), which start at 0, with drift theta (N, A)."""
        clocks = self.activity_.clocks(features, sees_promise=self.uses_promise)
        middle = (hours[1:] + hours[:-1]) / 2.0
        return cumulative_hazards(
            self.forest_.arrays,
            self.design_.matrix(features, labels),
            self.base_,
            self.values_,
            np.searchsorted(BIN_EDGES_HOURS, hours[1:], side="left"),
            (clocks.passed, clocks.start, clocks.promise),
            np.rint(hours[1:] * MICROSECONDS_AN_HOUR).astype(np.int64),
            theta,
            middle,
            DECAY_A_DAY[:, None] ** (middle / 24.0),
            self._open_for(features, labels),
            np.array(AGE_EDGES),
            AGING,
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
        calibrations = {
            "never_share": self.never_share_.lines,
            "in_sample": self.in_sample_.slopes,
            "calibration": self.calibration_.slopes,
        }
        return {
            "base": self.base_,
            "values": self.values_,
            **calibrations,
            **forest,
            **activity,
            **labels,
        }

    def restore(self, arrays: Arrays) -> Self:
        """Takes the place of ``fit`` with what ``to_arrays`` gave.

        Raises:
            ModelCorrupted: if that is of other stages than ours.
        """
        self.base_, self.values_, self.drift_ = arrays["base"], arrays["values"], Drift.none()
        self.in_sample_, self.calibration_ = (
            Calibration.of_slopes(arrays[name]) for name in ("in_sample", "calibration")
        )
        self.never_share_ = NeverShare.of_lines(arrays["never_share"])
        self.forest_ = Forest(
            **{
                name.removeprefix("forest."): values
                for name, values in arrays.items()
                if name.startswith("forest.")
            }
        )
        self.activity_ = Activity(
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
        known = lightgbm.Dataset(rows, label=time_left, free_raw_data=False)
        booster = lightgbm.train(parameters, known, num_boost_round=(self.trees + 1) // 2)
        if self.trees > 1:
            booster = lightgbm.train(
                {**parameters, "extra_trees": True},
                known,
                num_boost_round=self.trees // 2,
                init_model=booster,
            )
        return Forest.from_lightgbm(booster.dump_model())

    def _calibrate_in_sample(self, examples: Examples) -> None:
        """Leaves that are smoothed and shrunk end short of the shape that parcels show: what is left is learned apart, stage by stage.

        So is how far laws may be apart in the share that never arrives. But for parcels that wait
        at the shop: the moments at which they are learned from are no more like those at which they
        are asked about.
        """
        stage, random = stages(examples.features), np.random.default_rng(self.seed)
        rows = np.concatenate(
            [random.permutation(np.flatnonzero(stage == each))[:MOST_IN_SAMPLE] for each in SHAPED]
        )
        sample, stage = examples.take(rows), stage[rows]
        hazards = self._drifting(sample.features)

        def passed() -> Passed:
            return Passed.of(
                self._curves(hazards, stage), sample.features, sample.hours, sample.arrived
            )

        self.never_share_ = NeverShare.learn(hazards[:, -1], passed())
        self.in_sample_ = Calibration.learn(passed(), IN_SAMPLE_PRIOR)

    def _exposure(
        self, examples: Examples
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32]]:
        """Active hours at risk in each bin (M, B), the last bin (M,) at risk but for those near the promise, and that of the arrival, -1 without one."""
        until = np.minimum(examples.hours, BIN_EDGES_HOURS[-1])
        edges = np.minimum(BIN_EDGES_HOURS, until[:, None])
        exposure = np.diff(
            self.activity_.elapsed(examples.features, edges), axis=1, prepend=-1.0
        ).astype(np.float32)
        # When within the first bin, which has no clock, is not known: half of it (the actuarial
        # life table).
        exposure[examples.arrived & (until <= 0.0), 0] = 0.5
        last_bin = np.searchsorted(BIN_EDGES_HOURS, until, side="left").astype(np.int32)
        arrives_in = np.where(
            examples.arrived & (examples.hours <= BIN_EDGES_HOURS[-1]), last_bin, -1
        ).astype(np.int32)
        if not self.uses_promise:
            return exposure, last_bin, arrives_in
        steps = np.rint(edges * MICROSECONDS_AN_HOUR).astype(np.int64)
        clocks = self.activity_.clocks(examples.features, sees_promise=True)
        near = exposure_near_promise(clocks.passed, clocks.start, clocks.promise, steps)
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
