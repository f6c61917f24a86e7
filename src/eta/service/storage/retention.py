"""Deletes shipments on request, and purges old shipments and stored responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eta.domain.errors import EtaError
from eta.service.storage.idempotency import RESPONSE_LIFETIME
from eta.store.session import Session

#: Shipments that are deleted in one transaction, so that no other write waits long.
ERASE_BATCH_SIZE = 100


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

    Returns how many shipments or numbers were deleted. Fewer than ``ERASE_BATCH_SIZE`` means that
    none is left.
    """
    session.purge_responses(session.commit_time - RESPONSE_LIFETIME)
    counts = list[int | EtaError]()
    for command in commands:
        if not command.max_age:
            counts.append(0)
            continue
        before = session.commit_time - command.max_age
        shipment_count = 0
        inactive = session.inactive_shipments(before, ERASE_BATCH_SIZE)
        for tenant, shipments in inactive.items():
            session.erase(tenant, shipments)
            shipment_count += len(shipments)
        number_count = session.purge_unregistered_events(before, ERASE_BATCH_SIZE)
        counts.append(max(shipment_count, number_count))
    return counts
