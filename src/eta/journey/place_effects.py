"""What other parcels tell of a place: how its shops hand over, and how parcels fare that leave it or come to it, against all others.

The handling habit of a postcode is how much longer than all it has taken lately from the order to
the hand-over; its origin and its destination habit are how much longer than others of their service
and lane parcels from there, or to there, take from the hand-over to the arrival. All are means of
differences of log(1 + days), recent parcels counting more, shrunk to what is known more widely
(empirical Bayes; Efron and Morris 1975): to nothing, or to the wider area that a postcode begins
with.

What a parcel differs by follows from what was told before its day, and a moment is told of parcels
before its day alone (ordered target statistics; Prokhorenkova et al. 2018). So no parcel tells of
itself, what is learned from is like what is asked about, and the past can be replayed. Only who
looks back from a later day, for the flags of parcels in flight, does so with the habits of that
day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from eta.domain.vocabulary import ARRIVAL_CODES, FACILITY_CODES, HANDOVER_CODES
from eta.journey.categories import MISSING, Labels
from eta.journey.state import Moments, fold
from eta.journey.timelines import DESTINATION_POSTAL, ORIGIN_POSTAL, Timelines

#: The habits, in their order, each with the text that names its places.
HABITS = {
    "handling_habit": ORIGIN_POSTAL,
    "origin_habit": ORIGIN_POSTAL,
    "destination_habit": DESTINATION_POSTAL,
}

#: Characters of a postcode that name an area, from wide to narrow.
AREA_LENGTHS = (2, 3, 4, 5)

#: Days after which a hand-over, and an arrival, counts half.
HANDLING_HALF_LIFE_DAYS, TRANSIT_HALF_LIFE_DAYS = 60.0, 300.0

#: Parcels' worth of trust that a shop hands over like all, that an area is like the wider one, and
#: a lane like all.
HANDLING_PRIOR, AREA_PRIOR, LANE_PRIOR = 3.0, 10.0, 20.0

#: What all take these days is told by parcels that count half after so many days: how fast the
#: network runs is for drift to say.
LEVEL_HALF_LIFE_DAYS = 20.0
_DAY = 86_400_000_000.0


class TellsHabits(Protocol):
    """Knows the habits of places."""

    def of(self, timelines: Timelines, moments: Moments) -> NDArray[np.float64]:
        """``HABITS``, (3, M), of the places of shipments at moments; 0 where nothing is known."""
        ...


@dataclass(frozen=True, eq=False)
class Habits:
    """The habits of places as known at one moment, by place or area: what a served version knows."""

    handling: Mapping[str, float] = field(default_factory=dict)
    origin: Mapping[str, float] = field(default_factory=dict)
    destination: Mapping[str, float] = field(default_factory=dict)

    def of(self, timelines: Timelines, moments: Moments) -> NDArray[np.float64]:
        """``HABITS``, (3, M), of the places of shipments; 0 where nothing is known."""
        origin, destination = (
            timelines.texts[name].take(moments.row) for name in (ORIGIN_POSTAL, DESTINATION_POSTAL)
        )
        return np.array(
            [
                _by_name(origin, _whole, self.handling),
                _by_name(origin, _areas, self.origin),
                _by_name(destination, _areas, self.destination),
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: dict(sorted(values.items())) for name, values in vars(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What ``to_json`` gave.

        Raises:
            KeyError: if a habit is missing.
        """
        return cls(values["handling"], values["origin"], values["destination"])


