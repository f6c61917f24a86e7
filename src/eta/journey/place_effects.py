"""Place effects: how long a place's parcels take, compared with all others.

The handling effect of a postcode is how much longer than average it has recently taken from the
order to the hand-over. Its origin and destination effects are how much longer than others of their
service and lane parcels from there, or to there, take from the hand-over to the arrival. All are
means of differences of log(1 + days). Recent parcels count more, and the means are shrunk
(empirical Bayes; Efron and Morris 1975): to nothing, or to the wider area that a postcode begins
with.

A parcel's difference is computed from what was received before its day, and a moment uses parcels
received before its day alone (ordered target statistics; Prokhorenkova et al. 2018). So a parcel's
outcome never enters its own features, training examples resemble the parcels to score, and a
backtest sees what was available then. One exception: the flags of parcels in flight are made from
a later day, with the effects of that day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, Protocol, Self
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from eta.domain.vocabulary import ARRIVAL_CODES, FACILITY_CODES, HANDOVER_CODES
from eta.journey.categories import MISSING, SMALL_BATCH, Categorical
from eta.journey.state import AsOfPairs, fold
from eta.journey.timeline_builders import DESTINATION_POSTAL, ORIGIN_POSTAL
from eta.journey.timelines import Timelines
from eta.stored_values import Name, StoredModel, check_values

#: The effects, in their order, each with the text that names its places.
PLACE_EFFECTS = {
    "origin_handling_effect": ORIGIN_POSTAL,
    "origin_transit_effect": ORIGIN_POSTAL,
    "destination_transit_effect": DESTINATION_POSTAL,
}

#: Characters of a postcode that name an area, from wide to narrow.
AREA_LENGTHS = (2, 3, 4, 5)

#: Days after which a hand-over, and an arrival, counts half.
HANDLING_HALF_LIFE_DAYS, TRANSIT_HALF_LIFE_DAYS = 60.0, 300.0

#: Weights of the priors, in parcels: that a shop's handling is average, that an area is like the
#: wider one, and that a lane is average.
HANDLING_PRIOR, AREA_PRIOR, LANE_PRIOR = 3.0, 10.0, 20.0

#: Half-life of the average of all parcels, from which differences are taken: the speed of the
#: whole network is left to drift.
LEVEL_HALF_LIFE_DAYS = 20.0

#: No stored effect, a difference of log times, is larger either way.
MAX_EFFECT = 100.0
_DAY = 86_400_000_000.0


class PlaceEffectSource(Protocol):
    """Looks up effects of places."""

    def lookup(self, timelines: Timelines, pairs: AsOfPairs) -> NDArray[np.float64]:
        """``PLACE_EFFECTS``, (3, M), of the places of shipments at moments; 0 if unknown."""
        ...


@dataclass(frozen=True, eq=False)
class PlaceEffects:
    """The effects as of one moment, by place or area: those that a model version holds."""

    handling: Mapping[str, float] = field(default_factory=dict)
    origin: Mapping[str, float] = field(default_factory=dict)
    destination: Mapping[str, float] = field(default_factory=dict)

    def lookup(self, timelines: Timelines, pairs: AsOfPairs) -> NDArray[np.float64]:
        """``PLACE_EFFECTS``, (3, M), of the places of shipments; 0 if unknown."""
        origin = timelines.texts[ORIGIN_POSTAL].take(pairs.row)
        destination = timelines.texts[DESTINATION_POSTAL].take(pairs.row)
        effects = [
            _effects_of_places(origin, _BY_PLACE.lengths, self.handling),
            _effects_of_places(origin, _BY_AREA.lengths, self.origin),
            _effects_of_places(destination, _BY_AREA.lengths, self.destination),
        ]
        return np.array(effects, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: dict(sorted(values.items())) for name, values in vars(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``.

        Raises:
            ModelCorrupted: if a value is missing, unknown, of another type or out of range.
        """
        stored = check_values("the place effects", _STORED_PLACE_EFFECTS, values)
        return cls(stored.handling, stored.origin, stored.destination)


