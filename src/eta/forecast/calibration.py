"""How wide a model's laws should have been, learned from days on which it had not been fitted.

If the cumulative hazard H of a law is right, H at the arrival is exponential with mean 1 (Cox and Snell 1968). So the
arrivals that fell into each stretch of H are set against the H that parcels at risk passed in it, open parcels
included; the ratio is what a step of H within that stretch counts from then on. This is the probability integral
transform put right (Dawid 1984), for censored parcels too. Where there are few of them it is shrunk to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.domain.errors import ModelCorrupted
from eta.domain.vocabulary import Phase
from eta.journey.features import Features
from eta.journey.state import PHASES

#: Parcels that are still with the shop and those on their way are calibrated apart, and so are those that cross a border.
STAGES = ("before_handover", "on_the_way", "before_handover_abroad", "on_the_way_abroad")
#: Where the stretches of H begin: at these chances of having arrived. The last one has no end.
CHANCES = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98])
STARTS = -np.log1p(-CHANCES)
_STARTS = np.tile(STARTS, (len(STAGES), 1))
#: Arrivals' worth of trust, in each stretch, that the law is right.
PRIOR = 50.0
#: Days of forecasts to learn from, before the fit.
PAST_DAYS = 62

_SHOP = PHASES.index(Phase.ORDER_HANDLING)


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a step of H counts, (stages, stretches); 1 everywhere where nothing is known."""

    slopes: NDArray[np.float64]

    @classmethod
    def none(cls) -> Calibration:
        """The laws as they are."""
        return cls(np.ones((len(STAGES), len(STARTS))))

    @classmethod
    def of_slopes(cls, slopes: NDArray[np.float64]) -> Calibration:
        """What was kept.

        Raises:
            ModelCorrupted: if it is of other stages or stretches than ours.
        """
        if slopes.shape != (len(STAGES), len(STARTS)):
            raise ModelCorrupted("the calibration is of other stages than ours; train the model again")
        return cls(slopes)

    @classmethod
    def learn(cls, hazards: NDArray[np.float64], arrived: NDArray[np.bool_], stage: NDArray[np.integer]) -> Calibration:
        """From the H (N,) that parcels passed, uncalibrated, up to the arrival where ``arrived``, else up to when they were last known to be open."""
        slopes = np.ones((len(STAGES), len(STARTS)))
        for number in range(len(STAGES)):
            passed, came = hazards[stage == number], hazards[(stage == number) & arrived]
            expected = np.clip(passed[:, None] - STARTS, 0.0, np.diff(STARTS, append=np.inf)).sum(axis=0)
            seen = np.bincount(np.searchsorted(STARTS, came, side="right") - 1, minlength=len(STARTS))
            slopes[number] = (seen + PRIOR) / (expected + PRIOR)
        return cls(slopes)

    def of(self, hazards: NDArray[np.float64], stage: NDArray[np.integer]) -> NDArray[np.float64]:
        """H (N, K) as it counts at the stages (N,)."""
        return np.asarray(_along(hazards, _STARTS, self._counted, self.slopes, stage))

    def undone(self, hazards: NDArray[np.float64], stage: NDArray[np.integer]) -> NDArray[np.float64]:
        """H (N, K) before it was calibrated: the inverse of ``of``."""
        return np.asarray(_along(hazards, self._counted, _STARTS, 1.0 / self.slopes, stage))

    @cached_property
    def _counted(self) -> NDArray[np.float64]:
        """What H counts where the stretches begin."""
        return np.cumsum(np.hstack([np.zeros((len(STAGES), 1)), self.slopes[:, :-1] * np.diff(STARTS)]), axis=1)


@runtime_checkable
class Calibrates(Protocol):
    """A model that is told how wide its laws should have been."""

    calibration_: Calibration


def stages(features: Features) -> NDArray[np.int64]:
    """The stage of each parcel, (N,), as a place in ``STAGES``; of which the lane is not known, it stays at home."""
    lane = features.labels["lane"]
    abroad = np.array([*map(_crosses, lane.names), False])
    return (features.numbers["phase"] != _SHOP) + 2 * abroad[lane.codes].astype(np.int64)


@lru_cache(maxsize=10_000)
def _crosses(lane: str) -> bool:
    """Whether "AT-9>DE-BY" leads from one country to another."""
    origin, _, destination = lane.partition(">")
    return origin.partition("-")[0] != destination.partition("-")[0]


@njit(cache=True)
def _along(hazards, starts, values, slopes, stage):  # type: ignore[no-untyped-def]  # compiled
    """Lines through (starts, values), (stages, stretches) each, that go on with the last slope, at ``hazards`` (N, K)."""
    result = np.empty_like(hazards)
    for i in range(len(hazards)):
        own = stage[i]
        for k in range(hazards.shape[1]):
            stretch = np.searchsorted(starts[own], hazards[i, k], side="right") - 1
            result[i, k] = values[own, stretch] + (hazards[i, k] - starts[own, stretch]) * slopes[own, stretch]
    return result
