"""The truth behind simulated parcels, and the two laws that a forecast is judged by.

``oracle_curve`` knows all that has happened in the network by ``as_of``: how good anyone could be.
``scan_conditional_curve`` knows one parcel's scans: what calibration means. Both let ``travel``, the process that
made the world, make more of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.local_time import to_instant
from eta.curves import Curves
from eta.simulation.clocks import DAYS_BEFORE, Clocks
from eta.simulation.days import Days, SampledDays
from eta.simulation.network import CITIES
from eta.simulation.observed_silence import ObservedSilence
from eta.simulation.scenario import Scenario, hours_since
from eta.simulation.stages import (
    ARRIVAL,
    LINEHAUL,
    NAMES,
    PLACES,
    REDIRECTED,
    STAGES,
    STRAYED,
    Floats,
    Ints,
    Parcels,
)
from eta.simulation.travel import First, MomentDraws, Start, Step, moment_keys, travel

JOURNEYS_FILE, HUBS_FILE, WEATHER_FILE, SCENARIO_FILE = (
    "truth_journeys.parquet",
    "truth_hubs.parquet",
    "truth_weather.parquet",
    "scenario.json",
)
SHIPMENTS_FILE, EVENTS_FILE = "shipments.parquet", "events.parquet"

#: Futures a moment, and moments at a time.
FUTURES, _BATCH_SIZE = 200, 1000
#: What comes later than this many hours never comes; the last knot of every curve that has such
#: futures.
_MAX_HOURS = 400 * 24.0
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, eq=False)
class Truth:
    """What is hidden behind N simulated shipments, in the order of their ids.

    ``journeys`` has one row a shipment: ``entered_<stage>_at``, ``place_<stage>``,
    ``first_attempt_at``, ``swallowed_in`` and flags. Arrays are derived from it.
    """

    scenario: Scenario
    journeys: pd.DataFrame
    days: Days
    clocks: Clocks
    parcels: Parcels
    #: Hours since the scenario's start, (N, stages + 1), NaN where never; the last column is the
    #: arrival.
    entered: Floats
    #: The stage that swallows the parcel, (N,), or -1.
    swallowed_in: Ints
    #: Scans: shipment, stage that starts (``ARRIVAL`` for all that ends the wait), and both times,
    #: sorted by shipment.
    scan_row: Ints
    scan_stage: Ints
    scan_occurred: Floats
    scan_received: Floats

    @classmethod
    def build(
        cls,
        scenario: Scenario,
        shipments: pd.DataFrame,
        events: pd.DataFrame,
        journeys: pd.DataFrame,
        days: Days,
    ) -> Truth:
        """From frames sorted by ``shipment_id``."""
        times = [*(f"entered_{name}_at" for name in NAMES), "first_attempt_at"]
        row = pd.Index(shipments["shipment_id"]).get_indexer(pd.Index(events["shipment_id"]))
        raw = pd.Index(list(_STAGE_OF)).get_indexer(pd.Index(events["raw_code"]))
        stage = np.array([*_STAGE_OF.values(), ARRIVAL])[raw]
        order = np.argsort(row, kind="stable")
        return cls(
            scenario,
            journeys,
            days,
            Clocks.build(scenario.first_day, scenario.days),
            Parcels.build(shipments, scenario),
            np.column_stack([hours_since(journeys[name], scenario) for name in times]),
            pd.Index(NAMES).get_indexer(pd.Index(journeys["swallowed_in"])).astype(np.int64),
            row[order],
            stage[order],
            hours_since(events["occurred_at"], scenario)[order],
            hours_since(events["received_at"], scenario)[order],
        )

    @classmethod
    def load(cls, folder: Path) -> Truth:
        """The truth beside simulated shipments and events."""
        scenario = Scenario.from_json(
            json.loads((folder / SCENARIO_FILE).read_text(encoding="utf-8"))["scenario"]
        )
        congestion, weather = (
            pd.read_parquet(folder / name).drop(columns="day").to_numpy().T
            for name in (HUBS_FILE, WEATHER_FILE)
        )
        shipments, events, journeys = (
            pd.read_parquet(folder / name) for name in (SHIPMENTS_FILE, EVENTS_FILE, JOURNEYS_FILE)
        )
        return cls.build(
            scenario, shipments, events, journeys, Days.build(scenario, congestion, weather)
        )

    def files(self) -> dict[str, bytes]:
        """Content of the files that ``load`` reads beside shipments and events, but for the scenario."""
        first = to_instant(self.scenario.start) - DAYS_BEFORE * _DAY
        day = pd.Series(first + np.arange(self.days.congestion.shape[1]) * _DAY)
        hubs = pd.DataFrame(self.days.congestion.T, columns=list(PLACES)).assign(day=day)
        weather = pd.DataFrame(
            self.days.weather.T, columns=[f"{city.country} {city.name}" for city in CITIES]
        ).assign(day=day)
        return {
            JOURNEYS_FILE: parquet(self.journeys),
            HUBS_FILE: parquet(hubs),
            WEATHER_FILE: parquet(weather),
        }

    def rows(self, shipment_id: NDArray[np.object_]) -> Ints:
        """The rows of shipments; -1 for strangers."""
        return (
            pd.Index(self.journeys["shipment_id"])
            .get_indexer(pd.Index(shipment_id))
            .astype(np.int64)
        )

    def oracle_curve(
        self, rows: Ints, as_of: NDArray[np.datetime64], *, futures: int = FUTURES
    ) -> Curves:
        """The law of the hours left until the first attempt, (R,), given the full hidden state at ``as_of`` (UTC).

        Conditioned on: the shipment's facts; the stage in which the parcel truly is, when it was
        entered, whether it has been swallowed there (then it never arrives) or has strayed; the
        congestion and weather of all UTC days up to and including that of ``as_of``. As stages are
        a semi-Markov chain and days a Markov chain, nothing earlier matters. The current stage is
        continued exactly from its tail; what follows (durations, later days, forks, later losses)
        is integrated over ``futures`` futures, drawn by moment. A parcel that has arrived has 0
        hours left.
        """
        return _in_parts(rows, as_of, lambda some, at: self._oracle(some, at, futures))

    def scan_conditional_curve(
        self, rows: Ints, as_of: NDArray[np.datetime64], *, futures: int = FUTURES
    ) -> Curves:
        """The law of the hours left until the first attempt, (R,), given one parcel's scans received by ``as_of`` (UTC).

        Conditioned on: the shipment's facts; the latest stage told of and when it started, its
        clock taken at its word; and that by ``as_of`` no scan of a later stage, and no word that
        the parcel is lost, cancelled or on its way back, had been received, given how often scans
        are missing or late. Hubs and weather have their stationary laws; strayed and swallowed
        parcels and silent numbers have their shares, reweighted by the silence (``ObservedSilence``). Not
        used: how long earlier stages took, other parcels' scans, what may be told after an arrival
            that is not told,
        and the chances of a wrong clock and of a foreign number. An arrival not yet told of counts
        as 0 hours left.
        """
        return _in_parts(rows, as_of, lambda some, at: self._scan_conditional(some, at, futures))

    def state(self, rows: Ints, as_of: NDArray[np.datetime64]) -> Ints:
        """The stage in which parcels truly are, (R,); ``ARRIVAL`` once they have arrived."""
        entered = self.entered[rows] <= self._hours(as_of)[:, None]
        return np.maximum(ARRIVAL - np.argmax(entered[:, ::-1], axis=1), 0) * entered.any(axis=1)

    def hours_left(self, rows: Ints, as_of: NDArray[np.datetime64]) -> Floats:
        """What comes true, (R,): hours to the first attempt, 0 if it is over, infinite if there is none."""
        left = np.maximum(self.entered[rows, ARRIVAL] - self._hours(as_of), 0.0)
        return np.where(np.isnan(left), np.inf, left)

    def _hours(self, as_of: NDArray[np.datetime64]) -> Floats:
        return (as_of.astype("datetime64[us]") - to_instant(self.scenario.start)) / np.timedelta64(
            1, "h"
        )

    def _oracle(self, rows: Ints, as_of: NDArray[np.datetime64], futures: int) -> Curves:
        now, stage = self._hours(as_of), self.state(rows, as_of)
        left = np.zeros((len(rows), futures))
        left[self.swallowed_in[rows] == stage] = np.inf
        on_way = np.flatnonzero((stage < ARRIVAL) & (self.swallowed_in[rows] != stage))
        if len(on_way):
            moving, at = rows[on_way], now[on_way]
            start = Start(stage[on_way], self.entered[moving, stage[on_way]], First.ENDS_AFTER, at)
            draws = MomentDraws(moment_keys(moving, as_of[on_way]), futures)
            arrival = _arrival(
                travel(
                    self.parcels.take(moving), self.clocks, SampledDays(self.days, at), draws, start
                )
            )
            left[on_way] = np.maximum(arrival - at[:, None], 0.0)
        return weighted_curves(left, np.full(left.shape, 1.0))

    def _scan_conditional(self, rows: Ints, as_of: NDArray[np.datetime64], futures: int) -> Curves:
        now = self._hours(as_of)
        last_stage, since = self._last_reported(rows, now)
        strayed = self.scenario.misrouted
        # A truck's departure does not say where to: both paths are followed.
        leaves = last_stage == STRAYED
        paths = (
            (
                np.where(leaves, LINEHAUL, last_stage),
                np.where(leaves, 1.0 - strayed, 1.0),
                last_stage != ARRIVAL,
            ),
            (last_stage, np.full(len(rows), strayed), leaves),
        )
        left, weights = [np.zeros((len(rows), 1))], [(last_stage == ARRIVAL)[:, None] * 1.0]
        for stage, prior, follows in paths:
            some = np.flatnonzero(follows)
            if not len(some):
                continue
            key = moment_keys(rows[some], as_of[some]) ^ (
                stage[some].astype(np.uint64) << np.uint64(50)
            )
            silence = ObservedSilence(
                self.scenario,
                self.clocks,
                self.days,
                self.parcels.take(rows[some]),
                stage[some],
                since[some],
                now[some],
                key,
            )
            arrival, weight = silence.arrivals(futures)
            hours, mass = (
                np.zeros((len(rows), arrival.shape[1])),
                np.zeros((len(rows), arrival.shape[1])),
            )
            hours[some], mass[some] = (
                np.maximum(arrival - now[some][:, None], 0.0),
                weight * prior[some][:, None],
            )
            left.append(hours)
            weights.append(mass)
        return weighted_curves(np.hstack(left), np.hstack(weights))

    def _last_reported(self, rows: Ints, now: Floats) -> tuple[Ints, Floats]:
        """The latest stage told of by ``now`` and when it started, (R,) each; ``STRAYED`` stands for any departure."""
        first, last = (
            np.searchsorted(self.scan_row, rows, side="left"),
            np.searchsorted(self.scan_row, rows, side="right"),
        )
        count = last - first
        owner = np.repeat(np.arange(len(rows)), count)
        scan = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[owner]
        is_received = self.scan_received[scan] <= now[owner]
        owner, scan = owner[is_received], scan[is_received]
        order = np.lexsort((scan, self.scan_stage[scan], owner))
        owner, scan = owner[order], scan[order]
        is_last = (
            np.append(owner[1:] != owner[:-1], True) if len(owner) else np.empty(0, dtype=bool)
        )
        stage, since = np.zeros(len(rows), dtype=np.int64), now.copy()
        stage[owner[is_last]], since[owner[is_last]] = (
            self.scan_stage[scan[is_last]],
            self.scan_occurred[scan[is_last]],
        )
        return stage, np.minimum(since, now)


#: The stage that the carrier's code says has started.
_STAGE_OF: Mapping[str, int] = {
    stage.raw: number for number, stage in enumerate(STAGES) if number != LINEHAUL
} | {REDIRECTED: LINEHAUL}


def weighted_curves(hours: Floats, weights: Floats) -> Curves:
    """The laws of weighted futures, both (R, M); one beyond ``_MAX_HOURS`` never arrives.

    A knot stands at each future, half of whose weight is then passed; an atom at 0 hours is a jump.
    """
    order = np.argsort(hours, axis=1, kind="stable")
    ranked, mass = (
        np.take_along_axis(hours, order, axis=1),
        np.take_along_axis(weights, order, axis=1),
    )
    mass = mass / mass.sum(axis=1, keepdims=True)
    arrives = ranked < _MAX_HOURS
    until = np.cumsum(mass, axis=1)
    total = np.minimum((mass * arrives).sum(axis=1, keepdims=True), 1.0)
    cdf = np.where(ranked <= 0.0, until, until - mass / 2.0)
    return Curves.from_knots(
        np.where(arrives, ranked, _MAX_HOURS),
        np.maximum.accumulate(np.where(arrives, np.minimum(cdf, total), total), axis=1),
    )


def parquet(frame: pd.DataFrame) -> bytes:
    """A frame as Parquet."""
    buffer = BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _arrival(steps: Iterable[Step]) -> Floats:
    """Instants of arrival, (R, M)."""
    *_, last = steps
    return last.entered


def _in_parts(
    rows: Ints,
    as_of: NDArray[np.datetime64],
    curve_source: Callable[[Ints, NDArray[np.datetime64]], Curves],
) -> Curves:
    """The law of many moments, some at a time."""
    parts = [
        curve_source(rows[start : start + _BATCH_SIZE], as_of[start : start + _BATCH_SIZE])
        for start in range(0, max(len(rows), 1), _BATCH_SIZE)
    ]
    width = max(part.hours.shape[1] for part in parts)
    return Curves.concatenate([_widened(part, width) for part in parts])


def _widened(curves: Curves, width: int) -> Curves:
    """The same curves with their last knot repeated."""
    missing = width - curves.hours.shape[1]
    return Curves.from_knots(
        *(
            np.pad(values, ((0, 0), (0, missing)), mode="edge")
            for values in (curves.hours, curves.cdf)
        )
    )