_Effects = dict[Name, Annotated[float, Field(ge=-MAX_EFFECT, le=MAX_EFFECT, allow_inf_nan=False)]]


class _StoredPlaceEffects(StoredModel):
    """What ``PlaceEffects.to_json`` writes."""

    handling: _Effects
    origin: _Effects
    destination: _Effects


_STORED_PLACE_EFFECTS = TypeAdapter(_StoredPlaceEffects)


@dataclass(frozen=True, eq=False)
class PlaceEffectHistory:
    """The effects at any moment, as they could be computed when its day (UTC) began."""

    _handling: _EffectSeries
    _origin: _EffectSeries
    _destination: _EffectSeries

    @classmethod
    def from_timelines(cls, timelines: Timelines) -> PlaceEffectHistory:
        """The history of all shipments; computed once for the same timelines."""
        if (history := _HISTORIES.get(timelines)) is None:
            _HISTORIES[timelines] = history = cls._from_timelines(timelines)
        return history

    @classmethod
    def _from_timelines(cls, timelines: Timelines) -> Self:
        # How much longer hand-overs took than the average of those days.
        pairs = _in_order_of_receipt(timelines.first_received(HANDOVER_CODES | FACILITY_CODES))
        states = fold(timelines, pairs)
        log_days = _log_days(states.ordered_at, states.handed_over_at)
        handling = _Deviations.beyond_level(pairs, log_days)
        # How much longer from hand-over to arrival parcels took than others.
        pairs = _in_order_of_receipt(timelines.first_received(ARRIVAL_CODES))
        states = fold(timelines, pairs)
        is_complete = ~np.isnat(states.handed_over_at) & ~np.isnat(states.arrived_at)
        complete = np.flatnonzero(is_complete)
        pairs = pairs.take(complete)
        states = states.take(complete)
        day = pairs.as_of.view(np.int64) / _DAY
        log_days = _log_days(states.handed_over_at, states.arrived_at)
        lane = timelines.texts["service_lane"].take(pairs.row)
        # The means (P,) of each one's lane before its day, shrunk to the mean of all.
        overall = _mean_before(day, log_days, TRANSIT_HALF_LIFE_DAYS)
        total, count = _decayed_totals(
            day,
            log_days,
            lane.codes,
            np.floor(day),
            lane.codes,
            len(lane.names),
            TRANSIT_HALF_LIFE_DAYS,
        )
        expected = _shrunk(total, count, overall, LANE_PRIOR)
        transit = _Deviations.beyond_level(pairs, log_days - expected)
        origin = timelines.texts[ORIGIN_POSTAL]
        destination = timelines.texts[DESTINATION_POSTAL]
        return cls(
            _handling=_EffectSeries.from_places(origin, handling, _BY_PLACE),
            _origin=_EffectSeries.from_places(origin, transit, _BY_AREA),
            _destination=_EffectSeries.from_places(destination, transit, _BY_AREA),
        )

    def lookup(self, timelines: Timelines, pairs: AsOfPairs) -> NDArray[np.float64]:
        """``PLACE_EFFECTS``, (3, M), of the places of shipments at moments; 0 if unknown then.

        Shipments are those of ``from_timelines``.
        """
        day = np.floor(pairs.as_of.view(np.int64) / _DAY)
        order = np.argsort(day, kind="stable")
        row = pairs.row[order]
        ordered_day = day[order]
        result = np.empty((len(PLACE_EFFECTS), len(day)))
        text_names = PLACE_EFFECTS.values()
        all_series = (self._handling, self._origin, self._destination)
        for number, (series, name) in enumerate(zip(all_series, text_names, strict=True)):
            place = timelines.texts[name].codes[row]
            result[number, order] = series.before(place, ordered_day)
        return result

    def at(self, as_of: np.datetime64) -> PlaceEffects:
        """The effects when the day (UTC) of a moment began."""
        handling, origin = self._handling.at(as_of), self._origin.at(as_of)
        destination = self._destination.at(as_of)
        return PlaceEffects(handling, origin, destination)


