"""Python steps of the migration that gives events the ids of their whole content.

Before, the parts of an event were joined by U+001F, so that two events with that character in a
text could have one id, and the event code did not count beside the carrier's own code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import blake2b

from eta.calendars.local_time import from_microseconds
from eta.domain.texts import without_control_characters
from eta.store.engine import Connection
from eta.store.event_ids import event_id, is_order_event
from eta.store.queries import load_queries
from eta.store.records import StoredEvent

#: Rows copied at once.
_BATCH_SIZE = 5_000
#: Differences, in minutes, between a wall-clock time that clocks skip and the one it is read as.
_SKIPPED_MINUTES = (0, 60, 30, 120, 20, 40, 1440)
_CARRIER_OFFSET = "carrier_offset"

_SQL = load_queries("event_migration.sql")


def copy_events(connection: Connection) -> None:
    """Copies events, each with its new id; of those that were two by a control character, one."""
    for rows in connection.batches(_SQL["read_events"], _BATCH_SIZE):
        copies = [(tenant, *_renumbered(StoredEvent(*row))) for tenant, *row in rows]
        connection.execute_many(_SQL["write_event"], copies)


def copy_quarantine(connection: Connection) -> None:
    """Copies quarantined events, each with its new id."""
    for rows in connection.batches(_SQL["read_quarantine"], _BATCH_SIZE):
        copies = []
        for tenant, _, owner, reason, content, received_at in rows:
            event = _renumbered(StoredEvent(**json.loads(content)))
            fields = json.dumps(event._asdict())
            copies.append((tenant, event.event_id, owner, reason, fields, received_at))
        connection.execute_many(_SQL["write_quarantined"], copies)


def _renumbered(event: StoredEvent) -> StoredEvent:
    """Returns an event as it is stored today."""
    local_time = None
    if event.timezone_source != _CARRIER_OFFSET:
        local_time = _local_time(event)
    place = event.place and without_control_characters(event.place)
    renumbered = event._replace(place=place)
    if is_order_event(event):
        return renumbered
    return renumbered._replace(event_id=event_id(renumbered, local_time))


def _local_time(event: StoredEvent) -> datetime:
    """Returns the wall-clock time of a report, as its id shows."""
    times = list(_possible_local_times(event))
    return next((time for time in times if _former_id(event, time) == event.event_id), times[0])


def _possible_local_times(event: StoredEvent) -> Iterator[datetime]:
    read_as = from_microseconds(event.occurred_at) + timedelta(minutes=event.offset_minutes)
    for minutes in _SKIPPED_MINUTES:
        yield read_as.replace(tzinfo=None) - timedelta(minutes=minutes)


def _former_id(event: StoredEvent, local_time: datetime) -> str:
    code = event.raw_code or event.event_code
    parts = (event.event_owner, code, local_time.isoformat(), event.place or "")
    return f"evt_{blake2b(chr(31).join(parts).encode(), digest_size=12).hexdigest()}"
