"""When the first and the last parcel of an order arrive, if their delays are correlated.

Parcels for one place share the day, hubs and weather. Each parcel has its own distribution. A
Gaussian copula (Li 2000) connects them, with one factor that all parcels share and a second one of
those from one origin with one carrier. Given the factors, parcels are independent, and
probabilities are means of products (Vasicek 1987). With F_i the probability that parcel i has
arrived by a day, r the correlation within a group g of one origin and carrier, and s that of other
parcels:

    P(all) = E_z prod_g E_w prod_{i in g} Phi((Phi^-1(F_i) - sqrt(s) z - sqrt(r - s) w) / sqrt(1 -
    r))

The copula is symmetric, so P(none) is the same with 1 - F_i. A mean over a factor is a sum over
evenly spaced values: the trapezoidal rule converges geometrically if an analytic function vanishes
at both ends (Trefethen and Weideman 2014). Unlike Gauss-Hermite nodes, these values can be as
closely spaced as a high correlation requires, which makes Phi a narrow step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import erfc, sqrt
from statistics import NormalDist
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, model_validator

from eta.stored_values import Count, StoredModel, check_values

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]

#: The correlation without any evidence, and its weight in pairs.
PRIOR, PRIOR_PAIRS = 0.3, 200

#: The largest correlation that is learned.
MAX_CORRELATION = 0.95

#: Normal scores are cut off here.
_MAX_SCORE = 4.0

#: Standard deviations up to which values of a factor are summed.
_MAX_DEVIATIONS = 6.5

#: The largest distance between values of a factor, also in widths of the step of Phi; and the
#: smallest one, which only correlations very near 1 reach.
_MAX_STEP, _MAX_STEP_WIDTHS, _MIN_STEP = 0.5, 0.6, 0.04
_NORMAL = NormalDist()
_ROOT_HALF = sqrt(0.5)


@dataclass(frozen=True, kw_only=True)
class ArrivalCorrelation:
    """Correlations of the normal scores of parcels for one place, within and between senders.

    A sender is an origin with a carrier.
    """

    within_sender: float = PRIOR
    between_senders: float = PRIOR
    #: Disjoint pairs of parcels from which they were learned.
    within_sender_pairs: int = 0
    between_senders_pairs: int = 0

    @classmethod
    def fit(cls, pit: Floats, place: Ints, sender: Ints) -> ArrivalCorrelation:
        """The correlations of parcels whose curves were at ``pit`` (N,) when they arrived.

        Parcels with the same number of ``place`` (N,) were bought on one day for one place; those
        with the same number of ``sender`` (N,), too, came from one origin with one carrier. The
        normal scores, standardized, give a mean product of the pairs of each place (the intraclass
        correlation, Fisher 1925). The weight of a place is its number of disjoint pairs. The result
        is shrunk to ``PRIOR`` and lies within 0 and ``MAX_CORRELATION``. Parcels of different
        senders are not more correlated than those of one: if they seem to be, both are pooled (Ayer
        et al. 1955).
        """
        has_pit = ~np.isnan(pit)
        scores = _standardized_scores(pit[has_pit])
        place, sender = place[has_pit], sender[has_pit]
        # The correlation of pairs of one place and sender, and their number.
        place_and_sender = np.column_stack([place, sender])
        groups, group = np.unique(place_and_sender, axis=0, return_inverse=True)
        sums = np.bincount(group, weights=scores)
        squares = np.bincount(group, weights=scores**2)
        counts = np.bincount(group, weights=np.ones(len(scores)))
        products = (sums**2 - squares) / 2.0
        pairs = counts * (counts - 1) / 2.0
        within_sender, within_sender_pairs = _shrunk(products, pairs, np.floor(counts / 2.0))
        # And of pairs of one place and two senders.
        _, place_of_group = np.unique(groups[:, 0], return_inverse=True)
        total = np.bincount(place_of_group, weights=sums)
        squares = np.bincount(place_of_group, weights=sums**2)
        products = (total**2 - squares) / 2.0
        parcels = np.bincount(place_of_group, weights=counts)
        pairs = (parcels**2 - np.bincount(place_of_group, weights=counts**2)) / 2.0
        largest = np.zeros(len(parcels))
        np.maximum.at(largest, place_of_group, counts)
        disjoint_pairs = np.minimum(np.floor(parcels / 2.0), parcels - largest)
        between_senders, between_senders_pairs = _shrunk(products, pairs, disjoint_pairs)
        if between_senders > within_sender:
            weights = np.array([within_sender_pairs, between_senders_pairs]) + PRIOR_PAIRS
            pooled = np.average([within_sender, between_senders], weights=weights)
            within_sender = between_senders = float(pooled)
        return cls(
            within_sender=within_sender,
            between_senders=between_senders,
            within_sender_pairs=within_sender_pairs,
            between_senders_pairs=between_senders_pairs,
        )

    def mean_correlation(self, sender: Ints, count: Ints) -> tuple[float, int] | None:
        """The mean correlation of the pairs of an order, and the pairs it was learned from.

        ``count`` (P,) parcels each come from the ``sender`` (P,). None for a single parcel.
        """
        parcels = int(count.sum())
        if parcels == 1:
            return None
        _, group = np.unique(sender, return_inverse=True)
        by_sender = np.bincount(group, weights=count)
        ordered_pairs = by_sender * (by_sender - 1)
        within = float(ordered_pairs.sum()) / 2.0
        between = parcels * (parcels - 1) / 2.0 - within
        total = self.within_sender * within + self.between_senders * between
        sample_pairs = self.within_sender_pairs * (within > 0)
        sample_pairs += self.between_senders_pairs * (between > 0)
        return total / (within + between), sample_pairs

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ArrivalCorrelation:
        """The correlations that ``to_json`` wrote.

        Raises:
            ModelCorrupted: if a value is missing, unknown, of another type or out of range.
        """
        stored = check_values("the arrival correlation", _STORED_CORRELATION, values)
        return cls(**stored.model_dump())


_Correlation = Annotated[float, Field(allow_inf_nan=False, ge=0.0, le=MAX_CORRELATION)]


class _StoredCorrelation(StoredModel):
    """What ``ArrivalCorrelation.to_json`` writes."""

    within_sender: _Correlation = PRIOR
    between_senders: _Correlation = PRIOR
    within_sender_pairs: Count = 0
    between_senders_pairs: Count = 0

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.between_senders > self.within_sender:
            raise ValueError("between_senders is above within_sender")
        return self


_STORED_CORRELATION = TypeAdapter(_StoredCorrelation)


def cdf_of_last(
    probabilities: Floats, count: Ints, sender: Ints, correlation: ArrivalCorrelation
) -> Floats:
    """P(all parcels of an order have arrived), (D,), by each of D days.

    Row p of ``probabilities`` (P, D), which do not fall, stands for ``count`` (P,) parcels of the
    ``sender`` (P,), a number for an origin and a carrier. Exact to 0.00001 for correlations up to
    ``MAX_CORRELATION`` and for 1, to 0.01 between them. The result is at most the smallest of the
    probabilities.
    """
    return np.maximum.accumulate(_joint(probabilities, count, sender, correlation))


def cdf_of_first(
    probabilities: Floats, count: Ints, sender: Ints, correlation: ArrivalCorrelation
) -> Floats:
    """P(a parcel of the order has arrived), (D,); arguments are those of ``cdf_of_last``.

    The result is at least the largest of the probabilities.
    """
    survival, largest = 1.0 - probabilities, probabilities.max(axis=0)
    none = _joint(survival, count, sender, correlation)
    # Exact to the bit, which 1 - (1 - F) is not.
    is_larger = none < survival.min(axis=0)
    any_arrived = np.where(is_larger, np.maximum(1.0 - none, largest), largest)
    return np.maximum.accumulate(any_arrived)


def normal_scores(probabilities: Floats) -> Floats:
    """Phi^-1 of probabilities, in their shape; infinite for 0 and 1."""
    scores = np.where(probabilities > 0.5, np.inf, -np.inf).ravel()
    for number, probability in enumerate(probabilities.ravel().tolist()):
        if 0.0 < probability < 1.0:
            scores[number] = _NORMAL.inv_cdf(probability)
    return scores.reshape(probabilities.shape)


def _standardized_scores(pit: Floats) -> Floats:
    """Normal scores with mean 0 and variance 1.

    Curves that are too early, late, wide or narrow for all parcels alike are corrected elsewhere.
    """
    scores = np.clip(normal_scores(pit), -_MAX_SCORE, _MAX_SCORE)
    deviation = float(scores.std()) if len(scores) else 0.0
    if deviation == 0.0:
        return np.zeros(len(scores))
    return np.asarray((scores - scores.mean()) / deviation)


def _shrunk(products: Floats, pairs: Floats, disjoint_pairs: Floats) -> tuple[float, int]:
    """The correlation and its disjoint pairs, from the sums of products of each group's pairs."""
    mean = np.divide(products, pairs, out=np.zeros_like(products), where=pairs > 0)
    sample_pairs = disjoint_pairs.sum()
    total = float(disjoint_pairs @ mean) + PRIOR * PRIOR_PAIRS
    weight = float(sample_pairs) + PRIOR_PAIRS
    correlation = min(max(total / weight, 0.0), MAX_CORRELATION)
    return correlation, int(sample_pairs)


