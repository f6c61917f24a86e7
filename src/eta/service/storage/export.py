"""Exports the recorded shipments and events as the data set from which models are trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from eta.datasets.base import QUARANTINE_COLUMNS, Dataset
from eta.domain.vocabulary import EventCode
from eta.journey.timeline_builders import EVENT_COLUMNS, SHIPMENT_COLUMNS
from eta.store.records import StoredEvent, StoredShipment
from eta.store.session import Session

SOURCE = "store"
_PLACE_FIELDS = ("country", "region", "postcode", "latitude", "longitude")
_TIMES = ("occurred_at", "received_at")


def export_store(session: Session, *tenants: str) -> Dataset:
    """Returns all shipments of tenants and their events, in the columns of ``eta ingest``.

    A shipment's id is the shop's id if it has one; with several tenants, the tenant is before it.
    Its attributes are those of its last version. It has an order time only if the order is one of
    its events: otherwise its first event stands in for the order, here and wherever the export is
    read.
    """
    exports = [_read(session, tenant, is_named=len(tenants) > 1) for tenant in tenants]
    return Dataset(
        source=SOURCE,
        zone="UTC",
        shipments=_shipments_frame([row for export in exports for row in export.shipment_rows()]),
        events=_events_frame(
            [event for export in exports for event in export.events],
            [exported_id for export in exports for exported_id in export.event_ids()],
        ),
        quarantine=pd.DataFrame(columns=list(QUARANTINE_COLUMNS)),
        warnings={"events_of_no_shipment": sum(export.strays for export in exports)},
    )


class _Export(NamedTuple):
    """What is exported of one tenant."""

    shipments: Sequence[StoredShipment]
    events: Sequence[StoredEvent]
    #: Events of no registered shipment.
    strays: int
    #: Before each id.
    prefix: str

    def shipment_rows(self) -> list[dict[str, Any]]:
        """A row a shipment."""
        ordered = {
            event.event_owner
            for event in self.events
            if event.event_code == EventCode.ORDER_CREATED.value
        }
        return [_shipment_row(shipment, ordered, self.prefix) for shipment in self.shipments]

    def event_ids(self) -> list[str]:
        """The exported shipment id of each event."""
        exported_ids = {
            event_owner: self.prefix + (shipment.external_id or shipment.shipment_id)
            for shipment in self.shipments
            for event_owner in shipment.event_owners
        }
        return [exported_ids[event.event_owner] for event in self.events]


def _read(session: Session, tenant: str, *, is_named: bool) -> _Export:
    shipments = session.all_shipments(tenant)
    events = session.all_events(tenant)
    owners = {owner for shipment in shipments for owner in shipment.event_owners}
    exported = [event for event in events if event.event_owner in owners]
    prefix = f"{tenant}/" if is_named else ""
    return _Export(shipments, exported, len(events) - len(exported), prefix)


def _shipments_frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(SHIPMENT_COLUMNS))
    # Shipments may have been registered with different offsets.
    ordered_at = pd.to_datetime(frame["ordered_at"], utc=True, format="ISO8601")
    frame["ordered_at"] = ordered_at.astype("datetime64[us, UTC]")
    frame["registered_at"] = _instants(frame["registered_at"])
    frame["promised_on"] = pd.to_datetime(frame["promised_on"])
    return frame


def _shipment_row(shipment: StoredShipment, ordered: set[str], prefix: str) -> dict[str, Any]:
    """The columns of a shipment; ``ordered`` are the event owners that have an order."""
    row: dict[str, Any] = json.loads(shipment.attributes)
    for end in ("origin", "destination"):
        place = row[end]
        for field in _PLACE_FIELDS:
            row[f"{end}_{field}"] = place.get(field)
    row["shipment_id"] = prefix + (shipment.external_id or shipment.shipment_id)
    row["order_id"] = prefix + row["order_id"] if row.get("order_id") else row["shipment_id"]
    row["registered_at"] = shipment.created_at
    if ordered.isdisjoint(shipment.event_owners):
        row["ordered_at"] = None
    return row


def _events_frame(events: Sequence[StoredEvent], exported_ids: Sequence[str]) -> pd.DataFrame:
    columns: dict[str, Sequence[Any]] = {"shipment_id": exported_ids}
    for column in EVENT_COLUMNS:
        if column != "shipment_id":
            columns[column] = [getattr(event, column) for event in events]
    frame = pd.DataFrame(columns, columns=list(EVENT_COLUMNS))
    for column in _TIMES:
        frame[column] = _instants(frame[column])
    frame["is_received_at_assumed"] = frame["is_received_at_assumed"].astype(bool)
    return frame


def _instants(microseconds: pd.Series) -> pd.Series:
    return pd.to_datetime(microseconds, unit="us", utc=True).astype("datetime64[us, UTC]")
