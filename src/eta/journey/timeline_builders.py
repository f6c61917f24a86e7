"""Columns of timelines from frames, records and raw events: sorted, each scan once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any, NamedTuple, TypedDict

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
from eta.journey.measures import NUMBER_FIELDS
from eta.journey.route import End, Route, end_of, route_of
from eta.journey.scan_groups import NEVER, ScanReports, is_repeated, superseded_at
from eta.journey.segments import Segments

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
    "registered_at",
    "tracking_number",
)
CORRECTION = "correction_number"
EVENT_COLUMNS = (
    "shipment_id",
    "event_code",
    "occurred_at",
    "received_at",
    "is_received_at_assumed",
    "raw_code",
    "place",
    CORRECTION,
)
_REQUIRED_SHIPMENT_COLUMNS, _REQUIRED_EVENT_COLUMNS = SHIPMENT_COLUMNS[:4], EVENT_COLUMNS[:4]

#: The texts of both ends' postcodes (``route.End.postal``).
ORIGIN_POSTAL, DESTINATION_POSTAL = "origin_postal", "destination_postal"

_ORIGIN = ("origin_country", "origin_region", "origin_postcode")
_DESTINATION = ("destination_country", "destination_region", "destination_postcode")
_TEXT_COLUMNS = ("carrier", "service_level", *_ORIGIN, *_DESTINATION)
_DERIVED_COLUMNS = (*Route._fields, ORIGIN_POSTAL, DESTINATION_POSTAL)

_INSTANT, _DATE = np.dtype("datetime64[us]"), np.dtype("datetime64[D]")
_CODE_NUMBERS = {code.value: number for number, code in enumerate(EventCode)}


class ShipmentColumns(TypedDict):
    """The fields of ``Timelines`` that describe N shipments, sorted by id."""

    shipment_id: NDArray[np.object_]
    order_id: NDArray[np.object_]
    texts: dict[str, Categorical]
    numbers: NDArray[np.float64]
    promised_on: NDArray[np.datetime64]
    has_several_origins: NDArray[np.bool_]


class ScanColumns(TypedDict):
    """The fields of ``Scans``."""

    scans: Segments
    event_code: NDArray[np.int16]
    occurred_at: NDArray[np.datetime64]
    received_at: NDArray[np.datetime64]
    superseded_at: NDArray[np.datetime64]
    place: Categorical
    event_hash: NDArray[np.uint64]


class RawEvents(NamedTuple):
    """Events as received, a list a column; times in microseconds since 1970 in UTC."""

    #: Rows of the shipments.
    owner: Sequence[int]
    event_code: Sequence[str]
    occurred: Sequence[int]
    received: Sequence[int]
    raw_code: Sequence[str | None]
    place: Sequence[str | None]
    #: 0, or which correction of the scan with the same content it is.
    correction_number: Sequence[int]


class _RawEventColumns(NamedTuple):
    """Events as received, (E,) each: in any order, some of them several times.

    Two events are readings of the same scan if the carrier's code, the time and the place agree,
    whoever reported them and whenever they were received.
    """

    owner: NDArray[np.int64]
    code: NDArray[np.int64]
    #: Microseconds in UTC.
    occurred: NDArray[np.int64]
    received: NDArray[np.int64]
    #: Hashes of the carrier's code, else of ours, and of the place; then the place itself.
    code_hashes: NDArray[np.int64]
    place_hashes: NDArray[np.int64]
    place: Categorical
    correction_number: NDArray[np.int64]


class _ScansInOrder(NamedTuple):
    """Rows of the events that count at some moment, in order, (E,) each."""

    rows: NDArray[np.intp]
    event_hash: NDArray[np.uint64]
    #: Microseconds, or ``NEVER``.
    superseded: NDArray[np.int64]


def columns_from_raw_events(events: RawEvents, shipment_count: int) -> ScanColumns:
    """The scans of so many shipments."""
    return _scan_columns(_from_raw_events(events), shipment_count)


def counted_rows(events: RawEvents, as_of: int) -> list[int]:
    """The rows of the events that count at a moment, in microseconds, each scan once.

    They are sorted by shipment, then as in ``Timelines``.
    """
    columns = _from_raw_events(events)
    scans = _in_order(columns)
    is_known = (columns.received[scans.rows] <= as_of) & (scans.superseded > as_of)
    return list(map(int, scans.rows[is_known]))


def _from_raw_events(events: RawEvents) -> _RawEventColumns:
    code = [_CODE_NUMBERS[name] for name in events.event_code]
    code_texts = zip(events.raw_code, events.event_code, strict=True)
    code_hashes = [text_hash(raw_code or name) for raw_code, name in code_texts]
    place_hashes = [text_hash(place or "") for place in events.place]
    return _RawEventColumns(
        owner=_integers(events.owner),
        code=_integers(code),
        occurred=_integers(events.occurred),
        received=_integers(events.received),
        code_hashes=_integers(code_hashes),
        place_hashes=_integers(place_hashes),
        place=Categorical.from_texts(events.place),
        correction_number=_integers(events.correction_number),
    )


def columns_from_frames(
    shipments: pd.DataFrame, events: pd.DataFrame
) -> tuple[ShipmentColumns, ScanColumns]:
    """Shipments and scans of frames with ``SHIPMENT_COLUMNS`` and ``EVENT_COLUMNS``.

    Raises:
        InvalidValue: if a required column is missing, an id occurs twice, or an event belongs to
            no shipment.
        NaiveTime: if a time column has no zone.
    """
    shipments = _with_columns(shipments, SHIPMENT_COLUMNS, required=_REQUIRED_SHIPMENT_COLUMNS)
    events = _with_columns(events, EVENT_COLUMNS, required=_REQUIRED_EVENT_COLUMNS)
    shipments = shipments.sort_values("shipment_id", kind="stable").reset_index(drop=True)
    owner = _owner(shipments["shipment_id"], events["shipment_id"])
    scans = _scan_columns(_from_frame(owner, events), len(shipments))
    return _shipments_from_frame(shipments), scans


def repeated_events(shipments: pd.DataFrame, events: pd.DataFrame) -> NDArray[np.bool_]:
    """Which events, (E,), repeat one that another row reports too and that was received first.

    Raises:
        InvalidValue: as ``columns_from_frames``.
        NaiveTime: if a time column has no zone.
    """
    events = _with_columns(events, EVENT_COLUMNS, required=_REQUIRED_EVENT_COLUMNS)
    owner = _owner(shipments["shipment_id"], events["shipment_id"])
    columns = _from_frame(owner, events)
    if _is_in_order(columns.owner, columns.occurred):
        return np.zeros(len(events), dtype=bool)
    return _repetitions(_reports(columns))


def _owner(shipment_ids: pd.Series, event_ids: pd.Series) -> NDArray[np.int64]:
    """The row of each event's shipment, (E,)."""
    ids = pd.Index(shipment_ids)
    if not ids.is_unique:
        raise _duplicate_id(ids[ids.duplicated()][0])
    owner = ids.get_indexer(pd.Index(event_ids)).astype(np.int64)
    if (owner < 0).any():
        first_unknown = int(np.argmin(owner))
        raise _unknown_shipment(event_ids.iloc[first_unknown])
    return owner


