"""When the first and the last parcel of an order arrive, if what holds up one is likely to hold up the others.

Parcels for one place share the day, hubs and weather. Each keeps its own law; a Gaussian copula (Li
2000) with one factor that all parcels share, and a second one of those from one origin with one
carrier, says how they go together. Given the factors parcels are independent, and chances are means
of products (Vasicek 1987). With F_i the chance of parcel i to have arrived by a day, r the
correlation within a group g of one origin and carrier, and s that of other parcels:

    P(all) = E_z prod_g E_w prod_{i in g} Phi((Phi^-1(F_i) - sqrt(s) z - sqrt(r - s) w) / sqrt(1 -
    r))

The copula is symmetric, so P(none) is the same of 1 - F_i. A mean over a factor is a sum over
evenly spaced values: the trapezoidal rule converges geometrically where an analytic function
vanishes at both ends (Trefethen and Weideman 2014), and unlike Gauss and Hermite's nodes these can
be as narrow as a high correlation makes the step of Phi.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import erfc, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]

#: Correlation of parcels, and how many pairs' worth of trust in it.
PRIOR, PRIOR_PAIRS = 0.3, 200

#: No correlation that is learned is higher.
MAX_CORRELATION = 0.95

#: Normal scores further out say no more than this.
_MAX_SCORE = 4.0

#: Beyond so many deviations a factor hardly ever lies.
_REACH = 6.5

#: Values of a factor lie no further apart than this, nor than so many widths of the step of Phi;
#: but for correlations very near 1 also no nearer.
_MAX_STEP, _WIDTHS, _MIN_STEP = 0.5, 0.6, 0.04
_NORMAL = NormalDist()
_ROOT_HALF = sqrt(0.5)


@dataclass(frozen=True, kw_only=True)
class ArrivalCorrelation:
    """Correlations of the normal scores of parcels for one place: of one origin and carrier, and of others."""

    within_sender: float = PRIOR
    between_senders: float = PRIOR
    #: Pairs from which they were learned, no parcel in two of them.
    within_sender_pairs: int = 0
    between_senders_pairs: int = 0

    @classmethod
    def fit(cls, pit: Floats, place: Ints, sender: Ints) -> ArrivalCorrelation:
        """From parcels whose law was at ``pit`` (N,), the chance of having arrived by then, when they arrived.

        Parcels that share a number of ``place`` (N,) were bought on one day for one place; such
        that share one of ``sender`` (N,), too, came from one origin with one carrier. The normal
        scores, at a mean of 0 and a variance of 1, give a mean product of the pairs of each place
        (the intraclass correlation, Fisher 1925); a place counts for as many pairs as it holds that
        have no parcel in common. Shrunk to ``PRIOR`` and within 0 and ``MAX_CORRELATION``. Others share no
        more than parcels of one sender do: where it seems that they do, both are pooled (Ayer et
        al. 1955).
        """
        has_pit = ~np.isnan(pit)
        scores = np.clip(normal_scores(pit[has_pit]), -_MAX_SCORE, _MAX_SCORE)
        # Laws that are too early, late, wide or narrow for all parcels alike are put right
        # elsewhere.
        spread = float(scores.std()) if len(scores) else 0.0
        scores = (scores - scores.mean()) / spread if spread > 0.0 else np.zeros(len(scores))
        within_sender, within_sender_pairs = _within_sender(scores, place[has_pit], sender[has_pit])
        between_senders, between_senders_pairs = _between_senders(
            scores, place[has_pit], sender[has_pit]
        )
        if between_senders > within_sender:
            weights = np.array([within_sender_pairs, between_senders_pairs]) + PRIOR_PAIRS
            within_sender = between_senders = float(
                np.average([within_sender, between_senders], weights=weights)
            )
        return cls(
            within_sender=within_sender,
            between_senders=between_senders,
            within_sender_pairs=within_sender_pairs,
            between_senders_pairs=between_senders_pairs,
        )

    def mean_correlation(self, sender: Ints, count: Ints) -> tuple[float, int] | None:
        """The mean correlation of the pairs of parcels of an order, and the pairs behind it; None of a single parcel.

        ``count`` (P,) parcels each come from the ``sender`` (P,).
        """
        total, sender_counts = (
            int(count.sum()),
            np.bincount(np.unique(sender, return_inverse=True)[1], weights=count),
        )
        within = float((sender_counts * (sender_counts - 1)).sum()) / 2.0
        across = total * (total - 1) / 2.0 - within
        if total == 1:
            return None
        return (self.within_sender * within + self.between_senders * across) / (
            within + across
        ), self.within_sender_pairs * (within > 0) + self.between_senders_pairs * (across > 0)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ArrivalCorrelation:
        """What ``to_json`` gave."""
        return cls(**values)


def cdf_of_last(
    probabilities: Floats, count: Ints, sender: Ints, correlation: ArrivalCorrelation
) -> Floats:
    """P(all parcels of an order have arrived), (D,), on days by which each has with ``probabilities`` (P, D), which do not fall.

    Exact to 0.00001 for correlations up to ``MAX_CORRELATION`` and 1, to 0.01 between those.
    Row p stands for ``count`` (P,) parcels of the ``sender`` (P,), a number for an origin and a
    carrier. It is at most the least of the chances.
    """
    return np.maximum.accumulate(_joint(probabilities, count, sender, correlation))


def cdf_of_first(
    probabilities: Floats, count: Ints, sender: Ints, correlation: ArrivalCorrelation
) -> Floats:
    """P(a parcel of the order has arrived), (D,), of the same; at least the greatest of the chances."""
    survival, greatest = 1.0 - probabilities, probabilities.max(axis=0)
    none = _joint(survival, count, sender, correlation)
    # To the bit, which 1 - (1 - F) is not.
    return np.maximum.accumulate(
        np.where(none < survival.min(axis=0), np.maximum(1.0 - none, greatest), greatest)
    )


def normal_scores(probabilities: Floats) -> Floats:
    """Phi^-1 of chances, as they are shaped; infinite for 0 and 1."""
    inner = [
        _NORMAL.inv_cdf(chance) if 0.0 < chance < 1.0 else (np.inf if chance > 0.5 else -np.inf)
        for chance in probabilities.ravel().tolist()
    ]
    return np.array(inner, dtype=np.float64).reshape(probabilities.shape)


def _within_sender(scores: Floats, place: Ints, sender: Ints) -> tuple[float, int]:
    """The correlation of pairs of one place and sender, and how many there are."""
    _, group = np.unique(np.column_stack([place, sender]), axis=0, return_inverse=True)
    sums, squares, counts = (
        np.bincount(group, weights=values) for values in (scores, scores**2, np.ones(len(scores)))
    )
    return _shrunk((sums**2 - squares) / 2.0, counts * (counts - 1) / 2.0, np.floor(counts / 2.0))


def _between_senders(scores: Floats, place: Ints, sender: Ints) -> tuple[float, int]:
    """The same of one place and two senders."""
    both, group = np.unique(np.column_stack([place, sender]), axis=0, return_inverse=True)
    sums, counts = (
        np.bincount(group, weights=values, minlength=len(both))
        for values in (scores, np.ones(len(scores)))
    )
    _, place_of_group = np.unique(both[:, 0], return_inverse=True)
    total, parcels, largest = (
        np.bincount(place_of_group, weights=sums),
        np.bincount(place_of_group, weights=counts),
        np.zeros(place_of_group.max(initial=-1) + 1),
    )
    np.maximum.at(largest, place_of_group, counts)
    products = (total**2 - np.bincount(place_of_group, weights=sums**2)) / 2.0
    pairs = (parcels**2 - np.bincount(place_of_group, weights=counts**2)) / 2.0
    return _shrunk(products, pairs, np.minimum(np.floor(parcels / 2.0), parcels - largest))


def _shrunk(products: Floats, pairs: Floats, disjoint_pairs: Floats) -> tuple[float, int]:
    """From the sums of products of each group, how many those are, and for how many pairs the group counts."""
    mean = np.divide(products, pairs, out=np.zeros_like(products), where=pairs > 0)
    shrunk = (float(disjoint_pairs @ mean) + PRIOR * PRIOR_PAIRS) / (
        float(disjoint_pairs.sum()) + PRIOR_PAIRS
    )
    return min(max(shrunk, 0.0), MAX_CORRELATION), int(disjoint_pairs.sum())


def _joint(
    probabilities: Floats, count: Ints, sender: Ints, correlation: ArrivalCorrelation
) -> Floats:
    """P(every parcel is within its chance), (D,): from what it is of independent parcels to what it is of parcels that move as one."""
    lowest = probabilities.min(axis=0)
    independent = np.prod(probabilities ** count[:, None], axis=0)
    if correlation.between_senders >= 1.0:
        return lowest
    if correlation.within_sender >= 1.0:
        # Parcels of one sender are one.
        senders, group = np.unique(sender, return_inverse=True)
        lowest_of_sender = np.array(
            [probabilities[group == number].min(axis=0) for number in range(len(senders))]
        )
        return _joint(
            lowest_of_sender,
            np.ones(len(senders), dtype=np.int64),
            senders,
            ArrivalCorrelation(
                within_sender=correlation.between_senders,
                between_senders=correlation.between_senders,
            ),
        )
    order = np.argsort(sender, kind="stable")
    _, first = np.unique(sender[order], return_index=True)
    ends = np.append(first[1:], len(order))
    is_alone = np.array(
        [count[order][start:end].sum() == 1 for start, end in zip(first, ends, strict=True)]
    )
    # Where there is one sender, both factors are shared by all; one that a single parcel has is its
    # own.
    shared, within = (
        (correlation.within_sender, 0.0)
        if len(first) == 1
        else (correlation.between_senders, correlation.within_sender - correlation.between_senders)
    )
    within = 0.0 if is_alone.all() else within
    inner = np.where(is_alone, 0.0, within)
    outer_values, outer_weights = _values(shared, 1.0 - shared - within)
    inner_values, inner_weights = _values(within, 1.0 - shared - within)
    scores = normal_scores(np.ascontiguousarray(probabilities[order]))
    joint: Floats = _mean_products(
        scores,
        count[order].astype(np.float64),
        first,
        ends,
        sqrt(shared) * outer_values,
        outer_weights,
        np.sqrt(inner)[:, None] * inner_values,
        inner_weights,
        np.sqrt(1.0 - shared - inner),
    )
    return np.minimum(np.maximum(joint, independent), lowest)


def _values(variance: float, residual: float) -> tuple[Floats, Floats]:
    """Values of a standard normal factor and their weights, which add up to 1; ``residual`` is the variance of what parcels do not share."""
    if variance <= 0.0:
        return np.zeros(1), np.ones(1)
    step = min(_MAX_STEP, max(_MIN_STEP, _WIDTHS * sqrt(residual / variance)))
    values: Floats = step * np.arange(-int(_REACH / step), int(_REACH / step) + 1, dtype=np.float64)
    weights: Floats = np.exp(-0.5 * values**2)
    return values, weights / weights.sum()


@njit(cache=True)
def _mean_products(  # type: ignore[no-untyped-def]  # compiled
    scores, count, first, ends, outer, outer_weights, inner, inner_weights, residual_scale
):
    """E_z prod_g E_w prod_i Phi((scores - outer - inner) / own)^count, (D,); rows of ``scores`` (P, D) are sorted by group."""
    result = np.zeros(scores.shape[1])
    for d in range(scores.shape[1]):
        for k in range(len(outer)):
            product = 1.0
            for g in range(len(first)):
                mean = 0.0
                for m in range(len(inner_weights)):
                    part = 1.0
                    for i in range(first[g], ends[g]):
                        part *= (
                            0.5
                            * erfc(
                                -_ROOT_HALF
                                * (scores[i, d] - outer[k] - inner[g, m])
                                / residual_scale[g]
                            )
                        ) ** count[i]
                    mean += inner_weights[m] * part
                product *= mean
            result[d] += outer_weights[k] * product
    return result
