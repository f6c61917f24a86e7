"""Typical durations of silence, handling and transit, learned from all shipments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, model_validator

from eta.calendars.local_time import Instants, hours_between
from eta.curves import kaplan_meier
from eta.journey.categories import MISSING, Categorical
from eta.journey.segments import Segments
from eta.journey.state import States
from eta.journey.timelines import EVENT_CODES, Timelines
from eta.stored_values import Name, NonNegative, StoredModel, check_values

_GRID_HOURS = np.arange(0.0, 60 * 24 + 1, 1.0)
_ALL = ""


@dataclass(frozen=True)
class DurationQuantiles:
    """Hours within which half, and nearly all, of the parcels finish a stage; infinite if never."""

    p50_hours: float
    upper_hours: float

    def to_json(self) -> dict[str, float | None]:
        """Plain numbers; ``None`` for an infinite one."""
        values = asdict(self).items()
        return {name: value if np.isfinite(value) else None for name, value in values}


class _StoredQuantiles(StoredModel):
    """What ``DurationQuantiles.to_json`` writes."""

    p50_hours: NonNegative | None
    upper_hours: NonNegative | None

    def restored(self) -> DurationQuantiles:
        """The durations; infinite for ``None``."""
        p50_hours = np.inf if self.p50_hours is None else self.p50_hours
        upper_hours = np.inf if self.upper_hours is None else self.upper_hours
        return DurationQuantiles(p50_hours, upper_hours)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        restored = self.restored()
        if restored.p50_hours > restored.upper_hours:
            raise ValueError("p50_hours is above upper_hours")
        return self


class _StoredStageDurations(StoredModel):
    """What ``StageDurations.to_json`` writes."""

    silence: dict[Name, _StoredQuantiles]
    handling: _StoredQuantiles
    transit: dict[Name, _StoredQuantiles]


_STORED_STAGE_DURATIONS = TypeAdapter(_StoredStageDurations)
_UNBOUNDED = DurationQuantiles(np.inf, np.inf)


@dataclass(frozen=True)
class StageDurations:
    """Typical durations, open parcels included (Kaplan-Meier).

    ``silence`` is keyed by the code of the last scan, ``transit`` by the destination's region; the
    empty key has the durations of all.
    """

    silence: Mapping[str, DurationQuantiles]
    handling: DurationQuantiles
    transit: Mapping[str, DurationQuantiles]

    @classmethod
    def fit(
        cls,
        timelines: Timelines,
        states: States,
        known_through: np.datetime64,
        *,
        level: float,
        at_least: int = 30,
    ) -> StageDurations:
        """The durations as of ``known_through``; ``states`` are those of all shipments then."""
        silence = _silences(timelines, states, known_through)
        handling, _ = _spans(
            states.ordered_at, states.handed_over_at, states.abandoned_at, known_through
        )
        transit, rows = _spans(
            states.handed_over_at, states.arrived_at, states.abandoned_at, known_through
        )
        codes = Categorical(silence.code.astype(np.int32), EVENT_CODES)
        no_codes = np.full(len(handling.hours), MISSING, dtype=np.int32)
        no_key = Categorical(no_codes, ())
        destination = timelines.texts["destination"].take(rows)
        return cls(
            silence=_duration_quantiles(silence.durations, codes, level, at_least),
            handling=_duration_quantiles(handling, no_key, level, at_least)[_ALL],
            transit=_duration_quantiles(transit, destination, level, at_least),
        )

    def silence_of(self, code: str | None) -> DurationQuantiles:
        """The typical silence after a scan with such a code."""
        return self.silence.get(code or _ALL, self.silence.get(_ALL, _UNBOUNDED))

    @cached_property
    def silence_hours(self) -> NDArray[np.float64]:
        """The typical hours of silence, half and nearly all, (codes + 1, 2).

        The last row is for a code that is none of ``EVENT_CODES``.
        """
        durations = [self.silence_of(code) for code in (*EVENT_CODES, None)]
        return np.array([(quantiles.p50_hours, quantiles.upper_hours) for quantiles in durations])

    @cached_property
    def transit_hours(
        self,
    ) -> tuple[tuple[dict[str, float], dict[str, float]], tuple[float, float]]:
        """The typical hours in transit, half and nearly all, by destination, and those of all."""
        overall = self.transit.get(_ALL, _UNBOUNDED)
        p50_hours = {name: quantiles.p50_hours for name, quantiles in self.transit.items()}
        upper_hours = {name: quantiles.upper_hours for name, quantiles in self.transit.items()}
        return (p50_hours, upper_hours), (overall.p50_hours, overall.upper_hours)

    def to_json(self) -> dict[str, object]:
        """Plain numbers; ``None`` for an infinite one."""
        silence = {key: quantiles.to_json() for key, quantiles in self.silence.items()}
        transit = {key: quantiles.to_json() for key, quantiles in self.transit.items()}
        return {"silence": silence, "handling": self.handling.to_json(), "transit": transit}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> StageDurations:
        """The inverse of ``to_json``.

        Raises:
            ModelCorrupted: if a value is missing, unknown, of another type or out of range.
        """
        stored = check_values("the stage durations", _STORED_STAGE_DURATIONS, values)
        silence = {key: quantiles.restored() for key, quantiles in stored.silence.items()}
        transit = {key: quantiles.restored() for key, quantiles in stored.transit.items()}
        return cls(silence=silence, handling=stored.handling.restored(), transit=transit)


#: Without training data no duration is ever too long.
NO_DURATIONS = StageDurations({}, _UNBOUNDED, {})


class _Durations(NamedTuple):
    """Hours (P,), and whether they ended; otherwise they are censored."""

    hours: NDArray[np.float64]
    ended: NDArray[np.bool_]


class _Silences(NamedTuple):
    """Durations of silence, each with the code (P,) of the scan before it."""

    durations: _Durations
    code: NDArray[np.int16]


def _duration_quantiles(
    durations: _Durations, key: Categorical, level: float, at_least: int
) -> dict[str, DurationQuantiles]:
    """The typical durations of all (empty key) and of every key with ``at_least`` parcels."""
    all_group = len(key.names)
    hours, ended = durations
    has_key = key.codes >= 0
    groups = np.concatenate([np.full(len(hours), all_group), key.codes[has_key]])
    hours = np.concatenate([hours, hours[has_key]])
    ended = np.concatenate([ended, ended[has_key]])
    count = all_group + 1
    cdfs = kaplan_meier(hours, ended, groups, count, _GRID_HOURS)
    sizes = np.bincount(groups, minlength=count)
    result = {}
    for group, name in enumerate([*key.names, _ALL]):
        if sizes[group] >= at_least or group == all_group:
            first_hours = []
            for share in (0.5, level):
                reached = np.flatnonzero(cdfs[group] >= share)
                first_hours.append(float(_GRID_HOURS[reached[0]]) if len(reached) else np.inf)
            result[str(name)] = DurationQuantiles(*first_hours)
    return result


def _silences(timelines: Timelines, states: States, known_through: np.datetime64) -> _Silences:
    """The silences after scans received by ``known_through``, but for the last of closed parcels.

    A silence ends with the receipt of the next scan.
    """
    owner = timelines.scans.owner()
    rows = np.flatnonzero(timelines.counts_at(known_through))
    rows = rows[np.lexsort((timelines.received_at[rows], owner[rows]))]
    owner = owner[rows]
    received = timelines.received_at[rows]
    # Whether a row is the last of its owner, one of ``count``; owners are in order.
    count = len(timelines)
    runs = Segments.from_counts(np.bincount(owner, minlength=count))
    ends = runs.starts[1:][runs.counts > 0]
    is_last = np.zeros(len(owner), dtype=bool)
    is_last[ends - 1] = True
    end = np.full(len(rows), known_through, dtype=received.dtype)
    has_next = ~is_last[:-1]
    end[:-1][has_next] = received[1:][has_next]
    is_counted = ~is_last | states.is_open[owner]
    hours = np.maximum(hours_between(timelines.occurred_at[rows], end), 0.0)
    code = timelines.event_code[rows]
    durations = _Durations(hours[is_counted], ~is_last[is_counted])
    return _Silences(durations, code[is_counted])


def _spans(
    start: Instants, end: Instants, abandoned: Instants, known_through: np.datetime64
) -> tuple[_Durations, NDArray[np.int64]]:
    """Durations from start to end, censored without an end, and the rows that have a start."""
    rows = np.flatnonzero(~np.isnat(start))
    start = start[rows]
    end = end[rows]
    abandoned = abandoned[rows]
    has_ended = ~np.isnat(end)
    censored_at = np.where(np.isnat(abandoned), known_through, abandoned)
    until = np.where(has_ended, end, censored_at)
    hours = np.maximum(hours_between(start, until), 0.0)
    return _Durations(hours, has_ended), rows
