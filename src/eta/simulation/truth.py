"""The truth behind simulated parcels, and the two curves that a forecast is compared with.

``oracle_curve`` uses everything that has happened in the network by ``as_of``: no forecast can be
better. ``scan_conditional_curve`` uses the events of one parcel: the reference for calibration.
Both draw futures from ``travel``, the process that moved the parcels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.local_time import to_instant
from eta.curves import Curves
from eta.files import read_regular
from eta.parquet import read_parquet
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
from eta.simulation.travel import First, MomentDraws, Start, moment_keys, travel

SHIPMENTS_FILE, EVENTS_FILE = "shipments.parquet", "events.parquet"
JOURNEYS_FILE, HUBS_FILE = "truth_journeys.parquet", "truth_hubs.parquet"
WEATHER_FILE, SCENARIO_FILE = "truth_weather.parquet", "scenario.json"

_MAX_SCENARIO_BYTES = 1 << 20
#: Futures for each moment, and the number of moments in a batch.
FUTURES, _BATCH_SIZE = 200, 1000
#: A future that is longer than this counts as never arriving; it is the last knot of curves with
#: such futures.
_MAX_HOURS = 400 * 24.0
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, eq=False)
class Truth:
    """The hidden state of N simulated shipments, in the order of their ids.

    ``journeys`` has one row a shipment: ``entered_<stage>_at``, ``place_<stage>``,
    ``first_attempt_at``, ``swallowed_in`` and flags. Arrays are derived from it.
    """

    scenario: Scenario
    journeys: pd.DataFrame
    days: Days
    clocks: Clocks
    parcels: Parcels
    #: Hours since the scenario's start, (N, stages + 1), NaN if never; the last column is the
    #: arrival.
    entered: Floats
    #: The stage that swallows the parcel, (N,), or -1.
    swallowed_in: Ints
    #: Events, sorted by shipment: the shipment, the stage that starts (``ARRIVAL`` for all that end
    #: the wait), and both times.
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
        ids = pd.Index(shipments["shipment_id"])
        row = ids.get_indexer(pd.Index(events["shipment_id"]))
        order = np.argsort(row, kind="stable")
        time_columns = [*(f"entered_{name}_at" for name in NAMES), "first_attempt_at"]
        times = [hours_since(journeys[name], scenario) for name in time_columns]
        swallowed_in = pd.Index(NAMES).get_indexer(pd.Index(journeys["swallowed_in"]))
        raw_codes = pd.Index(list(_STAGE_OF))
        position = raw_codes.get_indexer(pd.Index(events["raw_code"]))
        started_stages = np.array([*_STAGE_OF.values(), ARRIVAL])[position]
        clocks = Clocks.build(scenario.first_day, scenario.days)
        parcels = Parcels.build(shipments, scenario)
        occurred = hours_since(events["occurred_at"], scenario)
        received = hours_since(events["received_at"], scenario)
        return cls(
            scenario,
            journeys,
            days,
            clocks,
            parcels,
            entered=np.column_stack(times),
            swallowed_in=swallowed_in.astype(np.int64),
            scan_row=row[order],
            scan_stage=started_stages[order],
            scan_occurred=occurred[order],
            scan_received=received[order],
        )

    @classmethod
    def load(cls, folder: Path) -> Truth:
        """The truth beside simulated shipments and events."""
        values = json.loads(read_regular(folder / SCENARIO_FILE, max_bytes=_MAX_SCENARIO_BYTES))
        scenario = Scenario.from_json(values["scenario"])
        congestion = _daily_values(folder / HUBS_FILE)
        weather = _daily_values(folder / WEATHER_FILE)
        days = Days.build(scenario, congestion, weather)
        shipments = _frame(folder / SHIPMENTS_FILE)
        events = _frame(folder / EVENTS_FILE)
        journeys = _frame(folder / JOURNEYS_FILE)
        return cls.build(scenario, shipments, events, journeys, days)

    def files(self) -> dict[str, bytes]:
        """Content of the files that ``load`` reads beside shipments, events and the scenario."""
        first = to_instant(self.scenario.start) - DAYS_BEFORE * _DAY
        offsets = np.arange(self.days.congestion.shape[1]) * _DAY
        day = pd.Series(first + offsets)
        hubs = pd.DataFrame(self.days.congestion.T, columns=list(PLACES))
        hubs = hubs.assign(day=day)
        cities = [f"{city.country} {city.name}" for city in CITIES]
        weather = pd.DataFrame(self.days.weather.T, columns=cities)
        weather = weather.assign(day=day)
        return {
            JOURNEYS_FILE: parquet(self.journeys),
            HUBS_FILE: parquet(hubs),
            WEATHER_FILE: parquet(weather),
        }

    def rows(self, shipment_id: NDArray[np.object_]) -> Ints:
        """The rows of shipments; -1 for unknown ones."""
        ids = pd.Index(self.journeys["shipment_id"])
        return ids.get_indexer(pd.Index(shipment_id)).astype(np.int64)

    def oracle_curve(
        self, rows: Ints, as_of: NDArray[np.datetime64], *, futures: int = FUTURES
    ) -> Curves:
        """The hours left until the first attempt, (R,), given the hidden state at ``as_of`` (UTC).

        Conditioned on: the shipment's attributes; the stage in which the parcel truly is, when it
        was entered, whether it has been swallowed there (then it never arrives) or has strayed; the
        congestion and weather of all UTC days up to and including that of ``as_of``. As stages are
        a semi-Markov chain and days a Markov chain, nothing earlier matters. The current stage is
        continued exactly from its tail; what follows (durations, later days, forks, later losses)
        is integrated over ``futures`` futures, drawn by moment. A parcel that has arrived has 0
        hours left.
        """
        return _in_parts(rows, as_of, lambda part, at: self._oracle(part, at, futures))

    def scan_conditional_curve(
        self, rows: Ints, as_of: NDArray[np.datetime64], *, futures: int = FUTURES
    ) -> Curves:
        """The hours left until the first attempt, (R,), given the events by ``as_of`` (UTC).

        Conditioned on: the shipment's attributes; the latest reported stage and when it started by
        the event's own time; and that by ``as_of`` no event of a later stage, and none of a loss, a
        cancellation or a return, had been received, given how often events are missing or late.
        Hubs and weather have their stationary distributions; strayed and swallowed parcels and
        silent numbers have their shares, reweighted by the silence (``ObservedSilence``). Not used:
        how long earlier stages took, other parcels' events, events after an arrival that is not
        reported, and the probabilities of a wrong clock and of a foreign number. An arrival that
        has not been reported yet counts as 0 hours left.
        """
        return _in_parts(rows, as_of, lambda part, at: self._scan_conditional(part, at, futures))

    def state(self, rows: Ints, as_of: NDArray[np.datetime64]) -> Ints:
        """The stage in which parcels truly are, (R,); ``ARRIVAL`` once they have arrived."""
        entered = self.entered[rows] <= self._hours(as_of)[:, None]
        back = np.argmax(entered[:, ::-1], axis=1)
        latest = np.maximum(ARRIVAL - back, 0)
        return latest * entered.any(axis=1)

    def hours_left(self, rows: Ints, as_of: NDArray[np.datetime64]) -> Floats:
        """The true hours to the first attempt, (R,): 0 if it is over, infinite if there is none."""
        arrived = self.entered[rows, ARRIVAL]
        left = np.maximum(arrived - self._hours(as_of), 0.0)
        return np.where(np.isnan(left), np.inf, left)

    def _hours(self, as_of: NDArray[np.datetime64]) -> Floats:
        elapsed = as_of.astype("datetime64[us]") - to_instant(self.scenario.start)
        return elapsed / np.timedelta64(1, "h")

    def _oracle(self, rows: Ints, as_of: NDArray[np.datetime64], futures: int) -> Curves:
        now, stage = self._hours(as_of), self.state(rows, as_of)
        is_swallowed = self.swallowed_in[rows] == stage
        left = np.zeros((len(rows), futures))
        left[is_swallowed] = np.inf
        on_way = np.flatnonzero((stage < ARRIVAL) & ~is_swallowed)
        if len(on_way):
            moving, at = rows[on_way], now[on_way]
            entered = self.entered[moving, stage[on_way]]
            start = Start(stage[on_way], entered, First.ENDS_AFTER, at)
            keys = moment_keys(moving, as_of[on_way])
            draws = MomentDraws(keys, futures)
            parcels, days = self.parcels.take(moving), SampledDays(self.days, at)
            *_, arrival = travel(parcels, self.clocks, days, draws, start)
            left[on_way] = np.maximum(arrival.entered - at[:, None], 0.0)
        return weighted_curves(left, np.full(left.shape, 1.0))

    def _scan_conditional(self, rows: Ints, as_of: NDArray[np.datetime64], futures: int) -> Curves:
        now = self._hours(as_of)
        # The latest stages reported by ``now``; ``STRAYED`` is any departure.
        owner, scan = self._received_scans(rows, now)
        order = np.lexsort((scan, self.scan_stage[scan], owner))
        owner, scan = owner[order], scan[order]
        is_last = np.empty(0, dtype=bool)
        if len(owner):
            is_last = np.append(owner[1:] != owner[:-1], True)
        last_owner, last_scan = owner[is_last], scan[is_last]
        stage, since = np.zeros(len(rows), dtype=np.int64), now.copy()
        stage[last_owner] = self.scan_stage[last_scan]
        since[last_owner] = self.scan_occurred[last_scan]
        reported = _LastReported(stage, np.minimum(since, now))
        has_arrived = reported.stage == ARRIVAL
        left, weights = [np.zeros((len(rows), 1))], [has_arrived[:, None] * 1.0]
        for path in self._paths(reported.stage):
            positions = np.flatnonzero(path.is_possible)
            if not len(positions):
                continue
            silence = self._silence(rows, as_of, path.stage, reported.since, positions)
            arrival, weight = silence.arrivals(futures)
            hours = np.zeros((len(rows), arrival.shape[1]))
            mass = np.zeros((len(rows), arrival.shape[1]))
            now_at, prior = now[positions][:, None], path.prior[positions][:, None]
            hours[positions] = np.maximum(arrival - now_at, 0.0)
            mass[positions] = weight * prior
            left.append(hours)
            weights.append(mass)
        return weighted_curves(np.hstack(left), np.hstack(weights))

    def _paths(self, stage: Ints) -> tuple[_Path, _Path]:
        """The right path and the wrong one of parcels that were last reported in ``stage`` (R,)."""
        # The departure of a truck does not say where to: both paths are possible.
        leaves = stage == STRAYED
        strayed = self.scenario.misrouted
        right_stage = np.where(leaves, LINEHAUL, stage)
        right_prior = np.where(leaves, 1.0 - strayed, 1.0)
        right = _Path(right_stage, right_prior, is_possible=stage != ARRIVAL)
        wrong_prior = np.full(len(stage), strayed)
        wrong = _Path(stage, wrong_prior, is_possible=leaves)
        return right, wrong

    def _silence(
        self,
        rows: Ints,
        as_of: NDArray[np.datetime64],
        stage: Ints,
        since: Floats,
        positions: Ints,
    ) -> ObservedSilence:
        """The silence of the parcels at ``positions`` of the others, (R,) each."""
        moving, stage = rows[positions], stage[positions]
        salt = stage.astype(np.uint64) << np.uint64(50)
        key = moment_keys(moving, as_of[positions]) ^ salt
        parcels = self.parcels.take(moving)
        now = self._hours(as_of[positions])
        return ObservedSilence(
            self.scenario, self.clocks, self.days, parcels, stage, since[positions], now, key
        )

    def _received_scans(self, rows: Ints, now: Floats) -> tuple[Ints, Ints]:
        """The events received by ``now`` (R,): positions of parcels in ``rows``, and of events."""
        first = np.searchsorted(self.scan_row, rows, side="left")
        end = np.searchsorted(self.scan_row, rows, side="right")
        count = end - first
        owner = np.repeat(np.arange(len(rows)), count)
        starts = np.repeat(np.cumsum(count) - count, count)
        within = np.arange(count.sum()) - starts
        scan = within + first[owner]
        is_received = self.scan_received[scan] <= now[owner]
        return owner[is_received], scan[is_received]


@dataclass(frozen=True, eq=False)
class _LastReported:
    """The latest reported stage of R parcels, and when it started, (R,) each."""

    stage: Ints
    since: Floats


@dataclass(frozen=True, eq=False)
class _Path:
    """A path that R parcels may be on: its stage, its probability, and whether it is possible."""

    stage: Ints
    prior: Floats
    is_possible: NDArray[np.bool_]


#: The stage that starts by the carrier's code.
_STAGE_OF: Mapping[str, int] = {
    stage.raw: number for number, stage in enumerate(STAGES) if number != LINEHAUL
} | {REDIRECTED: LINEHAUL}


def _daily_values(path: Path) -> Floats:
    """The values of a file by place and day, (places, D)."""
    values = _frame(path).drop(columns="day")
    return values.to_numpy().T


def weighted_curves(hours: Floats, weights: Floats) -> Curves:
    """The curves of weighted futures, both (R, M); a future beyond ``_MAX_HOURS`` never arrives.

    Each future is a knot, at which half of its weight has passed; an atom at 0 hours is a jump.
    """
    order = np.argsort(hours, axis=1, kind="stable")
    ranked = np.take_along_axis(hours, order, axis=1)
    mass = np.take_along_axis(weights, order, axis=1)
    mass = mass / mass.sum(axis=1, keepdims=True)
    arrives = ranked < _MAX_HOURS
    until = np.cumsum(mass, axis=1)
    arriving_mass = (mass * arrives).sum(axis=1, keepdims=True)
    total = np.minimum(arriving_mass, 1.0)
    midpoint = np.where(ranked <= 0.0, until, until - mass / 2.0)
    cdf = np.where(arrives, np.minimum(midpoint, total), total)
    knots = np.where(arrives, ranked, _MAX_HOURS)
    return Curves.from_knots(knots, np.maximum.accumulate(cdf, axis=1))


def _frame(path: Path) -> pd.DataFrame:
    """The rows of a file."""
    frame: pd.DataFrame = read_parquet(path).table.to_pandas()
    return frame


def parquet(frame: pd.DataFrame) -> bytes:
    """A frame as Parquet."""
    buffer = BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _in_parts(
    rows: Ints,
    as_of: NDArray[np.datetime64],
    curve_source: Callable[[Ints, NDArray[np.datetime64]], Curves],
) -> Curves:
    """The curves of many moments, computed in batches."""
    parts = []
    for start in range(0, max(len(rows), 1), _BATCH_SIZE):
        batch = slice(start, start + _BATCH_SIZE)
        parts.append(curve_source(rows[batch], as_of[batch]))
    width = max(part.hours.shape[1] for part in parts)
    widened = []
    for part in parts:
        # All parts get the same number of knots: the last one is repeated.
        padding = ((0, 0), (0, width - part.hours.shape[1]))
        hours = np.pad(part.hours, padding, mode="edge")
        cdf = np.pad(part.cdf, padding, mode="edge")
        widened.append(Curves.from_knots(hours, cdf))
    return Curves.concatenate(widened)
