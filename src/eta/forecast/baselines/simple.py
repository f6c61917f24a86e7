"""The simple forecasts that every model has to beat, for ever.

T is the time from order to arrival, W the time from order to the first instant of the promised day,
D the midnight of the day of the forecast. Medians and laws are of outcomes known at D. In flight,
B0 to B3 subtract the time elapsed and never promise less than half a day; B4 conditions its law on
the parcel still being open.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from eta.curves import Curves, kaplan_meier
from eta.domain.errors import NotFitted, NoTrainingData
from eta.forecast.base import Estimator, group_quantiles
from eta.journey.categories import MISSING, Categorical
from eta.journey.examples import Examples
from eta.journey.features import PROMISE_COLUMN, Features
from eta.journey.snapshots import PURCHASE

#: Every law of a baseline is kept as its quantiles at these levels.
LEVELS = np.linspace(0.0, 1.0, 201)
MIN_REMAINING_HOURS = 12.0
_NO_LANE = ""


class _PurchaseBaseline(Estimator):
    """Learns from one example a parcel, the one at purchase."""

    refits_daily: ClassVar[bool] = True

    def fit(self, examples: Examples) -> Self:
        purchases = examples.take(np.flatnonzero(examples.moment == PURCHASE))
        if not purchases.event_observed.any():
            raise NoTrainingData()
        self._fit(purchases)
        self.is_fitted_ = True
        return self

    def predict_curves(self, features: Features) -> Curves:
        if not getattr(self, "is_fitted_", False):
            raise NotFitted()
        return self._predict(features)

    def _fit(self, purchases: Examples) -> None:
        raise NotImplementedError

    def _predict(self, features: Features) -> Curves:
        raise NotImplementedError


class PromiseBaseline(_PurchaseBaseline):
    """B0: the parcel comes when the promised day begins. Without a promise, after the median T of all."""

    def _fit(self, purchases: Examples) -> None:
        self.median_hours_ = float(np.median(_hours_from_order(_arrived(purchases))))

    def _predict(self, features: Features) -> Curves:
        promise = promise_hours(features)
        hours = np.where(np.isnan(promise), self.median_hours_, promise)
        return Curves.point_mass(np.maximum(hours - _elapsed_hours(features), MIN_REMAINING_HOURS))


class HistoryBaseline(_PurchaseBaseline):
    """B1: the law of T of all parcels that had arrived by D; by lane where a lane has ``at_least`` of them.

    B2: the same of those that arrived in the last ``last_days`` only, lanes shrunk quantile by
        quantile to the law of
    all with the weight of ``shrinkage`` parcels.
    """

    def __init__(
        self,
        *,
        by_lane: bool = False,
        last_days: float | None = None,
        shrinkage: float = 0.0,
        at_least: int = 5,
    ) -> None:
        self.by_lane = by_lane
        self.last_days = last_days
        self.shrinkage = shrinkage
        self.at_least = at_least

    def _fit(self, purchases: Examples) -> None:
        arrived = _recent(_arrived(purchases), self.last_days)
        lanes = _lanes(arrived.features.categoricals["lane"], by_lane=self.by_lane)
        overall = np.quantile(_hours_from_order(arrived), LEVELS)
        lane_quantiles = group_quantiles(
            _hours_from_order(arrived), lanes.codes, len(lanes.names), LEVELS
        )
        count = np.bincount(lanes.codes, minlength=len(lanes.names))[:, None]
        shrunk = (
            (count * lane_quantiles + self.shrinkage * overall) / (count + self.shrinkage)
            if self.shrinkage
            else lane_quantiles
        )
        lane_quantiles = np.where(count >= self.at_least, shrunk, overall)
        self.lane_table_ = _LaneTable(
            {name: row for row, name in enumerate(lanes.names)},
            np.vstack([lane_quantiles, overall]),
        )

    def _predict(self, features: Features) -> Curves:
        return _remaining_curves(
            self.lane_table_.lookup(_lanes(features.categoricals["lane"], by_lane=self.by_lane)),
            features,
        )


class PromiseRatioBaseline(_PurchaseBaseline):
    """B3: W times the law of T/W of the parcels that arrived in the last ``last_days``, by bucket of W.

    A bucket with under ``at_least`` parcels takes the ratios of all; a parcel without a promise the
    law of T.
    """

    EDGES_DAYS: ClassVar[tuple[float, ...]] = (14.0, 20.0, 26.0, 32.0)

    def __init__(self, *, last_days: float = 28.0, at_least: int = 5) -> None:
        self.last_days = last_days
        self.at_least = at_least

    def _fit(self, purchases: Examples) -> None:
        arrived = _arrived(purchases)
        self.overall_quantiles_ = np.quantile(_hours_from_order(arrived), LEVELS)
        window = promise_hours(arrived.features)
        promised = arrived.take(np.flatnonzero(window > 0))
        if not len(promised):
            self.ratios_ = np.full((len(self.EDGES_DAYS) + 1, len(LEVELS)), np.nan)
            return
        recent = _recent(promised, self.last_days)
        window = promise_hours(recent.features)
        ratio, bucket = (
            _hours_from_order(recent) / window,
            np.digitize(window / 24.0, self.EDGES_DAYS),
        )
        bucket_quantiles = group_quantiles(ratio, bucket, len(self.EDGES_DAYS) + 1, LEVELS)
        enough = np.bincount(bucket, minlength=len(bucket_quantiles))[:, None] >= self.at_least
        self.ratios_ = np.where(enough, bucket_quantiles, np.quantile(ratio, LEVELS))

    def _predict(self, features: Features) -> Curves:
        window = promise_hours(features)
        bucket = np.digitize(np.nan_to_num(window) / 24.0, self.EDGES_DAYS)
        hours = np.maximum(window, 1.0)[:, None] * self.ratios_[bucket]
        return _remaining_curves(
            np.where(np.isnan(hours), self.overall_quantiles_, hours), features
        )


class SurvivalBaseline(_PurchaseBaseline):
    """B4: Kaplan-Meier's law of T by lane, open parcels included, given that the parcel is still open.

    On a grid of half days up to half a year. A lane with under ``at_least`` parcels takes the law
    of all.
    """

    GRID_HOURS: ClassVar[NDArray[np.float64]] = np.arange(0.0, 181.0 * 24.0, 12.0)

    def __init__(self, *, at_least: int = 30) -> None:
        self.at_least = at_least

    def _fit(self, purchases: Examples) -> None:
        lanes = _lanes(purchases.features.categoricals["lane"], by_lane=True)
        lane_cdf = kaplan_meier(
            _hours_from_order(purchases),
            purchases.event_observed,
            lanes.codes,
            len(lanes.names),
            self.GRID_HOURS,
        )
        overall_cdf = kaplan_meier(
            _hours_from_order(purchases),
            purchases.event_observed,
            np.zeros(len(purchases), dtype=np.int64),
            1,
            self.GRID_HOURS,
        )
        enough = np.bincount(lanes.codes, minlength=len(lanes.names))[:, None] >= self.at_least
        self.lane_table_ = _LaneTable(
            {name: row for row, name in enumerate(lanes.names)},
            np.vstack([np.where(enough, lane_cdf, overall_cdf), overall_cdf]),
        )

    def _predict(self, features: Features) -> Curves:
        cdf = self.lane_table_.lookup(_lanes(features.categoricals["lane"], by_lane=True))
        return Curves.from_grid(self.GRID_HOURS, cdf).remaining_after(_elapsed_hours(features))


def promise_hours(features: Features) -> NDArray[np.float64]:
    """W in hours, (N,): from the order to the first instant of the promised day; NaN without a promise."""
    return features.numbers[PROMISE_COLUMN] * 24.0 + _elapsed_hours(features)


def _elapsed_hours(features: Features) -> NDArray[np.float64]:
    return features.numbers["order_elapsed_days"] * 24.0


def _hours_from_order(purchases: Examples) -> NDArray[np.float64]:
    """T, (M,): the order may have been told a while after it was placed."""
    return purchases.duration_hours + _elapsed_hours(purchases.features)


def _arrived(purchases: Examples) -> Examples:
    return purchases.take(np.flatnonzero(purchases.event_observed))


def _recent(arrived: Examples, last_days: float | None) -> Examples:
    """Those that arrived within the window; all of them if none did."""
    if last_days is None:
        return arrived
    age = (arrived.known_through - arrived.as_of) / np.timedelta64(1, "h") - arrived.duration_hours
    recent = np.flatnonzero(age <= last_days * 24.0)
    return arrived.take(recent) if len(recent) else arrived


def _lanes(lane: Categorical, *, by_lane: bool) -> Categorical:
    """The lanes that occur; one without a name stands for a parcel whose lane is not known."""
    if not by_lane:
        return Categorical(np.zeros(len(lane), dtype=np.int32), (_NO_LANE,))
    used, codes = np.unique(lane.codes, return_inverse=True)
    return Categorical(
        codes.astype(np.int32),
        tuple(_NO_LANE if code == MISSING else lane.names[code] for code in used),
    )


class _LaneTable:
    """Rows of a table by lane; the last row stands in for lanes that have none."""

    def __init__(self, row_of: dict[str, int], table: NDArray[np.float64]) -> None:
        self.row_of, self.table = row_of, table

    def lookup(self, lanes: Categorical) -> NDArray[np.float64]:
        rows = np.array(
            [self.row_of.get(name, len(self.table) - 1) for name in lanes.names], dtype=np.int64
        )
        return self.table[rows[lanes.codes]]


def _remaining_curves(hours: NDArray[np.float64], features: Features) -> Curves:
    """Curves through quantiles ``duration_hours`` (N, K) from the order, less the time elapsed."""
    remaining = np.maximum(hours - _elapsed_hours(features)[:, None], MIN_REMAINING_HOURS)
    return Curves.from_knots(remaining, LEVELS[None, :])
