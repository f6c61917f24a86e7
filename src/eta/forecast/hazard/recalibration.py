"""Recalibration: corrects the shape of a model's curves by what became of its forecasts.

If the cumulative hazard H of a distribution is right, H at the arrival is exponential with mean 1
(Cox and Snell 1968). So the arrivals in each segment of H are compared with the H that parcels at
risk passed through in it, open parcels included. Their ratio is the slope with which a step of H in
that segment counts from then on. This recalibrates the probability integral transform (Dawid 1984),
for censored parcels too. With few parcels the slope is shrunk to 1.

Customers see days. So an arrival is only placed between the H of the local midnights before and
after it, and distributed over the segments between them by expectation and maximisation (Dempster,
Laird and Rubin 1977).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
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


class Stage(IntEnum):
    """Stages that are recalibrated apart; the number is the row of the slopes.

    Parcels at their purchase, those still at the shop, those scanned recently and those without a
    scan for a while; each at home and across a border.
    """

    PURCHASE = 0
    BEFORE_HANDOVER = 1
    ON_THE_WAY = 2
    SILENT = 3
    PURCHASE_ABROAD = 4
    BEFORE_HANDOVER_ABROAD = 5
    ON_THE_WAY_ABROAD = 6
    SILENT_ABROAD = 7


#: The names of the stages, in their order.
STAGES = tuple(stage.name.lower() for stage in Stage)

#: Stages of parcels that stay at home; those across a border follow in the same order.
_DOMESTIC_STAGES = int(Stage.PURCHASE_ABROAD)
_ON_THE_WAY = int(Stage.ON_THE_WAY)

#: Days without a scan after which a parcel counts as silent.
SILENT_AFTER_DAYS = 0.25

#: Probabilities of having arrived at which the segments of H begin. The last one has no end.
KNOT_PROBABILITIES = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98])
KNOT_HAZARDS = -np.log1p(-KNOT_PROBABILITIES)
_KNOT_HAZARDS = np.tile(KNOT_HAZARDS, (len(STAGES), 1))

#: Weight, in arrivals a segment, of the assumption that the curves are right. It is high because
#: the days ahead differ from those before.
PRIOR = 1_000.0

#: Days of forecasts, before the fit, that a recalibration learns from.
FORECAST_HISTORY_DAYS = 62

#: Rounds of expectation and maximisation.
EM_ITERATIONS = 50

#: Keeps a curve from being so certain that one parcel outweighs all others.
_MAX_PROBABILITY = 1.0 - 1e-9
_TINY = 1e-300
_HORIZON_HOURS = 24.0 * HORIZON_DAYS
_ORDER_HANDLING = PHASES.index(Phase.ORDER_HANDLING)


@dataclass(frozen=True, eq=False)
class CumulativeHazardInterval:
    """The H, (N,) each, between which parcels arrived: before and by the end of their local day.

    For a parcel that is still open both are the H at the last moment at which it was open.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    arrived: NDArray[np.bool_]
    #: The ``Stage`` at the time of the forecast.
    stage: NDArray[np.int64]

    @classmethod
    def from_curves(
        cls,
        curves: Curves,
        features: Features,
        hours: NDArray[np.float64],
        arrived: NDArray[np.bool_],
    ) -> CumulativeHazardInterval:
        """The intervals of forecasts (N,) with ``hours`` until the arrival, or while still open.

        Days are counted by the clock at the time of the forecast: a later change to or from summer
        time is ignored.
        """
        arrived_in_horizon = arrived & (hours <= _HORIZON_HOURS)
        hour_of_day = features.numbers["local_hour"]
        whole_days = np.floor((hours + hour_of_day) / 24.0)
        next_midnight = whole_days * 24.0 + 24.0 - hour_of_day
        open_until = np.minimum(hours, _HORIZON_HOURS)
        end = np.where(arrived_in_horizon, next_midnight, open_until)
        start = np.where(arrived_in_horizon, end - 24.0, end)
        probabilities = curves.cdf_table(np.column_stack([start, end]))
        probabilities = np.minimum(probabilities, _MAX_PROBABILITY)
        lower, upper = -np.log1p(-probabilities).T
        # A parcel that arrived before its forecast counts as arrived on the first day.
        arrived_on_first_day = arrived_in_horizon & (start <= 0.0)
        lower = np.where(arrived_on_first_day, 0.0, lower)
        return cls(lower, upper, arrived_in_horizon, stages(features))

    @classmethod
    def concatenate(cls, parts: Sequence[CumulativeHazardInterval]) -> CumulativeHazardInterval:
        """The parcels of all parts; without parts there are none."""
        empty = cls(np.empty(0), np.empty(0), np.empty(0, dtype=bool), np.empty(0, dtype=np.int64))
        parts = [empty, *parts]
        lower = np.concatenate([part.lower for part in parts])
        upper = np.concatenate([part.upper for part in parts])
        arrived = np.concatenate([part.arrived for part in parts])
        stage = np.concatenate([part.stage for part in parts])
        return cls(lower, upper, arrived, stage)

    def take(self, rows: NDArray[np.integer]) -> CumulativeHazardInterval:
        """Some of the parcels."""
        return CumulativeHazardInterval(
            self.lower[rows], self.upper[rows], self.arrived[rows], self.stage[rows]
        )

    def invert(self, recalibration: Recalibration) -> CumulativeHazardInterval:
        """The intervals of the same curves before this recalibration."""
        hazards = np.column_stack([self.lower, self.upper])
        lower, upper = recalibration.invert(hazards, self.stage).T
        return replace(self, lower=lower, upper=upper)