def columns_from_records(
    shipments: Sequence[Shipment], events: Iterable[TrackingEvent]
) -> tuple[ShipmentColumns, ScanColumns]:
    """Shipments and scans of single records: the same columns as those of frames.

    Raises:
        InvalidValue: if an id occurs twice, or an event belongs to no shipment.
    """
    shipments = sorted(shipments, key=attrgetter("shipment_id"))
    row_of = {shipment.shipment_id: row for row, shipment in enumerate(shipments)}
    if len(row_of) < len(shipments):
        # Ids are sorted: those that occur twice are neighbours.
        for one, other in pairwise(shipments):
            if one.shipment_id == other.shipment_id:
                raise _duplicate_id(one.shipment_id)
    events = list(events)
    for event in events:
        if event.shipment_id not in row_of:
            raise _unknown_shipment(event.shipment_id)
    raw_events = RawEvents(
        owner=[row_of[event.shipment_id] for event in events],
        event_code=[event.event_code.value for event in events],
        occurred=[microseconds(event.occurred_at) for event in events],
        received=[microseconds(event.received_at) for event in events],
        raw_code=[event.raw_code for event in events],
        place=[event.place for event in events],
        correction_number=[event.correction_number for event in events],
    )
    scans = columns_from_raw_events(raw_events, len(shipments))
    return _shipments_from_records(shipments), scans


