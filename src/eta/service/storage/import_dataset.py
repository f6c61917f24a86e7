"""Records the shipments and events of a data set, with the times at which they were received."""

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
from eta.journey.timeline_builders import SHIPMENT_COLUMNS
from eta.service.tracking.record_events import (
    EventOutcome,
    EventReport,
    RecordEvents,
    record_events,
)
from eta.service.tracking.register_shipments import RegisterShipment, register_shipments
from eta.store.store import Store

#: Rows recorded together.
BATCH_SIZE = 1_000
#: Reports a table, the rows recorded so far and all rows.
Progress = Callable[[str, int, int], None]


def import_dataset(
    dataset: Dataset, store: Store, tenant: str, progress: Progress = lambda *_: None
) -> dict[str, int]:
    """Records a data set and returns the counts; ids of the source become ``external_id``.

    Importing again records nothing twice. If an import is interrupted, its rows up to then are
    recorded, and importing again completes it.
    """
    counts = Counter[str]()
    first_events = dataset.events.groupby("shipment_id")["occurred_at"].min()
    for rows in _batches(dataset.shipments, "shipments", progress):
        registrations = [_registration(row, first_events) for row in rows]
        commands = [RegisterShipment(tenant, row, has_order_event=True) for row in registrations]
        futures = [store.submit(register_shipments, command) for command in commands]
        for future in futures:
            result = future.result()
            counts["shipments_created" if result.created else "shipments_existing"] += 1
    # In the order of receipt.
    events = dataset.events.sort_values("received_at", kind="stable")
    for rows in _batches(events, "events", progress):
        reports = [_report(row) for row in rows]
        command = RecordEvents(tenant, reports)
        outcomes = store.submit(record_events, command, weight=len(reports)).result()
        for outcome in outcomes:
            status = outcome.status if isinstance(outcome, EventOutcome) else "rejected"
            counts[f"events_{status}"] += 1
    return dict(counts)


def _batches(frame: pd.DataFrame, name: str, progress: Progress) -> Iterator[list[dict[str, Any]]]:
    """Yields rows, a batch at a time, as mappings without their missing values."""
    for start in range(0, len(frame), BATCH_SIZE):
        progress(name, start, len(frame))
        rows = frame.iloc[start : start + BATCH_SIZE].to_dict("records")
        yield [
            {str(name): value for name, value in row.items() if not pd.isna(value)} for row in rows
        ]
    progress(name, len(frame), len(frame))


def _registration(row: Mapping[str, Any], first_events: pd.Series) -> Registration:
    """Builds a registration; a shipment without an order time is ordered at its first event."""
    fields = {name: value for name, value in row.items() if name in SHIPMENT_COLUMNS}
    for end in ("origin", "destination"):
        prefix = f"{end}_"
        names = [name for name in fields if name.startswith(prefix)]
        place = {name.removeprefix(prefix): fields.pop(name) for name in names}
        fields[end] = Place(**place)
    shipment_id = fields["shipment_id"]
    ordered_at = fields.pop("ordered_at", None) or first_events.get(shipment_id)
    if ordered_at is None:
        raise EtaError(f"shipment {shipment_id} has neither ordered_at nor a scan; add one of them")
    if "promised_on" in fields:
        fields["promised_on"] = pd.Timestamp(fields["promised_on"]).date()
    if "package_count" in fields:
        fields["package_count"] = int(fields["package_count"])
    fields["ordered_at"] = pd.Timestamp(ordered_at).to_pydatetime(warn=False)
    shipment = Shipment(**fields)
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
