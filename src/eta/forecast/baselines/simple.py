"""Simple baselines that every model must beat.

T is the time from order to arrival, W the time from order to the first instant of the promised day,
D the midnight of the day of the forecast. Medians and distributions are those of outcomes received
by D. In flight, B0 to B3 subtract the elapsed time and never forecast less than half a day; B4
conditions its distribution on the parcel still being open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from eta.curves import Curves, kaplan_meier
from eta.domain.errors import NotFitted, NoTrainingData
from eta.forecast.base import Estimator, elapsed_hours, group_quantiles, hours_from_order
from eta.journey.categories import MISSING, Categorical
from eta.journey.examples import Examples
from eta.journey.features import PROMISE_COLUMN, Features
from eta.journey.snapshots import PURCHASE

#: The levels of the quantiles that represent a distribution.
LEVELS = np.linspace(0.0, 1.0, 201)
MIN_REMAINING_HOURS = 12.0
_NO_LANE = ""


class _PurchaseBaseline(Estimator):
    """A baseline that learns from one example a parcel, the one at purchase."""

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
    """B0: the parcel arrives as the promised day begins; without a promise, after the median T."""

    def _fit(self, purchases: Examples) -> None:
        hours = hours_from_order(_arrived(purchases))
        self.median_hours_ = float(np.median(hours))

    def _predict(self, features: Features) -> Curves:
        promise = promise_hours(features)
        hours = np.where(np.isnan(promise), self.median_hours_, promise)
        remaining = hours - elapsed_hours(features)
        return Curves.point_mass(np.maximum(remaining, MIN_REMAINING_HOURS))


class HistoryBaseline(_PurchaseBaseline):
    """B1: the distribution of T of all parcels that had arrived by D.

    It is by lane if a lane has ``at_least`` of them. B2: the same of those that arrived in the
    last ``last_days`` only. Its lanes are shrunk, quantile by quantile, to the distribution of all
    with the weight of ``shrinkage`` parcels.
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
        hours = hours_from_order(arrived)
        overall = np.quantile(hours, LEVELS)
        by_lane = group_quantiles(hours, lanes.codes, len(lanes.names), LEVELS)
        count = np.bincount(lanes.codes, minlength=len(lanes.names))[:, None]
        if self.shrinkage:
            total = count * by_lane + self.shrinkage * overall
            by_lane = total / (count + self.shrinkage)
        by_lane = np.where(count >= self.at_least, by_lane, overall)
        table = np.vstack([by_lane, overall])
        self.lane_table_ = _LaneTable(lanes.names, table)

    def _predict(self, features: Features) -> Curves:
        lanes = _lanes(features.categoricals["lane"], by_lane=self.by_lane)
        return _remaining_curves(self.lane_table_.lookup(lanes), features)


class PromiseRatioBaseline(_PurchaseBaseline):
    """B3: W times the distribution of T/W, by bucket of W.

    It is that of parcels that arrived in the last ``last_days``. A bucket with under ``at_least``
    parcels uses the ratios of all; a parcel without a promise the distribution of T.
    """

    EDGES_DAYS: ClassVar[tuple[float, ...]] = (14.0, 20.0, 26.0, 32.0)

    def __init__(self, *, last_days: float = 28.0, at_least: int = 5) -> None:
        self.last_days = last_days
        self.at_least = at_least

    def _fit(self, purchases: Examples) -> None:
        arrived = _arrived(purchases)
        self.overall_quantiles_ = np.quantile(hours_from_order(arrived), LEVELS)
        buckets = len(self.EDGES_DAYS) + 1
        has_promise = promise_hours(arrived.features) > 0
        promised = arrived.take(np.flatnonzero(has_promise))
        if not len(promised):
            self.ratios_ = np.full((buckets, len(LEVELS)), np.nan)
            return
        recent = _recent(promised, self.last_days)
        window = promise_hours(recent.features)
        ratio = hours_from_order(recent) / window
        bucket = np.digitize(window / 24.0, self.EDGES_DAYS)
        by_bucket = group_quantiles(ratio, bucket, buckets, LEVELS)
        count = np.bincount(bucket, minlength=buckets)[:, None]
        overall = np.quantile(ratio, LEVELS)
        self.ratios_ = np.where(count >= self.at_least, by_bucket, overall)

    def _predict(self, features: Features) -> Curves:
        window = promise_hours(features)
        window_days = np.nan_to_num(window) / 24.0
        ratios = self.ratios_[np.digitize(window_days, self.EDGES_DAYS)]
        hours = np.maximum(window, 1.0)[:, None] * ratios
        hours = np.where(np.isnan(hours), self.overall_quantiles_, hours)
        return _remaining_curves(hours, features)


