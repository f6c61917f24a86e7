"""Typical durations of silence, handling and transit, learned from all shipments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import Instants, hours_between
from eta.curves import kaplan_meier
from eta.journey.categories import Labels
from eta.journey.segments import Segments
from eta.journey.state import States
from eta.journey.timelines import EVENT_CODES, Timelines

_GRID_HOURS = np.arange(0.0, 60 * 24 + 1, 1.0)
_ALL = ""


@dataclass(frozen=True)
class Usual:
    """How long something takes: hours within which half, and nearly all, of the parcels are through; infinite if never."""

    p50_hours: float
    upper_hours: float


_NEVER = Usual(np.inf, np.inf)


@dataclass(frozen=True)
class StageLaws:
    """What is usual, open parcels included (Kaplan-Meier).

    ``silence`` is keyed by the code of the last scan, ``transit`` by the destination's region; the
    empty key is the law of all.
    """

    silence: Mapping[str, Usual]
    handling: Usual
    transit: Mapping[str, Usual]

    @classmethod
    def learn(
        cls,
        timelines: Timelines,
        states: States,
        known_through: np.datetime64,
        *,
        level: float,
        at_least: int = 30,
    ) -> StageLaws:
        """From all that was known at ``known_through``; ``states`` are those of all shipments at that moment."""
        silence_hours, has_ended, code = _silences(timelines, states, known_through)
        handling, handled, _ = _spans(
            states.ordered_at, states.handed_over_at, states.given_up_at, known_through
        )
        transit, arrived, rows = _spans(
            states.handed_over_at, states.arrived_at, states.given_up_at, known_through
        )
        destination = timelines.texts["destination"].take(rows)
        return cls(
            _usual(
                silence_hours,
                has_ended,
                Labels(code.astype(np.int32), EVENT_CODES),
                level,
                at_least,
            ),
            _usual(
                handling,
                handled,
                Labels(np.full(len(handling), -1, dtype=np.int32), ()),
                level,
                at_least,
            )[_ALL],
            _usual(transit, arrived, destination, level, at_least),
        )

    def silence_of(self, code: str | None) -> Usual:
        """How long parcels are usually silent after a scan of such a code."""
        return self.silence.get(code or _ALL, self.silence.get(_ALL, _NEVER))

    @cached_property
    def silence_hours(self) -> NDArray[np.float64]:
        """The usual hours of silence, half and nearly all, (codes + 1, 2); the last row is for none of ``EVENT_CODES``."""
        usual = [self.silence_of(code) for code in (*EVENT_CODES, None)]
        return np.array([(law.p50_hours, law.upper_hours) for law in usual])

    @cached_property
    def transit_hours(
        self,
    ) -> tuple[tuple[dict[str, float], dict[str, float]], tuple[float, float]]:
        """The usual hours in transit, half and nearly all, by destination, and those of all."""
        of_all = self.transit.get(_ALL, _NEVER)
        by_destination = (
            {name: law.p50_hours for name, law in self.transit.items()},
            {name: law.upper_hours for name, law in self.transit.items()},
        )
        return by_destination, (of_all.p50_hours, of_all.upper_hours)

    def to_json(self) -> dict[str, object]:
        """Plain numbers; ``None`` for an infinite one."""

        def finite(usual: Usual) -> dict[str, float | None]:
            return {
                name: value if np.isfinite(value) else None for name, value in asdict(usual).items()
            }

        return {
            "silence": {key: finite(usual) for key, usual in self.silence.items()},
            "handling": finite(self.handling),
            "transit": {key: finite(usual) for key, usual in self.transit.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> StageLaws:
        """The inverse of ``to_json``."""

        def usual(stored: Mapping[str, float | None]) -> Usual:
            return Usual(
                **{name: np.inf if value is None else value for name, value in stored.items()}
            )

        return cls(
            {key: usual(stored) for key, stored in values["silence"].items()},
            usual(values["handling"]),  # type: ignore[arg-type]  # one level less deep than its neighbours
            {key: usual(stored) for key, stored in values["transit"].items()},
        )


#: Where nothing was learned, nothing is ever too long.
NO_LAWS = StageLaws({}, _NEVER, {})


def _usual(
    hours: NDArray[np.float64], ended: NDArray[np.bool_], key: Labels, level: float, at_least: int
) -> dict[str, Usual]:
    """The usual times of all (empty key) and of every key with ``at_least`` parcels."""
    count = len(key.names)
    groups = np.concatenate([np.full(len(hours), count), key.codes[key.codes >= 0]])
    of_key = key.codes >= 0
    laws = kaplan_meier(
        np.concatenate([hours, hours[of_key]]),
        np.concatenate([ended, ended[of_key]]),
        groups,
        count + 1,
        _GRID_HOURS,
    )
    sizes = np.bincount(groups, minlength=count + 1)
    names = [*key.names, _ALL]
    return {
        str(names[i]): Usual(_first_hour(laws[i], 0.5), _first_hour(laws[i], level))
        for i in range(count + 1)
        if sizes[i] >= at_least or i == count
    }


def _first_hour(law: NDArray[np.float64], level: float) -> float:
    reached = np.flatnonzero(law >= level)
    return float(_GRID_HOURS[reached[0]]) if len(reached) else np.inf


def _silences(
    timelines: Timelines, states: States, known_through: np.datetime64
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int16]]:
    """For each scan known and not final: hours from it to the next scan told, whether that came, and the scan's code."""
    owner = timelines.scans.owner()
    known = np.flatnonzero(timelines.received_at <= known_through)
    known = known[np.lexsort((timelines.received_at[known], owner[known]))]
    owner, received = owner[known], timelines.received_at[known]
    runs = Segments.of_counts(np.bincount(owner, minlength=len(timelines)))
    is_last = np.zeros(len(known), dtype=bool)
    is_last[runs.starts[1:][runs.counts > 0] - 1] = True
    end = np.full(len(known), known_through, dtype=received.dtype)
    end[:-1][~is_last[:-1]] = received[1:][~is_last[:-1]]
    still_waited = ~is_last | states.is_open[owner]
    hours = np.maximum(hours_between(timelines.occurred_at[known], end), 0.0)
    return hours[still_waited], ~is_last[still_waited], timelines.event_code[known][still_waited]


def _spans(
    start: Instants, end: Instants, given_up: Instants, known_through: np.datetime64
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Hours from start to end where it has started, censored where it has not ended, with the rows meant."""
    rows = np.flatnonzero(~np.isnat(start))
    ended = ~np.isnat(end[rows])
    until = np.where(
        ended, end[rows], np.where(np.isnat(given_up[rows]), known_through, given_up[rows])
    )
    return np.maximum(hours_between(start[rows], until), 0.0), ended, rows