@dataclass(frozen=True, eq=False)
class HabitHistory:
    """The habits of places at any moment, as they were known when its day (UTC) began."""

    _handling: _Differences
    _origin: _Differences
    _destination: _Differences

    @classmethod
    def of_all(cls, timelines: Timelines) -> HabitHistory:
        """From all shipments, once for the same timelines; what a moment is told of them is a matter of days alone."""
        if (known := _HISTORIES.get(timelines)) is None:
            _HISTORIES[timelines] = known = cls._of_all(timelines)
        return known

    @classmethod
    def _of_all(cls, timelines: Timelines) -> Self:
        handled, arrived = _handling(timelines), _transit(timelines)
        return cls(
            _Differences.of(
                timelines, ORIGIN_POSTAL, handled, HANDLING_HALF_LIFE_DAYS, HANDLING_PRIOR, (None,)
            ),
            _Differences.of(
                timelines, ORIGIN_POSTAL, arrived, TRANSIT_HALF_LIFE_DAYS, AREA_PRIOR, AREA_LENGTHS
            ),
            _Differences.of(
                timelines,
                DESTINATION_POSTAL,
                arrived,
                TRANSIT_HALF_LIFE_DAYS,
                AREA_PRIOR,
                AREA_LENGTHS,
            ),
        )

    def of(self, timelines: Timelines, moments: Moments) -> NDArray[np.float64]:
        """``HABITS``, (3, M), of the places of shipments, those of ``of_all``, at moments; 0 where nothing was known."""
        day = np.floor(moments.as_of.view(np.int64) / _DAY)
        order = np.argsort(day, kind="stable")
        result = np.empty((len(HABITS), len(day)))
        for number, (habit, name) in enumerate(
            zip((self._handling, self._origin, self._destination), HABITS.values(), strict=True)
        ):
            result[number, order] = habit.before(
                timelines.texts[name].codes[moments.row[order]], day[order]
            )
        return result

    def at(self, as_of: np.datetime64) -> Habits:
        """What was known when the day (UTC) of a moment began."""
        return Habits(
            *(habit.at(as_of) for habit in (self._handling, self._origin, self._destination))
        )


#: Those of timelines that are still in use.
_HISTORIES: WeakKeyDictionary[Timelines, HabitHistory] = WeakKeyDictionary()


