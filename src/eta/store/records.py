"""Rows of the store by name; instants are microseconds since 1970 in UTC."""

from __future__ import annotations

from typing import NamedTuple


class StoredShipment(NamedTuple):
    """What the shop says of a shipment."""

    shipment_id: str
    #: The shop's own number.
    external_id: str | None
    #: The number under which the carrier tells of it, told apart from an earlier parcel that bore
    #: it.
    number_use_id: str | None
    #: JSON.
    attributes: str
    created_at: int
    changed_at: int

    @property
    def event_owners(self) -> tuple[str, ...]:
        """What scans of it are told of."""
        return (self.shipment_id, self.number_use_id) if self.number_use_id else (self.shipment_id,)


class TrackingNumberUse(NamedTuple):
    """A parcel that bears a carrier's number, or bore it."""

    number_use_id: str
    carrier_number: str
    #: 1 for the first parcel that bore it.
    use_number: int
    #: When it was first told of, or registered.
    started_at: int
    shipment_id: str | None


class StoredVersion(NamedTuple):
    """What the shop had said of a shipment from ``recorded_at`` on."""

    shipment_id: str
    recorded_at: int
    number_use_id: str | None
    attributes: str


class StoredEvent(NamedTuple):
    """One scan."""

    event_owner: str
    event_id: str
    event_code: str
    raw_code: str | None
    place: str | None
    occurred_at: int
    #: Minutes ahead of UTC that the sender wrote, or that the zone it was read in had then.
    offset_minutes: int
    timezone_source: str
    is_ambiguous: int
    is_received_at_assumed: int
    received_at: int


class StoredState(NamedTuple):
    """What was known of a shipment at ``as_of``."""

    shipment_id: str
    as_of: int
    status: str
    phase: str
    is_open: int
    last_code: str | None
    place: str | None
    place_code: str | None
    ordered_at: int | None
    approved_at: int | None
    handed_over_at: int | None
    last_scan_at: int | None
    arrived_at: int | None
    abandoned_at: int | None
    scan_count: int
    exception_count: int


class StoredForecast(NamedTuple):
    """An answer about a shipment as it was given."""

    shipment_id: str
    as_of: int
    model_version: str | None
    #: JSON.
    assessment: str


class StoredFlag(NamedTuple):
    """A delay flag and how long it stood."""

    shipment_id: str
    raised_at: int
    state: str
    reason_code: str | None
    probability: float | None
    ended_at: int | None


class StoredResponse(NamedTuple):
    """An answer that is given again to whoever asks again with the same key."""

    idempotency_key: str
    digest: str
    status: int
    body: str
    created_at: int


class StoredQuarantinedEvent(NamedTuple):
    """A scan that cannot be right."""

    event_id: str
    event_owner: str
    reason: str
    #: JSON.
    content: str
    received_at: int
