"""Which parcel a carrier's tracking number stands for; carriers reuse numbers."""

from __future__ import annotations

from collections.abc import Mapping

from eta.store.records import StoredTracking
from eta.store.session import Session

_HOUR = 3_600_000_000

#: A number that comes again after so long is another parcel's: carriers give numbers again. 92 days
#: are three months.
NUMBER_IS_OURS_FOR = 92 * 24 * _HOUR


class TrackingNumberLog:
    """The parcels that bear carriers' numbers, and those that scans of this transaction are the first to tell of."""

    def __init__(
        self, session: Session, tenant: str, bearers: Mapping[str, StoredTracking]
    ) -> None:
        self._session, self._tenant = session, tenant
        self._bearers, self._new = dict(bearers), dict[str, StoredTracking]()
        old = {
            each.shipment_id for each in bearers.values() if each.shipment_id and self._is_old(each)
        }
        self._open = {state.shipment_id for state in session.states(tenant, old) if state.is_open}

    def bearer(self, number: str) -> StoredTracking:
        """The parcel that bears a number."""
        return self._bearers.get(number) or self.next(number)

    def is_given_again(self, bearer: StoredTracking) -> bool:
        """Whether so much time has passed that a new scan of the number is another parcel's."""
        return self._is_old(bearer) and bearer.shipment_id not in self._open

    def next(self, number: str) -> StoredTracking:
        """The next parcel to bear a number, which nobody has registered yet."""
        if number not in self._new:
            self._new[number] = next_tracking(
                number, self._bearers.get(number), self._session.stamp
            )
        return self._new[number]

    def write(self) -> None:
        """Stores the parcels that are new."""
        self._session.put_trackings(self._tenant, self._new.values())

    def _is_old(self, bearer: StoredTracking) -> bool:
        return self._session.stamp - bearer.since >= NUMBER_IS_OURS_FOR


def earlier_tracking(bearer: StoredTracking) -> str:
    """The parcel that bore the number before."""
    return f"{bearer.carrier_number}|{bearer.generation - 1}"


def next_tracking(
    number: str, before: StoredTracking | None, since: int, shipment_id: str | None = None
) -> StoredTracking:
    """The next parcel to bear a carrier's number."""
    generation = before.generation + 1 if before else 1
    return StoredTracking(f"{number}|{generation}", number, generation, since, shipment_id)


def is_borne(bearer: StoredTracking, stamp: int) -> bool:
    """Whether a shipment bears the number, and carriers have not given it again."""
    return bearer.shipment_id is not None and stamp - bearer.since < NUMBER_IS_OURS_FOR


def bear(
    number: str, bearer: StoredTracking | None, shipment_id: str, stamp: int
) -> StoredTracking:
    """The shipment as the bearer of a number that no other one bears: of what was told of it lately, else as the next parcel."""
    if (
        bearer
        and (bearer.shipment_id in (None, shipment_id))
        and stamp - bearer.since < NUMBER_IS_OURS_FOR
    ):
        return bearer._replace(shipment_id=shipment_id, since=stamp)
    return next_tracking(number, bearer, stamp, shipment_id)
