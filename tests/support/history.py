"""Data sets of a few parcels, as a reader returns them, to import into a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from eta.datasets.base import QUARANTINE_COLUMNS, Dataset
from eta.journey.timeline_builders import EVENT_COLUMNS, SHIPMENT_COLUMNS
from eta.service.storage.export import export_store
from eta.service.storage.import_dataset import ImportResult, import_dataset
from eta.service.tracking.read_shipments import ShipmentHistory, shipment_histories
from eta.store.session import Session
from eta.store.store import SqlStore
from support.store import NOW, TENANT

Row = Mapping[str, Any]


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def parcel(name: str, **columns: object) -> Row:
    """A row of a parcel from Vienna to Dornbirn that was ordered 30 days ago."""
    return {
        "shipment_id": name,
        "order_id": f"order of {name}",
        "origin_country": "AT",
        "destination_country": "AT",
        "carrier": "post",
        "ordered_at": days_ago(30),
        **columns,
    }


def event(name: str, code: str = "accepted", days: float = 28.0, **columns: object) -> Row:
    """A row of an event that was received as it happened, some days ago."""
    at = days_ago(days)
    return {
        "shipment_id": name,
        "event_code": code,
        "occurred_at": at,
        "received_at": at,
        "is_received_at_assumed": False,
        **columns,
    }


def dataset(shipments: Sequence[Row], events: Sequence[Row] = ()) -> Dataset:
    """The rows as a data set; a column that no row has is missing."""
    return Dataset(
        source="tabular",
        zone="UTC",
        shipments=_frame(shipments, SHIPMENT_COLUMNS, ("ordered_at", "registered_at")),
        events=_frame(events, EVENT_COLUMNS, ("occurred_at", "received_at")),
        quarantine=pd.DataFrame(columns=list(QUARANTINE_COLUMNS)),
        warnings={},
    )


def _frame(rows: Sequence[Row], columns: Sequence[str], times: Sequence[str]) -> pd.DataFrame:
    present = [name for name in columns if not rows or any(name in row for row in rows)]
    frame = pd.DataFrame(list(rows), columns=present)
    for name in times:
        if name in frame:
            instants = pd.to_datetime(frame[name], utc=True)
            frame[name] = instants.astype("datetime64[us, UTC]")
    return frame


def ingest(
    store: SqlStore, shipments: Sequence[Row], events: Sequence[Row] = (), tenant: str = TENANT
) -> ImportResult:
    return import_dataset(dataset(shipments, events), store, tenant)


def histories(store: SqlStore, as_of: datetime, tenant: str = TENANT) -> dict[str, ShipmentHistory]:
    """The shipments of a tenant as of a moment, by the shop's id."""

    def read(session: Session) -> list[ShipmentHistory]:
        return shipment_histories(session, tenant, session.all_shipments(tenant), as_of)

    return {str(history.stored.external_id): history for history in store.read(read)}


def codes(history: ShipmentHistory) -> list[str]:
    return [event.event_code for event in history.events]


def export(store: SqlStore, tenant: str = TENANT) -> Dataset:
    return store.read(lambda session: export_store(session, tenant))
