"""Distributions of the time left until arrival, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from eta.domain.errors import EtaError

Floats = NDArray[np.floating]

#: With at most this probability of being open, a parcel has certainly arrived.
_CERTAIN = 1e-12


class InvalidCurve(EtaError):
    """A distribution must be finite, within 0 and 1, and must not fall."""


@dataclass(frozen=True, eq=False)
class Curves:
    """N distribution functions of the hours left, linear between knots.

    ``hours`` and ``cdf`` have shape (N, K); either may be (1, K) when all rows share it. Two knots
    at the same hour are a jump. ``cdf[:, -1]`` may stay below 1: the rest arrives after the last
    knot or never. ``waited_hours`` (N,) conditions each row on not having arrived by then, exactly:
    every result is about T - waited given T > waited.

    Example:
        >>> curves = Curves.from_grid([0, 24, 48], [[0.0, 0.5, 0.9]])
        >>> curves.quantile(0.5)
        array([24.])
        >>> curves.remaining_after([24.0]).cdf_at([24.0]).round(3)
        array([0.8])

    Raises:
        InvalidCurve: if a knot is not finite, is outside 0..1 or falls.
    """

    hours: Floats
    cdf: Floats
    waited_hours: Floats

    def __post_init__(self) -> None:
        if not _are_valid_cdfs(self.hours, self.cdf):
            raise InvalidCurve()

    @classmethod
    def from_grid(cls, hours: ArrayLike, cdf: ArrayLike) -> Curves:
        """Curves (N, K) over one grid of hours (K,)."""
        grid = np.asarray(hours, dtype=np.float64)
        return cls.from_knots(grid[None, :], np.asarray(cdf, dtype=np.float64))

    @classmethod
    def from_knots(cls, hours: Floats, cdf: Floats) -> Curves:
        """Curves whose knots (N or 1, K) may differ by row."""
        count = len(cdf) if len(hours) == 1 else len(hours)
        return cls(hours, cdf, np.zeros(count))

    @classmethod
    def from_quantiles(cls, levels: ArrayLike, hours: ArrayLike, *, max_hours: float) -> Curves:
        """Curves through the quantiles ``hours`` (N, K) at ``levels`` (K,), with linear tails.

        The lower tail starts at 0 hours, the upper one ends at ``max_hours`` or at the last
        quantile if that is later.
        """
        quantiles = np.maximum(np.asarray(hours, dtype=np.float64), 0.0)
        ends = np.maximum(quantiles[:, -1:], max_hours)
        knots = np.concatenate([np.zeros_like(ends), quantiles, ends], axis=1)
        inner = np.asarray(levels, dtype=np.float64)
        cdf = np.concatenate([[0.0], inner, [1.0]])
        return cls.from_knots(knots, cdf[None, :])

    @classmethod
    def point_mass(cls, hours: ArrayLike) -> Curves:
        """Certain arrival after ``hours`` (N,)."""
        arrival = np.asarray(hours, dtype=np.float64)
        return cls.from_knots(np.repeat(arrival[:, None], 2, axis=1), np.array([[0.0, 1.0]]))

    @classmethod
    def concatenate(cls, parts: Sequence[Curves]) -> Curves:
        """The rows of several batches that have the same number of knots."""
        hours = [_per_row(part.hours, len(part)) for part in parts]
        cdf = [_per_row(part.cdf, len(part)) for part in parts]
        waited_hours = [part.waited_hours for part in parts]
        return cls(np.concatenate(hours), np.concatenate(cdf), np.concatenate(waited_hours))

    def __len__(self) -> int:
        return len(self.waited_hours)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Curves:
        """The curves of some rows."""
        hours = self.hours if len(self.hours) == 1 else self.hours[rows]
        cdf = self.cdf if len(self.cdf) == 1 else self.cdf[rows]
        return Curves(hours, cdf, self.waited_hours[rows])

    def remaining_after(self, hours: ArrayLike) -> Curves:
        """The curves of the time left after ``hours`` (N,) more without an arrival."""
        waited_hours = self.waited_hours + np.asarray(hours, dtype=np.float64)
        return Curves(self.hours, self.cdf, waited_hours)

    def cdf_at(self, hours: ArrayLike) -> Floats:
        """P(arrived within ``hours``), shape (N,); NaN if ``hours``, (N,) or a number, is NaN."""
        column = np.asarray(hours, dtype=np.float64).reshape(-1, 1)
        return self.cdf_table(column)[:, 0]

    def cdf_table(self, hours: Floats) -> Floats:
        """P(arrived within ``hours``), (N, L), of hours (N or 1, L)."""
        return _probabilities(self.hours, self.cdf, self.waited_hours, np.ascontiguousarray(hours))

    def quantile(self, level: ArrayLike) -> Floats:
        """The fewest hours within which the parcel arrives with probability ``level``, shape (N,).

        Infinite where the parcel does not arrive within the knots with that probability. ``level``
        is (N,) or a number.
        """
        column = np.asarray(level, dtype=np.float64).reshape(-1, 1)
        return self.quantile_table(column)[:, 0]

    def quantile_table(self, levels: Floats) -> Floats:
        """The quantiles, (N, L), at levels (N or 1, L)."""
        return _quantiles(self.hours, self.cdf, self.waited_hours, np.ascontiguousarray(levels))

    def knots(self) -> tuple[Floats, Floats]:
        """Hours from now and probabilities, both (N, K), of the conditioned curves; 0 if past."""
        start = _starting_cdfs(self.hours, self.cdf, self.waited_hours)[:, None]
        waited = self.waited_hours[:, None]
        cdf = self._given_open(_per_row(self.cdf, len(self)), start)
        has_waited = (waited > 0) & (start < 1.0 - _CERTAIN)
        is_past = (self.hours <= waited) & has_waited
        hours_from_now = np.maximum(self.hours - waited, 0.0)
        return hours_from_now, np.where(is_past, 0.0, cdf)

    @property
    def tail_mass(self) -> Floats:
        """The probability, shape (N,), of arriving after the last knot or never."""
        last = np.broadcast_to(self.cdf[:, -1], (len(self),))
        start = _starting_cdfs(self.hours, self.cdf, self.waited_hours)
        return 1.0 - self._given_open(last, start)

    @staticmethod
    def _given_open(reached: Floats, start: Floats) -> Floats:
        """(F - F_start) / (1 - F_start); 1 where the parcel had certainly arrived by the start."""
        still_open = 1.0 - start
        certain = np.ones_like(reached)
        return np.divide(reached - start, still_open, out=certain, where=still_open > _CERTAIN)


def _per_row(values: Floats, count: int) -> Floats:
    """Values (count or 1, K) as (count, K)."""
    return np.broadcast_to(values, (count, values.shape[1]))


def kaplan_meier(
    hours: NDArray[np.float64],
    arrived: NDArray[np.bool_],
    groups: NDArray[np.integer],
    count: int,
    grid: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Product-limit estimate (Kaplan and Meier 1958) of P(T <= t), (count, K), on a grid (K,).

    The grid starts at 0. A time within a step of the grid counts at the end of the step; a parcel
    that is censored in a step is at risk up to its start.
    """
    point = np.searchsorted(grid, hours, side="left")
    step = np.clip(point, 1, len(grid))
    # A censored time leaves in the step in which it falls, before the arrivals of that step are
    # counted.
    shape = (count, len(grid) + 1)
    leaving = np.zeros(shape)
    np.add.at(leaving, (groups, step), 1.0)
    arriving = np.zeros(shape)
    np.add.at(arriving, (groups[arrived], step[arrived]), 1.0)
    censored = leaving - arriving
    not_yet_left = np.cumsum(leaving[:, ::-1], axis=1)[:, ::-1]
    at_risk = not_yet_left - censored
    hazard = np.divide(arriving, at_risk, out=np.zeros(shape), where=at_risk > 0)
    cdf = 1.0 - np.cumprod(1.0 - hazard, axis=1)
    return np.clip(cdf, 0.0, 1.0)[:, : len(grid)]


