"""Hubs and weather, day by day: what all parcels of a hub share.

Congestion (the log of it) and weather are Gaussian AR(1) processes by UTC day, one a hub and one a
city, so that today tells about tomorrow and the law k days ahead has a closed form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from statistics import NormalDist

import numpy as np

from eta.simulation.clocks import DAYS_AFTER, DAYS_BEFORE
from eta.simulation.network import CITIES, NORTHERN_WINTER, SOUTHERN_RAINS
from eta.simulation.scenario import Scenario
from eta.simulation.stages import HUBS, LINEHAUL, Floats, Ints, Parcels
from eta.simulation.travel import DAY_ANGLE, DAY_RADIUS, Draws

#: A day so long ago that nothing of it is left today.
_NEVER_MET = -(10**6)


@dataclass(frozen=True, eq=False)
class Days:
    """The days of a world: column d is ``DAYS_BEFORE`` days before the d-th day of the scenario.

    ``congestion`` (hubs, D) and ``weather`` (cities, D) have mean 0; the weather has deviation 1
    and is bad above ``bad_above`` (cities, D). ``peak`` (D,) is the log of what Christmas does to
    hubs, known to everybody, and ``slow`` (D,) that of what the scenario does to every stage.
    """

    scenario: Scenario
    congestion: Floats
    weather: Floats
    bad_above: Floats
    peak: Floats
    slow: Floats

    @classmethod
    def draw(cls, scenario: Scenario, seed: int) -> Days:
        """The days of a seed."""
        count = DAYS_BEFORE + scenario.days + DAYS_AFTER
        random = np.random.default_rng([seed, 1])
        congestion = (
            _autoregressive(random, len(CITIES) * len(HUBS), count, scenario.congestion_memory)
            * scenario.congestion_deviation
        )
        weather = _autoregressive(random, len(CITIES), count, scenario.weather_memory)
        return cls.build(scenario, congestion, weather)

    @classmethod
    def build(cls, scenario: Scenario, congestion: Floats, weather: Floats) -> Days:
        """Days with these processes."""
        dates = [
            scenario.first_day + timedelta(days=number - DAYS_BEFORE)
            for number in range(congestion.shape[1])
        ]
        normal, in_season = (
            NormalDist().inv_cdf(1.0 - share)
            for share in (scenario.bad_weather, scenario.bad_weather_in_season)
        )
        bad_above = np.array(
            [
                [in_season if _is_season(city.country, day) else normal for day in dates]
                for city in CITIES
            ]
        )
        peak = np.array(
            [
                np.log(scenario.peak_factor)
                if (day.month, day.day) >= (11, 24) and (day.month, day.day) <= (12, 23)
                else 0.0
                for day in dates
            ]
        )
        slow = np.array(
            [
                np.log(scenario.slow_factor)
                if scenario.slow_from and day >= scenario.slow_from
                else 0.0
                for day in dates
            ]
        )
        return cls(scenario, congestion, weather, bad_above, peak, slow)

    def column(self, instant: Floats) -> Ints:
        """The column of the UTC day of instants; those beyond the last day get the last."""
        day = np.floor(np.where(np.isfinite(instant), instant, np.inf) / 24.0) + DAYS_BEFORE
        return np.clip(day, 0, self.congestion.shape[1] - 1).astype(np.int64)

    def log_factor(
        self, parcels: Parcels, stage: int, rows: Ints, entered: Floats, _draws: Draws
    ) -> Floats:
        """As it happened."""
        column = self.column(entered)
        hub, sky = parcels.hub[rows, stage][:, None], parcels.sky[rows, stage][:, None]
        if hub[0, 0] >= 0:
            return self.congestion[hub, column] + self.peak[column] + self.slow[column]
        if sky[0, 0] >= 0:
            return (
                np.log(self.scenario.weather_factor)
                * (self.weather[sky, column] > self.bad_above[sky, column])
                + self.slow[column]
            )
        return self.slow[column]


def _autoregressive(random: np.random.Generator, rows: int, count: int, memory: float) -> Floats:
    """Stationary AR(1) with deviation 1, (rows, count)."""
    values = random.standard_normal((rows, count))
    for column in range(1, count):
        values[:, column] = (
            memory * values[:, column - 1] + np.sqrt(1.0 - memory**2) * values[:, column]
        )
    return values


def _is_season(country: str, day: date) -> bool:
    return day.month in (SOUTHERN_RAINS if country == "BR" else NORTHERN_WINTER)


@dataclass(eq=False)
class SampledDays:
    """Days drawn from their law, for R parcels in M futures.

    With ``observed_on`` (R,) the days up to that UTC day are as they happened and later ones follow
    from it; without, a journey's first meeting with a hub or a city's weather has the stationary
    law. No journey meets a hub twice; the weather over its destination it meets twice, and the
    second time follows from the first.
    """

    days: Days
    observed_on: Floats | None
    _met: tuple[Ints, Floats] | None = field(default=None)

    def log_factor(
        self, parcels: Parcels, stage: int, rows: Ints, entered: Floats, draws: Draws
    ) -> Floats:
        """One draw a future."""
        scenario, column = self.days.scenario, self.days.column(entered)
        hub, sky = parcels.hub[rows, stage], parcels.sky[rows, stage]
        if hub[0] >= 0:
            start = self._start(self.days.congestion, hub, rows, column.shape)
            drawn = _later(
                start,
                column,
                scenario.congestion_memory,
                scenario.congestion_deviation,
                _normal(draws, stage, rows),
            )
            return (
                self._as_it_happened(self.days.congestion, hub, rows, column, drawn)
                + self.days.peak[column]
                + self.days.slow[column]
            )
        if sky[0] >= 0:
            weather = self._weather(
                parcels,
                sky,
                rows,
                column,
                _normal(draws, stage, rows),
                is_destination=stage >= LINEHAUL,
            )
            return (
                np.log(scenario.weather_factor)
                * (weather > self.days.bad_above[sky[:, None], column])
                + self.days.slow[column]
            )
        return self.days.slow[column]

    def _weather(
        self,
        parcels: Parcels,
        sky: Ints,
        rows: Ints,
        column: Ints,
        normal: Floats,
        *,
        is_destination: bool,
    ) -> Floats:
        start_column, start_value = self._start(self.days.weather, sky, rows, column.shape)
        if is_destination and self._met is not None:
            met_column, met_value = self._met[0][rows], self._met[1][rows]
            later = met_column > start_column
            start_column, start_value = (
                np.where(later, met_column, start_column),
                np.where(later, met_value, start_value),
            )
        drawn = _later(
            (start_column, start_value), column, self.days.scenario.weather_memory, 1.0, normal
        )
        value = self._as_it_happened(self.days.weather, sky, rows, column, drawn)
        if is_destination:
            if self._met is None:
                self._met = (
                    np.full((len(parcels), column.shape[1]), _NEVER_MET),
                    np.zeros((len(parcels), column.shape[1])),
                )
            self._met[0][rows], self._met[1][rows] = column, value
        return value

    def _start(
        self, process: Floats, place: Ints, rows: Ints, shape: tuple[int, ...]
    ) -> tuple[Ints, Floats]:
        if self.observed_on is None:
            return np.full(shape, _NEVER_MET), np.zeros(shape)
        today = self.days.column(self.observed_on[rows])[:, None]
        return np.broadcast_to(today, shape), np.broadcast_to(process[place[:, None], today], shape)

    def _as_it_happened(
        self, process: Floats, place: Ints, rows: Ints, column: Ints, drawn: Floats
    ) -> Floats:
        if self.observed_on is None:
            return drawn
        return np.where(
            column <= self.days.column(self.observed_on[rows])[:, None],
            process[place[:, None], column],
            drawn,
        )


def _later(
    start: tuple[Ints, Floats], column: Ints, memory: float, deviation: float, normal: Floats
) -> Floats:
    """The process on the day of ``column`` given its value on an earlier or the same day."""
    decay = memory ** np.maximum(column - start[0], 0)
    return decay * start[1] + np.sqrt(1.0 - decay**2) * deviation * normal


def _normal(draws: Draws, stage: int, rows: Ints) -> Floats:
    """Standard normal numbers (Box and Muller 1958)."""
    radius = np.sqrt(-2.0 * np.log(np.maximum(draws.uniform(stage, DAY_RADIUS, rows), 1e-300)))
    return radius * np.cos(2.0 * np.pi * draws.uniform(stage, DAY_ANGLE, rows))