def _joint(
    probabilities: Floats, count: Ints, sender: Ints, correlation: ArrivalCorrelation
) -> Floats:
    """P(every parcel is within its probability), (D,).

    It lies between that of independent parcels and that of fully correlated ones.
    """
    smallest = probabilities.min(axis=0)
    if correlation.between_senders >= 1.0:
        return smallest
    if correlation.within_sender >= 1.0:
        # The same if the parcels of a sender are fully correlated, so that they count as one.
        senders, group = np.unique(sender, return_inverse=True)
        joint_of_senders_smallest = []
        for number in range(len(senders)):
            of_sender = probabilities[group == number]
            joint_of_senders_smallest.append(of_sender.min(axis=0))
        between_senders = ArrivalCorrelation(
            within_sender=correlation.between_senders, between_senders=correlation.between_senders
        )
        one_each = np.ones(len(senders), dtype=np.int64)
        return _joint(np.array(joint_of_senders_smallest), one_each, senders, between_senders)
    independent = np.prod(probabilities ** count[:, None], axis=0)
    joint = _copula(probabilities, count, sender, correlation)
    return np.minimum(np.maximum(joint, independent), smallest)


class _FactorValues(NamedTuple):
    """Values of a standard normal factor, and their weights, which add up to 1."""

    values: Floats
    weights: Floats