@njit(cache=True)
def _are_valid_cdfs(hours, cdf):  # type: ignore[no-untyped-def]  # compiled
    """Whether all knots are finite, none falls, and probabilities are within 0 and 1.

    A comparison with NaN is false.
    """
    are_valid = True
    for i in range(len(hours)):
        for k in range(hours.shape[1]):
            are_valid &= np.isfinite(hours[i, k])
            are_valid &= k == 0 or hours[i, k] >= hours[i, k - 1]
    for i in range(len(cdf)):
        for k in range(cdf.shape[1]):
            previous = cdf[i, k - 1] if k else 0.0
            are_valid &= cdf[i, k] >= previous and cdf[i, k] <= 1.0
    return are_valid


@njit(cache=True)
def _cdf_at(hours, cdf, at):  # type: ignore[no-untyped-def]  # compiled
    """F at one time of one curve (K,), before any conditioning; the upper value at a jump."""
    after = np.searchsorted(hours, at, side="right")
    if after == 0:
        return 0.0
    left = after - 1
    right = min(after, len(hours) - 1)
    h0 = np.float64(hours[left])
    h1 = np.float64(hours[right])
    f0 = np.float64(cdf[left])
    f1 = np.float64(cdf[right])
    share = (at - h0) / (h1 - h0) if h1 > h0 else 0.0
    return f0 + share * (f1 - f0)


