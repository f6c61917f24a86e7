"""Intervals of shares and means: exact for independent parcels, otherwise by weeks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
CONFIDENCE = 0.95


def exact_interval(
    hits: float, count: float, *, confidence: float = CONFIDENCE
) -> tuple[float | None, float | None]:
    """The exact interval of a binomial share: all shares whose test does not reject ``hits``.

    low = B^-1(a/2; x, n - x + 1) and high = B^-1(1 - a/2; x + 1, n - x), with B the beta
    distribution function and a = 1 - confidence. A share p lies in it if and only if x lies within
    the central binomial band around n p. ``hits`` need not be whole: parcels that have not arrived
    count in part, which varies less than a binomial and so errs on the safe side.

    Reference:
        Clopper and Pearson (1934).
    """
    from scipy.special import betaincinv  # slow to import, and unused by the service

    if count <= 0:
        return None, None
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if hits <= 0 else float(betaincinv(hits, count - hits + 1.0, tail))
    high = 1.0 if hits >= count else float(betaincinv(hits + 1.0, count - hits, 1.0 - tail))
    return low, high


def week_bootstrap(
    sums: NDArray[np.floating], counts: NDArray[np.floating], seed: int
) -> tuple[float | None, float | None]:
    """The 95 % interval of ``sum(sums) / sum(counts)`` by resampling whole weeks, (W,).

    Orders of one week share the state of the network, so weeks and not orders are resampled (block
    bootstrap, Kunsch 1989).
    """
    if len(sums) < 2:
        return None, None
    drawn = _weeks_drawn(len(sums), seed)
    totals = drawn @ counts
    means = (drawn @ sums)[totals > 0] / totals[totals > 0]
    low, high = np.quantile(means, ((1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0))
    return float(low), float(high)


@lru_cache(maxsize=64)
def _weeks_drawn(weeks: int, seed: int) -> NDArray[np.float64]:
    """How often each week is drawn, (resamples, weeks); equal for all figures of as many weeks."""
    random = np.random.default_rng(seed)
    counts = random.multinomial(weeks, np.full(weeks, 1.0 / weeks), size=RESAMPLES)
    return counts.astype(np.float64)
