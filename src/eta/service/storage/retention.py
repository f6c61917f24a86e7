"""What is let go of: customers' shipments on request, old shipments and replies in time; and copies of all the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eta.domain.errors import EtaError
from eta.service.storage.idempotency import RESPONSE_LIFETIME
from eta.store.session import Session

#: Shipments that are erased in one transaction, so that nobody waits long.
ERASE_BATCH_SIZE = 100


@dataclass(frozen=True)
class EraseShipments:
    """A tenant's shipments by ``shipment_id`` or ``external_id``."""

    tenant: str
    column: str
    value: str


@dataclass(frozen=True)
class Retention:
    """What nobody has heard of for so long, in microseconds, is erased; None keeps it."""

    max_age: int | None


def erase_shipments(session: Session, commands: Sequence[EraseShipments]) -> list[int | EtaError]:
    """Erases shipments with all that was told and said of them; how many there were."""
    counts = list[int | EtaError]()
    for command in commands:
        shipments = session.shipments(command.tenant, command.column, [command.value])
        session.erase(command.tenant, shipments)
        counts.append(len(shipments))
    return counts


def purge_expired(session: Session, commands: Sequence[Retention]) -> list[int | EtaError]:
    """Erases some old shipments, numbers that nobody registered, and replies that are not given again; how many, fewer than ``ERASE_BATCH_SIZE`` once all are gone."""
    session.purge_responses(session.commit_time - RESPONSE_LIFETIME)
    counts = list[int | EtaError]()
    for command in commands:
        inactive = (
            session.inactive_shipments(session.commit_time - command.max_age, ERASE_BATCH_SIZE)
            if command.max_age
            else {}
        )
        for tenant, shipments in inactive.items():
            session.erase(tenant, shipments)
        numbers = (
            session.purge_unregistered_events(
                session.commit_time - command.max_age, ERASE_BATCH_SIZE
            )
            if command.max_age
            else 0
        )
        counts.append(max(sum(map(len, inactive.values())), numbers))
    return counts
