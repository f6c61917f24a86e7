"""Congestion of hubs and weather of cities, day by day, which all parcels there share.

The log of congestion and the weather are Gaussian AR(1) processes by UTC day, one for each hub and
each city. Today is informative about tomorrow, and the distribution k days ahead has a closed form.
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

#: The column of a day so long ago that it has no influence on today.
_NEVER_MET = -(10**6)


@dataclass(frozen=True, eq=False)
class Days:
    """The days of a network: column d is ``DAYS_BEFORE`` days before the d-th day of the scenario.

    ``congestion`` (hubs, D) and ``weather`` (cities, D) have mean 0; the weather has deviation 1
    and is bad above ``bad_above`` (cities, D). ``peak`` (D,) is the log factor of the weeks before
    Christmas on hubs, and ``slow`` (D,) the scenario's log factor on every stage.
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
        hubs = len(CITIES) * len(HUBS)
        congestion = _autoregressive(random, hubs, count, scenario.congestion_memory)
        congestion = congestion * scenario.congestion_deviation
        weather = _autoregressive(random, len(CITIES), count, scenario.weather_memory)
        return cls.build(scenario, congestion, weather)

    @classmethod
    def build(cls, scenario: Scenario, congestion: Floats, weather: Floats) -> Days:
        """Days with these processes."""
        before_first = scenario.first_day - timedelta(days=DAYS_BEFORE)
        dates = [before_first + timedelta(days=column) for column in range(congestion.shape[1])]
        normal = NormalDist().inv_cdf(1.0 - scenario.bad_weather)
        in_season = NormalDist().inv_cdf(1.0 - scenario.bad_weather_in_season)
        months = np.array([day.month for day in dates])
        is_season = []
        for city in CITIES:
            season = SOUTHERN_RAINS if city.country == "BR" else NORTHERN_WINTER
            is_season.append(np.isin(months, season))
        bad_above = np.where(is_season, in_season, normal)
        is_peak = [(11, 24) <= (day.month, day.day) <= (12, 23) for day in dates]
        peak = np.where(is_peak, np.log(scenario.peak_factor), 0.0)
        slow_from = scenario.slow_from or date.max
        is_slow = [day >= slow_from for day in dates]
        slow = np.where(is_slow, np.log(scenario.slow_factor), 0.0)
        return cls(scenario, congestion, weather, bad_above, peak, slow)

    def column(self, instant: Floats) -> Ints:
        """The column of the UTC day of instants; the last column for those beyond the last day."""
        limited = np.where(np.isfinite(instant), instant, np.inf)
        day = np.floor(limited / 24.0) + DAYS_BEFORE
        last = self.congestion.shape[1] - 1
        return np.clip(day, 0, last).astype(np.int64)

    def log_factor(
        self, parcels: Parcels, stage: int, rows: Ints, entered: Floats, _draws: Draws
    ) -> Floats:
        """The factor of the day of entry."""
        column = self.column(entered)
        hub = parcels.hub[rows, stage][:, None]
        sky = parcels.sky[rows, stage][:, None]
        if hub[0, 0] >= 0:
            congestion = self.congestion[hub, column]
            return self.hub_factor(congestion, column)
        if sky[0, 0] >= 0:
            weather = self.weather[sky, column]
            return self.weather_factor(weather, sky, column)
        return self.slow[column]

    def hub_factor(self, congestion: Floats, column: Ints) -> Floats:
        """The log factor of hubs with that congestion on the days of ``column``."""
        return congestion + self.peak[column] + self.slow[column]

    def weather_factor(self, weather: Floats, sky: Ints, column: Ints) -> Floats:
        """The log factor of cities ``sky`` with that weather on the days of ``column``."""
        is_bad = weather > self.bad_above[sky, column]
        return np.log(self.scenario.weather_factor) * is_bad + self.slow[column]


def _autoregressive(random: np.random.Generator, rows: int, count: int, memory: float) -> Floats:
    """Stationary AR(1) with deviation 1, (rows, count)."""
    values = random.standard_normal((rows, count))
    innovation = np.sqrt(1.0 - memory**2)
    for column in range(1, count):
        remembered = memory * values[:, column - 1]
        values[:, column] = remembered + innovation * values[:, column]
    return values


