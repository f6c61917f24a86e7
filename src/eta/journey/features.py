"""The columns a model sees: one function for training, replay and serving.

Every value depends on the shipment's own facts and on scans received by ``as_of``; durations come from when things
happened, clipped at ``as_of`` because carriers' clocks run fast at times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local import day_ends, day_starts, hours_between, wall_clock
from eta.journey.columns import Labels
from eta.journey.state import Moments, States, fold
from eta.journey.timeline import Timelines

EARTH_RADIUS_KM = 6371.0

#: Stands in a combined label for a carrier or a service level that is not known.
UNNAMED = "?"

#: Texts that a model may use; ``service`` is "carrier|service level", ``service_lane`` "carrier|service level|lane".
LABEL_COLUMNS = ("carrier", "service", "origin", "destination", "lane", "service_lane")
#: Numbers that a model may use; NaN is "not known".
NUMBER_COLUMNS = (
    "distance_km",
    "origin_latitude",
    "origin_longitude",
    "destination_latitude",
    "destination_longitude",
    "weight_kg",
    "volume_l",
    "price",
    "package_count",
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
)
#: Days until the promised local day begins: what only a model of delays, never one that sets promises, may see.
PROMISE_COLUMN = "promise_left_days"


@dataclass(frozen=True, eq=False)
class Features:
    """Features of M moments: ``labels`` and ``numbers`` by column name, (M,) each."""

    labels: dict[str, Labels]
    numbers: dict[str, NDArray[np.float64]]
    #: Wall-clock time of ``as_of`` at the destination, without a zone.
    local_as_of: NDArray[np.datetime64]
    #: Country and region of the destination: whose holidays count.
    calendar: Labels

    def __len__(self) -> int:
        return len(self.local_as_of)

    def take(self, rows: NDArray[np.integer]) -> Features:
        """The features of some moments."""
        return Features(
            {name: labels.take(rows) for name, labels in self.labels.items()},
            {name: values[rows] for name, values in self.numbers.items()},
            self.local_as_of[rows],
            self.calendar.take(rows),
        )


def features(timelines: Timelines, moments: Moments, states: States | None = None) -> Features:
    """The features (M,) of ``moments``; ``states`` spares a second fold where the caller has them."""
    known = fold(timelines, moments) if states is None else states
    row, as_of = moments.row, moments.as_of
    local = wall_clock(as_of, timelines.zone.codes[row], timelines.zone.names)
    texts, numbers = timelines.texts, timelines.numbers
    origin, destination = texts["origin"], texts["destination"]
    lane = origin.joined(destination, ">")
    service = texts["carrier"].filled(UNNAMED).joined(texts["service_level"].filled(UNNAMED), "|")
    labels = {
        "carrier": texts["carrier"],
        "service": service,
        "origin": origin,
        "destination": destination,
        "lane": lane,
        "service_lane": service.joined(lane, "|"),
    }
    own: dict[str, NDArray[np.float64]] = {
        **{name: numbers[name] for name in NUMBER_COLUMNS if name in numbers},
        "distance_km": great_circle_km(*(numbers[f"{end}_{axis}"] for end in ("origin", "destination") for axis in ("latitude", "longitude"))),
        "volume_l": numbers["length_cm"] * numbers["width_cm"] * numbers["height_cm"] / 1000.0,
    }
    journey: dict[str, NDArray[np.generic]] = {
        "phase": known.phase,
        "last_code": known.last_code,
        "order_elapsed_days": _days(known.ordered_at, as_of),
        "handover_elapsed_days": _days(known.handed_over_at, as_of),
        "silence_days": _days(known.last_scan_at, as_of),
        "approval_days": _days(known.ordered_at, known.approved_at),
        "handling_days": _days(known.ordered_at, known.handed_over_at),
        "scan_count": known.scan_count,
        "exception_count": known.exception_count,
        "local_weekday": (local.astype("datetime64[D]").astype(np.int64) + 3) % 7,
        "local_hour": hours_between(local.astype("datetime64[D]").astype(local.dtype), local),
        PROMISE_COLUMN: hours_between(as_of, promise_starts(timelines, row)) / 24.0,
    }
    return Features(
        {name: label.take(row) for name, label in labels.items()},
        {name: values.astype(np.float64) for name, values in {**{name: values[row] for name, values in own.items()}, **journey}.items()},
        local,
        destination.take(row),
    )


def promise_starts(timelines: Timelines, row: NDArray[np.integer]) -> NDArray[np.datetime64]:
    """The first instant of the promised local day, (M,), of shipments ``row``; NaT without a promise."""
    return day_starts(timelines.promised_on[row], timelines.zone.codes[row], timelines.zone.names)


def promise_ends(timelines: Timelines, row: NDArray[np.integer]) -> NDArray[np.datetime64]:
    """The first instant after the promised local day, (M,), of shipments ``row``; NaT without a promise."""
    return day_ends(timelines.promised_on[row], timelines.zone.codes[row], timelines.zone.names)


def great_circle_km(
    latitude: NDArray[np.float64], longitude: NDArray[np.float64], to_latitude: NDArray[np.float64], to_longitude: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Great-circle distance of points in degrees (haversine formula, Sinnott 1984)."""
    a, b = np.radians(latitude), np.radians(to_latitude)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(to_longitude - longitude) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0)))


def _days(start: NDArray[np.datetime64], end: NDArray[np.datetime64]) -> NDArray[np.float64]:
    return np.maximum(hours_between(start, end) / 24.0, 0.0)