#: The histories of timelines that are still in use.
_HISTORIES: WeakKeyDictionary[Timelines, PlaceEffectHistory] = WeakKeyDictionary()


class _Deviations(NamedTuple):
    """How much longer P shipments took than others, (P,), in order of the days of receipt.

    ``day`` counts days since 1970, with their fractions.
    """

    row: NDArray[np.int64]
    day: NDArray[np.float64]
    difference: NDArray[np.float64]

    @classmethod
    def beyond_level(cls, pairs: AsOfPairs, value: NDArray[np.float64]) -> Self:
        """Values (P,) of pairs less the mean of all in the days before."""
        day = pairs.as_of.view(np.int64) / _DAY
        level = _mean_before(day, value, LEVEL_HALF_LIFE_DAYS)
        return cls(pairs.row, day, value - level)


class _Smoothing(NamedTuple):
    """How differences become effects: over which areas, with which half-life and prior."""

    half_life: float
    #: Weight of the wider area, in parcels.
    prior: float
    #: Characters of the postcodes of a level, from the widest; None is the whole postcode.
    lengths: tuple[int | None, ...]


_BY_PLACE = _Smoothing(HANDLING_HALF_LIFE_DAYS, HANDLING_PRIOR, (None,))
_BY_AREA = _Smoothing(TRANSIT_HALF_LIFE_DAYS, AREA_PRIOR, AREA_LENGTHS)


