"""The generative process of journeys, for many futures at once.

The simulator runs it with one future and the days of the simulated network. The curves of the truth
run it with many futures and days drawn from their distribution. There is no second description of a
journey.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from eta.simulation.clocks import Clocks
from eta.simulation.stages import ASTRAY, STAGES, STRAYED, Floats, Ints, Parcels, Stage

Bools = NDArray[np.bool_]

#: The kinds of random numbers that are drawn for a stage.
FORK, SWALLOW, DURATION, DAY_RADIUS, DAY_ANGLE, MISSING, SLOW, LAG, END_REPORTED, END_DELAY = range(
    10
)
_END_SPREAD = 0.3


class Draws(Protocol):
    """Uniform numbers, (R, M), for parcels ``rows`` at a stage."""

    @property
    def futures(self) -> int:
        """M."""
        ...

    def uniform(self, stage: int, what: int, rows: Ints) -> Floats:
        """The numbers; the same arguments give the same numbers."""
        ...


class Surroundings(Protocol):
    """Hubs and weather."""

    def log_factor(
        self, parcels: Parcels, stage: int, rows: Ints, entered: Floats, draws: Draws
    ) -> Floats:
        """Log of the factor on the median hours of parcels that enter at ``entered`` (R, M)."""
        ...


class First(Enum):
    """What is observed of the first stage of a parcel, which does not swallow it."""

    NOTHING = "nothing"
    #: It ends after the parcel's ``observed_until``.
    ENDS_AFTER = "ends after"
    #: It ends at ``observed_until`` or before.
    ENDS_BEFORE = "ends before"


@dataclass(frozen=True, eq=False)
class Start:
    """The start of R parcels, (R,) each: their stage, its entry, and what is observed of it."""

    stage: Ints
    entered: Floats
    first: First
    observed_until: Floats

    @classmethod
    def at_order(cls, ordered: Floats) -> Start:
        """Parcels just ordered."""
        return cls(np.zeros(len(ordered), dtype=np.int64), ordered, First.NOTHING, ordered)


@dataclass(frozen=True, eq=False)
class Step:
    """One stage of parcels ``rows`` (R,) in M futures, (R, M) each; ``stage`` may be the arrival.

    ``weight`` is the probability of what was observed of the first stage, 1 for parcels that did
    not start here.
    """

    stage: int
    rows: Ints
    entered: Floats
    taken: Bools
    swallowed: Bools
    weight: Floats


def travel(
    parcels: Parcels, clocks: Clocks, surroundings: Surroundings, draws: Draws, start: Start
) -> Iterator[Step]:
    """The stages in order, up to the arrival.

    A parcel that is swallowed enters no further stage: ``entered`` is infinite from then on.
    """
    at = np.repeat(start.entered[:, None], draws.futures, axis=1)
    strayed = np.zeros(at.shape, dtype=bool)
    for number in range(len(STAGES)):
        can_enter = (parcels.fork[:, number] > 0) | (start.stage == number)
        rows = np.flatnonzero((start.stage <= number) & can_enter)
        if not len(rows):
            continue
        entered = at[rows]
        is_first = (start.stage[rows] == number)[:, None]
        enters = strayed[rows] if number == ASTRAY else _forks(parcels, number, rows, draws)
        taken = np.isfinite(entered) & (is_first | enters)
        if number == STRAYED:
            strayed[rows] = taken
        if not taken.any():
            continue
        log_factor = surroundings.log_factor(parcels, number, rows, entered, draws)
        median = parcels.median[rows, number][:, None] * np.exp(log_factor)
        stage_runs = _StageRuns(number, rows, parcels.clock[rows, number], entered, median)
        left, weight = stage_runs.ends(clocks, start, draws)
        swallowed = np.zeros(taken.shape, dtype=bool)
        if STAGES[number].swallowed:
            uniform = draws.uniform(number, SWALLOW, rows)
            swallowed = taken & ~is_first & (uniform < STAGES[number].swallowed)
        next_at = np.where(taken, left, entered)
        at[rows] = np.where(swallowed, np.inf, next_at)
        yield Step(number, rows, entered, taken, swallowed, weight)
    arrives, certain = np.isfinite(at), np.ones(at.shape)
    none_swallowed = np.zeros(at.shape, dtype=bool)
    yield Step(len(STAGES), np.arange(len(at)), at, arrives, none_swallowed, certain)


def _forks(parcels: Parcels, stage: int, rows: Ints, draws: Draws) -> Bools:
    """Whether parcels that have reached the stage enter it, (R, M) or (R, 1)."""
    probability = parcels.fork[rows, stage][:, None]
    if (probability == 1.0).all():
        return np.ones(probability.shape, dtype=bool)
    return draws.uniform(stage, FORK, rows) < probability


@dataclass(frozen=True, eq=False)
class _StageRuns:
    """A stage of parcels ``rows`` (R,): their clocks (R,), entries and median hours (R, M)."""

    stage: int
    rows: Ints
    clock: Ints
    entered: Floats
    median: Floats

    def ends(self, clocks: Clocks, start: Start, draws: Draws) -> tuple[Floats, Floats]:
        """When the stage ends, and the probability of what is observed of it, (R, M) each."""
        spread = STAGES[self.stage].spread
        tail = draws.uniform(self.stage, DURATION, self.rows)
        weight = np.ones(self.entered.shape)
        first = np.empty(0, dtype=np.int64)
        if start.first is not First.NOTHING:
            first = np.flatnonzero(start.stage[self.rows] == self.stage)
        shape = (len(first), self.entered.shape[1])
        observed_until = start.observed_until[self.rows[first]]
        observed_until = np.broadcast_to(observed_until[:, None], shape)
        if len(first):
            observed = clocks.between(self.clock[first], self.entered[first], observed_until)
            longer = _tail(observed, self.median[first], spread)
            if start.first is First.ENDS_AFTER:
                tail[first], weight[first] = tail[first] * longer, longer
            else:
                shorter = 1.0 - longer
                tail[first] = 1.0 - (1.0 - tail[first]) * shorter
                weight[first] = shorter
        hours = self.median * _odds(tail) ** spread
        ends = clocks.after(self.clock, self.entered, hours)
        if start.first is First.ENDS_AFTER:
            # Rounding must not put the end before what was observed.
            ends[first] = np.maximum(ends[first], observed_until)
        return ends, weight


def end_delay(stage: Stage, uniform: Floats) -> Floats:
    """Hours from the entry of a stage that swallows a parcel until the carrier reports its end."""
    return stage.end_median * _odds(1.0 - uniform) ** _END_SPREAD


def end_tail(stage: Stage, hours: Floats) -> Floats:
    """P(``end_delay`` is longer than ``hours``)."""
    return _tail(hours, np.full(hours.shape, stage.end_median), _END_SPREAD)


def _tail(hours: Floats, median: Floats, spread: float) -> Floats:
    """P(a stage lasts longer than ``hours``)."""
    scaled = (hours / median) ** (1.0 / spread)
    return 1.0 / (1.0 + scaled)


def _odds(tail: Floats) -> Floats:
    """(1 - p) / p of a probability of lasting longer."""
    return (1.0 - tail) / np.maximum(tail, 1e-300)


@dataclass(frozen=True, eq=False)
class SeededDraws:
    """One future, from one stream of a seed for each stage and kind of draw."""

    seed: int
    futures: int = 1

    def uniform(self, stage: int, what: int, rows: Ints) -> Floats:
        """Row r gets the r-th number of the stream."""
        random = np.random.default_rng([self.seed, stage, what])
        numbers = random.random(int(rows.max()) + 1)
        return numbers[rows][:, None]


@dataclass(frozen=True, eq=False)
class MomentDraws:
    """M futures of R moments, independent of the other moments in the batch.

    Each dimension is a fixed permutation of M evenly spaced numbers, moved around the circle by a
    number that a hash of the moment's ``key`` (R,) and the dimension gives (Cranley and Patterson
    1976): every number is uniform, numbers of different dimensions are independent, and M of them
    fill the unit interval evenly.
    """

    key: NDArray[np.uint64]
    futures: int

    def uniform(self, stage: int, what: int, rows: Ints) -> Floats:
        """Numbers in (0, 1)."""
        dimension = stage * 97 + what + 1
        salt = np.uint64(dimension * 0x9E3779B97F4A7C15 % 2**64)
        hashed = _mixed(self.key[rows] ^ salt) >> np.uint64(11)
        shift = hashed.astype(np.float64) / 2.0**53
        evenly = _evenly(self.futures, stage, what)
        shifted = (evenly + shift[:, None]) % 1.0
        return np.clip(shifted, 1e-12, 1.0 - 1e-12)


@cache
def _evenly(futures: int, stage: int, what: int) -> Floats:
    random = np.random.default_rng([futures, stage, what])
    return random.permutation(futures) / futures


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    values = values ^ (values >> np.uint64(30))
    values = values * np.uint64(0xBF58476D1CE4E5B9)
    values = values ^ (values >> np.uint64(27))
    values = values * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def moment_keys(shipment: NDArray[np.integer], as_of: NDArray[np.datetime64]) -> NDArray[np.uint64]:
    """One key a moment, (R,)."""
    instant = as_of.astype("datetime64[us]").astype(np.int64).astype(np.uint64)
    shipment_key = _mixed(shipment.astype(np.uint64) + np.uint64(1))
    return _mixed(shipment_key ^ instant)
