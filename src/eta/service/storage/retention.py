"""Deletes shipments on request, and purges old shipments and stored responses."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from eta.domain.errors import EtaError
from eta.service.storage.idempotency import RESPONSE_LIFETIME, is_settled
from eta.store.session import Session
from eta.store.store import Store

#: Shipments that are deleted in one transaction, so that no other write waits long.
ERASE_BATCH_SIZE = 1_000
#: Stored responses that are searched in one transaction.
_RESPONSES_BATCH_SIZE = 1_000
_SHIPMENT_ID = re.compile(r"shp_[0-9a-f]{24}")


@dataclass(frozen=True)
class EraseShipments:
    """A request to delete a tenant's shipments, by ``shipment_id`` or ``external_id``."""

    tenant: str
    column: str
    value: str


@dataclass(frozen=True)
class Retention:
    """The age, in microseconds, at which inactive shipments are deleted; None: never."""

    max_age: int | None


@dataclass(frozen=True)
class ResponsePosition:
    """Where a search through all stored responses goes on; the default is its start."""

    tenant: str = ""
    key: str = ""


def erase_shipments(session: Session, commands: Sequence[EraseShipments]) -> list[int | EtaError]:
    """Deletes shipments with their events, forecasts and flags; returns how many for each."""
    counts = list[int | EtaError]()
    for command in commands:
        shipments = session.shipments(command.tenant, command.column, [command.value])
        session.erase(command.tenant, shipments)
        counts.append(len(shipments))
    return counts


def purge_expired(session: Session, commands: Sequence[Retention]) -> list[int | EtaError]:
    """Deletes expired responses, and some old shipments and numbers that have no shipment.

    Deletes nothing until the clock has run on without a break for a while: one that is wrong at a
    start must not decide what is old. Returns how many shipments or numbers were deleted. Fewer
    than ``ERASE_BATCH_SIZE`` means that none is left.
    """
    if not is_settled(session):
        return [0] * len(commands)
    session.purge_responses(session.commit_time - RESPONSE_LIFETIME)
    return [
        _purge_older(session, session.commit_time - command.max_age) if command.max_age else 0
        for command in commands
    ]


def _purge_older(session: Session, before: int) -> int:
    shipment_count = 0
    inactive = session.inactive_shipments(before, ERASE_BATCH_SIZE)
    for tenant, shipments in inactive.items():
        session.erase(tenant, shipments)
        shipment_count += len(shipments)
    number_count = session.purge_unregistered_events(before, ERASE_BATCH_SIZE)
    return max(shipment_count, number_count)


def purge_orphaned_responses(
    session: Session, positions: Sequence[ResponsePosition]
) -> list[ResponsePosition | EtaError | None]:
    """Deletes stored responses that name a shipment which was deleted, some after each position.

    Returns where to go on, or None at the end.
    """
    return [_purge_orphaned_after(session, position) for position in positions]


def _purge_orphaned_after(session: Session, position: ResponsePosition) -> ResponsePosition | None:
    rows = session.responses_after(position.tenant, position.key, _RESPONSES_BATCH_SIZE)
    named_by = defaultdict[str, dict[str, set[str]]](dict)
    for tenant, key, body in rows:
        named_by[tenant][key] = set(_SHIPMENT_ID.findall(body))
    for tenant, named in named_by.items():
        existing = session.existing_shipment_ids(tenant, set().union(*named.values()))
        session.delete_responses(tenant, [key for key, ids in named.items() if ids - existing])
    return ResponsePosition(*rows[-1][:2]) if rows else None


def purge_all_orphaned_responses(store: Store) -> None:
    """Deletes all stored responses that name a shipment which was deleted."""
    position: ResponsePosition | None = ResponsePosition()
    while position:
        position = store.write(purge_orphaned_responses, position)
