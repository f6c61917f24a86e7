"""The share of parcels that never arrive, shrunk to the typical share of their stage.

What a curve leaves at its end is the share that never arrives. It is the product of the survival of
all bins: the more certain the first bins are, the smaller it is. But parcels are lost, returned or
cancelled for reasons of their own, whatever their lane (a mixture cure model: Boag 1949, Farewell
1982). So the logit of the share becomes a linear function of the curve's own logit. It is learned
by expectation and maximisation, because nobody knows of which kind an open parcel is. The
distribution of the parcels that arrive keeps its shape.

The slope is never above 1: that would be overfitting, because the in-sample curves already separate
the lost parcels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.domain.errors import ModelCorrupted
from eta.forecast.hazard.recalibration import STAGES, CumulativeHazardInterval, Stage

#: Curvature that shrinks a slope to 1: that of 1,000 parcels whose shares of about a hundredth
#: differ by one logit.
PRIOR = 10.0
EM_ITERATIONS = 25

#: The largest H at the end, and so the largest logit either way.
_MAX_LOGIT = 30.0
_EPSILON = 1e-9


@dataclass(frozen=True, eq=False)
class NonArrival:
    """Intercepts and slopes, (stages, 2), of the share's logit against the logit of the curve."""

    coefficients: NDArray[np.float64]

    @classmethod
    def identity(cls) -> Self:
        """The correction that changes nothing."""
        return cls(np.tile([0.0, 1.0], (len(STAGES), 1)))

    @classmethod
    def from_coefficients(cls, coefficients: NDArray[np.float64]) -> Self:
        """The correction with stored coefficients.

        Raises:
            ModelCorrupted: if they belong to other stages than those of this release.
        """
        if coefficients.shape != (len(STAGES), 2):
            raise ModelCorrupted(
                "the non-arrival correction has other stages than this release; "
                "train the model again"
            )
        return cls(coefficients)

    @classmethod
    def fit(cls, end: NDArray[np.float64], intervals: CumulativeHazardInterval) -> Self:
        """The correction of curves with the cumulative hazards ``end`` (N,) at their end."""
        coefficients = cls.identity().coefficients
        for stage in Stage:
            rows = np.flatnonzero(intervals.stage == stage)
            if not len(rows):
                continue
            intercept, slope = _fit_line(end[rows], intervals.take(rows))
            if slope < 1.0:
                coefficients[stage] = intercept, slope
        return cls(coefficients)

    def apply(
        self, hazards: NDArray[np.float64], stage: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """H (N, K) at the stages (N,) with the corrected share; each row ends with its last H."""
        intercept, slope = self.coefficients[stage].T
        is_changed = (intercept != 0.0) | (slope != 1.0)
        logit = _logit(hazards[:, -1])
        share = _logistic(intercept + slope * logit)
        return np.asarray(_with_share(hazards, share, is_changed))


def _fit_line(end: NDArray[np.float64], intervals: CumulativeHazardInterval) -> tuple[float, float]:
    """Intercept and slope, not below 0: each round is a Newton step of the logistic regression."""
    logit = _logit(end)
    middle = logit.mean()
    predictors = np.column_stack([np.ones(len(logit)), logit - middle])
    # The share, (N,), of the parcels that arrive which do so later than each has been open.
    arrived_by_now = np.expm1(-np.minimum(intervals.upper, end))
    arrive_in_total = np.minimum(np.expm1(-end), -_EPSILON)
    later = np.asarray(1.0 - arrived_by_now / arrive_in_total)
    line, penalty = np.array([middle, 1.0]), np.diag([0.0, PRIOR])
    identity, minimum = np.array([0.0, 1.0]), np.array([-_MAX_LOGIT, 0.0])
    regularization = _EPSILON * np.eye(2)
    for _ in range(EM_ITERATIONS):
        share = _logistic(predictors @ line)
        arriving_later = (1.0 - share) * later
        still_open = np.maximum(share + arriving_later, _EPSILON)
        never = np.where(intervals.arrived, 0.0, share / still_open)
        variance = share * (1.0 - share)
        curvature = (predictors.T * variance) @ predictors + penalty
        residual = predictors.T @ (never - share)
        gradient = residual - penalty @ (line - identity)
        step = np.linalg.solve(curvature + regularization, gradient)
        step = np.clip(step, -1.0, 1.0)
        line = np.maximum(line + step, minimum)
    intercept, slope = line
    return float(intercept - slope * middle), float(slope)


def _logit(end: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logit of the share exp(-H) that an H (N,) leaves open."""
    return np.asarray(-np.log(np.expm1(np.clip(end, _EPSILON, _MAX_LOGIT))))


def _logistic(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


@njit(cache=True, nogil=True)
def _with_share(hazards, share, is_changed):  # type: ignore[no-untyped-def]  # compiled
    """H (N, K) that leaves ``share`` (N,) open at its end, in the rows that change.

    The distribution of the parcels that arrive stays the same.
    """
    result = hazards.copy()
    for i in np.flatnonzero(is_changed):
        end = np.exp(-hazards[i, -1])
        factor = (1.0 - share[i]) / max(1.0 - end, _EPSILON)
        for k in range(hazards.shape[1]):
            result[i, k] = -np.log(share[i] + factor * (np.exp(-hazards[i, k]) - end))
    return result
