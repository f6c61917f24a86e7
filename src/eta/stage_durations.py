"""Typical durations of silence, handling and transit, learned from all shipments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import Instants, hours_between
from eta.curves import kaplan_meier
from eta.journey.categories import Categorical
from eta.journey.segments import Segments
from eta.journey.state import States
from eta.journey.timelines import EVENT_CODES, Timelines

_GRID_HOURS = np.arange(0.0, 60 * 24 + 1, 1.0)
_ALL = ""


@dataclass(frozen=True)
class DurationQuantiles:
    """How long something takes: hours within which half, and nearly all, of the parcels are through; infinite if never."""

    p50_hours: float
    upper_hours: float


_UNBOUNDED = DurationQuantiles(np.inf, np.inf)


@dataclass(frozen=True)
class StageDurations:
    """What is usual, open parcels included (Kaplan-Meier).

    ``silence`` is keyed by the code of the last scan, ``transit`` by the destination's region; the
    empty key is the law of all.
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
        """From all that was known at ``known_through``; ``states`` are those of all shipments at that moment."""
        silence_hours, has_ended, code = _silences(timelines, states, known_through)
        handling, handled, _ = _spans(
            states.ordered_at, states.handed_over_at, states.abandoned_at, known_through
        )
        transit, arrived, rows = _spans(
            states.handed_over_at, states.arrived_at, states.abandoned_at, known_through
        )
        destination = timelines.texts["destination"].take(rows)
        return cls(
            _duration_quantiles(
                silence_hours,
                has_ended,
                Categorical(code.astype(np.int32), EVENT_CODES),
                level,
                at_least,
            ),
            _duration_quantiles(
                handling,
                handled,
                Categorical(np.full(len(handling), -1, dtype=np.int32), ()),
                level,
                at_least,
            )[_ALL],
            _duration_quantiles(transit, arrived, destination, level, at_least),
        )

    def silence_of(self, code: str | None) -> DurationQuantiles:
        """How long parcels are usually silent after a scan of such a code."""
        return self.silence.get(code or _ALL, self.silence.get(_ALL, _UNBOUNDED))

    @cached_property
    def silence_hours(self) -> NDArray[np.float64]:
        """The usual hours of silence, half and nearly all, (codes + 1, 2); the last row is for none of ``EVENT_CODES``."""
        durations = [self.silence_of(code) for code in (*EVENT_CODES, None)]
        return np.array([(quantiles.p50_hours, quantiles.upper_hours) for quantiles in durations])

    @cached_property
    def transit_hours(
        self,
    ) -> tuple[tuple[dict[str, float], dict[str, float]], tuple[float, float]]:
        """The usual hours in transit, half and nearly all, by destination, and those of all."""
        overall = self.transit.get(_ALL, _UNBOUNDED)
        by_destination = (
            {name: quantiles.p50_hours for name, quantiles in self.transit.items()},
            {name: quantiles.upper_hours for name, quantiles in self.transit.items()},
        )
        return by_destination, (overall.p50_hours, overall.upper_hours)

    def to_json(self) -> dict[str, object]:
        """Plain numbers; ``None`` for an infinite one."""

        def finite(quantiles: DurationQuantiles) -> dict[str, float | None]:
            return {
                name: value if np.isfinite(value) else None
                for name, value in asdict(quantiles).items()
            }

        return {
            "silence": {key: finite(quantiles) for key, quantiles in self.silence.items()},
            "handling": finite(self.handling),
            "transit": {key: finite(quantiles) for key, quantiles in self.transit.items()},
        }

    @classmethod
    def from_json(
        cls, values: Mapping[str, Mapping[str, Mapping[str, float | None]]]
    ) -> StageDurations:
        """The inverse of ``to_json``."""

        def from_stored(stored: Mapping[str, float | None]) -> DurationQuantiles:
            return DurationQuantiles(
                **{name: np.inf if value is None else value for name, value in stored.items()}
            )

        return cls(
            {key: from_stored(stored) for key, stored in values["silence"].items()},
            from_stored(values["handling"]),  # type: ignore[arg-type]  # one level less deep than its neighbours
            {key: from_stored(stored) for key, stored in values["transit"].items()},
        )


#: Where nothing was learned, nothing is ever too long.
NO_DURATIONS = StageDurations({}, _UNBOUNDED, {})


def _duration_quantiles(
    hours: NDArray[np.float64],
    ended: NDArray[np.bool_],
    key: Categorical,
    level: float,
    at_least: int,
) -> dict[str, DurationQuantiles]:
    """The usual times of all (empty key) and of every key with ``at_least`` parcels."""
    count = len(key.names)
    groups = np.concatenate([np.full(len(hours), count), key.codes[key.codes >= 0]])
    has_key = key.codes >= 0
    cdfs = kaplan_meier(
        np.concatenate([hours, hours[has_key]]),
        np.concatenate([ended, ended[has_key]]),
        groups,
        count + 1,
        _GRID_HOURS,
    )
    sizes = np.bincount(groups, minlength=count + 1)
    names = [*key.names, _ALL]
    return {
        str(names[i]): DurationQuantiles(_first_hour(cdfs[i], 0.5), _first_hour(cdfs[i], level))
        for i in range(count + 1)
        if sizes[i] >= at_least or i == count
    }


def _first_hour(cdf: NDArray[np.float64], level: float) -> float:
    reached = np.flatnonzero(cdf >= level)
    return float(_GRID_HOURS[reached[0]]) if len(reached) else np.inf


def _silences(
    timelines: Timelines, states: States, known_through: np.datetime64
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int16]]:
    """For each scan known and not final: hours from it to the next scan told, whether that came, and the scan's code."""
    owner = timelines.scans.owner()
    rows = np.flatnonzero(timelines.received_at <= known_through)
    rows = rows[np.lexsort((timelines.received_at[rows], owner[rows]))]
    owner, received = owner[rows], timelines.received_at[rows]
    runs = Segments.from_counts(np.bincount(owner, minlength=len(timelines)))
    is_last = np.zeros(len(rows), dtype=bool)
    is_last[runs.starts[1:][runs.counts > 0] - 1] = True
    end = np.full(len(rows), known_through, dtype=received.dtype)
    end[:-1][~is_last[:-1]] = received[1:][~is_last[:-1]]
    still_waited = ~is_last | states.is_open[owner]
    hours = np.maximum(hours_between(timelines.occurred_at[rows], end), 0.0)
    return hours[still_waited], ~is_last[still_waited], timelines.event_code[rows][still_waited]


def _spans(
    start: Instants, end: Instants, abandoned: Instants, known_through: np.datetime64
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Hours from start to end where it has started, censored where it has not ended, with the rows meant."""
    rows = np.flatnonzero(~np.isnat(start))
    ended = ~np.isnat(end[rows])
    until = np.where(
        ended, end[rows], np.where(np.isnat(abandoned[rows]), known_through, abandoned[rows])
    )
    return np.maximum(hours_between(start[rows], until), 0.0), ended, rows
