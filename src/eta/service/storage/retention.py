"""What is let go of: customers' shipments on request, old shipments and replies in time; and copies of all the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eta.domain.errors import EtaError
from eta.service.storage.idempotency import KEPT_FOR
from eta.store.session import Session

#: Shipments that are erased in one transaction, so that nobody waits long.
AT_ONCE = 100


@dataclass(frozen=True)
class Erasing:
    """A tenant's shipments by ``shipment_id`` or ``external_id``."""

    tenant: str
    column: str
    value: str


@dataclass(frozen=True)
class Retaining:
    """What nobody has heard of for so long, in microseconds, is erased; None keeps it."""

    kept_for: int | None


def erase_shipments(session: Session, asked: Sequence[Erasing]) -> list[int | EtaError]:
    """Erases shipments with all that was told and said of them; how many there were."""
    counts = list[int | EtaError]()
    for each in asked:
        found = session.shipments(each.tenant, each.column, [each.value])
        session.erase(each.tenant, found)
        counts.append(len(found))
    return counts


def let_go_of_the_old(session: Session, asked: Sequence[Retaining]) -> list[int | EtaError]:
    """Erases some old shipments, numbers that nobody registered, and replies that are not given again; how many, fewer than ``AT_ONCE`` once all are gone."""
    session.forget_replies(session.stamp - KEPT_FOR)
    counts = list[int | EtaError]()
    for each in asked:
        old = session.unheard_of(session.stamp - each.kept_for, AT_ONCE) if each.kept_for else {}
        for tenant, shipments in old.items():
            session.erase(tenant, shipments)
        numbers = (
            session.forget_what_nobody_registered(session.stamp - each.kept_for, AT_ONCE)
            if each.kept_for
            else 0
        )
        counts.append(max(sum(map(len, old.values())), numbers))
    return counts