@dataclass(eq=False)
class SampledDays:
    """Days drawn from their distribution, for R parcels in M futures.

    With ``observed_on`` (R,) the days up to that UTC day are the observed ones, and later days are
    drawn given them. Without it, a journey's first use of a hub or of a city's weather has the
    stationary distribution. No journey uses a hub twice. It uses the weather of its destination
    twice, and the second draw is conditional on the first.
    """

    days: Days
    observed_on: Floats | None
    #: The column and the value of the last weather drawn at the destination, (R, M) each.
    _met: tuple[Ints, Floats] | None = field(default=None)

    def log_factor(
        self, parcels: Parcels, stage: int, rows: Ints, entered: Floats, draws: Draws
    ) -> Floats:
        """One draw a future."""
        column = self.days.column(entered)
        hub, sky = parcels.hub[rows, stage], parcels.sky[rows, stage]
        if hub[0] < 0 and sky[0] < 0:
            return self.days.slow[column]
        normal = _normal(draws, stage, rows)
        if hub[0] >= 0:
            start = self._start(self.days.congestion, hub, rows, column.shape)
            scenario = self.days.scenario
            memory, deviation = scenario.congestion_memory, scenario.congestion_deviation
            drawn = _later(start, column, memory, deviation, normal)
            congestion = self._with_observed(self.days.congestion, hub, rows, column, drawn)
            return self.days.hub_factor(congestion, column)
        if stage >= LINEHAUL:
            weather = self._destination_weather(len(parcels), sky, rows, column, normal)
        else:
            start = self._start(self.days.weather, sky, rows, column.shape)
            weather = self._weather(start, sky, rows, column, normal)
        return self.days.weather_factor(weather, sky[:, None], column)

    def _weather(
        self, start: tuple[Ints, Floats], sky: Ints, rows: Ints, column: Ints, normal: Floats
    ) -> Floats:
        """The weather of cities (R,) on the days of ``column`` (R, M), given that of ``start``."""
        drawn = _later(start, column, self.days.scenario.weather_memory, 1.0, normal)
        return self._with_observed(self.days.weather, sky, rows, column, drawn)

    def _destination_weather(
        self, count: int, sky: Ints, rows: Ints, column: Ints, normal: Floats
    ) -> Floats:
        """The weather of destinations (R,), given the one drawn before if that is later."""
        start_column, start_value = self._start(self.days.weather, sky, rows, column.shape)
        if self._met is None:
            shape = (count, column.shape[1])
            self._met = np.full(shape, _NEVER_MET), np.zeros(shape)
        met_columns, met_values = self._met
        met_column, met_value = met_columns[rows], met_values[rows]
        is_later = met_column > start_column
        start_column = np.where(is_later, met_column, start_column)
        start_value = np.where(is_later, met_value, start_value)
        value = self._weather((start_column, start_value), sky, rows, column, normal)
        met_columns[rows] = column
        met_values[rows] = value
        return value

    def _start(
        self, process: Floats, place: Ints, rows: Ints, shape: tuple[int, ...]
    ) -> tuple[Ints, Floats]:
        """The last observed column of a process and its value there, (R, M) each."""
        if self.observed_on is None:
            return np.full(shape, _NEVER_MET), np.zeros(shape)
        today = self.days.column(self.observed_on[rows])[:, None]
        value = process[place[:, None], today]
        return np.broadcast_to(today, shape), np.broadcast_to(value, shape)

    def _with_observed(
        self, process: Floats, place: Ints, rows: Ints, column: Ints, drawn: Floats
    ) -> Floats:
        """The drawn values, replaced by the observed ones up to ``observed_on``."""
        if self.observed_on is None:
            return drawn
        today = self.days.column(self.observed_on[rows])[:, None]
        observed = process[place[:, None], column]
        return np.where(column <= today, observed, drawn)


def _later(
    start: tuple[Ints, Floats], column: Ints, memory: float, deviation: float, normal: Floats
) -> Floats:
    """The process on the day of ``column`` given its value on an earlier or the same day."""
    start_column, start_value = start
    decay = memory ** np.maximum(column - start_column, 0)
    remembered = decay * start_value
    return remembered + np.sqrt(1.0 - decay**2) * deviation * normal


def _normal(draws: Draws, stage: int, rows: Ints) -> Floats:
    """Standard normal numbers (Box and Muller 1958)."""
    uniform = np.maximum(draws.uniform(stage, DAY_RADIUS, rows), 1e-300)
    angle = 2.0 * np.pi * draws.uniform(stage, DAY_ANGLE, rows)
    radius = np.sqrt(-2.0 * np.log(uniform))
    return radius * np.cos(angle)
