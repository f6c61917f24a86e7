"""Stamps: the times at which rows were recorded, and how those of a wrong clock are moved."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from eta.domain.errors import StoreRejected
from eta.store.engine import Connection
from eta.store.queries import load_queries

#: The columns with stamps of each table. Others have times that carriers and shops gave.
STAMPS: Mapping[str, tuple[str, ...]] = {
    "shipments": ("created_at", "changed_at"),
    "tracking_number_uses": ("started_at",),
    "shipment_versions": ("recorded_at",),
    "events": ("received_at",),
    "states": ("as_of",),
    "forecasts": ("as_of",),
    "estimates": ("as_of",),
    "flags": ("raised_at", "ended_at"),
    "outbox": ("created_at",),
    "responses": ("created_at",),
    "quarantine": ("received_at",),
    "transaction_tokens": ("commit_time",),
}
_SQL = load_queries("repair.sql")
_CLOCK_SQL = load_queries("clock.sql")


@dataclass(frozen=True)
class WrongStamps:
    """Stamps that are later than now, and to where they belong; in microseconds since 1970."""

    #: Rows by ``table.column``, without columns that have none.
    counts: Mapping[str, int]
    #: The new stamp of each.
    moves: Mapping[int, int]
    #: Whether the last commit is later than now.
    is_clock_wrong: bool


def find_wrong_stamps(connection: Connection, now: int) -> WrongStamps:
    """Finds stamps later than ``now``, which go just after the last one before, in their order.

    Raises:
        StoreRejected: if there is no room for all of them before ``now``.
    """
    wrong: set[int] = set()
    for _, query in _per_column("stamps_after"):
        wrong.update(row[0] for row in connection.execute(query, now))
    last_right = max(_one_per_column(connection, "last_until", now).values())
    counts = _one_per_column(connection, "count_after", now)
    # Without a right stamp there is no place but just before now.
    start = last_right or now - len(wrong) - 1
    if start + len(wrong) > now:
        raise StoreRejected("the last right stamp is too close to now; run it again in a second")
    moves = {stamp: start + place for place, stamp in enumerate(sorted(wrong), start=1)}
    last_commit_time = connection.execute(_CLOCK_SQL["last_commit_time"])[0][0]
    used = {name: count for name, count in counts.items() if count}
    return WrongStamps(used, moves, last_commit_time > now)


def move_stamps(connection: Connection, wrong: WrongStamps, now: int) -> None:
    """Moves wrong stamps in every table, within a transaction; the next commit is after ``now``."""
    connection.execute(_SQL["create_moves"])
    connection.execute_many(_SQL["add_move"], list(wrong.moves.items()))
    # First the stamps within JSON, while the rows can be found by the old ones.
    _move_in_forecasts(connection, wrong.moves)
    _move_in_quarantine(connection, wrong.moves, now)
    for _, query in _per_column("move_stamps"):
        connection.execute(query, now)
    connection.execute(_SQL["drop_moves"])
    if wrong.is_clock_wrong:
        connection.execute(_SQL["set_clock"], now, now)


def _per_column(query: str) -> Iterator[tuple[str, str]]:
    for table, columns in STAMPS.items():
        for column in columns:
            yield f"{table}.{column}", _SQL[query].format(table=table, column=column)


def _one_per_column(connection: Connection, query: str, now: int) -> dict[str, int]:
    """The one value of a query for each column; 0 if it has none."""
    return {name: connection.execute(sql, now)[0][0] or 0 for name, sql in _per_column(query)}


def _move_in_forecasts(connection: Connection, moves: Mapping[int, int]) -> None:
    """Moves the stamps of the versions from which forecasts were made."""
    changed = []
    for tenant, shipment_id, as_of, text in connection.execute(_SQL["forecasts"]):
        assessment = json.loads(text)
        if assessment.get("version_recorded_at") in moves:
            assessment["version_recorded_at"] = moves[assessment["version_recorded_at"]]
            changed.append((json.dumps(assessment), tenant, shipment_id, as_of))
    connection.execute_many(_SQL["set_forecast"], changed)


def _move_in_quarantine(connection: Connection, moves: Mapping[int, int], now: int) -> None:
    changed = []
    for tenant, event_id, text in connection.execute(_SQL["quarantine"], now):
        content = json.loads(text)
        content["received_at"] = moves.get(content["received_at"], content["received_at"])
        changed.append((json.dumps(content), tenant, event_id))
    connection.execute_many(_SQL["set_quarantine"], changed)
