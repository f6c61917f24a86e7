"""The ways in which a parcel can have been silent since its last scan, with their probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eta.simulation.clocks import Clocks
from eta.simulation.days import Days, SampledDays
from eta.simulation.emit_events import lag_hours, missing_share, slow_share
from eta.simulation.scenario import Scenario
from eta.simulation.stages import (
    ARRIVAL,
    FIRST_OF_CARRIER,
    STAGES,
    SWALLOWED,
    Floats,
    Ints,
    Parcels,
)
from eta.simulation.travel import (
    END_DELAY,
    END_REPORTED,
    LAG,
    MISSING,
    SLOW,
    Bools,
    First,
    MomentDraws,
    Start,
    Step,
    end_delay,
    end_tail,
    travel,
)

#: Futures in which the last stage told of is over, for each one in which it is not.
_MORE_IF_OVER = 4

#: Draws of the strata are independent of each other.
_SALT_OPEN, _SALT_OVER, _SALT_NUMBER = (np.uint64(number << 40) for number in (1, 2, 3))


@dataclass(frozen=True, eq=False)
class ObservedSilence:
    """R parcels last told of in ``stage``, which started at ``since``, and silent until ``now``; (R,) each."""

    scenario: Scenario
    clocks: Clocks
    days: Days
    parcels: Parcels
    stage: Ints
    since: Floats
    now: Floats
    key: NDArray[np.uint64]

    def arrivals(self, futures: int) -> tuple[Floats, Floats]:
        """Instants of arrival and their weights, (R, M) each.

        Each way is drawn exactly and weighted by its probability, the silence included: the stage
        is not over; it is over and no later scan has been received; it has swallowed the parcel and
        that has not been told; or the number is silent, so that only the shop is heard.
        """
        number = np.where(self.stage == FIRST_OF_CARRIER - 1, self.scenario.silent_number, 0.0)
        swallowed = SWALLOWED[self.stage]
        open_share = (1.0 - number) * (1.0 - swallowed)
        # The shop tells the next stage at once: had it started, it would be known.
        over_share = np.where(self.stage < FIRST_OF_CARRIER - 1, 0.0, open_share)
        ways = [
            self._draw(First.ENDS_AFTER, futures, _SALT_OPEN, open_share),
            self._draw(First.ENDS_BEFORE, _MORE_IF_OVER * futures, _SALT_OVER, over_share),
            (
                np.full((len(self.stage), 1), np.inf),
                (swallowed * self._unreported_probability())[:, None],
            ),
            self._draw(First.NOTHING, futures, _SALT_NUMBER, number * (1.0 - swallowed)),
        ]
        return np.hstack([hours for hours, _ in ways]), np.hstack([weight for _, weight in ways])

    def _unreported_probability(self) -> Floats:
        """P(not told by now, had the last stage swallowed the parcel), (R,)."""
        result = np.ones(len(self.stage))
        for number in np.unique(self.stage):
            rows = self.stage == number
            result[rows] = 1.0 - STAGES[number].end_reported * (
                1.0 - end_tail(STAGES[number], self.now[rows] - self.since[rows])
            )
        return result

    def _draw(
        self, first: First, futures: int, salt: np.uint64, share: Floats
    ) -> tuple[Floats, Floats]:
        """Instants of arrival and weights, (R, M) each, of parcels that have the way's ``share`` (R,); 0 for the others."""
        some = np.flatnonzero(share > 0)
        arrival, weight = np.zeros((len(share), futures)), np.zeros((len(share), futures))
        if len(some):
            arrival[some], weight[some] = self.take(some).moved(
                first, MomentDraws(self.key[some] ^ salt, futures)
            )
        return arrival, weight * share[:, None] / futures

    def take(self, rows: Ints) -> ObservedSilence:
        """Some of the parcels."""
        return replace(
            self,
            parcels=self.parcels.take(rows),
            stage=self.stage[rows],
            since=self.since[rows],
            now=self.now[rows],
            key=self.key[rows],
        )

    def moved(self, first: First, draws: MomentDraws) -> tuple[Floats, Floats]:
        """Instants of arrival, and how likely each future is to have been as silent, (R, M) each."""
        start = Start(self.stage, self.since, first, self.now)
        weight = np.ones((len(self.stage), draws.futures))
        for step in travel(self.parcels, self.clocks, SampledDays(self.days, None), draws, start):
            is_start = (self.stage[step.rows] == step.stage)[:, None]
            weight[step.rows] *= np.where(is_start, step.weight, 1.0)
            if first is First.ENDS_BEFORE:
                weight[step.rows] *= is_start | ~self._is_observed(step, draws)
        return step.entered, weight

    def _is_observed(self, step: Step, draws: MomentDraws) -> Bools:
        """A scan of the stage, or word that the parcel is swallowed in it, has been received by now, (R, M)."""
        rows, number, now = step.rows, step.stage, self.now[step.rows][:, None]
        is_slow = (
            draws.uniform(number, SLOW, rows) < slow_share(self.parcels, number)[rows][:, None]
        )
        received = step.entered + lag_hours(is_slow, draws.uniform(number, LAG, rows))
        is_reported = (
            draws.uniform(number, MISSING, rows)
            >= missing_share(self.parcels, number, self.scenario)[rows][:, None]
        )
        is_observed = step.taken & is_reported & (received <= now)
        if number < ARRIVAL and step.swallowed.any():
            stage = STAGES[number]
            reported_at = step.entered + end_delay(stage, draws.uniform(number, END_DELAY, rows))
            is_observed |= (
                step.swallowed
                & (draws.uniform(number, END_REPORTED, rows) < stage.end_reported)
                & (reported_at <= now)
            )
        return is_observed
