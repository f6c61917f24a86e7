"""The columns a model sees: one function for training, backtests and serving.

Every value depends on the shipment's own attributes, on scans received by ``as_of`` and, for the
place effects, on scans of other shipments received before its day. Durations come from times of
occurrence, clipped at ``as_of`` because carriers' clocks run fast at times.

A feature of a journey in numbers is added in ``_JourneyNumber`` and computed in
``_journey_numbers``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.calendars.local_time import wall_clock
from eta.journey.categories import Categorical, derive
from eta.journey.measures import MEASURES
from eta.journey.place_effects import PLACE_EFFECTS, PlaceEffectSource
from eta.journey.route import UNNAMED
from eta.journey.state import AsOfPairs, States, fold
from eta.journey.timelines import EVENT_CODES, Timelines, promise_starts

#: Texts of a shipment that a model may use; ``service`` is "carrier|service level",
#: ``service_lane`` "carrier|service level|lane".
ROUTE_COLUMNS = ("carrier", "service", "origin", "destination", "lane", "service_lane")
#: Texts of its journey so far: "carrier|event code|place" of the last scan that has a place, and
#: that with the destination.
PLACE_COLUMNS = ("place", "place_lane")
CATEGORICAL_COLUMNS = (*ROUTE_COLUMNS, *PLACE_COLUMNS)


class _JourneyNumber(IntEnum):
    """Rows of ``_journey_numbers``; the names are the features."""

    PHASE = 0
    LAST_CODE = auto()
    ORDER_ELAPSED_DAYS = auto()
    HANDOVER_ELAPSED_DAYS = auto()
    SILENCE_DAYS = auto()
    APPROVAL_DAYS = auto()
    HANDLING_DAYS = auto()
    SCAN_COUNT = auto()
    EXCEPTION_COUNT = auto()
    LOCAL_WEEKDAY = auto()
    LOCAL_HOUR = auto()
    ORIGIN_WEEK_HOUR = auto()
    ORIGIN_HOUR = auto()
    PROMISE_LEFT_DAYS = auto()


_JOURNEY_COLUMNS = tuple(number.name.lower() for number in _JourneyNumber)
_JOURNEY_COUNT = len(_JourneyNumber)
#: Days until the promised local day begins. Only a model of delays may use it, never one that sets
#: promises.
PROMISE_COLUMN = _JourneyNumber.PROMISE_LEFT_DAYS.name.lower()
_ALL_NUMBER_COLUMNS = (*MEASURES, *PLACE_EFFECTS, *_JOURNEY_COLUMNS)
#: Numbers that a model may use; NaN if unknown.
NUMBER_COLUMNS = tuple(name for name in _ALL_NUMBER_COLUMNS if name != PROMISE_COLUMN)

#: Numbers that are read by more than trees. Trees read float32, so in a large batch the others are
#: held as that, which halves the memory of a training.
_EXACT_COLUMNS = {
    "weight_kg",
    *(
        number.name.lower()
        for number in (
            _JourneyNumber.ORDER_ELAPSED_DAYS,
            _JourneyNumber.SILENCE_DAYS,
            _JourneyNumber.LOCAL_HOUR,
            _JourneyNumber.PROMISE_LEFT_DAYS,
        )
    ),
}
#: Moments whose numbers are computed together.
_BLOCK_ROWS = 131_072

_NAT = np.iinfo(np.int64).min
#: In microseconds.
_HOUR, _DAY = 3_600_000_000, 86_400_000_000
#: 1970-01-01, from which times are counted, was a Thursday, day 3 of the week.
_EPOCH_WEEKDAY, _EPOCH_WEEK_HOUR, _WEEK_HOURS = 3, 72.0, 168.0


@dataclass(frozen=True, eq=False)
class Features:
    """Features of M moments: ``categoricals`` and ``numbers`` by column name, (M,) each."""

    categoricals: dict[str, Categorical]
    numbers: dict[str, NDArray[Any]]
    #: Wall-clock time of ``as_of`` at the destination, without a zone.
    local_as_of: NDArray[np.datetime64]
    #: Whose holidays count: ``route.Route.calendar``.
    calendar: Categorical

    def __len__(self) -> int:
        return len(self.local_as_of)

    def take(self, rows: NDArray[np.integer]) -> Features:
        """The features of some moments."""
        categoricals = {name: texts.take(rows) for name, texts in self.categoricals.items()}
        numbers = {name: values[rows] for name, values in self.numbers.items()}
        local_as_of = self.local_as_of[rows]
        calendar = self.calendar.take(rows)
        return Features(categoricals, numbers, local_as_of, calendar)


def features(
    timelines: Timelines,
    pairs: AsOfPairs,
    effect_source: PlaceEffectSource,
    states: States | None = None,
) -> Features:
    """The features (M,) of ``pairs``; ``states`` are theirs, folded here if not given."""
    if states is None:
        states = fold(timelines, pairs)
    row = pairs.row
    texts = timelines.texts
    local_as_of = wall_clock(pairs.as_of, timelines.zone.codes[row], timelines.zone.names)
    routes = {name: texts[name].take(row) for name in ROUTE_COLUMNS}
    if (states.place.codes >= 0).any():
        code = Categorical(states.place_code.astype(np.int32), EVENT_CODES)
        sources = [routes["carrier"], code, states.place, routes["destination"]]
        places = derive(sources, _place_names, PLACE_COLUMNS)
    else:
        places = dict.fromkeys(PLACE_COLUMNS, states.place)
    numbers = _numbers(timelines, pairs, effect_source, states, local_as_of)
    return Features(
        categoricals=routes | places,
        numbers=numbers,
        local_as_of=local_as_of,
        calendar=texts["calendar"].take(row),
    )


def _numbers(
    timelines: Timelines,
    pairs: AsOfPairs,
    effect_source: PlaceEffectSource,
    states: States,
    local_as_of: NDArray[np.datetime64],
) -> dict[str, NDArray[Any]]:
    """The numbers by column, (M,) each; those of more than ``_BLOCK_ROWS`` moments are compact."""
    if len(pairs) <= _BLOCK_ROWS:
        rows_of_all = _number_rows(timelines, pairs, effect_source, states, local_as_of)
        return dict(zip(_ALL_NUMBER_COLUMNS, rows_of_all, strict=True))
    result = {
        name: np.empty(len(pairs), np.float64 if name in _EXACT_COLUMNS else np.float32)
        for name in _ALL_NUMBER_COLUMNS
    }
    for first in range(0, len(pairs), _BLOCK_ROWS):
        rows = np.arange(first, min(first + _BLOCK_ROWS, len(pairs)))
        block = pairs.take(rows), effect_source, states.take(rows), local_as_of[rows]
        for name, values in zip(_ALL_NUMBER_COLUMNS, _number_rows(timelines, *block), strict=True):
            result[name][rows] = values
    return result


def _number_rows(
    timelines: Timelines,
    pairs: AsOfPairs,
    effect_source: PlaceEffectSource,
    states: States,
    local_as_of: NDArray[np.datetime64],
) -> list[NDArray[np.float64]]:
    """``_ALL_NUMBER_COLUMNS`` of the moments, (M,) each."""
    measures = timelines.measures[:, pairs.row]
    # ``PLACE_EFFECTS``; the shop's handling no longer matters after the hand-over.
    handling, *transit = effect_source.lookup(timelines, pairs)
    is_at_shop = np.isnat(states.handed_over_at)
    handling = np.where(is_at_shop, handling, np.nan)
    journeys = _numbers_of_journeys(timelines, pairs, states, local_as_of)
    return [*measures, handling, *transit, *journeys]


def _numbers_of_journeys(
    timelines: Timelines,
    pairs: AsOfPairs,
    states: States,
    local_as_of: NDArray[np.datetime64],
) -> NDArray[np.float64]:
    """``_JOURNEY_COLUMNS``, (14, M)."""
    row = pairs.row
    origin_zone = timelines.texts["origin_zone"]
    origin_as_of = wall_clock(pairs.as_of, origin_zone.codes[row], origin_zone.names)
    promised_at = promise_starts(timelines, row)
    return _journey_numbers(
        as_of=pairs.as_of.view(np.int64),
        local=local_as_of.view(np.int64),
        origin_local=origin_as_of.view(np.int64),
        promise=promised_at.view(np.int64),
        ordered=states.ordered_at.view(np.int64),
        handed_over=states.handed_over_at.view(np.int64),
        last_scan=states.last_scan_at.view(np.int64),
        approved=states.approved_at.view(np.int64),
        phase=states.phase,
        last_code=states.last_code,
        scan_count=states.scan_count,
        exception_count=states.exception_count,
    )


def _place_names(
    carrier: str | None, code: str | None, place: str | None, destination: str | None
) -> tuple[str | None, str | None]:
    if place is None:
        return None, None
    scanned_at = f"{carrier or UNNAMED}|{code}|{place}"
    return scanned_at, f"{scanned_at}|{destination or UNNAMED}"


@njit(cache=True)
def _journey_numbers(  # type: ignore[no-untyped-def]  # compiled
    as_of,
    local,
    origin_local,
    promise,
    ordered,
    handed_over,
    last_scan,
    approved,
    phase,
    last_code,
    scan_count,
    exception_count,
):
    """``_JOURNEY_COLUMNS``, (14, M), of M states; times are microseconds since 1970."""
    result = np.empty((_JOURNEY_COUNT, len(as_of)))
    for i in range(len(as_of)):
        result[_JourneyNumber.PHASE, i] = phase[i]
        result[_JourneyNumber.LAST_CODE, i] = last_code[i]
        result[_JourneyNumber.ORDER_ELAPSED_DAYS, i] = _elapsed_days(ordered[i], as_of[i])
        result[_JourneyNumber.HANDOVER_ELAPSED_DAYS, i] = _elapsed_days(handed_over[i], as_of[i])
        result[_JourneyNumber.SILENCE_DAYS, i] = _elapsed_days(last_scan[i], as_of[i])
        result[_JourneyNumber.APPROVAL_DAYS, i] = _elapsed_days(ordered[i], approved[i])
        result[_JourneyNumber.HANDLING_DAYS, i] = _elapsed_days(ordered[i], handed_over[i])
        result[_JourneyNumber.SCAN_COUNT, i] = scan_count[i]
        result[_JourneyNumber.EXCEPTION_COUNT, i] = exception_count[i]
        local_day = local[i] // _DAY
        result[_JourneyNumber.LOCAL_WEEKDAY, i] = (local_day + _EPOCH_WEEKDAY) % 7
        result[_JourneyNumber.LOCAL_HOUR, i] = local[i] % _DAY / _HOUR
        week_hours = origin_local[i] / _HOUR + _EPOCH_WEEK_HOUR
        result[_JourneyNumber.ORIGIN_WEEK_HOUR, i] = week_hours % _WEEK_HOURS
        result[_JourneyNumber.ORIGIN_HOUR, i] = origin_local[i] % _DAY / _HOUR
        result[_JourneyNumber.PROMISE_LEFT_DAYS, i] = _days_between(as_of[i], promise[i])
    return result


@njit(cache=True)
def _days_between(start, end):  # type: ignore[no-untyped-def]  # compiled
    return np.nan if start == _NAT or end == _NAT else (end - start) / _HOUR / 24.0


@njit(cache=True)
def _elapsed_days(start, end):  # type: ignore[no-untyped-def]  # compiled
    return np.maximum(_days_between(start, end), 0.0)
