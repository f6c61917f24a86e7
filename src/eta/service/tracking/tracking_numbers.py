"""Which parcel a carrier's tracking number stands for; carriers reuse numbers."""

from __future__ import annotations

from collections.abc import Mapping

from eta.store.records import TrackingNumberUse
from eta.store.session import Session

_HOUR = 3_600_000_000

#: A number that comes again after so long is another parcel's: carriers give numbers again. 92 days
#: are three months.
NUMBER_REUSE_PERIOD = 92 * 24 * _HOUR


class TrackingNumberLog:
    """The parcels that bear carriers' numbers, and those that scans of this transaction are the first to tell of."""

    def __init__(
        self, session: Session, tenant: str, holders: Mapping[str, TrackingNumberUse]
    ) -> None:
        self._session, self._tenant = session, tenant
        self._holders, self._new = dict(holders), dict[str, TrackingNumberUse]()
        reusable = {
            use.shipment_id
            for use in holders.values()
            if use.shipment_id and self._is_reusable(use)
        }
        self._open = {
            state.shipment_id for state in session.states(tenant, reusable) if state.is_open
        }

    def holder(self, number: str) -> TrackingNumberUse:
        """The parcel that bears a number."""
        return self._holders.get(number) or self.next_use(number)

    def is_reused(self, holder: TrackingNumberUse) -> bool:
        """Whether so much time has passed that a new scan of the number is another parcel's."""
        return self._is_reusable(holder) and holder.shipment_id not in self._open

    def next_use(self, number: str) -> TrackingNumberUse:
        """The next parcel to bear a number, which nobody has registered yet."""
        if number not in self._new:
            self._new[number] = next_number_use(
                number, self._holders.get(number), self._session.commit_time
            )
        return self._new[number]

    def write(self) -> None:
        """Stores the parcels that are new."""
        self._session.put_number_uses(self._tenant, self._new.values())

    def _is_reusable(self, holder: TrackingNumberUse) -> bool:
        return self._session.commit_time - holder.started_at >= NUMBER_REUSE_PERIOD


def previous_use_id(holder: TrackingNumberUse) -> str:
    """The parcel that bore the number before."""
    return f"{holder.carrier_number}|{holder.use_number - 1}"


def next_number_use(
    number: str, previous: TrackingNumberUse | None, started_at: int, shipment_id: str | None = None
) -> TrackingNumberUse:
    """The next parcel to bear a carrier's number."""
    use_number = previous.use_number + 1 if previous else 1
    return TrackingNumberUse(f"{number}|{use_number}", number, use_number, started_at, shipment_id)


def is_assigned(holder: TrackingNumberUse, commit_time: int) -> bool:
    """Whether a shipment bears the number, and carriers have not given it again."""
    return holder.shipment_id is not None and commit_time - holder.started_at < NUMBER_REUSE_PERIOD


def assign_number(
    number: str, holder: TrackingNumberUse | None, shipment_id: str, commit_time: int
) -> TrackingNumberUse:
    """The shipment as the bearer of a number that no other one bears: of what was told of it lately, else as the next parcel."""
    if (
        holder
        and (holder.shipment_id in (None, shipment_id))
        and commit_time - holder.started_at < NUMBER_REUSE_PERIOD
    ):
        return holder._replace(shipment_id=shipment_id, started_at=commit_time)
    return next_number_use(number, holder, commit_time, shipment_id)