class SurvivalBaseline(_PurchaseBaseline):
    """B4: the Kaplan-Meier distribution of T by lane, given that the parcel is still open.

    It includes open parcels, on a grid of half days up to half a year. A lane with under
    ``at_least`` parcels uses the distribution of all.
    """

    GRID_HOURS: ClassVar[NDArray[np.float64]] = np.arange(0.0, 181.0 * 24.0, 12.0)

    def __init__(self, *, at_least: int = 30) -> None:
        self.at_least = at_least

    def _fit(self, purchases: Examples) -> None:
        lanes = _lanes(purchases.features.categoricals["lane"], by_lane=True)
        hours, arrived = hours_from_order(purchases), purchases.event_observed
        by_lane = kaplan_meier(hours, arrived, lanes.codes, len(lanes.names), self.GRID_HOURS)
        one_group = np.zeros(len(purchases), dtype=np.int64)
        overall = kaplan_meier(hours, arrived, one_group, 1, self.GRID_HOURS)
        count = np.bincount(lanes.codes, minlength=len(lanes.names))[:, None]
        by_lane = np.where(count >= self.at_least, by_lane, overall)
        table = np.vstack([by_lane, overall])
        self.lane_table_ = _LaneTable(lanes.names, table)

    def _predict(self, features: Features) -> Curves:
        lanes = _lanes(features.categoricals["lane"], by_lane=True)
        curves = Curves.from_grid(self.GRID_HOURS, self.lane_table_.lookup(lanes))
        return curves.remaining_after(elapsed_hours(features))


def promise_hours(features: Features) -> NDArray[np.float64]:
    """W, (N,): hours from the order to the start of the promised day; NaN without a promise."""
    return features.numbers[PROMISE_COLUMN] * 24.0 + elapsed_hours(features)


def _arrived(purchases: Examples) -> Examples:
    return purchases.take(np.flatnonzero(purchases.event_observed))


def _recent(arrived: Examples, last_days: float | None) -> Examples:
    """Those that arrived within the window; all of them if none did."""
    if last_days is None:
        return arrived
    hours_since_purchase = (arrived.known_through - arrived.as_of) / np.timedelta64(1, "h")
    hours_since_arrival = hours_since_purchase - arrived.duration_hours
    recent = np.flatnonzero(hours_since_arrival <= last_days * 24.0)
    return arrived.take(recent) if len(recent) else arrived


def _lanes(lane: Categorical, *, by_lane: bool) -> Categorical:
    """The lanes that occur; an unknown lane has an empty name."""
    if not by_lane:
        return Categorical(np.zeros(len(lane), dtype=np.int32), (_NO_LANE,))
    used, codes = np.unique(lane.codes, return_inverse=True)
    names = tuple(_NO_LANE if code == MISSING else lane.names[code] for code in used)
    return Categorical(codes.astype(np.int32), names)


class _LaneTable:
    """Rows of a table by lane; the last row is for all other lanes."""

    def __init__(self, names: Sequence[str], table: NDArray[np.float64]) -> None:
        self.row_of = {name: row for row, name in enumerate(names)}
        self.table = table

    def lookup(self, lanes: Categorical) -> NDArray[np.float64]:
        other = len(self.table) - 1
        rows = [self.row_of.get(name, other) for name in lanes.names]
        return self.table[np.array(rows, dtype=np.int64)[lanes.codes]]


def _remaining_curves(hours: NDArray[np.float64], features: Features) -> Curves:
    """Curves through quantiles ``hours`` (N, K) from the order, less the elapsed time."""
    remaining = hours - elapsed_hours(features)[:, None]
    remaining = np.maximum(remaining, MIN_REMAINING_HOURS)
    return Curves.from_knots(remaining, LEVELS[None, :])
