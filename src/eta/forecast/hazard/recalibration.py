"""What shape a model's laws should have had, learned from what came true.

If the cumulative hazard H of a law is right, H at the arrival is exponential with mean 1 (Cox and
Snell 1968). So the arrivals that fell into each stretch of H are set against the H that parcels at
risk passed in it, open parcels included; the ratio is what a step of H within that stretch counts
from then on. This is the probability integral transform put right (Dawid 1984), for censored
parcels too. Where there are few of them it is shrunk to 1.

People are told days. So an arrival is only placed between the H of the local midnights before and
after it, and shared out over the stretches between them by expectation and maximisation (Dempster,
Laird and Rubin 1977).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.curves import Curves
from eta.domain.errors import ModelCorrupted
from eta.domain.vocabulary import Phase
from eta.forecast.base import HORIZON_DAYS
from eta.journey.features import Features
from eta.journey.state import PHASES

#: Parcels at their purchase, those that are still with the shop, those just scanned on their way
#: and those of which nothing was told for a while are calibrated apart, and so are those that cross
#: a border.
_DOMESTIC_STAGES = ("purchase", "before_handover", "on_the_way", "silent")
STAGES = (*_DOMESTIC_STAGES, *(f"{stage}_abroad" for stage in _DOMESTIC_STAGES))

#: Days without a scan after which a parcel counts as silent.
SILENT_AFTER_DAYS = 0.25

#: Where the stretches of H begin: at these chances of having arrived. The last one has no end.
KNOT_PROBABILITIES = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98])
KNOT_HAZARDS = -np.log1p(-KNOT_PROBABILITIES)
_KNOT_HAZARDS = np.tile(KNOT_HAZARDS, (len(STAGES), 1))

#: Arrivals' worth of trust, in each stretch, that the laws are right: many, for the days ahead are
#: not like those before.
PRIOR = 1_000.0

#: Days of forecasts to learn from, before the fit.
FORECAST_HISTORY_DAYS = 62

#: Of expectation and maximisation.
EM_ITERATIONS = 50

#: So that no law is so sure that a parcel counts for more than all others.
_MAX_PROBABILITY = 1.0 - 1e-9
_TINY = 1e-300
_ORDER_HANDLING = PHASES.index(Phase.ORDER_HANDLING)


@dataclass(frozen=True, eq=False)
class CumulativeHazardInterval:
    """The H, (N,) each, that parcels passed at two moments: before and by the end of the local day of the arrival.

    Of a parcel that is still open both are the last moment at which it was known to be.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    arrived: NDArray[np.bool_]
    #: The stage, a place in ``STAGES``, at which the law was asked for.
    stage: NDArray[np.int64]

    @classmethod
    def from_curves(
        cls,
        curves: Curves,
        features: Features,
        hours: NDArray[np.float64],
        arrived: NDArray[np.bool_],
    ) -> CumulativeHazardInterval:
        """What laws (N,), asked for at moments, say of ``hours`` to the arrival, or for which a parcel was open.

        Days are counted by the clock of the moment: an hour that a change of clocks adds or takes
        later on is left out.
        """
        arrived_in_horizon = arrived & (hours <= 24.0 * HORIZON_DAYS)
        now = features.numbers["local_hour"]
        end = np.where(
            arrived_in_horizon,
            np.floor((hours + now) / 24.0) * 24.0 + 24.0 - now,
            np.minimum(hours, 24.0 * HORIZON_DAYS),
        )
        start = np.where(arrived_in_horizon, end - 24.0, end)
        hazards = -np.log1p(
            -np.minimum(curves.cdf_table(np.column_stack([start, end])), _MAX_PROBABILITY)
        )
        # Whatever arrived before it was asked about arrived on the first day.
        return cls(
            np.where(arrived_in_horizon & (start <= 0.0), 0.0, hazards[:, 0]),
            hazards[:, 1],
            arrived_in_horizon,
            stages(features),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[CumulativeHazardInterval]) -> CumulativeHazardInterval:
        """The parcels of all parts, of which there may be none."""
        empty = cls(np.empty(0), np.empty(0), np.empty(0, dtype=bool), np.empty(0, dtype=np.int64))
        columns = zip(*(vars(part).values() for part in (empty, *parts)), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def take(self, rows: NDArray[np.integer]) -> CumulativeHazardInterval:
        """Some of the parcels."""
        return CumulativeHazardInterval(
            self.lower[rows], self.upper[rows], self.arrived[rows], self.stage[rows]
        )

    def invert(self, recalibration: Recalibration) -> CumulativeHazardInterval:
        """The same of laws before they were calibrated like that."""
        lower, upper = recalibration.invert(np.column_stack([self.lower, self.upper]), self.stage).T
        return replace(self, lower=lower, upper=upper)


@dataclass(frozen=True, eq=False)
class Recalibration:
    """What a step of H counts, (stages, stretches); 1 everywhere where nothing is known."""

    slopes: NDArray[np.float64]

    @classmethod
    def identity(cls) -> Recalibration:
        """The laws as they are."""
        return cls(np.ones((len(STAGES), len(KNOT_HAZARDS))))

    @classmethod
    def from_slopes(cls, slopes: NDArray[np.float64]) -> Recalibration:
        """What was kept.

        Raises:
            ModelCorrupted: if it is of other stages or stretches than ours.
        """
        if slopes.shape != (len(STAGES), len(KNOT_HAZARDS)):
            raise ModelCorrupted(
                "the calibration is of other stages than ours; train the model again"
            )
        return cls(slopes)

    @classmethod
    def fit(cls, intervals: CumulativeHazardInterval, prior: float = PRIOR) -> Recalibration:
        """From the H that parcels passed, uncalibrated; ``prior`` arrivals' worth of trust, in each stretch, hold a slope at 1."""
        slopes = np.ones((len(STAGES), len(KNOT_HAZARDS)))
        for number in range(len(STAGES)):
            in_stage = intervals.take(np.flatnonzero(intervals.stage == number))
            expected = _hazard_by_segment(in_stage.upper).sum(axis=0)
            hazard_at_arrival = _hazard_by_segment(
                in_stage.upper[in_stage.arrived]
            ) - _hazard_by_segment(in_stage.lower[in_stage.arrived])
            for _ in range(EM_ITERATIONS):
                # H of the day of the arrival, as it counts so far; of a day without any H, nothing
                # is known.
                total = hazard_at_arrival @ slopes[number]
                observed = slopes[number] * (
                    (1.0 / np.maximum(-np.expm1(-total), _TINY)) @ hazard_at_arrival
                )
                slopes[number] = (observed + prior) / (expected + prior)
        return cls(slopes)

    def apply(
        self, hazards: NDArray[np.float64], stage: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """H (N, K) as it counts at the stages (N,)."""
        return np.asarray(
            _piecewise_linear(hazards, _KNOT_HAZARDS, self._recalibrated_knots, self.slopes, stage)
        )

    def invert(
        self, hazards: NDArray[np.float64], stage: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """H (N, K) before it was calibrated: the inverse of ``of``."""
        return np.asarray(
            _piecewise_linear(
                hazards, self._recalibrated_knots, _KNOT_HAZARDS, 1.0 / self.slopes, stage
            )
        )

    @cached_property
    def _recalibrated_knots(self) -> NDArray[np.float64]:
        """What H counts where the stretches begin."""
        return np.cumsum(
            np.hstack([np.zeros((len(STAGES), 1)), self.slopes[:, :-1] * np.diff(KNOT_HAZARDS)]),
            axis=1,
        )


@runtime_checkable
class SupportsRecalibration(Protocol):
    """A model whose curves can be corrected by what became of forecasts issued before."""

    @property
    def recalibration(self) -> Recalibration:
        """The correction that its curves carry."""
        ...

    def with_recalibration(self, recalibration: Recalibration) -> Self:
        """The same model with another correction."""
        ...


M = TypeVar("M", bound=SupportsRecalibration)


def recalibrate(fitted: M, issued: CumulativeHazardInterval) -> M:
    """The model, corrected by what became of forecasts that it issued, before any correction."""
    return fitted.with_recalibration(Recalibration.fit(issued))


def stages(features: Features) -> NDArray[np.int64]:
    """The stage of each parcel, (N,), as a place in ``STAGES``; of which the lane is not known, it stays at home."""
    lane = features.categoricals["lane"]
    abroad = np.array([*map(_crosses_border, lane.names), False])
    is_waiting = features.numbers["order_elapsed_days"] > 0.0
    is_silent = features.numbers["silence_days"] > SILENT_AFTER_DAYS
    return np.where(features.numbers["phase"] == _ORDER_HANDLING, is_waiting, 2 + is_silent) + len(
        _DOMESTIC_STAGES
    ) * abroad[lane.codes].astype(np.int64)


@lru_cache(maxsize=10_000)
def _crosses_border(lane: str) -> bool:
    """Whether "AT-9>DE-BY" leads from one country to another."""
    origin, _, destination = lane.partition(">")
    return origin.partition("-")[0] != destination.partition("-")[0]


def _hazard_by_segment(hazards: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of H (N,) lies in each stretch, (N, stretches)."""
    return np.clip(hazards[:, None] - KNOT_HAZARDS, 0.0, np.diff(KNOT_HAZARDS, append=np.inf))


@njit(cache=True)
def _piecewise_linear(hazards, knots, values, slopes, stage):  # type: ignore[no-untyped-def]  # compiled
    """Lines through (starts, values), (stages, stretches) each, that go on with the last slope, at ``hazards`` (N, K), each row of which rises."""
    result = np.empty_like(hazards)
    for i in range(len(hazards)):
        row_stage, segment = stage[i], 0
        for k in range(hazards.shape[1]):
            while segment + 1 < knots.shape[1] and hazards[i, k] >= knots[row_stage, segment + 1]:
                segment += 1
            result[i, k] = (
                values[row_stage, segment]
                + (hazards[i, k] - knots[row_stage, segment]) * slopes[row_stage, segment]
            )
    return result
