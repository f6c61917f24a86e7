"""Shipments and their scans in columns: ordered, without duplicates, ready to be asked what was known when."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from eta.calendars.local_time import microseconds
from eta.domain.errors import InvalidValue, NaiveTime
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.journey.categories import MISSING, Categorical, LazyCategoricals, derive
from eta.journey.event_hash import event_hashes, text_hash, text_hashes
from eta.journey.route import Route, distances_km, postal_name, route_of
from eta.journey.segments import NO_ROW, Segments, pick_times

#: Columns of a frame of shipments; a source may leave out all but the first four and the two
#: countries.
SHIPMENT_COLUMNS = (
    "shipment_id",
    "order_id",
    "origin_country",
    "destination_country",
    "carrier",
    "service_level",
    "origin_region",
    "origin_postcode",
    "origin_latitude",
    "origin_longitude",
    "destination_region",
    "destination_postcode",
    "destination_latitude",
    "destination_longitude",
    "weight_kg",
    "length_cm",
    "width_cm",
    "height_cm",
    "ordered_at",
    "promised_on",
    "price",
    "package_count",
    "has_several_origins",
)
EVENT_COLUMNS = (
    "shipment_id",
    "event_code",
    "occurred_at",
    "received_at",
    "is_received_at_assumed",
    "raw_code",
    "place",
)

#: Event codes in order of declaration; columns hold positions in this tuple.
EVENT_CODES = tuple(EventCode)
Times = NDArray[np.datetime64]

#: What a route follows from.
_ROUTE_COLUMNS = (
    "carrier",
    "service_level",
    "origin_country",
    "origin_region",
    "destination_country",
    "destination_region",
)
_TEXT_COLUMNS = (*_ROUTE_COLUMNS, "origin_postcode", "destination_postcode")

#: The texts of where a parcel is sent from and to, as ``route.postal_name`` says it, and what they
#: follow from.
ORIGIN_POSTAL, DESTINATION_POSTAL = "origin_postal", "destination_postal"
_POSTAL = {
    ORIGIN_POSTAL: ("origin_country", "origin_postcode"),
    DESTINATION_POSTAL: ("destination_country", "destination_postcode"),
}
_NUMBER_COLUMNS = (
    "origin_latitude",
    "origin_longitude",
    "destination_latitude",
    "destination_longitude",
    "weight_kg",
    "length_cm",
    "width_cm",
    "height_cm",
    "price",
    "package_count",
)

#: What a model may know of a shipment's places, sizes and worth.
MEASURES = (
    "distance_km",
    "origin_latitude",
    "origin_longitude",
    "destination_latitude",
    "destination_longitude",
    "weight_kg",
    "volume_l",
    "price",
    "package_count",
)

#: The texts of a digest, in its order.
_DIGEST_COLUMNS = (
    "carrier",
    "service_level",
    "origin_country",
    "origin_region",
    "origin_postcode",
    "destination_country",
    "destination_region",
    "destination_postcode",
    "origin",
    "destination",
)
_INSTANT, _DATE = np.dtype("datetime64[us]"), np.dtype("datetime64[D]")
_POSITION = {code.value: position for position, code in enumerate(EVENT_CODES)}


def _fields(columns: Sequence[str]) -> Callable[[Shipment], tuple[Any, ...]]:
    """Reads the columns of a ``Shipment``, whose two ends are values of their own."""
    return attrgetter(
        *(
            column.replace("_", ".", 1)
            if column.startswith(("origin_", "destination_"))
            else column
            for column in columns
        )
    )


_texts_of, _numbers_of = _fields(_TEXT_COLUMNS), _fields(_NUMBER_COLUMNS)
_POSTAL_PARTS = [itemgetter(*map(_TEXT_COLUMNS.index, parts)) for parts in _POSTAL.values()]


class RawEvents(NamedTuple):
    """Scans as they were told, a list a column; times in microseconds since 1970 in UTC."""

    #: Rows of the shipments.
    owner: Sequence[int]
    event_code: Sequence[str]
    occurred: Sequence[int]
    received: Sequence[int]
    raw_code: Sequence[str | None]
    place: Sequence[str | None]


@dataclass(frozen=True, eq=False)
class Scans:
    """The E scans of N shipments.

    The scans of shipment i are the rows ``scans.starts[i]:scans.starts[i + 1]``, sorted by
    ``occurred_at``, then by the declared order of codes, then by ``event_hash``. The same scan told
    several times is one scan, known from its earliest ``received_at``. Instants are
    ``datetime64[us]`` in UTC.
    """

    scans: Segments
    event_code: NDArray[np.int16]
    occurred_at: NDArray[np.datetime64]
    received_at: NDArray[np.datetime64]
    #: Where it was scanned, (E,).
    place: Categorical
    event_hash: NDArray[np.uint64]

    @classmethod
    def from_raw_events(cls, events: RawEvents, shipment_count: int) -> Scans:
        """The scans of so many shipments, told in any order."""
        return Scans(**_deduplicate(_from_raw_events(events), shipment_count))


@dataclass(frozen=True, eq=False)
class Timelines(Scans):
    """N shipments, sorted by id, and their scans."""

    shipment_id: NDArray[np.object_]
    order_id: NDArray[np.object_]
    #: Carrier, service level and both ends, and what follows from them (``route.Route``).
    texts: dict[str, Categorical]
    #: Places, sizes and worth, (10, N); NaN is "not known".
    numbers: NDArray[np.float64]
    promised_on: NDArray[np.datetime64]
    has_several_origins: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.shipment_id)

    @cached_property
    def parcel(self) -> NDArray[np.uint64]:
        """A hash (N,) of each id, the same in any company."""
        return text_hashes(self.shipment_id)

    @cached_property
    def measures(self) -> NDArray[np.float64]:
        """``MEASURES`` of the shipments, (9, N)."""
        return _measures(self.numbers)

    def digest(self, known_through: np.datetime64) -> str:
        """SHA-256 of all that was known at a moment: the same for any data that agree up to then."""
        received = np.flatnonzero(self.received_at <= known_through)
        rows = np.unique(self.scans.owner()[received])
        digest = hashlib.sha256()
        for labels in (self.texts[name] for name in _DIGEST_COLUMNS):
            digest.update(repr(labels.take(rows).texts().tolist()).encode())
        for column in (self.shipment_id[rows].tolist(), self.order_id[rows].tolist()):
            digest.update(repr(column).encode())
        for values in (*self.numbers, self.promised_on, self.has_several_origins):
            digest.update(values[rows].tobytes())
        for scans in (self.event_code, self.occurred_at, self.received_at, self.event_hash):
            digest.update(scans[received].tobytes())
        return digest.hexdigest()

    def first_received(self, codes: Collection[EventCode]) -> Times:
        """When anything of such a code was first told of each shipment, (N,); NaT where nothing was."""
        wanted = np.isin(self.event_code, [EVENT_CODES.index(code) for code in codes])
        owner, received = self.scans.owner()[wanted], self.received_at[wanted]
        order = np.lexsort((received, owner))
        runs = Segments.from_counts(np.bincount(owner, minlength=len(self)))
        return pick_times(received[order], np.where(runs.counts > 0, runs.starts[:-1], NO_ROW))

    @classmethod
    def from_frames(cls, shipments: pd.DataFrame, events: pd.DataFrame) -> Timelines:
        """Timelines of frames with ``SHIPMENT_COLUMNS`` and ``EVENT_COLUMNS``.

        Raises:
            InvalidValue: if a needed column is missing, an id comes twice, or an event belongs to
                no shipment.
            NaiveTime: if a time column has no zone.
        """
        shipments = _with_columns(shipments, SHIPMENT_COLUMNS, needed=SHIPMENT_COLUMNS[:4])
        events = _with_columns(events, EVENT_COLUMNS, needed=EVENT_COLUMNS[:4])
        shipments = shipments.sort_values("shipment_id", kind="stable").reset_index(drop=True)
        ids = pd.Index(shipments["shipment_id"])
        if not ids.is_unique:
            raise _duplicate_id(ids[ids.duplicated()][0])
        owner = ids.get_indexer(pd.Index(events["shipment_id"]))
        if (owner < 0).any():
            raise _unknown_shipment(events["shipment_id"].iloc[int(np.argmin(owner))])
        texts = {name: Categorical.from_texts(shipments[name]) for name in _TEXT_COLUMNS}
        return cls(
            shipment_id=shipments["shipment_id"].to_numpy(dtype=object),
            order_id=shipments["order_id"].to_numpy(dtype=object),
            texts=texts
            | derive([texts[name] for name in _ROUTE_COLUMNS], route_of, Route._fields)
            | {
                name: derive([texts[part] for part in parts], _postal_names, (name,))[name]
                for name, parts in _POSTAL.items()
            },
            numbers=np.array(
                [
                    pd.to_numeric(shipments[name]).to_numpy(dtype=np.float64)
                    for name in _NUMBER_COLUMNS
                ]
            ),
            promised_on=pd.to_datetime(shipments["promised_on"]).to_numpy().astype(_DATE),
            has_several_origins=shipments["has_several_origins"].eq(True).to_numpy(dtype=bool),
            **_deduplicate(_from_frame(owner.astype(np.int64), events), len(shipments)),
        )

    @classmethod
    def from_records(
        cls, shipments: Sequence[Shipment], events: Iterable[TrackingEvent]
    ) -> Timelines:
        """Timelines of single records: the same columns, hence the same answers.

        Raises:
            InvalidValue: if an id comes twice, or an event belongs to no shipment.
        """
        shipments = sorted(shipments, key=attrgetter("shipment_id"))
        row_of = {shipment.shipment_id: row for row, shipment in enumerate(shipments)}
        if len(row_of) < len(shipments):
            raise _duplicate_id(
                next(
                    shipment.shipment_id
                    for row, shipment in enumerate(shipments)
                    if row_of[shipment.shipment_id] != row
                )
            )
        texts = [_texts_of(shipment) for shipment in shipments]
        texts = [
            (
                *values,
                *route_of(*values[: len(_ROUTE_COLUMNS)]),
                *(postal_name(*parts(values)) for parts in _POSTAL_PARTS),
            )
            for values in texts
        ]
        numbers = np.array(
            [_numbers_of(shipment) for shipment in shipments], dtype=np.float64
        ).reshape(-1, len(_NUMBER_COLUMNS))
        return cls(
            shipment_id=np.array(list(row_of), dtype=object),
            order_id=np.array([shipment.order_id for shipment in shipments], dtype=object),
            texts=LazyCategoricals(texts, (*_TEXT_COLUMNS, *Route._fields, *_POSTAL)),
            numbers=np.ascontiguousarray(numbers.T),
            promised_on=np.array([shipment.promised_on for shipment in shipments], dtype=_DATE),
            has_several_origins=np.array(
                [shipment.has_several_origins for shipment in shipments], dtype=bool
            ),
            **_deduplicate(_from_records(row_of, list(events)), len(shipments)),
        )

    @property
    def zone(self) -> Categorical:
        """The destination's zone."""
        return self.texts["zone"]

    @property
    def zone_source(self) -> Categorical:
        """How the zone was found, a ``TimezoneSource``."""
        return self.texts["zone_source"]