class _Told(NamedTuple):
    """How much longer P shipments took than others, (P,), in the order of the days since 1970 on which that was told."""

    row: NDArray[np.int64]
    day: NDArray[np.float64]
    difference: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Differences:
    """The same, by place."""

    day: NDArray[np.float64]
    difference: NDArray[np.float64]
    place: NDArray[np.int32]
    half_life: float
    prior: float
    #: From the widest to the narrowest: the group of each place, (places,).
    levels: Sequence[Labels]

    @classmethod
    def of(
        cls,
        timelines: Timelines,
        name: str,
        told: _Told,
        half_life: float,
        prior: float,
        lengths: Sequence[int | None],
    ) -> Self:
        """What was told, by the places of a text and so many characters of their postcodes."""
        places = timelines.texts[name]
        levels = [
            Labels.of(
                pd.Series([_beginning(place, length) for place in places.names], dtype=object)
            )
            for length in lengths
        ]
        return cls(told.day, told.difference, places.codes[told.row], half_life, prior, levels)

    def before(self, place: NDArray[np.int32], day: NDArray[np.float64]) -> NDArray[np.float64]:
        """The habits (Q,) of places as known before days in their order, (Q,)."""
        habit = np.zeros(len(place))
        for level in self.levels:
            total, count = self._told(level, place, day)
            habit = _shrunk(total, count, habit, self.prior)
        return habit

    def at(self, as_of: np.datetime64) -> dict[str, float]:
        """The habit of every group that anything was told of before the day (UTC) of a moment."""
        places = np.arange(len(self.levels[0]), dtype=np.int32)
        day = np.full(len(places), as_of.astype("datetime64[D]").astype(np.float64))
        habit, result = np.zeros(len(places)), dict[str, float]()
        for level in self.levels:
            total, count = self._told(level, places, day)
            habit = _shrunk(total, count, habit, self.prior)
            known = np.flatnonzero(count)
            result |= {
                level.names[code]: value
                for code, value in zip(
                    level.codes[known].tolist(), habit[known].tolist(), strict=True
                )
            }
        return result

    def _told(
        self, level: Labels, place: NDArray[np.int32], day: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # A missing place is the last one.
        group = np.append(level.codes, np.int32(MISSING))
        return _told_before(
            self.day,
            self.difference,
            group[self.place],
            day,
            group[place],
            len(level.names),
            self.half_life,
        )


def _handling(timelines: Timelines) -> _Told:
    """How much longer hand-overs took than all did in those days."""
    moments = _in_order(timelines.first_told(HANDOVER_CODES | FACILITY_CODES))
    states = fold(timelines, moments)
    day = moments.as_of.view(np.int64) / _DAY
    return _Told(
        moments.row, day, _beyond_level(day, _log_days(states.ordered_at, states.handed_over_at))
    )


def _transit(timelines: Timelines) -> _Told:
    """How much longer after the hand-over parcels arrived than others of their service and lane, and than all did in those days."""
    moments = _in_order(timelines.first_told(ARRIVAL_CODES))
    states = fold(timelines, moments)
    kept = np.flatnonzero(~np.isnat(states.handed_over_at) & ~np.isnat(states.arrived_at))
    moments, states = moments.take(kept), states.take(kept)
    day, log_days = (
        moments.as_of.view(np.int64) / _DAY,
        _log_days(states.handed_over_at, states.arrived_at),
    )
    lane = timelines.texts["service_lane"]
    of_all = _mean_before(day, log_days, TRANSIT_HALF_LIFE_DAYS)
    total, count = _told_before(
        day,
        log_days,
        lane.codes[moments.row],
        np.floor(day),
        lane.codes[moments.row],
        len(lane.names),
        TRANSIT_HALF_LIFE_DAYS,
    )
    usual = _shrunk(total, count, of_all, LANE_PRIOR)
    return _Told(moments.row, day, _beyond_level(day, log_days - usual))


def _in_order(told: NDArray[np.datetime64]) -> Moments:
    """The shipments that anything was told of, and when that was, earliest first."""
    row = np.flatnonzero(~np.isnat(told))
    row = row[np.argsort(told[row], kind="stable")]
    return Moments(row, told[row])


def _log_days(start: NDArray[np.datetime64], end: NDArray[np.datetime64]) -> NDArray[np.float64]:
    return np.log1p(np.maximum((end - start).astype(np.int64) / _DAY, 0.0))


def _beyond_level(day: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (P,) less what all were in the days before."""
    return value - _mean_before(day, value, LEVEL_HALF_LIFE_DAYS)


def _mean_before(
    day: NDArray[np.float64], value: NDArray[np.float64], half_life: float
) -> NDArray[np.float64]:
    """The means (P,) of all values told before each one's day; the value itself counts as one of them."""
    everybody = np.zeros(len(day), dtype=np.int32)
    total, count = _told_before(day, value, everybody, np.floor(day), everybody, 1, half_life)
    return _shrunk(total, count, value, 1.0)


def _shrunk(
    total: NDArray[np.float64], count: NDArray[np.float64], base: NDArray[np.float64], prior: float
) -> NDArray[np.float64]:
    """The mean, with so many parcels' worth of trust in the base; where nothing is counted the base itself, to the last bit."""
    return base + (total - count * base) / (count + prior)


@njit(cache=True)
def _told_before(day, value, group, asked_day, asked_group, groups, half_life):  # type: ignore[no-untyped-def]  # compiled
    """Sums and counts, (Q,) each, of what was told of a group before a day; what was told, (P,), and what is asked, (Q,), are in the order of days.

    What was told counts half after ``half_life`` days; a group below 0 is none.
    """
    total, count, last = np.zeros(groups), np.zeros(groups), np.zeros(groups)
    totals, counts = np.zeros(len(asked_day)), np.zeros(len(asked_day))
    told = 0
    for q in range(len(asked_day)):
        while told < len(day) and day[told] < asked_day[q]:
            own = group[told]
            if own >= 0:
                left = 0.5 ** ((day[told] - last[own]) / half_life)
                total[own], count[own], last[own] = (
                    total[own] * left + value[told],
                    count[own] * left + 1.0,
                    day[told],
                )
            told += 1
        own = asked_group[q]
        if own >= 0:
            left = 0.5 ** ((asked_day[q] - last[own]) / half_life)
            totals[q], counts[q] = total[own] * left, count[own] * left
    return totals, counts


def _beginning(place: str, length: int | None) -> str | None:
    """The beginning of "AT|1010" by so many characters of its postcode; None if it has fewer."""
    country, _, postcode = place.partition("|")
    if length is None:
        return place
    return f"{country}|{postcode[:length]}" if len(postcode) >= length else None


def _whole(place: str) -> tuple[str, ...]:
    return (place,)


def _areas(place: str) -> tuple[str, ...]:
    """The areas that a place lies in, narrowest first."""
    return tuple(area for length in reversed(AREA_LENGTHS) if (area := _beginning(place, length)))


def _by_name(
    places: Labels, groups: Callable[[str], tuple[str, ...]], known: Mapping[str, float]
) -> NDArray[np.float64]:
    """The habit of each place, (N,): that of the narrowest of its groups that is known, 0 if none is."""
    habits = np.zeros(len(places.names) + 1)
    is_asked = np.zeros(len(habits), dtype=bool)
    is_asked[places.codes] = True
    # Of all places named only those of the rows are looked up; a missing one is the last, and has
    # no habit.
    for code in np.flatnonzero(is_asked[:-1]).tolist():
        habits[code] = next(
            (known[group] for group in groups(places.names[code]) if group in known), 0.0
        )
    return habits[places.codes]
