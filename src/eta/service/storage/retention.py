"""Deletes shipments on request, and purges old shipments and stored responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eta.domain.errors import EtaError
from eta.service.storage.idempotency import RESPONSE_LIFETIME, is_settled
from eta.store.session import Session

#: Shipments that are deleted in one transaction, so that no other write waits long.
ERASE_BATCH_SIZE = 1_000


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
