"""Which parcel a carrier's tracking number belongs to; carriers reuse numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eta.store.records import TrackingNumberUse
from eta.store.session import Session

_HOUR = 3_600_000_000

#: After this time, in microseconds, an event of a number belongs to another parcel. 92 days are
#: three months.
NUMBER_REUSE_PERIOD = 92 * 24 * _HOUR


class TrackingNumberLog:
    """The uses of tracking numbers, and the uses that begin in this transaction."""

    def __init__(
        self, session: Session, tenant: str, uses: Mapping[str, Sequence[TrackingNumberUse]]
    ) -> None:
        self._session = session
        self._tenant = tenant
        self._uses = uses
        self._new: dict[str, TrackingNumberUse] = {}
        # The shipments that are on their way and have a number that the carrier may reuse.
        shipment_ids = {
            latest.shipment_id
            for *_, latest in uses.values()
            if latest.shipment_id and self._is_reusable(latest)
        }
        states = session.states(tenant, shipment_ids)
        self._open_shipments = {state.shipment_id for state in states if state.is_open}

    def holder(self, number: str) -> TrackingNumberUse:
        """Returns the latest use of a number; a new one if it has none."""
        uses = self._uses.get(number)
        return uses[-1] if uses else self.next_use(number)

    def is_reused(self, holder: TrackingNumberUse) -> bool:
        """Whether a new event of the number belongs to another parcel, after so much time."""
        return self._is_reusable(holder) and holder.shipment_id not in self._open_shipments

    def next_use(self, number: str) -> TrackingNumberUse:
        """Returns the next use of a number, which has no shipment yet."""
        if number not in self._new:
            uses = self._uses.get(number, ())
            self._new[number] = next_number_use(number, uses, self._session.commit_time)
        return self._new[number]

    def write(self) -> None:
        """Writes the new uses."""
        self._session.put_number_uses(self._tenant, self._new.values())

    def _is_reusable(self, holder: TrackingNumberUse) -> bool:
        return self._session.commit_time - holder.started_at >= NUMBER_REUSE_PERIOD


def use_at(uses: Sequence[TrackingNumberUse], moment: int) -> TrackingNumberUse | None:
    """Returns the use of a number to which a parcel registered at a moment belongs, or None.

    It is the one that began closest to the moment, less than a period of reuse away.
    """
    closest = min(reversed(uses), key=lambda use: abs(moment - use.started_at), default=None)
    if closest and abs(moment - closest.started_at) < NUMBER_REUSE_PERIOD:
        return closest
    return None


def next_number_use(
    number: str,
    uses: Sequence[TrackingNumberUse],
    started_at: int,
    shipment_id: str | None = None,
) -> TrackingNumberUse:
    """Returns a new use of a carrier's number beside its other ones."""
    use_number = 1 + max((use.use_number for use in uses), default=0)
    return TrackingNumberUse(
        number_use_id=f"{number}|{use_number}",
        carrier_number=number,
        use_number=use_number,
        started_at=started_at,
        shipment_id=shipment_id,
    )


def assign_number(
    number: str, uses: Sequence[TrackingNumberUse], shipment_id: str, moment: int
) -> TrackingNumberUse:
    """Assigns a number that no other shipment has at a moment.

    Returns its use at that moment, with the events received so far, or a new one.
    """
    use = use_at(uses, moment)
    if use and use.shipment_id in (None, shipment_id):
        started_at = max(use.started_at, moment)
        return use._replace(shipment_id=shipment_id, started_at=started_at)
    return next_number_use(number, uses, moment, shipment_id)
