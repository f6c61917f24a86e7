"""Shipments and their scans in columns: ordered, without duplicates, ready to be asked what was known when."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.zones import zone_of
from eta.domain.errors import InvalidValue, NaiveTime
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.journey.columns import Labels
from eta.journey.segments import Segments

#: Columns of a frame of shipments; a source may leave out all but the first four and the two countries.
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
EVENT_COLUMNS = ("shipment_id", "event_code", "occurred_at", "received_at", "is_received_at_assumed", "raw_code", "place")

#: Event codes in order of declaration; columns hold positions in this tuple.
EVENT_CODES = tuple(EventCode)

Times = NDArray[np.datetime64]

_TEXT_COLUMNS = (
    "carrier",
    "service_level",
    "origin_country",
    "origin_region",
    "origin_postcode",
    "destination_country",
    "destination_region",
    "destination_postcode",
)
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


@dataclass(frozen=True, eq=False)
class Timelines:
    """N shipments, sorted by id, and their E scans.

    The scans of shipment i are the rows ``scans.starts[i]:scans.starts[i + 1]``, sorted by ``occurred_at``, then by the
    declared order of codes, then by ``event_hash``. The same scan told several times is one scan, known from its
    earliest ``received_at``. Instants are ``datetime64[us]`` in UTC.
    """

    shipment_id: NDArray[np.object_]
    order_id: NDArray[np.object_]
    #: Carrier, service level and both ends; ``origin`` and ``destination`` are "country-region", or the country alone.
    texts: dict[str, Labels]
    numbers: dict[str, NDArray[np.float64]]
    promised_on: NDArray[np.datetime64]
    has_several_origins: NDArray[np.bool_]
    #: A hash of each id, the same in any company.
    parcel: NDArray[np.uint64]
    #: The destination's zone.
    zone: Labels
    #: How the zone was found, a ``TimezoneSource``.
    zone_source: Labels
    scans: Segments
    event_code: NDArray[np.int16]
    occurred_at: NDArray[np.datetime64]
    received_at: NDArray[np.datetime64]
    event_hash: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.shipment_id)

    def digest(self, known_through: np.datetime64) -> str:
        """SHA-256 of all that was known at a moment: the same for any data that agree up to then."""
        known = np.flatnonzero(self.received_at <= known_through)
        rows = np.unique(self.scans.owner()[known])
        digest = hashlib.sha256()
        for labels in self.texts.values():
            digest.update(repr(labels.take(rows).texts().tolist()).encode())
        for column in (self.shipment_id[rows].tolist(), self.order_id[rows].tolist()):
            digest.update(repr(column).encode())
        for values in (*self.numbers.values(), self.promised_on, self.has_several_origins):
            digest.update(values[rows].tobytes())
        for scans in (self.event_code, self.occurred_at, self.received_at, self.event_hash):
            digest.update(scans[known].tobytes())
        return digest.hexdigest()

    @classmethod
    def from_frames(cls, shipments: pd.DataFrame, events: pd.DataFrame) -> Timelines:
        """Timelines of frames with ``SHIPMENT_COLUMNS`` and ``EVENT_COLUMNS``.

        Raises:
            InvalidValue: if a needed column is missing, an id comes twice, or an event belongs to no shipment.
            NaiveTime: if a time column has no zone.
        """
        shipments = _with_columns(shipments, SHIPMENT_COLUMNS, needed=SHIPMENT_COLUMNS[:4])
        events = _with_columns(events, EVENT_COLUMNS, needed=EVENT_COLUMNS[:4])
        shipments = shipments.sort_values("shipment_id", kind="stable").reset_index(drop=True)
        ids = pd.Index(shipments["shipment_id"])
        if not ids.is_unique:
            raise InvalidValue("shipment_id", f"{ids[ids.duplicated()][0]!r} comes twice", "give each shipment one row")
        owner = ids.get_indexer(pd.Index(events["shipment_id"]))
        if (owner < 0).any():
            raise InvalidValue("shipment_id", f"an event names {events['shipment_id'].iloc[int(np.argmin(owner))]!r}, which is no shipment", "add the shipment")
        texts = {name: Labels.of(shipments[name]) for name in _TEXT_COLUMNS}
        for end in ("origin", "destination"):
            texts[end] = texts[f"{end}_country"].joined(texts[f"{end}_region"], "-").or_else(texts[f"{end}_country"])
        zone, zone_source = _zones(texts["destination_country"], texts["destination_region"])
        runs, code, occurred, received, event_hash = _ordered_scans(owner.astype(np.int64), len(shipments), events)
        return cls(
            shipment_id=shipments["shipment_id"].to_numpy(dtype=object),
            parcel=pd.util.hash_array(shipments["shipment_id"].to_numpy(dtype=object), categorize=False).astype(np.uint64),
            order_id=shipments["order_id"].to_numpy(dtype=object),
            texts=texts,
            numbers={name: pd.to_numeric(shipments[name]).to_numpy(dtype=np.float64) for name in _NUMBER_COLUMNS},
            promised_on=pd.to_datetime(shipments["promised_on"]).to_numpy().astype("datetime64[D]"),
            has_several_origins=shipments["has_several_origins"].eq(True).to_numpy(dtype=bool),
            zone=zone,
            zone_source=zone_source,
            scans=runs,
            event_code=code,
            occurred_at=occurred,
            received_at=received,
            event_hash=event_hash,
        )

    @classmethod
    def from_records(cls, shipments: Sequence[Shipment], events: Iterable[TrackingEvent]) -> Timelines:
        """Timelines of single records: the same columns, hence the same answers."""
        rows = [
            {f"{end}_{name}": value for end in ("origin", "destination") for name, value in asdict(getattr(shipment, end)).items()}
            | {name: value for name, value in vars(shipment).items() if name in SHIPMENT_COLUMNS}
            for shipment in shipments
        ]
        scans = pd.DataFrame([vars(event) for event in events], columns=list(EVENT_COLUMNS))
        for name in ("occurred_at", "received_at"):
            scans[name] = pd.to_datetime(scans[name], utc=True)
        return cls.from_frames(pd.DataFrame(rows, columns=list(SHIPMENT_COLUMNS)), scans)


def _with_columns(frame: pd.DataFrame, columns: Sequence[str], *, needed: Sequence[str]) -> pd.DataFrame:
    for name in needed:
        if name not in frame.columns:
            raise InvalidValue(name, "the column is missing", "add it")
    return frame.reindex(columns=list(columns))


def _utc(times: pd.Series) -> NDArray[np.datetime64]:
    if not isinstance(times.dtype, pd.DatetimeTZDtype):
        raise NaiveTime(str(times.name))
    return times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]")


def _zones(country: Labels, region: Labels) -> tuple[Labels, Labels]:
    """The zones of places, and how each was found."""
    place = country.codes.astype(np.int64) * (len(region.names) + 1) + region.codes
    _, first, codes = np.unique(place, return_index=True, return_inverse=True)
    found = [zone_of(c, r) for c, r in zip(country.take(first).texts(), region.take(first).texts(), strict=True)]
    zones, sources = Labels.of([zone for zone, _ in found]), Labels.of([str(source) for _, source in found])
    return zones.take(codes), sources.take(codes)


def _ordered_scans(owner: NDArray[np.int64], shipments: int, events: pd.DataFrame) -> tuple[Segments, NDArray[np.int16], Times, Times, NDArray[np.uint64]]:
    code = pd.Index(EVENT_CODES).get_indexer(pd.Index(events["event_code"]))
    if (code < 0).any():
        raise InvalidValue("event_code", f"{events['event_code'].iloc[int(np.argmin(code))]!r} is no event code", "use one of the vocabulary, or info")
    occurred, received = _utc(events["occurred_at"]), _utc(events["received_at"])
    if np.isnat(occurred).any() or np.isnat(received).any():
        raise InvalidValue("occurred_at", "an event has no time", "leave the event out")
    # Content alone makes a scan: what the carrier said happened, when and where; never who told us or when.
    raw, place = events["raw_code"].astype(object), events["place"].astype(object)
    content = pd.DataFrame(
        {"raw_code": raw.where(raw.notna(), events["event_code"]).map(str), "occurred_at": occurred, "place": place.where(place.notna(), "").map(str)}
    )
    event_hash = pd.util.hash_pandas_object(content, index=False, categorize=True).to_numpy(dtype=np.uint64)
    told = np.lexsort((received, event_hash, owner))
    is_first = np.ones(len(told), dtype=bool)
    is_first[1:] = (np.diff(owner[told]) != 0) | (event_hash[told][1:] != event_hash[told][:-1])
    scan = told[is_first]
    scan = scan[np.lexsort((event_hash[scan], code[scan], occurred[scan], owner[scan]))]
    runs = Segments.of_counts(np.bincount(owner[scan], minlength=shipments))
    return runs, code[scan].astype(np.int16), occurred[scan], received[scan], event_hash[scan].astype(np.uint64)