def _shipments_from_frame(shipments: pd.DataFrame) -> ShipmentColumns:
    shipment_id = shipments["shipment_id"]
    order_id = shipments["order_id"]
    numbers = [pd.to_numeric(shipments[name]) for name in NUMBER_FIELDS]
    number_rows = [values.to_numpy(dtype=np.float64) for values in numbers]
    promised_on = pd.to_datetime(shipments["promised_on"]).to_numpy()
    has_several_origins = shipments["has_several_origins"].eq(True)
    texts = {name: Categorical.from_texts(shipments[name]) for name in _TEXT_COLUMNS}
    texts |= _derived_texts(texts)
    return ShipmentColumns(
        shipment_id=shipment_id.to_numpy(dtype=object),
        order_id=order_id.to_numpy(dtype=object),
        texts=texts,
        numbers=np.array(number_rows),
        promised_on=promised_on.astype(_DATE),
        has_several_origins=has_several_origins.to_numpy(dtype=bool),
    )


def _derived_texts(texts: Mapping[str, Categorical]) -> dict[str, Categorical]:
    """``_DERIVED_COLUMNS`` of shipments with ``_TEXT_COLUMNS``."""
    origin, destination = (
        derive([texts[name] for name in columns], end_of, End._fields)
        for columns in (_ORIGIN, _DESTINATION)
    )
    sources = [
        *(texts[name] for name in ("carrier", "service_level")),
        *(origin[name] for name in ("place", "zone")),
        *(destination[name] for name in ("place", "zone", "zone_source")),
    ]
    route = derive(sources, route_of, Route._fields)
    return {**route, ORIGIN_POSTAL: origin["postal"], DESTINATION_POSTAL: destination["postal"]}


def _shipments_from_records(shipments: Sequence[Shipment]) -> ShipmentColumns:
    """The columns of records that are sorted by id."""
    numbers = [_numbers_of(shipment) for shipment in shipments]
    table = np.array(numbers, dtype=np.float64).reshape(-1, len(NUMBER_FIELDS))
    shipment_id = [shipment.shipment_id for shipment in shipments]
    order_id = [shipment.order_id for shipment in shipments]
    promised_on = [shipment.promised_on for shipment in shipments]
    has_several_origins = [shipment.has_several_origins for shipment in shipments]
    rows = []
    for shipment in shipments:
        source_texts = _texts_of(shipment)
        carrier, service_level, *places = source_texts
        origin, destination = end_of(*places[:3]), end_of(*places[3:])
        route = route_of(carrier, service_level, *origin[:2], *destination[:3])
        rows.append((*source_texts, *route, origin.postal, destination.postal))
    texts = LazyCategoricals(rows, (*_TEXT_COLUMNS, *_DERIVED_COLUMNS))
    return ShipmentColumns(
        shipment_id=np.array(shipment_id, dtype=object),
        order_id=np.array(order_id, dtype=object),
        texts=texts,
        numbers=np.ascontiguousarray(table.T),
        promised_on=np.array(promised_on, dtype=_DATE),
        has_several_origins=np.array(has_several_origins, dtype=bool),
    )


def _fields(columns: Sequence[str]) -> Callable[[Shipment], tuple[Any, ...]]:
    """Returns a getter of columns of a ``Shipment``, whose two ends are objects."""
    paths = []
    for column in columns:
        is_of_an_end = column.startswith(("origin_", "destination_"))
        paths.append(column.replace("_", ".", 1) if is_of_an_end else column)
    return attrgetter(*paths)


_texts_of, _numbers_of = _fields(_TEXT_COLUMNS), _fields(NUMBER_FIELDS)


def _from_frame(owner: NDArray[np.int64], events: pd.DataFrame) -> _RawEventColumns:
    # The number of each event code, (E,).
    event_code = events["event_code"]
    codes = pd.Index(tuple(EventCode))
    position = codes.get_indexer(pd.Index(event_code))
    code = position.astype(np.int64)
    if (code < 0).any():
        first = int(np.argmin(code))
        first_unknown = event_code.iloc[first]
        problem = f"{first_unknown!r} is not an event code"
        raise InvalidValue("event_code", problem, "use a code of the vocabulary, or info")
    occurred = _utc(events["occurred_at"])
    received = _utc(events["received_at"])
    if np.isnat(occurred).any() or np.isnat(received).any():
        raise InvalidValue("occurred_at", "an event has no time", "leave the event out")
    raw = Categorical.from_texts(events["raw_code"])
    place = Categorical.from_texts(events["place"])
    # Hashes of the carrier's codes, followed by those of ours.
    code_texts = [*raw.names, *map(str, EventCode)]
    hash_row = np.where(raw.codes == MISSING, code + len(raw.names), raw.codes)
    code_hashes = text_hashes(code_texts)[hash_row]
    # A missing place, -1, is the last one.
    place_hashes = text_hashes([*place.names, ""])[place.codes]
    return _RawEventColumns(
        owner=owner,
        code=code,
        occurred=occurred.view(np.int64),
        received=received.view(np.int64),
        code_hashes=code_hashes.view(np.int64),
        place_hashes=place_hashes.view(np.int64),
        place=place,
        correction_number=events[CORRECTION].fillna(0).to_numpy(dtype=np.int64),
    )


