"""The tables, as migrations that only go forward.

Each migration is one transaction that ends by saying how far the tables have come: killed at any
statement, it never was, and the next start begins it anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from importlib.resources import files

from eta.domain.errors import StoreRejected
from eta.store.engine import Connection, Engine

#: Statements that make or change tables; ``{clustered}`` is the engine's own.
Migration = tuple[str, ...]


def _statements(name: str) -> Migration:
    """The statements of an SQL file, which ends each with a semicolon at the end of a line."""
    text = (files("eta.store") / "sql" / name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    parts = "\n".join(lines).split(";\n")
    return tuple(part.strip().removesuffix(";") for part in parts if part.strip())


MIGRATIONS = (_statements("migration_0001.sql"), _statements("migration_0002.sql"))

#: Every table, in an order in which they can be filled.
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

#: Tables that name a shipment, and those that name what a scan is told of.
EVENT_OWNER_TABLES = ("events", "quarantine")
SHIPMENT_TABLES = ("shipments", "shipment_versions", "states", "forecasts", "flags", "outbox")


def migrate(
    connection: Connection, engine: Engine, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Brings the tables up to date; a store of a newer version is left alone.

    Raises:
        StoreRejected: if the tables are newer than this program.
    """
    for number, statements in enumerate(migrations, start=1):
        connection.begin(writes=True)
        try:
            for statement in engine.migration_setup:
                connection.execute(statement)
            connection.execute("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY)")
            applied = connection.execute("SELECT coalesce(max(number), 0) FROM migrations")[0][0]
            if applied > len(migrations):
                raise StoreRejected(
                    f"the store was written by a newer version ({applied} migrations, known are {len(migrations)}); install that version"
                )
            if applied < number:
                for statement in statements:
                    values = (secrets.token_hex(32),) if "?" in statement else ()
                    connection.execute(statement.format(clustered=engine.clustered), *values)
                connection.execute("INSERT INTO migrations VALUES (?)", number)
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
