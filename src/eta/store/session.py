"""The queries of one transaction; each belongs to one tenant."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

from eta.store.engine import AnyOf, Connection, Row
from eta.store.queries import load_queries
from eta.store.records import (
    StoredEvent,
    StoredFlag,
    StoredForecast,
    StoredQuarantinedEvent,
    StoredResponse,
    StoredShipment,
    StoredState,
    StoredVersion,
    TrackingNumberUse,
)

T = TypeVar(
    "T",
    StoredShipment,
    TrackingNumberUse,
    StoredVersion,
    StoredEvent,
    StoredState,
    StoredForecast,
    StoredFlag,
    StoredResponse,
    StoredQuarantinedEvent,
)

_SHIPMENTS_SQL = load_queries("shipments.sql")
_EVENTS_SQL = load_queries("events.sql")
_RESPONSES_SQL = load_queries("responses.sql")
_CLOCK_SQL = load_queries("clock.sql")

_SHIPMENTS_BY_COLUMN = {
    column: _SHIPMENTS_SQL[f"shipments_by_{column}"]
    for column in ("shipment_id", "external_id", "number_use_id")
}

#: Deletions of all rows of some shipments, and of all rows of some event owners.
_DELETE_OF_SHIPMENTS = (
    _SHIPMENTS_SQL["delete_shipments"],
    _SHIPMENTS_SQL["delete_versions"],
    _SHIPMENTS_SQL["delete_states"],
    _RESPONSES_SQL["delete_forecasts"],
    _RESPONSES_SQL["delete_flags"],
    _EVENTS_SQL["delete_outbox"],
    _SHIPMENTS_SQL["release_numbers"],
)
_DELETE_OF_EVENT_OWNERS = (
    _EVENTS_SQL["delete_events"],
    _EVENTS_SQL["delete_quarantined"],
    _SHIPMENTS_SQL["delete_number_uses"],
)


class Session:
    """One transaction.

    ``commit_time`` is when the rows that it writes are recorded, and ``now`` is the clock's time.
    ``latest_now`` is the latest of these and of the steady clock's time: a clock may have been set
    back. The clock has run on without a break since ``uninterrupted_since``. All are 0 in a session
    that only reads.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        commit_time: int = 0,
        now: int = 0,
        latest_now: int = 0,
        uninterrupted_since: int = 0,
        last_sequence: int = 0,
        secret: str = "",
    ) -> None:
        self._connection = connection
        self.commit_time = commit_time
        self.now = now
        self.latest_now = latest_now
        self.uninterrupted_since = uninterrupted_since
        self.last_sequence = self._first_sequence = last_sequence
        #: Whether rows were deleted whose bytes must not stay in files.
        self.has_erased = False
        self._secret = secret

    @property
    def has_new_ids(self) -> bool:
        """Whether it has taken numbers of the sequence."""
        return self.last_sequence != self._first_sequence

    def new_id(self, prefix: str) -> str:
        """Returns a new id that cannot be guessed."""
        self.last_sequence += 1
        content = f"{prefix} {self.last_sequence}".encode()
        digest = hashlib.blake2b(content, key=bytes.fromhex(self._secret), digest_size=12)
        return f"{prefix}_{digest.hexdigest()}"

    def shipments(self, tenant: str, column: str, values: Iterable[str]) -> list[StoredShipment]:
        """Returns shipments by ``shipment_id``, ``external_id`` or ``number_use_id``."""
        return self._select_in(StoredShipment, _SHIPMENTS_BY_COLUMN[column], tenant, values)

    def number_uses(
        self, tenant: str, carrier_numbers: Iterable[str]
    ) -> dict[str, list[TrackingNumberUse]]:
        """Returns the uses of each tracking number that has any, the latest last."""
        query = _SHIPMENTS_SQL["number_uses"]
        uses: dict[str, list[TrackingNumberUse]] = {}
        for use in self._select_in(TrackingNumberUse, query, tenant, carrier_numbers):
            uses.setdefault(use.carrier_number, []).append(use)
        return uses

    def page(
        self, tenant: str, after: str, limit: int, *, status: str | None = None
    ) -> list[StoredShipment]:
        """Returns shipments in the order of their ids, after an id; only those with ``status``."""
        if status:
            query = _SHIPMENTS_SQL["shipments_after_with_status"]
            rows = self._connection.execute(query, tenant, after, status, limit)
        else:
            query = _SHIPMENTS_SQL["shipments_after"]
            rows = self._connection.execute(query, tenant, after, limit)
        return [StoredShipment._make(row) for row in rows]

    def tenants(self) -> list[str]:
        """Returns the tenants that have shipments, in order."""
        return [tenant for (tenant,) in self._connection.execute(_SHIPMENTS_SQL["tenants"])]

    def all_shipments(self, tenant: str) -> list[StoredShipment]:
        """Returns every shipment of a tenant."""
        rows = self._connection.execute(_SHIPMENTS_SQL["all_shipments"], tenant)
        return [StoredShipment._make(row) for row in rows]

    def all_events(self, tenant: str) -> list[StoredEvent]:
        """Returns every event of a tenant."""
        rows = self._connection.execute(_EVENTS_SQL["all_events"], tenant)
        return [StoredEvent._make(row) for row in rows]

    def versions(self, tenant: str, shipment_ids: Iterable[str]) -> list[StoredVersion]:
        """Returns all versions of shipments, oldest first."""
        query = _SHIPMENTS_SQL["versions"]
        return self._select_in(StoredVersion, query, tenant, shipment_ids)

    def events(self, tenant: str, event_owners: Iterable[str]) -> list[StoredEvent]:
        """Returns all events of some event owners, in no order."""
        return self._select_in(StoredEvent, _EVENTS_SQL["events"], tenant, event_owners)

    def events_by_id(self, tenant: str, event_ids: Iterable[str]) -> list[StoredEvent]:
        """Returns the events with these ids."""
        return self._select_in(StoredEvent, _EVENTS_SQL["events_by_id"], tenant, event_ids)

    def quarantined_by_id(
        self, tenant: str, event_ids: Iterable[str]
    ) -> list[StoredQuarantinedEvent]:
        """Returns the quarantined events with these ids."""
        query = _EVENTS_SQL["quarantined_by_id"]
        return self._select_in(StoredQuarantinedEvent, query, tenant, event_ids)

    def states(self, tenant: str, shipment_ids: Iterable[str]) -> list[StoredState]:
        """Returns the states of shipments."""
        return self._select_in(StoredState, _SHIPMENTS_SQL["states"], tenant, shipment_ids)

    def statuses(self, tenant: str, shipment_ids: Iterable[str]) -> dict[str, str]:
        """Returns the status of each shipment that has a state."""
        query = _SHIPMENTS_SQL["statuses"]
        return dict(self._connection.execute(query, tenant, AnyOf(list(shipment_ids))))

    def forecasts(self, tenant: str, shipment_ids: Iterable[str]) -> list[StoredForecast]:
        """Returns forecasts as they were issued, oldest first."""
        query = _RESPONSES_SQL["forecasts"]
        return self._select_in(StoredForecast, query, tenant, shipment_ids)

    def flags(self, tenant: str, shipment_ids: Iterable[str]) -> list[StoredFlag]:
        """Returns delay flags, oldest first."""
        return self._select_in(StoredFlag, _RESPONSES_SQL["flags"], tenant, shipment_ids)

    def estimate(self, tenant: str, estimate_id: str) -> str | None:
        """Returns a saved estimate as JSON, or None."""
        rows = self._connection.execute(_RESPONSES_SQL["estimate"], tenant, estimate_id)
        return rows[0][0] if rows else None

    def responses(self, tenant: str, keys: Iterable[str]) -> dict[str, StoredResponse]:
        """Returns stored responses by their idempotency keys."""
        query = _RESPONSES_SQL["responses"]
        responses = self._select_in(StoredResponse, query, tenant, keys)
        return {response.idempotency_key: response for response in responses}

    def quarantined(self, tenant: str, after: str, limit: int) -> list[StoredQuarantinedEvent]:
        """Returns quarantined events in the order of their ids, after an id."""
        rows = self._connection.execute(_EVENTS_SQL["quarantined"], tenant, after, limit)
        return [StoredQuarantinedEvent._make(row) for row in rows]

    def last_commit_time(self) -> int:
        """Returns the commit time of the last transaction before this one."""
        return int(self._connection.execute(_CLOCK_SQL["last_commit_time"])[0][0])

    def database_clock(self) -> tuple[int, int, bool]:
        """Returns the last commit time, the database's time, and whether a transaction is writing.

        Of PostgreSQL alone; a transaction that begins to write later is recorded after that time.
        """
        [(last_commit_time, time, is_writing)] = self._connection.execute(
            _CLOCK_SQL["read_database_clock"]
        )
        return last_commit_time, time, is_writing

    def counts(self, tenant: str) -> dict[str, int]:
        """Returns the numbers of shipments, events and quarantined events."""
        queries = {
            "shipments": _SHIPMENTS_SQL["count_shipments"],
            "events": _EVENTS_SQL["count_events"],
            "quarantine": _EVENTS_SQL["count_quarantine"],
        }
        counts = {}
        for table, query in queries.items():
            counts[table] = self._connection.execute(query, tenant)[0][0]
        return counts

    def put_shipments(self, tenant: str, shipments: Iterable[StoredShipment]) -> None:
        """Writes shipments, and the version of each that begins when it changed."""
        rows = list(shipments)
        versions = [
            StoredVersion(
                shipment_id=row.shipment_id,
                recorded_at=row.changed_at,
                number_use_id=row.number_use_id,
                attributes=row.attributes,
            )
            for row in rows
        ]
        self._write(_SHIPMENTS_SQL["put_shipment"], tenant, rows)
        self._write(_SHIPMENTS_SQL["put_version"], tenant, versions)

    def put_number_uses(self, tenant: str, uses: Iterable[TrackingNumberUse]) -> None:
        """Writes uses of tracking numbers."""
        self._write(_SHIPMENTS_SQL["put_number_use"], tenant, uses)

    def add_events(self, tenant: str, events: Iterable[StoredEvent]) -> None:
        """Writes events that are not stored yet."""
        # In the order of the key, which saves the database from jumping to and fro.
        self._write(_EVENTS_SQL["add_event"], tenant, sorted(events))

    def put_states(self, tenant: str, states: Iterable[StoredState]) -> None:
        """Writes the present states of shipments."""
        in_key_order = sorted(states, key=lambda state: state.shipment_id)
        self._write(_SHIPMENTS_SQL["put_state"], tenant, in_key_order)

    def add_forecasts(self, tenant: str, forecasts: Iterable[StoredForecast]) -> None:
        """Writes forecasts as they are issued."""
        self._write(_RESPONSES_SQL["add_forecast"], tenant, forecasts)

    def add_estimate(
        self, tenant: str, estimate_id: str, as_of: int, model_version: str | None, response: str
    ) -> None:
        """Writes an estimate, as JSON."""
        row = (estimate_id, as_of, model_version, response)
        self._write(_RESPONSES_SQL["add_estimate"], tenant, [row])

    def put_flags(self, tenant: str, flags: Iterable[StoredFlag]) -> None:
        """Writes flags that were raised or cleared."""
        self._write(_RESPONSES_SQL["put_flag"], tenant, flags)

    def add_outbox(self, tenant: str, messages: Iterable[tuple[str, str, str]]) -> None:
        """Writes messages to subscribers: type, shipment id and payload (JSON) of each."""
        rows: list[Row] = []
        for message_type, shipment_id, payload in messages:
            self.last_sequence += 1
            rows.append(
                (self.last_sequence, tenant, message_type, shipment_id, self.commit_time, payload)
            )
        self._connection.execute_many(_EVENTS_SQL["add_outbox"], rows)

    def outbox(self, tenant: str) -> list[Row]:
        """Returns sequence, type, shipment id, time and payload of each message, in order."""
        return self._connection.execute(_EVENTS_SQL["outbox"], tenant)

    def add_responses(self, tenant: str, responses: Iterable[StoredResponse]) -> None:
        """Writes responses that are returned to repeated requests."""
        self._write(_RESPONSES_SQL["put_response"], tenant, responses)

    def add_quarantined(self, tenant: str, events: Iterable[StoredQuarantinedEvent]) -> None:
        """Writes implausible events."""
        self._write(_EVENTS_SQL["add_quarantined"], tenant, events)

    def responses_after(self, tenant: str, key: str, limit: int) -> list[tuple[str, str, str]]:
        """Returns tenant, key and body of stored responses of all tenants, after one of them."""
        rows = self._connection.execute(_RESPONSES_SQL["responses_after"], tenant, key, limit)
        return [(row[0], row[1], row[2]) for row in rows]

    def existing_shipment_ids(self, tenant: str, shipment_ids: Iterable[str]) -> set[str]:
        """Returns those of some ids of which the tenant has a shipment."""
        query = _SHIPMENTS_SQL["existing_shipment_ids"]
        rows = self._connection.execute(query, tenant, AnyOf(list(shipment_ids)))
        return {row[0] for row in rows}

    def delete_responses(self, tenant: str, keys: Sequence[str]) -> None:
        """Deletes stored responses because they name what was deleted."""
        self.has_erased |= bool(keys)
        self._connection.execute(_RESPONSES_SQL["delete_responses"], tenant, AnyOf(keys))

    def purge_responses(self, before: int) -> None:
        """Deletes responses that were stored before a moment."""
        self._connection.execute(_RESPONSES_SQL["purge_responses"], before)

    def inactive_shipments(self, before: int, limit: int) -> dict[str, list[StoredShipment]]:
        """Returns some shipments, by tenant, that have not changed since a moment."""
        query = _SHIPMENTS_SQL["inactive_shipments"]
        rows = self._connection.execute(query, before, before, limit)
        by_tenant: dict[str, list[StoredShipment]] = {}
        for tenant, *row in rows:
            by_tenant.setdefault(tenant, []).append(StoredShipment._make(row))
        return by_tenant

    def erase(self, tenant: str, shipments: Sequence[StoredShipment]) -> None:
        """Deletes shipments with their events, forecasts, flags and messages.

        Events of a tracking number that another shipment has or had stay. Stored responses that
        name the shipments are deleted later.
        """
        shipment_ids = [shipment.shipment_id for shipment in shipments]
        self.has_erased |= bool(shipment_ids)
        # Returns the uses of numbers that these shipments have or had, and no other shipment.
        versions = self.versions(tenant, shipment_ids)
        use_ids = {version.number_use_id for version in versions if version.number_use_id}
        exclusive_number_uses_query = _SHIPMENTS_SQL["number_use_shipments"]
        rows = self._connection.execute(exclusive_number_uses_query, tenant, AnyOf(list(use_ids)))
        shared_ids = {use_id for use_id, shipment_id in rows if shipment_id not in shipment_ids}
        exclusive_ids = use_ids - shared_ids
        for query in _DELETE_OF_SHIPMENTS:
            self._connection.execute(query, tenant, AnyOf(shipment_ids))
        self.delete_event_owners(tenant, [*shipment_ids, *exclusive_ids])

    def delete_event_owners(self, tenant: str, event_owners: Sequence[str]) -> None:
        """Deletes the events of some event owners, and the uses of numbers among the owners."""
        self.has_erased |= bool(event_owners)
        for query in _DELETE_OF_EVENT_OWNERS:
            self._connection.execute(query, tenant, AnyOf(event_owners))

    def purge_unregistered_events(self, before: int, limit: int) -> int:
        """Deletes events of some numbers that have no shipment and no event since a moment.

        Also deletes all quarantined events and saved estimates from before the moment. Returns how
        many numbers were deleted.
        """
        query = _SHIPMENTS_SQL["unregistered_number_uses"]
        rows = self._connection.execute(query, before, before, limit)
        for tenant, number_use_id in rows:
            self.delete_event_owners(tenant, [number_use_id])
        for purge in (_EVENTS_SQL["purge_quarantined"], _RESPONSES_SQL["purge_estimates"]):
            self.has_erased |= bool(self._connection.execute(purge, before))
        return len(rows)

    def _select_in(self, kind: type[T], query: str, tenant: str, values: Iterable[str]) -> list[T]:
        """Returns rows of which a column has one of the values."""
        distinct_values = list(dict.fromkeys(values))
        if not distinct_values:
            return []
        rows = self._connection.execute(query, tenant, AnyOf(distinct_values))
        return [kind._make(row) for row in rows]

    def _write(self, query: str, tenant: str, rows: Iterable[Row]) -> None:
        """Runs a statement once for each row, with the tenant as its first value."""
        self._connection.execute_many(query, [(tenant, *row) for row in rows])