class _RawEventColumns(NamedTuple):
    """Scans as they were told, (E,) each: in any order, some of them several times.

    Content alone makes a scan: what the carrier said happened, when and where; never who told us or
    when.
    """

    owner: NDArray[np.int64]
    code: NDArray[np.int64]
    #: Microseconds in UTC.
    occurred: NDArray[np.int64]
    received: NDArray[np.int64]
    #: Hashes of what the carrier said and of the place, then the place itself.
    code_hashes: NDArray[np.int64]
    place_hashes: NDArray[np.int64]
    place: Categorical


def _from_frame(owner: NDArray[np.int64], events: pd.DataFrame) -> _RawEventColumns:
    code = pd.Index(EVENT_CODES).get_indexer(pd.Index(events["event_code"]))
    if (code < 0).any():
        raise InvalidValue(
            "event_code",
            f"{events['event_code'].iloc[int(np.argmin(code))]!r} is no event code",
            "use one of the vocabulary, or info",
        )
    occurred, received = _utc(events["occurred_at"]), _utc(events["received_at"])
    if np.isnat(occurred).any() or np.isnat(received).any():
        raise InvalidValue("occurred_at", "an event has no time", "leave the event out")
    raw, place = Categorical.from_texts(events["raw_code"]), Categorical.from_texts(events["place"])
    code_hashes = text_hashes([*raw.names, *map(str, EVENT_CODES)])[
        np.where(raw.codes == MISSING, code + len(raw.names), raw.codes)
    ]
    where = text_hashes([*place.names, ""])[place.codes]
    return _RawEventColumns(
        owner,
        code.astype(np.int64),
        occurred.view(np.int64),
        received.view(np.int64),
        code_hashes.view(np.int64),
        where.view(np.int64),
        place,
    )


