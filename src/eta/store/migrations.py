"""The tables of the store, as migrations that only go forward.

Each migration is one transaction, and its last statement records its number. If the process is
killed at any statement, the database is unchanged and the next start repeats the migration.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence

from eta.domain.errors import NothingRecorded, StoreRejected
from eta.store.engine import Connection, Engine
from eta.store.event_migration import copy_events, copy_quarantine
from eta.store.queries import load_queries, load_statements

#: Statements that create or change tables; ``{clustered}`` is replaced by the engine's clause, and
#: ``?`` stands for a new random secret. ``PYTHON name`` runs one of ``_STEPS``.
Migration = tuple[str, ...]

MIGRATIONS = (
    load_statements("migration_0001.sql"),
    load_statements("migration_0002.sql"),
    load_statements("migration_0003.sql"),
    load_statements("migration_0004.sql"),
    load_statements("migration_0005.sql"),
    load_statements("migration_0006.sql"),
)

#: Every table that is copied, in an order in which they can be filled.
TABLES = (
    "shipments",
    "tracking_number_uses",
    "shipment_versions",
    "events",
    "states",
    "forecasts",
    "estimates",
    "flags",
    "outbox",
    "responses",
    "quarantine",
)

_PYTHON = "PYTHON "
#: What SQL cannot do, by name; each belongs to the transaction of its migration.
_STEPS: Mapping[str, Callable[[Connection], None]] = {
    "copy_events": copy_events,
    "copy_quarantine": copy_quarantine,
}

_SQL = load_queries("migrations.sql")


def migrate(
    connection: Connection, engine: Engine, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Applies the migrations that the database does not have yet.

    Raises:
        StoreRejected: if a newer version of this program migrated the database; nothing changes.
    """
    for number, statements in enumerate(migrations, start=1):
        connection.begin(writes=True)
        try:
            for statement in engine.migration_setup:
                connection.execute(statement)
            connection.execute(_SQL["create_table"])
            last_applied = connection.execute(_SQL["last_applied"])[0][0]
            check_not_newer(last_applied, len(migrations))
            if last_applied < number:
                for statement in statements:
                    _apply(connection, engine, statement)
                connection.execute(_SQL["add"], number)
            connection.commit()
        except BaseException:
            connection.rollback()
            raise


def check_not_newer(last_applied: int, last_known: int = len(MIGRATIONS)) -> None:
    """Checks the number of applied migrations.

    Raises:
        StoreRejected: if a newer version of this program applied the last one.
    """
    if last_applied > last_known:
        raise StoreRejected(
            f"the store was written by a newer version (it has {last_applied} migrations,"
            f" this version has {last_known}); install that version"
        )


def _apply(connection: Connection, engine: Engine, statement: str) -> None:
    if statement.startswith(_PYTHON):
        name = statement.removeprefix(_PYTHON)
        try:
            _STEPS[name](connection)
        except (TypeError, ValueError) as error:
            raise StoreRejected(f"a row cannot be migrated ({name}): {error}") from error
        return
    values = (secrets.token_hex(32),) if "?" in statement else ()
    connection.execute(statement.format(clustered=engine.clustered), *values)


def check_migrated(connection: Connection, engine: Engine) -> None:
    """Checks before reading, outside a transaction, that a database has the tables of this version.

    Raises:
        NothingRecorded: if it has none.
        StoreRejected: if it has those of another version.
    """
    if not connection.execute(engine.migrations_tables)[0][0]:
        raise NothingRecorded("the database is empty")
    last_applied, last_known = connection.execute(_SQL["last_applied"])[0][0], len(MIGRATIONS)
    if last_applied != last_known:
        raise StoreRejected(
            f"the store has {last_applied} migrations, this version has {last_known};"
            " if it is older, `eta serve` or `eta ingest` migrate it, else install its version"
        )
