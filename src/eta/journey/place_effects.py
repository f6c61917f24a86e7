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
from eta.journey.categories import MISSING, Categorical
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import DESTINATION_POSTAL, ORIGIN_POSTAL, Timelines

#: The habits, in their order, each with the text that names its places.
PLACE_EFFECTS = {
    "origin_handling_effect": ORIGIN_POSTAL,
    "origin_transit_effect": ORIGIN_POSTAL,
    "destination_transit_effect": DESTINATION_POSTAL,
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


class PlaceEffectSource(Protocol):
    """Knows the habits of places."""

    def lookup(self, timelines: Timelines, pairs: AsOfPairs) -> NDArray[np.float64]:
        """``PLACE_EFFECTS``, (3, M), of the places of shipments at moments; 0 where nothing is known."""
        ...


@dataclass(frozen=True, eq=False)
class PlaceEffects:
    """The habits of places as known at one moment, by place or area: what a served version knows."""

    handling: Mapping[str, float] = field(default_factory=dict)
    origin: Mapping[str, float] = field(default_factory=dict)
    destination: Mapping[str, float] = field(default_factory=dict)

    def lookup(self, timelines: Timelines, pairs: AsOfPairs) -> NDArray[np.float64]:
        """``PLACE_EFFECTS``, (3, M), of the places of shipments; 0 where nothing is known."""
        origin, destination = (
            timelines.texts[name].take(pairs.row) for name in (ORIGIN_POSTAL, DESTINATION_POSTAL)
        )
        return np.array(
            [
                _effects_of_places(origin, _whole, self.handling),
                _effects_of_places(origin, _areas, self.origin),
                _effects_of_places(destination, _areas, self.destination),
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
class PlaceEffectHistory:
    """The habits of places at any moment, as they were known when its day (UTC) began."""

    _handling: _EffectSeries
    _origin: _EffectSeries
    _destination: _EffectSeries

    @classmethod
    def from_timelines(cls, timelines: Timelines) -> PlaceEffectHistory:
        """From all shipments, once for the same timelines; what a moment is told of them is a matter of days alone."""
        if (history := _HISTORIES.get(timelines)) is None:
            _HISTORIES[timelines] = history = cls._from_timelines(timelines)
        return history

    @classmethod
    def _from_timelines(cls, timelines: Timelines) -> Self:
        handled, arrived = _handling(timelines), _transit(timelines)
        return cls(
            _EffectSeries.from_texts(
                timelines, ORIGIN_POSTAL, handled, HANDLING_HALF_LIFE_DAYS, HANDLING_PRIOR, (None,)
            ),
            _EffectSeries.from_texts(
                timelines, ORIGIN_POSTAL, arrived, TRANSIT_HALF_LIFE_DAYS, AREA_PRIOR, AREA_LENGTHS
            ),
            _EffectSeries.from_texts(
                timelines,
                DESTINATION_POSTAL,
                arrived,
                TRANSIT_HALF_LIFE_DAYS,
                AREA_PRIOR,
                AREA_LENGTHS,
            ),
        )

    def lookup(self, timelines: Timelines, pairs: AsOfPairs) -> NDArray[np.float64]:
        """``PLACE_EFFECTS``, (3, M), of the places of shipments, those of ``from_timelines``, at moments; 0 where nothing was known."""
        day = np.floor(pairs.as_of.view(np.int64) / _DAY)
        order = np.argsort(day, kind="stable")
        result = np.empty((len(PLACE_EFFECTS), len(day)))
        for number, (effect, name) in enumerate(
            zip(
                (self._handling, self._origin, self._destination),
                PLACE_EFFECTS.values(),
                strict=True,
            )
        ):
            result[number, order] = effect.before(
                timelines.texts[name].codes[pairs.row[order]], day[order]
            )
        return result

    def at(self, as_of: np.datetime64) -> PlaceEffects:
        """What was known when the day (UTC) of a moment began."""
        return PlaceEffects(
            *(effect.at(as_of) for effect in (self._handling, self._origin, self._destination))
        )


#: Those of timelines that are still in use.
_HISTORIES: WeakKeyDictionary[Timelines, PlaceEffectHistory] = WeakKeyDictionary()


class _Deviations(NamedTuple):
    """How much longer P shipments took than others, (P,), in the order of the days since 1970 on which that was told."""

    row: NDArray[np.int64]
    day: NDArray[np.float64]
    difference: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _EffectSeries:
    """The same, by place."""

    day: NDArray[np.float64]
    difference: NDArray[np.float64]
    place: NDArray[np.int32]
    half_life: float
    prior: float
    #: From the widest to the narrowest: the group of each place, (places,).
    levels: Sequence[Categorical]

    @classmethod
    def from_texts(
        cls,
        timelines: Timelines,
        name: str,
        deviations: _Deviations,
        half_life: float,
        prior: float,
        lengths: Sequence[int | None],
    ) -> Self:
        """What was told, by the places of a text and so many characters of their postcodes."""
        places = timelines.texts[name]
        levels = [
            Categorical.from_texts(
                pd.Series([_beginning(place, length) for place in places.names], dtype=object)
            )
            for length in lengths
        ]
        return cls(
            deviations.day,
            deviations.difference,
            places.codes[deviations.row],
            half_life,
            prior,
            levels,
        )

    def before(self, place: NDArray[np.int32], day: NDArray[np.float64]) -> NDArray[np.float64]:
        """The habits (Q,) of places as known before days in their order, (Q,)."""
        effect = np.zeros(len(place))
        for level in self.levels:
            total, count = self._totals_before(level, place, day)
            effect = _shrunk(total, count, effect, self.prior)
        return effect

    def at(self, as_of: np.datetime64) -> dict[str, float]:
        """The habit of every group that anything was told of before the day (UTC) of a moment."""
        places = np.arange(len(self.levels[0]), dtype=np.int32)
        day = np.full(len(places), as_of.astype("datetime64[D]").astype(np.float64))
        effect, result = np.zeros(len(places)), dict[str, float]()
        for level in self.levels:
            total, count = self._totals_before(level, places, day)
            effect = _shrunk(total, count, effect, self.prior)
            counted = np.flatnonzero(count)
            result |= {
                level.names[code]: value
                for code, value in zip(
                    level.codes[counted].tolist(), effect[counted].tolist(), strict=True
                )
            }
        return result

    def _totals_before(
        self, level: Categorical, place: NDArray[np.int32], day: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # A missing place is the last one.
        group = np.append(level.codes, np.int32(MISSING))
        return _decayed_totals(
            self.day,
            self.difference,
            group[self.place],
            day,
            group[place],
            len(level.names),
            self.half_life,
        )


def _handling(timelines: Timelines) -> _Deviations:
    """How much longer hand-overs took than all did in those days."""
    pairs = _in_order(timelines.first_received(HANDOVER_CODES | FACILITY_CODES))
    states = fold(timelines, pairs)
    day = pairs.as_of.view(np.int64) / _DAY
    return _Deviations(
        pairs.row, day, _beyond_level(day, _log_days(states.ordered_at, states.handed_over_at))
    )


def _transit(timelines: Timelines) -> _Deviations:
    """How much longer after the hand-over parcels arrived than others of their service and lane, and than all did in those days."""
    pairs = _in_order(timelines.first_received(ARRIVAL_CODES))
    states = fold(timelines, pairs)
    complete = np.flatnonzero(~np.isnat(states.handed_over_at) & ~np.isnat(states.arrived_at))
    pairs, states = pairs.take(complete), states.take(complete)
    day, log_days = (
        pairs.as_of.view(np.int64) / _DAY,
        _log_days(states.handed_over_at, states.arrived_at),
    )
    lane = timelines.texts["service_lane"]
    overall = _mean_before(day, log_days, TRANSIT_HALF_LIFE_DAYS)
    total, count = _decayed_totals(
        day,
        log_days,
        lane.codes[pairs.row],
        np.floor(day),
        lane.codes[pairs.row],
        len(lane.names),
        TRANSIT_HALF_LIFE_DAYS,
    )
    expected = _shrunk(total, count, overall, LANE_PRIOR)
    return _Deviations(pairs.row, day, _beyond_level(day, log_days - expected))


def _in_order(received_at: NDArray[np.datetime64]) -> AsOfPairs:
    """The shipments that anything was told of, and when that was, earliest first."""
    row = np.flatnonzero(~np.isnat(received_at))
    row = row[np.argsort(received_at[row], kind="stable")]
    return AsOfPairs(row, received_at[row])


def _log_days(start: NDArray[np.datetime64], end: NDArray[np.datetime64]) -> NDArray[np.float64]:
    return np.log1p(np.maximum((end - start).astype(np.int64) / _DAY, 0.0))


def _beyond_level(day: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (P,) less what all were in the days before."""
    return value - _mean_before(day, value, LEVEL_HALF_LIFE_DAYS)


def _mean_before(
    day: NDArray[np.float64], value: NDArray[np.float64], half_life: float
) -> NDArray[np.float64]:
    """The means (P,) of all values told before each one's day; the value itself counts as one of them."""
    one_group = np.zeros(len(day), dtype=np.int32)
    total, count = _decayed_totals(day, value, one_group, np.floor(day), one_group, 1, half_life)
    return _shrunk(total, count, value, 1.0)


def _shrunk(
    total: NDArray[np.float64], count: NDArray[np.float64], base: NDArray[np.float64], prior: float
) -> NDArray[np.float64]:
    """The mean, with so many parcels' worth of trust in the base; where nothing is counted the base itself, to the last bit."""
    return base + (total - count * base) / (count + prior)


@njit(cache=True)
def _decayed_totals(day, value, group, query_day, query_group, groups, half_life):  # type: ignore[no-untyped-def]  # compiled
    """Sums and counts, (Q,) each, of what was told of a group before a day; what was told, (P,), and what is asked, (Q,), are in the order of days.

    What was told counts half after ``half_life`` days; a group below 0 is none.
    """
    total, count, last = np.zeros(groups), np.zeros(groups), np.zeros(groups)
    totals, counts = np.zeros(len(query_day)), np.zeros(len(query_day))
    position = 0
    for q in range(len(query_day)):
        while position < len(day) and day[position] < query_day[q]:
            code = group[position]
            if code >= 0:
                decay = 0.5 ** ((day[position] - last[code]) / half_life)
                total[code], count[code], last[code] = (
                    total[code] * decay + value[position],
                    count[code] * decay + 1.0,
                    day[position],
                )
            position += 1
        code = query_group[q]
        if code >= 0:
            decay = 0.5 ** ((query_day[q] - last[code]) / half_life)
            totals[q], counts[q] = total[code] * decay, count[code] * decay
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


def _effects_of_places(
    places: Categorical, groups: Callable[[str], tuple[str, ...]], effects: Mapping[str, float]
) -> NDArray[np.float64]:
    """The habit of each place, (N,): that of the narrowest of its groups that is known, 0 if none is."""
    result = np.zeros(len(places.names) + 1)
    is_queried = np.zeros(len(result), dtype=bool)
    is_queried[places.codes] = True
    # Of all places named only those of the rows are looked up; a missing one is the last, and has
    # no habit.
    for code in np.flatnonzero(is_queried[:-1]).tolist():
        result[code] = next(
            (effects[group] for group in groups(places.names[code]) if group in effects), 0.0
        )
    return result[places.codes]
