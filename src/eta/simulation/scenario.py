"""The parameters of a simulated network. The default is frozen: a change needs a new version."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.local_time import to_instant
from eta.domain.errors import InvalidValue


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A simulated network, and the shares of what goes wrong in it.

    Raises:
        InvalidValue: if a share is outside 0..1 or there is no day.
    """

    version: str = "2026.1"
    seed: int = 20260101
    #: Orders are placed on ``days`` days from ``first_day`` on, by UTC.
    first_day: date = date(2025, 1, 1)
    days: int = 365
    cross_border: float = 0.20
    #: Log of a hub's congestion: a stationary AR(1) by UTC day.
    congestion_deviation: float = 0.15
    congestion_memory: float = 0.9
    #: A region's weather is a hidden Gaussian AR(1) by UTC day; a day is bad if it passes the
    #: season's threshold.
    weather_memory: float = 0.6
    bad_weather: float = 0.03
    bad_weather_in_season: float = 0.10
    #: How much longer trucks and tours take on a day of bad weather, and hubs in the weeks before
    #: Christmas.
    weather_factor: float = 1.6
    peak_factor: float = 1.15
    #: From this UTC day on every stage takes ``slow_factor`` times as long, which no model could
    #: have learned before.
    slow_from: date | None = None
    slow_factor: float = 1.0
    #: A parcel leaves for the wrong hub.
    misrouted: float = 0.015
    #: Import customs asks for documents.
    held: float = 0.12
    #: The first attempt fails; each later one does with the same probability.
    failed_attempt: float = 0.09
    #: The shop has a tracking number without any events, or with those of another parcel.
    silent_number: float = 0.003
    foreign_number: float = 0.002
    wrong_clock: float = 0.01
    duplicate_scan: float = 0.02
    #: An arrival that is never received.
    arrival_missing: float = 0.003

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            is_share = isinstance(value, float) and not name.endswith("factor")
            if is_share and not 0 <= value < 1:
                raise InvalidValue(
                    name, f"{value!r} is no share", "give a number from 0 to below 1"
                )
        if self.days < 1:
            raise InvalidValue("days", f"{self.days!r} is out of range", "give at least 1")

    @property
    def start(self) -> datetime:
        """Midnight in UTC of the first day: the instant from which the simulation counts hours."""
        return datetime.combine(self.first_day, time(), UTC)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        first_day = self.first_day.isoformat()
        slow_from = self.slow_from and self.slow_from.isoformat()
        return {**asdict(self), "first_day": first_day, "slow_from": slow_from}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Scenario:
        """The scenario that ``to_json`` wrote."""
        values = dict(values)
        for name in ("first_day", "slow_from"):
            if values.get(name):
                values[name] = date.fromisoformat(values[name])
        return cls(**values)


DEFAULT = Scenario()


def instants(hours: NDArray[np.float64], scenario: Scenario) -> pd.Series:
    """Aware instants, to the microsecond, of hours (N,) since 00:00 UTC of the first day.

    NaN and infinity are NaT.
    """
    is_finite = np.isfinite(hours)
    finite_hours = np.where(is_finite, hours, 0.0)
    microseconds = np.rint(finite_hours * 3.6e9).astype(np.int64)
    times = to_instant(scenario.start) + microseconds.astype("timedelta64[us]")
    times = np.where(is_finite, times, np.datetime64("NaT", "us"))
    return pd.Series(pd.DatetimeIndex(times, tz="UTC"))


def hours_since(times: pd.Series, scenario: Scenario) -> NDArray[np.float64]:
    """Hours (N,) from 00:00 UTC of the scenario's first day to aware instants; NaN for NaT."""
    utc = times.dt.tz_convert("UTC").dt.tz_localize(None)
    elapsed = utc.to_numpy().astype("datetime64[us]") - to_instant(scenario.start)
    return elapsed / np.timedelta64(1, "h")
