"""The promise decision: which local day at the destination to promise, given the curve.

The forecast is separate from it: a policy turns any curve into a date.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import Dates, Instants, local_dates
from eta.curves import Curves
from eta.domain.errors import InvalidSetting
from eta.journey.categories import Categorical
from eta.local_dates import daily_cdf, dates_at

#: The latest day that can be promised: the end of the forecast.
_MAX_DAYS = 60

#: Days that can be promised, the day of the order included.
CANDIDATE_DAYS = _MAX_DAYS + 1

#: The range, in days, in which the cost of a late parcel is searched, and the number of bisections.
_MIN_LATE_COST, _MAX_LATE_COST, _BISECTIONS = 1.0, 1e4, 20
#: The highest on-time share that is aimed for, of the parcels that arrive at all.
_MAX_ON_TIME_SHARE = 0.99


@dataclass(frozen=True, kw_only=True)
class PromiseCosts:
    """What a promise costs, in any unit that the three share."""

    #: For each late parcel.
    late: float = 0.0
    #: For each day that a parcel is late.
    late_day: float = 0.0
    #: For each day by which the promise is later.
    day: float = 1.0


@dataclass(frozen=True, kw_only=True)
class PromisePolicy:
    """Which day to promise, given the distribution of the arrival.

    With ``on_time_rate`` it is the earliest local day with at least that P(arrived by its end).
    With ``costs`` it is the day of least expected cost (the newsvendor problem of Arrow, Harris and
    Marschak 1951 if only ``late_day`` and ``day`` count). The day is then limited to between
    ``earliest_days`` and ``latest_days`` after the local day of the order.

    Raises:
        InvalidSetting: if a number is out of range.
    """

    on_time_rate: float | None = 0.9
    costs: PromiseCosts | None = None
    earliest_days: int = 0
    #: None: no promise if the rate is never reached.
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
        if self.costs is not None and not _are_valid(self.costs):
            raise InvalidSetting(
                "the costs of the promise policy are out of range; "
                "give day above 0, and late or late_day above 0"
            )
        latest_days = _MAX_DAYS if self.latest_days is None else self.latest_days
        if not 0 <= self.earliest_days <= latest_days <= _MAX_DAYS:
            raise InvalidSetting(
                "the bounds of the promise policy are out of order; "
                f"give 0 <= earliest_days <= latest_days <= {_MAX_DAYS}"
            )

    def dates(
        self,
        curves: Curves,
        as_of: Instants,
        zone: Categorical,
        *,
        ordered_at: Instants | None = None,
    ) -> Dates:
        """The local days to promise at ``as_of``, (N,).

        The bounds count from ``ordered_at`` if it is given, else from ``as_of``. NaT if the rate is
        never reached and there is no latest day; never a day before that of ``as_of``.
        """
        today = local_dates(as_of, zone.codes, zone.names)
        ordered_on = today
        if ordered_at is not None:
            ordered_on = local_dates(ordered_at, zone.codes, zone.names)
        if self.costs is None:
            rates = (self.on_time_rate or 0.0,)
            days = dates_at(curves, rates, as_of, zone)[:, 0]
        else:
            cdf = daily_cdf(curves, as_of, today, CANDIDATE_DAYS, zone)
            days = today + _cheapest_day(cdf, self.costs)
        days = np.maximum(days, ordered_on + self.earliest_days)
        if self.latest_days is None:
            return days
        latest = np.maximum(ordered_on + self.latest_days, today)
        return np.where(np.isnat(days), latest, np.minimum(days, latest))


#: The earliest day with a probability of 90 %.
DEFAULT_POLICY = PromisePolicy()


def costs_for_on_time_rate(
    cdf: NDArray[np.float64], weight: NDArray[np.float64], rate: float
) -> PromiseCosts:
    """The costs with which promises are met at ``rate`` over all orders.

    Of all ways to meet that share of promises, the one of least expected cost promises the fewest
    days (Lagrange multipliers; Everett 1963): a day is added only where it adds most to the
    probability. The cost of a late parcel is found by bisection, because a higher cost makes
    promises later and more of them are met. ``rate`` is limited to 99 % of the orders that arrive.

    Args:
        cdf: P(arrived by the end of each day), (N, ``CANDIDATE_DAYS``), taken to be right. An order
            that never arrives misses its promise.
        weight: how many times each order counts, (N,).
        rate: the on-time rate to reach.
    """
    reachable = weight @ cdf[:, -1]
    target = min(rate * weight.sum(), _MAX_ON_TIME_SHARE * reachable)
    low, high = np.log(_MIN_LATE_COST), np.log(_MAX_LATE_COST)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        costs = PromiseCosts(late=float(np.exp(middle)))
        days = _cheapest_day(cdf, costs)
        on_time = np.take_along_axis(cdf, days[:, None], axis=1)[:, 0]
        if weight @ on_time < target:
            low = middle
        else:
            high = middle
    return PromiseCosts(late=float(np.exp(high)))


def _are_valid(costs: PromiseCosts) -> bool:
    if not 0 < costs.day < np.inf:
        return False
    if costs.late < 0 or costs.late_day < 0:
        return False
    return 0 < costs.late + costs.late_day < np.inf


def _cheapest_day(cdf: NDArray[np.float64], costs: PromiseCosts) -> NDArray[np.int64]:
    """The number of the day of least expected cost, (N,); the first of several equal ones."""
    open_after = 1.0 - cdf
    day_cost = costs.day * np.arange(cdf.shape[1])
    expected = day_cost + costs.late * open_after
    if costs.late_day:
        # Days late after day d: the days from d on at whose end the parcel is still open, up to
        # the end of the distribution.
        open_from = np.cumsum(open_after[:, ::-1], axis=1)[:, ::-1]
        expected += costs.late_day * open_from
    return np.argmin(expected, axis=1)