class _Senders(NamedTuple):
    """The senders of an order, as compiled code reads them."""

    #: The rows of each sender's parcels, from ``first`` (G,) until ``end`` (G,).
    first: Ints
    end: Ints
    #: Contributions of the sender's own factor, (G, M).
    inner: Floats
    #: Standard deviation of what parcels do not share, (G,).
    residual_scale: Floats


def _copula(
    probabilities: Floats, count: Ints, sender: Ints, correlation: ArrivalCorrelation
) -> Floats:
    """P(every parcel is within its probability), (D,), for correlations below 1."""
    order = np.argsort(sender, kind="stable")
    count = count[order].astype(np.float64)
    _, first = np.unique(sender[order], return_index=True)
    is_alone = np.add.reduceat(count, first) == 1.0
    shared = correlation.between_senders
    within = correlation.within_sender - shared
    # With one sender all parcels share both factors. A single parcel of a sender shares only one.
    if len(first) == 1:
        shared, within = correlation.within_sender, 0.0
    if is_alone.all():
        within = 0.0
    within_variance = np.where(is_alone, 0.0, within)
    residual = 1.0 - shared - within
    outer = _factor_values(shared, residual)
    inner = _factor_values(within, residual)
    senders = _Senders(
        first=first,
        end=np.append(first[1:], len(order)),
        inner=np.sqrt(within_variance)[:, None] * inner.values,
        residual_scale=np.sqrt(1.0 - shared - within_variance),
    )
    scores = normal_scores(np.ascontiguousarray(probabilities[order]))
    outer = outer._replace(values=sqrt(shared) * outer.values)
    return np.asarray(_mean_products(scores, count, senders, outer, inner.weights))


def _factor_values(variance: float, residual: float) -> _FactorValues:
    """The values of a factor; ``residual`` is the variance of what parcels do not share."""
    if variance <= 0.0:
        return _FactorValues(np.zeros(1), np.ones(1))
    step_width = sqrt(residual / variance)
    step = min(_MAX_STEP, max(_MIN_STEP, _MAX_STEP_WIDTHS * step_width))
    steps = int(_MAX_DEVIATIONS / step)
    values: Floats = step * np.arange(-steps, steps + 1, dtype=np.float64)
    weights: Floats = np.exp(-0.5 * values**2)
    return _FactorValues(values, weights / weights.sum())


@njit(cache=True)
def _mean_products(scores, count, senders, outer, inner_weights):  # type: ignore[no-untyped-def]  # compiled
    """E_z prod_g E_w prod_i Phi((scores - outer - inner) / residual)^count, (D,).

    Rows of ``scores`` (P, D) are sorted by sender.
    """
    result = np.zeros(scores.shape[1])
    for d in range(scores.shape[1]):
        for k in range(len(outer.values)):
            product = 1.0
            for g in range(len(senders.first)):
                mean = 0.0
                for m in range(len(inner_weights)):
                    part = _product(scores, count, senders, d, g, outer.values[k], m)
                    mean += inner_weights[m] * part
                product *= mean
            result[d] += outer.weights[k] * product
    return result


@njit(cache=True)
def _product(scores, count, senders, d, g, outer, m):  # type: ignore[no-untyped-def]  # compiled
    """P(all parcels of the sender g are within their probabilities), given both factors."""
    inner, scale = senders.inner[g, m], senders.residual_scale[g]
    product = 1.0
    for i in range(senders.first[g], senders.end[g]):
        residual = scores[i, d] - outer - inner
        product *= (0.5 * erfc(-_ROOT_HALF * residual / scale)) ** count[i]
    return product
