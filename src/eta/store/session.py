"""What can be asked of a store, and told to it, within one transaction; every question is one tenant's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import TypeVar

from eta.store.engine import Connection, Many, Row
from eta.store.migrations import OF_SHIPMENTS, OF_SUBJECTS
from eta.store.records import (
    Quarantined,
    StoredEvent,
    StoredFlag,
    StoredForecast,
    StoredReply,
    StoredShipment,
    StoredState,
    StoredTracking,
    StoredVersion,
)

T = TypeVar(
    "T",
    StoredShipment,
    StoredTracking,
    StoredVersion,
    StoredEvent,
    StoredState,
    StoredForecast,
    StoredFlag,
    StoredReply,
    Quarantined,
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
    for column in ("shipment_id", "external_id", "tracking")
}
_TRACKINGS = _select("trackings", StoredTracking, "carrier_number IN ?? ORDER BY generation")
_EVENTS = _select("events", StoredEvent, "subject IN ??")
_STATES = _select("states", StoredState, "shipment_id IN ??")
_VERSIONS = _select(
    "shipment_versions", StoredVersion, "shipment_id IN ?? ORDER BY shipment_id, known_at"
)
_FORECASTS = _select("forecasts", StoredForecast, "shipment_id IN ?? ORDER BY shipment_id, as_of")
_FLAGS = _select("flags", StoredFlag, "shipment_id IN ?? ORDER BY shipment_id, raised_at")
_REPLIES = _select("replies", StoredReply, "idempotency_key IN ??")
#: What was put aside, and became right in time, is a scan like others.
_QUARANTINED = _select(
    "quarantine",
    Quarantined,
    "event_id > ? AND NOT EXISTS (SELECT 1 FROM events WHERE events.tenant = quarantine.tenant AND events.subject = quarantine.subject"
    " AND events.event_id = quarantine.event_id) ORDER BY event_id LIMIT ?",
)
_PUT_SHIPMENT, _PUT_STATE = (
    _upsert("shipments", StoredShipment, ("shipment_id",)),
    _upsert("states", StoredState, ("shipment_id",)),
)
_PUT_TRACKING = _upsert("trackings", StoredTracking, ("tracking",))
_PUT_FLAG = _upsert("flags", StoredFlag, ("shipment_id", "raised_at"))
_PUT_VERSION = _upsert("shipment_versions", StoredVersion, ("shipment_id", "known_at"))
_ADD_EVENT = _insert("events", StoredEvent)
_ADD_FORECAST = f"{_insert('forecasts', StoredForecast)} ON CONFLICT DO NOTHING"
_ADD_REPLY = _upsert("replies", StoredReply, ("idempotency_key",))
_ADD_QUARANTINED = f"{_insert('quarantine', Quarantined)} ON CONFLICT DO NOTHING"
_id = itemgetter(0)


class Session:
    """One transaction; ``stamp`` is when what it writes becomes known, ``now`` what the clock says; both are 0 where it only reads."""

    def __init__(
        self,
        connection: Connection,
        *,
        stamp: int = 0,
        now: int = 0,
        number: int = 0,
        secret: str = "",
    ) -> None:
        self._connection, self.stamp, self.now, self.number, self._secret = (
            connection,
            stamp,
            now,
            number,
            secret,
        )

    def new_id(self, prefix: str) -> str:
        """An id that nobody can guess and that never comes again."""
        self.number += 1
        return f"{prefix}_{hashlib.blake2b(f'{prefix} {self.number}'.encode(), key=bytes.fromhex(self._secret), digest_size=12).hexdigest()}"

    def shipments(self, tenant: str, column: str, values: Iterable[str]) -> list[StoredShipment]:
        """Shipments by ``shipment_id``, ``external_id`` or ``tracking``."""
        return self._found(StoredShipment, _SHIPMENTS[column], tenant, values)

    def trackings(self, tenant: str, carrier_numbers: Iterable[str]) -> dict[str, StoredTracking]:
        """The parcel that bears each number of a carrier, or was the last to bear it."""
        return {
            found.carrier_number: found
            for found in self._found(StoredTracking, _TRACKINGS, tenant, carrier_numbers)
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
            for row in self._connection.rows(
                sql, tenant, after, *([status] if status else []), limit
            )
        ]

    def all_shipments(self, tenant: str) -> list[StoredShipment]:
        """Every shipment of a tenant."""
        sql = f"SELECT {_columns(StoredShipment)} FROM shipments WHERE tenant = ? ORDER BY shipment_id"  # noqa: S608  # names of ours
        return [StoredShipment._make(row) for row in self._connection.rows(sql, tenant)]

    def all_events(self, tenant: str) -> list[StoredEvent]:
        """Every scan told by a tenant."""
        sql = f"SELECT {_columns(StoredEvent)} FROM events WHERE tenant = ?"  # noqa: S608  # names of ours
        return [StoredEvent._make(row) for row in self._connection.rows(sql, tenant)]

    def versions(self, tenant: str, shipment_ids: Iterable[str]) -> list[StoredVersion]:
        """All versions of shipments, oldest first."""
        return self._found(StoredVersion, _VERSIONS, tenant, shipment_ids)

    def events(self, tenant: str, subjects: Iterable[str]) -> list[StoredEvent]:
        """All scans told of subjects, in no order."""
        return self._found(StoredEvent, _EVENTS, tenant, subjects)

    def states(self, tenant: str, shipment_ids: Iterable[str]) -> list[StoredState]:
        """The states of shipments."""
        return self._found(StoredState, _STATES, tenant, shipment_ids)

    def statuses(self, tenant: str, shipment_ids: Iterable[str]) -> dict[str, str]:
        """The status of each shipment that has a state."""
        return dict(
            self._connection.rows(
                "SELECT shipment_id, status FROM states WHERE tenant = ? AND shipment_id IN ??",
                tenant,
                Many(list(shipment_ids)),
            )
        )

    def forecasts(self, tenant: str, shipment_ids: Iterable[str]) -> list[StoredForecast]:
        """Forecasts as they were issued, oldest first."""
        return self._found(StoredForecast, _FORECASTS, tenant, shipment_ids)

    def flags(self, tenant: str, shipment_ids: Iterable[str]) -> list[StoredFlag]:
        """Delay flags, oldest first."""
        return self._found(StoredFlag, _FLAGS, tenant, shipment_ids)

    def estimate(self, tenant: str, estimate_id: str) -> str | None:
        """The answer, JSON, that was given as an estimate."""
        found = self._connection.rows(
            "SELECT answer FROM estimates WHERE tenant = ? AND estimate_id = ?", tenant, estimate_id
        )
        return found[0][0] if found else None

    def replies(self, tenant: str, keys: Iterable[str]) -> dict[str, StoredReply]:
        """Replies that were given under idempotency keys."""
        return {
            found.idempotency_key: found
            for found in self._found(StoredReply, _REPLIES, tenant, keys)
        }

    def quarantined(self, tenant: str, after: str, limit: int) -> list[Quarantined]:
        """Scans that cannot be right, in the order of their ids."""
        return [
            Quarantined._make(row)
            for row in self._connection.rows(_QUARANTINED, tenant, after, limit)
        ]

    def known_through(self) -> int:
        """When the last transaction before this one became known."""
        return int(self._connection.rows("SELECT known_through FROM clock")[0][0])

    def counts(self, tenant: str) -> dict[str, int]:
        """How many shipments, scans and quarantined scans there are."""
        counts = {}
        for table in ("shipments", "events", "quarantine"):
            query = f"SELECT count(*) FROM {table} WHERE tenant = ?"  # noqa: S608  # names of ours
            counts[table] = self._connection.rows(query, tenant)[0][0]
        return counts

    def put_shipments(self, tenant: str, shipments: Iterable[StoredShipment]) -> None:
        """Shipments as they are now, and as versions known from now on."""
        rows = list(shipments)
        self._connection.many(_PUT_SHIPMENT, [(tenant, *row) for row in rows])
        self._connection.many(
            _PUT_VERSION,
            [(tenant, row.shipment_id, self.stamp, row.tracking, row.facts) for row in rows],
        )

    def put_trackings(self, tenant: str, trackings: Iterable[StoredTracking]) -> None:
        """Who bears which number now."""
        self._connection.many(_PUT_TRACKING, [(tenant, *tracking) for tracking in trackings])

    def add_events(self, tenant: str, events: Iterable[StoredEvent]) -> None:
        """Scans that are not there yet."""
        # In the order of the key, which saves the database from jumping to and fro.
        self._connection.many(_ADD_EVENT, [(tenant, *event) for event in sorted(events)])

    def put_states(self, tenant: str, states: Iterable[StoredState]) -> None:
        """The states as they are now."""
        self._connection.many(_PUT_STATE, [(tenant, *state) for state in sorted(states, key=_id)])

    def add_forecasts(self, tenant: str, forecasts: Iterable[StoredForecast]) -> None:
        """Answers as they are given."""
        self._connection.many(_ADD_FORECAST, [(tenant, *forecast) for forecast in forecasts])

    def add_estimate(
        self, tenant: str, estimate_id: str, as_of: int, model_version: str | None, answer: str
    ) -> None:
        """An estimate as it is shown."""
        self._connection.many(
            "INSERT INTO estimates VALUES (?, ?, ?, ?, ?)",
            [(tenant, estimate_id, as_of, model_version, answer)],
        )

    def put_flags(self, tenant: str, flags: Iterable[StoredFlag]) -> None:
        """Flags that were raised, or that end."""
        self._connection.many(_PUT_FLAG, [(tenant, *flag) for flag in flags])

    def add_outbox(self, tenant: str, entries: Iterable[tuple[str, str, str]]) -> None:
        """What subscribers are to hear of: type, shipment and payload (JSON) each."""
        rows = [
            (self.number + place, tenant, kind, shipment_id, self.stamp, payload)
            for place, (kind, shipment_id, payload) in enumerate(entries, start=1)
        ]
        self.number += len(rows)
        self._connection.many("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?)", rows)

    def outbox(self, tenant: str) -> list[Row]:
        """Number, type, shipment, time and payload of what subscribers are to hear of, in order."""
        return self._connection.rows(
            "SELECT number, type, shipment_id, created_at, payload FROM outbox WHERE tenant = ? ORDER BY number",
            tenant,
        )

    def add_replies(self, tenant: str, replies: Iterable[StoredReply]) -> None:
        """Replies that are to be given again."""
        self._connection.many(_ADD_REPLY, [(tenant, *reply) for reply in replies])

    def quarantine(self, tenant: str, events: Iterable[Quarantined]) -> None:
        """Scans that cannot be right."""
        self._connection.many(_ADD_QUARANTINED, [(tenant, *event) for event in events])

    def forget_replies(self, before: int) -> None:
        """Takes replies away that were given before a moment."""
        self._connection.rows("DELETE FROM replies WHERE created_at < ?", before)

    def unheard_of(self, since: int, limit: int) -> dict[str, list[StoredShipment]]:
        """Some shipments, by tenant, of which nothing was registered, told or happened since a moment."""
        columns = ", ".join(f"shipments.{name}" for name in StoredShipment._fields)
        rows = self._connection.rows(
            f"SELECT shipments.tenant, {columns} FROM shipments JOIN states USING (tenant, shipment_id) "  # noqa: S608  # names of ours
            "WHERE changed_at < ? AND as_of < ? LIMIT ?",
            since,
            since,
            limit,
        )
        found: dict[str, list[StoredShipment]] = {}
        for tenant, *row in rows:
            found.setdefault(tenant, []).append(StoredShipment._make(row))
        return found

    def _found(self, kind: type[T], sql: str, tenant: str, values: Iterable[str]) -> list[T]:
        asked = list(dict.fromkeys(values))
        return (
            [kind._make(row) for row in self._connection.rows(sql, tenant, Many(asked))]
            if asked
            else []
        )

    def erase(self, tenant: str, shipments: Sequence[StoredShipment]) -> None:
        """Takes shipments away with all that was told and said of them; replies hold nothing but ids and go in time.

        What was told of a number that another shipment bears, or bore, is that one's.
        """
        ids = [each.shipment_id for each in shipments]
        borne = {version.tracking for version in self.versions(tenant, ids) if version.tracking}
        others = self._connection.rows(
            "SELECT tracking, shipment_id FROM shipment_versions WHERE tenant = ? AND tracking IN ??",
            tenant,
            Many(list(borne)),
        )
        own = borne - {tracking for tracking, shipment_id in others if shipment_id not in ids}
        for table in OF_SHIPMENTS:
            self._connection.rows(
                f"DELETE FROM {table} WHERE tenant = ? AND shipment_id IN ??",  # noqa: S608  # names of ours
                tenant,
                Many(ids),
            )
        self._connection.rows(
            "UPDATE trackings SET shipment_id = NULL WHERE tenant = ? AND shipment_id IN ??",
            tenant,
            Many(ids),
        )
        self.forget(tenant, [*ids, *own])

    def forget(self, tenant: str, subjects: Sequence[str]) -> None:
        """Takes away what was told of subjects, and the numbers among them."""
        for table in OF_SUBJECTS:
            self._connection.rows(
                f"DELETE FROM {table} WHERE tenant = ? AND subject IN ??",  # noqa: S608  # names of ours
                tenant,
                Many(subjects),
            )
        self._connection.rows(
            "DELETE FROM trackings WHERE tenant = ? AND tracking IN ??", tenant, Many(subjects)
        )

    def forget_what_nobody_registered(self, before: int, limit: int) -> int:
        """Takes away scans of some numbers that nobody has registered, of which nothing was told since a moment; how many numbers.

        With them go, of the same age, quarantined scans and estimates that were shown.
        """
        rows = self._connection.rows(
            "SELECT tenant, tracking FROM trackings WHERE shipment_id IS NULL AND since < ?"
            " AND NOT EXISTS (SELECT 1 FROM shipment_versions v WHERE v.tenant = trackings.tenant AND v.tracking = trackings.tracking)"
            " AND NOT EXISTS (SELECT 1 FROM events e WHERE e.tenant = trackings.tenant AND e.subject = trackings.tracking AND e.received_at >= ?) LIMIT ?",
            before,
            before,
            limit,
        )
        for tenant, tracking in rows:
            self.forget(tenant, [tracking])
        self._connection.rows("DELETE FROM quarantine WHERE received_at < ?", before)
        self._connection.rows("DELETE FROM estimates WHERE as_of < ?", before)
        return len(rows)
