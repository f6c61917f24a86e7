"""The explanations of a parcel's silence since its last event, and their probabilities."""

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

#: Futures in which the last reported stage is over, for each one in which it is not.
_MORE_IF_OVER = 4

#: Salts that make the draws of the strata independent of each other.
_SALT_OPEN, _SALT_OVER, _SALT_NUMBER = (np.uint64(number << 40) for number in (1, 2, 3))


@dataclass(frozen=True, eq=False)
class ObservedSilence:
    """R parcels that were last reported in ``stage``, (R,) each.

    The stage started at ``since``; no later event was received until ``now``.
    """

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

        Each stratum is drawn exactly and weighted by its probability, the silence included: the
        stage is not over; it is over and no later event has been received; it has swallowed the
        parcel and that has not been reported; or the number is silent, so that only the shop
        reports.
        """
        is_last_of_shop = self.stage == FIRST_OF_CARRIER - 1
        number = np.where(is_last_of_shop, self.scenario.silent_number, 0.0)
        swallowed = SWALLOWED[self.stage]
        open_share = (1.0 - number) * (1.0 - swallowed)
        # The shop reports the next stage at once: had it started, that would have been received.
        over_share = np.where(self.stage < FIRST_OF_CARRIER - 1, 0.0, open_share)
        silent_share = number * (1.0 - swallowed)
        lost_hours = np.full((len(self.stage), 1), np.inf)
        # P(not reported by now, if the last stage has swallowed the parcel), (R,).
        unreported = np.ones(len(self.stage))
        for stage_number in np.unique(self.stage):
            rows = self.stage == stage_number
            stage = STAGES[stage_number]
            silent_hours = self.now[rows] - self.since[rows]
            reported = stage.end_reported * (1.0 - end_tail(stage, silent_hours))
            unreported[rows] = 1.0 - reported
        lost_weight = (swallowed * unreported)[:, None]
        more_futures = _MORE_IF_OVER * futures
        still_open = self._draw(First.ENDS_AFTER, futures, _SALT_OPEN, open_share)
        over = self._draw(First.ENDS_BEFORE, more_futures, _SALT_OVER, over_share)
        silent = self._draw(First.NOTHING, futures, _SALT_NUMBER, silent_share)
        hours, weights = zip(still_open, over, (lost_hours, lost_weight), silent, strict=True)
        return np.hstack(hours), np.hstack(weights)

    def _draw(
        self, first: First, futures: int, salt: np.uint64, share: Floats
    ) -> tuple[Floats, Floats]:
        """Instants of arrival and weights, (R, M) each, of a stratum.

        Parcels without a ``share`` (R,) of the stratum have weight 0.
        """
        rows = np.flatnonzero(share > 0)
        arrival = np.zeros((len(share), futures))
        weight = np.zeros((len(share), futures))
        if len(rows):
            draws = MomentDraws(self.key[rows] ^ salt, futures)
            arrival[rows], weight[rows] = self.take(rows).moved(first, draws)
        return arrival, weight * share[:, None] / futures

    def take(self, rows: Ints) -> ObservedSilence:
        """Some of the parcels."""
        parcels = self.parcels.take(rows)
        stage, since = self.stage[rows], self.since[rows]
        now, key = self.now[rows], self.key[rows]
        return replace(self, parcels=parcels, stage=stage, since=since, now=now, key=key)

    def moved(self, first: First, draws: MomentDraws) -> tuple[Floats, Floats]:
        """Instants of arrival, and P(silence until now) of each future, (R, M) each."""
        start = Start(self.stage, self.since, first, self.now)
        days = SampledDays(self.days, None)
        weight = np.ones((len(self.stage), draws.futures))
        for step in travel(self.parcels, self.clocks, days, draws, start):
            is_start = (self.stage[step.rows] == step.stage)[:, None]
            weight[step.rows] *= np.where(is_start, step.weight, 1.0)
            if first is First.ENDS_BEFORE:
                is_silent = ~self._is_observed(step, draws)
                weight[step.rows] *= is_start | is_silent
        return step.entered, weight

    def _is_observed(self, step: Step, draws: MomentDraws) -> Bools:
        """Whether an event of the stage, or of its end, has been received by now, (R, M)."""
        now = self.now[step.rows][:, None]
        missing = missing_share(self.parcels, step.stage, self.scenario)[step.rows][:, None]
        is_reported = draws.uniform(step.stage, MISSING, step.rows) >= missing
        slow = slow_share(self.parcels, step.stage)[step.rows][:, None]
        is_slow = draws.uniform(step.stage, SLOW, step.rows) < slow
        lag = lag_hours(is_slow, draws.uniform(step.stage, LAG, step.rows))
        is_received = step.entered + lag <= now
        is_observed = step.taken & is_reported & is_received
        if step.stage < ARRIVAL and step.swallowed.any():
            # Whether the end of a stage that swallows parcels has been received by now, (R, M).
            stage = STAGES[step.stage]
            reported = draws.uniform(step.stage, END_REPORTED, step.rows)
            is_end_reported = reported < stage.end_reported
            delay = end_delay(stage, draws.uniform(step.stage, END_DELAY, step.rows))
            is_end_received = step.entered + delay <= now
            is_observed |= step.swallowed & is_end_reported & is_end_received
        return is_observed
