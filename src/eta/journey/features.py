"""The columns a model sees: one function for training, replay and serving.

Every value depends on the shipment's own facts, on scans received by ``as_of`` and, for the habits
of places, on those of other shipments received before its day; durations come from when things
happened, clipped at ``as_of`` because carriers' clocks run fast at times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.calendars.local_time import day_ends, day_starts, wall_clock
from eta.journey.categories import Categorical, derive
from eta.journey.place_effects import PLACE_EFFECTS, PlaceEffectSource
from eta.journey.route import UNNAMED
from eta.journey.state import AsOfPairs, States, fold
from eta.journey.timelines import EVENT_CODES, MEASURES, Timelines

#: Texts of a shipment that a model may use; ``service`` is "carrier|service level",
#: ``service_lane`` "carrier|service level|lane".
ROUTE_COLUMNS = ("carrier", "service", "origin", "destination", "lane", "service_lane")
#: Texts of its journey so far: "carrier|event code|place" of the last scan that says where it was,
#: and that with the destination.
PLACE_COLUMNS = ("place", "place_lane")
CATEGORICAL_COLUMNS = (*ROUTE_COLUMNS, *PLACE_COLUMNS)
_JOURNEY_COLUMNS = (
    "phase",
    "last_code",
    "order_elapsed_days",
    "handover_elapsed_days",
    "silence_days",
    "approval_days",
    "handling_days",
    "scan_count",
    "exception_count",
    "local_weekday",
    "local_hour",
    "origin_week_hour",
    "origin_hour",
    "promise_left_days",
)
#: Days until the promised local day begins: what only a model of delays, never one that sets
#: promises, may see.
PROMISE_COLUMN = _JOURNEY_COLUMNS[-1]
#: Numbers that a model may use; NaN is "not known".
NUMBER_COLUMNS = (*MEASURES, *PLACE_EFFECTS, *_JOURNEY_COLUMNS[:-1])

_NAT = np.iinfo(np.int64).min
#: In microseconds.
_HOUR, _DAY = 3_600_000_000, 86_400_000_000


@dataclass(frozen=True, eq=False)
class Features:
    """Features of M moments: ``categoricals`` and ``numbers`` by column name, (M,) each."""

    categoricals: dict[str, Categorical]
    numbers: dict[str, NDArray[np.float64]]
    #: Wall-clock time of ``as_of`` at the destination, without a zone.
    local_as_of: NDArray[np.datetime64]
    #: Country and region of the destination: whose holidays count.
    calendar: Categorical

    def __len__(self) -> int:
        return len(self.local_as_of)

    def take(self, rows: NDArray[np.integer]) -> Features:
        """The features of some moments."""
        return Features(
            {name: categoricals.take(rows) for name, categoricals in self.categoricals.items()},
            {name: values[rows] for name, values in self.numbers.items()},
            self.local_as_of[rows],
            self.calendar.take(rows),
        )


def features(
    timelines: Timelines,
    pairs: AsOfPairs,
    effect_source: PlaceEffectSource,
    states: States | None = None,
) -> Features:
    """The features (M,) of ``pairs``, with what is known of their places; ``states`` spares a second fold where the caller has them."""
    states = fold(timelines, pairs) if states is None else states
    row, as_of = pairs.row, pairs.as_of
    local = wall_clock(as_of, timelines.zone.codes[row], timelines.zone.names)
    journey = _journey_numbers(
        as_of.view(np.int64),
        local.view(np.int64),
        wall_clock(
            as_of, timelines.texts["origin_zone"].codes[row], timelines.texts["origin_zone"].names
        ).view(np.int64),
        promise_starts(timelines, row).view(np.int64),
        states.ordered_at.view(np.int64),
        states.handed_over_at.view(np.int64),
        states.last_scan_at.view(np.int64),
        states.approved_at.view(np.int64),
        states.phase,
        states.last_code,
        states.scan_count,
        states.exception_count,
    )
    handling, *transit = effect_source.lookup(timelines, pairs)
    # Of a parcel that has left, the shop's habit says nothing any more.
    handling = np.where(np.isnat(states.handed_over_at), handling, np.nan)
    return Features(
        {name: timelines.texts[name].take(row) for name in ROUTE_COLUMNS}
        | _places(timelines, row, states),
        dict(
            zip(
                (*MEASURES, *PLACE_EFFECTS, *_JOURNEY_COLUMNS),
                (*timelines.measures[:, row], handling, *transit, *journey),
                strict=True,
            )
        ),
        local,
        timelines.texts["destination"].take(row),
    )


def _places(
    timelines: Timelines, row: NDArray[np.integer], states: States
) -> dict[str, Categorical]:
    """``PLACE_COLUMNS`` of shipments ``row`` (M,) of which so much is known."""
    if not (states.place.codes >= 0).any():
        return dict.fromkeys(PLACE_COLUMNS, states.place)
    sources = [
        timelines.texts["carrier"].take(row),
        Categorical(states.place_code.astype(np.int32), EVENT_CODES),
        states.place,
        timelines.texts["destination"].take(row),
    ]
    return derive(sources, _place_names, PLACE_COLUMNS)


def _place_names(
    carrier: str | None, code: str | None, place: str | None, destination: str | None
) -> tuple[str | None, str | None]:
    if place is None:
        return None, None
    here = f"{carrier or UNNAMED}|{code}|{place}"
    return here, f"{here}|{destination or UNNAMED}"


def promise_starts(timelines: Timelines, row: NDArray[np.integer]) -> NDArray[np.datetime64]:
    """The first instant of the promised local day, (M,), of shipments ``row``; NaT without a promise."""
    return day_starts(timelines.promised_on[row], timelines.zone.codes[row], timelines.zone.names)


def promise_ends(timelines: Timelines, row: NDArray[np.integer]) -> NDArray[np.datetime64]:
    """The first instant after the promised local day, (M,), of shipments ``row``; NaT without a promise."""
    return day_ends(timelines.promised_on[row], timelines.zone.codes[row], timelines.zone.names)


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
    scans,
    exceptions,
):
    """``_JOURNEY_COLUMNS`` in their order, (14, M), of M states; times are microseconds, 1970-01-01 was a Thursday."""
    result = np.empty((14, len(as_of)))
    for i in range(len(as_of)):
        result[0, i], result[1, i] = phase[i], last_code[i]
        result[2, i], result[3, i], result[4, i] = (
            _elapsed_days(ordered[i], as_of[i]),
            _elapsed_days(handed_over[i], as_of[i]),
            _elapsed_days(last_scan[i], as_of[i]),
        )
        result[5, i], result[6, i] = (
            _elapsed_days(ordered[i], approved[i]),
            _elapsed_days(ordered[i], handed_over[i]),
        )
        result[7, i], result[8, i] = scans[i], exceptions[i]
        result[9, i] = (local[i] // _DAY + 3) % 7
        result[10, i] = local[i] % _DAY / _HOUR
        result[11, i] = (origin_local[i] / _HOUR + 72.0) % 168.0
        result[12, i] = origin_local[i] % _DAY / _HOUR
        result[13, i] = _days_between(as_of[i], promise[i])
    return result


@njit(cache=True)
def _days_between(start, end):  # type: ignore[no-untyped-def]  # compiled
    return np.nan if start == _NAT or end == _NAT else (end - start) / _HOUR / 24.0


@njit(cache=True)
def _elapsed_days(start, end):  # type: ignore[no-untyped-def]  # compiled
    return np.maximum(_days_between(start, end), 0.0)
