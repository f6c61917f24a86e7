"""Rows of the store by name; instants are microseconds since 1970 in UTC."""

from __future__ import annotations

from typing import NamedTuple


class StoredShipment(NamedTuple):
    """A shipment as it is registered now."""

    shipment_id: str
    #: The shop's id.
    external_id: str | None
    #: The use of the carrier's tracking number; an earlier parcel may have had the same number.
    number_use_id: str | None
    #: JSON.
    attributes: str
    #: When it was registered; of an imported history, when the source of the history knew of it.
    created_at: int
    #: When its present version was recorded; the same at first.
    changed_at: int

    @property
    def event_owners(self) -> tuple[str, ...]:
        """The owners of its events: the shipment, and the use of its tracking number."""
        return (self.shipment_id, self.number_use_id) if self.number_use_id else (self.shipment_id,)


class TrackingNumberUse(NamedTuple):
    """The use of a carrier's tracking number by one parcel."""

    number_use_id: str
    carrier_number: str
    #: 1 for the first that was recorded; an imported history may add earlier uses later.
    use_number: int
    #: When its first event was received, or when it was registered.
    started_at: int
    shipment_id: str | None


class StoredVersion(NamedTuple):
    """A shipment as it was known from ``recorded_at`` on."""

    shipment_id: str
    recorded_at: int
    number_use_id: str | None
    attributes: str


class StoredEvent(NamedTuple):
    """A tracking event."""

    #: A shipment's id, or the id of the use of a tracking number.
    event_owner: str
    event_id: str
    event_code: str
    raw_code: str | None
    place: str | None
    occurred_at: int
    #: Minutes ahead of UTC: from the sender, or from the zone in which the time was read.
    offset_minutes: int
    timezone_source: str
    is_ambiguous: int
    is_received_at_assumed: int
    received_at: int
    #: 0, or 1 and so on for a correction of the event code of the scan with the same content;
    #: its ``raw_code`` is that of the scan, or else the scan's event code.
    correction_number: int = 0


class StoredState(NamedTuple):
    """The state of a shipment, folded from the events received by ``as_of``."""

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
    """An assessment of a shipment as it was issued."""

    shipment_id: str
    as_of: int
    model_version: str | None
    #: JSON.
    assessment: str


class StoredFlag(NamedTuple):
    """A delay flag, with the times at which it was raised and cleared."""

    shipment_id: str
    raised_at: int
    state: str
    reason_code: str | None
    probability: float | None
    ended_at: int | None


class StoredResponse(NamedTuple):
    """A response that is returned to repeated requests with the same idempotency key."""

    idempotency_key: str
    digest: str
    status: int
    body: str
    created_at: int


class StoredQuarantinedEvent(NamedTuple):
    """An implausible event."""

    event_id: str
    event_owner: str
    reason: str
    #: JSON.
    content: str
    received_at: int