@njit(cache=True)
def starting_cdf(hours, cdf, waited):  # type: ignore[no-untyped-def]  # compiled
    """F of one curve (K,) at the time already waited; 0 without a wait, even before a jump at 0."""
    return _cdf_at(hours, cdf, waited) if waited > 0.0 else 0.0


@njit(cache=True)
def probability_at(hours, cdf, waited, start, query_hours):  # type: ignore[no-untyped-def]  # compiled
    """P(arrived within ``query_hours``) of one curve (K,): (F - F_start) / (1 - F_start).

    1 if it had certainly arrived by the start.
    """
    if np.isnan(query_hours):
        return np.nan
    still_open = 1.0 - start
    if still_open <= _CERTAIN:
        return 1.0
    reached = _cdf_at(hours, cdf, waited + query_hours)
    return (reached - start) / still_open


@njit(cache=True)
def quantile_at(hours, cdf, waited, start, level):  # type: ignore[no-untyped-def]  # compiled
    """The quantile of one curve (K,), in hours from now."""
    target = start + level * (1.0 - start)
    right = np.searchsorted(cdf, target, side="left")
    if right == len(cdf):
        return np.inf
    left = max(right - 1, 0)
    h0 = np.float64(hours[left])
    h1 = np.float64(hours[right])
    low = np.float64(cdf[left])
    high = np.float64(cdf[right])
    share = 1.0
    if high > low:
        share = min(max((target - low) / (high - low), 0.0), 1.0)
    return max(h0 + share * (h1 - h0) - waited, 0.0)


@njit(cache=True)
def _starting_cdfs(hours, cdf, waited):  # type: ignore[no-untyped-def]  # compiled
    """F at the time already waited, (N,), as ``starting_cdf`` defines it."""
    result = np.empty(len(waited))
    for i in range(len(waited)):
        row_hours = row_of(hours, i)
        row_cdf = row_of(cdf, i)
        result[i] = starting_cdf(row_hours, row_cdf, waited[i])
    return result


@njit(cache=True)
def _probabilities(hours, cdf, waited, query_hours):  # type: ignore[no-untyped-def]  # compiled
    result = np.empty((len(waited), query_hours.shape[1]))
    for i in range(len(waited)):
        row_hours = row_of(hours, i)
        row_cdf = row_of(cdf, i)
        row_query_hours = row_of(query_hours, i)
        start = starting_cdf(row_hours, row_cdf, waited[i])
        for k in range(query_hours.shape[1]):
            result[i, k] = probability_at(row_hours, row_cdf, waited[i], start, row_query_hours[k])
    return result


@njit(cache=True)
def _quantiles(hours, cdf, waited, levels):  # type: ignore[no-untyped-def]  # compiled
    result = np.empty((len(waited), levels.shape[1]))
    for i in range(len(waited)):
        row_hours = row_of(hours, i)
        row_cdf = row_of(cdf, i)
        row_levels = row_of(levels, i)
        start = starting_cdf(row_hours, row_cdf, waited[i])
        for k in range(levels.shape[1]):
            result[i, k] = quantile_at(row_hours, row_cdf, waited[i], start, row_levels[k])
    return result


@njit(cache=True)
def row_of(table, row):  # type: ignore[no-untyped-def]  # compiled
    """The row (K,) of a table (N, K), or the one that all rows share."""
    return table[min(row, len(table) - 1)]
