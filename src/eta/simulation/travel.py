"""The one generative process: how parcels move on, many futures at once.

The simulator runs it with one future and the world's own days; the laws run it with many futures
and days drawn from the world's law. There is no second description of a journey.
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

#: What is drawn for a stage.
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
        """The numbers; the same for the same question."""
        ...


class Surroundings(Protocol):
    """Hubs and weather."""

    def log_factor(
        self, parcels: Parcels, stage: int, rows: Ints, entered: Floats, draws: Draws
    ) -> Floats:
        """Log of how much longer the stage takes for parcels ``rows`` that enter at ``entered`` (R, M)."""
        ...


class First(Enum):
    """What is known of the stage in which a parcel starts, beside that it does not swallow the parcel."""

    NOTHING = "nothing"
    #: It ends after the parcel's ``observed_until``.
    ENDS_AFTER = "ends after"
    #: It ends at ``observed_until`` or before.
    ENDS_BEFORE = "ends before"


@dataclass(frozen=True, eq=False)
class Start:
    """Where R parcels start, (R,) each: in ``stage``, entered at ``entered``, with ``first`` known of that stage."""

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

    ``weight`` is the probability of what was known of the first stage, 1 for parcels that did not
    start here.
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
    """The stages in order, up to the arrival; a parcel that is swallowed enters no further stage (``entered`` is infinite)."""
    at = np.repeat(start.entered[:, None], draws.futures, axis=1)
    strayed = np.zeros(at.shape, dtype=bool)
    for number, stage in enumerate(STAGES):
        rows = np.flatnonzero(
            (start.stage <= number) & ((parcels.fork[:, number] > 0) | (start.stage == number))
        )
        if not len(rows):
            continue
        entered, is_first = at[rows], (start.stage[rows] == number)[:, None]
        taken = np.isfinite(entered) & (
            is_first | (strayed[rows] if number == ASTRAY else _forks(parcels, number, rows, draws))
        )
        if number == STRAYED:
            strayed[rows] = taken
        if not taken.any():
            continue
        median = parcels.median[rows, number][:, None] * np.exp(
            surroundings.log_factor(parcels, number, rows, entered, draws)
        )
        left, weight = _ends(
            parcels.clock[rows, number], clocks, entered, median, number, rows, start, draws
        )
        swallowed = np.zeros(taken.shape, dtype=bool)
        if stage.swallowed:
            swallowed = taken & ~is_first & (draws.uniform(number, SWALLOW, rows) < stage.swallowed)
        at[rows] = np.where(swallowed, np.inf, np.where(taken, left, entered))
        yield Step(number, rows, entered, taken, swallowed, weight)
    every = np.arange(len(parcels))
    yield Step(
        len(STAGES), every, at, np.isfinite(at), np.zeros(at.shape, dtype=bool), np.ones(at.shape)
    )


def _forks(parcels: Parcels, stage: int, rows: Ints, draws: Draws) -> Bools:
    """Whether parcels that have come that far enter the stage, (R, M) or (R, 1)."""
    probability = parcels.fork[rows, stage][:, None]
    return (
        np.ones(probability.shape, dtype=bool)
        if (probability == 1.0).all()
        else draws.uniform(stage, FORK, rows) < probability
    )


def _ends(
    clock: Ints,
    clocks: Clocks,
    entered: Floats,
    median: Floats,
    stage: int,
    rows: Ints,
    start: Start,
    draws: Draws,
) -> tuple[Floats, Floats]:
    """When a stage ends, and the probability of what is known of it, (R, M) each."""
    spread = STAGES[stage].spread
    tail, weight = draws.uniform(stage, DURATION, rows), np.ones(entered.shape)
    first = (
        np.flatnonzero(start.stage[rows] == stage)
        if start.first is not First.NOTHING
        else np.empty(0, dtype=np.int64)
    )
    observed_until = np.broadcast_to(
        start.observed_until[rows[first]][:, None], (len(first), entered.shape[1])
    )
    if len(first):
        longer = _tail(
            clocks.between(clock[first], entered[first], observed_until), median[first], spread
        )
        if start.first is First.ENDS_AFTER:
            tail[first], weight[first] = tail[first] * longer, longer
        else:
            tail[first], weight[first] = 1.0 - (1.0 - tail[first]) * (1.0 - longer), 1.0 - longer
    ends = clocks.after(clock, entered, median * _odds(tail) ** spread)
    if start.first is First.ENDS_AFTER:
        # Rounding never turns the clock back.
        ends[first] = np.maximum(ends[first], observed_until)
    return ends, weight


def end_delay(stage: Stage, uniform: Floats) -> Floats:
    """Hours from the entry of a stage that swallows a parcel until that is told at once."""
    return stage.end_median * _odds(1.0 - uniform) ** _END_SPREAD


def end_tail(stage: Stage, hours: Floats) -> Floats:
    """P(``end_delay`` is longer than ``hours``)."""
    return _tail(hours, np.full(hours.shape, stage.end_median), _END_SPREAD)


def _tail(hours: Floats, median: Floats, spread: float) -> Floats:
    """P(a stage lasts longer than ``hours``)."""
    return 1.0 / (1.0 + (hours / median) ** (1.0 / spread))


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
        numbers = np.random.default_rng([self.seed, stage, what]).random(int(rows.max()) + 1)
        return numbers[rows][:, None]


@dataclass(frozen=True, eq=False)
class MomentDraws:
    """M futures of R moments, the same whatever other moments are asked about.

    Each dimension is a fixed permutation of M evenly spaced numbers, moved around the circle by a
    number that a hash of the moment's ``key`` (R,) and the dimension gives (Cranley and Patterson
    1976): every number is uniform, numbers of different dimensions are independent, and M of them
    fill the unit interval evenly.
    """

    key: NDArray[np.uint64]
    futures: int

    def uniform(self, stage: int, what: int, rows: Ints) -> Floats:
        """Numbers in (0, 1)."""
        salt = np.uint64((stage * 97 + what + 1) * 0x9E3779B97F4A7C15 % 2**64)
        shift = (_mixed(self.key[rows] ^ salt) >> np.uint64(11)).astype(np.float64) / 2.0**53
        return np.clip(
            (_evenly(self.futures, stage, what) + shift[:, None]) % 1.0, 1e-12, 1.0 - 1e-12
        )


@cache
def _evenly(futures: int, stage: int, what: int) -> Floats:
    return np.random.default_rng([futures, stage, what]).permutation(futures) / futures


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def moment_keys(shipment: NDArray[np.integer], as_of: NDArray[np.datetime64]) -> NDArray[np.uint64]:
    """One number, (R,), a moment."""
    instant = as_of.astype("datetime64[us]").astype(np.int64).astype(np.uint64)
    return _mixed(_mixed(shipment.astype(np.uint64) + np.uint64(1)) ^ instant)
