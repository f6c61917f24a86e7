"""Checks a file that may be a backup: its pages, its tables, its rows, and references between rows.

The service writes what it can read, so a file that passes was written by it or might have been.
"""

from __future__ import annotations

from contextlib import closing

from eta.service.storage.backup_rows import check_rows
from eta.store.engine import Connection, Row
from eta.store.migrations import MIGRATIONS, TABLES, check_not_newer, migrate
from eta.store.queries import load_queries
from eta.store.sqlite import SqliteEngine

#: Rows that are checked at once.
_BATCH_SIZE = 1_000

_SQL = load_queries("backup_checks.sql")
_ROWS_SQL = load_queries("backup.sql")
_SCHEMA = ("objects", "columns", "indexed_columns")
#: Queries that count rows which refer to nothing or contradict others.
_CONTRADICTIONS = (
    "version_of_no_shipment",
    "shipment_without_version",
    "state_of_no_shipment",
    "shipment_without_state",
    "forecast_of_no_shipment",
    "flag_of_no_shipment",
    "message_about_no_shipment",
    "number_use_of_no_shipment",
    "number_use_with_another_name",
    "shipment_of_no_number_use",
    "event_of_no_owner",
    "quarantined_event_of_no_owner",
    "shipment_changed_before_it_was_created",
    "flag_ended_before_it_was_raised",
    "message_after_the_last_sequence",
)


def check_tables(backup: Connection) -> None:
    """Checks the pages of a SQLite file, and that its tables are those of one of our versions.

    Raises:
        StoreRejected: if they are not, or a newer version wrote them.
        ValueError: if it is no store at all.
    """
    backup.execute(_SQL["distrust"])
    [[verdict]] = backup.execute(_SQL["integrity"])
    if verdict != "ok":
        raise ValueError(f"it is damaged: {verdict}")
    if not backup.execute(_SQL["has_migrations"]):
        raise ValueError("it has none of the tables of a store")
    applied = [number for [number] in backup.execute(_SQL["migrations"])]
    if not applied or applied != list(range(1, len(applied) + 1)):
        raise ValueError("its migrations are not those of a store")
    check_not_newer(applied[-1])
    found, expected = _schema(backup), _expected_schema(applied[-1])
    if found != expected:
        raise ValueError(_difference(found, expected))


def _schema(connection: Connection) -> list[Row]:
    return [row for query in _SCHEMA for row in connection.execute(_SQL[query])]


def _expected_schema(last_applied: int) -> list[Row]:
    """The tables after some migrations."""
    engine = SqliteEngine(None)
    with closing(engine), closing(engine.writer()) as connection:
        migrate(connection, engine, MIGRATIONS[:last_applied])
        return _schema(connection)


def _difference(found: list[Row], expected: list[Row]) -> str:
    """The first difference between two schemas, in words."""
    missing = [row[0] for row in expected if row not in found]
    added = [row[0] for row in found if row not in expected]
    for name in (*missing, *added):
        if name in missing and name in added:
            return f"{name} is not as this program made it"
        return f"{name} is missing" if name in missing else f"{name} is not one of ours"
    return "its tables are in another order"


def check_content(backup: Connection) -> None:
    """Checks every row of a file that has the tables of this version.

    Raises:
        ValueError: if the service could not read one, or if it contradicts another one; names it.
    """
    if backup.execute(_SQL["clock_rows"]) != [(1,)]:
        raise ValueError("clock does not have its one row")
    check_rows("clock", backup.execute(_SQL["clock"]))
    for table in TABLES:
        _check_table(backup, table)
    for name in _CONTRADICTIONS:
        [[count]] = backup.execute(_SQL[name])
        if count:
            raise ValueError(f"rows that contradict others: {name.replace('_', ' ')} ({count:,})")


def _check_table(backup: Connection, table: str) -> None:
    first = 1
    try:
        for rows in backup.batches(_ROWS_SQL["read_rows"].format(table=table), _BATCH_SIZE):
            check_rows(table, rows, first)
            first += len(rows)
    except UnicodeDecodeError:
        raise ValueError(f"{table}: a text after row {first - 1:,} is not in UTF-8") from None
