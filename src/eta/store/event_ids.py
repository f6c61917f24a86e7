"""The ids of events: hashes of what an event says, so that the same event has the same id."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b

from eta.domain.texts import canonical_bytes
from eta.store.records import StoredEvent


def event_id(event: StoredEvent, local_time: datetime | None = None) -> str:
    """The id of an event by its content, whatever the time of receipt and the present id.

    That of a wall-clock time depends on the ``local_time`` shown, whatever zone it is read in.
    Corrections of one scan can have the same event code, so theirs depends on the receipt too.
    """
    content = canonical_bytes(
        event.event_owner,
        event.raw_code or None,
        event.event_code,
        local_time.isoformat() if local_time else event.occurred_at,
        event.place or None,
        *((event.correction_number, event.received_at) if event.correction_number else ()),
    )
    return f"evt_{blake2b(content, digest_size=12).hexdigest()}"


def is_order_event(event: StoredEvent) -> bool:
    """Whether it is the order of a registration, which has the id of its shipment."""
    return event.event_id == order_event_id(event.event_owner)


def order_event_id(shipment_id: str) -> str:
    """The id of the order of a shipment."""
    return "evt_" + shipment_id.partition("_")[2]
