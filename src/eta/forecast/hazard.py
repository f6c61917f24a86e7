"""The arrival law as a hazard: the chance, bin by bin, that a parcel still open arrives in the bin.

One forest is grown for a point forecast of the log of the time left; it gives the structure only. Every leaf then holds a
vector of additive log-odds, one a bin, fitted to the rows at risk in the bin. Parcels still open count as at risk until
the last moment they were known to be open, so that a slow parcel is never mistaken for a missing one. The calendar of the
target day enters as the log of the active hours (``activity``) that the bin holds for the parcel.
"""

from __future__ import annotations

from typing import ClassVar, Self

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from eta.curves import Curves
from eta.domain.errors import NotFitted, NothingToLearn
from eta.forecast.activity import Activity
from eta.forecast.base import HORIZON_DAYS, Arrays
from eta.forecast.trees import Forest, base_log_odds, fit_leaves
from eta.journey.columns import Labels
from eta.journey.features import LABEL_COLUMNS, NUMBER_COLUMNS, PROMISE_COLUMN, Features
from eta.journey.snapshots import PURCHASE, Examples

#: Edges of the hazard's bins, in hours from ``as_of``.
BIN_EDGES_HOURS = 24.0 * np.array([0, 0.5, 1, 1.5, 2, 2.5, *range(3, 15), 16, 18, 20, 22, 24, 27, 30, 37, 44, 51, HORIZON_DAYS])
#: Knots of the curves: every edge, and enough between them for the hours of a day to show.
KNOTS_HOURS = np.unique(np.concatenate([np.arange(0.0, 7 * 24, 6), np.arange(7 * 24, 14 * 24, 12), BIN_EDGES_HOURS]))
_BIN_OF_KNOT = np.clip(np.searchsorted(BIN_EDGES_HOURS, KNOTS_HOURS[1:], side="left") - 1, 0, len(BIN_EDGES_HOURS) - 2)

NEWTON_STEPS = 12