def _from_records(row_of: Mapping[str, int], events: Sequence[TrackingEvent]) -> _RawEventColumns:
    unknown_id = next(
        (event.shipment_id for event in events if event.shipment_id not in row_of), None
    )
    if unknown_id is not None:
        raise _unknown_shipment(unknown_id)
    return _from_raw_events(
        RawEvents(
            [row_of[event.shipment_id] for event in events],
            [event.event_code.value for event in events],
            [microseconds(event.occurred_at) for event in events],
            [microseconds(event.received_at) for event in events],
            [event.raw_code for event in events],
            [event.place for event in events],
        )
    )


def _from_raw_events(events: RawEvents) -> _RawEventColumns:
    code = [_POSITION[name] for name in events.event_code]
    code_hashes = [
        text_hash(raw or name) for raw, name in zip(events.raw_code, events.event_code, strict=True)
    ]
    place_hashes = [text_hash(place or "") for place in events.place]
    owner, codes, occurred, received, code_hash_array, place_hash_array = np.array(
        [events.owner, code, events.occurred, events.received, code_hashes, place_hashes],
        dtype=np.int64,
    )
    return _RawEventColumns(
        owner,
        codes,
        occurred,
        received,
        code_hash_array,
        place_hash_array,
        Categorical.from_texts(events.place),
    )


