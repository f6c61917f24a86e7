"""Distributions of the time left until arrival, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eta.domain.errors import EtaError

Floats = NDArray[np.floating]

#: With no more than this chance of being open, a parcel has certainly arrived.
_CERTAIN = 1e-12


class InvalidCurve(EtaError):
    """A distribution must be finite, within 0 and 1, and must not fall."""


@dataclass(frozen=True, eq=False)
class Curves:
    """N distribution functions of the hours left, linear between knots.

    ``hours`` and ``cdf`` have shape (N, K); either may be (1, K) when all rows share it. Two knots at the same hour
    are a jump. ``cdf[:, -1]`` may stay below 1: the rest arrives after the last knot or never. ``waited_hours``
    (N,) conditions each row on not having arrived by then, exactly: every answer is about T - waited given
    T > waited.

    Example:
        >>> curves = Curves.on_grid([0, 24, 48], [[0.0, 0.5, 0.9]])
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
        steps = np.diff(self.cdf, axis=1)
        if not (np.isfinite(self.hours).all() and np.isfinite(self.cdf).all()):
            raise InvalidCurve()
        if (steps < 0).any() or (np.diff(self.hours, axis=1) < 0).any() or (self.cdf[:, 0] < 0).any() or (self.cdf[:, -1] > 1).any():
            raise InvalidCurve()

    @classmethod
    def on_grid(cls, hours: ArrayLike, cdf: ArrayLike) -> Curves:
        """Curves (N, K) over one grid of hours (K,)."""
        return cls.of(np.asarray(hours, dtype=np.float64)[None, :], np.asarray(cdf, dtype=np.float64))

    @classmethod
    def of(cls, hours: Floats, cdf: Floats) -> Curves:
        """Curves whose knots (N or 1, K) may differ by row."""
        return cls(hours, cdf, np.zeros(len(cdf) if len(hours) == 1 else len(hours)))

    @classmethod
    def from_quantiles(cls, levels: ArrayLike, hours: ArrayLike, *, longest_hours: float) -> Curves:
        """Curves through the quantiles ``hours`` (N, K) at ``levels`` (K,), with linear tails.

        The lower tail starts at 0 hours, the upper one ends at ``longest_hours`` or at the last quantile if that is
        later.
        """
        quantiles = np.maximum(np.asarray(hours, dtype=np.float64), 0.0)
        ends = np.maximum(quantiles[:, -1:], longest_hours)
        knots = np.concatenate([np.zeros_like(ends), quantiles, ends], axis=1)
        return cls.of(knots, np.concatenate([[0.0], np.asarray(levels, dtype=np.float64), [1.0]])[None, :])

    @classmethod
    def at_once(cls, hours: ArrayLike) -> Curves:
        """Certain arrival after ``hours`` (N,)."""
        return cls.of(np.repeat(np.asarray(hours, dtype=np.float64)[:, None], 2, axis=1), np.array([[0.0, 1.0]]))

    @classmethod
    def concatenate(cls, parts: Sequence[Curves]) -> Curves:
        """The rows of several batches that have the same number of knots."""

        def rows(part: Curves, values: Floats) -> Floats:
            return np.broadcast_to(values, (len(part), values.shape[1]))

        return cls(
            np.concatenate([rows(part, part.hours) for part in parts]),
            np.concatenate([rows(part, part.cdf) for part in parts]),
            np.concatenate([part.waited_hours for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.waited_hours)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Curves:
        """The curves of some rows."""
        return Curves(
            self.hours if len(self.hours) == 1 else self.hours[rows],
            self.cdf if len(self.cdf) == 1 else self.cdf[rows],
            self.waited_hours[rows],
        )

    def remaining_after(self, hours: ArrayLike) -> Curves:
        """The law of the time left once ``hours`` (N,) more have passed without an arrival."""
        return Curves(self.hours, self.cdf, self.waited_hours + np.asarray(hours, dtype=np.float64))

    def cdf_at(self, hours: ArrayLike) -> Floats:
        """P(arrived within ``hours``), shape (N,); ``hours`` is (N,) or a number."""
        start = self._start()
        reached = self._unconditional(self.waited_hours + np.asarray(hours, dtype=np.float64))
        return self._given_open(reached, start)

    def quantile(self, level: ArrayLike) -> Floats:
        """The fewest hours by which the parcel has arrived with probability ``level`` (from below), shape (N,).

        Infinite where the parcel does not arrive within the knots with that probability.
        """
        start = self._start()
        target = start + np.asarray(level, dtype=np.float64) * (1.0 - start)
        after = (self.cdf < target[:, None]).sum(axis=1)
        last = self.cdf.shape[1] - 1
        right, left = np.minimum(after, last), np.maximum(np.minimum(after, last) - 1, 0)
        low, high = _pick(self.cdf, left), _pick(self.cdf, right)
        share = np.divide(target - low, high - low, out=np.ones_like(target), where=high > low)
        at = _pick(self.hours, left) + np.clip(share, 0.0, 1.0) * (_pick(self.hours, right) - _pick(self.hours, left))
        return np.where(after > last, np.inf, np.maximum(at - self.waited_hours, 0.0))

    def knots(self) -> tuple[Floats, Floats]:
        """Hours from now and probabilities, both (N, K), of the conditioned curves; past knots stand at 0."""
        start, waited = self._start()[:, None], self.waited_hours[:, None]
        cdf = self._given_open(np.broadcast_to(self.cdf, (len(self), self.cdf.shape[1])), start)
        is_past = (self.hours <= waited) & (waited > 0) & (start < 1.0 - _CERTAIN)
        return np.maximum(self.hours - waited, 0.0), np.where(is_past, 0.0, cdf)

    @property
    def never(self) -> Floats:
        """The share, shape (N,), that does not arrive within the knots: later than that, or never."""
        return 1.0 - self._given_open(np.broadcast_to(self.cdf[:, -1], (len(self),)), self._start())

    def _start(self) -> Floats:
        """F at the time already waited, (N,); 0 for a parcel that has not waited, whatever may happen at once."""
        return np.where(self.waited_hours > 0, self._unconditional(self.waited_hours), 0.0)

    def _unconditional(self, hours: Floats) -> Floats:
        """F at ``hours`` (N,) before any conditioning; the upper value at a jump."""
        after = (self.hours <= hours[:, None]).sum(axis=1)
        last = self.hours.shape[1] - 1
        left, right = np.clip(after - 1, 0, last), np.clip(after, 0, last)
        h0, h1 = _pick(self.hours, left), _pick(self.hours, right)
        f0, f1 = _pick(self.cdf, left), _pick(self.cdf, right)
        share = np.divide(hours - h0, h1 - h0, out=np.zeros_like(hours), where=h1 > h0)
        return np.where(after == 0, 0.0, f0 + share * (f1 - f0))

    @staticmethod
    def _given_open(reached: Floats, start: Floats) -> Floats:
        """(F - F_start) / (1 - F_start); 1 where the parcel had certainly arrived by the start."""
        still_open = 1.0 - start
        return np.divide(reached - start, still_open, out=np.ones_like(reached), where=still_open > _CERTAIN)


def kaplan_meier(
    hours: NDArray[np.float64], arrived: NDArray[np.bool_], groups: NDArray[np.integer], count: int, grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Product-limit estimate (Kaplan and Meier 1958) of P(T <= t), shape (count, K), on a grid (K,) that starts at 0.

    A time within a step of the grid counts at the end of the step; who is censored in a step is at risk up to its
    start.
    """
    step = np.clip(np.searchsorted(grid, hours, side="left"), 1, len(grid))
    # A censored time leaves in the step in which it falls, before the arrivals of that step are counted.
    shape = (count, len(grid) + 1)
    leaving = np.zeros(shape)
    np.add.at(leaving, (groups, step), 1.0)
    arriving = np.zeros(shape)
    np.add.at(arriving, (groups[arrived], step[arrived]), 1.0)
    censored = leaving - arriving
    at_risk = np.cumsum(leaving[:, ::-1], axis=1)[:, ::-1] - censored
    hazard = np.divide(arriving, at_risk, out=np.zeros(shape), where=at_risk > 0)
    return np.clip(1.0 - np.cumprod(1.0 - hazard, axis=1), 0.0, 1.0)[:, : len(grid)]


def _pick(table: Floats, columns: NDArray[np.integer]) -> Floats:
    """``table[i, columns[i]]`` for each row i of a (N or 1, K) table."""
    return table[0, columns] if len(table) == 1 else np.take_along_axis(table, columns[:, None], axis=1)[:, 0]