class HazardModel(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """``eta``: hazards of all bins in the leaves of one forest.

    Args:
        trees: trees of the structure.
        structure_rate: its learning rate.
        leaves: leaves a tree.
        leaf_rows: fewest rows a leaf.
        leaf_rate: share of a leaf's Newton step that is taken.
        ridge: rows' worth of curvature that holds a leaf at 0.
        cap: largest log-odds of a leaf.
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
        leaves: int = 32,
        leaf_rows: int = 150,
        leaf_rate: float = 0.065,
        ridge: float = 1.3,
        cap: float = 0.5,
        smoothing_bins: float = 2.0,
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
            NothingToLearn: if no example arrived.
        """
        kept = examples if self.keeps_censored else examples.take(np.flatnonzero(examples.arrived))
        if not kept.arrived.any():
            raise NothingToLearn()
        self.activity_ = Activity.learn(kept)
        self.label_values_ = self._learn_labels(kept)
        rows, time_left = self._matrix(kept.features), log_time_left(kept)
        self.forest_ = self._grow(rows, time_left)
        last_bin, arrived = _exposure(kept)
        score = self._offset(kept.features)
        self.base_ = base_log_odds(score, last_bin, arrived, NEWTON_STEPS).astype(np.float32)
        score += self.base_
        self.values_ = fit_leaves(
            score,
            self.forest_.leaves(rows),
            self.forest_.leaf_count,
            last_bin,
            arrived,
            gaussian_smoother(len(self.base_), self.smoothing_bins),
            self.leaf_rate,
            self.ridge,
            self.cap,
        )
        return self

    def predict_curves(self, features: Features) -> Curves:
        """The laws of the time left, (N,), on ``KNOTS_HOURS``.

        Raises:
            NotFitted: before ``fit``.
        """
        if not hasattr(self, "values_"):
            raise NotFitted()
        score = self._offset(features) + self.base_
        self.forest_.add_values(self._matrix(features), self.values_, score)
        log_open = -np.logaddexp(0.0, score.astype(np.float64))  # log(1 - hazard) of each bin
        active = self.activity_.elapsed(features, np.concatenate([BIN_EDGES_HOURS, KNOTS_HOURS[1:]]))
        edges, knots = active[:, : len(BIN_EDGES_HOURS)], active[:, len(BIN_EDGES_HOURS) :]
        # Within a bin the hazard is constant in active hours.
        share = (knots - edges[:, _BIN_OF_KNOT]) / (edges[:, _BIN_OF_KNOT + 1] - edges[:, _BIN_OF_KNOT])
        before = np.concatenate([np.zeros((len(score), 1)), np.cumsum(log_open, axis=1)], axis=1)
        log_survival = before[:, _BIN_OF_KNOT] + share * log_open[:, _BIN_OF_KNOT]
        cdf = np.concatenate([np.zeros((len(score), 1)), -np.expm1(log_survival)], axis=1)
        return Curves.on_grid(KNOTS_HOURS, np.maximum.accumulate(cdf, axis=1))

    def to_arrays(self) -> Arrays:
        """All that was learned, as plain arrays."""
        labels = {
            f"label.{column}.{part}": np.array(list(values), dtype=kind)
            for column, table in self.label_values_.items()
            for part, values, kind in (("names", table.keys(), np.str_), ("values", table.values(), np.float64))
        }
        forest = {f"forest.{name}": values for name, values in vars(self.forest_).items()}
        activity = {
            "activity.carriers": np.array(self.activity_.carriers, dtype=np.str_),
            "activity.profile": self.activity_.profile,
            "activity.holiday_factor": np.array(self.activity_.holiday_factor),
        }
        return {"base": self.base_, "values": self.values_, **forest, **activity, **labels}

    def restore(self, arrays: Arrays) -> Self:
        """Takes the place of ``fit`` with what ``to_arrays`` gave."""
        self.base_, self.values_ = arrays["base"], arrays["values"]
        self.forest_ = Forest(**{name.removeprefix("forest."): values for name, values in arrays.items() if name.startswith("forest.")})
        self.activity_ = Activity(
            tuple(str(name) for name in arrays["activity.carriers"]), arrays["activity.profile"], float(arrays["activity.holiday_factor"])
        )
        self.label_values_ = {
            column: dict(zip((str(name) for name in arrays[f"label.{column}.names"]), arrays[f"label.{column}.values"].tolist(), strict=True))
            for column in LABEL_COLUMNS
        }
        return self

    def _columns(self) -> tuple[str, ...]:
        return (*NUMBER_COLUMNS, PROMISE_COLUMN) if self.uses_promise else NUMBER_COLUMNS

    def _matrix(self, features: Features) -> NDArray[np.float32]:
        numbers = [features.numbers[name] for name in self._columns()]
        labels = [features.labels[name].translate(self.label_values_[name], np.nan) for name in LABEL_COLUMNS]
        return np.column_stack([*numbers, *labels]).astype(np.float32)

    def _learn_labels(self, examples: Examples) -> dict[str, dict[str, float]]:
        """Each label's mean log of T at purchase, shrunk to the mean of all."""
        purchases = examples.take(np.flatnonzero(examples.kind == PURCHASE))
        time_left = log_time_left(purchases)
        mean = float(time_left.mean())
        return {name: _shrunk_means(purchases.features.labels[name], time_left, mean, self.label_prior) for name in LABEL_COLUMNS}

    def _grow(self, rows: NDArray[np.float32], time_left: NDArray[np.float64]) -> Forest:
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
        booster = lightgbm.train(parameters, lightgbm.Dataset(rows, label=time_left, free_raw_data=True), num_boost_round=self.trees)
        return Forest.from_lightgbm(booster.dump_model())

    def _offset(self, features: Features) -> NDArray[np.float32]:
        """The log of each bin's active hours over its hours of the clock, (N, B)."""
        active = np.diff(self.activity_.elapsed(features, BIN_EDGES_HOURS), axis=1)
        return np.log(active / np.diff(BIN_EDGES_HOURS)).astype(np.float32)


def log_time_left(examples: Examples) -> NDArray[np.float64]:
    """What the structure is grown on, (M,): log of 1 + days left; a parcel still open stands at half as long again as
    it was seen to be, and at no less than 15 days.
    """
    days = examples.hours / 24.0
    return np.log1p(np.where(examples.arrived, days, np.maximum(1.5 * days, 15.0)))


def gaussian_smoother(bins: int, deviation: float) -> NDArray[np.float64]:
    """Weights (B, B) exp(-(b - c)^2 / 2 deviation^2); the identity for a deviation of 0."""
    if deviation <= 0:
        return np.eye(bins)
    distance = np.subtract.outer(np.arange(bins), np.arange(bins))
    return np.exp(-0.5 * (distance / deviation) ** 2)


def _exposure(examples: Examples) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The last bin (M,) in which each row is at risk, or -1, and whether it arrives in it."""
    arrived = examples.arrived & (examples.hours <= BIN_EDGES_HOURS[-1])
    bin_of_arrival = np.maximum(np.searchsorted(BIN_EDGES_HOURS, examples.hours, side="left") - 1, 0)
    last_survived = np.minimum(np.searchsorted(BIN_EDGES_HOURS, examples.hours, side="right"), len(BIN_EDGES_HOURS)) - 2
    return np.where(arrived, bin_of_arrival, last_survived).astype(np.int32), arrived


def _shrunk_means(labels: Labels, values: NDArray[np.float64], mean: float, prior: float) -> dict[str, float]:
    known = labels.codes >= 0
    count = np.bincount(labels.codes[known], minlength=len(labels.names))
    total = np.bincount(labels.codes[known], weights=values[known], minlength=len(labels.names))
    shrunk = (total + prior * mean) / (count + prior)
    return {name: float(value) for name, value, n in zip(labels.names, shrunk, count, strict=True) if n}
