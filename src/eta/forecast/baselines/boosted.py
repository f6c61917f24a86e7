"""Baselines of boosted trees: what a good analyst would build from plain LightGBM.

They learn from the same moments and columns as ``eta``, without the promise, but only from parcels
that arrived, as is common. They are refitted at each forecast origin and do not follow drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from eta.curves import Curves
from eta.domain.errors import NotFitted
from eta.forecast.base import Estimator, group_quantiles
from eta.forecast.baselines.simple import LEVELS
from eta.forecast.design_matrix import Design
from eta.forecast.target_encoding import FOLDS
from eta.journey.examples import Examples
from eta.journey.features import Features
from eta.journey.snapshots import PURCHASE

if TYPE_CHECKING:
    import lightgbm


#: The levels of the quantiles, each of which has a booster.
QUANTILE_LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
_DAY = np.timedelta64(86_400_000_000, "us")


class _Boosted(Estimator):
    """Base of both baselines.

    Args:
        trees: trees of a booster.
        rate: learning rate of a booster.
        leaves: leaves a tree.
        leaf_rows: minimum rows a leaf.
        ridge: L2 penalty of a leaf.
        column_share: share of the columns that a tree may use.
        label_prior: weight, in parcels, of the overall mean against a category's own mean.
        seed: seed of the boosters.
    """

    refits_daily: ClassVar[bool] = False

    def __init__(
        self,
        *,
        trees: int = 200,
        rate: float = 0.05,
        leaves: int = 31,
        leaf_rows: int = 60,
        ridge: float = 1.0,
        column_share: float = 1.0,
        label_prior: float = 20.0,
        seed: int = 0,
    ) -> None:
        self.trees = trees
        self.rate = rate
        self.leaves = leaves
        self.leaf_rows = leaf_rows
        self.ridge = ridge
        self.column_share = column_share
        self.label_prior = label_prior
        self.seed = seed

    def _boost(self, rows: lightgbm.Dataset, objective: Mapping[str, Any]) -> lightgbm.Booster:
        parameters = {
            **objective,
            "learning_rate": self.rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.leaf_rows,
            "lambda_l2": self.ridge,
            "feature_fraction": self.column_share,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        import lightgbm  # not needed by other models, and slow to import

        return lightgbm.train(parameters, rows, num_boost_round=self.trees)

    def _dataset(self, examples: Examples) -> tuple[Design, lightgbm.Dataset]:
        """The design, and the rows that arrived with their days left."""
        import lightgbm  # as above

        design, rows = Design.fit(examples, self.label_prior)
        arrived = np.flatnonzero(examples.event_observed)
        days_left = examples.duration_hours[arrived] / 24.0
        # Bins are computed once for all boosters, and columns that small leaves cannot use are
        # dropped with them.
        parameters = {"min_data_in_leaf": self.leaf_rows, "num_threads": 1, "verbosity": -1}
        return design, lightgbm.Dataset(rows[arrived], label=days_left, params=parameters)


class BoostedMedianBaseline(_Boosted):
    """B5: the median days left (L1 loss) with the distribution of past errors, not below 0.

    Errors are out of time: those at moments 75 to 30 days before D, of a booster fitted to what had
    been received before those days. They are grouped by fifths of the forecast, because longer
    forecasts have larger errors. Without enough such moments they are out of fold: those on a fifth
    of the parcels.
    """

    #: The first and the last day before D whose forecasts are evaluated; by D most of these parcels
    #: have arrived.
    JUDGED_DAYS: ClassVar[tuple[int, int]] = (75, 30)
    #: The fewest errors that make a distribution.
    MIN_ERRORS: ClassVar[int] = 200
    FIFTHS: ClassVar[tuple[float, ...]] = (0.2, 0.4, 0.6, 0.8)

    def fit(self, examples: Examples) -> Self:
        """Fits the model to examples at all kinds of moments.

        Raises:
            NoTrainingData: if no parcel with an example at its purchase arrived.
        """
        early, evaluation = self._split(examples)
        design, booster = self._fit_median(early)
        forecast = _predict_days(booster, design.rows(evaluation.features))
        errors = evaluation.duration_hours / 24.0 - forecast
        self.edges_ = np.quantile(forecast, self.FIFTHS)
        fifth = np.digitize(forecast, self.edges_)
        by_fifth = group_quantiles(errors, fifth, len(self.edges_) + 1, LEVELS)
        overall = np.quantile(errors, LEVELS)
        self.errors_ = np.where(np.isnan(by_fifth), overall, by_fifth)
        self.design_, self.booster_ = self._fit_median(examples)
        return self

    def predict_curves(self, features: Features) -> Curves:
        """The distributions of the time left, (N,).

        Raises:
            NotFitted: before ``fit``.
        """
        if not hasattr(self, "booster_"):
            raise NotFitted()
        forecast = _predict_days(self.booster_, self.design_.rows(features))
        errors = self.errors_[np.digitize(forecast, self.edges_)]
        days = forecast[:, None] + errors
        hours = np.maximum(24.0 * days, 0.0)
        return Curves.from_knots(hours, LEVELS[None, :])

    def _fit_median(self, examples: Examples) -> tuple[Design, lightgbm.Booster]:
        design, dataset = self._dataset(examples)
        return design, self._boost(dataset, {"objective": "l1"})

    def _split(self, examples: Examples) -> tuple[Examples, Examples]:
        """Examples to fit a booster to, and arrivals on which to evaluate it."""
        first, last = (examples.known_through - days * _DAY for days in self.JUDGED_DAYS)
        is_late = (examples.as_of >= first) & (examples.as_of < last)
        # The examples as of an earlier moment; an arrival counts as received when it happened.
        earlier = examples.take(np.flatnonzero(examples.as_of < first))
        observed_hours = (first - earlier.as_of) / np.timedelta64(1, "h")
        arrived_by_then = earlier.duration_hours <= observed_hours
        early = replace(
            earlier,
            duration_hours=np.minimum(earlier.duration_hours, observed_hours),
            event_observed=earlier.event_observed & arrived_by_then,
            known_through=first,
        )
        evaluation = _arrivals(examples, is_late)
        if self._is_enough(early, evaluation):
            return early, evaluation
        is_held_out = examples.parcel % np.uint64(FOLDS) == 0
        early = examples.take(np.flatnonzero(~is_held_out))
        evaluation = _arrivals(examples, is_held_out)
        if self._is_enough(early, evaluation):
            return early, evaluation
        # With so few examples only in-sample errors are left.
        return examples, _arrivals(examples, np.full(len(examples), True))

    def _is_enough(self, early: Examples, evaluation: Examples) -> bool:
        has_arrival = (early.event_observed & (early.moment == PURCHASE)).any()
        return bool(len(evaluation) >= self.MIN_ERRORS and has_arrival)


class BoostedQuantilesBaseline(_Boosted):
    """B6: a booster for each of 13 quantiles of the days left (pinball loss), sorted."""

    def fit(self, examples: Examples) -> Self:
        """Fits the model to examples at all kinds of moments.

        Raises:
            NoTrainingData: if no parcel with an example at its purchase arrived.
        """
        self.design_, dataset = self._dataset(examples)
        self.max_hours_ = float(examples.duration_hours[examples.event_observed].max())
        self.boosters_ = [
            self._boost(dataset, {"objective": "quantile", "alpha": level})
            for level in QUANTILE_LEVELS
        ]
        return self

    def predict_curves(self, features: Features) -> Curves:
        """The distributions of the time left, (N,), linear between quantiles.

        They end at the longest time in the training data.

        Raises:
            NotFitted: before ``fit``.
        """
        if not hasattr(self, "boosters_"):
            raise NotFitted()
        rows = self.design_.rows(features)
        days = np.column_stack([_predict_days(booster, rows) for booster in self.boosters_])
        hours = 24.0 * np.sort(days, axis=1)
        return Curves.from_quantiles(QUANTILE_LEVELS, hours, max_hours=self.max_hours_)


def _predict_days(booster: lightgbm.Booster, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The booster's forecast of each row, (N,)."""
    # LightGBM rejects an empty batch.
    return np.asarray(booster.predict(rows, num_threads=1)) if len(rows) else np.zeros(0)


def _arrivals(examples: Examples, is_used: NDArray[np.bool_]) -> Examples:
    """Those of the examples used, (M,), that arrived."""
    return examples.take(np.flatnonzero(is_used & examples.event_observed))