@dataclass(frozen=True, eq=False)
class Recalibration:
    """Slopes, (stages, segments), with which a step of H counts; 1 leaves it as it is."""

    slopes: NDArray[np.float64]

    @classmethod
    def identity(cls) -> Recalibration:
        """The recalibration that changes nothing."""
        return cls(np.ones((len(STAGES), len(KNOT_HAZARDS))))

    @classmethod
    def from_slopes(cls, slopes: NDArray[np.float64]) -> Recalibration:
        """The recalibration with stored slopes.

        Raises:
            ModelCorrupted: if they belong to other stages or segments than those of this release.
        """
        if slopes.shape != (len(STAGES), len(KNOT_HAZARDS)):
            raise ModelCorrupted(
                "the recalibration has other stages than this release; train the model again"
            )
        return cls(slopes)

    @classmethod
    def fit(cls, intervals: CumulativeHazardInterval, prior: float = PRIOR) -> Recalibration:
        """The slopes of forecasts before recalibration.

        ``prior`` is the weight, in arrivals a segment, of a slope of 1.
        """
        fitted = cls.identity()
        for stage in Stage:
            of_stage = intervals.take(np.flatnonzero(intervals.stage == stage))
            expected = _hazard_by_segment(of_stage.upper).sum(axis=0)
            arrived = of_stage.take(np.flatnonzero(of_stage.arrived))
            before, by_end = _hazard_by_segment(arrived.lower), _hazard_by_segment(arrived.upper)
            hazard_on_day = by_end - before
            slopes = np.ones(len(KNOT_HAZARDS))
            # Expectation and maximisation.
            for _ in range(EM_ITERATIONS):
                # The recalibrated H of the day of the arrival; without any H the day says nothing.
                probability = -np.expm1(-(hazard_on_day @ slopes))
                weight = 1.0 / np.maximum(probability, _TINY)
                observed = slopes * (weight @ hazard_on_day)
                slopes = (observed + prior) / (expected + prior)
            fitted.slopes[stage] = slopes
        return fitted

    def apply(
        self, hazards: NDArray[np.float64], stage: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Recalibrated H (N, K) at the stages (N,)."""
        knots = self._recalibrated_knots
        return np.asarray(_piecewise_linear(hazards, _KNOT_HAZARDS, knots, self.slopes, stage))

    def invert(
        self, hazards: NDArray[np.float64], stage: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """H (N, K) before recalibration: the inverse of ``apply``."""
        inverse_slopes = 1.0 / self.slopes
        knots = self._recalibrated_knots
        return np.asarray(_piecewise_linear(hazards, knots, _KNOT_HAZARDS, inverse_slopes, stage))

    @cached_property
    def _recalibrated_knots(self) -> NDArray[np.float64]:
        """The recalibrated H where the segments begin, (stages, segments)."""
        segment_hazards = self.slopes[:, :-1] * np.diff(KNOT_HAZARDS)
        first_knots = np.zeros((len(STAGES), 1))
        return np.cumsum(np.hstack([first_knots, segment_hazards]), axis=1)


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
    """The ``Stage`` of each parcel, (N,); a parcel whose lane is unknown counts as domestic."""
    lane = features.categoricals["lane"]
    crosses_border = [_crosses_border(name) for name in lane.names]
    is_abroad = np.array([*crosses_border, False])[lane.codes]
    is_waiting = features.numbers["order_elapsed_days"] > 0.0
    is_silent = features.numbers["silence_days"] > SILENT_AFTER_DAYS
    is_before_handover = features.numbers["phase"] == _ORDER_HANDLING
    domestic_stage = np.where(is_before_handover, is_waiting, _ON_THE_WAY + is_silent)
    return domestic_stage + _DOMESTIC_STAGES * is_abroad.astype(np.int64)


@lru_cache(maxsize=10_000)
def _crosses_border(lane: str) -> bool:
    """Whether a lane such as "AT-9>DE-BY" leads from one country to another."""
    origin, _, destination = lane.partition(">")
    return origin.partition("-")[0] != destination.partition("-")[0]


def _hazard_by_segment(hazards: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of H (N,) that lies in each segment, (N, segments)."""
    lengths = np.diff(KNOT_HAZARDS, append=np.inf)
    return np.clip(hazards[:, None] - KNOT_HAZARDS, 0.0, lengths)


@njit(cache=True, nogil=True)
def _piecewise_linear(hazards, knots, values, slopes, stage):  # type: ignore[no-untyped-def]  # compiled
    """Piecewise linear functions of ``hazards`` (N, K), whose rows rise.

    They pass through (knots, values), (stages, segments) each, and continue with the last slope.
    """
    result = np.empty_like(hazards)
    for i in range(len(hazards)):
        row, segment = stage[i], 0
        for k in range(hazards.shape[1]):
            while segment + 1 < knots.shape[1] and hazards[i, k] >= knots[row, segment + 1]:
                segment += 1
            rise = (hazards[i, k] - knots[row, segment]) * slopes[row, segment]
            result[i, k] = values[row, segment] + rise
    return result
