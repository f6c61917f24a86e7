"""Which parcel a carrier's tracking number belongs to; carriers reuse numbers."""

from __future__ import annotations

from collections.abc import Mapping

from eta.store.records import TrackingNumberUse
from eta.store.session import Session

_HOUR = 3_600_000_000

#: After this time, in microseconds, an event of a number belongs to another parcel. 92 days are
#: three months.
NUMBER_REUSE_PERIOD = 92 * 24 * _HOUR


class TrackingNumberLog:
    """The latest uses of tracking numbers, and the uses that begin in this transaction."""

    def __init__(
        self, session: Session, tenant: str, holders: Mapping[str, TrackingNumberUse]
    ) -> None:
        self._session = session
        self._tenant = tenant
        self._holders = dict(holders)
        self._new: dict[str, TrackingNumberUse] = {}
        # The shipments that are on their way and have a number that the carrier may reuse.
        shipment_ids = {
            use.shipment_id
            for use in holders.values()
            if use.shipment_id and self._is_reusable(use)
        }
        states = session.states(tenant, shipment_ids)
        self._open_shipments = {state.shipment_id for state in states if state.is_open}

    def holder(self, number: str) -> TrackingNumberUse:
        """Returns the latest use of a number; a new one if it has none."""
        return self._holders.get(number) or self.next_use(number)

    def is_reused(self, holder: TrackingNumberUse) -> bool:
        """Whether a new event of the number belongs to another parcel, after so much time."""
        return self._is_reusable(holder) and holder.shipment_id not in self._open_shipments

    def next_use(self, number: str) -> TrackingNumberUse:
        """Returns the next use of a number, which has no shipment yet."""
        if number not in self._new:
            previous = self._holders.get(number)
            self._new[number] = next_number_use(number, previous, self._session.commit_time)
        return self._new[number]

    def write(self) -> None:
        """Writes the new uses."""
        self._session.put_number_uses(self._tenant, self._new.values())

    def _is_reusable(self, holder: TrackingNumberUse) -> bool:
        return self._session.commit_time - holder.started_at >= NUMBER_REUSE_PERIOD


def previous_use_id(holder: TrackingNumberUse) -> str:
    """Returns the id of the use before."""
    return f"{holder.carrier_number}|{holder.use_number - 1}"


def next_number_use(
    number: str, previous: TrackingNumberUse | None, started_at: int, shipment_id: str | None = None
) -> TrackingNumberUse:
    """Returns the use of a carrier's number that follows another one."""
    use_number = previous.use_number + 1 if previous else 1
    return TrackingNumberUse(
        number_use_id=f"{number}|{use_number}",
        carrier_number=number,
        use_number=use_number,
        started_at=started_at,
        shipment_id=shipment_id,
    )


def is_assigned(holder: TrackingNumberUse, commit_time: int) -> bool:
    """Whether a shipment has the number, and the carrier cannot have reused it."""
    return holder.shipment_id is not None and commit_time - holder.started_at < NUMBER_REUSE_PERIOD


def assign_number(
    number: str, holder: TrackingNumberUse | None, shipment_id: str, commit_time: int
) -> TrackingNumberUse:
    """Assigns a number that no other shipment has.

    Returns its latest use, with the events received so far, or a new use if that one is too old.
    """
    if holder:
        is_free = holder.shipment_id in (None, shipment_id)
        is_recent = commit_time - holder.started_at < NUMBER_REUSE_PERIOD
        if is_free and is_recent:
            return holder._replace(shipment_id=shipment_id, started_at=commit_time)
    return next_number_use(number, holder, commit_time, shipment_id)
