"""The arrival law as a hazard: how fast, bin by bin, parcels still open arrive.

One forest is grown for a point forecast of the log of the time left; it gives the structure only. Every leaf then holds a
vector of log-hazards to add, one a bin, fitted to the rows at risk in the bin (piecewise exponential model, Friedman 1982;
with boosted trees, Bender et al. 2020). Parcels still open count as at risk until the last moment they were known to be
open, so that a slow parcel is never mistaken for a missing one.

Time at risk is counted in active hours (``activity``), so the calendar of the target day enters every bin, and hours
within it, without a tree being asked.
"""

from __future__ import annotations

from typing import ClassVar, Self

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from eta.curves import Curves
from eta.domain.errors import InvalidValue, NotFitted, NothingToLearn
from eta.forecast.activity import MICROSECONDS_AN_HOUR, Activity
from eta.forecast.base import HORIZON_DAYS, Arrays
from eta.forecast.drift import AGE_EDGES, DECAY_A_DAY, DRIFT_LABELS, WATCH_HOURS, Drift, Watch
from eta.forecast.label_means import LabelMeans, encode_out_of_fold
from eta.forecast.trees import Forest, cumulative_hazards, fit_leaves
from eta.journey.features import LABEL_COLUMNS, NUMBER_COLUMNS, PROMISE_COLUMN, Features
from eta.journey.snapshots import PURCHASE, Examples, Snapshots

#: Edges of the hazard's bins, in hours from ``as_of``.
BIN_EDGES_HOURS = 24.0 * np.array([0, 0.5, 1, 1.5, 2, 2.5, *range(3, 15), 16, 18, 20, 22, 24, 27, 30, 37, 44, 51, HORIZON_DAYS])
#: Knots of the curves: every edge, and enough between them for the hours of a day to show.
KNOTS_HOURS = np.unique(np.concatenate([np.arange(0.0, 7 * 24, 6), np.arange(7 * 24, 14 * 24, 12), BIN_EDGES_HOURS]))


