"""Shipments and their scans in columns: sorted, without duplicates, with receipt times."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.local_time import day_ends, day_starts
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.journey.categories import Categorical
from eta.journey.event_hash import text_hashes
from eta.journey.measures import compute_measures
from eta.journey.segments import Segments
from eta.journey.timeline_builders import (
    columns_from_frames,
    columns_from_records,
)

#: Event codes in order of declaration; columns hold positions in this tuple.
EVENT_CODES = tuple(EventCode)
Times = NDArray[np.datetime64]

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


@dataclass(frozen=True, eq=False)
class Scans:
    """The E scans of N shipments.

    The scans of shipment i are the rows ``scans.starts[i]:scans.starts[i + 1]``, sorted by
    ``occurred_at``, then by the declared order of codes, then by ``event_hash``. A scan that was
    reported several times is one scan, with its earliest ``received_at``. Instants are
    ``datetime64[us]`` in UTC. Of several readings of one scan (``scan_groups``) each is a row.
    """

    scans: Segments
    event_code: NDArray[np.int16]
    occurred_at: NDArray[np.datetime64]
    received_at: NDArray[np.datetime64]
    #: When another reading of the scan begins to count in its place; far in the future if none.
    superseded_at: NDArray[np.datetime64]
    #: Where it was scanned, (E,).
    place: Categorical
    event_hash: NDArray[np.uint64]

    def counts_at(self, as_of: np.datetime64) -> NDArray[np.bool_]:
        """Which scans, (E,), had been received by a moment and were not superseded by then."""
        return (self.received_at <= as_of) & (self.superseded_at > as_of)


@dataclass(frozen=True, eq=False)
class Timelines(Scans):
    """N shipments, sorted by id, and their scans."""

    shipment_id: NDArray[np.object_]
    order_id: NDArray[np.object_]
    #: Carrier, service level and both ends, and what is derived from them (``route.Route``).
    texts: dict[str, Categorical]
    #: Places, sizes and worth, (10, N), a row a ``measures.Number``; NaN if missing.
    numbers: NDArray[np.float64]
    promised_on: NDArray[np.datetime64]
    has_several_origins: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.shipment_id)

    @classmethod
    def from_frames(cls, shipments: pd.DataFrame, events: pd.DataFrame) -> Timelines:
        """Timelines of frames with ``SHIPMENT_COLUMNS`` and ``EVENT_COLUMNS``.

        Raises:
            InvalidValue: if a required column is missing, an id occurs twice, or an event belongs
                to no shipment.
            NaiveTime: if a time column has no zone.
        """
        shipment_columns, scan_columns = columns_from_frames(shipments, events)
        return cls(**shipment_columns, **scan_columns)

    @classmethod
    def from_records(
        cls, shipments: Sequence[Shipment], events: Iterable[TrackingEvent]
    ) -> Timelines:
        """Timelines of single records: the same columns, hence the same answers.

        Raises:
            InvalidValue: if an id occurs twice, or an event belongs to no shipment.
        """
        shipment_columns, scan_columns = columns_from_records(shipments, events)
        return cls(**shipment_columns, **scan_columns)

    @cached_property
    def parcel(self) -> NDArray[np.uint64]:
        """A hash (N,) of each id; independent of the batch."""
        return text_hashes(self.shipment_id)

    @cached_property
    def measures(self) -> NDArray[np.float64]:
        """``MEASURES`` of the shipments, (9, N)."""
        return compute_measures(self.numbers)

    @property
    def zone(self) -> Categorical:
        """The destination's zone."""
        return self.texts["zone"]

    @property
    def zone_source(self) -> Categorical:
        """Where the zone comes from, a ``TimezoneSource``."""
        return self.texts["zone_source"]

    def digest(self, known_through: np.datetime64) -> str:
        """SHA-256 of all that was received by a moment; events received later do not change it."""
        received = np.flatnonzero(self.received_at <= known_through)
        rows = np.unique(self.scans.owner()[received])
        digest = hashlib.sha256()
        for name in _DIGEST_COLUMNS:
            texts = self.texts[name].take(rows).texts()
            digest.update(repr(texts.tolist()).encode())
        for ids in (self.shipment_id, self.order_id):
            digest.update(repr(ids[rows].tolist()).encode())
        for values in (*self.numbers, self.promised_on, self.has_several_origins):
            digest.update(values[rows].tobytes())
        for scans in (self.event_code, self.occurred_at, self.received_at, self.event_hash):
            digest.update(scans[received].tobytes())
        superseded = np.flatnonzero(self.superseded_at[received] <= known_through)
        for values in (superseded, self.superseded_at[received][superseded]):
            digest.update(values.tobytes())
        return digest.hexdigest()

    def purchase_received(self) -> Times:
        """When the order was received, (N,); of a shipment without an order, its first scan."""
        purchase = self.first_received({EventCode.ORDER_CREATED})
        return np.where(np.isnat(purchase), self.first_received(EVENT_CODES), purchase)

    def first_received(self, codes: Collection[EventCode]) -> Times:
        """When the first scan with one of these codes was received, (N,); NaT without any."""
        positions = [EVENT_CODES.index(code) for code in codes]
        is_wanted = np.isin(self.event_code, positions)
        owner = self.scans.owner()[is_wanted]
        received = self.received_at[is_wanted]
        order = np.lexsort((received, owner))
        counts = np.bincount(owner, minlength=len(self))
        runs = Segments.from_counts(counts)
        has_scan = runs.counts > 0
        result = np.full(len(self), np.datetime64("NaT"), dtype=received.dtype)
        first = runs.starts[:-1][has_scan]
        result[has_scan] = received[order[first]]
        return result


def promise_starts(timelines: Timelines, row: NDArray[np.integer]) -> Times:
    """First instants of the promised local days, (M,), of shipments ``row``; NaT if no promise."""
    zone = timelines.zone
    return day_starts(timelines.promised_on[row], zone.codes[row], zone.names)


def promise_ends(timelines: Timelines, row: NDArray[np.integer]) -> Times:
    """First instants after the promised local days, (M,), of shipments ``row``; NaT if none."""
    zone = timelines.zone
    return day_ends(timelines.promised_on[row], zone.codes[row], zone.names)
