"""From a curve to the dates that people read, local calendar days at the destination, and to the one that is promised."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.calendars.clocks import Clocks, instant_at, wall_at
from eta.calendars.local import Dates, Instants, day_ends, local_dates
from eta.curves import Curves, probability_at, quantile_at, row_of, start_of
from eta.domain.errors import InvalidSetting
from eta.journey.columns import Labels

_DATE, _NAT = np.dtype("datetime64[D]"), np.iinfo(np.int64).min
#: In microseconds.
_HOUR, _DAY = 3_600_000_000, 86_400_000_000
_HOURS = np.timedelta64(1, "h")
#: A second.
_MOMENT_HOURS = 1.0 / 3600.0
#: No promise reaches further: the end of what is forecast.
_MOST_DAYS = 60
#: Days that may be promised, that of the order included.
QUOTED_DAYS = _MOST_DAYS + 1
#: The costs of a late parcel, in days, between which one is looked for, and how often their range
#: is halved.
_CHEAPEST, _DEAREST, _HALVINGS = 1.0, 1e4, 20
_MOST_KEPT = 0.99


@dataclass(frozen=True, eq=False)
class Windows:
    """Dates, (N,) each, of N parcels; NaT where the parcel may well never arrive."""

    earliest_on: Dates
    median_on: Dates
    latest_on: Dates


def windows(curves: Curves, as_of: Instants, zone: Labels, *, coverage: float) -> Windows:
    """The days of the central range of probability ``coverage`` and of the median.

    The parcel arrives between the first and the last day, both included, with at least that
    probability if the curve is right: whole days only widen the range.
    """
    return Windows(*dates_at(curves, window_levels(coverage), as_of, zone).T)


def window_levels(coverage: float) -> tuple[float, float, float]:
    """The levels of the ends and the middle of a central range."""
    return (1.0 - coverage) / 2.0, 0.5, (1.0 + coverage) / 2.0


def date_at(curves: Curves, level: float, as_of: Instants, zone: Labels) -> Dates:
    """``dates_at`` for one level, (N,)."""
    return dates_at(curves, (level,), as_of, zone)[:, 0]


def dates_at(curves: Curves, levels: Sequence[float], as_of: Instants, zone: Labels) -> Dates:
    """The local days, (N, L), by whose end the parcel has arrived with probabilities ``levels`` or more; NaT if none has."""
    clocks = Clocks.of(zone.names)
    days = _days(
        curves.hours,
        curves.cdf,
        curves.waited_hours,
        np.array(levels),
        as_of.view(np.int64),
        zone.codes,
        clocks.first,
        clocks.begins,
        clocks.ahead,
    )
    return days.view(_DATE)


def probability_by_day(
    curves: Curves, as_of: Instants, dates: Dates, zone: Labels
) -> NDArray[np.float64]:
    """P(arrived on or before the local ``dates``), (N, L) as they are; NaN without a date."""
    clocks = Clocks.of(zone.names)
    return _chances_by_day(
        curves.hours,
        curves.cdf,
        curves.waited_hours,
        as_of.view(np.int64),
        dates.view(np.int64),
        zone.codes,
        clocks.first,
        clocks.begins,
        clocks.ahead,
        clocks.shown,
    )


def probability_by(curves: Curves, as_of: Instants, ends: Instants) -> NDArray[np.float64]:
    """P(arrived before the instants ``ends``), shaped as they are, (N,) or (N, L); 0 where they are past, NaN where there are none."""
    until = ends if ends.ndim == 2 else ends[:, None]
    return _chances(
        curves.hours, curves.cdf, curves.waited_hours, as_of.view(np.int64), until.view(np.int64)
    ).reshape(ends.shape)


def chances_of_days(
    curves: Curves, as_of: Instants, first_on: Dates, days: int, zone: Labels
) -> NDArray[np.float64]:
    """P(arrived on or before) the ``days`` local days from ``first_on`` (N,) on, (N, days)."""
    return probability_by_day(curves, as_of, first_on[:, None] + np.arange(days), zone)


def curves_of_days(
    chances: NDArray[np.float64], as_of: Instants, first_on: Dates, zone: Labels
) -> Curves:
    """The curves of which that is read: by the end of the local days from ``first_on`` (N,) on, ``chances`` (N, D) have arrived.

    Within a day arrivals are spread evenly. The first day must not be over by ``as_of`` (N,).
    """
    count, days = chances.shape
    ends = day_ends(first_on[:, None] + np.arange(days), zone.codes, zone.names)
    hours = np.maximum((ends - as_of[:, None]) / _HOURS, 0.0)
    # All have arrived a moment before midnight, so that midnight is not taken for a time of the
    # next day.
    knots = np.stack([np.maximum(hours - _MOMENT_HOURS, 0.0), hours], axis=2).reshape(count, -1)
    zeros = np.zeros((count, 1))
    return Curves.of(np.hstack([zeros, knots]), np.hstack([zeros, np.repeat(chances, 2, axis=1)]))


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
            <= (_MOST_DAYS if self.latest_days is None else self.latest_days)
            <= _MOST_DAYS
        ):
            raise InvalidSetting(
                f"the bounds of the promise policy are out of order; give 0 <= earliest_days <= latest_days <= {_MOST_DAYS}"
            )

    @classmethod
    def from_toml(cls, text: str) -> PromisePolicy:
        """The policy that a file says.

        Raises:
            InvalidSetting: if it does not say one, naming what is wrong.
        """
        try:
            told = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidSetting(f"the promise policy cannot be read: {error}") from None
        version = told.pop("version", None)
        if not (isinstance(version, str) and 0 < len(version) <= 64):
            raise InvalidSetting(
                'the promise policy has no version; write one such as version = "2026-11"'
            )
        bounds = _numbers(
            told.pop("bounds", {}),
            "[bounds] of the promise policy",
            ("earliest_days", "latest_days"),
            int,
        )
        costs = _numbers(
            told.pop("costs", {}),
            "[costs] of the promise policy",
            ("late", "late_day", "day"),
            float,
        )
        rate = _numbers(told, "the promise policy", ("on_time_rate",), float)
        return cls(
            version=version,
            on_time_rate=rate.get("on_time_rate"),
            costs=PromiseCosts(**costs) if costs else None,
            **bounds,
        )

    def dates(
        self, curves: Curves, as_of: Instants, zone: Labels, *, ordered_at: Instants | None = None
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
            days = today + _least_cost(
                chances_of_days(curves, as_of, today, QUOTED_DAYS, zone), self.costs
            )
        days = np.maximum(days, ordered_on + self.earliest_days)
        if self.latest_days is None:
            return days
        latest = np.maximum(ordered_on + self.latest_days, today)
        return np.where(np.isnat(days), latest, np.minimum(days, latest))


#: The earliest day with a chance of 90 %.
USUAL_POLICY = PromisePolicy()


def costs_of_rate(
    chances: NDArray[np.float64], weight: NDArray[np.float64], rate: float
) -> PromiseCosts:
    """The costs with which orders, all together, keep their promise as often as ``rate`` if ``chances`` (N, ``QUOTED_DAYS``) are right.

    Of all ways to keep so many promises, that of least expected cost promises the fewest days
    (Lagrange multipliers; Everett 1963): no day is added where it would add less to the chance than
    elsewhere. The cost of a late parcel is found by bisection, for the dearer it is, the later are
    promises and the more of them are kept. An order counts ``weight`` (N,) times; one that never
    comes has missed its promise. No more is wanted than 99 in 100 of those that come at all.
    """
    kept = min(rate * weight.sum(), _MOST_KEPT * (weight @ chances[:, -1]))
    low, high = np.log(_CHEAPEST), np.log(_DEAREST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        days = _least_cost(chances, PromiseCosts(late=float(np.exp(middle))))
        if weight @ np.take_along_axis(chances, days[:, None], axis=1)[:, 0] < kept:
            low = middle
        else:
            high = middle
    return PromiseCosts(late=float(np.exp(high)))


def _least_cost(chances: NDArray[np.float64], costs: PromiseCosts) -> NDArray[np.int64]:
    """The number of the day of least expected cost, (N,); of days that cost the same the first."""
    open_after = 1.0 - chances
    expected = costs.day * np.arange(chances.shape[1]) + costs.late * open_after
    if costs.late_day:
        # Days late beyond day d: those after which the parcel is still open, from d on, as far as
        # the law reaches.
        expected += costs.late_day * np.cumsum(open_after[:, ::-1], axis=1)[:, ::-1]
    return np.argmin(expected, axis=1)


def _numbers(values: object, what: str, keys: Sequence[str], kind: type) -> dict[str, Any]:
    """The numbers of a table of the policy file, which errors call ``what``."""
    if not isinstance(values, dict):
        raise InvalidSetting(f"{what} is no table")
    unknown = sorted(set(values) - set(keys))
    if unknown:
        raise InvalidSetting(
            f"{what} has an unknown key {unknown[0]!r}; there are {', '.join(keys)}"
        )
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
            raise InvalidSetting(
                f"{key} of the promise policy is no {'whole number' if kind is int else 'number'}"
            )
    return {key: kind(value) for key, value in values.items()}


@njit(cache=True)
def _days(hours, cdf, waited, levels, as_of, zones, first, begins, ahead):  # type: ignore[no-untyped-def]  # compiled
    """Days since 1970, (N, L); times are microseconds."""
    result = np.empty((len(waited), len(levels)), dtype=np.int64)
    for i in range(len(waited)):
        own_hours, own_cdf = row_of(hours, i), row_of(cdf, i)
        start = start_of(own_hours, own_cdf, waited[i])
        for k in range(len(levels)):
            left = quantile_at(own_hours, own_cdf, waited[i], start, levels[k])
            if left == np.inf:
                result[i, k] = _NAT
            else:
                result[i, k] = (
                    wall_at(
                        as_of[i] + np.int64(np.rint(left * _HOUR)), zones[i], first, begins, ahead
                    )
                    // _DAY
                )
    return result


@njit(cache=True)
def _chances(hours, cdf, waited, as_of, ends):  # type: ignore[no-untyped-def]  # compiled
    result = np.empty(ends.shape)
    for i in range(len(waited)):
        own_hours, own_cdf = row_of(hours, i), row_of(cdf, i)
        start = start_of(own_hours, own_cdf, waited[i])
        for k in range(ends.shape[1]):
            result[i, k] = _chance(own_hours, own_cdf, waited[i], start, as_of[i], ends[i, k])
    return result


@njit(cache=True)
def _chances_by_day(hours, cdf, waited, as_of, days, zones, first, begins, ahead, shown):  # type: ignore[no-untyped-def]  # compiled
    """Of days since 1970, each of which ends as the next one starts."""
    result = np.empty(days.shape)
    for i in range(len(waited)):
        own_hours, own_cdf = row_of(hours, i), row_of(cdf, i)
        start = start_of(own_hours, own_cdf, waited[i])
        for k in range(days.shape[1]):
            end = (
                _NAT
                if days[i, k] == _NAT
                else instant_at((days[i, k] + 1) * _DAY, zones[i], first, begins, ahead, shown)
            )
            result[i, k] = _chance(own_hours, own_cdf, waited[i], start, as_of[i], end)
    return result


@njit(cache=True)
def _chance(hours, cdf, waited, start, as_of, end):  # type: ignore[no-untyped-def]  # compiled
    if end == _NAT:
        return np.nan
    # What arrives at midnight arrives on the next day.
    return (
        probability_at(hours, cdf, waited, start, (end - 1 - as_of) / _HOUR) if end > as_of else 0.0
    )