def _integers(values: Sequence[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _reports(columns: _RawEventColumns) -> ScanReports:
    group_hash: NDArray[np.uint64] = event_hashes(
        columns.code_hashes, columns.occurred, columns.place_hashes
    )
    return ScanReports(
        owner=columns.owner,
        group_hash=group_hash,
        code=columns.code,
        received=columns.received,
        correction_number=columns.correction_number,
    )


def _repetitions(reports: ScanReports) -> NDArray[np.bool_]:
    """Which events, (E,), repeat one that another row reports too and that was received first."""
    result = np.zeros(len(reports.owner), dtype=bool)
    members = reports.group_members()
    if len(members):
        result[members] = is_repeated(reports.take(members))
    return result


def _in_order(columns: _RawEventColumns) -> _ScansInOrder:
    """The scans that count at some moment, each reading once, as it was first received."""
    reports = _reports(columns)
    rows = np.arange(len(columns.owner))
    superseded = np.full(len(rows), NEVER)
    if _is_in_order(columns.owner, columns.occurred):
        return _ScansInOrder(rows, reports.group_hash, superseded)
    members = reports.group_members()
    if len(members):
        repeats = is_repeated(reports.take(members))
        readings = members[~repeats]
        superseded[readings] = superseded_at(reports.take(readings))
        # Neither repetitions nor readings that are superseded when they come count at any moment.
        superseded[members[repeats]] = columns.received[members[repeats]]
        rows = np.flatnonzero(superseded > columns.received)
    keys = (reports.group_hash, columns.code, columns.occurred, columns.owner)
    rows = rows[np.lexsort([key[rows] for key in keys])]
    return _ScansInOrder(rows, reports.group_hash[rows], superseded[rows])


def _scan_columns(columns: _RawEventColumns, shipment_count: int) -> ScanColumns:
    """The scans in order, each reading once, with the time at which it was first received."""
    rows, event_hash, superseded = _in_order(columns)
    counts = np.bincount(columns.owner[rows], minlength=shipment_count)
    occurred = columns.occurred[rows]
    received = columns.received[rows]
    event_code = columns.code[rows]
    return ScanColumns(
        scans=Segments.from_counts(counts),
        event_code=event_code.astype(np.int16),
        occurred_at=occurred.view(_INSTANT),
        received_at=received.view(_INSTANT),
        superseded_at=superseded.view(_INSTANT),
        place=columns.place.take(rows),
        event_hash=event_hash,
    )


@njit(cache=True)
def _is_in_order(owner, occurred):  # type: ignore[no-untyped-def]  # compiled
    """Whether each scan is of a later shipment, or occurred later, than the one before it.

    Then the scans are sorted already and none occurs twice.
    """
    is_in_order = True
    for i in range(1, len(owner)):
        is_later = owner[i] == owner[i - 1] and occurred[i] > occurred[i - 1]
        is_in_order &= owner[i] > owner[i - 1] or is_later
    return is_in_order


def _duplicate_id(shipment_id: str) -> InvalidValue:
    problem = f"{shipment_id!r} occurs twice"
    return InvalidValue("shipment_id", problem, "give each shipment one row")


def _unknown_shipment(shipment_id: str) -> InvalidValue:
    problem = f"an event belongs to {shipment_id!r}, which is not a shipment"
    return InvalidValue("shipment_id", problem, "add the shipment")


def _with_columns(
    frame: pd.DataFrame, columns: Sequence[str], *, required: Sequence[str]
) -> pd.DataFrame:
    for name in required:
        if name not in frame.columns:
            raise InvalidValue(name, "the column is missing", "add it")
    return frame.reindex(columns=list(columns))


def _utc(times: pd.Series) -> NDArray[np.datetime64]:
    if not isinstance(times.dtype, pd.DatetimeTZDtype):
        raise NaiveTime(str(times.name))
    utc = times.dt.tz_convert("UTC").dt.tz_localize(None)
    return utc.to_numpy().astype(_INSTANT)
