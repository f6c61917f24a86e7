"""What can be asked of a store, and told to it, within one transaction; every question is one tenant's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import TypeVar

from eta.store.engine import AnyOf, Connection, Row
from eta.store.migrations import EVENT_OWNER_TABLES, SHIPMENT_TABLES
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


def _columns(kind: type[T]) -> str:
    return ", ".join(kind._fields)


def _insert(table: str, kind: type[T]) -> str:
    return f"INSERT INTO {table} (tenant, {_columns(kind)}) VALUES ({', '.join('?' * (1 + len(kind._fields)))})"  # noqa: S608  # names of ours


def _upsert(table: str, kind: type[T], key: Sequence[str]) -> str:
    sets = ", ".join(f"{name} = excluded.{name}" for name in kind._fields if name not in key)
    return f"{_insert(table, kind)} ON CONFLICT (tenant, {', '.join(key)}) DO UPDATE SET {sets}"


def _select(table: str, kind: type[T], where: str) -> str:
    return f"SELECT {_columns(kind)} FROM {table} WHERE tenant = ? AND {where}"  # noqa: S608  # names of ours


_SHIPMENTS = {
    column: _select("shipments", StoredShipment, f"{column} IN ??")
    for column in ("shipment_id", "external_id", "number_use_id")
}
_NUMBER_USES = _select(
    "tracking_number_uses", TrackingNumberUse, "carrier_number IN ?? ORDER BY use_number"
)
_EVENTS = _select("events", StoredEvent, "event_owner IN ??")
_STATES = _select("states", StoredState, "shipment_id IN ??")
_VERSIONS = _select(
    "shipment_versions", StoredVersion, "shipment_id IN ?? ORDER BY shipment_id, recorded_at"
)
_FORECASTS = _select("forecasts", StoredForecast, "shipment_id IN ?? ORDER BY shipment_id, as_of")
_FLAGS = _select("flags", StoredFlag, "shipment_id IN ?? ORDER BY shipment_id, raised_at")
_RESPONSES = _select("responses", StoredResponse, "idempotency_key IN ??")
#: What was put aside, and became right in time, is a scan like others.
_QUARANTINED = _select(
    "quarantine",
    StoredQuarantinedEvent,
    "event_id > ? AND NOT EXISTS (SELECT 1 FROM events WHERE events.tenant = quarantine.tenant AND events.event_owner = quarantine.event_owner"
    " AND events.event_id = quarantine.event_id) ORDER BY event_id LIMIT ?",
)
_PUT_SHIPMENT, _PUT_STATE = (
    _upsert("shipments", StoredShipment, ("shipment_id",)),
    _upsert("states", StoredState, ("shipment_id",)),
)
_PUT_NUMBER_USE = _upsert("tracking_number_uses", TrackingNumberUse, ("number_use_id",))
_PUT_FLAG = _upsert("flags", StoredFlag, ("shipment_id", "raised_at"))
_PUT_VERSION = _upsert("shipment_versions", StoredVersion, ("shipment_id", "recorded_at"))
_ADD_EVENT = _insert("events", StoredEvent)
_ADD_FORECAST = f"{_insert('forecasts', StoredForecast)} ON CONFLICT DO NOTHING"
_ADD_RESPONSE = _upsert("responses", StoredResponse, ("idempotency_key",))
_ADD_QUARANTINED = f"{_insert('quarantine', StoredQuarantinedEvent)} ON CONFLICT DO NOTHING"
_first_column = itemgetter(0)


class Session:
    """One transaction; ``commit_time`` is when what it writes becomes known, ``now`` what the clock says; both are 0 where it only reads."""

    def __init__(
        self,
        connection: Connection,
        *,
        commit_time: int = 0,
        now: int = 0,
        last_sequence: int = 0,
        secret: str = "",
    ) -> None:
        self._connection, self.commit_time, self.now, self.last_sequence, self._secret = (
            connection,
            commit_time,
            now,
            last_sequence,
            secret,
        )

    def new_id(self, prefix: str) -> str:
        """An id that nobody can guess and that never comes again."""
        self.last_sequence += 1
        return f"{prefix}_{hashlib.blake2b(f'{prefix} {self.last_sequence}'.encode(), key=bytes.fromhex(self._secret), digest_size=12).hexdigest()}"

    def shipments(self, tenant: str, column: str, values: Iterable[str]) -> list[StoredShipment]:
        """Shipments by ``shipment_id``, ``external_id`` or ``number_use_id``."""
        return self._select_in(StoredShipment, _SHIPMENTS[column], tenant, values)

    def number_uses(
        self, tenant: str, carrier_numbers: Iterable[str]
    ) -> dict[str, TrackingNumberUse]:
        """The parcel that bears each number of a carrier, or was the last to bear it."""
        return {
            use.carrier_number: use
            for use in self._select_in(TrackingNumberUse, _NUMBER_USES, tenant, carrier_numbers)
        }

    def page(
        self, tenant: str, after: str, limit: int, *, status: str | None = None
    ) -> list[StoredShipment]:
        """Shipments in the order of their ids, after one of them; with ``status``, those whose state has it."""
        columns = ", ".join(f"shipments.{name}" for name in StoredShipment._fields)
        join = "JOIN states USING (tenant, shipment_id) " if status else ""
        where = "AND status = ? " if status else ""
        sql = f"SELECT {columns} FROM shipments {join}WHERE tenant = ? AND shipment_id > ? {where}ORDER BY shipment_id LIMIT ?"  # noqa: S608  # names of ours
        return [
            StoredShipment._make(row)
            for row in self._connection.execute(
                sql, tenant, after, *([status] if status else []), limit
            )
        ]

    def all_shipments(self, tenant: str) -> list[StoredShipment]:
        """Every shipment of a tenant."""
        sql = f"SELECT {_columns(StoredShipment)} FROM shipments WHERE tenant = ? ORDER BY shipment_id"  # noqa: S608  # names of ours
        return [StoredShipment._make(row) for row in self._connection.execute(sql, tenant)]

    def all_events(self, tenant: str) -> list[StoredEvent]:
        """Every scan told by a tenant."""
        sql = f"SELECT {_columns(StoredEvent)} FROM events WHERE tenant = ?"  # noqa: S608  # names of ours
        return [StoredEvent._make(row) for row in self._connection.execute(sql, tenant)]

    def versions(self, tenant: str, shipment_ids: Iterable[str]) -> list[StoredVersion]:
        """All versions of shipments, oldest first."""
        return self._select_in(StoredVersion, _VERSIONS, tenant, shipment_ids)

    def events(self, tenant: str, event_owners: Iterable[str]) -> list[StoredEvent]:
        """All scans told of subjects, in no order."""
        return self._select_in(StoredEvent, _EVENTS, tenant, event_owners)

    def states(self, tenant: str, shipment_ids: Iterable[str]) -> list[StoredState]:
        """The states of shipments."""
        return self._select_in(StoredState, _STATES, tenant, shipment_ids)

    def statuses(self, tenant: str, shipment_ids: Iterable[str]) -> dict[str, str]:
        """The status of each shipment that has a state."""
        return dict(
            self._connection.execute(
                "SELECT shipment_id, status FROM states WHERE tenant = ? AND shipment_id IN ??",
                tenant,
                AnyOf(list(shipment_ids)),
            )
        )

    def forecasts(self, tenant: str, shipment_ids: Iterable[str]) -> list[StoredForecast]:
        """Forecasts as they were issued, oldest first."""
        return self._select_in(StoredForecast, _FORECASTS, tenant, shipment_ids)

    def flags(self, tenant: str, shipment_ids: Iterable[str]) -> list[StoredFlag]:
        """Delay flags, oldest first."""
        return self._select_in(StoredFlag, _FLAGS, tenant, shipment_ids)

    def estimate(self, tenant: str, estimate_id: str) -> str | None:
        """The answer, JSON, that was given as an estimate."""
        rows = self._connection.execute(
            "SELECT response FROM estimates WHERE tenant = ? AND estimate_id = ?",
            tenant,
            estimate_id,
        )
        return rows[0][0] if rows else None

    def responses(self, tenant: str, keys: Iterable[str]) -> dict[str, StoredResponse]:
        """Replies that were given under idempotency keys."""
        return {
            response.idempotency_key: response
            for response in self._select_in(StoredResponse, _RESPONSES, tenant, keys)
        }

    def quarantined(self, tenant: str, after: str, limit: int) -> list[StoredQuarantinedEvent]:
        """Scans that cannot be right, in the order of their ids."""
        return [
            StoredQuarantinedEvent._make(row)
            for row in self._connection.execute(_QUARANTINED, tenant, after, limit)
        ]

    def last_commit_time(self) -> int:
        """When the last transaction before this one became known."""
        return int(self._connection.execute("SELECT last_commit_time FROM clock")[0][0])

    def counts(self, tenant: str) -> dict[str, int]:
        """How many shipments, scans and quarantined scans there are."""
        counts = {}
        for table in ("shipments", "events", "quarantine"):
            query = f"SELECT count(*) FROM {table} WHERE tenant = ?"  # noqa: S608  # names of ours
            counts[table] = self._connection.execute(query, tenant)[0][0]
        return counts

    def put_shipments(self, tenant: str, shipments: Iterable[StoredShipment]) -> None:
        """Shipments as they are now, and as versions known from now on."""
        rows = list(shipments)
        self._connection.execute_many(_PUT_SHIPMENT, [(tenant, *row) for row in rows])
        self._connection.execute_many(
            _PUT_VERSION,
            [
                (tenant, row.shipment_id, self.commit_time, row.number_use_id, row.attributes)
                for row in rows
            ],
        )

    def put_number_uses(self, tenant: str, uses: Iterable[TrackingNumberUse]) -> None:
        """Who bears which number now."""
        self._connection.execute_many(_PUT_NUMBER_USE, [(tenant, *use) for use in uses])

    def add_events(self, tenant: str, events: Iterable[StoredEvent]) -> None:
        """Scans that are not there yet."""
        # In the order of the key, which saves the database from jumping to and fro.
        self._connection.execute_many(_ADD_EVENT, [(tenant, *event) for event in sorted(events)])

    def put_states(self, tenant: str, states: Iterable[StoredState]) -> None:
        """The states as they are now."""
        self._connection.execute_many(
            _PUT_STATE, [(tenant, *state) for state in sorted(states, key=_first_column)]
        )

    def add_forecasts(self, tenant: str, forecasts: Iterable[StoredForecast]) -> None:
        """Answers as they are given."""
        self._connection.execute_many(
            _ADD_FORECAST, [(tenant, *forecast) for forecast in forecasts]
        )

    def add_estimate(
        self, tenant: str, estimate_id: str, as_of: int, model_version: str | None, answer: str
    ) -> None:
        """An estimate as it is shown."""
        self._connection.execute_many(
            "INSERT INTO estimates VALUES (?, ?, ?, ?, ?)",
            [(tenant, estimate_id, as_of, model_version, answer)],
        )

    def put_flags(self, tenant: str, flags: Iterable[StoredFlag]) -> None:
        """Flags that were raised, or that end."""
        self._connection.execute_many(_PUT_FLAG, [(tenant, *flag) for flag in flags])

    def add_outbox(self, tenant: str, entries: Iterable[tuple[str, str, str]]) -> None:
        """What subscribers are to hear of: type, shipment and payload (JSON) each."""
        rows = [
            (
                self.last_sequence + offset,
                tenant,
                event_type,
                shipment_id,
                self.commit_time,
                payload,
            )
            for offset, (event_type, shipment_id, payload) in enumerate(entries, start=1)
        ]
        self.last_sequence += len(rows)
        self._connection.execute_many("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?)", rows)

    def outbox(self, tenant: str) -> list[Row]:
        """Number, type, shipment, time and payload of what subscribers are to hear of, in order."""
        return self._connection.execute(
            "SELECT sequence, type, shipment_id, created_at, payload FROM outbox WHERE tenant = ? ORDER BY sequence",
            tenant,
        )

    def add_responses(self, tenant: str, responses: Iterable[StoredResponse]) -> None:
        """Replies that are to be given again."""
        self._connection.execute_many(
            _ADD_RESPONSE, [(tenant, *response) for response in responses]
        )

    def add_quarantined(self, tenant: str, events: Iterable[StoredQuarantinedEvent]) -> None:
        """Scans that cannot be right."""
        self._connection.execute_many(_ADD_QUARANTINED, [(tenant, *event) for event in events])

    def purge_responses(self, before: int) -> None:
        """Takes replies away that were given before a moment."""
        self._connection.execute("DELETE FROM responses WHERE created_at < ?", before)

    def inactive_shipments(self, before: int, limit: int) -> dict[str, list[StoredShipment]]:
        """Some shipments, by tenant, of which nothing was registered, told or happened since a moment."""
        columns = ", ".join(f"shipments.{name}" for name in StoredShipment._fields)
        rows = self._connection.execute(
            f"SELECT shipments.tenant, {columns} FROM shipments JOIN states USING (tenant, shipment_id) "  # noqa: S608  # names of ours
            "WHERE changed_at < ? AND as_of < ? LIMIT ?",
            before,
            before,
            limit,
        )
        by_tenant: dict[str, list[StoredShipment]] = {}
        for tenant, *row in rows:
            by_tenant.setdefault(tenant, []).append(StoredShipment._make(row))
        return by_tenant

    def _select_in(self, kind: type[T], sql: str, tenant: str, values: Iterable[str]) -> list[T]:
        distinct_values = list(dict.fromkeys(values))
        return (
            [
                kind._make(row)
                for row in self._connection.execute(sql, tenant, AnyOf(distinct_values))
            ]
            if distinct_values
            else []
        )

    def erase(self, tenant: str, shipments: Sequence[StoredShipment]) -> None:
        """Takes shipments away with all that was told and said of them; replies hold nothing but ids and go in time.

        What was told of a number that another shipment bears, or bore, is that one's.
        """
        ids = [shipment.shipment_id for shipment in shipments]
        used_ids = {
            version.number_use_id for version in self.versions(tenant, ids) if version.number_use_id
        }
        other_uses = self._connection.execute(
            "SELECT number_use_id, shipment_id FROM shipment_versions WHERE tenant = ? AND number_use_id IN ??",
            tenant,
            AnyOf(list(used_ids)),
        )
        exclusive_ids = used_ids - {
            number_use_id for number_use_id, shipment_id in other_uses if shipment_id not in ids
        }
        for table in SHIPMENT_TABLES:
            self._connection.execute(
                f"DELETE FROM {table} WHERE tenant = ? AND shipment_id IN ??",  # noqa: S608  # names of ours
                tenant,
                AnyOf(ids),
            )
        self._connection.execute(
            "UPDATE tracking_number_uses SET shipment_id = NULL WHERE tenant = ? AND shipment_id IN ??",
            tenant,
            AnyOf(ids),
        )
        self.delete_event_owners(tenant, [*ids, *exclusive_ids])

    def delete_event_owners(self, tenant: str, event_owners: Sequence[str]) -> None:
        """Takes away what was told of subjects, and the numbers among them."""
        for table in EVENT_OWNER_TABLES:
            self._connection.execute(
                f"DELETE FROM {table} WHERE tenant = ? AND event_owner IN ??",  # noqa: S608  # names of ours
                tenant,
                AnyOf(event_owners),
            )
        self._connection.execute(
            "DELETE FROM tracking_number_uses WHERE tenant = ? AND number_use_id IN ??",
            tenant,
            AnyOf(event_owners),
        )

    def purge_unregistered_events(self, before: int, limit: int) -> int:
        """Takes away scans of some numbers that nobody has registered, of which nothing was told since a moment; how many numbers.

        With them go, of the same age, quarantined scans and estimates that were shown.
        """
        rows = self._connection.execute(
            "SELECT tenant, number_use_id FROM tracking_number_uses WHERE shipment_id IS NULL AND started_at < ?"
            " AND NOT EXISTS (SELECT 1 FROM shipment_versions v WHERE v.tenant = tracking_number_uses.tenant AND v.number_use_id = tracking_number_uses.number_use_id)"
            " AND NOT EXISTS (SELECT 1 FROM events e WHERE e.tenant = tracking_number_uses.tenant AND e.event_owner = tracking_number_uses.number_use_id AND e.received_at >= ?) LIMIT ?",
            before,
            before,
            limit,
        )
        for tenant, number_use_id in rows:
            self.delete_event_owners(tenant, [number_use_id])
        self._connection.execute("DELETE FROM quarantine WHERE received_at < ?", before)
        self._connection.execute("DELETE FROM estimates WHERE as_of < ?", before)
        return len(rows)