def _deduplicate(columns: _RawEventColumns, shipment_count: int) -> dict[str, Any]:
    """The columns of the scans: in order, each scan once, known from when it was first told."""
    event_hash = event_hashes(columns.code_hashes, columns.occurred, columns.place_hashes)
    scan = (
        np.arange(len(columns.owner))
        if _is_in_order(columns.owner, columns.occurred)
        else _in_order(columns, event_hash)
    )
    return {
        "scans": Segments.from_counts(np.bincount(columns.owner[scan], minlength=shipment_count)),
        "event_code": columns.code[scan].astype(np.int16),
        "occurred_at": columns.occurred[scan].view(_INSTANT),
        "received_at": columns.received[scan].view(_INSTANT),
        "place": columns.place.take(scan),
        "event_hash": event_hash[scan],
    }


def _in_order(columns: _RawEventColumns, event_hash: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The rows of the scans, sorted, each as it was told first."""
    first = np.lexsort((columns.received, event_hash, columns.owner))
    is_first = np.ones(len(first), dtype=bool)
    is_first[1:] = (np.diff(columns.owner[first]) != 0) | (
        event_hash[first][1:] != event_hash[first][:-1]
    )
    scan = first[is_first]
    return scan[
        np.lexsort(
            (event_hash[scan], columns.code[scan], columns.occurred[scan], columns.owner[scan])
        )
    ]


@njit(cache=True)
def _is_in_order(owner, occurred):  # type: ignore[no-untyped-def]  # compiled
    """Each scan happened after the one before it, or to a later shipment: sorted already, and none told twice."""
    is_in_order = True
    for i in range(1, len(owner)):
        is_in_order &= owner[i] > owner[i - 1] or (
            owner[i] == owner[i - 1] and occurred[i] > occurred[i - 1]
        )
    return is_in_order


@njit(cache=True)
def _measures(numbers):  # type: ignore[no-untyped-def]  # compiled
    result = np.empty((9, numbers.shape[1]))
    result[0], result[1:5] = distances_km(numbers[:4]), numbers[:4]
    result[5], result[6] = numbers[4], numbers[5] * numbers[6] * numbers[7] / 1000.0
    result[7:] = numbers[8:]
    return result


def _postal_names(country: str | None, postcode: str | None) -> tuple[str | None]:
    return (postal_name(country, postcode),)


def _duplicate_id(shipment_id: str) -> InvalidValue:
    return InvalidValue("shipment_id", f"{shipment_id!r} comes twice", "give each shipment one row")


def _unknown_shipment(shipment_id: str) -> InvalidValue:
    return InvalidValue(
        "shipment_id", f"an event names {shipment_id!r}, which is no shipment", "add the shipment"
    )


def _with_columns(
    frame: pd.DataFrame, columns: Sequence[str], *, needed: Sequence[str]
) -> pd.DataFrame:
    for name in needed:
        if name not in frame.columns:
            raise InvalidValue(name, "the column is missing", "add it")
    return frame.reindex(columns=list(columns))


def _utc(times: pd.Series) -> NDArray[np.datetime64]:
    if not isinstance(times.dtype, pd.DatetimeTZDtype):
        raise NaiveTime(str(times.name))
    return times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype(_INSTANT)
