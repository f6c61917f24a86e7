"""From a curve to the dates that people read, local calendar days at the destination, and to the one that is promised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import Dates, Instants, local_dates
from eta.curves import Curves
from eta.domain.errors import InvalidSetting
from eta.journey.categories import Categorical
from eta.local_dates import daily_cdf, dates_at

#: No promise reaches further: the end of what is forecast.
_MAX_DAYS = 60

#: Days that may be promised, that of the order included.
CANDIDATE_DAYS = _MAX_DAYS + 1

#: The costs of a late parcel, in days, between which one is looked for, and how often their range
#: is halved.
_MIN_LATE_COST, _MAX_LATE_COST, _BISECTIONS = 1.0, 1e4, 20
_MAX_ON_TIME_SHARE = 0.99


@dataclass(frozen=True, kw_only=True)
class PromiseCosts:
    """What it costs, in any one unit: ``late`` for each parcel that comes late, ``late_day`` for each day it is late, ``day`` for each day later promised."""

    late: float = 0.0
    late_day: float = 0.0
    day: float = 1.0


@dataclass(frozen=True, kw_only=True)
class PromisePolicy:
    """Which day to promise, once the law of the arrival is known: the decision, apart from the forecast.

    The earliest local day with P(arrived by its end) of at least ``on_time_rate``; or, with
    ``costs``, the one of least expected cost (the newsvendor's problem; Arrow, Harris and Marschak
    1951, when only ``late_day`` and ``day`` count). Then no fewer than ``earliest_days`` and no
    more than ``latest_days`` from the local day of the order.

    Raises:
        InvalidSetting: if a number is out of range.
    """

    on_time_rate: float | None = 0.9
    costs: PromiseCosts | None = None
    earliest_days: int = 0
    #: None promises nothing where the rate is never reached.
    latest_days: int | None = None
    version: str | None = None

    def __post_init__(self) -> None:
        if (self.on_time_rate is None) == (self.costs is None):
            raise InvalidSetting(
                "the promise policy has both on_time_rate and costs, or neither; give one of them"
            )
        if self.on_time_rate is not None and not 0.5 <= self.on_time_rate <= 0.99:
            raise InvalidSetting(
                "on_time_rate of the promise policy is out of range; give a number from 0.5 to 0.99"
            )
        if self.costs is not None and not (
            0 < self.costs.day < np.inf
            and min(self.costs.late, self.costs.late_day) >= 0
            and 0 < self.costs.late + self.costs.late_day < np.inf
        ):
            raise InvalidSetting(
                "the costs of the promise policy are out of range; give day above 0, and late or late_day above 0"
            )
        if (
            not 0
            <= self.earliest_days
            <= (_MAX_DAYS if self.latest_days is None else self.latest_days)
            <= _MAX_DAYS
        ):
            raise InvalidSetting(
                f"the bounds of the promise policy are out of order; give 0 <= earliest_days <= latest_days <= {_MAX_DAYS}"
            )

    def dates(
        self,
        curves: Curves,
        as_of: Instants,
        zone: Categorical,
        *,
        ordered_at: Instants | None = None,
    ) -> Dates:
        """The local days to promise at ``as_of``, (N,), of parcels ordered then, or at ``ordered_at``.

        NaT where the rate is never reached and there is no latest day; never a day before that of
        ``as_of``.
        """
        today = local_dates(as_of, zone.codes, zone.names)
        ordered_on = (
            today if ordered_at is None else local_dates(ordered_at, zone.codes, zone.names)
        )
        if self.costs is None:
            days = dates_at(curves, (self.on_time_rate or 0.0,), as_of, zone)[:, 0]
        else:
            days = today + _cheapest_day(
                daily_cdf(curves, as_of, today, CANDIDATE_DAYS, zone), self.costs
            )
        days = np.maximum(days, ordered_on + self.earliest_days)
        if self.latest_days is None:
            return days
        latest = np.maximum(ordered_on + self.latest_days, today)
        return np.where(np.isnat(days), latest, np.minimum(days, latest))


#: The earliest day with a chance of 90 %.
DEFAULT_POLICY = PromisePolicy()


def costs_for_on_time_rate(
    cdf: NDArray[np.float64], weight: NDArray[np.float64], rate: float
) -> PromiseCosts:
    """The costs with which orders, all together, keep their promise as often as ``rate`` if ``cdf`` (N, ``CANDIDATE_DAYS``) are right.

    Of all ways to keep so many promises, that of least expected cost promises the fewest days
    (Lagrange multipliers; Everett 1963): no day is added where it would add less to the chance than
    elsewhere. The cost of a late parcel is found by bisection, for the dearer it is, the later are
    promises and the more of them are kept. An order counts ``weight`` (N,) times; one that never
    comes has missed its promise. No more is wanted than 99 in 100 of those that come at all.
    """
    target = min(rate * weight.sum(), _MAX_ON_TIME_SHARE * (weight @ cdf[:, -1]))
    low, high = np.log(_MIN_LATE_COST), np.log(_MAX_LATE_COST)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        days = _cheapest_day(cdf, PromiseCosts(late=float(np.exp(middle))))
        if weight @ np.take_along_axis(cdf, days[:, None], axis=1)[:, 0] < target:
            low = middle
        else:
            high = middle
    return PromiseCosts(late=float(np.exp(high)))


def _cheapest_day(cdf: NDArray[np.float64], costs: PromiseCosts) -> NDArray[np.int64]:
    """The number of the day of least expected cost, (N,); of days that cost the same the first."""
    open_after = 1.0 - cdf
    expected = costs.day * np.arange(cdf.shape[1]) + costs.late * open_after
    if costs.late_day:
        # Days late beyond day d: those after which the parcel is still open, from d on, as far as
        # the law reaches.
        expected += costs.late_day * np.cumsum(open_after[:, ::-1], axis=1)[:, ::-1]
    return np.argmin(expected, axis=1)
