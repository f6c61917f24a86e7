"""Records the history of a source: shipments and scans, with the times at which they had become known there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from eta.datasets.base import Dataset
from eta.domain.errors import EtaError
from eta.domain.registration import Registration
from eta.domain.shipment import Place, Shipment
from eta.domain.vocabulary import EventCode
from eta.journey.timelines import SHIPMENT_COLUMNS
from eta.service.tracking.record_events import (
    EventOutcome,
    EventReport,
    RecordEvents,
    record_events,
)
from eta.service.tracking.register_shipments import (
    RegisteredShipment,
    RegisterShipment,
    register_shipments,
)
from eta.store.store import Store

#: Rows told together.
BATCH_SIZE = 1_000
Progress = Callable[[str, int, int], None]


def import_dataset(
    dataset: Dataset, store: Store, tenant: str, progress: Progress = lambda *_: None
) -> dict[str, int]:
    """Records all of it, and returns how much; told again, nothing is recorded twice. The source's ids are kept as ``external_id``.

    Interrupted, what was recorded stays, and telling it all again completes it.
    """
    counts = Counter[str]()
    shipments, events = dataset.shipments, dataset.events
    first = events.groupby("shipment_id")["occurred_at"].min()
    for start in range(0, len(shipments), BATCH_SIZE):
        progress("shipments", start, len(shipments))
        commands = [
            RegisterShipment(tenant, _registration(row, first), has_order_event=True)
            for row in _rows(shipments.iloc[start : start + BATCH_SIZE])
        ]
        for future in [store.submit(register_shipments, command) for command in commands]:
            counts[_registered(future.result())] += 1
    progress("shipments", len(shipments), len(shipments))
    events = events.sort_values("received_at", kind="stable")
    for start in range(0, len(events), BATCH_SIZE):
        progress("events", start, len(events))
        reports = [_report(row) for row in _rows(events.iloc[start : start + BATCH_SIZE])]
        for answer in store.submit(
            record_events, RecordEvents(tenant, reports), weight=len(reports)
        ).result():
            counts[
                f"events_{answer.status}" if isinstance(answer, EventOutcome) else "events_rejected"
            ] += 1
    progress("events", len(events), len(events))
    return dict(counts)


def _rows(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows as mappings of what is known."""
    for row in frame.to_dict("records"):
        yield {str(name): value for name, value in row.items() if not pd.isna(value)}


def _registration(row: Mapping[str, Any], first: pd.Series) -> Registration:
    values: dict[str, Any] = {
        name: value for name, value in row.items() if name in SHIPMENT_COLUMNS
    }
    ends: dict[str, Any] = {
        end: Place(
            **{
                name.removeprefix(f"{end}_"): values.pop(name)
                for name in list(values)
                if name.startswith(f"{end}_")
            }
        )
        for end in ("origin", "destination")
    }
    ordered_at = values.pop("ordered_at", None) or first.get(values["shipment_id"])
    if ordered_at is None:
        raise EtaError(
            f"shipment {values['shipment_id']} has neither ordered_at nor a scan; add one of them"
        )
    if "promised_on" in values:
        values["promised_on"] = pd.Timestamp(values["promised_on"]).date()
    if "package_count" in values:
        values["package_count"] = int(values["package_count"])
    shipment = Shipment(
        **ends, **{**values, "ordered_at": pd.Timestamp(ordered_at).to_pydatetime(warn=False)}
    )
    return Registration(shipment=shipment, external_id=shipment.shipment_id)


def _report(row: Mapping[str, Any]) -> EventReport:
    return EventReport(
        event_code=EventCode(row["event_code"]),
        external_id=row["shipment_id"],
        occurred_at=row["occurred_at"].to_pydatetime(warn=False),
        received_at=row["received_at"].to_pydatetime(warn=False),
        is_received_at_assumed=bool(row.get("is_received_at_assumed", False)),
        raw_code=row.get("raw_code"),
        place=row.get("place"),
    )


def _registered(answer: RegisteredShipment) -> str:
    return "shipments_created" if answer.created else "shipments_existing"
