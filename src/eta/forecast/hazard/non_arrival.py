"""The share of parcels that never arrive, shrunk to that of their stage.

What is left of a law at its end is the share that never arrives, and the product of all its bins:
the surer the first of them, the smaller the share. But parcels are lost, sent back or called off by
laws of their own, whatever their lane (a mixture cure model: Boag 1949, Farewell 1982). So the
logit of the share is put on a line of the law's own, learned by expectation and maximisation, for
of a parcel still open nobody knows which kind it is; the law of those that arrive keeps its shape.

A line is only ever flatter than the laws: that parcels which never came are told apart better than
the laws say is hindsight of the fit, which has seen them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.domain.errors import ModelCorrupted
from eta.forecast.hazard.recalibration import STAGES, CumulativeHazardInterval

#: What holds a slope at 1: as much as 1,000 parcels whose shares of about a hundredth differ by one
#: logit.
PRIOR = 10.0
EM_ITERATIONS = 25

#: An H at the end beyond which nobody is expected to be left: no logit is larger, nor its opposite.
_MAX_LOGIT, _EPSILON = 30.0, 1e-9


@dataclass(frozen=True, eq=False)
class NonArrival:
    """Intercept and slope of the logit of the share, as a line of that of the law itself, (stages, 2)."""

    coefficients: NDArray[np.float64]

    @classmethod
    def identity(cls) -> Self:
        """The laws as they are."""
        return cls(np.tile([0.0, 1.0], (len(STAGES), 1)))

    @classmethod
    def from_coefficients(cls, coefficients: NDArray[np.float64]) -> Self:
        """What was kept.

        Raises:
            ModelCorrupted: if it is of other stages than ours.
        """
        if coefficients.shape != (len(STAGES), 2):
            raise ModelCorrupted(
                "the share that never arrives is of other stages than ours; train the model again"
            )
        return cls(coefficients)

    @classmethod
    def fit(cls, end: NDArray[np.float64], intervals: CumulativeHazardInterval) -> Self:
        """From the H, (N,), at the end of laws, and what parcels passed of it."""
        coefficients = cls.identity().coefficients
        for number in range(len(STAGES)):
            rows = np.flatnonzero(intervals.stage == number)
            intercept, slope = (
                _fit_line(end[rows], intervals.take(rows)) if len(rows) else coefficients[number]
            )
            if slope < 1.0:
                coefficients[number] = intercept, slope
        return cls(coefficients)

    def apply(
        self, hazards: NDArray[np.float64], stage: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """H (N, K) at the stages (N,) with the share as it counts; the last of each row is its end."""
        intercept, slope = self.coefficients[stage].T
        is_moved = (intercept != 0.0) | (slope != 1.0)
        return np.asarray(
            _with_share(hazards, _logistic(intercept + slope * _logit(hazards[:, -1])), is_moved)
        )


def _fit_line(end: NDArray[np.float64], intervals: CumulativeHazardInterval) -> tuple[float, float]:
    """Intercept and slope, not below 0: a Newton step of the logistic regression a round."""
    logit = _logit(end)
    middle = logit.mean()
    predictors = np.column_stack([np.ones(len(logit)), logit - middle])
    # Of those that arrive, how many come later than a parcel has been open for.
    later = 1.0 - np.expm1(-np.minimum(intervals.upper, end)) / np.minimum(
        np.expm1(-end), -_EPSILON
    )
    line, penalty = np.array([middle, 1.0]), np.diag([0.0, PRIOR])
    for _ in range(EM_ITERATIONS):
        share = _logistic(predictors @ line)
        never = np.where(
            intervals.arrived, 0.0, share / np.maximum(share + (1.0 - share) * later, _EPSILON)
        )
        curvature = (predictors.T * (share * (1.0 - share))) @ predictors + penalty
        step = np.linalg.solve(
            curvature + _EPSILON * np.eye(2),
            predictors.T @ (never - share) - penalty @ (line - [0.0, 1.0]),
        )
        line = np.maximum(line + np.clip(step, -1.0, 1.0), [-_MAX_LOGIT, 0.0])
    return float(line[0] - line[1] * middle), float(line[1])


def _logit(end: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logit of the share exp(-H) that an H (N,) leaves."""
    return np.asarray(-np.log(np.expm1(np.clip(end, _EPSILON, _MAX_LOGIT))))


def _logistic(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


@njit(cache=True)
def _with_share(hazards, share, is_moved):  # type: ignore[no-untyped-def]  # compiled
    """H (N, K) of laws that leave ``share`` (N,) at their end, where that ``is_moved`` (N,): of those that arrive all else stays."""
    result = hazards.copy()
    for i in np.flatnonzero(is_moved):
        end = np.exp(-hazards[i, -1])
        factor = (1.0 - share[i]) / max(1.0 - end, _EPSILON)
        for k in range(hazards.shape[1]):
            result[i, k] = -np.log(share[i] + factor * (np.exp(-hazards[i, k]) - end))
    return result