class HazardModel(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
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
        keeps_censored: keeps parcels still open; switched off only to show what that costs.
        seed: of the structure.
    """

    refits_daily: ClassVar[bool] = False

    def __init__(
        self,
        *,
        trees: int = 150,
        structure_rate: float = 0.08,
        leaves: int = 48,
        leaf_rows: int = 100,
        leaf_rate: float = 0.07,
        ridge: float = 1.3,
        cap: float = 0.5,
        smoothing_bins: float = 0.7,
        label_prior: float = 20.0,
        uses_promise: bool = False,
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
        time_left, is_purchase = log_time_left(kept), kept.kind == PURCHASE
        if not (kept.arrived & is_purchase).any():
            raise NothingToLearn()
        self.activity_, self.drift_ = Activity.learn(kept), Drift.none()
        purchases, own = kept.features.take(np.flatnonzero(is_purchase)), time_left[is_purchase]
        self.labels_ = LabelMeans.learn(purchases, own, self.label_prior)
        labels = encode_out_of_fold(kept.features, kept.parcel, purchases, kept.parcel[is_purchase], own, self.label_prior)
        rows = self._matrix(kept.features, labels)
        self.forest_ = self._grow(rows, time_left)
        exposure, last_bin, arrived = self._exposure(kept)
        arrivals = np.bincount(last_bin[arrived], minlength=exposure.shape[1])
        # Half an arrival in a thousand active hours keeps a bin that nobody reached finite.
        self.base_ = np.log((arrivals + 0.5) / (exposure.sum(axis=0, dtype=np.float64) + 1000.0)).astype(np.float32)
        self.values_ = fit_leaves(
            np.tile(self.base_, (len(kept), 1)),
            self.forest_.leaves(rows),
            self.forest_.leaf_count,
            exposure,
            last_bin,
            arrived,
            gaussian_smoother(len(self.base_), self.smoothing_bins),
            self.leaf_rate,
            self.ridge,
            self.cap,
        )
        return self

    def predict_curves(self, features: Features) -> Curves:
        """The laws of the time left, (N,), on ``KNOTS_HOURS``, as fast as the network runs these days.

        Raises:
            NotFitted: before ``fit``.
        """
        if not hasattr(self, "values_"):
            raise NotFitted()
        labels = self.labels_.encode(features)
        age = self._age(features, labels)
        hazards = self._hazards(features, labels, KNOTS_HOURS, self.drift_.of(features, age), age)
        return Curves.on_grid(KNOTS_HOURS, -np.expm1(-hazards))

    def watch(self, snapshots: Snapshots, end: np.datetime64) -> Watch:
        """What is expected, without drift, of parcels open at one moment, until ``end`` (UTC), at most 30 hours later."""
        features = snapshots.features
        labels = self.labels_.encode(features)
        hazards = self._hazards(features, labels, WATCH_HOURS, np.zeros(len(features)), np.zeros(len(features), dtype=np.int64))
        start = snapshots.moments.as_of[0] if len(snapshots) else end
        return Watch(start, end, snapshots.moments.row, self._age(features, labels), {column: features.labels[column] for column in DRIFT_LABELS}, hazards)

    def _age(self, features: Features, labels: NDArray[np.float64]) -> NDArray[np.int64]:
        """How long each parcel has been open for one of its service on its lane, (N,), as positions in ``AGES``."""
        usual_days = np.expm1(labels[:, LABEL_COLUMNS.index("service_lane")])
        return np.searchsorted(AGE_EDGES, features.numbers["order_elapsed_days"] / usual_days, side="right")

    def _hazards(
        self, features: Features, labels: NDArray[np.float64], hours: NDArray[np.float64], drift: NDArray[np.float64], age: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Hazards (N, K) summed up to ``hours`` (K,), which start at 0."""
        clocks, forest = self.activity_.clocks(features), self.forest_
        decay = DECAY_A_DAY[:, None] ** ((hours[1:] + hours[:-1]) / 48.0)
        return cumulative_hazards(
            forest.root,
            forest.feature,
            forest.threshold,
            forest.nan_goes_left,
            forest.left,
            forest.right,
            self._matrix(features, labels),
            self.base_,
            self.values_,
            np.searchsorted(BIN_EDGES_HOURS, hours[1:], side="left") - 1,
            clocks.passed,
            clocks.rate,
            clocks.start,
            np.rint(hours[1:] * MICROSECONDS_AN_HOUR).astype(np.int64),
            drift,
            age,
            decay,
        )

    def to_arrays(self) -> Arrays:
        """All that was learned, as plain arrays."""
        labels = {
            f"label.{column}.{part}": np.array(list(values), dtype=kind)
            for column in LABEL_COLUMNS
            for part, values, kind in (
                ("names", self.labels_.counts[column].keys(), np.str_),
                ("sums", self.labels_.sums[column].values(), np.float64),
                ("counts", self.labels_.counts[column].values(), np.float64),
            )
        }
        forest = {f"forest.{name}": values for name, values in vars(self.forest_).items()}
        activity = {
            "activity.carriers": np.array(self.activity_.carriers, dtype=np.str_),
            "activity.profile": self.activity_.profile,
            "activity.holiday_factor": np.array(self.activity_.holiday_factor),
        }
        return {"base": self.base_, "values": self.values_, "label_mean": np.array(self.labels_.mean), **forest, **activity, **labels}

    def restore(self, arrays: Arrays) -> Self:
        """Takes the place of ``fit`` with what ``to_arrays`` gave."""
        self.base_, self.values_, self.drift_ = arrays["base"], arrays["values"], Drift.none()
        self.forest_ = Forest(**{name.removeprefix("forest."): values for name, values in arrays.items() if name.startswith("forest.")})
        self.activity_ = Activity(
            tuple(str(name) for name in arrays["activity.carriers"]), arrays["activity.profile"], float(arrays["activity.holiday_factor"])
        )
        names = {column: [str(name) for name in arrays[f"label.{column}.names"]] for column in LABEL_COLUMNS}
        sums, counts = (
            {column: dict(zip(names[column], arrays[f"label.{column}.{part}"].tolist(), strict=True)) for column in LABEL_COLUMNS}
            for part in ("sums", "counts")
        )
        self.labels_ = LabelMeans(sums, counts, float(arrays["label_mean"]), self.label_prior)
        return self

    def _check_parameters(self) -> None:
        least = {"trees": 1, "leaves": 2, "leaf_rows": 1, "smoothing_bins": 0, "seed": 0, "label_prior": 0}
        for name, value in self.get_params().items():
            if value < least.get(name, 0) or (name not in least and not isinstance(value, bool) and value <= 0):
                raise InvalidValue(name, f"{value!r} is out of range", f"give at least {least[name]}" if name in least else "give a number above 0")

    def _columns(self) -> tuple[str, ...]:
        return (*NUMBER_COLUMNS, PROMISE_COLUMN) if self.uses_promise else NUMBER_COLUMNS

    def _matrix(self, features: Features, labels: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.column_stack([*(features.numbers[name] for name in self._columns()), labels]).astype(np.float32)

    def _grow(self, rows: NDArray[np.float32], time_left: NDArray[np.float64]) -> Forest:
        parameters = {
            "objective": "l1",
            # Random thresholds: trees that differ more from each other make a better mean (Geurts et al. 2006).
            "extra_trees": True,
            "learning_rate": self.structure_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.leaf_rows,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        booster = lightgbm.train(parameters, lightgbm.Dataset(rows, label=time_left, free_raw_data=True), num_boost_round=self.trees)
        return Forest.from_lightgbm(booster.dump_model())

    def _exposure(self, examples: Examples) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.bool_]]:
        """Active hours at risk in each bin (M, B), the last bin (M,) with any, and whether the row arrives in it."""
        until = np.minimum(examples.hours, BIN_EDGES_HOURS[-1])
        edges = np.minimum(BIN_EDGES_HOURS, until[:, None])
        exposure = np.diff(self.activity_.elapsed(examples.features, edges), axis=1).astype(np.float32)
        last_bin = np.maximum(np.searchsorted(BIN_EDGES_HOURS, until, side="left") - 1, 0).astype(np.int32)
        return exposure, last_bin, examples.arrived & (examples.hours <= BIN_EDGES_HOURS[-1])


def log_time_left(examples: Examples) -> NDArray[np.float64]:
    """What the structure is grown on, (M,): the log of 1 + days left.

    A parcel still open stands at half as long again as it was seen to be, and at no less than 15 days.
    """
    days = examples.hours / 24.0
    return np.log1p(np.where(examples.arrived, days, np.maximum(1.5 * days, 15.0)))


def gaussian_smoother(bins: int, deviation: float) -> NDArray[np.float64]:
    """Weights (B, B) exp(-(b - c)^2 / 2 deviation^2); the identity for a deviation of 0."""
    if deviation <= 0:
        return np.eye(bins)
    distance = np.subtract.outer(np.arange(bins), np.arange(bins))
    return np.exp(-0.5 * (distance / deviation) ** 2)
