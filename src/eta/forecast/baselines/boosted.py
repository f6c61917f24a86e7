"""Baselines that take boosted trees: what a good analyst would build from LightGBM as it comes.

They learn from the same moments and columns as ``eta``, without the promise, but, as is usual, from
parcels that arrived alone. They are refitted at each origin and know nothing of the days since.
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


#: The levels at which quantiles are learned one by one.
QUANTILE_LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
_DAY = np.timedelta64(86_400_000_000, "us")


class _Boosted(Estimator):
    """What both share.

    Args:
        trees: trees of a booster.
        rate: its learning rate.
        leaves: leaves a tree.
        leaf_rows: fewest rows a leaf.
        ridge: L2 penalty of a leaf.
        column_share: share of the columns that a tree may use.
        label_prior: parcels' worth of trust in the mean of all against a label's own mean.
        seed: of the boosters.
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
        import lightgbm  # of no use to other models, and slow to import

        return lightgbm.train(parameters, rows, num_boost_round=self.trees)

    def _dataset(self, examples: Examples) -> tuple[Design, lightgbm.Dataset]:
        """The design, and the rows that arrived with the days they had left."""
        design, rows = Design.fit(examples, self.label_prior)
        arrived = np.flatnonzero(examples.event_observed)
        # Bins are made once for all boosters; that no column may be dropped for small leaves is
        # settled with them.
        parameters = {"min_data_in_leaf": self.leaf_rows, "num_threads": 1, "verbosity": -1}
        import lightgbm  # as above

        return design, lightgbm.Dataset(
            rows[arrived], label=examples.duration_hours[arrived] / 24.0, params=parameters
        )


class BoostedMedianBaseline(_Boosted):
    """B5: the median days left (L1 loss), and around it the law of its past errors, floored at 0.

    Errors are out of time: those made, on moments 75 to 30 days before D, by a booster that knew
    what was known before those days. They are kept by fifths of the forecast, since the error of a
    long forecast is larger. Without enough such moments they are out of fold: those on a fifth of
    the parcels.
    """

    #: First and last of the days before D whose forecasts are judged; the last lie back far enough
    #: to have arrived.
    JUDGED_DAYS: ClassVar[tuple[int, int]] = (75, 30)
    #: Fewer errors than these make no law.
    MIN_ERRORS: ClassVar[int] = 200
    FIFTHS: ClassVar[tuple[float, ...]] = (0.2, 0.4, 0.6, 0.8)

    def fit(self, examples: Examples) -> Self:
        """Learns from examples at all kinds of moments.

        Raises:
            NothingToLearn: if no parcel that was seen at its purchase arrived.
        """
        early, judged = self._split(examples)
        design, booster = self._median(early)
        forecast = _days(booster, design.rows(judged.features))
        self.edges_ = np.quantile(forecast, self.FIFTHS)
        errors, fifth = judged.duration_hours / 24.0 - forecast, np.digitize(forecast, self.edges_)
        quantiles_by_fifth = group_quantiles(errors, fifth, len(self.edges_) + 1, LEVELS)
        self.errors_ = np.where(
            np.isnan(quantiles_by_fifth), np.quantile(errors, LEVELS), quantiles_by_fifth
        )
        self.design_, self.booster_ = self._median(examples)
        return self

    def predict_curves(self, features: Features) -> Curves:
        """The laws of the time left, (N,).

        Raises:
            NotFitted: before ``fit``.
        """
        if not hasattr(self, "booster_"):
            raise NotFitted()
        forecast = _days(self.booster_, self.design_.rows(features))
        days = forecast[:, None] + self.errors_[np.digitize(forecast, self.edges_)]
        return Curves.from_knots(np.maximum(24.0 * days, 0.0), LEVELS[None, :])

    def _median(self, examples: Examples) -> tuple[Design, lightgbm.Booster]:
        design, dataset = self._dataset(examples)
        return design, self._boost(dataset, {"objective": "l1"})

    def _split(self, examples: Examples) -> tuple[Examples, Examples]:
        """What a booster learns from, and the arrivals on which it is judged."""
        first, last = (examples.known_through - days * _DAY for days in self.JUDGED_DAYS)
        is_late = (examples.as_of >= first) & (examples.as_of < last)
        is_held_out = examples.parcel % np.uint64(FOLDS) == 0
        for early, judged in (
            (
                _examples_as_of(examples, first),
                examples.take(np.flatnonzero(is_late & examples.event_observed)),
            ),
            (
                examples.take(np.flatnonzero(~is_held_out)),
                examples.take(np.flatnonzero(is_held_out & examples.event_observed)),
            ),
        ):
            if (
                len(judged) >= self.MIN_ERRORS
                and (early.event_observed & (early.moment == PURCHASE)).any()
            ):
                return early, judged
        # So few that only their own errors are left.
        return examples, examples.take(np.flatnonzero(examples.event_observed))


class BoostedQuantilesBaseline(_Boosted):
    """B6: a booster for each of 13 quantiles of the days left (pinball loss), sorted so that they do not cross."""

    def fit(self, examples: Examples) -> Self:
        """Learns from examples at all kinds of moments.

        Raises:
            NothingToLearn: if no parcel that was seen at its purchase arrived.
        """
        self.design_, dataset = self._dataset(examples)
        self.max_hours_ = float(examples.duration_hours[examples.event_observed].max())
        self.boosters_ = [
            self._boost(dataset, {"objective": "quantile", "alpha": level})
            for level in QUANTILE_LEVELS
        ]
        return self

    def predict_curves(self, features: Features) -> Curves:
        """The laws of the time left, (N,), linear between quantiles and up to the longest time learned from.

        Raises:
            NotFitted: before ``fit``.
        """
        if not hasattr(self, "boosters_"):
            raise NotFitted()
        rows = self.design_.rows(features)
        days = np.column_stack([_days(booster, rows) for booster in self.boosters_])
        return Curves.from_quantiles(
            QUANTILE_LEVELS, 24.0 * np.sort(days, axis=1), max_hours=self.max_hours_
        )


def _days(booster: lightgbm.Booster, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the booster says of each row, (N,)."""
    # LightGBM refuses to be asked nothing.
    return np.asarray(booster.predict(rows, num_threads=1)) if len(rows) else np.zeros(0)


def _examples_as_of(examples: Examples, moment: np.datetime64) -> Examples:
    """The examples as they stood at an earlier moment; an arrival counts as known from when it happened."""
    earlier = examples.take(np.flatnonzero(examples.as_of < moment))
    observed_hours = (moment - earlier.as_of) / np.timedelta64(1, "h")
    return replace(
        earlier,
        duration_hours=np.minimum(earlier.duration_hours, observed_hours),
        event_observed=earlier.event_observed & (earlier.duration_hours <= observed_hours),
        known_through=moment,
    )
