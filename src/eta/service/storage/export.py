"""What is recorded, in the columns that models learn from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from eta.datasets.base import QUARANTINE_COLUMNS, Dataset
from eta.journey.timelines import EVENT_COLUMNS, SHIPMENT_COLUMNS
from eta.store.records import StoredEvent, StoredShipment
from eta.store.session import Session

SOURCE = "store"
_PLACE_FIELDS = ("country", "region", "postcode", "latitude", "longitude")
_TIMES = ("occurred_at", "received_at")


def export_store(session: Session, tenant: str) -> Dataset:
    """All shipments of a tenant and the scans told of them, as ``ingest`` gives them; a shipment bears the shop's own number where it has one."""
    shipments, events = session.all_shipments(tenant), session.all_events(tenant)
    exported_id_of = {
        event_owner: shipment.external_id or shipment.shipment_id
        for shipment in shipments
        for event_owner in shipment.event_owners
    }
    exported_events = [event for event in events if event.event_owner in exported_id_of]
    warnings = {"events_of_no_shipment": len(events) - len(exported_events)}
    return Dataset(
        SOURCE,
        "UTC",
        _shipments(shipments),
        _events(exported_events, exported_id_of),
        pd.DataFrame(columns=list(QUARANTINE_COLUMNS)),
        warnings,
    )


def _shipments(shipments: Sequence[StoredShipment]) -> pd.DataFrame:
    frame = pd.DataFrame([_row(shipment) for shipment in shipments], columns=list(SHIPMENT_COLUMNS))
    # A shipment may have been registered with another offset than the next one.
    frame["ordered_at"] = pd.to_datetime(frame["ordered_at"], utc=True, format="ISO8601").astype(
        "datetime64[us, UTC]"
    )
    frame["promised_on"] = pd.to_datetime(frame["promised_on"])
    return frame


def _row(shipment: StoredShipment) -> dict[str, Any]:
    attributes = json.loads(shipment.attributes)
    places = {
        f"{end}_{field}": attributes[end].get(field)
        for end in ("origin", "destination")
        for field in _PLACE_FIELDS
    }
    name = shipment.external_id or shipment.shipment_id
    return {
        **attributes,
        **places,
        "shipment_id": name,
        "order_id": attributes.get("order_id") or name,
    }


def _events(events: Sequence[StoredEvent], exported_id_of: dict[str, str]) -> pd.DataFrame:
    columns = {
        column: [getattr(event, column) for event in events]
        for column in EVENT_COLUMNS
        if column != "shipment_id"
    }
    frame = pd.DataFrame(
        {"shipment_id": [exported_id_of[event.event_owner] for event in events], **columns},
        columns=list(EVENT_COLUMNS),
    )
    times = {
        column: pd.to_datetime(frame[column], unit="us", utc=True).astype("datetime64[us, UTC]")
        for column in _TIMES
    }
    return frame.assign(
        **times, is_received_at_assumed=frame["is_received_at_assumed"].astype(bool)
    )