@dataclass(frozen=True, eq=False)
class _EffectSeries:
    """Differences by place, from which effects at any day are computed."""

    day: NDArray[np.float64]
    difference: NDArray[np.float64]
    place: NDArray[np.int32]
    smoothing: _Smoothing
    #: From the widest to the narrowest: the group of each place, (places,).
    levels: Sequence[Categorical]

    @classmethod
    def from_places(
        cls, places: Categorical, deviations: _Deviations, smoothing: _Smoothing
    ) -> Self:
        """The series of differences of shipments, of which ``places`` (N,) are the places."""
        levels = []
        for length in smoothing.lengths:
            areas = [_area(place, length) for place in places.names]
            levels.append(Categorical.from_texts(pd.Series(areas, dtype=object)))
        return cls(
            day=deviations.day,
            difference=deviations.difference,
            place=places.codes[deviations.row],
            smoothing=smoothing,
            levels=levels,
        )

    def before(self, place: NDArray[np.int32], day: NDArray[np.float64]) -> NDArray[np.float64]:
        """The effects (Q,) of places before days (Q,), which are in ascending order."""
        effect = np.zeros(len(place))
        for level in self.levels:
            effect, _ = self._refined(effect, level, place, day)
        return effect

    def at(self, as_of: np.datetime64) -> dict[str, float]:
        """The effect of every group with parcels before the day (UTC) of a moment."""
        places = np.arange(len(self.levels[0]), dtype=np.int32)
        first_day = as_of.astype("datetime64[D]").astype(np.float64)
        day = np.full(len(places), first_day)
        effect = np.zeros(len(places))
        result: dict[str, float] = {}
        for level in self.levels:
            effect, count = self._refined(effect, level, places, day)
            counted = np.flatnonzero(count)
            group_names = [level.names[code] for code in level.codes[counted].tolist()]
            result |= zip(group_names, effect[counted].tolist(), strict=True)
        return result

    def _refined(
        self,
        wider: NDArray[np.float64],
        level: Categorical,
        place: NDArray[np.int32],
        day: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Effects of a level, shrunk to those of the ``wider`` one, and their parcels, (Q,)."""
        # A missing place is the last one.
        group = np.append(level.codes, np.int32(MISSING))
        group_of_shipment = group[self.place]
        total, count = _decayed_totals(
            self.day,
            self.difference,
            group_of_shipment,
            day,
            group[place],
            len(level.names),
            self.smoothing.half_life,
        )
        return _shrunk(total, count, wider, self.smoothing.prior), count


def _in_order_of_receipt(received_at: NDArray[np.datetime64]) -> AsOfPairs:
    """The shipments with a time of receipt, and those times, earliest first."""
    row = np.flatnonzero(~np.isnat(received_at))
    row = row[np.argsort(received_at[row], kind="stable")]
    return AsOfPairs(row, received_at[row])


def _log_days(start: NDArray[np.datetime64], end: NDArray[np.datetime64]) -> NDArray[np.float64]:
    days = (end - start).astype(np.int64) / _DAY
    return np.log1p(np.maximum(days, 0.0))


def _mean_before(
    day: NDArray[np.float64], value: NDArray[np.float64], half_life: float
) -> NDArray[np.float64]:
    """The means (P,) of all values before each one's day, the value itself counted once."""
    one_group = np.zeros(len(day), dtype=np.int32)
    total, count = _decayed_totals(day, value, one_group, np.floor(day), one_group, 1, half_life)
    return _shrunk(total, count, value, 1.0)


def _shrunk(
    total: NDArray[np.float64], count: NDArray[np.float64], base: NDArray[np.float64], prior: float
) -> NDArray[np.float64]:
    """The means, with a prior of so many parcels at the base; exactly the base if count is 0."""
    return base + (total - count * base) / (count + prior)


@njit(cache=True)
def _decayed_totals(day, value, group, query_day, query_group, groups, half_life):  # type: ignore[no-untyped-def]  # compiled
    """Sums and counts, (Q,) each, of the values of a group before a day.

    Values (P,) and queries (Q,) are in order of days. A value counts half after ``half_life``
    days; a group below 0 is none.
    """
    total = np.zeros(groups)
    count = np.zeros(groups)
    last = np.zeros(groups)
    totals = np.zeros(len(query_day))
    counts = np.zeros(len(query_day))
    position = 0
    for q in range(len(query_day)):
        while position < len(day) and day[position] < query_day[q]:
            code = group[position]
            if code >= 0:
                decay = 0.5 ** ((day[position] - last[code]) / half_life)
                total[code] = total[code] * decay + value[position]
                count[code] = count[code] * decay + 1.0
                last[code] = day[position]
            position += 1
        code = query_group[q]
        if code >= 0:
            decay = 0.5 ** ((query_day[q] - last[code]) / half_life)
            totals[q] = total[code] * decay
            counts[q] = count[code] * decay
    return totals, counts


def _area(place: str, length: int | None) -> str | None:
    """The place "AT|1010" with so many characters of its postcode; None if it has fewer."""
    if length is None:
        return place
    country, _, postcode = place.partition("|")
    return f"{country}|{postcode[:length]}" if len(postcode) >= length else None


def _effects_of_places(
    places: Categorical, lengths: Sequence[int | None], effects: Mapping[str, float]
) -> list[float] | NDArray[np.float64]:
    """The effect of each place, (N,): that of its narrowest area with one, else 0.

    ``lengths`` are those of ``_Smoothing``.
    """
    names = places.names
    if len(places) <= SMALL_BATCH:
        return [
            0.0 if code == MISSING else _effect(names[code], lengths, effects)
            for code in places.codes.tolist()
        ]
    result = np.zeros(len(names) + 1)
    is_queried = np.zeros(len(result), dtype=bool)
    is_queried[places.codes] = True
    # Only places that occur are looked up. A missing place is the last one, without an effect.
    for code in np.flatnonzero(is_queried[:-1]).tolist():
        result[code] = _effect(names[code], lengths, effects)
    return result[places.codes]


def _effect(place: str, lengths: Sequence[int | None], effects: Mapping[str, float]) -> float:
    for length in reversed(lengths):
        area = _area(place, length)
        if area is not None and area in effects:
            return effects[area]
    return 0.0
